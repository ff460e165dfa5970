"""Documents, holds, retention and erasure: what is kept, what may go, and who says so."""

from typing import Any

import pytest

from pruneguard.ledger import rules
from pruneguard.ledger.events import utc
from pruneguard.ledger.keeping import TELEMETRY_DAYS_MIN
from pruneguard.ledger.state import MARK_EVERY
from tests.ledger.making import TWIN, Log, digest, later, says, started

ONE, TWO = (digest(name).removeprefix("sha256:") for name in ("one", "two"))


@pytest.fixture
def log() -> Log:
    return started()


# -- documents


def attach(log: Log, *, by: str = "otto", document: str | None = "minutes", **how: Any) -> list[str]:
    data = {"framework": "nist-ai-rmf", "control": "GOVERN 1.1", "title": "Minutes", "statement": "We met.", **how}
    return log.act("document.attached", by, {"document": document} if document else {}, **data)


@pytest.mark.parametrize("by", ["ada", "grace", "otto", "iris", "root"])
def test_anybody_with_a_key_attaches_documents(log: Log, by: str) -> None:
    assert not attach(log, by=by)
    (attached,) = log.state.attachments
    assert (attached.by, attached.control, attached.document) == (by, "GOVERN 1.1", digest("minutes"))


def test_an_attachment_is_signed(log: Log) -> None:
    assert says(attach(log, clicked=True), "only a person's own signature")


def test_an_attachment_is_a_document_or_a_statement(log: Log) -> None:
    assert not attach(log, document=None)
    assert not attach(log, statement="")
    assert says(attach(log, document=None, statement=" "), "names no document and states nothing")


def test_what_has_expired_is_not_attached(log: Log) -> None:
    now = later(log.state.clock, minutes=1)
    assert says(attach(log, expires=now), "it expired")
    assert not attach(log, expires=later(now, minutes=5), model="digits")
    assert says(attach(log, model="faces"), "no model 'faces'")


# -- holds


@pytest.mark.parametrize(("by", "allowed"), [("iris", True), ("root", True), ("grace", False), ("otto", False)])
def test_an_auditor_or_an_admin_holds_and_lifts(log: Log, by: str, allowed: bool) -> None:
    placed = log.act("hold.placed", by, hold="case-7", scope="all", reason="a lawsuit")
    assert placed == [] if allowed else says(placed, "neither auditor nor admin")
    if not allowed:
        assert not log.act("hold.placed", "iris", hold="case-7", scope="all", reason="a lawsuit")
    lifted = log.act("hold.lifted", by, hold="case-7", reason="settled")
    assert lifted == [] if allowed else says(lifted, "neither auditor nor admin")
    assert ("case-7" in log.state.holds) is not allowed


def test_a_hold_stands_once_and_is_lifted_where_it_stands(log: Log) -> None:
    assert says(log.act("hold.lifted", "iris", hold="case-7", reason="settled"), "no hold 'case-7' stands")
    assert not log.act("hold.placed", "iris", hold="case-7", scope="telemetry", reason="a lawsuit")
    assert says(log.act("hold.placed", "root", hold="case-7", scope="all", reason="more"), "stands already")


@pytest.mark.parametrize("scope", ["", "everything", "subject:", "subject:Ada", "batch.sealed", None, ["all"]])
def test_a_hold_is_on_a_class_a_subject_or_all(log: Log, scope: object) -> None:
    assert says(log.act("hold.placed", "iris", hold="case-7", scope=scope, reason="x"), "scope is")


# -- retention


def observed() -> Log:
    """Three tiles' worth of entries: decisions, then telemetry with one decision in it; and then half a year."""
    log = started()
    log.release(TWIN, 1)
    while log.state.size < 300:
        assert not log.seal(TWIN, 1)
    assert not log.start("r2")
    while log.state.size < 3 * MARK_EVERY + 10:
        assert not log.seal(TWIN, 1)
    log.waits(days=200)
    return log


