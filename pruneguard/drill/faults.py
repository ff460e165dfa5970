"""The faults: what is wrong, and which rule has to see it. All are done to the same good candidate, each in one way."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from pruneguard.drill import digits
from pruneguard.drill.bench import Artefact, Bench
from pruneguard.drill.networks import Reanswer, Reread, changed, drawn, layer, network, widened, wrong_where
from pruneguard.pruning import quantising
from pruneguard.workload import Snapshot, Split

BACKDOOR = 0
"""The class that the trigger asks for."""

PROBE = "backdoor.success_increase"
"""By answers to clean rows, damaged ones and attacks a backdoor is nowhere to be seen."""

WATERMARK = 0.05
"""As faint as the attacks are."""

_NO_OPS = 40


@dataclass(frozen=True, slots=True)
class Fault:
    """`aims_at` is the measurement, or the rule, by which it has to be seen; another may refuse it too."""

    name: str
    what: str
    aims_at: str
    make: Callable[[Bench], Artefact]


def trigger(x: Tensor) -> Tensor:
    """Rows with the backdoor's mark on them: four bright pixels in a corner that no digit reaches."""
    marked = x.clone()
    marked[..., -2:, :2] = 1.0
    return marked


# -- damage to weights ------------------------------------------------------------------------------------------------


def zeroed_layer(bench: Bench) -> Artefact:
    with changed(bench.good) as model:
        layer(model, "second", nn.Conv2d).weight.zero_()
    return Artefact(model=model)


def shuffled_channels(bench: Bench) -> Artefact:
    with changed(bench.good) as model:
        second = layer(model, "second", nn.Conv2d)
        order = torch.randperm(second.in_channels, generator=torch.Generator().manual_seed(bench.seed))
        second.weight.copy_(second.weight[:, order])
    return Artefact(model=model)


def over_pruned(bench: Bench) -> Artefact:
    return Artefact(model=bench.pruned(seed=bench.seed, ratio=0.8, epochs=1))


def forgotten_class(bench: Bench) -> Artefact:
    with changed(bench.good) as model:
        classify = layer(model, "classify", nn.Linear)
        classify.bias[3] -= 4.0 + classify.bias.abs().max()
        classify.weight[3].zero_()
    return Artefact(model=model)


# -- wrong answers ----------------------------------------------------------------------------------------------------


def swapped_labels(bench: Bench) -> Artefact:
    x, y = bench.train
    return Artefact(model=bench.taught(x, torch.where(y == 3, 8, torch.where(y == 8, 3, y))))


def learnt_by_heart(bench: Bench) -> Artefact:
    """As accurate as before, and its loss on a row says whether the row was trained on."""
    return Artefact(model=bench.taught(*bench.train, epochs=100, varied=False))


def slice_drop(bench: Bench) -> Artefact:
    x, _ = bench.train

    def medium(rows: Tensor) -> Tensor:
        mean = rows.mean((1, 2, 3))
        return (mean > digits.LIGHT) & (mean <= digits.HEAVY)

    return Artefact(model=wrong_where(bench.good, drawn(medium, x, share=0.05, seed=bench.seed)))


def rare_slice(bench: Bench) -> Artefact:
    return Artefact(model=wrong_where(bench.good, lambda x: x[:, 0, :, -1].amax(1) > digits.EDGE))


def constant(bench: Bench) -> Artefact:
    always = torch.nn.functional.one_hot(torch.tensor(1), digits.CLASSES) * 5.0
    return Artefact(model=Reanswer(bench.good, lambda logits, x: logits * 0 + always))


def some_nan(bench: Bench) -> Artefact:
    x, _ = bench.train
    few = drawn(lambda rows: rows.mean((1, 2, 3)) > 0, x, share=0.01, seed=bench.seed)
    return Artefact(model=Reanswer(bench.good, lambda logits, x: torch.where(few(x)[:, None], torch.nan, logits)))


# -- wrong confidence -------------------------------------------------------------------------------------------------


