import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.data_quality import Papers, admit
from pruneguard.evidence import Evidence
from pruneguard.gates.measurements import MEASUREMENTS
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


CARD = {"@type": "Dataset", "description": "<b>Rows</b> & more", "recordSet": {"field": {"name": "customerEmail"}}}


def test_what_the_owner_says_of_the_data_is_measured_and_shown():
    admission = admit(table(), Papers(card=json.dumps(CARD).encode()))
    assert value(admission, "data.card_gaps") == 7
    assert value(admission, "data.personal_columns") == 1
    assert canonical.decode(admission.expectations)["card"]["answers"] == {"what it is": CARD["description"]}
    assert b"&lt;b&gt;Rows&lt;/b&gt; &amp; more" in admission.page
    assert b"no answer" in admission.page
    assert b"customerEmail" in admission.page
    assert admission.evidence.context["data card"].startswith("sha256:")


def test_without_a_card_its_gaps_are_not_measured():
    assert admit(table()).evidence.get("data.card_gaps") is None


def test_papers_that_cannot_be_read_are_refused():
    with pytest.raises(InvalidInputError, match="data card is no JSON"):
        admit(table(), Papers(card=b"?"))


def test_the_page_shows_what_failed_and_needs_nothing_from_the_network():
    page = admit(planted(x={(3, 1): 1.5})).page.decode()
    assert "column max to be between" in page
    assert "feature_1" in page
    assert re.findall(r"(?:src|href)=|url\(|<script|@import", page) == []


EMPTY = Split(np.empty((0, 3), np.float32), np.empty(0, np.int64))
ALL_MISSING = Split(np.full((60, 3), np.nan, np.float32), np.arange(60) % 2)


@pytest.mark.parametrize(
    "snapshot",
    [
        table(train=EMPTY),
        table(gate=EMPTY),
        table(train=EMPTY, gate=EMPTY, release=EMPTY),
        table(train=Split(table().train.x, np.zeros(60, np.int64))),
        table(train=ALL_MISSING),
        table(train=Split(np.ones((60, 3), np.float32), np.arange(60) % 2)),
        table(train=Split(table().train.x, np.arange(60) - 9)),
    ],
    ids=["no train", "no gate", "nothing", "one class", "all missing", "constant", "labels outside"],
)
def test_data_that_nobody_can_use_are_measured_all_the_same_and_never_found_fit(snapshot):
    admission = admit(snapshot)
    assert value(admission, "data.expectations_failed") + value(admission, "data.warnings") > 0
    assert Evidence.decode(admission.evidence.encode()).measurements.keys() == admission.evidence.measurements.keys()


def test_a_policy_can_name_everything_that_is_measured():
    assert admit(table(), Papers(card=json.dumps(CARD).encode())).evidence.measurements.keys() <= MEASUREMENTS.keys()
