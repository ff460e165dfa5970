"""`python -m benchmarks`: what it runs, prints and writes."""

import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from benchmarks import __main__ as runner
from benchmarks import ledger
from benchmarks.rows import Row


def measured(**arguments: object) -> tuple[list[Row], str]:
    console = Console(file=io.StringIO(), width=100)
    rows = runner.measured(console=console, **arguments)
    return rows, console.file.getvalue()


def two_rows(*, quick: bool, progress: ledger.Reported) -> Iterator[Row]:
    done = progress("work", 1)
    done(1)
    yield Row.over([1.0], name="good", unit="s", goal="<= 1", how="once")
    yield Row.over([2.0], name="bad", unit="s", goal="<= 1", how="once")


@pytest.mark.parametrize("arguments", [[], ["no-such-benchmark"]])
def test_a_name_that_is_no_benchmark_is_answered_with_those_there_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        runner.main(arguments)
    assert "ledger" in capsys.readouterr().err


def test_every_row_is_told_as_soon_as_it_is_measured() -> None:
    rows, told = measured(run=two_rows, quick=False)
    assert [row.name for row in rows] == ["good", "bad"]
    assert told.index("work: 1") < told.index("good: 1 s") < told.index("bad: 2 s")


def test_a_missed_row_stays_in_table_and_file() -> None:
    rows, _ = measured(run=two_rows, quick=False)
    console = Console(file=io.StringIO(), width=100)
    console.print(runner.table("name", rows, quick=False))
    assert "missed" in console.file.getvalue()
    document = json.loads(json.dumps(runner.document("name", rows, seeds=(1,), quick=False)))
    assert [row["met"] for row in document["rows"]] == [True, False]
    assert document["machine"]["cores"] > 0
    assert document["versions"]["torch"].startswith("2.13.0")


def test_a_quick_run_claims_nothing() -> None:
    rows, _ = measured(run=two_rows, quick=True)
    document = runner.document("name", rows, seeds=(), quick=True)
    assert document["quick"] is True
    assert [row["met"] for row in document["rows"]] == [None, None]


@pytest.mark.slow
def test_the_ledgers_benchmark_measures_every_row_it_names() -> None:
    rows, _ = measured(run=ledger.run, quick=True)
    assert [row.name for row in rows if not row.name.startswith("postgresql_")] == [
        "durable_appends_per_s_32c",
        "append_p99_ms_32c",
        "ratio_to_bare_insert",
        "bulk_appends_per_s",
        "bulk_ratio_to_bare_insert",
        "verify_1m_integrity_s",
        "verify_1m_rss_mb",
        "who_was_live_s",
        "who_was_live_cold_s",
        "verify_1m_semantic_s",
        "verify_1m_semantic_rss_mb",
    ]
    assert all(0 < row.low <= row.value <= row.high for row in rows)
