"""The tree against the vectors of transparency-dev/merkle, and against the recursive definition of RFC 6962."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.ledger import merkle
from tests import trees

VECTORS = Path(__file__).parents[1] / "assets/merkle"
# The tree of Certificate Transparency's own test: eight leaves, and the root after each.
LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def vectors(kind: str) -> list[Any]:
    files = sorted((VECTORS / kind).rglob("*.json"))
    return [pytest.param(json.loads(file.read_bytes()), id=f"{file.parent.name}-{file.stem}") for file in files]


def decoded(case: dict[str, Any], *names: str) -> list[bytes]:
    return [base64.b64decode(case[name] or "") for name in names]


def defined(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if len(leaves) == 0:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return merkle.leaf_hash(leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return merkle.node_hash(defined(leaves[:k]), defined(leaves[k:]))


def grown(leaves: list[bytes]) -> merkle.Frontier:
    frontier, _ = merkle.Frontier().grown([merkle.leaf_hash(leaf) for leaf in leaves])
    return frontier


@pytest.mark.parametrize("case", vectors("inclusion"))
def test_inclusion_verdicts_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    root, leaf = decoded(case, "root", "leafHash")
    proof = [base64.b64decode(item) for item in case["proof"] or ()]
    said = merkle.verify_inclusion(index=case["leafIdx"], size=case["treeSize"], leaf=leaf, proof=proof, root=root)
    assert said is not case["wantErr"]


@pytest.mark.parametrize("case", vectors("consistency"))
def test_consistency_verdicts_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    old_root, new_root = decoded(case, "root1", "root2")
    proof = [base64.b64decode(item) for item in case["proof"] or ()]
    said = merkle.verify_consistency(
        old=case["size1"], new=case["size2"], old_root=old_root, new_root=new_root, proof=proof
    )
    assert said is not case["wantErr"]


def test_all_vectors_are_here() -> None:
    assert len(vectors("inclusion")) == len(vectors("consistency")) == 98


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size - 1]


@given(st.integers(0, 300))
def test_a_frontier_grows_to_the_root_that_the_definition_gives(size: int) -> None:
    leaves = [b"%d" % number for number in range(size)]
    assert grown(leaves).root() == defined(leaves)


@given(st.lists(st.integers(0, 400), max_size=6))
def test_a_frontier_that_grows_in_pieces_leaves_the_nodes_it_is_read_back_from(widths: list[int]) -> None:
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(sum(widths))]
    stored, frontier = {0: leaves}, merkle.Frontier()
    for width in widths:
        frontier, known = frontier.grown(leaves[frontier.size : frontier.size + width])
        for level, index, value in known:
            row = stored.setdefault(level, [])
            assert (level % merkle.TILE_HEIGHT, index) == (0, len(row))
            row.append(value)
    node = merkle.between(lambda level, start, end: stored[level][start:end])
    assert merkle.Frontier.read(len(leaves), node) == frontier
    assert frontier.root() == merkle.Frontier.read(len(leaves), trees.levels(leaves).node).root()


def test_every_node_of_a_large_tree_is_found_between_the_stored_levels() -> None:
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(70_000)]
    _frontier, known = merkle.Frontier().grown(leaves)
    assert [level for level, _, _ in known].count(8) == 273
    assert [(level, index) for level, index, _ in known if level > 8] == [(16, 0)]
    stored = {0: leaves, **{level: [value for at, _, value in known if at == level] for level in (8, 16)}}
    node, levels = merkle.between(lambda level, start, end: stored[level][start:end]), trees.levels(leaves)
    for level, row in enumerate(levels.hashes[:-1]):
        for index in {0, len(row) // 2, (70_000 >> level) - 1}:
            assert node(level, index) == row[index]
    assert merkle.inclusion(69_999, 70_000, node) == merkle.inclusion(69_999, 70_000, levels.node)


@given(st.data())
def test_every_leaf_is_proven_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 100))
    index = data.draw(st.integers(0, size - 1))
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    levels = trees.levels(leaves)
    root = merkle.Frontier.read(size, levels.node).root()
    proof = merkle.inclusion(index, size, levels.node)
    for other in range(size):
        said = merkle.verify_inclusion(index=index, size=size, leaf=leaves[other], proof=proof, root=root)
        assert said is (other == index)


@given(st.data())
def test_a_log_continues_its_own_beginning_and_no_other(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 100))
    old = data.draw(st.integers(1, new))
    levels = trees.levels([merkle.leaf_hash(b"%d" % number) for number in range(new)])
    forked = trees.levels([merkle.leaf_hash(b"x%d" % number) for number in range(new)])
    roots = {"old": merkle.Frontier.read(old, levels.node).root(), "new": merkle.Frontier.read(new, levels.node).root()}
    proof = merkle.consistency(old, new, levels.node)
    assert merkle.verify_consistency(old=old, new=new, old_root=roots["old"], new_root=roots["new"], proof=proof)
    fork = merkle.Frontier.read(old, forked.node).root()
    assert not merkle.verify_consistency(old=old, new=new, old_root=fork, new_root=roots["new"], proof=proof)


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion(index, size, trees.levels([]).node)
    assert not merkle.verify_inclusion(index=index, size=size, leaf=bytes(32), proof=[], root=bytes(32))


def test_a_hash_of_the_wrong_length_proves_nothing() -> None:
    left, right = merkle.leaf_hash(b"left"), merkle.leaf_hash(b"right")
    root = merkle.node_hash(left, right)
    assert merkle.verify_inclusion(index=0, size=2, leaf=left, proof=[right], root=root)
    assert not merkle.verify_inclusion(index=0, size=2, leaf=left + right[:1], proof=[right[1:]], root=root)
    assert not merkle.verify_consistency(old=1, new=2, old_root=left + right[:1], new_root=root, proof=[right[1:]])
