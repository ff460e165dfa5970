from dataclasses import replace

import numpy as np
import pytest

from pruneguard import canonical
from pruneguard.evaluation.data_quality import admit
from pruneguard.evidence import Evidence
from pruneguard.workload import Split
from tests.evaluation.small import table


def value(admission, name):
    return admission.evidence.get(name).value


def test_clean_data_meet_every_expectation(digits):
    admission = admit(digits)
    assert admission.failed == ()
    assert value(admission, "data.expectations_failed") == value(admission, "data.warnings") == 0
    assert admission.evidence.subject == admission.evidence.data == digits.digest
    assert admission.evidence.twin is None
    assert "train 600, gate 300, release 300; 10 classes" in admission.summary


def planted(**changes):
    gate = table().gate
    x, y = gate.x.copy(), gate.y.copy()
    for place, wrong in changes.get("x", {}).items():
        x[place] = wrong
    for place, wrong in changes.get("y", {}).items():
        y[place] = wrong
    return table(gate=Split(x, y))


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (planted(x={(3, 1): np.nan}), "column=missing"),
        (planted(x={(3, 1): np.nan}), "to_not_be_null(column=feature_1)"),
        (planted(x={(3, 1): 1.5}), "column_max_to_be_between(column=max, max_value=1) found 1.5"),
        (planted(x={(3, 1): -0.5}), "column_min_to_be_between(column=min, min_value=0) found -0.5"),
        (planted(x={(3, 1): np.inf}), "column=feature_1"),
        (planted(y={3: 2}), "values_to_be_in_set(column=label, value_set=[0, 1]) found 1 unexpected"),
        (planted(y={...: 0}), "row_condition=split == gate, value_set=[0, 1]"),
        (planted(x={4: table().train.x[9]}), "column=leaked"),
    ],
)
def test_a_planted_error_fails_a_critical_expectation(snapshot, said):
    admission = admit(snapshot)
    assert value(admission, "data.expectations_failed") >= 1
    assert any(said in line and line.startswith("critical") for line in admission.failed), admission.failed


def test_a_constant_feature_a_repeated_row_and_a_shifted_split_are_warnings():
    base = table()
    train, gate = base.train.x.copy(), base.gate.x.copy()
    train[:, 2] = gate[:, 2] = base.release.x[:, 2] = 0.25
    train[1] = train[0]
    gate[:, :2] = 0.5 + gate[:, :2] / 2
    admission = admit(replace(base, train=replace(base.train, x=train), gate=replace(base.gate, x=gate)))
    assert value(admission, "data.expectations_failed") == 0
    assert value(admission, "data.warnings") == len(admission.failed) == 3
    for said in ("feature_2", "column=row", "column=mean"):
        assert any(said in line for line in admission.failed), admission.failed


def test_leakage_duplicates_missing_and_imbalance_are_counted():
    base = table(rows=40)
    train, gate = base.train.x.copy(), base.gate.x.copy()
    train[1] = train[0]
    gate[:4] = train[10:14]
    gate[5, 0] = np.nan
    y = np.zeros(20, np.int64)
    y[:2] = 1
    admission = admit(replace(base, train=replace(base.train, x=train), gate=Split(gate, y)))
    assert value(admission, "data.leakage") == 4 / 40
    assert value(admission, "data.duplicates") == pytest.approx(1 / 40)
    assert value(admission, "data.missing") == 1 / 240
    assert value(admission, "data.imbalance") == (20 + 18 + 10) / (20 + 2 + 10)


def test_a_class_without_rows_leaves_the_imbalance_unknown():
    admission = admit(replace(table(), classes=3))
    assert np.isnan(value(admission, "data.imbalance"))
    assert value(admission, "data.expectations_failed") == 3


def test_the_same_data_give_the_same_bytes_without_any_rows_value():
    snapshot = planted(x={(3, 1): 7.25}, y={3: 2})
    first, second = admit(snapshot), admit(snapshot)
    assert first.expectations == second.expectations
    document = canonical.decode(first.expectations)
    assert canonical.encode(document) == first.expectations
    assert (document["kind"], document["data"]) == ("expectations/v1", snapshot.digest)
    listed = [item for result in document["results"] for item in result["result"].get("partial_unexpected_list", [])]
    assert listed == []
    assert first.evidence == second.evidence
    assert Evidence.decode(first.evidence.encode()) == first.evidence
