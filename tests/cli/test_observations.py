"""`pruneguard observations`: list, sql, export, of a home on disk."""

import json
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pruneguard import home
from pruneguard.cli import main
from pruneguard.policy import Monitoring
from pruneguard.serving.labelstore import Label, Labels
from pruneguard.settings import Settings
from tests.monitors.service import MODEL, POLICY, Service, notify_only
from tests.monitors.test_watch import answer_with_ids, released

DOCUMENT = Path(__file__).parents[2] / "docs" / "observations.md"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A home whose store holds what a service sealed, and whose ledger names it."""
    folder = tmp_path_factory.mktemp("observations")
    settings = Settings(home=folder / "var")
    service = Service(
        Path(settings.artifacts), policy=replace(notify_only(POLICY), monitoring=Monitoring(0.1, 0.01, 0.9))
    )
    labels = Labels(settings.labels)
    service.watch = service.new_watch(labels=labels)
    release = released(service)
    answer_with_ids(service, release, start=0, count=120)
    labels.add(MODEL, [Label("r-1", 0), Label("r-2", 1)])
    service.watch.step()
    service.watch.finish()
    labels.close()
    return settings, service


@pytest.fixture
def command(settings, monkeypatch, capsys):
    """Runs a command on the home; its ledger is the service's own, which lies in memory."""
    known, service = settings
    monkeypatch.setenv("PRUNEGUARD_HOME", str(known.home))
    monkeypatch.setattr(home, "read_ledger", lambda _: service.ledger.reopen())

    def run(*arguments: str) -> str:
        assert main(["observations", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_windows_are_listed_for_people_and_for_programs(command, settings):
    lines = command("list", MODEL).splitlines()
    found = json.loads(command("list", MODEL, "--version", "2", "--json"))
    assert len(lines) == len(found)
    assert {segment["kind"] for segment in found} == {"observations", "labels"}
    assert sum(segment["rows"] for segment in found if segment["kind"] == "observations") == 60 + 120
    assert command("list", "another").startswith("nothing was sealed yet")


def test_the_query_of_the_manual_reads_the_whole_home(command):
    (query,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    connection = duckdb.connect()
    connection.execute(command("sql"))
    (found,) = connection.execute(query).fetchall()
    assert found[:5] == (MODEL, 2, 180, 2, 0.5)


def test_the_manual_names_every_column_there_is(command):
    connection = duckdb.connect()
    connection.execute(command("sql"))
    columns = [name for name, *_ in connection.execute("DESCRIBE observations").fetchall()]
    text = DOCUMENT.read_text()
    assert [name for name in columns if f"`{name}`" not in text and not name.startswith("x.")] == []


def test_windows_and_labels_are_exported_apart(command, tmp_path):
    assert "180 rows" in command("export", "--output", str(tmp_path / "answers.csv"))
    assert "2 rows" in command("export", "--labels", "--output", str(tmp_path / "labels.parquet"))


def test_a_file_that_exists_is_not_written_over(command, tmp_path, capsys):
    (tmp_path / "answers.csv").write_text("mine")
    assert main(["observations", "export", "--output", str(tmp_path / "answers.csv")]) == 2
    assert "never overwritten" in capsys.readouterr().err
