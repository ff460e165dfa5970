"""Who may call: bearer tokens out of the ledger, before a request reaches the gateway.

The decision is made from the state that was last followed: no request waits for the ledger, and a revocation counts as
soon as the gateway has read it.
"""

import hmac
import ipaddress
import math
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from time import monotonic, time
from types import TracebackType
from typing import Any, Self, TypeAlias

from starlette.requests import HTTPConnection

from pruneguard import home, tokens
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.state import Act, Role, State, Token
from pruneguard.serving import protocol
from pruneguard.serving.calls import Call, quick_call_of
from pruneguard.serving.denials import Denials
from pruneguard.serving.protocol import RequestError
from pruneguard.settings import Settings

_IDENTITY = "pruneguard.identity"
_TOKEN_CHARACTERS_MAX = 256
_NOBODY = tokens.digest("")

Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]


class Mode(StrEnum):
    """Whether inference, labels and metrics take a token. Operations always do."""

    OPEN = "open"
    TOKENS = "tokens"


class Denied(StrEnum):
    """Why a call was denied: a closed set, so that it can be a metric's label."""

    NO_TOKEN = "no token"  # noqa: S105  # words for a person
    UNKNOWN = "unknown token"
    ENDED = "revoked token"
    EXPIRED = "expired token"
    ACT = "act not allowed"
    MODEL = "model not allowed"
    ROLE = "holder lacks the role"
    TOO_MANY = "too many requests"


_STATUS: Mapping[Denied, int] = {Denied.ACT: 403, Denied.MODEL: 403, Denied.ROLE: 403, Denied.TOO_MANY: 429}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: the token's name, the account that answers for it, and the models it is for."""

    token: str
    actor: str
    models: frozenset[str]

    def require(self, model: str) -> None:
        """For a model that the path does not name. Raises RequestError (403) where the token is not for it."""
        if not self.models & {model, tokens.EVERY_MODEL}:
            raise RequestError(f"the token {self.token!r} is not for that model", status=403)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why not. `token` is the name of a token whose text was the right one; `retry_s` when it can be asked again."""

    reason: Denied
    message: str
    token: str = ""
    retry_s: float = 0.0

    @property
    def status(self) -> int:
        return _STATUS.get(self.reason, 401)


@dataclass(slots=True)
class _Permit:
    """A token as a gateway uses it: a bucket of one second's requests, which fills as fast as they are allowed."""

    token: Token
    identity: Identity
    expires: float
    operates: bool
    level: float
    at: float

    def wait(self, now: float) -> float:
        """Take one request out of the bucket, or say how many seconds until there is one."""
        rate = self.token.per_second
        self.level = min(rate, self.level + (now - self.at) * rate)
        self.at = now
        if self.level < 1:
            return (1 - self.level) / rate
        self.level -= 1
        return 0.0


