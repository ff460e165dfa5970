import json
from pathlib import Path

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.data_quality.papers import QUESTIONS, Papers, papers, read_card
from pruneguard.workload import load

CARD = {
    "@type": "sc:Dataset",
    "description": "Rows.",
    "sc:license": {"@id": "https://spdx.org/licenses/CC-BY-4.0"},
    "creator": [{"@type": "Organization", "name": "A university"}],
    "https://schema.org/url": "https://example.org/rows",
    "version": 3,
    "rai:dataCollection": "Asked on paper.",
    "usageInfo": "Those asked agreed to research.",
    "http://mlcommons.org/croissant/RAI/personalSensitiveInformation": ["None"],
    "recordSet": [{"@type": "cr:RecordSet", "field": [{"name": "rows/age"}, {"name": "rows/email"}]}],
}


def card(**changes):
    return read_card(json.dumps({**CARD, **changes}).encode())


def test_a_full_card_has_no_gaps_whatever_prefix_it_uses():
    full = card()
    assert full.gaps == ()
    assert full.answers["licence"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert full.answers["who made it"] == "A university"
    assert full.answers["personal data"] == "None"
    assert full.fields == ("age", "email")
    assert (full.measure()["data.card_gaps"].value, full.measure()["data.card_gaps"].n) == (0, len(QUESTIONS))


@pytest.mark.parametrize("nothing", ["", "TO" + "DO", "unknown", " n/a ", [], {}, None, "Not recorded."])
def test_a_placeholder_is_no_answer(nothing):
    assert card(usageInfo=nothing).gaps == ("consent and terms of use",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "no JSON: .* line 1"),
        (b"\xff", "no JSON"),
        (b"[]", "a JSON list; expected an object"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "the @type None; expected sc:Dataset"),
        (b'{"@type": "Person"}', "expected sc:Dataset"),
    ],
)
def test_what_is_no_card_is_refused(content, said):
    with pytest.raises(InvalidInputError, match=said):
        read_card(content)


def workload(folder: Path, body: str):
    file = folder / "rows.py"
    file.write_text(f"class Rows:\n    {body}\n    def build(self): ...\n    def data(self, directory): ...\n")
    return load(file, "Rows")


def test_a_workload_names_its_papers_relative_to_its_file(tmp_path):
    (tmp_path / "card.json").write_text("{}")
    assert papers(workload(tmp_path, "data_card = 'card.json'")) == Papers(b"{}", None)
    assert papers(workload(tmp_path, "")) == Papers()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("data_card = 'card.json'", "Rows.data_card names 'card.json', and there is no file"),
        ("expectations = 7", "Rows.expectations is a int; expected the path"),
        ("data_card = 'rows.py'", "rows.py is no JSON"),
    ],
)
def test_papers_that_are_not_there_are_told_of_with_their_place(tmp_path, body, said):
    with pytest.raises(InvalidInputError, match=said):
        papers(workload(tmp_path, body))


def test_a_paper_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "card.json").write_bytes(np.zeros(10_000_001, np.uint8).tobytes())
    with pytest.raises(InvalidInputError, match="10000001 bytes; at most 10000000"):
        papers(workload(tmp_path, "data_card = 'card.json'"))
