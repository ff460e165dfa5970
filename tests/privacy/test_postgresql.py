"""The same on a PostgreSQL server, down to the bytes of its files."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from pruneguard import home
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.privacy import subjects
from pruneguard.privacy.commitments import Opening
from pruneguard.settings import Settings
from tests.ledger import places
from tests.privacy.scenes import (
    FIELDS,
    PERSON,
    described,
    erase,
    files_with,
    kept,
    log_key,
    observed,
    retain,
    stored,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of these tests' own: what its files hold is theirs."""
    if (programs := places.binaries()) is None:
        pytest.skip("no PostgreSQL server on this machine; Debian's package is `postgresql`")
    with places.server(programs) as address:
        yield address


@pytest.fixture
def urls(server: str) -> dict[str, str]:
    """A schema for the ledger and one for the sealed values."""
    name = uuid.uuid4().hex
    return {
        "ledger_url": places.schema(server, f"ledger_{name}").url,
        "privacy_url": places.schema(server, f"privacy_{name}").url,
    }


def data_of(server: str) -> Path:
    """The server's data directory, with everything written to it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    return Path(str(sa.make_url(server).query["host"])) / "data"


def test_neither_a_value_nor_a_key_ever_reaches_the_server(tmp_path: Path, server: str, urls: dict[str, str]) -> None:
    settings = described(tmp_path, **urls)
    assert kept(settings) == sorted(FIELDS.values())
    (key,) = (path.read_bytes() for path in (settings.keys_dir / "subjects").glob("*.key"))
    (row, _) = home.vault(settings).openings.of(PERSON)
    for _ in ("before the erasure", "after it"):
        data = data_of(server)
        assert [files_with(folder, value) for folder in (data, tmp_path) for value in FIELDS.values()] == [[]] * 4
        assert files_with(data, key) == []
        erase(settings)
    assert files_with(tmp_path, key) == []
    # The server's own log keeps the ciphertext until it is recycled; without the key it says nothing.
    assert [name for name in files_with(data_of(server), row.sealed) if not name.startswith("pg_wal/")] == []


def test_rows_that_a_backup_brings_back_are_erased_again(tmp_path: Path, urls: dict[str, str]) -> None:
    settings = described(tmp_path / "var", **urls)
    rows = home.vault(settings).openings.all()
    shutil.copytree(settings.keys_dir / "subjects", tmp_path / "backup")
    erase(settings)
    assert kept(settings) == []
    home.vault(settings).openings.add(rows)
    shutil.copytree(tmp_path / "backup", settings.keys_dir / "subjects", dirs_exist_ok=True)
    assert kept(settings) == sorted(FIELDS.values())
    home.read_ledger(settings).close()
    assert kept(settings) == []


def test_a_server_with_no_such_table_yet_holds_nothing(tmp_path: Path, urls: dict[str, str]) -> None:
    settings = described(tmp_path, **urls)
    ledger = home.open_ledger(settings)
    fresh = Settings(home=tmp_path, ledger_url=urls["ledger_url"], privacy_url=urls["ledger_url"])
    assert home.vault(fresh).openings.all() == []
    assert subjects.reconcile(ledger, home.vault(fresh)) == 0
    ledger.close()


def test_a_schema_that_does_not_exist_is_named(tmp_path: Path, urls: dict[str, str]) -> None:
    missing = Settings(home=tmp_path, privacy_url=urls["privacy_url"].replace("privacy_", "missing_"))
    with pytest.raises(InvalidInputError, match="no schema has been selected to create in"):
        home.vault(missing).keep(PERSON, {"name": Opening.of(FIELDS["name"])})


def test_telemetry_past_its_period_goes_and_every_proof_holds(
    tmp_path: Path, server: str, urls: dict[str, str]
) -> None:
    scene = observed(Settings(home=tmp_path, **urls))
    ledger = home.read_ledger(scene.settings)
    identifier, raw = ledger.entry(100).event.id, ledger.raw(100, 101)[0]
    old = notes.open_checkpoint(ledger.checkpoint, log_key(scene.settings).verifier)
    proof = tiles.Proof.decode(ledger.proof(100))
    ledger.close()
    (dropped,) = retain(scene.settings)
    assert dropped.bodies > 450
    ledger = home.read_ledger(scene.settings, verify=True)
    assert ledger.raw(100, 101) == [b""]
    assert merkle.verify_inclusion(
        index=100, size=old.size, leaf=merkle.leaf_hash(raw), proof=proof.hashes, root=old.root
    )
    ledger.close()
    assert stored(scene.settings, (*scene.batches, scene.shared)) == [False, False, False, True]
    assert [name for name in files_with(data_of(server), identifier) if not name.startswith("pg_wal/")] == []
