"""Commands about control frameworks: what is evidenced, and what a person says about the rest."""

import argparse
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.cli.arguments import Commands, command, service, settings, show, signer, with_json, with_key
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from pruneguard.artifacts import Artifacts
    from pruneguard.audit.controls import History, Row
    from pruneguard.audit.frameworks import Framework
    from pruneguard.ledger.events import Event
    from pruneguard.ledger.ledger import Ledger

FRAMEWORK = "nist-ai-rmf"
READ_AT_ONCE = 1_000


def add(kinds: Commands) -> None:
    controls = with_json(
        command(
            kinds,
            "controls",
            _controls,
            "Print every control of a framework, its state and the entries of the log that evidence it.\n\n"
            "An index for people who assess; neither a certification nor legal advice, and no score. States:\n"
            "  evidenced       all that is wanted is there, and current\n"
            "  partial         some of it; the line says what is missing\n"
            "  stale           it was there, and is past its expiry or its age\n"
            "  contradicted    something on record speaks against it\n"
            "  statement-only  a person says so, and no record or document shows it\n"
            "  none            nothing; `pruneguard audit attach` is how a person adds to it",
        )
    )
    controls.add_argument("model", nargs="?", help="count what is about this model, or about none (default: about any)")
    controls.add_argument("--framework", default=FRAMEWORK, help="nist-ai-rmf, iso-42001, eu-ai-act (default: first)")
    attach = command(
        kinds,
        "attach",
        _attach,
        "Say something about a control with your own key: a document, a statement, or both.\n\n"
        "  pruneguard audit attach nist-ai-rmf 'GOVERN 1.1' register.pdf --expires 2027-06-30\n"
        "  pruneguard audit attach nist-ai-rmf 'MAP 1.1' --statement 'Reviewed with the clinic on 3 May.'\n\n"
        "The document goes into the artefact store under its digest and into every bundle about the model; the log\n"
        "records who attached what and until when it holds. Past that day the control is stale until somebody\n"
        "attaches anew. What is attached stays: leave out names and whatever else must be deletable.",
    )
    attach.add_argument("framework", help="nist-ai-rmf, iso-42001 or eu-ai-act")
    attach.add_argument("control", help="as `pruneguard audit controls` lists it, such as 'GOVERN 1.1'")
    attach.add_argument("file", nargs="?", type=Path, help="the document, up to 2 MB")
    attach.add_argument("--statement", default="", help="what you say about it")
    attach.add_argument("--title", default="", help="what it is called (default: the file's name)")
    attach.add_argument("--expires", metavar="DAY", help="the first day, in UTC, on which it does not hold any more")
    attach.add_argument("--model", help="it is about this model only (default: about all)")
    with_key(attach, "ada")


def _attach(args: argparse.Namespace) -> int:
    from pruneguard import attachments, home

    known = settings()
    framework = _framework(args.framework)
    try:
        document = args.file.read_bytes() if args.file else None
    except OSError as error:
        raise InvalidInputError(f"{args.file} cannot be read: {error.strerror}; name a file that can") from error
    done = attachments.attach(
        home.open_ledger(known),
        home.artifacts(known),
        framework=framework,
        control=args.control,
        title=args.title or (args.file.name if args.file else ""),
        statement=args.statement,
        document=document,
        expires=attachments.day(args.expires) if args.expires else None,
        model=args.model,
        signer=signer(args, known),
    )
    data = done.event.data
    until = f" until {data['expires']}" if "expires" in data else ""
    print(f"{data['control']}: {data['title']!r} is attached{until} (event {done.index}, signed by {done.event.actor})")
    print(f"next: pruneguard audit controls --framework {framework.name}")
    return 0


def _controls(args: argparse.Namespace) -> int:
    from pruneguard import home
    from pruneguard.audit.controls import assess

    known = settings()
    framework = _framework(args.framework)
    history = _history(home.read_ledger(known), home.artifacts(known), args.model)
    rows = assess(framework, history)
    if args.json:
        show({"framework": framework.name, "at": history.at, "note": framework.note, "controls": _documents(rows)})
        return 0
    width = max(len(row.control.id) for row in rows)
    for row in rows:
        attached = [f"{a.index} document.attached" for a in row.attached[-1:]]
        cited = ", ".join([*(f"{c.index} {c.type}" for c in row.cited[-2:]), *attached]) or "no entry"
        missing = f"; missing: {'; '.join(row.missing)}" if row.missing else ""
        print(f"{row.control.id:<{width}}  {row.control.automation}  {row.state:<14}  {cited}{missing}")
    print(f"\n{framework.title}, as of {history.at}. {framework.note}")
    return 0


def _framework(name: str) -> "Framework":
    from pruneguard.audit.frameworks import Framework

    return Framework.decode(service("policies.framework").load_frameworks([name])[name])


def _history(ledger: "Ledger", artifacts: "Artifacts", model: str | None) -> "History":
    """What the ledger holds now about a model, or about all."""
    from pruneguard import releases
    from pruneguard.audit.controls import History
    from pruneguard.ledger.events import Entry, utc

    state = ledger.state()
    if model is not None:
        releases.find_model(state, model)
    kinds: dict[str, list[int]] = defaultdict(list)
    broken = {index for index, _ in state.violations}
    for start in range(0, state.size, READ_AT_ONCE):
        for index, raw in enumerate(ledger.raw(start, min(start + READ_AT_ONCE, state.size)), start):
            if raw and index not in broken:
                kinds[Entry.decode(raw).event.type].append(index)

    def event(index: int) -> "Event | None":
        (raw,) = ledger.raw(index, index + 1)
        found = Entry.decode(raw).event if raw else None
        return found if found and (model is None or found.data.get("model") in (None, model)) else None

    def read(digest: str) -> bytes | None:
        return artifacts.get(digest) if digest in artifacts else None

    return History(max(state.clock, utc(datetime.now(UTC))), kinds, event, read, state.violations)


def _documents(rows: "tuple[Row, ...]") -> list[dict[str, object]]:
    return [
        {
            "control": row.control.id,
            "class": row.control.automation.value,
            "state": row.state.value,
            "system_half": row.system.value,
            "why": row.why,
            "entries": [{"position": c.index, "type": c.type, "documents": list(c.documents)} for c in row.cited],
            "attached": [
                {"position": a.index, "by": a.by, "title": a.title, "current": a.current} for a in row.attached
            ],
        }
        for row in rows
    ]
