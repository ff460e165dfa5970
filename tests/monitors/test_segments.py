"""A whole home's windows in one query, in one file, and none that the ledger does not name."""

import csv
import json
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.policy import Monitoring
from pruneguard.serving.labelstore import Label, Labels
from pruneguard.serving.segments import Kind, export, segments, views
from tests.monitors.service import MODEL, POLICY, Service, notify_only, rows
from tests.monitors.test_watch import answer_with_ids, released


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three releases, several windows of one, labels of some rows, one of them corrected."""
    folder = tmp_path_factory.mktemp("home")
    policy = replace(notify_only(POLICY), monitoring=Monitoring(0.1, 0.01, 0.9))
    service, labels = Service(folder / "it's here", policy=policy), Labels(folder / "labels.sqlite")
    service.watch = service.new_watch(labels=labels)
    service.send(service.approve(service.dense), 1)
    release = released(service)
    answer_with_ids(service, release, start=0, count=250)
    labels.add(MODEL, [Label(f"r-{number}", number % 2, time=1.0) for number in range(10)])
    labels.add(MODEL, [Label("r-0", 2, time=2.0), Label("r-1", 0, time=0.5)])
    service.watch.step()
    service.watch.finish()
    yield service
    labels.close()


def query(service, sql):
    connection = duckdb.connect()
    connection.execute(views(segments(service.ledger), service.artifacts))
    return connection.execute(sql).fetchall()


def test_one_query_reads_all_windows_of_a_home(home):
    batches = home.model.batches
    (answered,) = query(
        home, "SELECT count(*), count(DISTINCT batch), count(agrees) FROM observations WHERE version = 2"
    )
    own = [batch for batch in batches if batch["number"] == 2 and batch["rows"]]
    assert answered == (sum(b["rows"] for b in own), len(own), sum(b["twin_runs"] for b in own))
    assert query(home, "SELECT sum(flip::INT) FROM (SELECT NOT agrees AS flip FROM observations)") == [
        (sum(batch["flips"] for batch in batches),)
    ]


def test_the_label_that_holds_stands_beside_what_was_answered(home):
    wrong = "SELECT count(*), sum((predicted <> label)::INT) FROM observations WHERE label IS NOT NULL"
    newest = [batch for batch in home.model.batches if batch["number"] == 2][-1]
    assert query(home, wrong) == [(newest["labelled"], newest["labelled_wrong"])] == [(10, 6)]
    assert query(home, "SELECT label FROM observations WHERE request_id IN ('r-0', 'r-1') ORDER BY request_id") == [
        (2.0,),
        (1.0,),
    ]


def test_a_file_that_no_entry_names_counts_for_nothing(home):
    before = query(home, "SELECT count(*) FROM observations")
    named = next(segments(home.ledger))
    stray = home.artifacts.local_path(named.digest).with_name("f" * 64)
    stray.write_bytes(home.artifacts.get(named.digest))
    assert query(home, "SELECT count(*) FROM observations") == before
    stray.unlink()


def test_windows_are_chosen_by_model_and_release(home):
    everything = list(segments(home.ledger))
    assert {segment.number for segment in everything} == {1, 2, 3}
    assert {segment.number for segment in segments(home.ledger, model=MODEL, number=1)} == {1}
    assert list(segments(home.ledger, model="another")) == []
    assert [segment.index for segment in everything] == sorted(segment.index for segment in everything)


def test_all_windows_make_one_file(home, tmp_path):
    found = [segment for segment in segments(home.ledger) if segment.kind is Kind.OBSERVATIONS]
    total = sum(segment.rows for segment in found)
    assert export(found, home.artifacts, tmp_path / "all.parquet") == total
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.num_rows == total
    assert set(table.column("version").to_pylist()) == {1, 2, 3}
    assert export(found, home.artifacts, tmp_path / "all.csv") == total
    with (tmp_path / "all.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == total
    assert len(json.loads(lines[0]["output"])) == 3
    np.testing.assert_allclose(json.loads(lines[-1]["output"]), table.column("output").to_pylist()[-1], rtol=1e-6)


def test_an_export_takes_nobodys_place_and_says_what_it_can_write(home, tmp_path):
    found = list(segments(home.ledger, number=1))
    (tmp_path / "all.csv").write_text("mine")
    with pytest.raises(InvalidInputError, match="never overwritten"):
        export(found, home.artifacts, tmp_path / "all.csv")
    with pytest.raises(InvalidInputError, match=r"\.parquet or \.csv"):
        export(found, home.artifacts, tmp_path / "all.txt")
    with pytest.raises(InvalidInputError, match="no window matches"):
        export([], home.artifacts, tmp_path / "none.csv")


def test_before_anything_was_sealed_there_is_nothing_to_look_at(tmp_path):
    service = Service(tmp_path)
    with pytest.raises(InvalidInputError, match="nothing was sealed yet"):
        views(segments(service.ledger), service.artifacts)


def test_files_that_lie_elsewhere_are_exported_and_not_read_in_place(home):
    with pytest.raises(InvalidInputError, match="observations export"):
        views(segments(home.ledger), Artifacts("memory://windows"))


def test_windows_without_any_label_are_read_all_the_same(tmp_path):
    service = Service(tmp_path)
    release = service.approve(service.dense)
    service.watch.step()
    service.watch.answered(service.answer(release, rows(service.rng, 3)))
    service.watch.step()
    service.watch.finish()
    assert query(service, 'SELECT count(*), count(label), max("row") FROM observations') == [(3, 0, 2)]
