"""Commands that look: status, doctor."""

import argparse
import importlib
import platform
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pruneguard.cli import standing
from pruneguard.cli.arguments import Commands, command, settings, show, with_json
from pruneguard.errors import InvalidInputError, PruneGuardError
from pruneguard.urls import shown

# What each part of the service is built on; `doctor` imports them, since an install can look right and not run.
PARTS = (
    "cryptography",
    "rfc8785",
    "torch",
    "onnx",
    "onnxruntime",
    "torch_pruning",
    "sklearn",
    "pandas",
    "great_expectations",
    "evidently",
    "prometheus_client",
    "prefect",
    "streamlit",
    "sqlalchemy",
    "uvicorn",
)


def add(commands: Commands) -> None:
    status = with_json(command(commands, "status", _status, "What answers, since when, and what waits for whom."))
    status.add_argument("model", nargs="?", help="one model only")
    status.add_argument("--at", metavar="TIME", help="what answered then, who agreed to it and on which evidence")
    status.add_argument(
        "--proof", type=Path, metavar="DIR", help="with --at: write the proofs of what decided it there"
    )
    with_json(command(commands, "doctor", _doctor, "Check that this installation can run, and say what to do if not."))


def _status(args: argparse.Namespace) -> int:
    from pruneguard import held, home, releases
    from pruneguard.ledger.events import utc

    known = settings()
    ledger = home.read_ledger(known)
    held.Shelf(known.held_dir).follow(ledger)
    state = ledger.state()
    models = {args.model: releases.find_model(state, args.model)} if args.model else state.models
    if args.at or args.proof:
        return _status_at(args, ledger, list(models.values()))
    now = max(state.clock, utc(datetime.now(UTC)))  # a waiver lapses whether anybody records something or not
    found = [_model(state, model, now) for model in models.values()]
    document = {
        "ledger": {
            "origin": state.origin,
            "vkey": ledger.verifier.vkey,
            "size": state.size,
            "violations": [list(v) for v in state.violations],
        },
        "models": found,
    }
    if args.json:
        show(document)
    else:
        print(f"ledger {state.origin}: {state.size} events, {len(state.violations)} violations")
        for line in (line for model in found for line in _lines(model)):
            print(line)
        if not models:
            print("no models yet; next: pruneguard run MANIFEST")
    return 0


def _status_at(args: argparse.Namespace, ledger: Any, models: list[Any]) -> int:
    from pruneguard.audit.selection import moment
    from pruneguard.ledger.events import utc

    if not args.at:
        raise InvalidInputError("--proof is of what answered at a moment; name it with --at TIME")
    at = moment(args.at)
    if at > max(ledger.state().clock, utc(datetime.now(UTC))):
        raise InvalidInputError(f"{at} is to come; name a moment that has passed, or leave --at out for now")
    found = standing.stood(ledger.state(), models, at)
    proofs = standing.write_proofs(ledger, found, args.proof) if args.proof else []
    if args.json:
        show({"at": at, "models": found, "proofs": [str(path) for path in proofs]})
        return 0
    for line in standing.lines(found, at):
        print(line)
    if proofs:
        print(f"{len(proofs)} proofs in {args.proof}: each is a C2SP tlog-proof of one entry")
    return 0


def _model(state: Any, model: Any, now: str) -> dict[str, Any]:
    from pruneguard.releases import told_step, told_waivers, unreleased

    releases = [
        {
            "number": r.number,
            "status": r.status.value,
            "share": r.share,
            "digest": r.digest,
            "since": r.changed_at,
            "author": r.author,
            "approvals": standing.approvals(r),
            "waived": told_waivers(state, r, now) or None,
            "held": r.held and {"by": r.held.by, "reason": r.held.reason, "time": r.held.time},
            "copies": r.shadow or None,
            "step": told_step(state, r, now),
        }
        for r in model.releases.values()
    ]
    released = {r.digest for r in model.releases.values()}
    judged = [
        {
            "digest": v.candidate,
            "verdict": v.digest,
            "score": v.score(),
            "failed": dict(v.objections),
            "waived": {
                rule: {"by": w.granted_by, "expires": w.expires, "control": w.control}
                for rule, w in state.waived(v, now).items()
            },
        }
        for v in unreleased(model)
        if v.objections or v.candidate not in released
    ]
    alarms = [{"number": a.number, "detector": a.detector, "cause": a.cause, "time": a.time} for a in model.alarms]
    return {
        "model": model.name,
        "live": model.live.number if model.live else None,
        "canary": model.canary.number if model.canary else None,
        "answering": {str(number): share for number, share in sorted(model.answering.items())},
        "diverted": model.diverted and standing.diverted(model.diverted),
        "releases": releases,
        "judged": judged,
        "alarms": alarms,
    }


