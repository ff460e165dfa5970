"""What is known of a person: kept outside the ledger, shown, forgotten for good."""

import base64
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import Entry
from pruneguard.privacy import holds, subjects
from tests.privacy.scenes import (
    FIELDS,
    MAIL,
    NAME,
    PERSON,
    back_up,
    described,
    erase,
    files_with,
    kept,
    killed_before,
    log_key,
    restore,
    root,
    write_key,
)


def test_what_is_described_is_shown_and_nothing_of_it_stands_in_the_ledger(tmp_path: Path) -> None:
    settings = described(tmp_path)
    ledger = home.read_ledger(settings)
    shown = subjects.show(ledger, home.vault(settings), person=PERSON)
    assert {field.name: field.value for field in shown} == FIELDS
    event = ledger.entry(ledger.size - 1).event
    assert event.data == {"person": PERSON, "commitments": sorted(field.commitment for field in shown)}
    ledger.close()
    assert [files_with(tmp_path, value) for value in FIELDS.values()] == [[], []]


def test_the_search_that_finds_nothing_would_find_a_value(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(f"by {NAME}.")
    (tmp_path / "wide").write_bytes(NAME.encode("utf-16-le"))
    for before in range(3):
        (tmp_path / f"base64.{before}").write_bytes(base64.b64encode(b"x" * before + NAME.encode() + b" and more"))
    (tmp_path / "hex").write_text(NAME.encode().hex())
    assert files_with(tmp_path, NAME) == ["base64.0", "base64.1", "base64.2", "hex", "plain", "wide"]


def test_an_erasure_leaves_no_value_no_key_and_no_name_of_whom_it_was(tmp_path: Path) -> None:
    settings = described(tmp_path)
    (key,) = (path.read_bytes() for path in (settings.keys_dir / "subjects").glob("*.key"))
    (row, _) = home.vault(settings).openings.of(PERSON)
    index = erase(settings)
    ledger = home.read_ledger(settings)
    assert index == ledger.size - 1
    event = ledger.entry(index).event
    assert event.data.keys() == {"commitments", "basis"}
    assert PERSON not in event.encode().decode()
    assert subjects.show(ledger, home.vault(settings), person=PERSON) == []
    ledger.close()
    for gone in (NAME, MAIL, key, row.sealed):
        assert files_with(tmp_path, gone) == []


def test_proofs_from_before_an_erasure_hold_after_it(tmp_path: Path) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    size = ledger.size
    proofs, raw, root_before = [ledger.proof(index) for index in range(size)], ledger.raw(0, size), ledger.checkpoint
    subjects.erase(ledger, home.vault(settings), person=PERSON, basis="art17", signer=root())
    ledger.verify()
    assert ledger.raw(0, size) == raw
    old = notes.open_checkpoint(root_before, log_key(settings).verifier)
    new = notes.open_checkpoint(ledger.checkpoint, log_key(settings).verifier)
    for index, content in enumerate(proofs):
        proof = tiles.Proof.decode(content)
        leaf = merkle.leaf_hash(raw[index])
        assert merkle.verify_inclusion(index=index, size=size, leaf=leaf, proof=proof.hashes, root=old.root)
    assert merkle.verify_consistency(
        old=old.size, new=new.size, proof=ledger.consistency(old.size, new.size), old_root=old.root, new_root=new.root
    )
    ledger.close()


def test_forgetting_twice_records_once(tmp_path: Path) -> None:
    settings = described(tmp_path)
    assert erase(settings) is not None
    size = home.read_ledger(settings).size
    assert erase(settings) is None
    assert home.read_ledger(settings).size == size


def test_somebody_who_was_forgotten_can_be_described_anew_under_another_key(tmp_path: Path) -> None:
    settings = described(tmp_path)
    (before,) = (settings.keys_dir / "subjects").glob("*.key")
    erase(settings)
    ledger = home.open_ledger(settings)
    subjects.describe(ledger, home.vault(settings), person=PERSON, fields={"name": "G. H."}, signer=root())
    ledger.close()
    assert kept(settings) == ["G. H."]
    assert before not in set((settings.keys_dir / "subjects").iterdir())


def test_nobody_else_is_forgotten_with_them(tmp_path: Path) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    subjects.describe(ledger, home.vault(settings), person="ada", fields={"name": "Ada L."}, signer=root())
    ledger.close()
    erase(settings)
    assert (kept(settings), kept(settings, person="ada")) == ([], ["Ada L."])


# -- refused


@pytest.mark.parametrize("scope", ["subject:grace", "all"])
def test_a_legal_hold_keeps_somebody_until_it_is_lifted(tmp_path: Path, scope: str) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    holds.place(ledger, hold="case-7", scope=scope, reason="a court asked", signer=root())
    size = ledger.size
    with pytest.raises(InvalidInputError, match="case-7"):
        erase(settings)
    assert ledger.size == size
    assert kept(settings) == sorted(FIELDS.values())
    holds.lift(ledger, hold="case-7", reason="closed", signer=root())
    ledger.close()
    assert erase(settings) is not None
    assert kept(settings) == []


@pytest.mark.parametrize("scope", ["subject:ada", "telemetry"])
def test_a_hold_on_something_else_does_not_keep_them(tmp_path: Path, scope: str) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    holds.place(ledger, hold="case-7", scope=scope, reason="a court asked", signer=root())
    ledger.close()
    assert erase(settings) is not None


@pytest.mark.parametrize("actor", ["ada", "grace", "otto"])
def test_only_who_keeps_the_ledger_describes_or_forgets(tmp_path: Path, actor: str) -> None:
    settings = described(tmp_path)
    ledger, vault, signer = home.open_ledger(settings), home.vault(settings), testing.people()[actor]
    with pytest.raises(InvalidInputError, match="neither auditor nor admin"):
        subjects.erase(ledger, vault, person=PERSON, basis="art17", signer=signer)
    with pytest.raises(InvalidInputError, match="neither auditor nor admin"):
        subjects.describe(ledger, vault, person="ada", fields={"name": "Ada"}, signer=signer)
    ledger.close()
    assert kept(settings) == sorted(FIELDS.values())
    assert kept(settings, person="ada") == []


@pytest.mark.parametrize(
    ("person", "fields", "found"),
    [
        ("Grace Hopper", {"name": "G"}, "pseudonym"),
        ("g.hopper@navy.example", {"name": "G"}, "pseudonym"),
        ("ada", {}, "at least one field"),
        ("ada", {"Full Name": "G"}, "lower case"),
        (PERSON, {"name": "Grace Murray"}, "kept already"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_and_not_repeated(
    tmp_path: Path, person: str, fields: dict[str, str], found: str
) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    size = ledger.size
    with pytest.raises(InvalidInputError, match=found) as refused:
        subjects.describe(ledger, home.vault(settings), person=person, fields=fields, signer=root())
    assert ledger.size == size
    assert not any(text in str(refused.value) for text in ("Hopper", "navy", "Murray", NAME))
    ledger.close()


def test_somebody_never_described_and_a_basis_never_heard_of_are_named(tmp_path: Path) -> None:
    settings = described(tmp_path)
    with pytest.raises(InvalidInputError, match=r"ever on record about 'garce'; known are .'grace'"):
        erase(settings, person="garce")
    ledger = home.open_ledger(settings)
    with pytest.raises(InvalidInputError, match="unknown legal basis"):
        subjects.erase(ledger, home.vault(settings), person=PERSON, basis="because", signer=root())
    ledger.close()


# -- cut short, restored, changed

STEPS = {
    "recorded": "pruneguard.privacy.vault:Vault.forget",
    "key overwritten": "pathlib:Path.unlink",
    "key destroyed": "pruneguard.privacy.openings:Openings.remove",
    "rows removed": "pruneguard.privacy.openings:Openings._wipe",
}


@pytest.mark.parametrize("after", STEPS)
def test_an_erasure_killed_at_any_step_is_finished_by_the_next_command(tmp_path: Path, after: str) -> None:
    settings = described(tmp_path)
    key = write_key(settings)
    home.open_ledger(settings).close()  # this machine has seen it: no checkpoint's file is replaced before the steps
    died = killed_before(
        STEPS[after], "privacy", "erase", PERSON, "--basis", "art17", "--key", str(key), settings=settings
    )
    assert died == -9
    ledger = home.read_ledger(settings)  # any command opens the ledger
    erasures = [e for e in map(Entry.decode, ledger.raw(0, ledger.size)) if e.event.type == "subject.erased"]
    assert len(erasures) == 1
    ledger.close()
    assert kept(settings) == []
    assert list((settings.keys_dir / "subjects").glob("*.key")) == []
    assert home.vault(settings).openings.all() == []
    assert erase(settings) is None


def test_an_erasure_killed_before_it_is_recorded_has_lost_nothing(tmp_path: Path) -> None:
    settings = described(tmp_path)
    write_key(settings)
    step = "pruneguard.ledger.ledger:Ledger.record"
    assert killed_before(step, "privacy", "erase", PERSON, "--basis", "art17", settings=settings) == -9
    home.read_ledger(settings).close()
    assert kept(settings) == sorted(FIELDS.values())


def test_a_description_killed_after_it_is_recorded_can_be_given_again(tmp_path: Path) -> None:
    settings = described(tmp_path)
    write_key(settings)
    command = ("privacy", "describe", PERSON, "--field", "phone=555-0100")
    assert killed_before("pruneguard.privacy.vault:Vault.keep", *command, settings=settings) == -9
    ledger = home.open_ledger(settings)
    subjects.describe(ledger, home.vault(settings), person=PERSON, fields={"phone": "555-0100"}, signer=root())
    ledger.close()
    assert "555-0100" in kept(settings)
    erase(settings)
    assert kept(settings) == []


def test_a_restored_backup_is_erased_again_by_whoever_opens_the_ledger(tmp_path: Path) -> None:
    settings = described(tmp_path / "var")
    back_up(settings, tmp_path / "backup")
    erase(settings)
    restore(settings, tmp_path / "backup")
    assert kept(settings) == sorted(FIELDS.values())
    home.read_ledger(settings).close()
    assert kept(settings) == []
    assert list((settings.keys_dir / "subjects").glob("*.key")) == []


def test_what_a_lost_vault_held_is_erased_when_it_is_found_again(tmp_path: Path) -> None:
    settings = described(tmp_path / "var")
    back_up(settings, tmp_path / "backup")
    (settings.home / "privacy.sqlite").unlink()
    shutil.rmtree(settings.keys_dir / "subjects")
    assert erase(settings) is not None
    restore(settings, tmp_path / "backup")
    home.read_ledger(settings).close()
    assert kept(settings) == []


def test_a_value_without_its_key_is_as_good_as_gone_and_can_be_given_again(tmp_path: Path) -> None:
    settings = described(tmp_path)
    shutil.rmtree(settings.keys_dir / "subjects")  # as after a restore: backups leave keys out
    assert kept(settings) == []
    ledger = home.open_ledger(settings)
    subjects.describe(ledger, home.vault(settings), person=PERSON, fields={"name": NAME}, signer=root())
    ledger.close()
    assert kept(settings) == [NAME]
    erase(settings)
    assert home.vault(settings).openings.all() == []


def test_a_vault_that_does_not_answer_stops_nobody_who_does_not_ask_it(tmp_path: Path) -> None:
    settings = described(tmp_path)
    ledger = home.open_ledger(settings)
    with closing(sqlite3.connect(settings.home / "privacy.sqlite")) as connection:
        connection.execute("DROP TABLE opening")
        connection.execute("CREATE TABLE opening (commitment TEXT)")
    home.read_ledger(settings).close()
    with pytest.raises(UnavailableError, match=r"privacy\.sqlite"):
        subjects.show(ledger, home.vault(settings), person=PERSON)
    ledger.close()


@pytest.mark.parametrize("content", [b"not a database " * 30, b"SQLite format 3\0" + bytes(9)])
def test_a_vault_that_was_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    settings = described(tmp_path)
    (settings.home / "privacy.sqlite").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"privacy\.sqlite.*restore a backup"):
        home.read_ledger(settings)


def test_an_empty_file_is_an_empty_vault(tmp_path: Path) -> None:
    settings = described(tmp_path)
    (settings.home / "privacy.sqlite").write_bytes(b"")
    assert kept(settings) == []
    assert erase(settings) is not None


@pytest.mark.parametrize("change", ["sealed", "subject", "field", "commitment"])
def test_a_row_that_was_changed_is_not_shown(tmp_path: Path, change: str) -> None:
    settings = described(tmp_path, fields={"name": NAME})
    ledger = home.open_ledger(settings)
    other = described(tmp_path / "other", fields={"name": "Somebody Else"})
    foreign = home.vault(other).openings.of(PERSON)[0]
    value = {"sealed": foreign.sealed, "subject": "ada", "field": "mail", "commitment": foreign.commitment}[change]
    with closing(sqlite3.connect(settings.home / "privacy.sqlite")) as connection, connection:
        connection.execute(f"UPDATE opening SET {change} = ?", (value,))  # noqa: S608  # the test's own words
    with pytest.raises(IntegrityError, match="does not open as what the ledger committed to"):
        kept(settings, person="ada" if change == "subject" else PERSON)
    ledger.close()


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    settings = described(tmp_path)
    folder = settings.keys_dir / "subjects"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.glob("*.key")] == [0o600]
    assert PERSON not in {path.stem for path in folder.iterdir()}


def test_fields_described_at_the_same_time_lie_under_one_key(tmp_path: Path) -> None:
    settings = described(tmp_path, fields={"name": NAME})

    def describe(field: str) -> None:
        ledger = home.open_ledger(settings)
        subjects.describe(ledger, home.vault(settings), person="ada", fields={field: f"a {field}"}, signer=root())
        ledger.close()

    threads = [threading.Thread(target=describe, args=(field,)) for field in ("name", "mail", "phone", "room")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(settings, person="ada") == ["a mail", "a name", "a phone", "a room"]
    assert len({row.key for row in home.vault(settings).openings.of("ada")}) == 1
