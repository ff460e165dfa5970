"""From points to rows: who won a pair, and what pruning was worth. Pure."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.contest.measuring import Point, non_inferior, paired, shown_worse
from benchmarks.rows import Row
from pruneguard.evidence import PairedTable


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ours:
    """One search of ours. `points` are what it tried, `passing` those that the policy let pass, `returned` what it gave
    back, None where nothing passed.

    `evaluations` counts full ones; `seconds` is the search alone, without training the dense network.
    """

    points: tuple[Point, ...]
    passing: tuple[Point, ...]
    returned: Point | None
    evaluations: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Theirs:
    """A peer's operating points on one dense network, and for each that it could not make the reason."""

    peer: str
    points: tuple[Point, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Round:
    """All sides on one dense network. `duels[peer]` are the latencies of ours over theirs at batch 1 and 64."""

    task: str
    seed: int
    margin: float
    dense: Point
    dense_seconds: float
    ours: Ours
    theirs: tuple[Theirs, ...]
    duels: dict[str, tuple[float, ...]]


def best(points: Sequence[Point], dense: Point, *, margin: float) -> Point | None:
    """The fastest, over both batch sizes, of those that the policy's accuracy rule lets pass; where it lets none pass,
    the most accurate. None without points."""
    if not points:
        return None
    passing = [each for each in points if non_inferior(paired(each.right, dense.right), margin=margin)]
    if not passing:
        return max(points, key=lambda each: each.accuracy)
    return min(passing, key=lambda each: math.prod(each.latency_ratios))


def won(rounds: Sequence[Round], peer: str) -> bool:
    """Over all seeds of a task: at no worse accuracy than the peer's best point, do we have a faster candidate?

    Ours is the fastest of those the search let pass whose accuracy is not shown worse (two-sided 95 % interval on the
    same rows): both sides have several operating points, and a pair is about equal accuracy. Pooled over the seeds it
    must not be shown worse either, and the median latency, over dense, must be lower at both batch sizes.
    """
    tables, ratios = [], []
    for each in rounds:
        theirs = best(_side(each, peer).points, each.dense, margin=each.margin)
        if theirs is None:
            continue
        equal = [point for point in each.ours.passing if not shown_worse(paired(point.right, theirs.right))]
        if not equal:
            return False
        ours = min(equal, key=lambda point: math.prod(point.latency_ratios))
        tables.append(paired(ours.right, theirs.right))
        ratios.append([one / other for one, other in zip(ours.latency_ratios, theirs.latency_ratios, strict=True)])
    faster = all(statistics.median(ratio) < 1 for ratio in zip(*ratios, strict=True))
    return bool(tables) and not shown_worse(_pooled(tables)) and faster


def returned_won(rounds: Sequence[Round], peer: str) -> bool:
    """The same for the returned candidate alone, whose accuracy is wherever the policy's margin let the search go."""
    tables, duels = [], []
    for each in rounds:
        theirs = best(_side(each, peer).points, each.dense, margin=each.margin)
        if theirs is None:
            continue
        if each.ours.returned is None:
            return False
        tables.append(paired(each.ours.returned.right, theirs.right))
        duels.append(each.duels[peer])
    faster = all(statistics.median(ratios) < 1 for ratios in zip(*duels, strict=True))
    return bool(tables) and not shown_worse(_pooled(tables)) and faster


def rows(rounds: Sequence[Round]) -> list[Row]:
    """Every row of the benchmark, in the order of docs/benchmarks.md."""
    found = [*_pairs(rounds), _slower(rounds)]
    found += _size(_of(rounds, "fashion-mnist"))
    found += _text(_of(rounds, "clinc150"))
    found += [*_latency_over_flops(rounds), *_search(rounds), *_stored(rounds)]
    return [*found, *_points(rounds)]


def _pairs(rounds: Sequence[Round]) -> list[Row]:
    asked = "the peer's fastest point within the policy's margin of dense (its most accurate where none is)"
    return [
        _pair(rounds, won, "pairs_won", f"the fastest passing candidate not shown less accurate, against {asked}"),
        _pair(rounds, returned_won, "pairs_won_as_returned", f"the returned candidate against {asked}"),
    ]


def _pair(rounds: Sequence[Round], judge: Callable[[Sequence[Round], str], bool], name: str, how: str) -> Row:
    pairs = {
        (each.task, side.peer): judge(_of(rounds, each.task), side.peer)
        for each in rounds
        for side in each.theirs
        if any(_side(other, side.peer).points for other in _of(rounds, each.task))
    }
    lost = [f"{task} against {peer}" for (task, peer), is_won in pairs.items() if not is_won]
    share = sum(pairs.values()) / len(pairs) if pairs else math.nan
    told = f"{len(pairs)} pairs of data set and peer: {how}, same rows and seeds; lost: {', '.join(lost) or 'none'}"
    return _single(name, share, goal="= 1", how=told)


def _slower(rounds: Sequence[Round]) -> Row:
    returned = [each.ours.returned for each in rounds if each.ours.returned is not None]
    slower = sum(max(point.latency_ratios) > 1 for point in returned)
    how = f"{len(returned)} returned candidates of {len(rounds)} searches, measured again at batch 1 and 64"
    return _single("slower_than_dense", slower, goal="= 0", how=how)


def _size(rounds: Sequence[Round]) -> list[Row]:
    points = _returned(rounds)
    if not points:
        return []
    how = f"Fashion-MNIST, returned candidates of {len(points)} seeds; bytes stored, over the dense weights in zstd"
    saved = [1 - _stored_bytes(point) / each.dense.zstd_bytes for each, point in points]
    kept = [point.accuracy / each.dense.accuracy for each, point in points]
    return [
        Row.over(saved, name="image_size_reduction", unit="1", goal=">= 0.80", how=how),
        Row.over(kept, name="image_accuracy_ratio", unit="1", goal=">= 0.95", how=how),
    ]


def _text(rounds: Sequence[Round]) -> list[Row]:
    points = _returned(rounds)
    if not points:
        return []
    how = f"CLINC150, returned candidates of {len(points)} seeds; parameters that are not zero, word vectors included"
    saved = [1 - point.nonzero_ratio for _, point in points]
    kept = [point.accuracy / each.dense.accuracy for each, point in points]
    return [
        Row.over(saved, name="text_param_reduction", unit="1", goal=">= 0.60", how=how),
        Row.over(kept, name="text_accuracy_ratio", unit="1", goal=">= 0.98", how=how),
    ]


def _latency_over_flops(rounds: Sequence[Round]) -> list[Row]:
    shares = [point.macs_ratio / point.latency_ratios[1] for _, point in _returned(rounds) if point.macs_ratio < 1]
    if not shares:
        return []
    how = "speed-up at batch 64 over the reduction of multiply-accumulates, returned candidates that save any"
    return [Row.over(shares, name="latency_over_flops_b64", unit="1", goal=">= 0.6", how=how)]


def _search(rounds: Sequence[Round]) -> list[Row]:
    times = [each.ours.seconds / each.dense_seconds for each in rounds]
    how = "wall time of a search over training, exporting and once evaluating the dense network"
    return [
        _single("search_full_evaluations", max(each.ours.evaluations for each in rounds), goal="<= 8", how="the most"),
        Row.over(times, name="search_over_one_training", unit="1", goal="<= 8", how=how),
    ]


def _stored(rounds: Sequence[Round]) -> list[Row]:
    shares = [
        point.stored_bytes / point.zstd_bytes
        for each in rounds
        for point in each.ours.points
        if point.stored_bytes is not None
    ]
    if not shares:
        return []
    how = "bytes of our own storage over zstd at level 19 of the same tensors in safetensors, all candidates stored so"
    return [Row.over(shares, name="stored_over_zstd", unit="1", goal="<= 1", how=how)]


def _points(rounds: Sequence[Round]) -> list[Row]:
    """What a peer could not do is a row of its own, with the reason."""
    found = []
    for task, peer in dict.fromkeys((each.task, side.peer) for each in rounds for side in each.theirs):
        sides = [_side(each, peer) for each in _of(rounds, task)]
        reasons = list(dict.fromkeys(reason for side in sides for reason in side.reasons))
        if reasons:
            made = sum(len(side.points) for side in sides)
            asked = made + sum(len(side.reasons) for side in sides)
            name = f"points of {peer} on {task}"
            found.append(_single(name, made, goal=f"= {asked}", how="; ".join(reasons)))
    return found


def _returned(rounds: Sequence[Round]) -> list[tuple[Round, Point]]:
    return [(each, each.ours.returned) for each in rounds if each.ours.returned is not None]


def _stored_bytes(point: Point) -> int:
    return point.zstd_bytes if point.stored_bytes is None else point.stored_bytes


def _side(each: Round, peer: str) -> Theirs:
    return next(side for side in each.theirs if side.peer == peer)


def _of(rounds: Sequence[Round], task: str) -> list[Round]:
    return [each for each in rounds if each.task == task]


def _pooled(tables: Sequence[PairedTable]) -> PairedTable:
    return PairedTable(
        both_right=sum(each.both_right for each in tables),
        candidate_only=sum(each.candidate_only for each in tables),
        twin_only=sum(each.twin_only for each in tables),
        both_wrong=sum(each.both_wrong for each in tables),
    )


def _single(name: str, value: float, *, goal: str, how: str) -> Row:
    return Row(name=name, value=value, low=value, high=value, unit="1", goal=goal, how=how)
