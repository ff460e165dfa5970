"""Analyses as pages that stand alone, and as the rows of tables, for pages and terminals alike. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pruneguard.analysis.ablation import Ablation
from pruneguard.analysis.bench import Control
from pruneguard.analysis.controls import Controls, Level
from pruneguard.analysis.drawings import Bar, Dot, Tile, heat, listed, scattered
from pruneguard.analysis.sensitivity import Cut, Layer, Sensitivity
from pruneguard.analysis.subject import interval
from pruneguard.analysis.sweep import Point, Sweep
from pruneguard.audit.views.drawing import page as standalone
from pruneguard.audit.views.markup import Markup, joined, table, tag
from pruneguard.evidence import PairedTable
from pruneguard.search import Trial

Analysis: TypeAlias = Sensitivity | Ablation | Sweep | Controls

BEARABLE = 0.01
"""A drop of accuracy that people call small: where a layer's cuts begin to cost more is told beside it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: what it shows, the names of its columns, and its rows; the first column names each row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def page(analysis: Analysis) -> bytes:
    """A page without script, font or network: the figures, what they say, and their tables."""
    name = type(analysis).__name__
    title = f"{analysis.model}: {name.lower()}"
    said = tag("ul", [tag("li", sentence) for sentence in sentences(analysis)])
    return standalone(
        title,
        tag("header", tag("h1", title), tag("p", ground(analysis)), said),
        tag("main", figures(analysis), [table(grid.caption, grid.head, grid.rows) for grid in grids(analysis)]),
    )


def ground(analysis: Analysis) -> str:
    """What was looked at."""
    return (
        f"On the {analysis.rows} rows of the gate split, of which the dense twin gets {analysis.accuracy:.2%} right. "
        "Intervals are Tango's, 95 % at each end. An analysis is no evidence: it is not recorded, and judges nothing."
    )


def sentences(analysis: Analysis) -> list[str]:
    """What an engineer should take from it."""
    match analysis:
        case Sensitivity():
            return _of_sensitivity(analysis)
        case Ablation():
            return _of_ablation(analysis)
        case Sweep():
            return [f"nothing beats {point.words}: {_offer(point)}" for point in analysis.best]
        case Controls():
            told = [(level, comparison) for level in analysis.levels for comparison in level.comparisons]
            return [f"{_named(analysis, level)} {comparison.words}" for level, comparison in told]


def grids(analysis: Analysis) -> list[Grid]:
    """Its tables; a column of reasons is there only where there are some."""
    return [_without_empty_end(grid) for grid in _grids(analysis)]


def _without_empty_end(grid: Grid) -> Grid:
    if grid.head[-1] or any(row[-1] for row in grid.rows):
        return grid
    return Grid(grid.caption, grid.head[:-1], tuple(row[:-1] for row in grid.rows))


def _grids(analysis: Analysis) -> list[Grid]:
    match analysis:
        case Sensitivity():
            head = ("Layer", "Kind", "Width", *(f"{ratio:.0%}" for ratio in analysis.ratios), "Bears")
            rows = tuple(_sensitive(layer) for layer in analysis.layers)
            grid = Grid(
                f"Accuracy minus the twin's, in points, when only this is cut; it bears {100 * BEARABLE:g} point",
                head,
                rows,
            )
            return [grid, *_untouched(analysis.untouched)]
        case Ablation():
            head = ("Component", "Kind", "Points", "Interval", "Weights", "")
            rows = tuple(
                (each.name, each.kind, *_points(each.table), f"{each.share:.1%}", each.reason)
                for each in sorted(analysis.components, key=lambda each: each.table.difference if each.table else 0.0)
            )
            grid = Grid("Accuracy minus the twin's, in points, without one component", head, rows)
            return [grid, *_untouched(analysis.untouched)]
        case Sweep():
            head = (
                "",
                "Candidate",
                "Front",
                "Points",
                "SD",
                "At least",
                "Time b1",
                "Time b64",
                "Weights",
                "Stored",
                "",
            )
            rows = tuple(
                (str(number), *_swept(point, best=point in analysis.best))
                for number, point in enumerate(analysis.points, start=1)
            )
            return [Grid(f"Trained {analysis.epochs} epochs each; ratios are to the twin", head, rows)]
        case Controls():
            head = ("Control", "Points", "SD", "Each seed", "Epochs", "Weights", "")
            return [
                Grid(
                    f"{_named(analysis, level)}: accuracy minus the twin's, in points, "
                    f"seeds {', '.join(map(str, analysis.seeds))}",
                    head,
                    tuple(_controlled(control) for control in level.controls),
                )
                for level in analysis.levels
            ]


def figures(analysis: Analysis) -> Markup:
    """Its drawings."""
    match analysis:
        case Sensitivity():
            names = [f"{layer.name} ({layer.kind})" for layer in analysis.layers]
            tiles = [[_tile(layer, cut) for cut in layer.cuts] for layer in analysis.layers]
            columns = [f"{ratio:.0%}" for ratio in analysis.ratios]
            return heat(names, columns, tiles, title="What each layer loses when only it is cut")
        case Ablation():
            bars = [
                _bar(f"{each.name} ({each.kind})", each.table) for each in analysis.components if each.table is not None
            ]
            words = "Accuracy minus the twin's, in points, with its interval; red is certainly worse."
            return listed(bars, title="What is lost without one component", words=words)
        case Sweep():
            return joined(
                _swept_over(analysis, cost)
                for cost in ("weights that are not zero", "time at batch 1", "time at batch 64")
            )
        case Controls():
            return joined(_compared(analysis, level) for level in analysis.levels)


