"""Acts of operators over HTTP: the same as on the command line, in the name of a token's holder.

GET /operations/models/{name} tells how a model stands; POST below it with a JSON object acts: `rollback`, `hold`,
`resume`, `divert` (`to` a release, or null for nothing), `restore`, each with a `reason`. POST /operations/alerts takes
what Prometheus' Alertmanager sends to a webhook (version "4"): a firing alert with the labels `model` and `release`
becomes an alarm, once for each time that it fires, and a rollback where the release's policy lets a monitor roll back.

An act is one event, unsigned and recorded as attested by the service; a policy that takes no clicks refuses all but the
rollback.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruneguard import releases
from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.ledger.events import Event
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Model, Release, Status
from pruneguard.policy import Action
from pruneguard.releases import find_model, find_release
from pruneguard.serving import protocol
from pruneguard.serving.access import Identity, identity
from pruneguard.serving.protocol import RequestError

BODY_BYTES_MAX = 1_000_000
ALERTS_MAX = 1_000
DETECTOR = "alertmanager"

Act = Callable[[Ledger, str, str, Mapping[str, Any]], Recorded]


def routes(open_ledger: Callable[[], Ledger]) -> list[Route]:
    """The paths. `open_ledger` gives a ledger that can be written; it is called when somebody first acts."""
    operations = Operations(open_ledger)
    return [
        Route("/operations/models/{name}", operations.show),
        Route("/operations/models/{name}/{act}", operations.act, methods=["POST"]),
        Route("/operations/alerts", operations.alerts, methods=["POST"]),
    ]


class Operations:
    """One ledger for all who act: an act waits for the one before it, and nothing else waits for either."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()

    async def show(self, request: Request) -> Response:
        identity(request).require(name := request.path_params["name"])
        return JSONResponse(await self._apart(lambda ledger: standing(find_model(ledger.state(), name), ledger)))

    async def act(self, request: Request) -> Response:
        who, name, wanted = identity(request), request.path_params["name"], request.path_params["act"]
        who.require(name)
        if wanted not in ACTS:
            raise RequestError(f"no act {wanted[:40]!r}; there are {sorted(ACTS)}", status=404)
        said = await _body(request)
        _only(said, "reason", "number", "to")
        return JSONResponse(await self._apart(lambda ledger: told(ACTS[wanted](ledger, name, who.actor, said))))

    async def alerts(self, request: Request) -> Response:
        who, said = identity(request), await _body(request)
        alerts = said.get("alerts")
        if said.get("version") != "4" or not isinstance(alerts, list) or len(alerts) > ALERTS_MAX:
            raise RequestError(f'expected what Alertmanager sends, version "4" with at most {ALERTS_MAX} alerts')
        done = [await self._apart(partial(alerted, alert=one, who=who)) for one in alerts]
        return JSONResponse({"alerts": done})

    async def _apart(self, work: Callable[[Ledger], Any]) -> Any:
        """Off the event loop: a commit waits for the disk. Raises RequestError with what the rules object."""

        def locked() -> Any:
            with self._lock:
                self._ledger = self._ledger or self._open_ledger()
                return work(self._ledger)

        try:
            return await asyncio.to_thread(locked)
        except RequestError:
            raise
        except InvalidInputError as error:
            raise RequestError(str(error), status=409) from error
        except UnavailableError as error:
            raise RequestError(str(error), status=503) from error


def standing(model: Model, ledger: Ledger) -> dict[str, Any]:
    """What answers for a model, what is on its way, and what the next step of it needs."""
    state, diverted = ledger.state(), model.diverted
    return {
        "model": model.name,
        "size": state.size,
        "answering": {str(number): share for number, share in sorted(model.answering.items())},
        "diverted": diverted and {"to": diverted.to, "by": diverted.by, "reason": diverted.reason},
        "releases": [
            {
                "number": release.number,
                "status": release.status.value,
                "share": release.share,
                "digest": release.digest,
                "held": release.held and {"by": release.held.by, "reason": release.held.reason},
                "copies": release.shadow or None,
                "step": releases.told_step(state, release),
            }
            for release in model.releases.values()
        ],
    }


def told(done: Recorded) -> dict[str, Any]:
    """What was recorded, and where."""
    return {"index": done.index, "event": done.event.id, "type": done.event.type, "data": dict(done.event.data)}


