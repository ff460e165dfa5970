"""Operators over HTTP: the acts of the command line, in the name of a token's holder."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pruneguard.ledger.state import Status
from pruneguard.serving import access
from pruneguard.serving.access import Identity
from pruneguard.serving.operations import routes
from pruneguard.serving.protocol import RequestError
from tests.serving.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Version 1 is live, version 2 a canary."""
    scene = Scene(tmp_path)
    scene.release()
    scene.release(share=0.1)
    return scene


def call(
    scene: Scene, method: str, path: str, *, actor: str | None = "otto", models: str = "*", **request: Any
) -> httpx.Response:
    """One request, as the middleware hands it on: with who asks, where a token said so."""
    app = Starlette(routes=routes(scene.ledger.reopen), exception_handlers={RequestError: _refused})

    async def known(scope: Any, receive: Any, send: Any) -> None:
        who = {} if actor is None else {access._IDENTITY: Identity("t1", actor, frozenset({models}))}
        await app({**scope, **who}, receive, send)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://gateway") as client:
            return await client.request(method, f"/operations/{path}", **request)

    return asyncio.run(send())


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse({"error": str(error)}, error.status)


def act(scene: Scene, name: str, *, status: int = 200, actor: str | None = "otto", **said: Any) -> Any:
    done = call(scene, "POST", f"models/digits/{name}", actor=actor, json={"reason": "why", **said})
    assert done.status_code == status, done.text
    return done.json()


def alert(**changes: Any) -> dict[str, Any]:
    labels = {"alertname": "TooSlow", "model": "digits", "release": "2"}
    base = {"status": "firing", "labels": labels, "fingerprint": "ab12", "startsAt": "2026-01-05T09:00:00Z"}
    return base | changes


def alerted(scene: Scene, *alerts: dict[str, Any], status: int = 200) -> Any:
    done = call(scene, "POST", "alerts", json={"version": "4", "status": "firing", "alerts": list(alerts)})
    assert done.status_code == status, done.text
    return done.json()


def statuses(scene: Scene) -> dict[int, Status]:
    return {number: r.status for number, r in scene.ledger.state().models["digits"].releases.items()}


def test_an_operator_rolls_back_and_is_recorded_by_name(scene: Scene) -> None:
    done = act(scene, "rollback")
    event = scene.ledger.entry(done["index"]).event
    assert (event.type, event.actor, event.data["assurance"]) == ("release.rolled_back", "otto", "server-attested")
    assert statuses(scene) == {1: Status.LIVE, 2: Status.ROLLED_BACK}


def test_a_hold_and_the_way_on(scene: Scene) -> None:
    assert act(scene, "hold")["data"]["number"] == 2
    shown = call(scene, "GET", "models/digits").json()
    assert shown["releases"][1]["held"] == {"by": "otto", "reason": "why"}
    assert "held by 'otto' already" in act(scene, "hold", number=2, status=409)["error"]
    act(scene, "resume")
    assert "no release that is held" in act(scene, "resume", status=409)["error"]


def test_the_kill_switch_diverts_or_silences_until_it_is_restored(scene: Scene) -> None:
    assert act(scene, "divert", to=1)["data"]["to"] == 1
    assert call(scene, "GET", "models/digits").json()["answering"] == {"1": 1.0}
    assert act(scene, "divert", to=None)["data"]["to"] is None
    assert call(scene, "GET", "models/digits").json()["diverted"] == {"to": None, "by": "otto", "reason": "why"}
    act(scene, "restore")
    assert call(scene, "GET", "models/digits").json()["answering"] == {"1": 1.0, "2": 0.1}


def test_a_model_tells_what_its_canary_still_needs(scene: Scene) -> None:
    shown = call(scene, "GET", "models/digits").json()
    assert [r["status"] for r in shown["releases"]] == ["live", "canary"]
    step = shown["releases"][1]["step"]
    assert (step["share"], step["next"], step["requests_left"], step["seconds_left"]) == (0.1, 0.2, 1, 0)


def test_who_is_no_operator_moves_nothing(scene: Scene) -> None:
    assert "'grace' is not an operator" in act(scene, "rollback", actor="grace", status=409)["error"]
    size = scene.ledger.size
    assert act(scene, "rollback", actor=None, status=401)
    assert call(scene, "POST", "models/digits/rollback", models="faces", json={"reason": "x"}).status_code == 403
    assert call(scene, "GET", "models/digits", models="faces").status_code == 403
    assert scene.ledger.size == size


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "`reason` is missing"),
        (b'{"reason": " "}', "`reason` is missing"),
        (b'{"reason": "r", "number": true}', "expected the number of a release"),
        (b'{"reason": "r", "force": 1}', "unknown fields"),
        (b"[" * 10_000, "no JSON"),
    ],
)
def test_a_body_that_says_nothing_clear_does_nothing(scene: Scene, content: bytes, words: str) -> None:
    done = call(scene, "POST", "models/digits/rollback", content=content)
    assert done.status_code == 400
    assert words in done.json()["error"]


def test_a_body_too_large_and_an_act_unknown_are_refused(scene: Scene) -> None:
    assert call(scene, "POST", "models/digits/rollback", content=b" " * 1_000_001).status_code == 413
    assert act(scene, "promote", status=404)["error"].startswith("no act 'promote'")
    assert call(scene, "GET", "models/nothing").status_code == 409


def test_a_firing_alert_rolls_its_release_back_once(scene: Scene) -> None:
    (first,) = alerted(scene, alert())["alerts"]
    assert (first["done"], first["to"]) == ("rolled back", 1)
    event = scene.ledger.entry(first["index"]).event
    assert (event.actor, event.data["alarm"], event.data["reason"]) == (
        "monitor",
        first["alarm"],
        "Alertmanager: TooSlow",
    )
    size = scene.ledger.size
    (again,) = alerted(scene, alert())["alerts"]
    assert (again["done"], again["alarm"]) == ("nothing", first["alarm"])
    assert scene.ledger.size == size


def test_alerts_that_say_nothing_about_a_release_do_nothing(scene: Scene) -> None:
    size = scene.ledger.size
    elsewhere = alert(labels={"alertname": "TooSlow", "model": "faces", "release": "1"})
    done = alerted(scene, alert(status="resolved"), alert(labels={"alertname": "DiskFull"}), elsewhere)["alerts"]
    assert [one["done"] for one in done] == ["nothing"] * 3
    assert "no model 'faces'" in done[2]["because"]
    assert scene.ledger.size == size


@pytest.mark.parametrize(
    "wrong",
    [
        alert(labels={"model": "digits", "release": "two"}),
        alert(labels="digits"),
        {"status": "firing", "labels": {}},
    ],
)
def test_an_alert_that_alertmanager_never_sends_is_refused(scene: Scene, wrong: dict[str, Any]) -> None:
    assert "error" in alerted(scene, wrong, status=400)


def test_another_version_of_the_webhook_is_refused(scene: Scene) -> None:
    done = call(scene, "POST", "alerts", json={"version": "3", "alerts": []})
    assert (done.status_code, "Alertmanager" in done.json()["error"]) == (400, True)


def test_an_alert_about_a_model_that_the_token_is_not_for_is_refused(scene: Scene) -> None:
    done = call(scene, "POST", "alerts", models="faces", json={"version": "4", "alerts": [alert()]})
    assert done.status_code == 403
    assert statuses(scene)[2] is Status.CANARY
