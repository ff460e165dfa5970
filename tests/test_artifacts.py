"""The artefact store: what is read is what was written, or it is refused."""

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruneguard.artifacts import Artifacts
from pruneguard.canonical import digest
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "store"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one store for all contents is the point
@given(content=st.binary())
def test_any_bytes_come_back_under_their_digest(store: Artifacts, content: bytes) -> None:
    name = store.put(content)
    assert name == digest(content)
    assert name in store
    assert store.get(name) == content


def test_storing_the_same_bytes_again_leaves_the_file_alone(store: Artifacts) -> None:
    path = store.local_path(store.put(b"weights"))
    before = path.stat()
    store.put(b"weights")
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_removed_is_gone_and_can_be_stored_again(store: Artifacts) -> None:
    name, other = store.put(b"observations"), store.put(b"weights")
    store.remove(name)
    store.remove(name)  # as after an interruption
    assert name not in store
    assert other in store
    assert store.put(b"observations") == name
    assert name in store


def test_a_changed_file_is_not_handed_out(store: Artifacts) -> None:
    name = store.put(b"weights")
    store.local_path(name).write_bytes(b"wEights")
    with pytest.raises(IntegrityError, match="Do not use it"):
        store.get(name)


def test_an_absent_file_says_where_it_was_looked_for(store: Artifacts, tmp_path: Path) -> None:
    name = digest(b"never stored")
    assert name not in store
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        store.get(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "md5:" + "a" * 64,
        "a" * 64,
        "sha256:" + "../" * 21 + "a",
    ],
)
def test_a_name_that_is_no_digest_never_reaches_the_file_system(store: Artifacts, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a digest"):
        store.get(name)
    with pytest.raises(InvalidInputError, match="is not a digest"):
        _ = name in store


def _die_between_write_and_rename(root: str) -> None:
    Path.replace = lambda *_: os._exit(9)  # type: ignore[method-assign]
    Artifacts(root).put(b"half made")


def test_a_writer_killed_half_way_leaves_nothing_under_a_digests_name(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    writer = multiprocessing.get_context("spawn").Process(target=_die_between_write_and_rename, args=(root,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 9
    store, name = Artifacts(root), digest(b"half made")
    assert name not in store
    assert store.put(b"half made") == name
    assert store.get(name) == b"half made"


def test_a_file_that_a_power_cut_left_empty_is_written_again(tmp_path: Path) -> None:
    store = Artifacts(str(tmp_path))
    name = store.put(b"weights")
    path = store.local_path(name)
    assert path is not None
    path.write_bytes(b"")
    assert store.put(b"weights") == name
    assert store.get(name) == b"weights"


def test_a_url_names_the_store_as_well_as_a_folder_does(tmp_path: Path) -> None:
    name = Artifacts(f"file://{tmp_path}/store").put(b"weights")
    assert Artifacts(str(tmp_path / "store")).get(name) == b"weights"


def test_a_store_of_an_unknown_kind_is_refused_without_its_secret() -> None:
    with pytest.raises(InvalidInputError, match=r"foo://id:\*\*\*@bucket: .*PRUNEGUARD_ARTIFACTS_URL"):
        Artifacts("foo://id:s3cret@bucket")


def test_a_store_that_is_not_a_folder_of_this_machine_has_no_local_path() -> None:
    store = Artifacts("memory://test-artifacts")
    name = store.put(b"weights")
    assert store.get(name) == b"weights"
    assert store.local_path(name) is None
