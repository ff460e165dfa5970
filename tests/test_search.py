import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.errors import InvalidInputError
from pruneguard.search import LEVELS, Result, Space, Trial, best, best_refused, next_trial, remaining

ONE = Space({"channels": LEVELS})


def run(space, answer):
    """The results of a whole search; `answer` maps a trial to its result."""
    results = []
    while (trial := next_trial(space, results)) is not None:
        results.append(answer(trial))
    return results


def passes(bound, *, size=lambda trial: 1 - trial.ratio, full=None):
    """Whatever is cut at most `bound` passes; what fails is stopped early, unless `full`."""

    def answer(trial):
        passed = trial.ratio <= bound[trial.recipe]
        why = None if passed else "quality.paired"
        return Result(trial, size(trial), passed, full=passed if full is None else full, stopped_by=why)

    return answer


def refused(ratio, recipe="channels", **changes):
    return replace(Result(Trial(recipe, ratio), 1 - ratio, passed=False, full=True, stopped_by="pgd"), **changes)


def passed(ratio, recipe="channels", objective=None):
    return Result(Trial(recipe, ratio), 1 - ratio if objective is None else objective, passed=True, full=True)


# -- one recipe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.0, *LEVELS])
def test_the_boldest_passing_level_of_twenty_is_found_in_six_trials_at_most(bound):
    results = run(ONE, passes({"channels": bound}, full=True))
    found = best(results)
    assert (found.trial.ratio if found else 0.0) == bound
    assert len(results) <= math.ceil(math.log2(len(LEVELS))) + 1


def test_the_middle_is_tried_first_then_the_half_that_is_still_open():
    first = next_trial(ONE, [])
    assert first.ratio == LEVELS[10]
    assert next_trial(ONE, [refused(LEVELS[10])]).ratio == LEVELS[5]
    assert next_trial(ONE, [passed(LEVELS[10])]).ratio == LEVELS[15]


def test_what_is_too_large_is_looked_for_among_bolder_levels():
    space = Space({"channels": (0.1, 0.2, 0.3, 0.4, 0.5)})
    results = [refused(0.3, too_mild=True, full=False)]
    assert next_trial(space, results).ratio == 0.5
    results.append(refused(0.5))
    assert next_trial(space, results).ratio == 0.4
    results.append(refused(0.4, too_mild=True))
    assert next_trial(space, results) is None


def test_a_milder_failure_does_not_undo_a_bolder_pass():
    space = Space({"channels": (0.2, 0.4, 0.6, 0.8)})
    results = [refused(0.2), passed(0.4), refused(0.8)]
    assert next_trial(space, results).ratio == 0.6
    assert best([*results, refused(0.6)]).trial.ratio == 0.4


def test_what_is_too_large_above_a_pass_rules_out_only_itself():
    space = Space({"channels": (0.2, 0.4, 0.6, 0.8)})
    results = [passed(0.2), refused(0.6, too_mild=True)]
    assert next_trial(space, results).ratio == 0.8
    assert next_trial(space, [*results, refused(0.8)]).ratio == 0.4


def test_a_level_at_which_no_network_can_be_made_is_a_failure_like_any_other():
    nothing_left = refused(0.55, objective=None, full=False, stopped_by="nothing would be left of conv2")
    assert next_trial(ONE, [nothing_left]).ratio < 0.55


def test_where_nothing_passes_the_mildest_was_tried_and_the_nearest_is_shown():
    results = run(ONE, passes({"channels": 0.0}, full=True))
    assert best(results) is None
    assert best_refused(results).trial.ratio == LEVELS[0]
    assert best_refused(results).stopped_by == "quality.paired"


def test_what_was_measured_in_full_is_nearer_than_what_was_stopped_early():
    results = [refused(0.1, full=False), refused(0.5), refused(0.3), refused(0.05, objective=None, full=False)]
    assert best_refused(results).trial.ratio == 0.3
    too_large = [refused(ratio, full=False, too_mild=True) for ratio in (0.1, 0.4, 0.2)]
    assert best_refused(too_large).trial.ratio == 0.4
    assert best_refused([passed(0.1)]) is None


# -- several recipes ----------------------------------------------------------------------------------------------

TWO = {"a": (0.2, 0.4, 0.6, 0.8), "b": (0.2, 0.4, 0.6, 0.8)}


def sizes(**scale):
    return {Trial(r, ratio): scale[r] * (1 - ratio) for r in TWO for ratio in TWO[r]}


def test_until_something_passes_recipes_take_turns_and_the_more_promising_begins():
    space = Space(TWO, predicted=sizes(a=1.0, b=0.5))
    assert next_trial(space, []) == Trial("b", 0.6)
    assert next_trial(space, [refused(0.6, "b")]) == Trial("a", 0.6)
    assert next_trial(space, [refused(0.6, "b"), refused(0.6, "a")]) == Trial("b", 0.4)


def test_the_best_recipe_is_searched_to_the_end_before_another_is_tried():
    space = Space(TWO, predicted=sizes(a=1.0, b=1.0))
    results = [passed(0.6, "a")]
    assert next_trial(space, results) == Trial("a", 0.8)
    assert next_trial(space, [*results, refused(0.8, "a")]) == Trial("b", 0.8)


def test_a_challenger_begins_with_the_mildest_level_that_would_be_the_best():
    space = Space(TWO, predicted=sizes(a=1.0, b=0.7))
    results = [passed(0.6, "a"), refused(0.8, "a")]
    assert next_trial(space, results) == Trial("b", 0.6)  # 0.28 beats 0.4, 0.42 does not
    assert next_trial(space, [*results, refused(0.6, "b")]) is None
    assert next_trial(space, [*results, passed(0.6, "b", 0.28)]) == Trial("b", 0.8)