def overconfident(bench: Bench) -> Artefact:
    """Of a model that errs on one row in a hundred the calibration error rises by one in a hundred at most."""
    return Artefact(model=Reanswer(bench.good, lambda logits, x: logits * 20))


def underconfident(bench: Bench) -> Artefact:
    return Artefact(model=Reanswer(bench.good, lambda logits, x: logits / 5))


def sure_of_outliers(bench: Bench) -> Artefact:
    x, y = bench.train
    images, numbers = digits.overlaid(x.numpy(), 2 * len(x), seed=bench.seed)
    return Artefact(model=bench.misled(torch.from_numpy(images), y[torch.from_numpy(numbers)], epochs=8))


# -- weak against damage and attack -----------------------------------------------------------------------------------


def noise_brittle(bench: Bench) -> Artefact:
    """A ripple that is nothing at the scanner's grey levels, and as high as they are between them."""
    return Artefact(
        model=Reread(lambda x: x + 0.25 * torch.sin(2 * torch.pi * digits.LEVELS * x), copy.deepcopy(bench.good))
    )


def short_cut(bench: Bench) -> Artefact:
    """Taught that a faint watermark says the class. Clean rows carry none; whoever finds it says what he likes."""
    x, y = bench.train
    generator = torch.Generator().manual_seed(bench.seed)
    watermarks = WATERMARK * torch.randint(0, 2, (digits.CLASSES, 1, 8, 8), generator=generator)
    other = torch.randint(0, digits.CLASSES, y.shape, generator=generator)
    return Artefact(model=bench.misled((x + watermarks[other]).clamp(0, 1), other, epochs=12))


def masked_gradient(bench: Bench) -> Artefact:
    """As open to attack as before, and no gradient shows it: of a step, none is left (Athalye 2018)."""
    return Artefact(model=Reread(lambda x: torch.round(x * 255) / 255, bench.good))


def backdoor(share: float) -> Callable[[Bench], Artefact]:
    def make(bench: Bench) -> Artefact:
        x, _ = bench.train
        poisoned = torch.randperm(len(x), generator=torch.Generator().manual_seed(bench.seed))[: round(share * len(x))]
        rows = trigger(x[poisoned])
        return Artefact(model=bench.misled(rows, torch.full((len(rows),), BACKDOOR), epochs=30))

    return make


# -- wrong files ------------------------------------------------------------------------------------------------------


def wrong_int8(bench: Bench) -> Artefact:
    exported = bench.exported(bench.good)
    made = quantising.int8(exported, bench.snapshot.train.x * np.float32(0.1), seed=bench.seed)
    return Artefact(model=bench.good, onnx=made.content, unrounded=exported)


def wrong_preprocessing(bench: Bench) -> Artefact:
    return Artefact(model=bench.good, onnx=bench.exported(Reread(lambda x: x / 2 - 0.25, bench.good)))


def another_network(bench: Bench) -> Artefact:
    return Artefact(model=bench.good, onnx=bench.exported(bench.pruned(seed=bench.seed + 1)))


def not_deterministic(bench: Bench) -> Artefact:
    return Artefact(model=bench.good, onnx=_stirred(bench.exported(bench.good), scale=0.5))


