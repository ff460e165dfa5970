import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate, Evidence, Measurement, PairedTable

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 10**6)
MEASUREMENTS = st.one_of(
    st.builds(Estimate, NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS, COUNTS, st.sampled_from(["1", "s", "B"])),
    st.builds(PairedTable, COUNTS, COUNTS, COUNTS, COUNTS),
)


def evidence(measurements: dict[str, Measurement]) -> Evidence:
    return Evidence("sha256:c", "sha256:t", "sha256:d", measurements, {"split": "gate"})


@given(st.dictionaries(st.from_regex(r"[a-z.]{1,20}", fullmatch=True), MEASUREMENTS, max_size=5))
def test_evidence_comes_back_as_it_was_written(measurements: dict[str, Measurement]) -> None:
    written = evidence(measurements)
    assert Evidence.decode(written.encode()) == written


def test_the_digest_names_the_content_and_not_the_order_of_measuring() -> None:
    a, b = Estimate(0.1), Estimate(0.2)
    assert evidence({"a": a, "b": b}).digest == evidence({"b": b, "a": a}).digest
    assert evidence({"a": a, "b": b}).digest != evidence({"a": b, "b": a}).digest


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_finite_number_comes_back_as_nan_and_its_interval_as_missing(value: float) -> None:
    read = Evidence.decode(evidence({"a": Estimate(value, value, value)}).encode()).get("a")
    assert isinstance(read, Estimate)
    assert math.isnan(read.value)
    assert (read.low, read.high) == (None, None)


def test_a_table_without_rows_has_no_difference() -> None:
    empty = PairedTable(0, 0, 0, 0)
    assert math.isnan(empty.difference)
    assert math.isnan(empty.discordance)


def test_difference_and_discordance_count_the_rows_that_one_of_the_two_got_right() -> None:
    table = PairedTable(both_right=90, candidate_only=2, twin_only=6, both_wrong=2)
    assert (table.n, table.difference, table.discordance) == (100, -0.04, 0.08)


def test_what_was_not_measured_is_none() -> None:
    assert evidence({}).get("quality.accuracy") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "verdict/v1"}, "expected 'evidence/v1'"),
        ({"measurements": {"a": {"kind": "guess"}}}, "unknown measurement kind 'guess'"),
        ({"measurements": {"a": {"kind": "paired", "both_right": 1}}}, "malformed"),
        ({"measurements": []}, "malformed"),
        ({"measurements": {"a": {"kind": "estimate", "value": []}}}, "malformed"),
    ],
)
def test_a_document_that_is_no_evidence_is_refused(change: dict[str, object], why: str) -> None:
    content = canonical.encode({**evidence({}).to_document(), **change})
    with pytest.raises(InvalidInputError, match=why):
        Evidence.decode(content)


def test_a_document_that_lacks_its_subject_is_refused() -> None:
    document = evidence({}).to_document()
    del document["subject"]
    with pytest.raises(InvalidInputError, match="subject"):
        Evidence.decode(canonical.encode(document))
