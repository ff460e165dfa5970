"""What a person sees, in Chromium over the real server."""

from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.ledger.state import Status
from pruneguard.settings import Settings
from tests.dashboards.browser import CHROMIUM, settle, tour, visitor
from tests.dashboards.served import dashboard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}"),
]

TOLD = {
    "fleet": ("Needs somebody", "rolled back", "awaiting approval", "grace"),
    "model": ("What pruning cost", "train longer", "Rejected candidates, with every reason", "steps prune channels"),
    "monitoring": ("alarm at 100", "certified at most 3.06 %", "Blind to concept shift without labels"),
    "releases": ("there is no earlier one to return to", "release.rolled_back", "twin disagreement"),
    "audit_trail": ("self-signed only", "Verify now", "hashes lead from their leaf to the root"),
}


def test_every_page_shows_real_content_and_fetches_nothing_from_elsewhere(settings: Settings, tmp_path: Path) -> None:
    with dashboard(settings) as address:
        seen = tour(address, tmp_path, model="digits")
    assert seen.keys() == TOLD.keys()
    for name, page in seen.items():
        assert page.picture.stat().st_size > 20_000
        assert not page.foreign
        for text in TOLD[name]:
            assert text in page.text, name


def test_an_operator_rolls_back_with_a_reason(settings: Settings) -> None:
    with dashboard(settings) as address, visitor() as tab:
        tab.goto(f"{address}/releases?model=voice")
        settle(tab)
        tab.get_by_label("Operator (who you are)").click()
        tab.get_by_role("option", name="otto").click()
        tab.get_by_label("Reason (recorded for good)").fill("errors in the log")
        tab.get_by_role("button", name="Roll back to version 1").click()
        tab.get_by_text("Version 2 was rolled back; version 1 answers.").wait_for()
    ledger = home.read_ledger(settings)
    assert ledger.state().models["voice"].releases[2].status is Status.ROLLED_BACK
    ledger.close()
