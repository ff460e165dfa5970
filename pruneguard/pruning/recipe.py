"""What may be done to a copy of the twin, step by step: the catalogue of methods, and recipes made of them.

A recipe is a list of steps. One number, the ratio, is left open: it is what the search varies, and how much each step
takes away unless the step says otherwise. How long a candidate may be trained is no step's business but the run's.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Any, TypeAlias

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.lineage import Part

Value: TypeAlias = str | float | int


class TooMildError(InvalidInputError):
    """So little was to be taken away that nothing can be: widths have steps. A higher ratio may work."""


class Stage(IntEnum):
    """Steps go up through these; why, says `_ORDER`."""

    DATA = 0
    STRUCTURE = 1
    WEIGHTS = 2
    STORAGE = 3


_ORDER = "choose rows first, then take parts away, then factor layers or prune weights, and code what is left"


@dataclass(frozen=True, slots=True)
class Knob:
    """A parameter of a method. `fits` says which values can be; `expected` says it in words."""

    name: str
    doc: str
    default: Value
    expected: str
    fits: Callable[[Value], bool]

    def objection(self, value: object) -> str | None:
        if type(value) is int and isinstance(self.default, float):
            value = float(value)
        if type(value) is not type(self.default) or not self.fits(value):
            return f"expected {self.expected}, found {value!r}; change it"
        return None


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the catalogue. `verb: what` is how a recipe asks for it."""

    verb: str
    what: str
    stage: Stage
    doc: str
    paper: str
    knobs: tuple[Knob, ...] = ()
    searched: bool = True
    """Whether the ratio of the search says how much this takes away."""

    def to_document(self) -> dict[str, Any]:
        knobs = {k.name: {"doc": k.doc, "default": k.default, "expected": k.expected} for k in self.knobs}
        return {self.verb: self.what, "doc": self.doc, "paper": self.paper, "knobs": knobs, "searched": self.searched}


class Schedule(StrEnum):
    """How pruning and training take turns."""

    ONE_SHOT = "one-shot"
    ITERATIVE = "iterative"
    ADAPTIVE = "adaptive"
    GRADUAL = "gradual"
    REWIND = "rewind"
    SPLICING = "splicing"


def one_of(name: str, doc: str, *choices: str) -> Knob:
    """The first choice is the default."""
    choices = tuple(str(choice) for choice in choices)
    return Knob(name, doc, choices[0], f"one of {list(choices)}", lambda value: value in choices)


def _share(name: str, doc: str, default: float) -> Knob:
    return Knob(name, doc, default, "a share above 0 and below 1", lambda value: 0 < float(value) < 1)


def _count(name: str, doc: str, default: int, low: int, high: int) -> Knob:
    return Knob(name, doc, default, f"a whole number from {low} to {high}", lambda value: low <= int(value) <= high)


def _pattern(value: Value) -> bool:
    kept, _, of = str(value).partition(":")
    return str(value).isascii() and kept.isdigit() and of.isdigit() and 0 < int(kept) < int(of) <= 64


_ROUNDS = _count("rounds", "rounds of pruning and training that share the training budget", 3, 1, 50)
_DROP_MAX = _share("drop_max", "accuracy lost on the gate split at which a round is undone", 0.01)
_PARTS_SCHEDULE = one_of(
    "schedule",
    "one-shot: all at once (Li 2017); iterative: in rounds until accuracy slips (Han 2015, Renda 2020 arXiv "
    "2003.02389); adaptive: rounds whose size a controller sets by the accuracy lost (2006.07253)",
    Schedule.ONE_SHOT,
    Schedule.ITERATIVE,
    Schedule.ADAPTIVE,
)
_WEIGHTS_SCHEDULE = one_of(
    "schedule",
    "one-shot; iterative; adaptive; gradual: AGP's cubic ramp (Zhu 2017 arXiv 1710.01878); rewind: lottery tickets, "
    "survivors go back to an early moment of the twin's training (Frankle 2020 1912.05671); splicing: dynamic network "
    "surgery, weights may come back (Guo 2016 1608.04493)",
    *Schedule,
)
_SCOPE = one_of(
    "scope", "layer: every group loses the same share; global: all groups are ranked together", "layer", "global"
)


