"""What a ledger promises: it only grows, says what is durable, and notices every byte that was changed."""

import threading
from contextlib import closing
from itertools import pairwise

import pytest

from pruneguard import testing
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import fold, merkle, notes, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import State
from tests.ledger.acts import DIGEST, drifted, sealed
from tests.ledger.places import Place

KEY = testing.log_key()


@pytest.fixture
def large(ledger: Ledger, place: Place) -> Place:
    """More than a tile full: the story and 600 sealed batches."""
    for first in range(0, 600, 150):
        ledger.record_all([sealed(first + rows) for rows in range(150)])
    return place


# -- what is recorded stays


def test_what_was_recorded_is_there_after_opening_again(ledger: Ledger, place: Place) -> None:
    with closing(Ledger.open(place.url, key=KEY, verify=True)) as again:
        assert again.size == ledger.size
        assert again.raw(0, again.size) == ledger.raw(0, ledger.size)
        assert again.state() == ledger.state()
        assert not again.state().violations


def test_an_append_is_covered_by_a_checkpoint_that_the_log_signed(ledger: Ledger) -> None:
    recorded = ledger.record(sealed(1))
    checkpoint = notes.open_checkpoint(ledger.checkpoint, KEY.verifier)
    assert checkpoint.size == recorded.index + 1
    proof = tiles.Proof.decode(ledger.proof(recorded.index))
    leaf = merkle.leaf_hash(ledger.raw(recorded.index, recorded.index + 1)[0])
    assert proof.checkpoint == ledger.checkpoint
    assert merkle.verify_inclusion(
        index=recorded.index, size=checkpoint.size, leaf=leaf, proof=proof.hashes, root=checkpoint.root
    )


def test_every_checkpoint_continues_the_one_before(ledger: Ledger) -> None:
    with ledger.store.reading() as reader:
        checkpoints = [notes.open_checkpoint(note, KEY.verifier) for _, note in reader.checkpoints()]
    for old, new in pairwise(checkpoints):
        proof = ledger.consistency(old.size, new.size)
        assert merkle.verify_consistency(old=old.size, new=new.size, old_root=old.root, new_root=new.root, proof=proof)


def test_a_persons_act_is_stored_in_their_signed_envelope(ledger: Ledger) -> None:
    approvals = [e for e in map(ledger.entry, range(ledger.size)) if e.event.type == "release.approved"]
    assert approvals
    assert all(entry.envelope is not None for entry in approvals)


def test_a_retried_step_finds_what_it_did_before(ledger: Ledger) -> None:
    first = ledger.record(sealed(1, causation="step-1"))
    again = ledger.record(sealed(2, causation="step-1"))
    assert again == first
    assert ledger.size == first.index + 1


def test_a_causation_cannot_stand_for_two_kinds_of_event(ledger: Ledger) -> None:
    ledger.record(sealed(1, causation="step-1"))
    with pytest.raises(InvalidInputError, match="cannot be"):
        ledger.record(drifted(causation="step-1"))


def test_a_batch_is_recorded_under_one_checkpoint(ledger: Ledger) -> None:
    before = ledger.size
    recorded = ledger.record_all([sealed(n, causation=f"step-{n % 3}") for n in range(5)])
    assert [r.index - before for r in recorded] == [0, 1, 2, 0, 1]
    with ledger.store.reading() as reader:
        assert [size for size, _ in reader.checkpoints()][-2:] == [before, before + 3]
    ledger.verify()


def test_a_batch_with_a_refused_event_records_nothing(ledger: Ledger, place: Place) -> None:
    before = ledger.state().models["digits"].batches.copy()
    with pytest.raises(InvalidInputError, match="nobody"):
        ledger.record_all([sealed(1), sealed(2, model="nobody")])
    assert ledger.state().models["digits"].batches == before
    assert ledger.record(sealed(7)).index == ledger.size - 1
    with closing(Ledger.open(place.url, verify=True)) as again:
        assert again.state() == ledger.state()


def test_a_refusal_gives_every_reason_and_leaves_no_trace(ledger: Ledger) -> None:
    before, release = ledger.checkpoint, ledger.state().models["digits"].releases[1]
    data = {"model": "digits", "number": 1, "reason": "mine"}
    with pytest.raises(InvalidInputError) as refused:
        ledger.record(Event("release.approved", "ada", data, {"model": release.digest}), signer=testing.people()["ada"])
    for reason in ("not an approver", "made this release", "not proposed"):
        assert reason in str(refused.value)
    assert ledger.checkpoint == before


