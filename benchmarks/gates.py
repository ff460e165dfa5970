"""Gates: how often they are wrong, what their evidence costs, and whether they tell bad artefacts from good ones.

Error rates are of the real gates on what a run would measure of a model on the limit. Other people's fairness and
attacks run on the same rows with the same budget, each in an environment of its own.
"""

from collections.abc import Callable, Iterator, Sequence

from benchmarks.judging import groups, margins, passes, sieges
from benchmarks.judging.margins import Rate
from benchmarks.judging.sieges import Fallen
from benchmarks.peers.peer import Unable
from benchmarks.rows import Row
from policies.document import load_policy
from pruneguard.drill.bench import Bench
from pruneguard.drill.faults import FAULTS
from pruneguard.drill.suite import CLEAN, artefact_test
from pruneguard.gates.exhibits import CLEAN_MIN, ArtefactTest

SEEDS: tuple[int, ...] = (1,)
POLICY = "standard"

CHEAP, DEAR = 20_000, 4_000
"""Repetitions of a scene; those whose interval is a bootstrap are dear. Both bring 5 % to within a few tenths."""

Reported = Callable[[str, int], Callable[[int], None]]


def run(*, quick: bool, progress: Reported) -> Iterator[Row]:
    yield from error_rates(quick=quick, progress=progress)
    yield from costs(quick=quick, progress=progress)
    yield from fairness(quick=quick, progress=progress)
    yield from attacks(quick=quick, progress=progress)
    yield from artefacts(quick=quick, progress=progress)


# -- error rates


def error_rates(*, quick: bool, progress: Reported) -> Iterator[Row]:
    scenes = list(margins.scenes())
    done = progress("models on the margin, and good ones", len(scenes))
    rates = []
    for number, scene in enumerate(scenes):
        repetitions = (20 if scene.dear else 200) if quick else DEAR if scene.dear else CHEAP
        if scene.power and scene.dear:
            repetitions //= 10
        rates.append(margins.rate(scene, repetitions=repetitions, seed=SEEDS[0] + number))
        done(number + 1)
    slices = [each for each in rates if each.scene.gate == "slices_non_inferior"]
    others = [each for each in rates if each not in slices]
    yield _worst([each for each in others if not each.scene.power], name="false_pass_at_margin", goal="<= 0.055")
    refused = [Rate(each.scene, each.of - each.passed, each.of) for each in slices]
    wrongly = [each for each in refused if not each.scene.power]
    yield _worst(wrongly, name="slices_false_refusal_at_margin", goal="<= 0.055")
    for each in (*(each for each in others if each.scene.power), *(each for each in refused if each.scene.power)):
        low, high = each.ends
        verb = "refused" if each.scene.gate == "slices_non_inferior" else "passed"
        yield Row(
            name=f"power: {each.scene.gate}, {each.scene.words}",
            value=each.value,
            low=low,
            high=high,
            unit="1",
            goal=f">= {each.scene.promised}",
            how=f"share {verb} of {each.of} good models, or of those with a bad slice",
        )


def _worst(rates: Sequence[Rate], *, name: str, goal: str) -> Row:
    worst = max(rates, key=lambda each: each.value)
    low, high = worst.ends
    how = f"worst of {len(rates)} scenes: {'; '.join(map(str, sorted(rates, key=lambda each: -each.value)))}"
    return Row(name=name, value=worst.value, low=low, high=high, unit="1", goal=goal, how=how)


# -- costs


def costs(*, quick: bool, progress: Reported) -> Iterator[Row]:
    repeats = 1 if quick else 3
    done = progress("evidence of one candidate", repeats)
    bills = []
    for repeat in range(repeats):
        bills.append(passes.bill(rows=500 if quick else 5_000, seed=SEEDS[0] + repeat))
        done(repeat + 1)
    how = f"{bills[0].rows} images of Fashion-MNIST, one thread; in passes of the twin: {bills[0]}"
    suite = [each.passes(attacks=False) for each in bills]
    yield Row.over(suite, name="suite_passes", unit="passes", goal="<= 40", how=how)
    under_attack = [each.passes(attacks=True) for each in bills]
    yield Row.over(under_attack, name="attack_passes", unit="passes", goal=">= 0", how="the attacks of the same run")


