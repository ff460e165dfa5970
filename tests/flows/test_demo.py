"""The demo as a person sees it: started as a child process, read, visited in a browser, and ended with Ctrl-C."""

import csv
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from pruneguard import cli, home
from pruneguard.settings import Settings
from tests.dashboards.browser import CHROMIUM, Seen, tour
from tests.flows.children import command, descendants, said

pytestmark = pytest.mark.slow

STEPS = ("1 admit", "2 train", "3 search", "4 judge", "5 release", "6 decay", "7 export")
CHECKS = ("1 admit", "2 train", "3 search", "4 judge", "5 approve", "5 release", "6 decay", "7 export")


@dataclass(frozen=True, slots=True)
class Shown:
    """What one demo showed. `code` is its exit code after Ctrl-C, `left` who still ran then."""

    settings: Settings
    lines: list[str]
    addresses: dict[str, str]
    metrics: str
    pages: dict[str, Seen]
    code: int
    left: list[psutil.Process]

    def table(self) -> dict[str, tuple[str, str]]:
        """The outcome, line by line: the step, its mark and its result."""
        told: dict[str, tuple[str, str]] = {}
        for line in self.lines:
            if line.startswith("│"):
                step, mark, result = (cell.strip() for cell in line.split("│")[1:-1])
                if not step:  # the line before was too long for its column
                    step, (mark, begun) = told.popitem()
                    result = f"{begun} {result}"
                told[step] = mark, result
        return told


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo")
    settings = Settings(home=folder / "var", gateway_port=0, dashboard_port=0)
    with command("demo", settings=settings, PREFECT_HOME=str(folder / "prefect")) as process:
        lines = said(process, "dashboard  http")
        addresses = dict(line.split() for line in lines[-3:])
        metrics = httpx.get(addresses["metrics"]).text
        pages = tour(addresses["dashboard"], folder / "pages", model="digits") if CHROMIUM.exists() else {}
        children = descendants(process)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        left = psutil.wait_procs(children, timeout=10)[1]
        return Shown(settings, [*lines, *rest.splitlines()], addresses, metrics, pages, process.returncode, left)


def test_every_step_is_told_in_order(shown: Shown) -> None:
    told = [line for line in shown.lines if re.match(r"\d \w+", line)]
    assert [line.partition(":")[0] for line in told] == list(STEPS)


def test_every_line_of_the_outcome_says_ok(shown: Shown) -> None:
    assert {step: mark for step, (mark, _) in shown.table().items()} == dict.fromkeys(CHECKS, "ok")


def test_an_overpruned_candidate_is_let_go_at_its_first_certain_failure_and_told_why(shown: Shown) -> None:
    at = next(index for index, line in enumerate(shown.lines) if "REJECTED" in line)
    reason = shown.lines[at + 1]
    assert re.match(r"\s+(failed|underpowered)\s", reason)
    assert ", required " in reason
    assert list(shown.settings.home.rglob("searches/digits-1.html"))


def test_decay_is_alarmed_and_rolled_back_without_a_failed_request(shown: Shown) -> None:
    result = shown.table()["6 decay"][1]
    assert re.fullmatch(r"alarm after \d+ requests, old version back in \d\.\d\d s, 0 failed", result)


def test_nothing_but_the_story_is_printed(shown: Shown) -> None:
    text = "\n".join(shown.lines)
    assert "\x1b" not in text
    for foreign in ("Traceback", "INFO", "DEBUG", "prefect", "uvicorn", "streamlit", "Warning:"):
        assert foreign not in text, foreign


def test_metrics_show_that_version_1_is_live_again(shown: Shown) -> None:
    assert 'pruneguard_live_version{model="digits"} 1.0' in shown.metrics
    assert 'pruneguard_decay_alarm{model="digits",version="2"} 1.0' in shown.metrics


def test_the_bundle_verifies_and_its_changed_copy_does_not(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle,) = shown.settings.home.rglob("*-audit.tar")
    assert cli.main(["audit", "verify", str(bundle)]) == 0
    assert ": verified; guarantee: " in capsys.readouterr().out
    assert cli.main(["audit", "verify", str(bundle.with_suffix(".tampered.tar"))]) >= 10
    assert "FAIL" in capsys.readouterr().out


def test_the_bundle_verifies_with_the_program_in_it_and_nothing_but_python(shown: Shown, tmp_path: Path) -> None:
    (bundle,) = shown.settings.home.rglob("*-audit.tar")
    with tarfile.open(bundle) as tar:
        tar.extract("tools/verify.py", tmp_path, filter="data")
    alone = [sys.executable, "-I", "-S", str(tmp_path / "tools" / "verify.py"), str(bundle)]
    ran = subprocess.run(alone, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert ": verified; guarantee: " in ran.stdout


def test_the_bundle_fills_every_control_that_needs_no_person_and_half_of_those_that_need_one_too(shown: Shown) -> None:
    (bundle,) = shown.settings.home.rglob("*-audit.tar")
    with tarfile.open(bundle) as archive:
        table = archive.extractfile("compliance/nist-ai-rmf/controls.csv")
        assert table is not None
        rows = list(csv.DictReader(io.StringIO(table.read().decode())))
    half = Counter((row["class"], row["state"], row["service's half"]) for row in rows)
    assert half == {("A", "evidenced", "evidenced"): 21, ("S", "partial", "evidenced"): 37, ("M", "none", "none"): 14}


def test_ctrl_c_ends_it_with_0_and_leaves_nothing_behind(shown: Shown) -> None:
    assert shown.code == 0
    assert not shown.left
    for address in shown.addresses.values():
        place = urlsplit(address)
        with pytest.raises(ConnectionRefusedError), socket.create_connection((place.hostname, place.port)):
            pytest.fail(f"something answers on {address}")


@pytest.fixture
def pages(shown: Shown) -> dict[str, Seen]:
    if not shown.pages:
        pytest.skip(f"no Chromium at {CHROMIUM}")
    return shown.pages


def test_each_page_of_the_dashboard_shows_what_the_demo_did(shown: Shown, pages: dict[str, Seen]) -> None:
    demo = shown.settings.model_copy(update={"home": shown.settings.home / "demo"})
    ledger = home.read_ledger(demo, verify=True)
    dense, pruned = (release.digest[7:19] for release in ledger.state().models["digits"].releases.values())
    ledger.close()
    told = {
        "fleet": ("digits", "rolled back", "Version 2 was taken out of traffic, version 1 answers", dense),
        "model": ("rules of policy digits version 1 hold", "ratio 0.7", "robustness.fgsm.paired", dense, pruned),
        "monitoring": ("alarm at 100", "the pruned artefact is at fault", "of 7 columns drifted"),
        "releases": ("version 2 rolled back to version 1", "grace (signed)", "there is no earlier one", dense, pruned),
        "audit_trail": ("release.rolled_back", "released, and rolled back in a drill", "self-signed only"),
    }
    assert pages.keys() == told.keys()
    for name, texts in told.items():
        for text in texts:
            assert text in pages[name].text, name


def test_no_page_asks_anybody_else(pages: dict[str, Seen]) -> None:
    assert {url for page in pages.values() for url in page.foreign} == set()


def test_the_pictures_are_real_and_can_be_kept(pages: dict[str, Seen]) -> None:
    for name, page in pages.items():
        assert page.picture.stat().st_size > 10_000, name
        if "SCREENSHOTS" in os.environ:  # no prefix: a PRUNEGUARD_ variable that is no setting stops the service
            shutil.copyfile(page.picture, Path(os.environ["SCREENSHOTS"]) / f"{name}.png")
