"""Single families on rows small enough to say what must come out."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from pruneguard.evaluation import corruptions
from pruneguard.evaluation.domain import Domain, Words
from pruneguard.workload import Snapshot, Split, Tokens

SEVERITIES = (1, 2, 3, 4, 5)


def image(*values, severity, family, seed=0, copies=1):
    """One grey image damaged, as [copies, height, width]."""
    x = np.tile(np.array(values, np.float32)[None, None], (copies, 1, 1, 1))
    split = Split(x, np.arange(copies, dtype=np.int64))
    domain = Domain.of(Snapshot(split, split, split, 2))
    return corruptions.corrupt(x, domain, family=family, severity=severity, seed=seed)[:, 0]


def even(value, size=8):
    return np.full((size, size), value, np.float32)


def point(size=9):
    x = even(0, size)
    x[size // 2, size // 2] = 1
    return x


# -- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["noise", "shot"])
def test_noise_has_the_deviation_it_says(family):
    found = image(*even(0.5, 64), severity=3, family=family, copies=20)
    expected = {"noise": 0.08, "shot": (0.5 / 100) ** 0.5}[family]
    assert found.mean() == pytest.approx(0.5, abs=0.002)
    assert found.std() == pytest.approx(expected, rel=0.02)


def test_where_no_light_is_there_is_no_shot_noise():
    assert not image(*even(0), severity=5, family="shot").any()


def test_impulses_are_black_and_white_in_equal_parts():
    found = image(*even(0.5, 100), severity=5, family="impulse", copies=5)
    assert (found == 0).mean() == pytest.approx(0.04, abs=0.004)
    assert (found == 1).mean() == pytest.approx(0.04, abs=0.004)
    assert ((found == 0) | (found == 1) | (found == 0.5)).all()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("family", ["blur", "motion", "pixelate", "rotation", "contrast"])
def test_an_even_image_stays_as_it_is(family, severity):
    assert image(*even(0.5), severity=severity, family=family) == pytest.approx(0.5, abs=1e-6)


def test_blur_spreads_a_point_evenly():
    (found,) = image(*point(), severity=5, family="blur")
    assert found.sum() == pytest.approx(1, abs=1e-3)
    assert found[4, 4] == found.max() < 0.8
    assert found[4, 3] == pytest.approx(found[3, 4]) == pytest.approx(found[5, 4]) == pytest.approx(found[4, 5])


def test_motion_spreads_a_point_along_one_line():
    found = image(*point(), severity=5, family="motion", copies=10)  # one pixel and a quarter of nine: 3.25
    line = np.array([0, 0, 0.125, 1, 1, 1, 0.125, 0, 0]) / 3.25
    upright = [each[3, 4] > 0 for each in found]
    for each, turned in zip(found, upright, strict=True):
        assert (each[:, 4] if turned else each[4]) == pytest.approx(line)
        assert each.sum() == pytest.approx(1)
    assert sum(upright) == 5


def test_half_of_the_images_grow_lighter_and_half_darker():
    found = image(*even(0.5), severity=2, family="brightness", copies=10)[:, 0, 0]
    assert sorted(found) == pytest.approx([0.4] * 5 + [0.6] * 5)


def test_contrast_by_hand():
    (found,) = image([0.2, 0.4], [0.6, 0.8], severity=3, family="contrast")
    assert found == pytest.approx(np.array([[0.35, 0.45], [0.55, 0.65]]), abs=1e-6)


def test_fog_takes_contrast_away_and_makes_black_pale():
    x = np.tile([0.0, 1.0], (16, 8)).astype(np.float32)
    (found,) = image(*x, severity=5, family="fog")
    assert (found[:, 1::2] - found[:, ::2]).max() < 0.5
    assert found[:, ::2].mean() > 0.2


def test_pixels_are_means_of_blocks():
    x = np.arange(400, dtype=np.float32).reshape(20, 20) / 400
    (found,) = image(*x, severity=5, family="pixelate")  # 5 of 20
    assert found == pytest.approx(x.reshape(5, 4, 5, 4).mean(axis=(1, 3)).repeat(4, 0).repeat(4, 1), abs=1e-6)


def test_compression_keeps_even_blocks_and_loses_fine_ones():
    (smooth,) = image(*even(0.5, 16), severity=1, family="compression")
    assert smooth == pytest.approx(0.5, abs=0.02)
    chess = 0.5 + 0.02 * (-1.0) ** np.add.outer(np.arange(16), np.arange(16))
    (fine,) = image(*chess, severity=5, family="compression")
    assert np.ptp(fine) < 1e-6


@pytest.mark.parametrize("severity", SEVERITIES)
def test_compression_is_that_of_a_grey_jpeg(severity):
    x = load_sample_image("china.jpg")[100:164, 200:280, 1]
    file = BytesIO()
    Image.fromarray(x).save(file, "jpeg", quality=(50, 35, 25, 15, 8)[severity - 1])
    (found,) = image(*(x / 255), severity=severity, family="compression")
    theirs = np.asarray(Image.open(file), np.float32) / 255
    loss, difference = np.abs(found - x / 255).mean(), np.abs(found - theirs).mean()
    assert difference < loss / 10, "they round to 255ths, and a tie the other way"


def test_a_right_angle_would_be_a_right_angle_in_an_oblong_image():
    x = np.zeros((9, 17), np.float32)
    x[4, :] = 1
    found = image(*x, severity=5, family="rotation", copies=2)  # 30 degrees each way
    for each in found:
        line = each.argmax(axis=0)[4:13]
        assert abs(np.polyfit(np.arange(4, 13), line, 1)[0]) == pytest.approx(np.tan(np.pi / 6), abs=0.12)
    assert found[0] == pytest.approx(found[1][:, ::-1], abs=1e-5)


@pytest.mark.parametrize(("severity", "side"), [(1, 4), (3, 7), (5, 10)])
def test_a_grey_square_hides_its_share_and_lies_inside(severity, side):
    found = image(*even(0, 20), severity=severity, family="occlusion", copies=30)
    assert ((found == 0) | (found == 0.5)).all()
    assert ((found == 0.5).any(axis=1).sum(axis=1) == side).all()
    assert ((found == 0.5).sum(axis=(1, 2)) == side**2).all()


# -- tables --------------------------------------------------------------------------------------------------------


def people(rows=400):
    """A number, a category of three columns, another number."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((rows, 5)).astype(np.float32)
    x[:, 1:4] = np.eye(3, dtype=np.float32)[rng.integers(3, size=rows)]
    split = Split(x, np.arange(rows, dtype=np.int64) % 2)
    return Snapshot(split, split, split, 2, (-9, 9))


