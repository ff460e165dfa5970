"""Somebody to forget and telemetry past its period: what the tests of privacy, and of attacks on it, begin with."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pruneguard import canonical, home, testing
from pruneguard.artifacts import Artifacts
from pruneguard.ledger import rules
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import LogKey, Signer, load_log_key, new_log_key
from pruneguard.ledger.ledger import Ledger, opening
from pruneguard.ledger.postgresql import PostgresqlStore
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.sqlite import SqliteStore
from pruneguard.privacy import holds, retention, subjects
from pruneguard.privacy.schedule import Period, RecordClass, Schedule
from pruneguard.settings import Settings

PERSON, NAME, MAIL = "grace", "Grace Brewster Hopper", "g.hopper@navy.example"
FIELDS = {"name": NAME, "mail": MAIL}

LONG_AGO = datetime(2023, 1, 2, 9, tzinfo=UTC)
TODAY = datetime(2026, 1, 2, 9, tzinfo=UTC)
A_YEAR_AGO = datetime(2025, 1, 20, 9, tzinfo=UTC)
"""When only the first tile of the log was past its period."""
SCHEDULE = Schedule(
    "test", 1, "a test", {RecordClass.TELEMETRY: Period(24, "why"), RecordClass.DECISIONS: Period(120, "why")}
)


def root() -> Signer:
    return testing.people()["root"]


def write_key(settings: Settings) -> Path:
    """Root's key as a file, where the command line looks for it."""
    signer, path = root(), settings.keys_dir / "root.key"
    pem = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    document = {"kind": "signer/v1", "owner": "root", "public_key": signer.public_key, "private_key": pem}
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def opened(settings: Settings, *, at: datetime = testing.START) -> Ledger:
    """A new ledger whose clock begins then."""
    key = new_log_key(settings.keys_dir / "log.key", testing.ORIGIN)
    settings.home.mkdir(parents=True, exist_ok=True)
    store = SqliteStore if settings.ledger.startswith("sqlite") else PostgresqlStore
    return Ledger(store.create(settings.ledger, key.verifier.vkey, *opening(key, time=utc(at))), key=key)


# -- a person


def described(folder: Path, *, fields: dict[str, str] | None = None, **urls: str) -> Settings:
    """A home that knows somebody's name and address; in SQLite where no URLs are given."""
    settings = Settings(home=folder, **urls)
    ledger = opened(settings)
    testing.register(ledger)
    subjects.describe(ledger, home.vault(settings), person=PERSON, fields=fields or FIELDS, signer=root())
    ledger.close()
    return settings


def erase(settings: Settings, *, person: str = PERSON) -> int | None:
    ledger = home.open_ledger(settings)
    try:
        return subjects.erase(ledger, home.vault(settings), person=person, basis="art17", signer=root())
    finally:
        ledger.close()


def back_up(settings: Settings, to: Path) -> None:
    """Copy what opens commitments, keys included, as a backup would that should not have."""
    to.mkdir()
    shutil.copy(settings.home / "privacy.sqlite", to)
    shutil.copytree(settings.keys_dir / "subjects", to / "subjects")


def restore(settings: Settings, of: Path) -> None:
    shutil.copy(of / "privacy.sqlite", settings.home)
    shutil.copytree(of / "subjects", settings.keys_dir / "subjects", dirs_exist_ok=True)


def kept(settings: Settings, *, person: str = PERSON) -> list[str]:
    """What the vault gives away of somebody when it is asked without the ledger."""
    return sorted(field.value for field in home.vault(settings).read(person))


# -- telemetry


@dataclass(frozen=True, slots=True)
class Observed:
    """A ledger whose telemetry of 2023 is past its period on `TODAY`."""

    settings: Settings
    batches: tuple[str, ...]
    """Artefacts that only that telemetry names: two in the first tile of the log and one in the second."""
    shared: str
    """An artefact that it names and a decision names too."""
    last: str
    """The batch sealed yesterday."""
    labels: str
    """What turned out to be true, sealed with the second of the batches."""