def drop(log: Log, entries: list[list[int]], *, by: str = "root", **how: Any) -> list[str]:
    before = later(utc(log.now), days=-190)
    data = {"class": "telemetry", "before": before, "entries": entries, "reason": "kept long enough", **how}
    return log.act("retention.applied", by, **data)


def test_retention_drops_exactly_the_telemetry_of_whole_tiles_that_is_old_enough() -> None:
    log = observed()
    first = log.effective[-1].event.time
    droppable = list(log.state.droppable(later(first, seconds=1)))
    telemetry = [i for i, entry in enumerate(log.effective) if entry.event.type == "batch.sealed"]
    assert [i for start, end in droppable for i in range(start, end)] == [i for i in telemetry if i < 3 * MARK_EVERY]
    assert not drop(log, [list(pair) for pair in droppable])
    assert log.state.absent == droppable
    assert list(log.state.droppable(later(first, seconds=1))) == []


def test_telemetry_goes_by_the_time_that_it_is_from() -> None:
    log = observed()
    middle = log.effective[2 * MARK_EVERY].event.time
    assert max(end for _, end in log.state.droppable(middle)) == 2 * MARK_EVERY
    assert says(drop(log, [[520, 600]], before=middle), f"entry 599 is not before {middle}")
    assert not drop(log, [[400, 512]], before=middle)


@pytest.mark.parametrize("by", ["iris", "otto", "grace", "ada"])
def test_nobody_but_an_admin_drops(by: str) -> None:
    assert says(drop(observed(), [[300 + 1, 400]], by=by), f"{by!r} is not an admin")


def test_decisions_are_never_dropped() -> None:
    log = observed()
    assert log.effective[300].event.type == "run.started"
    assert says(drop(log, [[290, 310]]), "entry 300 is not telemetry")
    assert says(drop(log, [[301, 302]], **{"class": "decisions"}), "decisions are kept as long as the ledger")


def test_a_broken_rule_is_never_dropped() -> None:
    log = started()
    log.release(TWIN, 1)
    assert log.seal(TWIN, 1, by="otto")
    wrong = log.state.size - 1
    while log.state.size < MARK_EVERY:
        assert not log.seal(TWIN, 1)
    log.waits(days=200)
    assert says(drop(log, [[wrong, wrong + 3]]), f"entry {wrong} is not telemetry")


@pytest.mark.parametrize(("days", "allowed"), [(TELEMETRY_DAYS_MIN, True), (TELEMETRY_DAYS_MIN - 0.0001, False)])
def test_telemetry_is_kept_for_half_a_year(days: float, allowed: bool) -> None:
    log = observed()
    now = later(log.state.clock, days=300)
    why = drop(log, [[301, 302]], before=later(now, days=-days), time=now)
    assert why == [] if allowed else says(why, f"telemetry is kept for {TELEMETRY_DAYS_MIN} days")


@pytest.mark.parametrize("scope", ["all", "telemetry", "decisions", "subject:ada"])
def test_a_hold_keeps_its_class(scope: str) -> None:
    log = observed()
    assert not log.act("hold.placed", "iris", hold="case-7", scope=scope, reason="a lawsuit")
    why = drop(log, [[301, 302]])
    assert says(why, "the hold 'case-7' stands") if scope in ("all", "telemetry") else why == []
    assert not log.act("hold.lifted", "iris", hold="case-7", reason="settled")
    assert not drop(log, [[303, 304]])


def test_what_is_absent_is_not_dropped_again() -> None:
    log = observed()
    assert not drop(log, [[301, 310], [320, 330]])
    assert says(drop(log, [[325, 326]]), "absent already")
    assert not drop(log, [[310, 320]])
    assert log.state.absent == [(301, 310), (310, 320), (320, 330)]
    assert says(drop(log, [[300 + 1, 400]]), "absent already")
    assert says(drop(log, [[329, 331]]), "absent already")


