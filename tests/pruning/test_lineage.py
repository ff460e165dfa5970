import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import channels, weights
from pruneguard.pruning.lineage import Lineage, kept_axes, recompute
from tests.pruning import networks

CASES = {
    "plain": (networks.plain, networks.IMAGES),
    "residual": (networks.residual, networks.IMAGES),
    "table": (networks.table, networks.TABLE),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("round_to", [1, 4])
def test_the_pruned_weights_are_recomputed_bit_for_bit(case, round_to):
    build, rows = CASES[case]
    dense = build()
    pruned, lineage = channels.prune(dense, rows, ratio=0.4, round_to=round_to)
    assert recompute(weights.dump(dense), lineage) == weights.dump(pruned)


def test_one_changed_index_is_detected():
    dense, lineage = _pruned()
    axes = list(lineage.kept["0.weight"])
    absent = next(i for i in range(16) if i not in axes[0])
    axes[0] = tuple(sorted({*axes[0][1:], absent}))
    with pytest.raises(IntegrityError, match="cutting the dense weights by this lineage gives"):
        recompute(dense, replace(lineage, kept={**lineage.kept, "0.weight": tuple(axes)}))


def test_one_changed_bit_of_the_dense_weights_is_detected():
    dense, lineage = _pruned()
    with pytest.raises(IntegrityError, match="the lineage was made from"):
        recompute(dense[:-1] + bytes([dense[-1] ^ 1]), lineage)


@pytest.mark.parametrize(
    "axes",
    [((99,), None, None, None), ((-1,), None, None, None), (None,), ((0,) * 10**6, None, (0,) * 10**6, (0,) * 10**6)],
)
def test_indices_that_do_not_fit_the_dense_tensor_neither_crash_nor_fill_the_memory(axes):
    dense, lineage = _pruned()
    with pytest.raises(IntegrityError, match="does not fit its dense weights"):
        recompute(dense, replace(lineage, kept={**lineage.kept, "0.weight": axes}))


def test_a_lineage_that_lacks_a_tensor_is_refused():
    dense, lineage = _pruned()
    kept = {name: axes for name, axes in lineage.kept.items() if name != "0.bias"}
    with pytest.raises(IntegrityError, match=r"0\.bias"):
        recompute(dense, replace(lineage, kept=kept))


def test_dense_weights_that_are_no_safetensors_are_refused():
    _, lineage = _pruned()
    with pytest.raises(IntegrityError, match="does not fit"):
        recompute(b"short", replace(lineage, dense=canonical.digest(b"short")))


def test_a_lineage_comes_back_from_its_bytes():
    _, lineage = _pruned()
    again = Lineage.decode(lineage.encode())
    assert again == lineage
    assert again.encode() == lineage.encode()
    assert again.digest == lineage.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "evidence/v1"}, "expected 'prune-lineage/v1'"),
        ({"kept": None}, "malformed prune-lineage/v1"),
        ({"lists": [["0"]]}, "whole numbers"),
        ({"lists": []}, "malformed prune-lineage/v1"),
    ],
)
def test_a_malformed_lineage_is_refused(change, message):
    _, lineage = _pruned()
    with pytest.raises(InvalidInputError, match=message):
        Lineage.decode(canonical.encode(lineage.to_document() | change))


def test_a_lineage_is_checked_where_neither_torch_nor_numpy_is_installed(tmp_path):
    dense, lineage = _pruned()
    (tmp_path / "dense").write_bytes(dense)
    (tmp_path / "lineage").write_bytes(lineage.encode())
    script = """
import sys
sys.modules.update(dict.fromkeys(["torch", "numpy", "safetensors"]))  # importing any of them now fails
from pathlib import Path
from pruneguard.pruning.lineage import Lineage, recompute
recompute(Path("dense").read_bytes(), Lineage.decode(Path("lineage").read_bytes()))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@settings(deadline=None)  # the first example pays for what numpy loads
@given(st.data(), st.lists(st.integers(1, 5), max_size=4))
def test_kept_axes_reads_any_grid_back(data, shape):
    axes = [data.draw(st.permutations(range(n)))[: data.draw(st.integers(1, n))] for n in shape]
    flat = np.arange(np.prod(shape, dtype=int)).reshape(shape)[np.ix_(*axes)] if shape else np.array(0)
    found = kept_axes(flat.ravel().tolist(), pruned=flat.shape, dense=shape)
    assert [list(range(n)) if axis is None else list(axis) for axis, n in zip(found, shape, strict=True)] == axes


def test_what_is_no_grid_is_refused():
    with pytest.raises(IntegrityError, match="no grid"):
        kept_axes([0, 1, 2, 4], pruned=(2, 2), dense=(3, 3))


def _pruned() -> tuple[bytes, Lineage]:
    dense = networks.plain()
    _, lineage = channels.prune(dense, networks.IMAGES, ratio=0.5, round_to=4)
    return weights.dump(dense), lineage
