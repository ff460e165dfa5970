import pytest

from pruneguard.settings import Settings
from tests.dashboards.stage import open_app, shown


def test_a_rejected_candidate_shows_every_reason(settings: Settings) -> None:
    text = shown(open_app(settings, "model", model="digits"))
    rejected = text[text.index(":red-badge[✕ rejected] `") :]
    for rule in ("**accuracy** (failed)", "**as good as the twin** (failed)", "**in every class** (failed)"):
        assert rule in rejected
    assert "required" in rejected.partition("**as good as the twin**")[0]


def test_findings_say_what_was_seen_required_and_what_would_flip_it(settings: Settings) -> None:
    app = open_app(settings, "model", model="digits")
    findings = app.table[1].value
    assert list(findings.columns) == ["Outcome", "Rule", "Observed", "Required", "What would flip it", "What to do"]
    assert len(findings) == 5
    assert "failed" in findings["Outcome"][0]  # objections first
    assert "train longer" in findings["What to do"][0]


def test_any_verdict_can_be_opened(settings: Settings) -> None:
    app = open_app(settings, "model", model="digits")
    choice = app.selectbox[1]
    passed = next(option for option in choice.options if "version 2" in option)
    choice.select(passed).run()
    assert all("passed" in outcome for outcome in app.table[1].value["Outcome"])


def test_versions_show_their_numbers_with_units(settings: Settings) -> None:
    versions = open_app(settings, "model", model="digits").table[0].value
    assert versions["Parameters kept"][0] == "27.0 %"
    assert versions["File"][0] == "24.8 kB"
    assert versions["Latency / twin's"][0] == "0.61 × [0.59,\xa00.63]"


def test_the_lineage_leads_from_twin_to_candidate(settings: Settings) -> None:
    lineage = open_app(settings, "model", model="digits").table[-1].value
    assert len(lineage) == 3
    assert list(lineage["Version"]) == ["–", "2", "–"]
    assert "ratio 0\\.75" in lineage["How it was cut"][0]


def test_the_page_about_the_data_is_at_hand(settings: Settings) -> None:
    app = open_app(settings, "model", model="digits")
    assert "Newest snapshot: " in shown(app)
    assert [button.proto.label for button in app.get("download_button")] == ["Download what was found in it"]


def test_an_unknown_model_in_the_address_is_said(settings: Settings) -> None:
    app = open_app(settings, "model", model="nobody")
    assert "No model nobody" in app.warning[0].value


def test_a_lost_verdict_is_a_warning_and_the_rest_of_the_page_stands(settings: Settings) -> None:
    for file in (settings.home / "artifacts" / "sha256").rglob("*"):
        if file.is_file() and b'"kind":"verdict/v1"' in file.read_bytes():
            file.unlink()
    app = open_app(settings, "model", model="digits")
    assert "restore it from a backup" in app.warning[0].value
    assert "Lineage" in shown(app)


@pytest.mark.parametrize("page", ["model", "monitoring", "releases"])
def test_a_page_about_a_model_says_what_to_do_when_there_is_none(empty: Settings, page: str) -> None:
    assert "No model yet" in shown(open_app(empty, page))
