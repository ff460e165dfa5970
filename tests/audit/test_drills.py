"""The drills of the gates in a bundle: the newest under each policy that a verdict rests on, decided again."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pruneguard import canonical, testing
from pruneguard.audit.report import Level
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import verify
from pruneguard.evidence import Evidence, PairedTable
from pruneguard.gates.exhibits import ArtefactTest, Exhibit
from pruneguard.ledger.events import Event
from tests.audit.conftest import Told, contents, packed, rewritten
from tests.audit.telling import Teller
from tests.audit.test_verify import again, refused

DIGESTS = [canonical.digest(name.encode()) for name in ("bad", "clean", "twin", "rows")]


def held(seed: int) -> ArtefactTest:
    """One bad artefact that nothing is known about, and a clean one that is no better off: two refusals."""
    bad, clean, twin, rows = DIGESTS
    found = {"quality.paired": PairedTable(90 + seed, 0, 10, 0)}
    exhibits = [
        Exhibit(name, fault, "quality.paired", digest, twin, rows, (Evidence(digest, twin, rows, found),))
        for name, fault, digest in (("stump", "cut too far", bad), ("pruned", None, clean))
    ]
    return ArtefactTest(testing.POLICY, seed, tuple(exhibits))


def drilled(told: Told, *seeds: int) -> list[int]:
    """Positions of drills recorded behind the story."""
    policy = canonical.digest(testing.POLICY.encode())
    teller = Teller(told.ledger, told.artifacts, told.story.model, testing.START + timedelta(days=2))
    at = []
    for seed in seeds:
        refs = {"policy": policy, "report": told.artifacts.put(held(seed).encode())}
        at.append(teller.act("gates.drilled", "ada", refs, **held(seed).outline).index)
    return at


def path(report: str) -> str:
    return f"documents/{report.replace(':', '/')}"


def test_a_bundle_brings_the_newest_drill_and_verifies(fresh: Told, tmp_path: Path) -> None:
    drilled(fresh, 1, 2)
    files = contents(fresh.ledger, fresh.artifacts, model=fresh.story.model)
    assert path(held(2).digest) in files
    assert path(held(1).digest) not in files
    bundle = packed(files, tmp_path / "b.tar")
    report = verify(bundle)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert standalone.verify(bundle.read_bytes())["ok"]


def test_a_drill_after_the_span_is_not_in_it(fresh: Told, tmp_path: Path) -> None:
    (at,) = drilled(fresh, 1)
    files = contents(fresh.ledger, fresh.artifacts, model=fresh.story.model, end=recorded(fresh, at).time)
    assert path(held(1).digest) not in files
    bundle = packed(files, tmp_path / "b.tar")
    assert verify(bundle).ok
    assert standalone.verify(bundle.read_bytes())["ok"]


def changed(told: Told, at: int, **changes: Any) -> dict[str, bytes]:
    """The bundle of a log in which a drill says something else, signed by its engineer all the same."""

    def change(entries: list[bytes]) -> None:
        entries[at] = again(entries[at], "ada", **changes)

    return rewritten(told, change)


def recorded(told: Told, at: int) -> Event:
    return told.ledger.entry(at).event


@pytest.mark.parametrize(("name", "told"), [("refused", 0), ("of", 9), ("clean_passed", 1), ("clean_of", 9)])
def test_a_drill_recorded_better_or_worse_than_it_went_is_found(
    fresh: Told, tmp_path: Path, name: str, told: int
) -> None:
    (at,) = drilled(fresh, 1)
    files = changed(fresh, at, data={**recorded(fresh, at).data, name: told})
    bundle = packed(files, tmp_path / "b.tar")
    assert f"recorded with {name} {told}; its evidence leads to" in refused(bundle, Level.SEMANTICS)
    assert standalone.verify(bundle.read_bytes())["exit_code"] == 14


def test_a_report_that_does_not_follow_from_its_evidence_is_found(fresh: Told, tmp_path: Path) -> None:
    (at,) = drilled(fresh, 1)
    document = canonical.decode(held(1).encode())
    document["exhibits"][1]["refused"], document["clean_passed"] = False, 1
    forged = fresh.artifacts.put(canonical.encode(document))
    event = replace(recorded(fresh, at), data={**recorded(fresh, at).data, "clean_passed": 1})
    files = changed(fresh, at, data=event.data, refs={**event.refs, "report": forged})
    found = refused(packed(files, tmp_path / "b.tar"), Level.SEMANTICS)
    assert f"the report {forged}: the evidence in this artefact test does not lead" in found


def test_a_drill_that_an_approver_signed_is_refused_by_both_verifiers(fresh: Told, tmp_path: Path) -> None:
    (at,) = drilled(fresh, 1)

    def forge(entries: list[bytes]) -> None:
        entries[at] = again(entries[at], "grace", actor="grace")

    bundle = packed(rewritten(fresh, forge), tmp_path / "b.tar")
    assert "'grace' is not an engineer" in refused(bundle, Level.SEMANTICS)
    assert standalone.verify(bundle.read_bytes())["exit_code"] == 14