# -- other people's libraries


def fairness(*, quick: bool, progress: Reported) -> Iterator[Row]:
    rows, resamples = (300, 50) if quick else (2_000, 1_000)
    done = progress("rates by group, ours and fairlearn's", 1)
    try:
        found = groups.compare(rows=rows, groups=5, resamples=resamples, seed=SEEDS[0])
    except Unable as error:
        yield _unable("bootstrap_speedup", unit="1", goal=">= 20", reason=f"fairlearn: {error}")
        return
    done(1)
    how = f"{rows} rows, 5 groups, {resamples} resamples: {found.ours:.3f} s against {found.theirs:.1f} s"
    yield Row.over([found.theirs / found.ours], name="bootstrap_speedup", unit="1", goal=">= 20", how=how)
    how = f"largest distance of an end of {found.intervals} intervals, in standard errors of that distance"
    yield Row.over([found.apart], name="bootstrap_apart", unit="1", goal="<= 4", how=how)


def attacks(*, quick: bool, progress: Reported) -> Iterator[Row]:
    rows = 100 if quick else 1_000
    done = progress("attacks, ours, ART's and foolbox's", 1)
    fallen = list(sieges.besieged(Bench(seed=SEEDS[0]), rows=rows))
    done(1)
    made = [each for each in fallen if not each.reason]
    for each in fallen:
        if each.reason:
            yield _unable(f"{each.attack} of {each.library}", unit="points", goal="<= 1", reason=each.reason)
    if made:
        worst = max(made, key=lambda each: each.gap_points)
        low = min(each.gap_points for each in made)
        how = f"{rows} rows, robust accuracy: {'; '.join(map(_told, made))}"
        yield Row(
            name="attack_gap_points",
            value=worst.gap_points,
            low=low,
            high=worst.gap_points,
            unit="points",
            goal="<= 1",
            how=how,
        )


def _told(each: Fallen) -> str:
    return f"{each.attack} ours {100 * each.ours:.1f} %, {each.library} {100 * each.theirs:.1f} %"


def _unable(name: str, *, unit: str, goal: str, reason: str) -> Row:
    nothing = float("nan")
    return Row(name=name, value=nothing, low=nothing, high=nothing, unit=unit, goal=goal, how=reason)


# -- artefacts


def artefacts(*, quick: bool, progress: Reported) -> Iterator[Row]:
    faults, clean = (FAULTS[:3], 2) if quick else (FAULTS, CLEAN)
    done = progress("artefacts, bad and clean", len(faults) + clean)
    test = artefact_test(
        load_policy(POLICY), seed=SEEDS[0], faults=faults, clean=clean, progress=lambda at, of: done(at)
    )
    yield from _verdicts(test)


def _verdicts(test: ArtefactTest) -> Iterator[Row]:
    refused = sum(each.refused for each in test.bad) / len(test.bad)
    let = [each.exhibit.name for each in test.bad if not each.refused]
    how = f"{len(test.bad)} artefacts under {test.policy.name}; passed: {', '.join(let) or 'none'}"
    yield Row.over([refused], name="bad_artefacts_refused", unit="1", goal="= 1", how=how)
    passed = sum(not each.refused for each in test.clean) / len(test.clean)
    why = sorted({rule for each in test.clean for rule in each.by})
    how = f"{len(test.clean)} pruned networks with nothing wrong; refused by: {', '.join(why) or 'nothing'}"
    yield Row.over([passed], name="clean_passed", unit="1", goal=f">= {CLEAN_MIN}", how=how)
