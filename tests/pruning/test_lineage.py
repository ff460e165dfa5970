import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import channels, tensors, weights
from pruneguard.pruning.lineage import Lineage, decode
from pruneguard.pruning.recomputing import departures, kept_axes, recompute
from tests.pruning import networks

CASES = {
    "plain": (networks.plain, networks.IMAGES),
    "residual": (networks.residual, networks.IMAGES),
    "table": (networks.table, networks.TABLE),
    "transformer": (networks.transformer, networks.TABLE),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("round_to", [1, 4])
def test_the_pruned_weights_are_recomputed_bit_for_bit(case, round_to):
    build, rows = CASES[case]
    dense = build()
    pruned, lineage = channels.prune(dense, rows, ratio=0.4, round_to=round_to)
    assert recompute(weights.dump(dense), lineage) == weights.dump(pruned)
    assert lineage.pruned_shapes == {name: tuple(tensor.shape) for name, tensor in pruned.state_dict().items()}


def test_one_changed_index_is_detected_in_every_tensor():
    dense, lineage = _pruned()
    tried = 0
    for name, axes in lineage.kept.items():
        for position, axis in enumerate(axes):
            if axis is None:
                continue
            absent = next(i for i in range(lineage.shapes[name][position]) if i not in axis)
            changed = [*axes]
            changed[position] = (absent, *axis[1:])
            with pytest.raises(IntegrityError):
                recompute(dense, replace(lineage, kept={**lineage.kept, name: tuple(changed)}))
            tried += 1
    assert tried > 8


def test_two_kept_indices_that_change_places_are_detected():
    dense, lineage = _pruned()
    first, *rest = lineage.kept["0.weight"]
    swapped = ((first[1], first[0], *first[2:]), *rest)
    with pytest.raises(IntegrityError, match="cutting the dense weights by this lineage gives"):
        recompute(dense, replace(lineage, kept={**lineage.kept, "0.weight": swapped}))


def test_two_layers_that_change_places_are_detected():
    dense, lineage = _pruned()
    ours, theirs = lineage.kept["1.weight"], lineage.kept["4.weight"]
    with pytest.raises(IntegrityError):
        recompute(dense, replace(lineage, kept={**lineage.kept, "1.weight": theirs, "4.weight": ours}))


def test_one_changed_index_of_the_decision_itself_is_detected():
    dense, lineage = _pruned()
    gone = lineage.removed["0"]
    other = next(i for i in range(16) if i not in gone)
    for changed in ((other, *gone[1:]), gone[1:], (*gone, other)):
        with pytest.raises(IntegrityError, match="no dimension of 0 lacks just"):
            recompute(dense, replace(lineage, removed={**lineage.removed, "0": changed}))


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


def _file(header: str, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + body


BOMBS = {
    "a shape of terabytes": _file('{"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1000000000000]}}', bytes(4)),
    "a shape of terabytes beside a zero": _file('{"a":{"data_offsets":[0,0],"dtype":"F32","shape":[1000000000000,0]}}'),
    "a million dimensions": _file(
        f'{{"a":{{"data_offsets":[0,4],"dtype":"F32","shape":[{"1," * 10**6}1]}}}}', bytes(4)
    ),
    "tensors that share their bytes": _file(
        "{" + ",".join(f'"{i}":{{"data_offsets":[0,8],"dtype":"F64","shape":[1]}}' for i in range(9)) + "}", bytes(8)
    ),
    "bytes of no tensor": _file('{"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}', bytes(8)),
    "a header longer than the file": (2**62).to_bytes(8, "little") + b"{}",
    "too short for a length": b"short",
    "no object": _file("[]"),
    "negative offsets": _file('{"a":{"data_offsets":[-4,0],"dtype":"F32","shape":[1]}}', bytes(4)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_dense_weights_that_ask_for_more_than_they_hold_are_refused(name):
    _, lineage = _pruned()
    asked = {"a": (None, None)}
    hostile = replace(lineage, dense=canonical.digest(BOMBS[name]), kept=asked, shapes={"a": (10**12, 0)}, removed={})
    with pytest.raises(IntegrityError):
        recompute(BOMBS[name], hostile)


def test_a_tensor_without_entries_costs_nothing_however_large_its_other_dimension():
    content = BOMBS["a shape of terabytes beside a zero"]
    _, lineage = _pruned()
    asked = {"kept": {"a": (None, ())}, "shapes": {"a": (10**12, 0)}, "removed": {}}
    with pytest.raises(IntegrityError, match="it claims"):  # it gets that far at once
        recompute(content, replace(lineage, dense=canonical.digest(content), **asked))


def test_a_lineage_that_lacks_a_tensor_is_refused():
    dense, lineage = _pruned()
    kept = {name: axes for name, axes in lineage.kept.items() if name != "0.bias"}
    with pytest.raises(IntegrityError, match=r"0\.bias"):
        recompute(dense, replace(lineage, kept=kept))


def test_the_reader_and_the_writer_agree_with_safetensors():
    content = weights.dump(networks.plain())
    assert tensors.write(tensors.read(content)) == content


def test_a_lineage_comes_back_from_its_bytes():
    _, lineage = _pruned()
    again = decode(lineage.encode())
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
        ({"method": "wish"}, "malformed prune-lineage/v1"),
        ({"shapes": {"0.weight": [1] * 17}}, "17 dimensions"),
        ({"extra": 1}, "one form"),
    ],
)
def test_a_malformed_lineage_is_refused(change, message):
    _, lineage = _pruned()
    with pytest.raises(InvalidInputError, match=message):
        decode(canonical.encode(lineage.to_document() | change))


def test_a_lineage_has_no_second_spelling():
    _, lineage = _pruned()
    document = lineage.to_document()
    backwards = {
        name: [None if a is None else a - len(document["lists"]) for a in axes]
        for name, axes in document["kept"].items()
    }
    with pytest.raises(InvalidInputError, match="one form"):
        decode(canonical.encode(document | {"kept": backwards}))


def test_fine_tuned_weights_of_another_shape_are_told():
    dense, lineage = _pruned()
    pruned = recompute(dense, lineage)
    assert list(departures(pruned, pruned)) == []
    assert "0.weight is F32 (16, 1, 3, 3) after fine-tuning; the cut left F32 (8, 1, 3, 3)" in departures(dense, pruned)
    fewer = {name: tensor for name, tensor in tensors.read(pruned).items() if name != "0.bias"}
    assert list(departures(tensors.write(fewer), pruned)) == [
        "0.bias stands in only one of the weights before and after fine-tuning"
    ]


def test_a_lineage_is_checked_where_neither_torch_nor_numpy_is_installed(tmp_path):
    dense, lineage = _pruned()
    (tmp_path / "dense").write_bytes(dense)
    (tmp_path / "lineage").write_bytes(lineage.encode())
    script = """
import sys
sys.modules.update(dict.fromkeys(["torch", "numpy", "safetensors"]))  # importing any of them now fails
from pathlib import Path
from pruneguard.pruning.lineage import decode
from pruneguard.pruning.recomputing import recompute
recompute(Path("dense").read_bytes(), decode(Path("lineage").read_bytes()))
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
    generator = torch.Generator().manual_seed(3)
    for tensor in dense.state_dict().values():  # an untrained norm's entries are all the same
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    _, lineage = channels.prune(dense, networks.IMAGES, ratio=0.5, round_to=4)
    return weights.dump(dense), lineage
