"""Rules about bearer tokens and the calls that were denied: numbers 29 to 31 of `rules.py`."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from pruneguard.ledger.events import Entry
from pruneguard.ledger.people import MONITOR
from pruneguard.ledger.state import Act, Role, State

TOKEN_DAYS_MAX = 366


def _may_issue(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if not state.may(event.actor, Role.ADMIN):
        yield f"{event.actor!r} is not an admin"
    holder = state.people.get(data["holder"])
    if holder is None or holder.public_key is None:
        yield f"{data['holder']!r} has no key; somebody who is known here must answer for a token"
    elif holder.person == state.person(event.actor):
        yield f"{data['holder']!r} is {event.actor!r}'s own person; another admin issues their tokens"
    if Act.OPERATE in data["acts"] and not state.may(data["holder"], Role.OPERATOR):
        yield f"{data['holder']!r} is not an operator, and a token can do no more than its holder"
    if data["token"] in state.tokens:
        yield f"a token {data['token']!r} was issued already; take another name"
    now = max(state.clock, event.time)
    left = datetime.fromisoformat(data["expires"]) - datetime.fromisoformat(now)
    if not timedelta(0) < left <= timedelta(days=TOKEN_DAYS_MAX):
        yield f"it expires {data['expires']}; expected after {now}, by at most {TOKEN_DAYS_MAX} days"


def _may_end(state: State, entry: Entry) -> Iterator[str]:
    actor, token = entry.event.actor, state.tokens.get(entry.event.data["token"])
    if token is None:
        yield f"no token {entry.event.data['token']!r}; there are {sorted(state.tokens) or 'none'}"
        return
    if actor != token.holder and not state.may(actor, Role.ADMIN):
        yield f"{actor!r} is neither an admin nor {token.holder!r}, who holds it"
    if token.ended is not None:
        yield f"the token {token.token!r} counts no more already: {token.ended}"


def _may_tell(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if event.actor != MONITOR:
        yield f"{event.actor!r} is not the monitor"
    if data["until"] < data["since"]:
        yield f"it ends {data['until']}, before it begins, {data['since']}"


RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "token.issued": _may_issue,
    "token.revoked": _may_end,
    "access.denied": _may_tell,
}
