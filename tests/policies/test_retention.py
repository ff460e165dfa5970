"""Schedules as people write them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.document import shipped
from policies.retention import load_schedule
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.keeping import TELEMETRY_DAYS_MIN
from pruneguard.privacy.schedule import RecordClass

GOOD = """\
schedule: mine
version: 2
purpose: testing
classes:
  - class: telemetry
    months: 6
    because: short
  - class: decisions
    months: 120
    because: long
"""


def load(folder: Path, text: str) -> None:
    path = folder / "mine.yaml"
    path.write_text(text)
    load_schedule(path)


def test_the_shipped_schedule_keeps_logs_two_years_and_decisions_ten() -> None:
    schedule = load_schedule()
    assert {name.value: period.months for name, period in schedule.periods.items()} == {
        "telemetry": 24,
        "decisions": 120,
    }
    assert "retention" not in shipped()  # it is no policy that a model could be judged by


def test_a_schedule_says_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    schedule = load_schedule(path)
    assert (schedule.name, schedule.version, schedule.purpose) == ("mine", 2, "testing")
    assert schedule.periods[RecordClass.TELEMETRY].months == 6
    assert schedule.digest != load_schedule().digest


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("months: 6", "months: 5", r"mine.yaml:6: classes\[1\].months: 5 is below the floor of 6 .*Article"),
        ("months: 120", "months: 119", r"mine.yaml:9: classes\[2\].months: 119 is below the floor of 120"),
        ("class: decisions", "class: telemetry", "mine.yaml:8: .* stands above already"),
        ("class: decisions", "class: gossip", "mine.yaml:8: .*expected one of"),
        ("    because: long\n", "    because: long\n    days: 3\n", "mine.yaml:11: .*unknown key"),
        ("purpose: testing", "purpose: testing\nkeep: ever", "mine.yaml:4: keep: unknown key"),
        ("  - class: decisions\n    months: 120\n    because: long\n", "", "'decisions'. missing"),
        ("months: 6", "months: 0", "mine.yaml:6: .*whole number"),
    ],
)
def test_what_a_schedule_must_not_say_is_named_with_its_line(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidInputError, match=found):
        load(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize("month", range(1, 13))
def test_half_a_year_is_never_less_than_the_ledgers_rules_ask_for(tmp_path: Path, month: int) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    day = datetime(2026, month, 28, tzinfo=UTC)
    before = load_schedule(path).before(RecordClass.TELEMETRY, day)
    assert TELEMETRY_DAYS_MIN <= (day - before).days <= 184
