"""The phases of a recipe: what is taken away, and the training that follows before the next phase looks again."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import budgets, criteria, lowrank, masks, padding, parts, regimes, surgery, transfer, widths
from pruneguard.pruning.controlling import Controller, Equal
from pruneguard.pruning.group import Found
from pruneguard.pruning.lineage import Part, Round
from pruneguard.pruning.recipe import Schedule, Stage, Step, TooMildError
from pruneguard.pruning.shop import Known, Shop
from pruneguard.pruning.workpiece import Workpiece
from pruneguard.workload import Floats

Take: TypeAlias = Callable[[Workpiece, float], Workpiece]
"""A workpiece, and the share of the dense network that shall be gone. The same workpiece where less cannot be less."""


def phases(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """The steps that end in training, grouped by it: kinds of parts that leave at once share one training."""
    working = [step for step in steps if step.method.stage in (Stage.STRUCTURE, Stage.WEIGHTS)]
    return [tuple(group) for _, group in groupby(working, key=lambda step: _at_once(step) or id(step))]


def act(work: Workpiece, steps: Sequence[Step], shop: Shop, *, epochs: int, last: bool) -> Workpiece:
    """One phase: what its steps take away, and their training; `last` says that the shape is final after it.

    Raises InvalidInputError when nothing of this network can be taken away so, or training it comes to nothing.
    """
    first, ratio = steps[0], _ratio(steps[0], shop)
    if first.name == "transfer weights":
        return _trained(_transferred(work, first, shop), shop, epochs=epochs)
    if first.name == "prune weights":
        return _weights(work, first, shop, ratio=ratio, epochs=epochs, last=last)
    if first.name == "factor layers":
        work = _factored(work, first, shop, ratio=ratio)
    elif not _at_once(first):
        return _in_rounds(work, first, shop, _parts_until(first, shop), ratio=ratio, epochs=epochs)
    else:
        for step in steps:
            work = _parts(work, step, shop, ratio=_ratio(step, shop))
    if last and shop.promising is not None and not shop.promising(deployed(work, shop.known, shop.example)):
        return work
    return _trained(work, shop, epochs=epochs)


def deployed(work: Workpiece, known: Known, example: Floats) -> nn.Module:
    """The network as it is exported: widths that onnxruntime is slow on are filled up with zeros, which is exact."""
    kinds = [part for part in (Part.CHANNELS, Part.NEURONS, Part.UNITS) if part in work.removed]
    if work.factored or not kinds:
        return work.model
    groups = [group for part in kinds for group in known.find(part, work.dense, example).groups]
    kept = {work.sources[name]: axes for name, axes in work.kept.items()}
    less, _ = padding.widened(groups, removed=work.removed, kept=kept, multiple=padding.MULTIPLE)
    if less == work.removed:
        return work.model
    return padding.pad(work.dense, work.model, groups=groups, removed=work.removed, kept=kept)


def _at_once(step: Step) -> bool:
    return step.method.stage is Stage.STRUCTURE and step.knobs["schedule"] == Schedule.ONE_SHOT


def _ratio(step: Step, shop: Shop) -> float:
    return shop.ratio if step.ratio is None else step.ratio


def _trained(work: Workpiece, shop: Shop, *, epochs: int, regime: regimes.Regime | None = None) -> Workpiece:
    """Fine-tuned; what is masked stays so, or becomes what the regime says."""
    model = copy.deepcopy(work.model)
    regime = regime or (regimes.Held(work.masks) if work.masks else None)
    shop.fit(model, epochs=epochs, regime=regime)
    return replace(work, model=model, masks=regime.masks if regime else {}, epochs=work.epochs + epochs)


# Parts and layers


def _parts(work: Workpiece, step: Step, shop: Shop, *, ratio: float, last: bool = True) -> Workpiece:
    """Rank the parts of one kind in the network as it is, and take a share of them out.

    In all rounds but the last it may be that no width can fall by a whole step: then nothing leaves.
    """
    knobs = step.knobs
    part = Part(step.method.what)
    whole = not work.removed  # so that what is known of the twin holds
    found = shop.known.find(part, work.dense, shop.example) if whole else parts.find(part, work.model, shop.example)
    if not found.groups and not last:
        return work
    if not found.groups:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in found.untouched.items())
        raise InvalidInputError(
            f"{_named(work)} has no {step.method.what} that can leave{': ' + why if why else ''}; "
            "take another method: pruneguard methods"
        )
    scores = criteria.scores(
        work.model, found.groups, criterion=str(knobs["criterion"]), rows=shop.train, seed=shop.seed
    )
    if knobs["scope"] == "latency":
        chosen = widths.choose(
            work.model, shop.example, found.groups, scores, ratio=ratio, round_to=shop.round_to, seed=shop.seed
        )
    else:
        scope = budgets.Scope(str(knobs["scope"]))
        chosen = budgets.choose(
            found.groups, scores, ratio=ratio, scope=scope, round_to=shop.round_to, at_least_one=last
        )
    if not chosen:
        return work
    stay = {group.root: f"at this ratio its {part} stay" for at, group in enumerate(found.groups) if at not in chosen}
    smaller = work.told({**stay, **found.untouched}).cut(found.groups, chosen)
    surgery.require_alive(work.model, smaller.model, shop.example)
    return smaller


def left(found: Found, twin: nn.Module, *, ratio: float, round_to: int) -> float:
    """The share of the twin's weights that is left when every group of one kind loses this share of its parts."""
    worth = [[0.0] * group.width for group in found.groups]
    chosen = budgets.choose(found.groups, worth, ratio=ratio, scope=budgets.Scope.LAYER, round_to=round_to)
    return surgery.share_left(twin, surgery.consequence(twin, found.groups, chosen))


