"""Who may call: tokens out of the ledger, before anything else of a request is read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruneguard import tokens
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Act
from pruneguard.serving.access import Access, Denial, Denied, Mode, from_settings, identity, mode_for
from pruneguard.serving.calls import Call, call_of
from pruneguard.serving.follower import Follower
from pruneguard.serving.protocol import RequestError
from pruneguard.settings import Settings
from pruneguard.testing import memory_ledger, people, register
from tests.serving.scene import Scene, gateway, infer

INFER = "/v2/models/digits/infer"
ROLL_BACK = "/operations/models/digits/rollback"


@dataclass
class Door:
    """An app behind an access that follows a ledger, at a time of its own."""

    mode: Mode = Mode.TOKENS
    ledger: Ledger = field(default_factory=memory_ledger)
    refused: list[tuple[str, str]] = field(default_factory=list)
    time: float = 0.0

    def __post_init__(self) -> None:
        register(self.ledger)
        self.access = Access(self.mode, refused=lambda *what: self.refused.append(what), clock=lambda: self.time)
        self.app = self.access.middleware(_echo())

    def issue(self, name: str = "app", **told: Any) -> str:
        how: dict[str, Any] = {"holder": "otto", "acts": [Act.INFER], "models": ["digits"], "per_second": 100} | told
        until = how.pop("until", timedelta(days=1))
        text, _ = tokens.issue(self.ledger, name=name, until=until, reason="r", signer=people()["root"], **how)
        self.access.follow(self.ledger.state())
        return text

    def call(self, path: str, text: str | None = None, method: str = "POST", **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {text}"} if text is not None else {}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, **{"headers": headers, **request})

        return asyncio.run(send())


def _echo() -> Starlette:
    async def whoever(request: Request) -> Response:
        who = identity(request)
        return JSONResponse([who.token, who.actor])

    async def anybody(request: Request) -> Response:
        return Response("here")

    return Starlette(
        routes=[
            Route("/operations/models/{model}/rollback", whoever, methods=["POST"]),
            Route("/v2/models/{name}/infer", whoever, methods=["POST"]),
            Route("/{rest:path}", anybody, methods=["GET", "POST"]),
        ]
    )


def test_a_token_opens_what_it_is_for_and_says_who_calls() -> None:
    door = Door()
    assert door.call(INFER, door.issue()).json() == ["app", "otto"]


@pytest.mark.parametrize(
    ("path", "method"),
    [(INFER, "POST"), ("/metrics", "GET"), ("/v2/repository/index", "POST"), ("/v2", "GET"), ("/else", "GET")],
)
def test_without_a_token_nothing_is_reached(path: str, method: str) -> None:
    door = Door()
    answer = door.call(path, method=method)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pruneguard"'
    assert "Authorization: Bearer" in answer.json()["error"]
    assert door.refused == [("", Denied.NO_TOKEN)]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_a_probe_needs_no_token(path: str) -> None:
    assert Door().call(path, method="GET").status_code == 200


def _wrong_secret(text: str) -> str:
    return text[:-1] + ("A" if text[-1] != "A" else "B")


@pytest.mark.parametrize(
    "spoil",
    [
        _wrong_secret,
        lambda text: text.replace("app", "apq"),
        lambda text: text[4:],
        lambda text: text + " ",
        lambda text: text + "x" * 10_000,
        lambda text: "pgt_",
        lambda text: "ä" * 50,
    ],
)
def test_whatever_is_not_the_very_text_is_unknown_and_nothing_more_is_told(spoil: Callable[[str], str]) -> None:
    door = Door()
    given = spoil(door.issue()).encode()
    found = door.access.judge(f"Bearer {given.decode()}.", Call(Act.INFER, "digits"))
    answer = door.call(INFER, headers={"Authorization": b"Bearer " + given + b"."})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert found is not None
    assert found.token == ""
    assert {reason for _, reason in door.refused} == {Denied.UNKNOWN}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_no_header_that_anybody_makes_up_lets_them_in(text: str) -> None:
    door = Door()
    door.issue()
    for header in (text, f"Bearer {text}", f"Bearer pgt_app_{text}"):
        assert isinstance(door.access.judge(header, Call(Act.INFER, "digits")), Denial)


def test_two_headers_or_another_scheme_are_no_token() -> None:
    door = Door()
    text = door.issue()
    twice = [("Authorization", f"Bearer {text}"), ("Authorization", f"Bearer {text}")]
    assert door.call(INFER, headers=twice).status_code == 401
    assert door.call(INFER, headers={"Authorization": f"Basic {text}"}).status_code == 401
    assert door.call(INFER, headers={"Authorization": f"bearer {text}"}).status_code == 200


def test_a_revoked_token_opens_nothing_once_the_ledger_was_followed() -> None:
    door = Door()
    text = door.issue()
    tokens.revoke(door.ledger, name="app", reason="it leaked", signer=people()["root"])
    assert door.call(INFER, text).status_code == 200
    door.access.follow(door.ledger.state())
    assert door.call(INFER, text).status_code == 401
    assert door.refused == [("", Denied.ENDED)]


def test_a_token_that_expired_opens_nothing_whatever_this_machines_clock_says() -> None:
    door = Door()
    text = door.issue(until=timedelta(hours=1))
    state = door.ledger.state()
    assert door.call(INFER, text).status_code == 200
    state.clock = state.tokens["app"].expires  # somebody else's entry has come that far
    door.access.follow(state)
    assert door.call(INFER, text).status_code == 401
    assert door.refused == [("", Denied.EXPIRED)]


def test_a_token_is_for_its_acts_and_its_models_alone() -> None:
    door = Door()
    text = door.issue(models=["digits", "letters"])
    assert door.call("/v2/models/letters/infer", text).status_code == 200
    assert door.call("/v2/models/faces/infer", text).status_code == 403
    assert door.call("/v2/models/digits/labels", text).status_code == 403
    assert door.call("/metrics", text, "GET").status_code == 403
    assert [reason for _, reason in door.refused] == [Denied.MODEL, Denied.ACT, Denied.ACT]


def test_every_model_is_said() -> None:
    door = Door()
    assert door.call("/v2/models/faces/infer", door.issue(models=["*"])).status_code == 200


def test_operations_take_a_token_where_all_else_is_open_too() -> None:
    door = Door(Mode.OPEN)
    assert door.call("/metrics", method="GET").text == "here"
    assert door.call(ROLL_BACK).status_code == 401
    assert door.call(ROLL_BACK, door.issue(acts=[Act.OPERATE])).json() == ["app", "otto"]
    assert door.call("/operations/models/letters/rollback", door.issue("b", acts=[Act.OPERATE])).status_code == 403


def test_a_token_operates_only_while_its_holder_is_an_operator() -> None:
    door = Door()
    text = door.issue(acts=[Act.OPERATE])
    state = door.ledger.state()
    assert door.call(ROLL_BACK, text).status_code == 200
    state.people["otto"] = state.people["ada"]
    door.access.follow(state)
    assert door.call(ROLL_BACK, text).status_code == 403
    assert door.refused == [("", Denied.ROLE)]


def test_a_token_has_its_requests_a_second_and_is_told_when_to_come_again() -> None:
    door = Door()
    text = door.issue(per_second=2)
    assert [door.call(INFER, text).status_code for _ in range(3)] == [200, 200, 429]
    assert door.call(INFER, text).headers["Retry-After"] == "1"
    door.access.follow(door.ledger.state())  # the ledger grew: the bucket is as empty as before
    assert door.call(INFER, text).status_code == 429
    door.time = 0.5
    assert [door.call(INFER, text).status_code for _ in range(2)] == [200, 429]
    assert door.call(INFER, door.issue("other", per_second=2)).status_code == 200


def test_a_name_that_a_client_made_up_is_written_nowhere() -> None:
    door = Door()
    door.call("/v2/models/mr-miller/infer")
    assert door.refused == [("", Denied.NO_TOKEN)]


def test_a_handler_that_is_reached_without_the_middleware_lets_nobody_in() -> None:
    with pytest.raises(RequestError, match="takes a token") as caught:
        identity(Request({"type": "http", "headers": []}))
    assert caught.value.status == 401


def test_a_model_that_only_the_body_names_is_asked_for() -> None:
    door = Door()
    header = f"Bearer {door.issue(acts=[Act.OPERATE])}"
    who = door.access.judge(header, Call(Act.OPERATE, None))
    assert who is not None
    who.require("digits")  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="not for that model"):
        who.require("letters")  # type: ignore[union-attr]


def test_an_observer_that_fails_lets_nobody_in() -> None:
    def failing(*_: str) -> None:
        raise OSError("no space left")

    door = Door()
    door.access = Access(Mode.TOKENS, refused=failing)
    door.app = door.access.middleware(_echo())
    assert door.call(INFER).status_code == 401


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/v2/health/live", None),
        ("/v2/health/live/", Call(Act.INFER, None)),
        ("/metrics", Call(Act.METRICS, None)),
        (INFER, Call(Act.INFER, "digits")),
        ("/v2/models/digits/versions/2/infer", Call(Act.INFER, "digits")),
        ("/v2/models/digits", Call(Act.INFER, "digits")),
        ("/v2/models/digits/labels", Call(Act.LABELS, "digits")),
        ("/v2/repository/index", Call(Act.INFER, None)),
        ("/operations", Call(Act.OPERATE, None)),
        ("/operations/models/digits", Call(Act.OPERATE, "digits")),
        ("/operations/models", Call(Act.OPERATE, None)),
        ("/operations/alerts", Call(Act.OPERATE, None)),
        (ROLL_BACK, Call(Act.OPERATE, "digits")),
        ("/", Call(Act.INFER, None)),
    ],
)
def test_a_path_says_what_a_call_is_for(path: str, call: Call | None) -> None:
    assert call_of(path) == call


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_a_loopback_address_is_open_unless_somebody_asks_for_tokens(host: str) -> None:
    assert mode_for("", host) is Mode.OPEN
    assert mode_for("tokens", host) is Mode.TOKENS


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "no-such-host.invalid"])  # noqa: S104
def test_another_address_is_open_only_where_that_is_said(host: str) -> None:
    with pytest.raises(InvalidInputError, match="PRUNEGUARD_ACCESS=tokens"):
        mode_for("", host)
    assert mode_for("open", host) is Mode.OPEN
    assert mode_for("tokens", host) is Mode.TOKENS


def test_the_settings_decide(tmp_path: Path) -> None:
    assert from_settings(Settings(home=tmp_path)).mode is Mode.OPEN
    assert from_settings(Settings(home=tmp_path, access="tokens")).mode is Mode.TOKENS
    with pytest.raises(InvalidInputError, match="nothing says who may call"):
        from_settings(Settings(home=tmp_path, host="0.0.0.0"))  # noqa: S104


def test_a_revocation_reaches_a_gateway_with_its_next_look_at_the_ledger(tmp_path: Path) -> None:
    scene, root = Scene(tmp_path), people()["root"]
    scene.release()
    how: dict[str, Any] = {"holder": "otto", "acts": [Act.INFER], "models": ["digits"], "per_second": 9, "reason": "r"}
    text, _ = tokens.issue(scene.ledger, name="app", until=timedelta(days=1), signer=root, **how)
    made = gateway(scene, access=Access(Mode.TOKENS))
    with Follower(scene.ledger.reopen, made) as follower:
        headers = {"Authorization": f"Bearer {text}"}
        assert infer(made, headers=headers).status_code == 200
        assert infer(made).status_code == 401
        tokens.revoke(scene.ledger, name="app", reason="it leaked", signer=root)
        assert follower.wait_for(scene.ledger.size, timeout_s=60)
        assert infer(made, headers=headers).status_code == 401