def test_a_challenger_that_is_too_large_at_first_is_bisected():
    space = Space({"a": (0.5,), "b": LEVELS}, predicted={Trial("b", ratio): 0.1 for ratio in LEVELS})
    results = [passed(0.5, "a", 0.2), refused(LEVELS[0], "b", too_mild=True, full=False)]
    assert next_trial(space, results) == Trial("b", LEVELS[10])


def test_a_recipe_that_cannot_be_better_is_never_tried():
    space = Space(TWO, predicted=sizes(a=1.0, b=9.0))
    results = run(space, passes({"a": 0.6, "b": 1.0}, size=lambda trial: space.predicted[trial]))
    assert {result.trial.recipe for result in results} == {"a"}


def test_without_predictions_what_is_milder_than_a_worse_level_is_skipped():
    space = Space(TWO)
    results = [passed(0.8, "a", 0.2), refused(0.6, "b", objective=0.3)]
    assert next_trial(space, [*results, refused(0.8, "b")]) is None
    worse = [passed(0.8, "a", 0.2), passed(0.4, "b", 0.5)]
    assert next_trial(space, worse) == Trial("b", 0.8)


def test_a_milder_level_is_tried_where_it_is_predicted_to_be_better():
    # 63 channels are slower than 64.
    space = Space({"a": (0.4, 0.5)}, predicted={Trial("a", 0.4): 0.5, Trial("a", 0.5): 0.8})
    assert next_trial(space, [passed(0.5, "a", 0.8)]) == Trial("a", 0.4)
    assert best([passed(0.5, "a", 0.8), passed(0.4, "a", 0.5)]).trial.ratio == 0.4


def test_of_equal_objectives_the_milder_cut_is_better_and_no_number_is_worst():
    results = [passed(0.8, objective=math.nan), passed(0.6, objective=0.3), passed(0.5, objective=0.3)]
    assert best(results).trial.ratio == 0.5


# -- any search ---------------------------------------------------------------------------------------------------

spaces = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=20, unique=True).map(lambda ratios: tuple(sorted(ratios))),
    min_size=1,
)


@st.composite
def searches(draw, *, noisy=False):
    """A space, and what every trial in it would come to."""
    levels = draw(spaces)
    trials = [Trial(recipe, ratio) for recipe, ratios in levels.items() for ratio in ratios]
    scale = {recipe: draw(st.floats(0.2, 2)) for recipe in levels}
    truth = {trial: scale[trial.recipe] * (1 - trial.ratio) for trial in trials}
    predicted = truth if draw(st.booleans()) else {}
    low = {recipe: draw(st.floats(0, 0.5)) for recipe in levels}
    high = {recipe: draw(st.floats(0, 1)) for recipe in levels}

    def result(trial):
        too_mild, fits = trial.ratio < low[trial.recipe], trial.ratio <= high[trial.recipe]
        if noisy and draw(st.booleans()):
            too_mild, fits = draw(st.booleans()), draw(st.booleans())
        good = fits and not too_mild
        full = good or (not too_mild and draw(st.booleans()))
        return Result(trial, truth[trial], good, full=full, stopped_by=None if good else "rule", too_mild=too_mild)

    space = Space(levels, draw(st.integers(1, 8)), draw(st.integers(1, 24)), predicted)
    return space, {trial: result(trial) for trial in trials}


@given(searches(noisy=True))
def test_no_search_goes_on_for_ever_repeats_itself_or_exceeds_its_budget(search):
    space, outcomes = search
    results = run(space, outcomes.__getitem__)
    tried = [result.trial for result in results]
    assert len(set(tried)) == len(tried) <= space.trials_max
    assert sum(result.full for result in results) <= space.evaluations_max
    assert all(trial.ratio in space.levels[trial.recipe] for trial in tried)


@given(searches(noisy=True), st.randoms(use_true_random=False))
def test_the_same_results_in_any_order_give_the_same_next_trial(search, random):
    space, outcomes = search
    results = run(space, outcomes.__getitem__)
    for stop in range(len(results)):
        some = results[:stop]
        random.shuffle(some)
        assert next_trial(space, some) == results[stop].trial


@given(searches())
def test_with_enough_budget_the_best_is_that_of_the_whole_grid(search):
    space, outcomes = search
    # One recipe by its levels alone, several where it is known how their objectives compare.
    space = replace(space, evaluations_max=99, trials_max=99, predicted={t: r.objective for t, r in outcomes.items()})
    found, wanted = best(run(space, outcomes.__getitem__)), best(outcomes.values())
    assert (found and found.objective) == (wanted and wanted.objective)


@given(searches())
@settings(max_examples=50)
def test_the_estimate_of_what_remains_holds_at_every_step(search):
    space, outcomes = search
    results = run(space, outcomes.__getitem__)
    for done in range(len(results) + 1):
        least, most = remaining(space, results[:done])
        assert (least > 0) == (done < len(results))
        assert len(results) - done <= most


def test_the_estimate_for_one_recipe_by_hand():
    assert remaining(ONE, []) == (4, 5)
    assert remaining(ONE, [passed(LEVELS[-1])]) == (0, 0)
    assert remaining(replace(ONE, trials_max=3), []) == (3, 3)


def test_levels_that_do_not_increase_are_refused_and_where_there_are_none_nothing_is_tried():
    with pytest.raises(InvalidInputError, match="expected them to increase"):
        Space({"a": (0.5, 0.5)})
    assert next_trial(Space({"a": ()}), []) is None
    assert next_trial(Space({}), []) is None