def rows(family, severity, seed=0):
    snapshot = people()
    return snapshot.gate.x, corruptions.corrupt(
        snapshot.gate.x, Domain.of(snapshot), family=family, severity=severity, seed=seed
    )


def test_what_is_missing_becomes_the_mean_of_the_whole_feature():
    before, after = rows("missing", 5)
    changed = before != after
    assert changed[:, 1:4].mean(axis=0) == pytest.approx(0.2, abs=0.06)
    assert (changed[:, 1] == changed[:, 2]).all()
    assert (changed[:, 1] == changed[:, 3]).all()
    mean = before.mean(axis=0, dtype=float).astype("f4")
    assert (after[changed] == np.broadcast_to(mean, after.shape)[changed]).all()


def test_a_category_of_another_row_is_a_category():
    before, after = rows("shuffled_values", 5)
    assert (after[:, 1:4].sum(axis=1) == 1).all()
    assert 0.05 < (before[:, 1:4] != after[:, 1:4]).any(axis=1).mean() < 0.2
    assert np.isin(after, before).all()


def test_lost_numbers_stand_at_their_bound_and_lost_categories_are_none():
    before, after = rows("sentinels", 5)
    lost = before != after
    assert lost.any()
    assert (after[:, [0, 4]][lost[:, [0, 4]]] == -9).all()
    assert set(after[:, 1:4].sum(axis=1)) == {0, 1}


