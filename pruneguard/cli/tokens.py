"""`pruneguard tokens`: who may call the gateway, for what, and until when."""

import argparse
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from pruneguard.cli.arguments import Commands, command, settings, show, signer, with_json, with_key
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.ledger.state import Token

ACTS = "infer, labels, operate (moves traffic, rolls back: only for an operator) or metrics; again for more"


def add(commands: Commands) -> None:
    tokens = commands.add_parser("tokens", help="bearer tokens: who may call the gateway, for what, and until when")
    kinds = tokens.add_subparsers(title="commands", metavar="COMMAND", required=True)
    issue = command(
        kinds,
        "issue",
        _issue,
        "An admin gives somebody else a token. It is printed once; the ledger keeps its SHA-256.\n\n"
        "  pruneguard tokens issue ward-3 --holder otto --act infer --act labels --model digits \\\n"
        "      --until 90d --reason 'the ward app'\n\n"
        "Callers send it as `Authorization: Bearer ...`. Operations always take one; the rest does where\n"
        "PRUNEGUARD_ACCESS=tokens. It ends with the holder's key.",
    )
    issue.add_argument("token", help="its name, which is no secret: a-z 0-9 . _ -, 64 at most")
    issue.add_argument("--holder", required=True, help="the account that answers for what is done with it")
    issue.add_argument("--act", action="append", required=True, help=ACTS)
    issue.add_argument("--model", action="append", help="only this model; again for more (default: every model)")
    issue.add_argument(
        "--until",
        required=True,
        metavar="DAYS_OR_DATE",
        help="30d, or a day in UTC at whose start it ends; 366d at most",
    )
    issue.add_argument(
        "--per-second", type=int, default=100, help="requests a second at one gateway process (default: %(default)s)"
    )
    issue.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    revoke = command(
        kinds,
        "revoke",
        _revoke,
        "A token counts no more, at every gateway as soon as it has read the ledger.\n\n"
        "By an admin, or by its holder with --key.",
    )
    revoke.add_argument("token")
    revoke.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    for sub in (issue, revoke):
        with_key(sub, "root")
    with_json(command(kinds, "list", _list, "Every token: whose, for what, until when, and what ended it."))


def _issue(args: argparse.Namespace) -> int:
    from pruneguard import home, tokens

    known, acts = settings(), tokens.acts_of(args.act)
    person = signer(args, known)
    text, done = tokens.issue(
        home.open_ledger(known),
        name=args.token,
        holder=args.holder,
        acts=acts,
        models=args.model or [tokens.EVERY_MODEL],
        per_second=args.per_second,
        until=_until(args.until),
        reason=args.reason,
        signer=person,
    )
    print(f"{args.token} counts until {done.event.data['expires']} (event {done.index}); shown once:", file=sys.stderr)
    print(text)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from pruneguard import home, tokens

    known = settings()
    person = signer(args, known)
    done = tokens.revoke(home.open_ledger(known), name=args.token, reason=args.reason, signer=person)
    print(f"{args.token} counts no more from event {done.index} on")
    return 0


def _list(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.ledger.events import utc

    state = home.read_ledger(settings()).state()
    now = max(state.clock, utc(datetime.now(UTC)))
    found = [_listed(token, now) for token in state.tokens.values()]
    if args.json:
        show(found)
        return 0
    for told in found:
        models = "every model" if told["models"] == ["*"] else ", ".join(told["models"])
        print(f"{told['token']:<16} {told['holder']:<12} {', '.join(told['acts'])} on {models}: {told['standing']}")
    return 0


def _listed(token: "Token", now: str) -> dict[str, Any]:
    standing = f"until {token.expires[:19]}Z"
    if now >= token.expires:
        standing = f"expired {token.expires[:19]}Z"
    if token.ended is not None:
        standing = f"revoked: {token.ended}"
    return {
        "token": token.token,
        "holder": token.holder,
        "acts": sorted(token.acts),
        "models": sorted(token.models),
        "per_second": token.per_second,
        "expires": token.expires,
        "counts": token.ended is None and now < token.expires,
        "standing": standing,
        "issued_by": token.issued_by,
        "issued_at": token.issued_at,
        "reason": token.reason,
    }


def _until(text: str) -> timedelta | datetime:
    """`30d` or `2026-12-24`."""
    try:
        if text.endswith("d"):
            return timedelta(days=int(text.removesuffix("d")))
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"--until {text}: expected days as in 30d, or a day as in 2026-12-24") from error