def alerted(ledger: Ledger, *, alert: object, who: Identity) -> dict[str, Any]:
    """What becomes of one alert; asked for again, the same and nothing more."""
    labels = alert.get("labels") if isinstance(alert, dict) else None
    if not isinstance(alert, dict) or not isinstance(labels, dict) or not isinstance(alert.get("fingerprint"), str):
        raise RequestError("an alert without labels or fingerprint; expected what Alertmanager sends, version 4")
    answer = {"fingerprint": alert["fingerprint"]}
    name, number = labels.get("model"), labels.get("release")
    if alert.get("status") != "firing" or name is None or number is None:
        return {**answer, "done": "nothing", "because": "only a firing alert about a model and a release is acted on"}
    if not isinstance(name, str) or not isinstance(number, str) or not number.isdecimal() or len(number) > 9:
        raise RequestError(f"the labels model and release are {name!r} and {number!r}; expected a name and a number")
    who.require(name)
    try:
        release = find_release(ledger.state(), model=name, number=int(number))
    except InvalidInputError as error:  # of another environment, maybe: the alerts beside it are acted on
        return {**answer, "done": "nothing", "because": str(error)}
    raised = ledger.record(_alarm(release, alert, labels))
    return {**answer, "alarm": raised.event.id, **_acted(ledger, release, raised.event, str(labels.get("alertname")))}


def _acted(ledger: Ledger, release: Release, alarm: Event, called: str) -> dict[str, Any]:
    state = ledger.state()
    model, now = state.models[release.model], state.models[release.model].releases[release.number]
    if now.status is Status.ROLLED_BACK:
        return {"done": "nothing", "because": f"release {release.number} is rolled back already"}
    if state.policies[release.policy].on_decay != Action.ROLL_BACK.value:
        return {"done": "nothing", "because": "its policy lets people decide"}
    target = model.live if now.status is Status.CANARY else model.fallback
    if now.status not in (Status.CANARY, Status.LIVE) or target is None:
        return {"done": "nothing", "because": f"release {release.number} is {now.status}, with nothing to go back to"}
    back = releases.roll_back(
        ledger,
        model=release.model,
        number=release.number,
        reason=f"Alertmanager: {called}"[:500],
        actor=MONITOR,
        alarm=alarm.id,
    )
    return {"done": "rolled back", "to": back.event.data["to"], "index": back.index}


def _alarm(release: Release, alert: Mapping[str, Any], labels: Mapping[str, Any]) -> Event:
    data = {
        "model": release.model,
        "number": release.number,
        "detector": DETECTOR,
        "cause": str(labels.get("alertname") or "an alert")[:200],
        "evidence": {"fingerprint": alert["fingerprint"][:64], "since": str(alert.get("startsAt"))[:64]},
    }
    fired = f"{alert['fingerprint'][:64]}/{str(alert.get('startsAt'))[:64]}"
    causation = f"{release.model}/{release.number}/alarm/{DETECTOR}/{fired}"
    return Event("alarm.raised", MONITOR, data, {"model": release.digest}, causation)


def _roll_back(ledger: Ledger, model: str, actor: str, said: Mapping[str, Any]) -> Recorded:
    return releases.roll_back(ledger, model=model, number=_number(said, "number"), reason=_reason(said), actor=actor)


def _hold(ledger: Ledger, model: str, actor: str, said: Mapping[str, Any]) -> Recorded:
    return releases.hold(ledger, model=model, number=_number(said, "number"), reason=_reason(said), actor=actor)


def _resume(ledger: Ledger, model: str, actor: str, said: Mapping[str, Any]) -> Recorded:
    return releases.resume(ledger, model=model, number=_number(said, "number"), reason=_reason(said), actor=actor)


def _divert(ledger: Ledger, model: str, actor: str, said: Mapping[str, Any]) -> Recorded:
    to, nothing = _number(said, "to"), "to" in said and said["to"] is None
    return releases.divert(ledger, model=model, to=to, nothing=nothing, reason=_reason(said), actor=actor)


def _restore(ledger: Ledger, model: str, actor: str, said: Mapping[str, Any]) -> Recorded:
    return releases.restore(ledger, model=model, reason=_reason(said), actor=actor)


ACTS: Mapping[str, Act] = {
    "rollback": _roll_back,
    "hold": _hold,
    "resume": _resume,
    "divert": _divert,
    "restore": _restore,
}


async def _body(request: Request) -> dict[str, Any]:
    parts, size = [], 0
    async for part in request.stream():
        if (size := size + len(part)) > BODY_BYTES_MAX:
            raise protocol.too_large(BODY_BYTES_MAX)
        parts.append(part)
    try:
        said = json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is no JSON; send an object") from error
    if not isinstance(said, dict):
        raise RequestError('expected a JSON object, as in {"reason": "why"}')
    return said


def _only(said: Mapping[str, Any], *known: str) -> None:
    if unknown := sorted(said.keys() - set(known)):
        raise RequestError(f"unknown fields {[name[:40] for name in unknown[:5]]}; known are {sorted(known)}")


def _reason(said: Mapping[str, Any]) -> str:
    reason = said.get("reason")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > 500:
        raise RequestError("`reason` is missing; say why in at most 500 characters, it stands in the audit trail")
    return reason


def _number(said: Mapping[str, Any], name: str) -> int | None:
    number = said.get(name)
    if number is not None and (type(number) is not int or number < 1):
        raise RequestError(f"{name!r} is {str(number)[:40]!r}; expected the number of a release")
    return number