def _lines(model: dict[str, Any]) -> Iterator[str]:
    yield f"{model['model']}: " + (f"version {model['live']} answers" if model["live"] else "nothing answers")
    if diverted := model["diverted"]:
        yield f"  DIVERTED by {diverted['by']} to {diverted['to'] or 'nothing (503)'}: {diverted['reason']}"
        yield f"       next: pruneguard restore {model['model']} --reason ..."
    for r in model["releases"]:
        agreed = ", ".join(f"{approval['actor']} ({approval['assurance']})" for approval in r["approvals"])
        by = f", approved by {agreed}" if agreed else f", proposed by {r['author']}"
        share = f" at {r['share']:.0%}" if r["status"] == "canary" else ""
        yield f"  {r['number']:>3}  {r['status']}{share} since {r['since'][:19]}Z{by}  {r['digest'][:19]}"
        if r["waived"]:
            yield f"       {r['waived']}"
        if r["held"]:
            yield f"       held by {r['held']['by']}: {r['held']['reason']}"
        if r["copies"]:
            yield f"       answers copies of {r['copies']:.0%} of the requests, unheard"
        if r["step"]:
            yield f"       {standing.step(r['step'])}"
        if r["status"] == "proposed":
            yield f"       next: pruneguard approve {model['model']} {r['number']} --reason ..."
        if r["status"] == "approved":
            yield "       next: pruneguard up, which gives it traffic; where one runs already it follows by itself"
    for j in model["judged"][-3:]:
        yield f"    -  judged, not released: {j['score']} rules pass  {j['digest'][:19]}"
        for rule, outcome in j["failed"].items():
            yield f"       {rule}: {'failed, waived' if rule in j['waived'] else outcome}"
    for alarm in model["alarms"][-3:]:
        yield f"  alarm {alarm['time'][:19]}Z on version {alarm['number']}: {alarm['detector']}, {alarm['cause']}"


def _doctor(args: argparse.Namespace) -> int:
    checks = list(_checks())
    if args.json:
        show([{"check": name, "ok": ok, "found": found} for name, ok, found in checks])
    else:
        for name, ok, found in checks:
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {found}")
    return 0 if all(ok for _, ok, _ in checks) else 1


def _checks() -> Iterator[tuple[str, bool, str]]:
    yield "python", sys.version_info >= (3, 11), platform.python_version()
    for name in PARTS:
        try:
            yield name, True, str(getattr(importlib.import_module(name), "__version__", "imports"))
        except Exception as error:  # noqa: BLE001  # an import can fail in any way; that is what is asked here
            yield name, False, f"{type(error).__name__}: {error}; run `make venv`"
    try:
        known = settings()
    except (PruneGuardError, ImportError) as error:
        yield "settings", False, str(error)
        return
    for name, value in known.model_dump().items():
        unset = "(not set)" if name == "passphrase" else "(derived from PRUNEGUARD_HOME)"
        yield f"PRUNEGUARD_{name.upper()}", True, shown(str(value)) or unset
    for port in (known.gateway_port, known.dashboard_port):
        yield f"port {port}", *_port(known.host, port)
    yield "ledger", *_ledger(known)


def _port(host: str, port: int) -> tuple[bool, str]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return False, f"{error.strerror}; if that is not this service, choose another port"
    return True, "free"


def _ledger(known: Any) -> tuple[bool, str]:
    from pruneguard import home

    if not home.exists(known):
        return True, f"none in {known.home.resolve()} yet; `pruneguard init` makes one"
    try:
        ledger = home.read_ledger(known, verify=True)
    except PruneGuardError as error:
        return False, str(error)
    violations = ledger.state().violations
    return not violations, f"{ledger.size} events, every hash and checkpoint holds, {len(violations)} violations"