def test_one_number_of_each_row_is_in_another_unit():
    before, after = rows("unit_change", 2)
    changed = ~np.isclose(before, after)
    assert (changed[:, [0, 4]].sum(axis=1) == 1).all()
    assert not changed[:, 1:4].any()
    assert after[changed] == pytest.approx(2.5 * before[changed])


def test_drift_is_the_same_in_all_rows_and_gain_the_same_in_all_columns():
    before, after = rows("drift", 3)
    assert after - before == pytest.approx(np.broadcast_to((after - before)[0], before.shape), abs=1e-5)
    assert np.abs(after - before)[0] == pytest.approx(0.06 * 4 * before.std(axis=0), rel=1e-3)
    before, after = rows("gain", 3)
    ratio = after[:, [0, 4]] / before[:, [0, 4]]
    assert ratio[:, 0] == pytest.approx(ratio[:, 1], rel=1e-3)
    assert np.abs(ratio - 1).max() <= 0.3 + 1e-4


def test_saturation_cuts_at_a_distance_from_the_mean():
    before, after = rows("saturation", 5)
    mean, deviation = before.mean(axis=0), before.std(axis=0)
    assert (np.abs(after - mean) <= 0.6 * deviation + 1e-4).all()
    inside = np.abs(before - mean) < 0.59 * deviation
    assert (after[inside] == before[inside]).all()


def test_rounding_leaves_multiples_of_a_step():
    before, after = rows("rounding", 4)
    steps = after / before.std(axis=0)
    assert steps == pytest.approx(np.rint(steps), abs=1e-3)
    assert (np.abs(after - before) <= before.std(axis=0) / 2 + 1e-4).all()


def test_outliers_are_ten_deviations_off_on_either_side():
    before, after = rows("outliers", 5)
    changed = before != after
    assert changed.mean() == pytest.approx(0.05, abs=0.012)
    off = ((after - before.mean(axis=0)) / before.std(axis=0))[:, :4][changed[:, :4]]
    inside = off[(off > -10.1) & (np.abs(off) > 8.9)]  # the bounds cut some
    assert set(np.sign(inside)) == {-1, 1}


@pytest.mark.parametrize("severity", SEVERITIES)
def test_swapped_columns_hold_the_same_values(severity):
    before, after = rows("swapped_columns", severity)
    assert (np.sort(before, axis=1) == np.sort(after, axis=1)).all()
    if severity == 1:
        assert ((before != after).sum(axis=1) <= 2).all()


# -- text ----------------------------------------------------------------------------------------------------------

BEGIN, END = 100, 101


def said(*texts, family, severity, tokens=None, seed=0, train=None):
    """Texts damaged, in places as many as the longest has."""
    x = np.array(texts, np.float32)
    known = x if train is None else np.array(train, np.float32)
    split, seen = (Split(each, np.arange(len(each), dtype=np.int64)) for each in (x, known))
    snapshot = Snapshot(seen, split, split, 2, (0, 199), kind="text", tokens=tokens or Tokens(0, 1, (BEGIN, END)))
    return corruptions.corrupt(x, Domain.of(snapshot), family=family, severity=severity, seed=seed).tolist()


def test_the_end_is_cut_off_and_the_marks_stay():
    row = [BEGIN, 5, 6, 7, 8, 9, END, 0]
    assert said(row, family="truncation", severity=5) == [[BEGIN, 5, 6, 7, END, 0, 0, 0]]  # 2 of 5 words
    assert said(row, family="late_start", severity=5) == [[BEGIN, 7, 8, 9, END, 0, 0, 0]]
    assert said(row, family="truncation", severity=1) == [[BEGIN, 5, 6, 7, 8, END, 0, 0]]  # one at least


