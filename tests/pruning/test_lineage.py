import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pruneguard import canonical, pruning
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import budgets, criteria, masks, parts, tensors, weights
from pruneguard.pruning.lineage import Lineage, Part, decode
from pruneguard.pruning.recomputing import departures, recompute
from pruneguard.pruning.workpiece import Workpiece
from tests.pruning import networks

CASES = {
    "plain": (networks.plain, networks.IMAGES, Part.CHANNELS),
    "residual": (networks.residual, networks.IMAGES, Part.CHANNELS),
    "table": (networks.table, networks.TABLE, Part.NEURONS),
    "transformer": (networks.transformer, networks.TABLE, Part.HEADS),
    "recurrent": (networks.recurrent, networks.TABLE, Part.UNITS),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("round_to", [1, 2])
def test_the_pruned_weights_are_recomputed_bit_for_bit(case, round_to):
    build, rows, part = CASES[case]
    work = _cut(Workpiece.of(build()), rows, part, round_to=round_to)
    lineage = _lineage(work)
    assert recompute(weights.dump(work.dense), lineage) == weights.dump(work.model)
    assert lineage.final_shapes == {name: tuple(tensor.shape) for name, tensor in work.model.state_dict().items()}


@pytest.mark.parametrize("case", CASES)
def test_two_rounds_tell_the_numbers_of_the_dense_network(case):
    build, rows, part = CASES[case]
    once = _cut(Workpiece.of(build()), rows, part, ratio=0.25 if part is not Part.HEADS else 0.5)
    if part is Part.HEADS:  # the one head that is left has to stay
        return
    twice = _cut(once, rows, part, ratio=0.5)
    lineage = _lineage(twice)
    assert recompute(weights.dump(twice.dense), lineage) == weights.dump(twice.model)
    for root, numbers in once.removed[part].items():
        assert set(numbers) < set(lineage.removed[part][root])


def test_the_network_is_built_again_from_its_lineage():
    for build, rows, part in CASES.values():
        work = _cut(Workpiece.of(build()), rows, part)
        again = pruning.shaped(work.dense, decode(_lineage(work).encode())).eval()
        weights.load(again, weights.dump(work.model))
        with torch.no_grad():
            assert torch.equal(again(torch.from_numpy(rows)), work.model.eval()(torch.from_numpy(rows)))


def test_masks_on_a_cut_network_are_part_of_its_lineage():
    cut = _cut(Workpiece.of(networks.plain()), networks.IMAGES, Part.CHANNELS)
    work = cut.masked(masks.make(cut.model, ratio=0.5, budget="global"))
    lineage, file = _lineage(work), masks.pack(work.masks)
    assert recompute(weights.dump(work.dense), lineage, file) == weights.dump(work.model)
    assert lineage.sparsity > _lineage(cut).sparsity
    assert list(departures(weights.dump(work.model), lineage, file)) == []
    assert any("not zero where the mask says so" in d for d in departures(weights.dump(cut.model), lineage, file))
    with pytest.raises(IntegrityError, match="needs its masks"):
        recompute(weights.dump(work.dense), lineage)
    with pytest.raises(IntegrityError, match="names no masks"):
        recompute(weights.dump(work.dense), _lineage(cut), file)


def test_rewound_weights_are_cut_out_of_the_earlier_ones():
    work = Workpiece.of(networks.plain())
    early = networks.plain()
    torch.nn.init.constant_(early.get_parameter("0.weight"), 0.25)
    state = {name: tensor.clone() for name, tensor in early.state_dict().items()}
    rewound = work.masked(masks.make(work.model, ratio=0.5, budget="global")).rewound(state)
    lineage = _lineage(rewound)
    assert lineage.start != lineage.dense
    assert recompute(weights.dump(early), lineage, masks.pack(rewound.masks)) == weights.dump(rewound.model)
    with pytest.raises(IntegrityError, match="the lineage was made from"):
        recompute(weights.dump(work.dense), lineage, masks.pack(rewound.masks))


def test_tensors_that_were_cut_without_a_decision_are_detected():
    dense, lineage = _pruned()
    with pytest.raises(IntegrityError, match="nothing is said to have been removed"):
        recompute(dense, replace(lineage, removed={}))


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
    with pytest.raises(IntegrityError, match="cutting the weights by this lineage gives"):
        recompute(dense, replace(lineage, kept={**lineage.kept, "0.weight": swapped}))


def test_two_layers_that_change_places_are_detected():
    dense, lineage = _pruned()
    ours, theirs = lineage.kept["1.weight"], lineage.kept["4.weight"]
    with pytest.raises(IntegrityError):
        recompute(dense, replace(lineage, kept={**lineage.kept, "1.weight": theirs, "4.weight": ours}))


@pytest.mark.parametrize("case", CASES)
def test_one_changed_number_of_the_decision_itself_is_detected(case):
    build, rows, part = CASES[case]
    work = _cut(Workpiece.of(build()), rows, part)
    dense, lineage = weights.dump(work.dense), _lineage(work)
    for root, gone in lineage.removed[part].items():
        other = next(i for i in range(99) if i not in gone)
        # Of heads the tensors do not say how wide one is: two of half the width would be the same cut.
        more = () if part is Part.HEADS else ((*gone, other),)
        for changed in ((*gone[1:], other), gone[1:], *more):
            removed = {part: {**lineage.removed[part], root: tuple(sorted(changed))}}
            with pytest.raises(IntegrityError, match=f"do not lack just the {part}"):
                recompute(dense, replace(lineage, removed=removed))


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
    with pytest.raises(IntegrityError, match="does not fit these weights"):
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
    hostile = replace(lineage, start=canonical.digest(BOMBS[name]), kept=asked, shapes={"a": (10**12, 0)}, removed={})
    with pytest.raises(IntegrityError):
        recompute(BOMBS[name], hostile)


def test_a_tensor_without_entries_costs_nothing_however_large_its_other_dimension():
    content = BOMBS["a shape of terabytes beside a zero"]
    _, lineage = _pruned()
    asked = {"kept": {"a": (None, None)}, "shapes": {"a": (10**12, 0)}, "removed": {}}
    with pytest.raises(IntegrityError, match="it claims"):  # it gets that far at once
        recompute(content, replace(lineage, start=canonical.digest(content), **asked))


def test_a_lineage_that_lacks_a_tensor_is_refused():
    dense, lineage = _pruned()
    kept = {name: axes for name, axes in lineage.kept.items() if name != "0.bias"}
    with pytest.raises(IntegrityError, match=r"\['0\.bias'\] are gone, and no block or expert"):
        recompute(dense, replace(lineage, kept=kept))
    shapes = {name: shape for name, shape in lineage.shapes.items() if name != "0.bias"}
    with pytest.raises(IntegrityError, match=r"0\.bias"):
        recompute(dense, replace(lineage, kept=kept, shapes=shapes))


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
        ({"start": None}, "malformed prune-lineage/v1"),
        ({"untouched": {"last": 3}}, "malformed prune-lineage/v1"),
        ({"rounds": [{}]}, "malformed prune-lineage/v1"),
        ({"shapes": {"0.weight": [1] * 17}}, "17 dimensions"),
        ({"extra": 1}, "one form"),
        ({"recipe": []}, "told as done"),
        ({"recipe": [{"prune": "heads"}]}, "told as done"),
        ({"removed": {"channels": {}}}, "told as done"),
        ({"start": "sha256:" + "0" * 64}, "another start than the dense"),
        ({"factored": {"7": {"ranks": [2], "error": 0.1}}}, "told as done"),
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
    assert list(departures(pruned, lineage)) == []
    assert "0.weight is (16, 1, 3, 3) after fine-tuning; the lineage left (8, 1, 3, 3)" in departures(dense, lineage)
    fewer = {name: tensor for name, tensor in tensors.read(pruned).items() if name != "0.bias"}
    assert list(departures(tensors.write(fewer), lineage)) == [
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


def _cut(work: Workpiece, rows, part: Part, *, ratio: float = 0.5, round_to: int = 1) -> Workpiece:
    groups = parts.find(part, work.model, rows).groups
    scores = criteria.scores(work.model, groups, criterion="random", rows=None, seed=3)
    chosen = budgets.choose(groups, scores, ratio=ratio, scope=budgets.Scope.LAYER, round_to=round_to)
    return work.cut(groups, chosen)


def _lineage(work: Workpiece) -> Lineage:
    steps = [{"prune": part} for part in work.removed]
    if work.masks:
        steps.append({"prune": "weights", "schedule": "rewind"})
    return work.lineage(recipe=steps, ratio=0.5, seed=3)


def _pruned() -> tuple[bytes, Lineage]:
    dense = networks.plain()
    generator = torch.Generator().manual_seed(3)
    for tensor in dense.state_dict().values():  # an untrained norm's entries are all the same
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return weights.dump(dense), _lineage(_cut(Workpiece.of(dense), networks.IMAGES, Part.CHANNELS, round_to=4))