def _criterion(*choices: str) -> Knob:
    return one_of(
        "criterion", "what makes a part worth keeping; each with its paper at the end of `pruneguard methods`", *choices
    )


def _parts(part: Part, doc: str, paper: str, *knobs: Knob) -> Method:
    return Method("prune", part.value, Stage.STRUCTURE, doc, paper, (*knobs, _PARTS_SCHEDULE, _ROUNDS, _DROP_MAX))


_WIDTHS = one_of(
    "scope",
    "layer: every group loses the same share; global: all groups are ranked together; latency: greedily, the group "
    "that saves most measured time for the importance it loses (NetAdapt, Yang 2018 arXiv 1804.03230)",
    "layer",
    "global",
    "latency",
)
_GENERAL = ("l2", "l1", "taylor", "fpgm", "mrmr", "random")

METHODS: tuple[Method, ...] = (
    Method(
        "select",
        "rows",
        Stage.DATA,
        "Candidates learn from a part of the training rows; the twin has learnt from all.",
        "EL2N: Paul 2021 arXiv 2107.07075; forgetting: Toneva 2019 1812.05159; noise: Northcutt 2021 1911.00068",
        (
            one_of("by", "what rows are chosen by", "el2n", "forgetting", "noise"),
            _share("keep", "share of the rows that stay", 0.7),
            one_of("prefer", "hard rows where data are plenty, easy ones where they are scarce", "hard", "easy"),
        ),
        searched=False,
    ),
    _parts(
        Part.CHANNELS,
        "Whole channels of convolutions and outputs of linear layers leave, with all that made or read them.",
        "DepGraph, Fang 2023 arXiv 2301.12900",
        _criterion(*_GENERAL),
        _WIDTHS,
    ),
    _parts(
        Part.NEURONS,
        "Outputs of linear layers leave: hidden layers of an MLP, feed-forward layers of a transformer.",
        "Li 2017 arXiv 1608.08710; mRMR: Peng 2005",
        _criterion(*_GENERAL),
        _WIDTHS,
    ),
    _parts(
        Part.HEADS,
        "Whole heads of attention leave, hand-written or nn.MultiheadAttention.",
        "Michel 2019 arXiv 1905.10650",
        _criterion("taylor", "l2", "l1", "fpgm", "mrmr", "random"),
        _SCOPE,
    ),
    _parts(
        Part.UNITS,
        "Units of RNN, GRU and LSTM leave, in every layer and direction equally many.",
        "ISS, Wen 2018 arXiv 1709.05027",
        _criterion(*_GENERAL),
        _SCOPE,
    ),
    _parts(
        Part.BLOCKS,
        "Whole residual blocks or transformer layers leave.",
        "ShortGPT, Men 2024 arXiv 2403.03853; LayerDrop 1909.11556",
        _criterion("influence", "taylor", "l2", "l1", "random"),
        _SCOPE,
    ),
    _parts(
        Part.EXPERTS,
        "Whole experts of a mixture leave; the router shares out over those that stay.",
        "Lu 2024 arXiv 2402.14800; Chen 2022 2206.00277",
        _criterion("usage", "l2", "l1", "taylor", "random"),
        _SCOPE,
    ),
    Method(
        "factor",
        "layers",
        Stage.WEIGHTS,
        "Layers become products of smaller ones: truncated SVD for linear layers, Tucker-2 for convolutions.",
        "Denton 2014 arXiv 1404.0736; Kim 2016 1511.06530",
        (one_of("kind", "which layers", "all", "svd", "tucker"),),
    ),
    Method(
        "prune",
        "weights",
        Stage.WEIGHTS,
        "Single weights become zero and stay zero; the network keeps its shape.",
        "Han 2015 arXiv 1506.02626; LAMP: Lee 2021 2010.07611; ERK: Evci 2020 1911.11134; movement: Sanh 2020 "
        "2005.07683; N:M: Mishra 2021 2104.08378",
        (
            one_of("criterion", "movement learns what to keep while training", "magnitude", "movement", "random"),
            Knob(
                "budget",
                "how the ratio is shared out among layers: global, layer, lamp, erk; or N:M, as in 2:4",
                "global",
                "one of ['global', 'layer', 'lamp', 'erk'] or a pattern like '2:4'",
                lambda value: value in ("global", "layer", "lamp", "erk") or _pattern(value),
            ),
            _WEIGHTS_SCHEDULE,
            _ROUNDS,
            _DROP_MAX,
        ),
    ),
    Method(
        "transfer",
        "weights",
        Stage.WEIGHTS,
        "Start as a pruned version of another model: its weights where names and shapes agree, its zeros for good.",
        "Iofinova 2022 arXiv 2111.13445; Chen 2020 2007.12223",
        (
            Knob(
                "from",
                "the other model, of which the newest pruned version is taken",
                "",
                "the name of a model in this ledger",
                lambda value: bool(value),
            ),
            Knob("anew", "modules that start afresh although they would fit", "", "names, with commas", lambda _: True),
        ),
        searched=False,
    ),
    Method(
        "quantise",
        "int8",
        Stage.STORAGE,
        "The artefact computes in 8 bits: static for convolutions, MLPs and attention, dynamic for LSTM; not for GRU.",
        "Jacob 2018 arXiv 1712.05877",
        (
            one_of(
                "kind",
                "auto: dynamic with an LSTM, else static; dynamic is often the faster one for transformers",
                "auto",
                "static",
                "dynamic",
            ),
            _count("rows", "training rows that the ranges are calibrated on", 256, 1, 100_000),
        ),
        searched=False,
    ),
    Method(
        "encode",
        "huffman",
        Stage.STORAGE,
        "Weights share few values, and are stored as codes of their frequency; what is judged is what is stored.",
        "Deep Compression, Han 2016 arXiv 1510.00149",
        (_count("bits", "a tensor's weights share at most 2^bits values", 6, 1, 8),),
        searched=False,
    ),
)
"""Everything a recipe can ask for, in the order in which a recipe can."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a recipe. `knobs` are complete; `ratio` is None where the search says it."""

    method: Method
    knobs: Mapping[str, Value]
    ratio: float | None = None

    @property
    def name(self) -> str:
        """The method as people say it.

        >>> step({"prune": "heads"}).name
        'prune heads'
        """
        return f"{self.method.verb} {self.method.what}"

    def to_document(self) -> dict[str, Any]:
        fixed = {} if self.ratio is None else {"ratio": self.ratio}
        return {self.method.verb: self.method.what, **self.knobs, **fixed}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps that can follow each other."""

    name: str
    steps: tuple[Step, ...]

    @property
    def searched(self) -> bool:
        """Whether there is something for the search to vary."""
        return any(step.method.searched and step.ratio is None for step in self.steps)

    @property
    def layerwise(self) -> bool:
        """Whether each layer is asked for the same share: then shapes say at which ratios something can leave."""
        return all(step.knobs.get("scope", "layer") == "layer" for step in self.steps)

    @property
    def exact(self) -> bool:
        """Whether what is left follows from the ratio: rounds may stop before it, and ranks are rounded."""
        judged = (Schedule.ITERATIVE, Schedule.ADAPTIVE)
        loose = any(step.knobs.get("schedule") in judged or step.method.verb == "factor" for step in self.steps)
        return self.layerwise and not loose

    @property
    def words(self) -> str:
        """Its methods in one line."""
        return ", ".join(step.name for step in self.steps)

    def to_document(self) -> list[dict[str, Any]]:
        return [step.to_document() for step in self.steps]


def step(given: Mapping[str, object]) -> Step:
    """A step out of what somebody wrote, defaults filled in; an N:M pattern brings its own ratio.

    >>> step({"prune": "channels", "criterion": "taylor"}).to_document()["criterion"]
    'taylor'

    Raises InvalidInputError for a method or a knob that there is not, and for a value that cannot be.
    """
    verbs = [key for key in given if key in {method.verb for method in METHODS}]
    if len(verbs) != 1:
        known = sorted({f"{m.verb}: {m.what}" for m in METHODS})
        raise InvalidInputError(f"a step names one method; found {sorted(given)}, known are {known}")
    verb, what = verbs[0], given[verbs[0]]
    method = next((m for m in METHODS if (m.verb, m.what) == (verb, what)), None)
    if method is None:
        known = [m.what for m in METHODS if m.verb == verb]
        raise InvalidInputError(f"{verb}: expected one of {known}, found {what!r}{_hint(str(what), known)}")
    knobs = {knob.name: knob for knob in method.knobs}
    free = {"ratio"} if method.searched else set()
    for name in given:
        if name not in knobs and name not in free and name != verb:
            raise InvalidInputError(f"{verb} {what} takes no {name!r}; it takes {sorted(knobs)}{_hint(name, knobs)}")
    values = {name: _number(given.get(name, knob.default), knob) for name, knob in knobs.items()}
    for name, knob in knobs.items():
        if (why := knob.objection(values[name])) is not None:
            raise InvalidInputError(f"{name}: {why}")
    if values.get("criterion") == "movement":
        if values["schedule"] != Schedule.GRADUAL and "schedule" in given:
            raise InvalidInputError("schedule: movement learns what to keep on a gradual schedule; leave it out")
        values["schedule"] = Schedule.GRADUAL.value
        if values["budget"] == "lamp":
            raise InvalidInputError(
                "budget: lamp compares magnitudes, and movement has none; take global, layer or erk"
            )
    if values.get("criterion") == "random" and values.get("schedule") in (Schedule.GRADUAL, Schedule.SPLICING):
        raise InvalidInputError(f"criterion: {values['schedule']} goes by magnitude; take another schedule for random")
    if values.get("scope") == "latency" and values["schedule"] != Schedule.ONE_SHOT:
        raise InvalidInputError("schedule: scope latency measures time, and rounds count parts; take one-shot")
    in_rounds = values.get("schedule") in (Schedule.ITERATIVE, Schedule.ADAPTIVE, Schedule.REWIND)
    if idle := [name for name in ("rounds", "drop_max") if name in given and not in_rounds]:
        raise InvalidInputError(f"{idle[0]}: schedule {values['schedule']} has no rounds; leave it out")
    if "drop_max" in given and values["schedule"] == Schedule.REWIND:
        raise InvalidInputError("drop_max: rewinding judges no round by its accuracy; leave it out")
    if _pattern(values.get("budget", "")) and values["schedule"] not in (Schedule.ONE_SHOT, Schedule.SPLICING):
        raise InvalidInputError(
            f"schedule: the pattern {values['budget']} has one ratio, which cannot grow; take one-shot or splicing"
        )
    ratio = given.get("ratio")
    if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 1):
        raise InvalidInputError(f"ratio: expected a share above 0 and below 1, found {ratio!r}; change it")
    if _pattern(values.get("budget", "")):
        kept, _, of = str(values["budget"]).partition(":")
        if ratio is not None:
            raise InvalidInputError(f"ratio: the pattern {kept}:{of} says how many weights go; leave the ratio out")
        ratio = 1 - int(kept) / int(of)
    return Step(method, values, None if ratio is None else float(ratio))


def recipe(name: str, steps: Sequence[Step]) -> Recipe:
    """Steps as a recipe. Raises InvalidInputError, naming the two, where one cannot follow the other."""
    for why in _objections(steps):
        raise InvalidInputError(f"recipe {name!r}: {why}")
    return Recipe(name, tuple(steps))


def _objections(steps: Sequence[Step]) -> Iterator[str]:
    if not steps:
        yield "no steps; name at least one"
    for before, then in pairwise(steps):
        if then.method.stage < before.method.stage:
            yield f"{then.name} cannot follow {before.name}; {_ORDER}"
    names = [step.name for step in steps]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"{name} stands there twice; the rounds of one step do the same"
    if {"prune channels", "prune neurons"} <= set(names):
        yield "prune channels takes the neurons of linear layers as well; take one of the two"
    if {"factor layers", "prune weights"} <= set(names):
        yield "factor layers would fill the zeros of prune weights; take one of the two"
    if "transfer weights" in names and any(step.method.stage is Stage.STRUCTURE for step in steps):
        yield "transfer weights keeps the other model's shape, from which no parts can leave; take one of the two"
    if {"transfer weights", "factor layers"} <= set(names):
        yield "factor layers would fill the zeros that transfer weights brings; take one of the two"
    if {"quantise int8", "encode huffman"} <= set(names):
        yield "quantise int8 and encode huffman both say how weights are stored; take one of the two"
    if all(step.method.stage is Stage.DATA for step in steps):
        yield "nothing is taken away; add a step that prunes, factors, quantises or encodes"


def _number(value: object, knob: Knob) -> Any:
    return float(value) if type(value) is int and isinstance(knob.default, float) else value


def _hint(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
