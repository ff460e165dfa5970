"""Tiles against Tessera's log, byte for byte; bundles and proofs as files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.audit.log import Tree
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes, tiles

LOG = Path(__file__).parents[1] / "assets/tessera/log"
SIZES = range(1, 16)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_byte_for_byte_those_of_tessera(size: int) -> None:
    (bundle,) = tiles.entry_bundles(size)
    stored = (LOG / bundle.path).read_bytes()
    entries = tiles.decode_bundle(stored)
    assert len(entries) == size
    assert tiles.encode_bundle(entries) == stored
    tree = Tree(b"".join(merkle.leaf_hash(entry) for entry in entries))  # what export writes its tiles from
    (tile,) = tiles.hash_tiles(size)
    assert tree.tile(tile) == (LOG / tile.path).read_bytes()
    signed = notes.Checkpoint.parse(notes.Note.parse((LOG / f"checkpoint.{size}").read_bytes()).text)
    assert tree.root(size) == signed.root


def test_the_layout_of_seventy_thousand_entries_is_the_specifications() -> None:
    rows = list(tiles.hash_tiles(70_000))
    widths = {level: [tile.width for tile in rows if tile.level == level] for level in (0, 1, 2)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert [tile.path for tile in rows if tile.width < 256] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]


@pytest.mark.parametrize(
    ("index", "path"),
    [(0, "tile/0/000"), (999, "tile/0/999"), (1000, "tile/0/x001/000"), (1234067, "tile/0/x001/x234/067")],
)
def test_paths_are_in_groups_of_three_digits(index: int, path: str) -> None:
    assert tiles.Tile(0, index, 256).path == path


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == entries


def test_an_entry_that_no_bundle_can_hold_is_refused() -> None:
    assert len(tiles.encode_bundle([bytes(65_535)])) == 65_537
    with pytest.raises(InvalidInputError, match="65535"):
        tiles.encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("content", [b"\x00", b"\x00\x05abc", b"\x00\x01a\x00"])
def test_a_bundle_whose_lengths_lie_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="does not fit"):
        tiles.decode_bundle(content)


def test_a_proof_gives_itself_back() -> None:
    proof = tiles.Proof(7, (bytes(32), bytes(range(32))), b"log\n8\nroot\n\n\xe2\x80\x94 log sig\n")
    assert proof.encode().startswith(b"c2sp.org/tlog-proof@v1\nindex 7\n")
    assert tiles.Proof.decode(proof.encode()) == proof


def test_a_proof_may_carry_extra_data() -> None:
    content = tiles.Proof(0, (), b"note\n").encode().replace(b"index", b"extra AAAA\nindex")
    assert tiles.Proof.decode(content).index == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 0",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 0\n?\n\nnote",
        b"c2sp.org/tlog-proof@v1\n\nnote",
    ],
)
def test_what_is_not_a_proof_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInputError):
        tiles.Proof.decode(content)
