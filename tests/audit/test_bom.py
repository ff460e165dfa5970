"""The bill of materials: what a version is, was cut from and was measured to be; nothing that nobody recorded."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pruneguard.audit.selection import Selection
from pruneguard.audit.views import bom, card, croissant
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate, Evidence
from tests.audit.conftest import Told
from tests.audit.test_attestations import waived


def bill(selection: Selection, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bom.bills(selection)[bom.path(digest)])
    return found


def test_there_is_one_for_each_version_and_none_for_what_was_refused(told: Told, selection: Selection) -> None:
    assert set(bom.bills(selection)) == {bom.path(told.story.twin), bom.path(told.story.candidate)}


def test_it_names_file_twin_and_data_by_digest(told: Told, selection: Selection) -> None:
    story, found = told.story, bill(selection, told.story.candidate)
    component = found["metadata"]["component"]
    assert component["hashes"] == [{"alg": "SHA-256", "content": story.candidate.removeprefix("sha256:")}]
    (ancestor,) = component["pedigree"]["ancestors"]
    assert ancestor["bom-ref"] == story.twin
    assert "ratio 0.5" in component["pedigree"]["notes"]
    assert component["modelCard"]["modelParameters"]["datasets"] == [{"ref": found["components"][0]["bom-ref"]}]
    assert "pedigree" not in bill(selection, story.twin)["metadata"]["component"]


def test_every_measurement_stands_in_it_with_slice_and_interval(told: Told, selection: Selection) -> None:
    card = bill(selection, told.story.candidate)["metadata"]["component"]["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "quality.paired.difference", "slice": "class=3", "value": "0"} in metrics
    ratio = next(metric for metric in metrics if metric["type"] == "efficiency.latency_ratio")
    assert ratio == {
        "type": "efficiency.latency_ratio",
        "value": "0.61",
        "confidenceInterval": {"lowerBound": "0.5917", "upperBound": "0.6283"},
    }


def test_it_names_the_libraries_that_measured_and_only_those(told: Told, selection: Selection) -> None:
    assert [c["type"] for c in bill(selection, told.story.candidate)["components"]] == ["data"]

    def document(digest: str) -> bytes | None:
        content = selection.document(digest)
        if content is not None and b'"evidence/v1"' in content:
            evidence = Evidence.decode(content)
            return replace(evidence, context={"torch": "2.13.0", "python": "3.11.7", "split": "release"}).encode()
        return content

    found = bill(replace(selection, document=document), told.story.candidate)["components"][1:]
    assert [(c["type"], c["name"], c["version"]) for c in found] == [
        ("library", "torch", "2.13.0"),
        ("platform", "python", "3.11.7"),
    ]


def test_what_could_not_be_measured_says_so(told: Told, selection: Selection) -> None:
    def document(digest: str) -> bytes | None:
        content = selection.document(digest)
        if content is not None and b'"evidence/v1"' in content:
            evidence = Evidence.decode(content)
            return replace(evidence, measurements={"quality.accuracy": Estimate(float("nan"))}).encode()
        return content

    metrics = bill(replace(selection, document=document), told.story.candidate)["metadata"]["component"]["modelCard"]
    assert metrics["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "quality.accuracy", "value": "not measured"}
    ]


def test_what_failed_and_was_waived_is_a_limitation_with_what_is_done_instead(told: Told, selection: Selection) -> None:
    # The stump was never released; let its verdict stand behind the second release.
    model = selection.state.models["digits"]
    stump = next(v for v in model.verdicts if v.candidate == told.story.rejected)
    release = replace(model.releases[2], digest=told.story.rejected, verdict=stump.digest)
    state = replace(selection.state, models={"digits": replace(model, releases={2: release})})
    for clock, standing in (("2026-01-10T00:00:00.000000Z", "waived until"), ("2026-03-01T00:00:00.000000Z", "lapsed")):
        there = waived(replace(selection, state=state), told.story.rejected, clock=clock)
        considered = bill(there, told.story.rejected)["metadata"]["component"]["modelCard"]["considerations"]
        assert len(considered["technicalLimitations"]) == 3
        assert all("failed, " in text and standing in text for text in considered["technicalLimitations"])
        assert {c["mitigationStrategy"] for c in considered["ethicalConsiderations"]} == {"a person looks"}
        text = card.cards(there)[card.path(told.story.rejected)].decode()
        assert "## Failed, waived" in text
        assert "for \\| the drill" in text


def test_a_bundle_without_documents_still_has_its_bills_and_cards(told: Told, selection: Selection) -> None:
    blind = replace(selection, document=lambda digest: None)
    assert "quantitativeAnalysis" not in bill(blind, told.story.candidate)["metadata"]["component"]["modelCard"]
    assert card.cards(blind)
    assert croissant.cards(blind)


@pytest.mark.parametrize("view", [bom.bills, card.cards, croissant.cards])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"kind":"evidence/v1"}',
        b'{"kind":"evidence/v1","subject":[],"twin":null,"data":"d","measurements":{},"context":{}}',
        b'{"kind":"evidence/v1","subject":"s","twin":null,"data":"d","measurements":{"a":{"kind":"estimate","value":1,'
        b'"low":"x","high":1,"n":1,"unit":"1"}},"context":{}}',
        b'{"kind":"evidence/v1","subject":"s","twin":null,"data":"d","measurements":{"a":{"kind":"paired",'
        b'"both_right":"1","candidate_only":0,"twin_only":0,"both_wrong":0}},"context":{}}',
        b'{"kind":"evidence/v1","subject":"s","twin":null,"data":"d","measurements":{},"context":{"rows":[]}}',
    ],
)
def test_hostile_documents_are_refused_and_never_crash(selection: Selection, view: Any, content: bytes) -> None:
    with pytest.raises(InvalidInputError):
        view(replace(selection, document=lambda digest: content))