class Access:
    """`middleware` stands before an app; `follow` tells it what the ledger says now.

    `refused` hears of every denied call, by model and reason: an `Observer`'s. `denials` keep an account of each, while
    this is entered as a context. Limits count in each gateway process.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        refused: Callable[[str, str], None] = lambda *_: None,
        denials: Denials | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.mode = mode
        self._refused = refused
        self._denials = denials
        self._permits: Mapping[str, _Permit] = {}
        self._models: frozenset[str] = frozenset()
        self._clock = clock
        self._latest = 0.0

    def __enter__(self) -> Self:
        if self._denials is not None:
            self._denials.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._denials is not None:
            self._denials.stop()

    def follow(self, state: State) -> None:
        """Go by what `state` says from the next request on. Cheap, and safe to call from another thread."""
        known = frozenset(state.models)
        self._permits = {name: self._permit(state, token) for name, token in state.tokens.items()}
        self._models, self._latest = known, _seconds(state.clock)

    def judge(self, header: str | None, call: Call) -> Identity | Denial | None:
        """Who calls, or why they may not; None where nobody asks. `header` is the request's Authorization."""
        if self.mode is Mode.OPEN and call.act is not Act.OPERATE:
            return None
        kind, _, text = (header or "").strip().partition(" ")
        if kind.lower() != "bearer" or not text:
            return Denial(Denied.NO_TOKEN, "this call takes a token; send `Authorization: Bearer ...`")
        permit = self._permits.get(tokens.name_in(text)) if len(text) <= _TOKEN_CHARACTERS_MAX else None
        expected = permit.token.secret if permit else _NOBODY
        given = tokens.digest(text[: _TOKEN_CHARACTERS_MAX + 1])
        if not hmac.compare_digest(expected, given) or permit is None:
            return Denial(Denied.UNKNOWN, "this is no token that was issued here; an admin issues one")
        return self._use(permit, call)

    def _use(self, permit: _Permit, call: Call) -> Identity | Denial:
        token, name = permit.token, permit.token.token
        if token.ended is not None:
            return Denial(Denied.ENDED, f"the token {name!r} was revoked; ask an admin for another", name)
        if max(time(), self._latest) >= permit.expires:
            return Denial(Denied.EXPIRED, f"the token {name!r} expired {token.expires}; ask an admin for another", name)
        if call.act not in token.acts:
            return Denial(
                Denied.ACT, f"the token {name!r} is for {', '.join(sorted(token.acts))}, not {call.act}", name
            )
        if call.model is not None and not token.models & {call.model, tokens.EVERY_MODEL}:
            return Denial(Denied.MODEL, f"the token {name!r} is not for that model", name)
        if call.act is Act.OPERATE and not permit.operates:
            return Denial(Denied.ROLE, f"{token.holder!r}, who holds the token {name!r}, is not an operator", name)
        if wait := permit.wait(self._clock()):
            text = f"the token {name!r} allows {token.per_second} requests a second; retry in {wait:.3g} s"
            return Denial(Denied.TOO_MANY, text, name, wait)
        return permit.identity

    def middleware(self, app: App) -> App:
        """`app` behind this. A denied call is answered before its body is read."""

        async def guarded(scope: Scope, receive: Any, send: Any) -> None:
            call = quick_call_of(scope["path"]) if scope["type"] in ("http", "websocket") else None
            if call is not None and (self.mode is Mode.TOKENS or call.act is Act.OPERATE):
                found = self.judge(_authorization(scope), call)
                if isinstance(found, Denial):
                    self._account(found, call)
                    await _refuse(found, scope, send)
                    return
                scope[_IDENTITY] = found
            await app(scope, receive, send)

        return guarded

    def _permit(self, state: State, token: Token) -> _Permit:
        operates = state.may(token.holder, Role.OPERATOR)
        before = self._permits.get(token.token)  # whose bucket is filled by nothing that the ledger says
        level, at = (before.level, before.at) if before else (float(token.per_second), self._clock())
        identity = Identity(token.token, token.holder, token.models)
        return _Permit(token, identity, _seconds(token.expires), operates, level, at)

    def _account(self, denial: Denial, call: Call) -> None:
        model = call.model if call.model in self._models else ""  # what a client made up is written nowhere
        with suppress(Exception):  # no answer changes because of who counts
            self._refused(model or "", denial.reason)
        if self._denials is not None:
            self._denials.add(denial.reason, act=call.act, model=model or "", token=denial.token)


def identity(request: HTTPConnection) -> Identity:
    """Who made a request that came through `Access.middleware`. Raises RequestError (401) where nobody asked."""
    found = request.scope.get(_IDENTITY)
    if not isinstance(found, Identity):
        raise RequestError("this call takes a token; send `Authorization: Bearer ...`", status=401)
    return found


def from_settings(settings: Settings, *, refused: Callable[[str, str], None] = lambda *_: None) -> Access:
    """The access that the settings ask for. Raises InvalidInputError as `mode_for` does."""
    denials = Denials(settings.denials, partial(home.open_ledger, settings))
    return Access(mode_for(settings.access, settings.host), refused=refused, denials=denials)


def mode_for(setting: str, host: str) -> Mode:
    """The mode that PRUNEGUARD_ACCESS asks for; where it is empty, open on a loopback address.

    Raises InvalidInputError for another address: who may call from outside is to be said.
    """
    if setting:
        return Mode(setting)
    if not _is_loopback(host):
        raise InvalidInputError(
            f"PRUNEGUARD_HOST={host!r} can be reached from outside, and nothing says who may call; set "
            "PRUNEGUARD_ACCESS=tokens (`pruneguard tokens issue` makes them), or PRUNEGUARD_ACCESS=open for everybody"
        )
    return Mode.OPEN


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _authorization(scope: Scope) -> str | None:
    """The header, where it was sent exactly once."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def _refuse(denial: Denial, scope: Scope, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    if denial.status == 401:
        told = "" if denial.reason is Denied.NO_TOKEN else ', error="invalid_token"'
        headers.append((b"www-authenticate", f'Bearer realm="pruneguard"{told}'.encode()))
    if denial.status == 403:
        headers.append((b"www-authenticate", b'Bearer realm="pruneguard", error="insufficient_scope"'))
    if denial.retry_s:
        headers.append((b"retry-after", str(math.ceil(denial.retry_s)).encode()))
    body = protocol.encode_error(denial.message)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": denial.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