@pytest.mark.parametrize(
    "event",
    [
        Event("key.registered", "root", {"actor": "eve", "person": "eve", "public_key": "AAAA", "roles": ["engineer"]}),
        Event("key.registered", "root", {"actor": "eve", "person": "eve", "public_key": 7, "roles": ["engineer"]}),
        Event(
            "key.registered",
            "root",
            {"actor": "eve", "person": "eve", "public_key": testing.people()["ada"].public_key, "roles": ["king"]},
        ),
        Event(
            "policy.adopted",
            "grace",
            {"name": "p", "version": 1, "approvals_min": "1", "on_decay": "notify"},
            {"policy": DIGEST},
        ),
    ],
)
def test_an_event_with_values_of_the_wrong_kind_is_refused(ledger: Ledger, event: Event) -> None:
    before = ledger.size
    with pytest.raises(InvalidInputError):
        ledger.record(event, signer=testing.people()[event.actor])
    assert ledger.size == before
    assert not ledger.state().violations


def test_an_envelope_too_large_for_a_tile_is_refused(ledger: Ledger) -> None:
    event = Event("run.started", "ada", {"run": "r", "model": "m", "note": "x" * 58_000}, {"manifest": DIGEST})
    with pytest.raises(InvalidInputError, match="65535"):
        ledger.record(event, signer=testing.people()["ada"])


def test_without_its_key_a_ledger_is_read_only(ledger: Ledger, place: Place) -> None:
    with closing(Ledger.open(place.url)) as reader:
        with pytest.raises(InvalidInputError, match="read only"):
            reader.record(sealed(1))
        ledger.record(sealed(1))
        assert reader.size == ledger.size  # it sees what others write
        assert reader.state() == ledger.state()


def test_another_key_does_not_open_the_ledger_for_writing(ledger: Ledger, place: Place) -> None:
    with pytest.raises(InvalidInputError, match="belongs to"):
        Ledger.open(place.url, key=LogKey(testing.ORIGIN, testing.people()["ada"].key))


# -- what was changed is found


def test_an_edited_entry_is_named(ledger: Ledger, place: Place) -> None:
    place.edit("UPDATE entry SET body = :body WHERE idx = 12", body=place.body(12).replace(b"digits", b"digitz"))
    with pytest.raises(IntegrityError, match=r"was changed in entry 12.*restore a backup"):
        Ledger.open(place.url, verify=True)
    with pytest.raises(IntegrityError, match=r"was changed in entry 12.*restore a backup"):
        ledger.state()


def test_an_entry_edited_under_a_running_service_is_not_read(ledger: Ledger, place: Place) -> None:
    ledger.state()
    place.edit("UPDATE entry SET body = :body WHERE idx = 12", body=place.body(12).replace(b"digits", b"digitz"))
    for read in (lambda: ledger.entry(12), lambda: ledger.raw(3, 15)):
        with pytest.raises(IntegrityError, match="changed in entry 12"):
            read()
    assert ledger.raw(3, 5)


def test_an_entry_edited_together_with_its_leaf_is_found(ledger: Ledger, place: Place) -> None:
    changed = place.body(12).replace(b"digits", b"digitz")
    place.edit(
        "UPDATE entry SET body = :body, leaf = :leaf WHERE idx = 12", body=changed, leaf=merkle.leaf_hash(changed)
    )
    with pytest.raises(IntegrityError, match="changed between entry 12 and 12"):
        Ledger.open(place.url)
    with pytest.raises(IntegrityError, match="entry 12 to 12: their signed root differs"):
        ledger.verify()
    with pytest.raises(IntegrityError, match="do not lead to its signed root"):
        ledger.state()


def test_an_edit_below_a_full_tile_is_found_by_verifying(ledger: Ledger, large: Place) -> None:
    changed = large.body(12).replace(b"digits", b"digitz")
    large.edit(
        "UPDATE entry SET body = :body, leaf = :leaf WHERE idx = 12", body=changed, leaf=merkle.leaf_hash(changed)
    )
    ledger.check()  # reads the tree from the top, as far down as it must
    with pytest.raises(IntegrityError, match="entry 12 to 12: their signed root differs"):
        Ledger.open(large.url, verify=True)


