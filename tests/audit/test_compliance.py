"""The compliance views over the story's ledger: complete, deterministic, safe to open, and never more than is there."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from policies.framework import load_frameworks
from pruneguard import testing
from pruneguard.artifacts import Artifacts
from pruneguard.audit import bundle, history
from pruneguard.audit.selection import Selection
from pruneguard.audit.views.compliance import compliance
from pruneguard.audit.views.people import people
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import notes, tiles
from pruneguard.ledger.events import Entry
from pruneguard.ledger.ledger import Ledger
from tests.audit.conftest import Told

NAMES = sorted(load_frameworks())
CATALOG = Path(__file__).parents[1] / "assets" / "oscal" / "nist_ai_rmf_oscal_catalog.json"
START = datetime(2030, 1, 7, 9, tzinfo=UTC)  # after the ledger was opened, whenever that is
HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> \"'&"


def select(ledger: Ledger, artifacts: Artifacts, *, start: str | None = None, end: str | None = None) -> Selection:
    checkpoint = notes.open_checkpoint(ledger.checkpoint, ledger.verifier)

    def block(number: int) -> list[bytes]:
        return ledger.raw(number * tiles.WIDTH, min((number + 1) * tiles.WIDTH, checkpoint.size))

    log = history.Log(checkpoint.size, block)
    read = history.read(log, model="digits", start=start, end=end)
    return Selection(
        "digits",
        start,
        end,
        log,
        read.state,
        checkpoint,
        load_frameworks(),
        lambda digest: artifacts.get(digest) if digest in artifacts else None,
        read.positions,
        read.kinds,
    )


@pytest.fixture(scope="module")
def selection(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path_factory.mktemp("views")))
    testing.story(ledger, artifacts, start=START)
    about: dict[str, Any] = {"model": None, "framework": "nist-ai-rmf", "title": HOSTILE, "statement": HOSTILE}
    script = testing.Script(ledger, artifacts, now=START + timedelta(hours=2))
    for control in ("GOVERN 1.1", "MAP 1.5"):
        refs = {"document": artifacts.put(f"{control} {HOSTILE}".encode())}
        data = {name: value for name, value in (about | {"control": control}).items() if value is not None}
        script.record("document.attached", "grace", refs, signed=True, **data)
    return select(ledger, artifacts)


@pytest.fixture(scope="module")
def files(selection: Selection) -> Mapping[str, bytes]:
    return compliance(selection)


def rows(files: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[f"compliance/{name}/controls.csv"].decode(), newline="")))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def test_each_framework_has_four_files_and_the_same_bytes_on_every_call(
    selection: Selection, files: Mapping[str, bytes]
) -> None:
    kinds = ("controls.csv", "oscal-assessment-results.json", "oscal-catalog.json", "report.html")
    assert sorted(files) == [f"compliance/{name}/{kind}" for name in NAMES for kind in kinds]
    assert compliance(selection) == files


def test_a_framework_under_another_name_is_refused(selection: Selection) -> None:
    swapped = {"iso-42001": selection.frameworks["eu-ai-act"]}
    with pytest.raises(InvalidInputError, match="calls itself 'eu-ai-act'"):
        compliance(replace(selection, frameworks=swapped))


@pytest.mark.parametrize("name", NAMES)
def test_no_file_states_a_score_or_a_share_of_controls(name: str, files: Mapping[str, bytes]) -> None:
    for kind in ("controls.csv", "oscal-assessment-results.json", "report.html"):
        text = files[f"compliance/{name}/{kind}"].decode().replace("which differs in 41 of 72", "")  # the texts' source
        assert "Neither a certification nor legal advice" in text
        assert not re.search(r"\d ?(%|percent)[^<]{0,30}(control|complian)|(\d ?/|of) ?(72|38|22)\b", text, re.I)


# -- csv --------------------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_every_control_in_the_framework_s_order(files: Mapping[str, bytes]) -> None:
    found = rows(files, "nist-ai-rmf")
    assert len(found) == 72
    assert (found[0]["control"], found[-1]["control"]) == ("GOVERN 1.1", "MANAGE 4.3")
    assert {row["class"] for row in found} == {"A", "S", "M"}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_leads_to_an_entry_or_says_what_is_missing(
    name: str, files: Mapping[str, bytes], selection: Selection
) -> None:
    present = {bundle.proof_path(index) for index in bundle.decisions(selection)}
    present |= {bundle.ledger_path(tile) for tile in tiles.entry_bundles(selection.checkpoint.size)}
    for row in rows(files, name):
        assert row["found in"] or row["missing"], row["control"]
        assert set(filter(None, row["found in"].split("; "))) <= present
        assert (row["state"] == "evidenced") <= (row["missing"] == "")


def test_no_cell_is_a_formula(files: Mapping[str, bytes]) -> None:
    raw = files["compliance/nist-ai-rmf/controls.csv"]
    assert raw.count(b"\r\n") == 73
    cells = [cell for row in rows(files, "nist-ai-rmf") for cell in row.values()]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\t"))]
    assert any(HOSTILE in cell for cell in cells)


# -- oscal ------------------------------------------------------------------------------------------------------------


def test_the_catalogue_has_the_ids_and_the_words_of_the_published_one(files: Mapping[str, bytes]) -> None:
    def outline(content: bytes) -> list[tuple[str, list[tuple[str, str]]]]:
        groups = json.loads(content)["catalog"]["groups"]
        inner = [category for function in groups for category in function["groups"]]
        return [(c["id"], [(p["id"], p["prose"]) for p in c["parts"]]) for group in inner for c in group["controls"]]

    assert outline(files["compliance/nist-ai-rmf/oscal-catalog.json"]) == outline(CATALOG.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_is_satisfied_only_where_the_row_is_evidenced(name: str, files: Mapping[str, bytes]) -> None:
    (result,) = json.loads(files[f"compliance/{name}/oscal-assessment-results.json"])["assessment-results"]["results"]
    told = {row["control"]: row["state"] for row in rows(files, name)}
    observed = {observation["uuid"] for observation in result["observations"]}
    assert [finding["title"] for finding in result["findings"]] == list(told)
    for finding in result["findings"]:
        satisfied = finding["target"]["status"]["state"] == "satisfied"
        assert satisfied is (told[finding["title"]] == "evidenced")
        related = {item["observation-uuid"] for item in finding.get("related-observations", ())}
        assert related <= observed
        assert related or not satisfied


def test_evidence_in_oscal_leads_to_files_of_the_bundle(files: Mapping[str, bytes], selection: Selection) -> None:
    results = json.loads(files["compliance/nist-ai-rmf/oscal-assessment-results.json"])
    hrefs = {text for text in strings(results) if text.startswith("../../")}
    documents = {bundle.document_path(digest) for digest in bundle.documents(selection)}
    assert {href for href in hrefs if "/documents/" in href} <= {f"../../{path}" for path in documents}
    assert any("/proofs/" in href for href in hrefs)


def test_every_uuid_is_made_from_what_it_names_and_stands_once(files: Mapping[str, bytes]) -> None:
    made = [
        text
        for path, content in files.items()
        if path.endswith("json")
        for text in re.findall(r'"uuid":"([0-9a-f-]{36})"', content.decode())
    ]
    assert len(made) == len(set(made)) > 200
    assert {text[14] for text in made} == {"5"}


# -- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Every element with its attributes; whether each is closed; and the text that a reader sees."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(files: Mapping[str, bytes]) -> Page:
    return Page(files["compliance/nist-ai-rmf/report.html"])


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_well_formed_and_needs_nothing_from_anywhere(name: str, files: Mapping[str, bytes]) -> None:
    page = Page(files[f"compliance/{name}/report.html"])
    assert page.open == []
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "link", "iframe", "object", "form", "base"})
    for tag, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes)
        links = [attributes.get(key) or "" for key in ("href", "src") if key in attributes]
        assert all(link.startswith(("../../", "#")) for link in links), (tag, links)
    assert "url(" not in files[f"compliance/{name}/report.html"].decode()


def test_hostile_text_is_shown_and_does_nothing(page: Page) -> None:
    assert HOSTILE in page.text


def test_every_control_has_a_row_and_a_cell_that_leads_to_it(page: Page) -> None:
    rows_by_id = {attributes["id"] for tag, attributes in page.elements if tag == "tr" and "id" in attributes}
    cells = [
        attributes["href"]
        for tag, attributes in page.elements
        if tag == "a" and (attributes.get("href") or "")[:1] == "#"
    ]
    assert len(rows_by_id) == 72
    assert cells == [f"#{name}" for name in dict.fromkeys(cell[1:] for cell in cells if cell)]
    assert {cell[1:] for cell in cells if cell} == rows_by_id


def test_a_reader_without_eyes_or_colours_is_told_the_same(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert dict(page.elements)["html"]["lang"] == "en"
    assert tags.count("table") == tags.count("caption")
    assert all("aria-labelledby" in attributes for tag, attributes in page.elements if tag == "svg")
    assert all(attributes.get("scope") for tag, attributes in page.elements if tag == "th")
    assert "◐ partial" in page.text


def test_the_page_tells_releases_with_their_approvals_alarms_and_rollbacks(page: Page) -> None:
    for words in (
        "grace, signed: every gate passed",
        "twin disagreement",
        "to version 1: the twin disagrees",
        "self-signed only",
    ):
        assert words in page.text


def test_a_document_that_is_absent_is_said_and_nothing_is_made_up(selection: Selection) -> None:
    bare = compliance(replace(selection, document=lambda digest: None))
    assert "The verdict's document is not in this bundle." in Page(bare["compliance/nist-ai-rmf/report.html"]).text
    told = {row["control"]: row["state"] for row in rows(bare, "nist-ai-rmf")}
    assert told["MEASURE 2.5"] == told["MEASURE 2.11"] == "none"


def test_documents_full_of_surprises_stop_no_view(selection: Selection) -> None:
    for content in (b"", b"{", b"[]", b'{"kind":"verdict/v1"}', b"null", b"\xff" * 100, b"[" * 100_000):
        compliance(replace(selection, document=lambda digest, content=content: content))


def test_what_happened_after_the_end_of_the_span_is_not_on_the_page(selection: Selection) -> None:
    ledger_end = next(
        entry.event.time for entry in selection.log if isinstance(entry, Entry) and entry.event.type == "alarm.raised"
    )
    early = replace(
        selection,
        end=ledger_end,
        positions=[i for i in selection.positions if (e := selection.log[i]) is not None and e.event.time < ledger_end],
        kinds={
            name: [i for i in own if (e := selection.log[i]) is not None and e.event.time < ledger_end]
            for name, own in selection.kinds.items()
        },
    )
    told = Page(compliance(early)["compliance/nist-ai-rmf/report.html"]).text
    assert "Rolled back" not in told
    assert "still answering" in told


# -- waivers, and bodies that are gone ----------------------------------------------------------------------------


@pytest.fixture
def more(rich: Told) -> Mapping[str, bytes]:
    return rich.files


def test_a_waived_rule_is_shown_as_failed_and_waived_with_the_count_before_and_after(more: Mapping[str, bytes]) -> None:
    text = Page(more["compliance/nist-ai-rmf/report.html"]).text
    assert "failed, waived" in text
    assert "2/5 rules passed, 3/5 with it" in text
    assert "expired" in text


def test_a_version_that_answers_on_lapsed_waivers_contradicts_its_controls(more: Mapping[str, bytes]) -> None:
    told = {row["control"]: row for row in rows(more, "nist-ai-rmf")}
    assert told["MANAGE 1.1"]["state"] == "contradicted"
    assert "rests on a waiver whose time is over" in told["MANAGE 1.1"]["speaks against it"]
    assert told["MEASURE 1.3"]["state"] == "evidenced"


def test_an_entry_whose_body_was_dropped_is_not_cited(more: Mapping[str, bytes]) -> None:
    cited = next(row for row in rows(more, "nist-ai-rmf") if row["control"] == "MEASURE 3.2")
    assert cited["entries"] == "none"  # this story's batches hold no bound
    watched = next(row for row in rows(more, "nist-ai-rmf") if row["control"] == "MEASURE 2.4")
    assert "batch.sealed" in watched["entries"]


# -- people -----------------------------------------------------------------------------------------------------------


def test_people_are_listed_with_the_positions_between_which_each_held_a_key_and_a_role(tmp_path: Path) -> None:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path))
    testing.register(ledger)
    script = testing.Script(ledger, artifacts)
    account = {"model": "digits", "actor": "otto"}
    script.record("role.granted", "root", signed=True, **account, roles=["auditor"])
    script.record("role.revoked", "root", signed=True, **account, roles=["operator"], reason="he moved on")
    script.record("key.revoked", "root", signed=True, **account, reason="he left")
    made = json.loads(people(select(ledger, artifacts))["keys/people.json"])
    otto = next(person for person in made["people"] if person["person"] == "otto")["accounts"][0]
    key = testing.people()["otto"].public_key
    assert otto["keys"] == [{"public_key": key, "from": 4, "to": 7}]
    assert otto["roles"] == [{"role": "operator", "from": 4, "to": 6}, {"role": "auditor", "from": 5, "to": 7}]
    assert [person["person"] for person in made["people"]] == ["ada", "grace", "otto", "root"]