def _of_sensitivity(analysis: Sensitivity) -> list[str]:
    told = []
    for kind in dict.fromkeys(layer.kind for layer in analysis.layers):
        bears = {layer.name: layer.bearable(BEARABLE) for layer in analysis.layers if layer.kind == kind}
        weak, strong = min(bears, key=lambda name: bears[name]), max(bears, key=lambda name: bears[name])
        within = f"{kind}, within {100 * BEARABLE:g} point of accuracy: "
        if bears[weak] == bears[strong]:
            told.append(f"{within}every layer bears {bears[weak]:.0%}")
        else:
            told.append(f"{within}{strong!r} bears most ({bears[strong]:.0%}) and {weak!r} least ({bears[weak]:.0%})")
    return told


def _of_ablation(analysis: Ablation) -> list[str]:
    known = [each for each in analysis.components if each.table is not None]
    idle = [each.name for each in known if each.table is not None and interval(each.table)[1] >= 0]
    told = [f"{len(known)} components; {len(known) - len(idle)} are certainly missed when they leave alone"]
    return [*told, f"not certainly missed: {', '.join(idle)}"] if idle else told


def _offer(point: Point) -> str:
    return (
        f"{100 * point.difference:+.2f} points (at least {100 * point.low:+.2f}), {point.latency:.0%} of the time at "
        f"batch 1, {point.latency_b64:.0%} at 64, {point.nonzero:.1%} of the weights"
    )


def _named(controls: Controls, level: Level) -> str:
    return Trial(controls.recipe, level.ratio).words


def _sensitive(layer: Layer) -> tuple[str, ...]:
    cells = ("–" if cut.table is None else f"{100 * cut.table.difference:+.1f}" for cut in layer.cuts)
    return layer.name, layer.kind, str(layer.width), *cells, f"{layer.bearable(BEARABLE):.0%}"


def _swept(point: Point, *, best: bool) -> tuple[str, ...]:
    if not point.made:
        return point.words, "", "", "", "", "", "", "", "", point.reason
    sizes = (f"{value:.1%}" for value in (point.latency, point.latency_b64, point.nonzero, point.stored))
    low = f"{100 * point.low:+.2f}"
    return point.words, "front" if best else "", *_mean(point.difference, point.spread), low, *sizes, point.reason


def _controlled(control: Control) -> tuple[str, ...]:
    if not control.differences:
        return control.name, "", "", "", "", "", control.reason
    each = ", ".join(f"{100 * value:+.2f}" for value in control.differences)
    return (control.name, *_mean(control.mean, control.spread), each, str(control.epochs), f"{control.left:.1%}", "")


def _mean(mean: float, spread: float | None) -> tuple[str, str]:
    return f"{100 * mean:+.2f}", "" if spread is None else f"{100 * spread:.2f}"


def _points(found: PairedTable | None) -> tuple[str, str]:
    if found is None:
        return "–", ""
    low, high = interval(found)
    return f"{100 * found.difference:+.2f}", f"{100 * low:.2f} to {100 * high:.2f}"


def _untouched(untouched: Mapping[str, str]) -> list[Grid]:
    return [Grid("What was not looked at", ("Layer", "Why"), tuple(untouched.items()))] if untouched else []


def _tile(layer: Layer, cut: Cut) -> Tile:
    told = f"{layer.name}, {layer.kind}, {cut.ratio:.0%} by {layer.criterion}: "
    if cut.table is None:
        return Tile(None, told + cut.reason)
    points, ends = _points(cut.table)
    return Tile(cut.table.difference, f"{told}{points} points ({ends}); {cut.saved:.1%} of all weights gone")


def _bar(name: str, found: PairedTable) -> Bar:
    points, ends = _points(found)
    return Bar(name, found.difference, *interval(found), f"{name}: {points} points ({ends})")


def _swept_over(sweep: Sweep, cost: str) -> Markup:
    dots = []
    for number, point in enumerate(sweep.points, start=1):
        if point.made:
            costs: dict[str, float] = {
                "weights that are not zero": point.nonzero,
                "time at batch 1": point.latency,
                "time at batch 64": point.latency_b64,
            }
            marked = point in sweep.best
            story = f"{point.words}: {_offer(point)}{'; on the front' if marked else ''}"
            dots.append(
                Dot(point.recipe, str(number), costs[cost], point.difference, point.low, point.high, marked, story)
            )
    words = (
        "Up and left is better. A ring marks what no other candidate beats in accuracy, both times and weights "
        "together. The line through a mark runs from the lowest to the highest bound over seeds; a triangle points at "
        "what lies further down. The numbers are those of the table."
    )
    return scattered(dots, cost=cost, title=f"Accuracy over {cost}", words=words)


def _compared(controls: Controls, level: Level) -> Markup:
    bars = []
    for control in level.controls:
        if control.differences:
            spread = control.spread or 0.0
            told = f"{control.name}: {100 * control.mean:+.2f} points, SD {100 * spread:.2f}, {control.epochs} epochs"
            mean = control.mean
            bars.append(Bar(control.name, mean, mean - spread, mean + spread, told, control.differences, certain=False))
    words = "Accuracy minus the twin's, in points: the mean over seeds, its standard deviation, each seed behind it."
    return listed(bars, title=f"{_named(controls, level)} and its controls", words=words)
