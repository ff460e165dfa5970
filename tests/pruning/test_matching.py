from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Split
from tests.pruning import networks

SPLIT = networks.separable(rows=9)
SNAPSHOT = Snapshot(train=SPLIT, gate=SPLIT, release=SPLIT, classes=networks.CLASSES)


class Bands:
    def __init__(self, model=None):
        self.model = model or networks.plain()

    def build(self):
        return self.model

    def data(self, directory):
        return SNAPSHOT


def test_a_workload_that_fits_is_let_through():
    require_matching(Bands(), SNAPSHOT)


def test_an_output_that_does_not_match_the_labels_names_class_found_and_expected():
    with pytest.raises(InvalidInputError, match=r"Bands answers 2 rows with \(2, 3\); expected .* = \(2, 4\)"):
        require_matching(Bands(), replace(SNAPSHOT, classes=4))


def test_a_network_that_does_not_take_the_rows_is_refused():
    with pytest.raises(InvalidInputError, match=r"network of Bands fails on rows of shape \(2, 1, 8, 8\)"):
        require_matching(Bands(networks.table()), SNAPSHOT)


def test_an_output_that_is_no_tensor_is_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(InvalidInputError, match="with tuple; expected"):
        require_matching(Bands(Pair()), SNAPSHOT)


def test_a_build_that_returns_no_module_is_refused():
    with pytest.raises(InvalidInputError, match=r"Bands\.build\(\) returned str; expected a torch\.nn\.Module"):
        require_matching(Bands("a network"), SNAPSHOT)


def test_data_that_is_no_snapshot_is_refused():
    with pytest.raises(InvalidInputError, match=r"Bands\.data\(\) returned tuple; expected a pruneguard Snapshot"):
        require_matching(Bands(), (SPLIT, SPLIT))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Split(SPLIT.x.astype(np.float64), SPLIT.y), r"gate\.x is float64 \(9, 1, 8, 8\); expected float32"),
        (Split(SPLIT.x[:, :, :4], SPLIT.y), r"gate\.x is .* all of train's shape \(1, 8, 8\)"),
        (Split(SPLIT.x[:0], SPLIT.y[:0]), "at least one row"),
        (Split(SPLIT.x, SPLIT.y.astype(np.int32)), r"gate\.y is int32 \(9,\); expected int64"),
        (Split(SPLIT.x, SPLIT.y[:5]), r"gate\.y is int64 \(5,\); expected int64 \(9,\)"),
        (Split(SPLIT.x, SPLIT.y + 1), "labels from 1 to 3; expected 0 to 2"),
        (Split(SPLIT.x, SPLIT.y - 1), "labels from -1 to 1; expected 0 to 2"),
        (Split(SPLIT.x, list(SPLIT.y)), r"gate\.y is list"),
        (Split(SPLIT.x, SPLIT.y, {"pen": SPLIT.y}), r"slices\['pen'\] is int64 \(9,\); expected text \(9,\)"),
    ],
)
def test_a_split_of_the_wrong_type_shape_or_labels_is_named(broken, message):
    with pytest.raises(InvalidInputError, match=message):
        require_matching(Bands(), replace(SNAPSHOT, gate=broken))


def test_outliers_of_another_shape_are_refused():
    with pytest.raises(InvalidInputError, match=r"outliers is float32 \(6, 5\)"):
        require_matching(Bands(), replace(SNAPSHOT, outliers=networks.TABLE))
