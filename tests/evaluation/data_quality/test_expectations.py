import json
from dataclasses import replace

import numpy as np
import pytest

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.data_quality.expectations import blocking, expected, found, sentence, warning
from pruneguard.evaluation.fingerprints import fingerprints
from tests.evaluation.small import table


def results(snapshot, own=None):
    names = {name: fingerprints(split.x) for name, split in snapshot.splits.items()}
    return expected(snapshot, names, own)


def suite(*expectations):
    listed = [{"type": type_, "kwargs": kwargs, **more} for type_, kwargs, more in expectations]
    return json.dumps({"name": "mine", "expectations": listed}).encode()


def between(column, low, high, **more):
    return "expect_column_values_to_be_between", {"column": column, "min_value": low, "max_value": high}, more


def failed(found):
    return [result for result in found if not result["success"]]


def test_an_owners_expectations_block_warn_or_tell_by_their_severity():
    own = suite(
        between("feature_0", 2, 3),  # critical, where nothing is said
        between("feature_0", 4, 5, severity="critical"),
        between("feature_1", 2, 3, severity="warning"),
        between("feature_2", 2, 3, severity="info"),
        between("feature_2", 0, 1),
    )
    found = results(table(), own)
    assert (blocking(found), warning(found)) == (2, 1)
    assert [result["severity"] for result in failed(found)].count("info") == 1


def test_an_expectation_that_cannot_be_evaluated_has_failed():
    told = failed(results(table(), suite(between("nope", 0, 1))))
    assert len(told) == blocking(told) == 1
    assert 'could not be evaluated: Error: The column "nope"' in sentence(told[0])


def test_slice_columns_can_be_asked_about_by_name():
    base = table()
    splits = {
        name: replace(
            split, slices={"sex": np.array(["f", "m"] * (len(split) // 2)), "row": np.array(["a"] * len(split))}
        )
        for name, split in base.splits.items()
    }
    asked = "expect_column_values_to_be_in_set"
    own = suite(
        (asked, {"column": "sex", "value_set": ["f"]}, {}), (asked, {"column": "slice_row", "value_set": ["a"]}, {})
    )
    told = failed(results(replace(base, **splits), own))
    assert [result["kwargs"]["column"] for result in told] == ["sex"]
    assert found(told[0]) == "found 60 unexpected values"


def test_no_value_of_an_owners_column_is_in_the_results():
    base = table()
    gate = replace(base.gate, slices={"mail": np.array(["ada@example.org"] * 30)})
    own = suite(("expect_column_distinct_values_to_be_in_set", {"column": "mail", "value_set": ["x"]}, {}))
    told = failed(results(replace(base, gate=gate), own))
    assert len(told) == 1
    assert b"ada" not in canonical.encode(told[0])


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (b"{}", "no list `expectations`"),
        (b"nonsense", "suite of expectations is no JSON"),
        (suite(), "of 1 to 2000"),
        (b'{"expectations": ["x"]}', "expectation 1 of the suite, 'x', is none: TypeError"),
        (suite(between("feature_0", 0, 1), ("expect_miracles", {}, {})), "expectation 2 of the suite"),
        (suite(between("feature_0", 0, 1, severity="bad")), "Invalid severity 'bad'"),
        (suite(("expect_column_values_to_be_between", {"columm": "feature_0"}, {})), "expectation 1 of the suite"),
    ],
)
def test_a_suite_that_the_library_would_leave_out_in_silence_is_refused(own, said):
    with pytest.raises(InvalidInputError, match=said):
        results(table(), own)


def test_rows_outside_the_range_of_train_are_a_warning():
    base = table(rows=2000, bounds=(-9.0, 9.0))
    base.gate.x[:30, 1] = 7  # 30 of 2000 rows of gate and release: more than one in a hundred
    told = failed(results(base))
    assert {result["severity"] for result in told} == {"warning"}
    assert [result["kwargs"]["column"] for result in told if "mostly" in result["kwargs"]] == ["feature_1"]


def test_by_chance_few_rows_lie_outside_the_range_of_a_small_train():
    assert failed(results(table(rows=60))) == []


def test_a_value_that_train_never_saw_is_a_warning():
    base = table()
    splits = {name: replace(s, slices={"city": np.array(["here"] * len(s))}) for name, s in base.splits.items()}
    splits["release"].slices["city"][:1] = "away"
    told = failed(results(replace(base, **splits)))
    assert [(result["severity"], result["kwargs"]["column"]) for result in told] == [("warning", "city")]
