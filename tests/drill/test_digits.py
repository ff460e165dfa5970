"""The rows of the drill let a policy decide: enough of each slice, none twice, none in two splits."""

import numpy as np

from policies.document import load_policy
from pruneguard.drill import digits
from pruneguard.evaluation.correctness.quality import slices
from pruneguard.evaluation.data_quality import require_usable
from pruneguard.statistics import rows_needed

SNAPSHOT = digits.snapshot()
STANDARD = {rule.name: rule.parameters for rule in load_policy("standard").rules}


def test_the_rows_are_usable_and_the_same_at_every_call() -> None:
    require_usable(SNAPSHOT)
    assert digits.snapshot().digest == SNAPSHOT.digest


def test_the_gate_rows_show_the_margin_of_the_standard_policy_at_a_discordance_of_one_in_a_hundred() -> None:
    margin = STANDARD["quality.paired"]["margin"]
    assert len(SNAPSHOT.gate) >= rows_needed(discordance=0.01, margin=margin)


def test_every_slice_is_large_enough_to_be_tested() -> None:
    sizes = {name: int(rows.sum()) for name, rows in slices(SNAPSHOT.gate)}
    assert min(sizes.values()) >= STANDARD["quality.slices"]["rows_min"]
    assert sizes["edge=touched"] < 0.08 * len(SNAPSHOT.gate)


def test_pixels_are_whole_grey_levels() -> None:
    levels = SNAPSHOT.gate.x * digits.LEVELS
    assert np.array_equal(levels, np.rint(levels))


def test_outliers_are_no_digits_of_any_split() -> None:
    rows = {row.tobytes() for split in SNAPSHOT.splits.values() for row in split.x}
    assert SNAPSHOT.outliers is not None
    assert not any(row.tobytes() in rows for row in SNAPSHOT.outliers)