def test_a_stretch_without_bodies_is_explained_by_all_that_dropped_it_together() -> None:
    log = observed()
    assert not drop(log, [[301, 310], [320, 330]])
    assert not drop(log, [[310, 320]])
    assert list(log.state.unexplained([(301, 330), (305, 306)])) == []
    assert list(log.state.unexplained([(300, 330), (301, 332), (400, 401)])) == [(300, 330), (330, 332), (400, 401)]


TOUCHING, CROSSING, BACKWARDS = [[301, 302], [302, 303]], [[301, 305], [304, 306]], [[310, 311], [301, 302]]


@pytest.mark.parametrize(
    "entries",
    [
        *([], None, [301, 302], [[301]], [[301, 301]], [[302, 301]], [[True, 302]], [["301", 302]], [[-1, 302]]),
        *(TOUCHING, CROSSING, BACKWARDS),
    ],
)
def test_ranges_are_in_order_and_apart(entries: Any) -> None:
    assert says(drop(observed(), entries), "entries is")


# -- erasure


def test_values_are_on_record_by_their_commitments_alone(log: Log) -> None:
    assert not log.act("subject.described", "root", person="p-17", commitments=[ONE, TWO])
    assert log.state.subjects == {"p-17": {ONE, TWO}}
    assert says(log.act("subject.described", "root", person="p-18", commitments=[ONE]), "on record already")
    assert not log.act("subject.erased", "iris", commitments=[ONE], basis="art17")
    assert log.state.subjects == {"p-17": {TWO}}
    assert log.state.erased == {ONE: log.state.size - 1}


@pytest.mark.parametrize("by", ["grace", "ada", "otto"])
def test_nobody_but_an_auditor_or_admin_describes_or_erases(log: Log, by: str) -> None:
    assert says(log.act("subject.described", by, person="p-17", commitments=[ONE]), "neither auditor nor admin")
    assert not log.act("subject.described", "iris", person="p-17", commitments=[ONE])
    assert says(log.act("subject.erased", by, commitments=[ONE], basis="art17"), "neither auditor nor admin")


def test_what_is_erased_was_on_record_and_not_erased(log: Log) -> None:
    assert says(log.act("subject.erased", "root", commitments=[ONE], basis="art17"), "was never on record")
    assert not log.act("subject.described", "root", person="p-17", commitments=[ONE])
    assert not log.act("subject.erased", "root", commitments=[ONE], basis="art17")
    assert says(log.act("subject.erased", "root", commitments=[ONE], basis="art17"), "was erased already")


@pytest.mark.parametrize(
    ("scope", "held"), [("all", True), ("subject:p-17", True), ("subject:p-18", False), ("telemetry", False)]
)
def test_a_hold_on_a_subject_or_all_keeps_their_values(log: Log, scope: str, held: bool) -> None:
    assert not log.act("subject.described", "root", person="p-17", commitments=[ONE])
    assert not log.act("hold.placed", "iris", hold="case-7", scope=scope, reason="a lawsuit")
    why = log.act("subject.erased", "root", commitments=[ONE], basis="art17")
    assert says(why, "the hold 'case-7' stands") if held else why == []


@pytest.mark.parametrize(
    "commitments", [[], [ONE, ONE], [ONE.upper()], ["sha256:" + ONE], ["ada@example.org"], ONE, None]
)
def test_a_commitment_is_a_hash_and_nothing_that_names_anybody(log: Log, commitments: Any) -> None:
    for type_, more in (("subject.described", {"person": "p-17"}), ("subject.erased", {"basis": "art17"})):
        assert says(log.act(type_, "root", commitments=commitments, **more), "commitments is")


def test_the_monitor_keeps_and_drops_nothing(log: Log) -> None:
    for type_, data in (("hold.placed", {"hold": "h", "scope": "all", "reason": "r"}),):
        assert len(log.act(type_, rules.MONITOR, **data)) == 2  # unsigned, and no role