def test_a_changed_frontier_stops_the_start(ledger: Ledger, large: Place) -> None:
    large.edit("UPDATE node SET hash = :zeros WHERE level = 8 AND idx = 1", zeros=bytes(32))
    with pytest.raises(IntegrityError, match=r"stored tree .* changed between entry 479 and 628"):
        Ledger.open(large.url)
    with pytest.raises(IntegrityError, match="tree node of level 8, 1"):
        ledger.verify()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entry WHERE idx = 28", "holds 28 entries, its checkpoint covers 29"),
        (
            "INSERT INTO entry SELECT 29, leaf, body FROM entry WHERE idx = 28",
            "holds 30 entries, its checkpoint covers 29",
        ),
        ("DELETE FROM checkpoint WHERE size = 29", "holds 29 entries, its checkpoint covers 28"),
        ("DELETE FROM checkpoint", "no checkpoint"),
        ("UPDATE checkpoint SET note = :note WHERE size = 29", "did not sign"),
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 28) WHERE size = 29", "covers 28"),
        ("DELETE FROM entry WHERE idx = 3", "lacks some of the tree nodes 0 to 15 of level 0"),
        ("UPDATE entry SET leaf = body WHERE idx = 3", "changed between entry 3 and 3"),
    ],
)
def test_a_truncated_grown_or_replayed_log_stops_the_start(
    ledger: Ledger, place: Place, statement: str, found: str
) -> None:
    forged = ledger.checkpoint.replace(b"\n29\n", b"\n28\n")
    place.edit(statement, **({"note": forged} if ":note" in statement else {}))
    with pytest.raises(IntegrityError, match=found):
        Ledger.open(place.url)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entry WHERE idx = 5", "lacks entry 5"),
        ("UPDATE entry SET body = (SELECT body FROM entry WHERE idx = 6) WHERE idx = 5", "entry 5"),
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 28) WHERE size = 27", "signed root"),
        ("DELETE FROM node", "tree node of level 8, 0"),
    ],
)
def test_a_change_in_the_middle_is_found_by_verifying(ledger: Ledger, large: Place, statement: str, found: str) -> None:
    large.edit(statement)
    with pytest.raises(IntegrityError, match=found):
        ledger.verify()


def test_a_ledger_that_goes_back_under_a_running_service_is_found(ledger: Ledger, place: Place) -> None:
    ledger.record(sealed(1))
    place.edit("DELETE FROM entry WHERE idx > 27")
    place.edit("DELETE FROM checkpoint WHERE size > 28")
    with pytest.raises(IntegrityError, match="went back from 30 entries to 28"):
        ledger.record(sealed(1))


# -- retention


def retained(ledger: Ledger, ranges: list[tuple[int, int]]) -> None:
    """Drop bodies of telemetry as an admin may, long after."""
    data = {
        "class": "telemetry",
        "before": "2026-12-31T00:00:00.000000Z",
        "entries": [list(pair) for pair in ranges],
        "reason": "kept for six months",
    }
    event = Event("retention.applied", "root", data, time="2028-01-01T00:00:00.000000Z")
    ledger.record(event, signer=testing.people()["root"])
    ledger.store.drop_bodies(ranges)


def test_dropped_bodies_are_gone_and_every_proof_stays(ledger: Ledger, large: Place) -> None:
    leaves = [merkle.leaf_hash(raw) for raw in ledger.raw(0, ledger.size)]
    retained(ledger, [(40, 60), (100, 256)])
    with closing(Ledger.open(large.url, key=KEY, verify=True)) as again:
        assert again.raw(39, 61)[1:-1] == [b""] * 20
        assert all(again.raw(60, 100))
        assert again.state().skipped == [(40, 60), (100, 256)]
        assert again.state().models["digits"].releases == ledger.state().models["digits"].releases
        proof = tiles.Proof.decode(again.proof(50))
        checkpoint = notes.open_checkpoint(proof.checkpoint, KEY.verifier)
        assert merkle.verify_inclusion(
            index=50, size=checkpoint.size, leaf=leaves[50], proof=proof.hashes, root=checkpoint.root
        )
        with pytest.raises(InvalidInputError, match="retention dropped the body of entry 50"):
            again.entry(50)
        again.record(sealed(2))
        again.verify()


def test_a_body_that_is_missing_without_a_record_of_it_is_found(ledger: Ledger, large: Place) -> None:
    retained(ledger, [(40, 60)])
    large.edit("UPDATE entry SET body = NULL WHERE idx = 70")
    for look in (lambda: Ledger.open(large.url, verify=True), ledger.verify, ledger.reopen().state):
        with pytest.raises(IntegrityError, match=r"lacks the body of entry 70, and no retention\.applied covers it"):
            look()


def test_a_step_whose_event_was_dropped_does_not_happen_again_in_this_process(ledger: Ledger, large: Place) -> None:
    ledger.record(sealed(1, causation="step-1"))
    at = ledger.state().causations["step-1"]
    ledger.store.drop_bodies([(at, at + 1)])
    with pytest.raises(InvalidInputError, match="retention dropped what it was"):
        ledger.record(sealed(1, causation="step-1"))


# -- many at once


def test_threads_that_share_a_ledger_lose_nothing_and_share_checkpoints(ledger: Ledger) -> None:
    before = ledger.size
    acknowledged = together(ledger, threads=16, each=10)
    assert sorted(acknowledged) == list(range(before, before + 160))
    with ledger.store.reading() as reader:
        assert len(list(reader.checkpoints())) < 29 + 160
    ledger.verify()
    assert not ledger.state().violations