def observed(settings: Settings) -> Observed:
    """A model's life at the start of 2023 and 700 sealed batches up to February; a document; one batch of yesterday."""
    ledger, artifacts = opened(settings, at=LONG_AGO), home.artifacts(settings)
    testing.register(ledger, time=LONG_AGO)
    story = testing.story(ledger, artifacts, start=LONG_AGO)
    batches = tuple(artifacts.put(f"what was asked, {number}".encode()) for number in range(3))
    shared, last = artifacts.put(b"asked, and attached to a control"), artifacts.put(b"what was asked yesterday")
    named = [canonical.digest(str(number).encode()) for number in range(700)]
    named[0], named[1], named[400], named[401] = *batches, shared
    day = LONG_AGO + timedelta(days=1)
    labels = artifacts.put(b"what turned out to be true")
    ledger.record_all(
        sealed(story.twin, batch, at=day + timedelta(hours=n), labels=labels if n == 1 else None)
        for n, batch in enumerate(named)
    )
    about = {"framework": "mine", "control": "1", "title": "a sample", "statement": "as seen"}
    attached = Event("document.attached", "root", about, {"document": shared}, time=utc(day + timedelta(days=60)))
    ledger.record(attached, signer=root())
    ledger.record(sealed(story.twin, last, at=TODAY - timedelta(days=1)))
    ledger.close()
    return Observed(settings, batches, shared, last, labels)


def sealed(model: str, batch: str, *, at: datetime, labels: str | None = None) -> Event:
    data = {"model": "digits", "number": 1, "rows": 7, "labels": int(labels is not None)}
    refs = {"model": model, "batch": batch} | ({"labels": labels} if labels else {})
    return Event("batch.sealed", MONITOR, data, refs, time=utc(at))


def retain(settings: Settings, *, as_of: datetime = TODAY) -> list[retention.Dropped]:
    ledger = home.open_ledger(settings)
    try:
        return list(retention.apply(ledger, home.artifacts(settings), SCHEDULE, as_of=as_of, signer=root()))
    finally:
        ledger.close()


def ordered_under_a_hold(settings: Settings, *, carried_out: bool) -> int:
    """A hold stands, and a service that asks no rule records all the same what is to go; the position of its event."""
    ledger, artifacts = home.open_ledger(settings), home.artifacts(settings)
    telemetry, _ = retention.survey(ledger.state(), SCHEDULE, as_of=TODAY)
    holds.place(ledger, hold="case-7", scope="telemetry", reason="a court asked", signer=root())
    removed = retention.only_named_in(ledger, telemetry.due)
    order = retention.order(artifacts, SCHEDULE, telemetry, telemetry.due, removed, actor="root")
    with patch.dict(rules._RULES, {"retention.applied": lambda state, entry: iter(())}):  # type: ignore[arg-type]
        index = ledger.record(order, signer=root()).index
    if carried_out:
        ledger.store.drop_bodies(telemetry.due)
    ledger.close()
    return index


def dropped_without_a_word(settings: Settings) -> None:
    """Bodies are gone, and no event says why."""
    ledger = home.open_ledger(settings)
    ledger.store.drop_bodies([(100, 102)])
    ledger.close()


def stored(settings: Settings, digests: tuple[str, ...]) -> list[bool]:
    artifacts = Artifacts(settings.artifacts)
    return [digest in artifacts for digest in digests]


# -- from outside


def log_key(settings: Settings) -> LogKey:
    return load_log_key(settings.keys_dir / "log.key")


_SEARCH = """
import base64, sys
from pathlib import Path

value = bytes.fromhex(sys.argv[2])
spellings = {value, value.hex().encode(), value.hex().upper().encode()}
for text in [value.decode()] if sys.argv[3] == "text" else []:
    spellings |= {text.encode("utf-16-le"), text.encode("utf-16-be")}
for before in range(3):  # base64 spells the same bytes in three ways, by where they begin
    whole = base64.b64encode(bytes(before) + value)
    spellings.add(whole[-(-before * 8 // 6) : len(whole) - len(whole) % 4 - 4])
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings):
        print(path.relative_to(sys.argv[1]))
"""


def files_with(folder: Path, value: str | bytes) -> list[str]:
    """Every file below a folder that holds a value: its bytes, or how UTF-16, base64 or hexadecimal writes them.

    In a process of its own: reading a database beside SQLite would drop this process's locks on it.
    """
    content, kind = (value.encode(), "text") if isinstance(value, str) else (value, "bytes")
    command = [sys.executable, "-c", _SEARCH, str(folder), content.hex(), kind]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


_KILLED = """
import importlib, os, signal, sys
from pruneguard.cli import main

module, _, names = sys.argv[1].partition(":")
owner, name = importlib.import_module(module), names
if "." in names:
    owner, name = getattr(owner, names.split(".")[0]), names.split(".")[1]
setattr(owner, name, lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[2:])
"""


def killed_before(step: str, *command: str, settings: Settings) -> int:
    """Run a command that is killed where it would begin `step` ("module:Class.method"); returns the exit status."""
    environ = {**settings.environ, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, "-c", _KILLED, step, *command], check=False, env=environ).returncode