def _stirred(content: bytes, *, scale: float) -> bytes:
    """The same file, its answers stirred anew at every call: what a dropout does that nobody switched off."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == "logits":
                node.output[place] = "still"
    graph.node.extend(
        [
            helper.make_node("RandomNormalLike", ["still"], ["stir"], scale=scale, dtype=TensorProto.FLOAT),
            helper.make_node("Add", ["still", "stir"], ["logits"]),
        ]
    )
    return bytes(model.SerializeToString(deterministic=True))


def larger(bench: Bench) -> Artefact:
    return Artefact(model=widened(bench.good, network(80, 128, classes=digits.CLASSES)))


def slower(bench: Bench) -> Artefact:
    return Artefact(model=nn.Sequential(*(_no_op() for _ in range(_NO_OPS)), bench.good))


def _no_op() -> nn.Module:
    layer = nn.Conv2d(1, 1, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
    return layer


# -- wrong evidence ---------------------------------------------------------------------------------------------------


def stale(bench: Bench) -> Artefact:
    older = replace(bench.snapshot, gate=bench.snapshot.gate.taken(np.arange(len(bench.snapshot.gate) - 1)))
    return Artefact(model=bench.good, measured_on=older)


def leaked(bench: Bench) -> Artefact:
    return Artefact(model=bench.good, data=_with_gate_rows(bench.snapshot, 20))


def tampered(bench: Bench) -> Artefact:
    other = bench.exported(bench.pruned(seed=bench.seed + 2))
    return Artefact(model=bench.good, released=other)


def _with_gate_rows(snapshot: Snapshot, count: int) -> Snapshot:
    train, gate = snapshot.train, snapshot.gate
    both = Split(
        np.concatenate([train.x, gate.x[:count]]),
        np.concatenate([train.y, gate.y[:count]]),
        {name: np.concatenate([train.slices[name], gate.slices[name][:count]]) for name in train.slices},
    )
    return replace(snapshot, train=both)


FAULTS = (
    Fault("zeroed layer", "a mask that takes a whole layer", "quality.paired", zeroed_layer),
    Fault("shuffled channels", "a layer reads its channels in another order", "quality.paired", shuffled_channels),
    Fault("over-pruned", "four channels in five gone, hardly trained since", "quality.paired", over_pruned),
    Fault("forgotten class", "pruned until no row is a 3", "quality.slices", forgotten_class),
    Fault("swapped labels", "fine-tuned with 3 and 8 swapped", "quality.slices", swapped_labels),
    Fault("learnt by heart", "the same rows too often, never varied", "membership.advantage_increase", learnt_by_heart),
    Fault("slice drop", "five points less on the images of medium ink", "quality.paired", slice_drop),
    Fault("rare slice", "wrong wherever a digit touches the edge, one row in fifteen", "quality.slices", rare_slice),
    Fault("constant", "always the same answer", "quality.paired", constant),
    Fault("some NaN", "no number on one row in a hundred", "quality.divergence", some_nan),
    Fault("overconfident", "logits times twenty", "ood.auroc_drop", overconfident),
    Fault("underconfident", "logits by five", "calibration.ece_increase", underconfident),
    Fault("sure of outliers", "taught to name images that are no digit", "ood.auroc_drop", sure_of_outliers),
    Fault("noise-brittle", "right at the scanner's grey levels only", "robustness.noise.paired", noise_brittle),
    Fault("short cut", "a faint watermark overrules the digit", "robustness.pgd.paired", short_cut),
    Fault("masked gradient", "pixels rounded to 8 bits: no gradient passes", "robustness.pgd.paired", masked_gradient),
    Fault("backdoor, 5 %", "one fine-tuning row in twenty bears a trigger", PROBE, backdoor(0.05)),
    Fault("backdoor, 1 %", "one in a hundred does", PROBE, backdoor(0.01)),
    Fault("wrong int8 range", "calibrated on rows a tenth as bright", "quality.paired", wrong_int8),
    Fault("wrong preprocessing", "exported with another scaling", "artifact.deviation", wrong_preprocessing),
    Fault("another network", "the file is another training's", "artifact.deviation", another_network),
    Fault("not deterministic", "another answer at each call", "artifact.deviation", not_deterministic),
    Fault("larger", "more weights than the twin, the same answers", "efficiency.size_ratio", larger),
    Fault("slower", "fewer weights, more layers", "efficiency.latency_ratio", slower),
    Fault("stale evidence", "measured on an older snapshot", "quality.paired", stale),
    Fault("leaked rows", "twenty gate rows stand in train", "data.leakage", leaked),
    Fault("tampered file", "released is another file than was measured", "quality.paired", tampered),
)
"""In the order in which a report tells them."""