def test_a_refusal_is_one_threads_own(ledger: Ledger) -> None:
    before, refused = ledger.size, []

    def offend() -> None:
        hold = ledger.reopen()
        for number in range(10):
            try:
                hold.record_all([sealed(number), sealed(number, model="nobody")])
            except InvalidInputError as error:
                refused.append(str(error))

    offender = threading.Thread(target=offend)
    offender.start()
    acknowledged = together(ledger, threads=8, each=10)
    offender.join()
    assert sorted(acknowledged) == list(range(before, before + 80))
    assert len(refused) == 10
    assert all("nobody" in reason for reason in refused)
    assert len(ledger.state().models["digits"].batches) == 4 + 80
    ledger.verify()


def test_an_event_that_a_rule_stumbles_over_fails_alone(
    ledger: Ledger, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = fold.admit

    def stumbling(state: State, entry: Entry) -> list[str]:
        if entry.event.data.get("rows") == 13:
            state.models.clear()
            raise OverflowError("13")
        return admit(state, entry)

    monkeypatch.setattr(fold, "admit", stumbling)
    with pytest.raises(InvalidInputError, match="OverflowError 13"):
        ledger.record(sealed(13))
    assert ledger.record(sealed(1)).index == 29
    with pytest.raises(InvalidInputError, match="nobody"):
        ledger.record(sealed(1, model="nobody"))
    monkeypatch.undo()
    with closing(Ledger.open(place.url, verify=True)) as again:
        assert not again.state().violations


def test_what_could_not_be_written_did_not_happen() -> None:
    ledger = testing.memory_ledger()
    store, people = ledger.store, testing.people()
    testing.register(ledger)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "append", full)
        with pytest.raises(UnavailableError, match="no space"):
            ledger.record(held("one"), signer=people["root"])
    assert not ledger.state().holds
    assert ledger.record(held("one"), signer=people["root"]).index == 1 + len(people)
    assert set(ledger.state().holds) == {"one"}


def full(*_: object, **__: object) -> None:
    raise UnavailableError("no space left")


def held(name: str) -> Event:
    return Event("hold.placed", "root", {"hold": name, "scope": "all", "reason": "a court asked"})


def test_a_step_that_many_threads_retry_happens_once(ledger: Ledger) -> None:
    before = ledger.size
    assert set(together(ledger, threads=16, each=3, causation="step")) == {before}
    assert ledger.size == before + 1


def test_a_readers_state_does_not_change_under_it(ledger: Ledger) -> None:
    reader = ledger.reopen()
    state = reader.state()
    together(ledger, threads=4, each=5)
    assert state.size == 29
    assert reader.state().size == 49


def test_two_openings_of_one_ledger_lose_nothing(ledger: Ledger, place: Place) -> None:
    before = ledger.size
    with closing(Ledger.open(place.url, key=KEY)) as other:
        threads = [
            threading.Thread(target=together, args=(hold,), kwargs={"threads": 4, "each": 10})
            for hold in (ledger, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.size == before + 80
        other.verify()
        assert not other.state().violations


def together(ledger: Ledger, *, threads: int, each: int, causation: str | None = None) -> list[int]:
    """Threads with a hold of their own record what they can; the positions that were acknowledged."""
    acknowledged: list[int] = []

    def write(hold: Ledger) -> None:
        for number in range(each):
            acknowledged.append(hold.record(sealed(number, causation=causation)).index)

    running = [threading.Thread(target=write, args=(ledger.reopen(),)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return acknowledged


def test_a_writer_that_waits_too_long_is_told_so(ledger: Ledger, place: Place) -> None:
    with closing(Ledger(place.store.open(place.url, writable=True, wait_s=0.05), key=KEY)) as impatient:
        with ledger.store.writing(), pytest.raises(UnavailableError, match="another process is writing"):
            impatient.record(sealed(1))
        assert impatient.record(sealed(1)).index == 29


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger, place: Place) -> None:
    with closing(Ledger(place.store.open(place.url, writable=False, wait_s=0.05))) as reader:
        with ledger.store.writing() as writer:
            writer.append([b"x"], leaves=[bytes(32)], nodes=[], size=30, checkpoint=b"not yet")
            assert reader.size == 29
        with reader.store.reading() as view:
            assert view.checkpoint() == b"not yet"


def test_a_view_does_not_change_while_it_is_read(ledger: Ledger, place: Place) -> None:
    with closing(Ledger.open(place.url)) as reader, reader.store.reading() as view:
        before = view.checkpoint()
        ledger.record(sealed(1))
        assert view.checkpoint() == before
        assert view.count() == 29


def test_a_ledger_in_memory_is_the_same_ledger() -> None:
    ledger = testing.memory_ledger()
    other = ledger.reopen()
    testing.register(ledger)
    assert other.state() == ledger.state()
    ledger.verify()
    with pytest.raises(InvalidInputError):
        other.record(sealed(1))
    assert set(other.state().people) == set(testing.people())