def _parts_until(step: Step, shop: Shop) -> Take:
    """Take out what is missing to a share of the dense network's parts; widths are rounded, so count what is gone."""
    part = Part(step.method.what)
    goal = _ratio(step, shop)

    def take(work: Workpiece, share: float) -> Workpiece:
        whole = sum(len(n) for group in shop.known.find(part, work.dense, shop.example).groups for n in group.numbers)
        gone = sum(map(len, work.removed.get(part, {}).values())) / max(1, whole)
        last = share >= goal and not gone
        return _parts(work, step, shop, ratio=1 - (1 - share) / (1 - gone), last=last) if share > gone else work

    return take


def _factored(work: Workpiece, step: Step, shop: Shop, *, ratio: float) -> Workpiece:
    made = lowrank.factor(work.model, kind=str(step.knobs["kind"]), ratio=ratio, round_to=shop.round_to)
    surgery.require_alive(work.model, made.model, shop.example)
    return replace(work, model=made.model, factored=made.factors).told(made.untouched)


# Weights


def _transferred(work: Workpiece, step: Step, shop: Shop) -> Workpiece:
    if shop.source is None:
        raise InvalidInputError(
            f"there is nothing to transfer from {step.knobs['from']!r}; release a pruned version of it"
        )
    model = copy.deepcopy(work.model)
    came = transfer.transfer(shop.source, model, anew=[name.strip() for name in str(step.knobs["anew"]).split(",")])
    started = work.started(model, came.masks)
    return started.told({name: f"starts as the twin's: {why}" for name, why in came.fresh.items()})


def _weights(work: Workpiece, step: Step, shop: Shop, *, ratio: float, epochs: int, last: bool) -> Workpiece:
    knobs = step.knobs
    criterion, budget = str(knobs["criterion"]), str(knobs["budget"])

    def until(work: Workpiece, share: float) -> Workpiece:
        stays = masks.make(
            work.model, ratio=share, budget=budget, criterion=criterion, seed=shop.seed, within=work.masks
        )
        sparser = work.masked(stays).told(masks.untouched(work.model, stays))
        return sparser.rewound(shop.require_early()) if knobs["schedule"] == Schedule.REWIND else sparser

    if last and shop.promising is not None and criterion != "movement":
        # However it is made, it will have this shape and as many zeros.
        preview = until(work, ratio)
        if not shop.promising(deployed(preview, shop.known, shop.example)):
            return preview
    match knobs["schedule"]:
        case Schedule.ONE_SHOT:
            return _trained(until(work, ratio), shop, epochs=epochs)
        case Schedule.ITERATIVE | Schedule.ADAPTIVE | Schedule.REWIND:
            return _in_rounds(work, step, shop, until, ratio=ratio, epochs=epochs)
        case Schedule.SPLICING:
            regime: regimes.Regime = regimes.Splicing(ratio, budget=budget, seed=shop.seed)
        case _ if criterion == "movement":
            regime = regimes.Movement(ratio, budget=budget)
        case _:
            regime = regimes.Gradual(ratio, budget=budget)
    made = _trained(work, shop, epochs=epochs, regime=regime)
    return made.told(masks.untouched(made.model, made.masks))


# Rounds


def part_of(epochs: int, number: int, count: int) -> int:
    """The share of a training budget that part `number` of `count` gets.

    >>> [part_of(8, number, 3) for number in range(3)]
    [2, 3, 3]
    """
    return epochs * (number + 1) // count - epochs * number // count


def _in_rounds(work: Workpiece, step: Step, shop: Shop, take: Take, *, ratio: float, epochs: int) -> Workpiece:
    """Take away and train in turns, and stay with the last round that did not cost too much accuracy.

    Rewinding judges no round by its accuracy: that is for the end. What is left of the training follows at the end.
    """
    schedule, rounds = step.knobs["schedule"], min(int(step.knobs["rounds"]), epochs)
    drop_max = 1.0 if schedule == Schedule.REWIND else float(step.knobs["drop_max"])
    pace: Controller | Equal = Equal(budget=drop_max, high=ratio, rounds=rounds)
    if schedule == Schedule.ADAPTIVE:
        pace = Controller(budget=drop_max, start=ratio / 2, high=ratio)
    spent, told = 0, list(work.rounds)
    for number in range(rounds):
        smaller = take(work, pace.ratio)
        if smaller is work:  # its share of the training goes to the next round
            pace.skip()
            continue
        due = epochs * (number + 1) // rounds - spent
        spent += due
        try:
            tried = _trained(smaller, shop, epochs=due)
        except InvalidInputError:
            if not pace.accepted:
                raise
            told.append(Round(step.name, pace.ratio, undone=True))
            break
        drop = shop.drop(tried.model)
        undone = not drop <= drop_max
        told.append(Round(step.name, pace.ratio, drop, undone))
        work = work if undone else tried
        if pace.update(drop) <= pace.accepted:
            break
    if len(told) == len(work.rounds):
        raise TooMildError(
            f"nothing of the {step.method.what} of {_named(work)} can leave at ratio {ratio:g} and round_to "
            f"{shop.round_to}; raise the ratio, or lower round_to"
        )
    if not pace.accepted:
        raise InvalidInputError(
            f"even {told[-1].ratio:.0%} of the {step.method.what} of {_named(work)} cost {100 * drop:.1f} points of "
            f"accuracy, and drop_max is {100 * drop_max:g}; raise it, train longer, or take more rounds"
        )
    work = replace(work, rounds=tuple(told))
    return _trained(work, shop, epochs=epochs - spent) if spent < epochs and not told[-1].undone else work


def _named(work: Workpiece) -> str:
    return type(work.dense).__name__
