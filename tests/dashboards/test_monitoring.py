import pytest

from dashboards import drifting
from dashboards.views.monitoring import number
from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.settings import Settings
from tests.dashboards.stage import open_app, shown


def test_the_numbers_stand_against_what_was_certified(settings: Settings) -> None:
    text = shown(open_app(settings, "monitoring", model="digits"))
    assert "Evidence of decay 413 version 2, alarm at 100" in text
    assert "Unlike the twin 9.67 % certified at most 3.06 %" in text
    assert "300 shadowed by the twin" in text


def test_the_page_says_what_it_is_blind_to(settings: Settings) -> None:
    assert "Blind to concept shift without labels" in shown(open_app(settings, "monitoring", model="signs"))


def test_an_alarm_shows_its_cause_and_its_evidence(settings: Settings) -> None:
    text = shown(open_app(settings, "monitoring", model="digits"))
    assert "**Version 2** (now rolled back)" in text
    assert "the pruned artefact is at fault" in text
    assert "flips 29" in text


def test_the_drift_report_is_drawn_and_can_be_downloaded(settings: Settings) -> None:
    app = open_app(settings, "monitoring", model="digits")
    assert "**1** of 4 columns drifted" in shown(app)
    assert len(app.get("vega_lite_chart")) == 3  # e-value, flips, drift
    assert "Evidently" in app.download_button[0].label


def test_a_version_without_a_monitor_has_no_number_rather_than_a_wrong_one(settings: Settings) -> None:
    text = shown(open_app(settings, "monitoring", model="signs"))
    assert "Evidence of decay – version 1, no threshold" in text


def report(value: float | None) -> bytes:
    config: canonical.Json = {"column": "x.0", "method": "wasserstein", "threshold": 0.25}
    return canonical.encode({"metrics": [{"config": config, "value": value}]})


@pytest.mark.parametrize(("value", "state"), [(0.2499, "steady"), (0.25, "drifted"), (None, "drifted")])
def test_a_column_drifts_at_its_threshold_and_without_a_number(value: float | None, state: str) -> None:
    assert drifting.columns_of(report(value))[0]["state"] == state


def test_another_document_is_not_taken_for_a_drift_report() -> None:
    with pytest.raises(InvalidInputError, match="not a drift report"):
        drifting.columns_of(b'{"rows":[]}')


@pytest.mark.parametrize(("text", "value"), [("412.7", 412.7), ("inf", float("inf")), ("nan", None), (None, None)])
def test_numbers_that_travelled_as_text_come_back(text: object, value: float | None) -> None:
    assert number(text) == value
