import json
from pathlib import Path

import pytest

from policies.framework import load_frameworks, shipped
from pruneguard.audit.frameworks import Automation, Framework
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import CATALOGUE

CATALOG = Path(__file__).parents[1] / "assets" / "oscal" / "nist_ai_rmf_oscal_catalog.json"
FRAMEWORKS = {name: Framework.decode(content) for name, content in load_frameworks().items()}
CLASSES = {
    "nist-ai-rmf": {"A": 21, "S": 37, "M": 14},
    "iso-42001": {"A": 13, "S": 12, "M": 13},
    "eu-ai-act": {"A": 10, "S": 9, "M": 3},
}


def test_three_frameworks_are_shipped_and_a_fourth_is_refused_by_name() -> None:
    assert shipped() == sorted(CLASSES)
    with pytest.raises(InvalidInputError, match="no framework 'soc-2' is shipped"):
        load_frameworks(["soc-2"])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_control_is_there_with_its_class(name: str) -> None:
    controls = FRAMEWORKS[name].controls
    assert {kind.value: sum(c.automation is kind for c in controls) for kind in Automation} == CLASSES[name]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_what_is_evidenced_by_records_says_by_which_and_what_they_show(name: str) -> None:
    for control in FRAMEWORKS[name].controls:
        assert control.asks
        assert control.wanted
        by_records = control.automation is not Automation.HUMAN
        assert (bool(control.needs), bool(control.shows)) == (by_records, by_records), control.id
        assert {event for need in control.needs for event in need.events} <= CATALOGUE.keys(), control.id


def test_the_subcategories_of_nist_stand_in_its_order_and_in_its_words() -> None:
    groups = json.loads(CATALOG.read_text())["catalog"]["groups"]
    published = [
        (control["title"], control["parts"][0]["prose"])
        for function in groups
        for category in function["groups"]
        for control in category["controls"]
    ]
    assert [(control.id, control.text) for control in FRAMEWORKS["nist-ai-rmf"].controls] == published


def test_titles_of_iso_are_ours_and_its_text_is_nowhere() -> None:
    assert all(control.title and not control.text for control in FRAMEWORKS["iso-42001"].controls)


def test_dates_of_the_ai_act_are_data_with_their_source() -> None:
    dates = FRAMEWORKS["eu-ai-act"].dates
    assert [milestone.date for milestone in dates] == ["2027-12-02", "2028-08-02"]
    assert all("confirm" in milestone.source for milestone in dates)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_framework_says_what_it_is_not(name: str) -> None:
    note = FRAMEWORKS[name].note
    assert "Neither a certification nor legal advice, and no score" in note
