"""Every method on every kind of network: it works and can be proven, or it is refused and says why."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard import pruning
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import export, quantising, recipe, storage, weights
from pruneguard.pruning.lineage import Factors, Lineage, Round, Rows, decode
from pruneguard.pruning.making import Candidate
from pruneguard.pruning.recipe import METHODS
from pruneguard.pruning.recomputing import departures, recompute
from pruneguard.pruning.shop import Known
from pruneguard.workload import Snapshot
from tests.pruning.targets import TARGETS, Target

EPOCHS = 3
SEED = 3
ANY = {"drop_max": 0.99}  # rounds are to be made here; what they cost is another test's


@dataclass(frozen=True)
class Grown:
    """A target with its rows and its trained twin."""

    target: Target
    snapshot: Snapshot
    twin: nn.Module
    early: bytes
    known: Known

    def make(self, *steps: dict, ratio: float = 0.5, round_to: int = 4, epochs: int = EPOCHS) -> Candidate:
        return pruning.candidate(
            self.target,
            self.twin,
            self.snapshot,
            recipe.recipe("test", [recipe.step(step) for step in steps]),
            ratio=ratio,
            epochs=epochs,
            seed=SEED,
            round_to=round_to,
            early=self.early,
            known=self.known,
        )


@functools.cache
def grown(name: str) -> Grown:
    target, early = TARGETS[name], []
    snapshot = target.data()
    twin = pruning.twin(target, snapshot, epochs=4, seed=1, early=early.append)
    return Grown(target, snapshot, twin, early[0], Known())


def prune(what: str, **knobs: object) -> dict:
    return {"prune": what, **knobs}


FACTOR, HUFFMAN, INT8 = {"factor": "layers"}, {"encode": "huffman"}, {"quantise": "int8"}

WORKS: dict[str, list[list[dict]]] = {
    "mlp": [
        *([prune("neurons", criterion=name)] for name in ("l1", "l2", "taylor", "fpgm", "mrmr", "random")),
        [prune("neurons", scope="global", schedule="iterative", **ANY)],
        [prune("channels", schedule="adaptive", **ANY)],
        *([prune("weights", budget=budget)] for budget in ("global", "layer", "lamp", "erk", "2:4", "1:4")),
        [prune("weights", schedule="splicing", budget="2:4")],
        [{"factor": "layers", "kind": "svd"}],
        [prune("neurons", ratio=0.25), prune("weights", ratio=0.75), HUFFMAN],
        [{"select": "rows", "by": "el2n"}, prune("neurons")],
        [{"select": "rows", "by": "noise"}, prune("weights")],
    ],
    "cnn": [
        *([prune("channels", criterion=name)] for name in ("l1", "l2", "taylor", "fpgm", "mrmr", "random")),
        [prune("channels", scope="global", schedule="adaptive", **ANY)],
        [prune("neurons")],
        *([prune("blocks", criterion=name)] for name in ("influence", "l1", "l2")),
        [prune("blocks", criterion="taylor", schedule="iterative", **ANY)],
        [prune("channels"), prune("blocks")],
        [prune("channels"), prune("weights"), HUFFMAN],
        [prune("channels"), prune("weights", schedule="rewind", rounds=2)],
        [prune("channels"), prune("weights", budget="2:4")],
        [prune("channels"), {"factor": "layers", "kind": "tucker"}],
        [FACTOR, {"encode": "huffman", "bits": 4}],
        [{"select": "rows", "by": "forgetting"}, prune("channels")],
        [prune("weights", budget="lamp", schedule="gradual")],
    ],
    "lstm": [
        *([prune("units", criterion=name)] for name in ("l1", "l2", "taylor", "fpgm", "random")),
        [prune("units", schedule="iterative", **ANY), prune("weights", schedule="iterative", **ANY)],
        [prune("units"), prune("neurons"), HUFFMAN],
        [prune("weights", budget="erk", schedule="splicing")],
        [FACTOR],
    ],
    "gru": [
        [prune("units", scope="global")],
        [prune("units", schedule="adaptive", **ANY)],
        [prune("neurons"), prune("weights", criterion="random", budget="layer")],
        [prune("units"), prune("weights", criterion="movement")],
        [prune("weights", schedule="rewind", rounds=2)],
        [FACTOR],
    ],
    "written": [
        *([prune("heads", criterion=name)] for name in ("taylor", "l2", "l1", "fpgm", "mrmr", "random")),
        [prune("heads", schedule="iterative", **ANY), prune("weights")],
        [prune("channels", scope="global")],
        [prune("blocks", criterion="random"), prune("heads"), prune("neurons")],
        [prune("heads"), prune("neurons"), prune("blocks")],
        [prune("weights", criterion="movement", budget="layer")],
        [prune("heads"), FACTOR],
        [prune("heads"), HUFFMAN],
    ],
    "torch": [
        [prune("heads", scope="global", schedule="adaptive", **ANY)],
        [prune("neurons", criterion="taylor")],
        [prune("channels")],
        [prune("heads"), prune("neurons"), prune("blocks")],
        [prune("blocks"), prune("heads"), prune("weights", schedule="gradual", budget="erk")],
        [prune("weights", schedule="iterative", **ANY)],
        [prune("neurons"), FACTOR],
    ],
    "mixture": [
        *([prune("experts", criterion=name)] for name in ("usage", "l2", "l1", "taylor", "random")),
        [prune("experts", scope="global", schedule="iterative", **ANY)],
        [prune("experts"), prune("heads"), prune("weights", budget="lamp")],
        [prune("neurons"), prune("experts")],
        [prune("heads"), prune("blocks"), prune("experts")],
        [prune("weights", schedule="adaptive", **ANY), HUFFMAN],
        [prune("experts"), FACTOR],
    ],
    "deep mixture": [
        [prune("heads"), prune("experts")],
        [prune("experts", schedule="adaptive", **ANY), prune("heads", schedule="iterative", **ANY)],
        [prune("heads", schedule="iterative", **ANY), prune("experts", schedule="iterative", **ANY), prune("blocks")],
    ],
}

REFUSED: dict[str, list[tuple[list[dict], str]]] = {
    "mlp": [
        ([prune("heads")], "Sequential has no heads"),
        ([prune("units")], "has no units"),
        ([prune("experts")], "has no experts"),
        ([prune("blocks")], "has no blocks"),
        ([{"factor": "layers", "kind": "tucker"}], "no layer of Sequential gets smaller"),
        ([prune("weights", budget="3:7")], "no layer's input size is a multiple of 7"),
        ([prune("neurons"), prune("channels")], "prune channels takes the neurons"),
    ],
    "cnn": [
        ([prune("heads")], "Convolutions has no heads"),
        ([prune("units")], "has no units"),
        ([prune("experts")], "has no experts"),
    ],
    "lstm": [([prune("heads")], "has no heads"), ([prune("blocks")], "has no blocks")],
    "gru": [([prune("heads")], "has no heads"), ([prune("experts")], "has no experts")],
    "written": [([prune("units")], "Classifier has no units"), ([prune("experts")], "has no experts")],
    "torch": [([prune("units")], "Encoder has no units"), ([prune("experts")], "has no experts")],
    "mixture": [([prune("units")], "has no units")],
}


def named(steps: list[dict]) -> str:
    return " then ".join(" ".join(str(value) for value in step.values()) for step in steps)


def cases(found: dict[str, list]) -> list:
    return [
        pytest.param(name, case, id=f"{name}-{named(case[0] if isinstance(case, tuple) else case)}")
        for name, several in found.items()
        for case in several
    ]


@pytest.mark.parametrize(("name", "steps"), cases(WORKS))
def test_a_candidate_is_smaller_and_is_what_its_lineage_says(name, steps):
    one = grown(name)
    dense, twin = weights.dump(one.twin), weights.digest(one.twin)
    made = one.make(*steps)
    assert weights.digest(one.twin) == twin
    assert made.lineage.sparsity > 0

    start = dense if made.lineage.start == made.lineage.dense else one.early
    final = weights.dump(made.model)
    recompute(start, made.lineage, made.masks)
    assert list(departures(final, made.lineage, made.masks)) == []
    assert made.lineage.final_shapes == {name: tuple(t.shape) for name, t in made.model.state_dict().items()}

    lineage = decode(made.lineage.encode())
    assert lineage == made.lineage
    again = pruning.shaped(one.twin, lineage).eval()
    weights.load(again, final)
    assert torch.equal(answers(again, one), answers(made.model, one))
    assert torch.allclose(answers(made.deployed, one), answers(made.model, one), atol=1e-5)
    if made.coded is not None:
        assert storage.decode(made.coded) == final

    assert silent(one.twin, lineage) == []


def answers(model: nn.Module, one: Grown) -> torch.Tensor:
    with torch.no_grad():
        found = model(torch.from_numpy(one.snapshot.gate.x[:64]))
    assert torch.isfinite(found).all()
    return found


def silent(twin: nn.Module, lineage: Lineage) -> list[str]:
    """Weights that are whole, and of whose layer nobody says why; and what is told of layers that are not there."""
    now = {lineage.source(name): name for name in lineage.kept}
    whole = [
        name
        for name, weight in twin.named_parameters()
        if weight.dim() > 1
        and name in now
        and all(axis is None for axis in lineage.kept[now[name]])
        and (now[name] not in lineage.masks or lineage.masks[now[name]].kept == weight.numel())
        and now[name].removesuffix(".weight") not in lineage.factored
    ]
    here = {name: [at for at in lineage.untouched if name == at or name.startswith(f"{at}.")] for name in whole}
    wrong = lineage.untouched.keys() - {at for told in here.values() for at in told}
    assert all(lineage.untouched.values())
    return [name for name, told in here.items() if not told] + sorted(wrong)


@pytest.mark.parametrize(("name", "case"), cases(REFUSED))
def test_what_a_network_has_not_is_refused_by_name_and_the_twin_is_as_it_was(name, case):
    steps, why = case
    one = grown(name)
    twin = weights.digest(one.twin)
    with pytest.raises(InvalidInputError, match=why):
        one.make(*steps)
    assert weights.digest(one.twin) == twin


def test_every_method_and_every_choice_of_it_is_in_this_matrix():
    steps = [recipe.step(step) for several in WORKS.values() for found in several for step in found]
    steps.append(recipe.step(INT8))  # in a test of its own below
    for method in METHODS:
        if method.verb == "transfer":  # from a model of another run: it has tests of its own
            continue
        mine = [step for step in steps if step.method is method]
        assert mine, f"{method.verb} {method.what}"
        for knob in method.knobs:
            choices = CHOICES.get(knob.name)
            if choices and knob.expected.startswith("one of"):
                missing = {c for c in choices if knob.objection(c) is None} - {step.knobs[knob.name] for step in mine}
                assert not missing, f"{method.what}: {knob.name}"


CHOICES = {
    "criterion": ("l1", "l2", "taylor", "fpgm", "influence", "usage", "random", "magnitude", "movement"),
    "budget": ("global", "layer", "lamp", "erk", "2:4"),
    "by": ("el2n", "forgetting", "noise"),
    "kind": ("all", "svd", "tucker"),
}

EXPORTED: dict[str, list[list[dict]]] = {
    "mlp": [[prune("neurons"), prune("weights")]],
    "cnn": [[prune("channels"), prune("blocks")], [prune("channels"), FACTOR]],
    "lstm": [[prune("units"), prune("weights")]],
    "gru": [[prune("units"), prune("neurons")]],
    "written": [[prune("heads"), prune("neurons"), prune("blocks")]],
    "torch": [[prune("heads"), prune("neurons"), prune("blocks")]],
    "mixture": [[prune("experts"), prune("heads"), prune("blocks")]],
}


def exported(made: Candidate, one: Grown) -> bytes:
    return export.to_onnx(made.deployed, one.snapshot.gate.x[:2], classes=one.snapshot.classes)


@pytest.mark.parametrize(("name", "steps"), cases(EXPORTED))
def test_the_exported_file_answers_as_the_network_does(name, steps):
    one = grown(name)
    made = one.make(*steps, ratio=0.45, round_to=1)
    found = Session(exported(made, one)).run(one.snapshot.gate.x[:64])
    assert np.abs(found - answers(made.model, one).numpy()).max() < 1e-4


@pytest.mark.parametrize(("name", "part"), [("cnn", "channels"), ("torch", "heads"), ("lstm", "units")])
def test_what_was_pruned_becomes_int8(name, part):
    one = grown(name)
    found = quantising.int8(exported(one.make(prune(part), INT8), one), one.snapshot.train.x)
    assert found.agreement > 0.8
    assert Session(found.content).run(one.snapshot.gate.x[:64]).shape == (64, one.snapshot.classes)


def test_a_gru_cannot_become_int8_and_says_so():
    one = grown("gru")
    with pytest.raises(InvalidInputError, match="GRU"):
        quantising.int8(exported(one.make(prune("weights")), one), one.snapshot.train.x)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("mlp", [prune("neurons", criterion="random"), prune("weights", criterion="random")]),
        ("cnn", [prune("channels", criterion="taylor", schedule="iterative", **ANY), FACTOR]),
        ("deep mixture", [prune("experts"), prune("weights", schedule="splicing")]),
    ],
)
def test_the_same_seed_makes_the_same_candidate(name, steps):
    one = grown(name)
    first, second = one.make(*steps), one.make(*steps)
    assert weights.digest(first.model) == weights.digest(second.model)
    assert first.lineage.encode() == second.lineage.encode()


@pytest.mark.parametrize("round_to", [1, 4, 8, 16])
@pytest.mark.parametrize(("name", "part"), [("mlp", "neurons"), ("cnn", "channels"), ("lstm", "units")])
def test_nearly_everything_may_go_and_every_width_keeps_its_multiple(name, part, round_to):
    one = grown(name)
    if (name, round_to) == ("lstm", 16):
        with pytest.raises(InvalidInputError, match="nothing can leave"):
            one.make(prune(part), ratio=0.98, round_to=round_to, epochs=1)
        return
    made = one.make(prune(part), ratio=0.98, round_to=round_to, epochs=1)
    recompute(weights.dump(one.twin), made.lineage)
    # Not along the inputs: those of a grouped convolution are counted within a group.
    cut = [len(axes[0]) for axes in made.lineage.kept.values() if axes and axes[0] is not None]
    assert cut
    assert all(width % round_to == 0 for width in cut)
    assert answers(made.model, one).shape == (64, one.snapshot.classes)


def test_rounds_stop_where_no_part_can_leave_any_more():
    one = grown("cnn")
    made = one.make(prune("blocks", schedule="iterative", rounds=3, **ANY), ratio=0.9)
    assert len(made.lineage.removed["blocks"]["blocks"]) == 1
    assert len(made.lineage.rounds) == 1


def test_what_left_inside_of_what_left_is_told_once():
    one = grown("written")
    made = one.make(prune("heads"), prune("neurons"), prune("blocks"))
    (gone,) = made.lineage.removed["blocks"].values()
    inside = tuple(f"layers.{block}." for block in gone)
    assert gone
    assert not [root for roots in made.lineage.removed.values() for root in roots if root.startswith(inside)]


def test_a_layer_is_told_by_the_name_it_has_in_the_dense_network():
    one = grown("deep mixture")
    made = one.make(prune("experts"), prune("heads"))
    names = {name for name, _ in one.twin.named_modules()} | {name for name, _ in one.twin.named_parameters()}
    assert made.lineage.untouched.keys() <= names
    for root in made.lineage.removed["heads"]:
        assert not {f"{root}.{layer}" for layer in "qkv"} & made.lineage.untouched.keys()


@functools.cache
def _blocks_and_experts() -> tuple[Grown, Lineage]:
    one = grown("mixture")
    return one, one.make(prune("blocks"), prune("experts"), prune("neurons")).lineage


@pytest.mark.parametrize("part", ["blocks", "experts"])
def test_a_decision_about_what_left_whole_that_is_not_the_one_made_is_detected(part):
    one, lineage = _blocks_and_experts()
    dense = weights.dump(one.twin)
    recompute(dense, lineage)
    root, gone = next(iter(lineage.removed[part].items()))
    others = {at: numbers for at, numbers in lineage.removed[part].items() if at != root}
    forged = [(*gone, 9999), gone[1:], (*gone, gone[-1]), (gone[0] + 1, *gone[1:])]
    for numbers in forged:
        removed = lineage.removed | {part: others | {root: tuple(numbers)}}
        with pytest.raises(IntegrityError):
            recompute(dense, replace(lineage, removed=removed))
    for roots in (others, others | {f"{root}x": gone}, lineage.removed[part] | {"nowhere": (0,)}):
        with pytest.raises(IntegrityError):
            recompute(dense, replace(lineage, removed=lineage.removed | {part: roots}))


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": "half"},
        {"ratio": 1.5},
        {"ratio": True},
        {"seed": 1.5},
        {"seed": None},
        {"rounds": (Round(step="prune weights", ratio="x"),)},
        {"rounds": (Round(step="prune weights", ratio=0.5, drop=7.0),)},
        {"rounds": (Round(step="prune weights", ratio=0.5, undone=1),)},
        {"rows": Rows(5, 3, "sha256:")},
        {"factored": {"last": Factors((1,), -1.0)}},
        {"sources": {"nobody": "last.weight"}},
        {"sources": {"last.weight": "last.weight"}},
    ],
    ids=str,
)
def test_a_lineage_that_tells_what_cannot_be_is_not_read(change):
    _, lineage = _blocks_and_experts()
    with pytest.raises(InvalidInputError, match="malformed"):
        decode(replace(lineage, **change).encode())


def test_factors_of_a_layer_that_is_not_there_are_no_crash():
    one, lineage = _blocks_and_experts()
    wrong = replace(lineage, factored={"nobody": Factors((1,), 0.5)})
    with pytest.raises(InvalidInputError, match="nobody"):
        list(departures(weights.dump(one.twin), wrong))
