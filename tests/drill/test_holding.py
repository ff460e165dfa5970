"""A drill is checked before it is held, recorded once for each moment that it was due, and decided again by readers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pruneguard import canonical, home, releases
from pruneguard.artifacts import Artifacts
from pruneguard.audit.redecide import drill_faults
from pruneguard.drill import holding
from pruneguard.drill.holding import Drilling
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Evidence, PairedTable
from pruneguard.gates.exhibits import ArtefactTest, Exhibit
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import load_signer
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Drill, State
from pruneguard.settings import Settings
from tests.gates.cases import policy, rule

POLICY = policy(rule("non_inferior", "quality.paired", margin=0.01))
WEEK = timedelta(days=7)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
ONE, TWO, TWIN, ROWS = (f"sha256:{digit * 64}" for digit in "1234")


def exhibit(name: str, digest: str, table: PairedTable, *, fault: str | None) -> Exhibit:
    evidence = (Evidence(digest, TWIN, ROWS, {"quality.paired": table}),)
    return Exhibit(name, fault, "quality.paired" if fault else "", digest, TWIN, ROWS, evidence)


TEST = ArtefactTest(
    POLICY,
    1,
    (
        exhibit("stump", ONE, PairedTable(900, 0, 100, 0), fault="cut too far"),
        exhibit("pruned", TWO, PairedTable(990, 5, 5, 0), fault=None),
    ),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "var")
    home.create(settings, admin="root", team=True).close()
    return settings


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    ledger = home.open_ledger(settings)
    grace = load_signer(settings.keys_dir / "grace.key")
    releases.adopt(ledger, home.artifacts(settings), policy=POLICY, signer=grace)
    yield ledger
    ledger.close()


@pytest.fixture
def drilling(settings: Settings, ledger: Ledger) -> Drilling:
    return begun(settings, ledger, scheduled=MONDAY)


def begun(settings: Settings, ledger: Ledger, *, by: str = "ada", scheduled: datetime | None = None) -> Drilling:
    signer = load_signer(settings.keys_dir / f"{by}.key")
    artifacts = home.artifacts(settings)
    return holding.begin(POLICY, seed=1, ledger=ledger, artifacts=artifacts, signer=signer, scheduled=scheduled)


def test_a_policy_that_nobody_adopted_is_refused_before_any_work(settings: Settings) -> None:
    ledger = home.open_ledger(settings)
    with pytest.raises(InvalidInputError, match="was never adopted here; an approver adopts it"):
        begun(settings, ledger)
    ledger.close()


def test_who_may_not_sign_is_refused_before_any_work(settings: Settings, ledger: Ledger) -> None:
    with pytest.raises(InvalidInputError, match="'grace' is not an engineer"):
        begun(settings, ledger, by="grace")


def test_a_drill_for_one_moment_is_on_record_once_and_found_there(drilling: Drilling) -> None:
    assert holding.recall(drilling) is None
    first, second = holding.record(drilling, TEST), holding.record(drilling, TEST)
    assert first.index == second.index
    assert holding.recall(drilling) == TEST
    (drill,) = drilling.ledger.state().drills
    assert (drill.refused, drill.of, drill.clean_passed, drill.clean_of, drill.by) == (1, 1, 1, 1, "ada")
    assert drill.policy == POLICY.digest
    later = replace(drilling, scheduled=MONDAY + WEEK)
    assert holding.recall(later) is None
    assert holding.record(later, TEST).index > first.index


def test_a_drill_that_a_person_asks_for_is_recorded_each_time(settings: Settings, ledger: Ledger) -> None:
    drilling = begun(settings, ledger)
    for _ in range(2):
        assert holding.recall(drilling) is None
        holding.record(drilling, TEST)
    assert len(ledger.state().drills) == 2


def test_a_drill_that_failed_is_on_record_too(drilling: Drilling) -> None:
    let = exhibit("nobody sees it", ONE, PairedTable(990, 5, 5, 0), fault="a back door")
    holding.record(drilling, replace(TEST, exhibits=(*TEST.exhibits, let)))
    (drill,) = drilling.ledger.state().drills
    assert (drill.refused, drill.of) == (1, 2)


def recorded(drilling: Drilling) -> Event:
    return drilling.ledger.entry(holding.record(drilling, TEST).index).event


def test_a_drill_is_decided_again_from_its_evidence(drilling: Drilling) -> None:
    assert list(drill_faults(recorded(drilling), drilling.artifacts.get)) == []


@pytest.mark.parametrize("name", ["refused", "of", "clean_passed", "clean_of"])
def test_a_drill_that_is_told_otherwise_is_found(drilling: Drilling, name: str) -> None:
    event = recorded(drilling)
    told = replace(event, data={**event.data, name: 7})
    assert list(drill_faults(told, drilling.artifacts.get)) == [f"recorded with {name} 7; its evidence leads to 1"]


def test_a_report_that_does_not_follow_from_its_evidence_is_found(drilling: Drilling) -> None:
    document = json.loads(TEST.encode())
    document["exhibits"][0]["evidence"][0]["measurements"]["quality.paired"]["both_right"] = 1_000_000
    _is_found(drilling, canonical.encode(document))


def test_a_report_that_is_none_is_found(drilling: Drilling) -> None:
    _is_found(drilling, b"all is well")


def _is_found(drilling: Drilling, report: bytes) -> None:
    event = recorded(drilling)
    artifacts: Artifacts = drilling.artifacts
    told = replace(event, refs={**event.refs, "report": artifacts.put(report)})
    (found,) = drill_faults(told, artifacts.get)
    assert found.startswith(f"the report {told.refs['report']}: ")


# -- when a drill is due ----------------------------------------------------------------------------------------------


def state(*times: datetime, policy: str = "p") -> State:
    drills = [Drill(policy, "r", 1, 1, 1, 1, "ada", utc(time), at) for at, time in enumerate(times)]
    return State(drills=drills)


@pytest.mark.parametrize(
    ("drilled", "now", "due"),
    [
        ((), MONDAY, MONDAY),
        ((), MONDAY + timedelta(days=6, hours=23), MONDAY),
        ((MONDAY - timedelta(seconds=1),), MONDAY, MONDAY),
        ((MONDAY,), MONDAY, None),
        ((MONDAY + timedelta(hours=1),), MONDAY + timedelta(days=6), None),
        ((MONDAY + timedelta(hours=1),), MONDAY + WEEK, MONDAY + WEEK),
        ((MONDAY,), MONDAY + 5 * WEEK, MONDAY + 5 * WEEK),
    ],
)
def test_a_drill_is_due_until_one_was_held_since(
    drilled: tuple[datetime, ...], now: datetime, due: datetime | None
) -> None:
    assert holding.outstanding(state(*drilled), "p", every=WEEK, now=now) == due


def test_a_drill_of_another_policy_is_no_drill_of_this_one() -> None:
    others = state(MONDAY, policy="q")
    assert holding.outstanding(others, "p", every=WEEK, now=MONDAY) == MONDAY
    assert holding.newest(others, "p") is None
    assert holding.newest(state(MONDAY, MONDAY + WEEK), "p") == state(MONDAY, MONDAY + WEEK).drills[1]
