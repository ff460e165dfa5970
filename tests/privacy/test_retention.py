"""Records past their period: what goes, what stays, and that every proof still holds."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import TELEMETRY
from pruneguard.privacy import holds, retention
from pruneguard.serving.segments import segments
from pruneguard.settings import Settings
from tests.privacy.scenes import (
    A_YEAR_AGO,
    SCHEDULE,
    TODAY,
    Observed,
    files_with,
    killed_before,
    log_key,
    ordered_under_a_hold,
    retain,
    root,
    stored,
    write_key,
)

TILES = 512
"""The scene holds a little more than two full tiles of old entries."""


def bodies(settings: Settings) -> list[bytes]:
    ledger = home.read_ledger(settings)
    try:
        return ledger.raw(0, ledger.size)
    finally:
        ledger.close()


def test_telemetry_past_its_period_goes_and_decisions_stay(scene: Observed) -> None:
    before = bodies(scene.settings)
    (dropped,) = retain(scene.settings)
    after = bodies(scene.settings)
    gone = [index for index, body in enumerate(after) if not body]
    assert dropped.bodies == len(gone) > 450
    assert gone[-1] < TILES
    assert dropped.index == len(before)
    assert all(b'"type":"batch.sealed"' in before[i] or b'"type":"drift.reported"' in before[i] for i in gone)
    assert [body for i, body in enumerate(before) if i not in gone] == [body for body in after[:-1] if body]


def test_artefacts_go_unless_something_that_stays_names_them(scene: Observed) -> None:
    (dropped,) = retain(scene.settings)
    assert stored(scene.settings, scene.batches) == [False, False, False]
    assert stored(scene.settings, (scene.shared, scene.last)) == [True, True]
    assert dropped.artifacts >= 3


def test_labels_go_with_the_window_that_they_were_sealed_with(scene: Observed) -> None:
    def listed() -> set[str]:
        ledger = home.read_ledger(scene.settings)
        found = {segment.digest for segment in segments(ledger)}
        ledger.close()
        return found

    assert stored(scene.settings, (scene.labels,)) == [True]
    assert {scene.labels, scene.last, *scene.batches} <= listed()
    retain(scene.settings)
    assert stored(scene.settings, (scene.labels,)) == [False]
    assert listed() & {scene.labels, scene.last, *scene.batches} == {scene.last}


def test_every_proof_and_checkpoint_from_before_still_holds(scene: Observed) -> None:
    ledger = home.read_ledger(scene.settings)
    raw, old = ledger.raw(0, ledger.size), notes.open_checkpoint(ledger.checkpoint, log_key(scene.settings).verifier)
    proof = tiles.Proof.decode(ledger.proof(100))
    violations = ledger.state().violations
    ledger.close()
    retain(scene.settings)
    ledger = home.read_ledger(scene.settings, verify=True)
    new = notes.open_checkpoint(ledger.checkpoint, log_key(scene.settings).verifier)
    assert not ledger.raw(100, 101)[0]
    leaf = merkle.leaf_hash(raw[100])
    assert merkle.verify_inclusion(index=100, size=old.size, leaf=leaf, proof=proof.hashes, root=old.root)
    again = tiles.Proof.decode(ledger.proof(100))
    assert merkle.verify_inclusion(index=100, size=new.size, leaf=leaf, proof=again.hashes, root=new.root)
    consistency = ledger.consistency(old.size, new.size)
    assert merkle.verify_consistency(
        old=old.size, new=new.size, proof=consistency, old_root=old.root, new_root=new.root
    )
    assert ledger.state().violations == violations == []
    ledger.close()


def test_what_was_dropped_stands_in_no_file(scene: Observed) -> None:
    identifier = id_at(scene, 100)
    assert "ledger.sqlite" in files_with(scene.settings.home, identifier)
    retain(scene.settings)
    assert files_with(scene.settings.home, identifier) == []


def test_a_second_run_has_nothing_to_do(scene: Observed) -> None:
    retain(scene.settings)
    size = len(bodies(scene.settings))
    assert retain(scene.settings) == []
    assert len(bodies(scene.settings)) == size


def test_the_survey_counts_what_there_is_and_what_is_due(scene: Observed) -> None:
    ledger = home.read_ledger(scene.settings)
    size = ledger.size
    telemetry, decisions = retention.survey(ledger.state(), SCHEDULE, as_of=TODAY)
    assert telemetry.entries + decisions.entries == size
    assert telemetry.before == "2024-01-02T09:00:00.000000Z"
    assert (decisions.past, decisions.due) == ((), ())
    due = retention.count(telemetry.due)
    day_before = TODAY - timedelta(days=3 * 365)
    assert retention.survey(ledger.state(), SCHEDULE, as_of=day_before)[0].due == ()
    ledger.close()
    (dropped,) = retain(scene.settings)
    assert dropped.bodies == due
    ledger = home.read_ledger(scene.settings)
    telemetry, _ = retention.survey(ledger.state(), SCHEDULE, as_of=TODAY)
    assert telemetry.entries == size - decisions.entries - due
    assert telemetry.past == ()
    ledger.close()


def test_ranges_that_do_not_fit_one_event_go_with_the_next(scene: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RANGES_MAX", 1)
    dropped = retain(scene.settings)
    assert len(dropped) > 1
    ledger = home.read_ledger(scene.settings, verify=True)
    assert retention.survey(ledger.state(), SCHEDULE, as_of=TODAY)[0].past == ()
    assert stored(scene.settings, scene.batches) == [False, False, False]
    ledger.close()


# -- refused


@pytest.mark.parametrize("scope", ["telemetry", "all"])
def test_a_legal_hold_keeps_records_past_their_period(scene: Observed, scope: str) -> None:
    ledger, artifacts = home.open_ledger(scene.settings), home.artifacts(scene.settings)
    holds.place(ledger, hold="case-7", scope=scope, reason="a court asked", signer=root())
    before = bodies(scene.settings)
    assert retain(scene.settings) == []
    assert bodies(scene.settings) == before
    standing, _ = retention.survey(ledger.state(), SCHEDULE, as_of=TODAY)
    assert (standing.due, standing.holds) == ((), ("case-7",))
    event = retention.order(artifacts, SCHEDULE, standing, standing.past, set(), actor="root")
    with pytest.raises(InvalidInputError, match="case-7"):
        ledger.record(event, signer=root())
    holds.lift(ledger, hold="case-7", reason="closed", signer=root())
    ledger.close()
    assert len(retain(scene.settings)) == 1


def test_only_an_admin_drops(scene: Observed) -> None:
    before = bodies(scene.settings)
    ledger = home.open_ledger(scene.settings)
    with pytest.raises(InvalidInputError, match="'ada' is not an admin"):
        list(
            retention.apply(
                ledger, home.artifacts(scene.settings), SCHEDULE, as_of=TODAY, signer=testing.people()["ada"]
            )
        )
    ledger.close()
    assert bodies(scene.settings) == before
    assert stored(scene.settings, scene.batches) == [True, True, True]


def test_an_order_that_broke_a_rule_is_never_carried_out(scene: Observed) -> None:
    assert len(retain(scene.settings, as_of=A_YEAR_AGO)) == 1
    ordered_under_a_hold(scene.settings, carried_out=False)
    ledger = home.open_ledger(scene.settings)
    assert any("case-7" in why for _, why in ledger.state().violations)
    holds.lift(ledger, hold="case-7", reason="closed", signer=root())
    ledger.close()
    assert retain(scene.settings, as_of=A_YEAR_AGO) == []
    assert stored(scene.settings, scene.batches) == [False, False, True]
    assert all(bodies(scene.settings)[256:])


# -- cut short, restored

STEPS = {
    "recorded": "pruneguard.artifacts:Artifacts.remove",
    "artefacts removed": "pruneguard.ledger.sqlite:SqliteStore.drop_bodies",
    "bodies dropped": "pruneguard.ledger.sqlite:SqliteStore._scrub",
}


@pytest.mark.parametrize("after", STEPS)
def test_a_run_killed_at_any_step_is_finished_by_the_next(scene: Observed, after: str) -> None:
    identifier, size = id_at(scene, 100), len(bodies(scene.settings))
    write_key(scene.settings)
    assert killed_before(STEPS[after], "privacy", "retain", settings=scene.settings) == -9
    assert len(bodies(scene.settings)) == size + 1
    assert retain(scene.settings) == []
    assert len(bodies(scene.settings)) == size + 1
    ledger = home.read_ledger(scene.settings, verify=True)
    assert not any(body for start, end in ledger.state().absent for body in ledger.raw(start, end))
    ledger.close()
    assert stored(scene.settings, (*scene.batches, scene.shared)) == [False, False, False, True]
    assert files_with(scene.settings.home, identifier) == []


def test_a_run_killed_before_it_is_recorded_has_dropped_nothing(scene: Observed) -> None:
    before = bodies(scene.settings)
    write_key(scene.settings)
    died = killed_before("pruneguard.ledger.ledger:Ledger.record", "privacy", "retain", settings=scene.settings)
    assert died == -9
    assert bodies(scene.settings) == before
    assert stored(scene.settings, scene.batches) == [True, True, True]


def test_a_run_cut_short_is_not_finished_under_a_hold_placed_since(scene: Observed) -> None:
    write_key(scene.settings)
    assert killed_before(STEPS["recorded"], "privacy", "retain", settings=scene.settings) == -9
    ledger = home.open_ledger(scene.settings)
    holds.place(ledger, hold="case-7", scope="all", reason="a court asked", signer=root())
    assert retain(scene.settings) == []
    assert stored(scene.settings, scene.batches) == [True, True, True]
    assert ledger.raw(100, 101) != [b""]
    holds.lift(ledger, hold="case-7", reason="closed", signer=root())
    ledger.close()
    retain(scene.settings)
    assert stored(scene.settings, scene.batches) == [False, False, False]


def test_artefacts_that_come_back_from_a_backup_go_again(scene: Observed, tmp_path: Path) -> None:
    shutil.copytree(scene.settings.home / "artifacts", tmp_path / "backup")
    retain(scene.settings)
    shutil.copytree(tmp_path / "backup", scene.settings.home / "artifacts", dirs_exist_ok=True)
    assert stored(scene.settings, scene.batches) == [True, True, True]
    retain(scene.settings)
    assert stored(scene.settings, (*scene.batches, scene.shared)) == [False, False, False, True]


def id_at(scene: Observed, index: int) -> str:
    """The id of an event that is telemetry."""
    ledger = home.read_ledger(scene.settings)
    event = ledger.entry(index).event
    ledger.close()
    assert event.type in TELEMETRY
    return event.id


def test_who_was_there_before_remembers_no_more_than_who_comes_after(scene: Observed) -> None:
    before = home.read_ledger(scene.settings)
    assert len(before.state().models["digits"].batches) > 500
    retain(scene.settings)
    after = home.read_ledger(scene.settings)
    assert before.state().models == after.state().models
    assert before.state().causations == after.state().causations
    assert len(after.state().models["digits"].batches) < 300
    before.close()
    after.close()