@pytest.mark.parametrize("family", ["dropped_words", "truncation", "late_start", "common_words"])
def test_the_last_word_stays(family):
    assert said([BEGIN, 5, END, 0], family=family, severity=5) == [[BEGIN, 5, END, 0]]


def test_rare_words_become_unknown_and_common_ones_are_left_out():
    train = [[5, 5, 5, 6, 6, 7]] * 2
    assert said([5, 6, 7, 5, 9, 0], family="rare_words", severity=4, train=train) == [[5, 6, 1, 5, 1, 0]]
    assert said([5, 6, 7, 5, 9, 0], family="common_words", severity=4, train=train) == [[6, 7, 9, 0, 0, 0]]


def test_unknown_and_random_words_stand_in_the_place_of_others():
    row = [BEGIN, 5, 6, 7, 8, 9, END, 0]
    (unknown,) = said(row, family="unknown_words", severity=4)
    assert [a if b != 1 else 1 for a, b in zip(row, unknown, strict=True)] == unknown
    assert unknown.count(1) == 2
    (drawn,) = said(row, family="random_words", severity=4, train=[[BEGIN, 50, 51, 0]] * 2)
    assert sum(a != b for a, b in zip(row, drawn, strict=True)) == 2
    assert set(drawn) <= {*row, 50, 51}


def test_repeated_words_stand_twice_and_the_last_ones_give_way():
    (found,) = said([BEGIN, 5, 6, 7, END, 0], family="repeated_words", severity=1)
    assert found in ([BEGIN, 5, 5, 6, 7, END], [BEGIN, 5, 6, 6, 7, END], [BEGIN, 5, 6, 7, 7, END])
    (full,) = said([BEGIN, 5, 6, END], family="repeated_words", severity=1)
    assert full in ([BEGIN, 5, 5, END], [BEGIN, 5, 6, END])


def test_inserted_words_come_from_training():
    (found,) = said([5, 6, 7, 0, 0], family="inserted_words", severity=3, train=[[50, 50]] * 2)
    assert found.count(50) == 1
    assert [token for token in found if token != 50] == [5, 6, 7, 0]


@pytest.mark.parametrize("seed", range(8))
def test_words_swap_and_wander_between_their_marks(seed):
    row = [BEGIN, 5, 6, 7, END, 8, 9, END, 0, 0]
    for severity in SEVERITIES:
        (swapped,) = said(row, family="swapped_words", severity=severity, seed=seed)
        assert sorted(swapped) == sorted(row)
        (wandered,) = said(row, family="shuffled_words", severity=severity, seed=seed)
        for found in (swapped, wandered):
            assert found[0] == BEGIN
            assert sorted(found[1:4]) == [5, 6, 7]
            assert found[4] == found[7] == END
            assert sorted(found[5:7]) == [8, 9]
    assert said([5, 6, 0], family="swapped_words", severity=1, seed=seed) == [[6, 5, 0]]


def test_a_second_text_follows_before_the_last_mark():
    texts = ([BEGIN, 5, 6, END, 0, 0, 0, 0], [BEGIN, 7, 8, 9, END, 0, 0, 0])
    found = [said(*texts, family="second_text", severity=1, seed=seed) for seed in range(8)]
    alone = [[BEGIN, 5, 6, 5, 6, END, 0, 0], [BEGIN, 7, 8, 9, 7, 8, END, 0]]
    other = [[BEGIN, 5, 6, 7, 8, END, 0, 0], [BEGIN, 7, 8, 9, 5, 6, END, 0]]
    assert all(each in (alone, other) for each in found)
    assert other in found


def test_words_are_drawn_as_often_as_they_are_said():
    words = Words.of(np.array([[5, 5, 5, 6, 0]], np.float32), Tokens(filling=0))
    drawn = words.drawn((4000,), np.random.default_rng(0))
    assert set(drawn) == {5, 6}
    assert (drawn == 5).mean() == pytest.approx(0.75, abs=0.03)
    assert words.commonness(np.array([[5, 6, 7, 0]], np.float32)).tolist() == [[3, 1, 0, 0]]
