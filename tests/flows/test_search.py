"""`pruneguard search` as people start it: what it tries, what it says, and what a kill leaves."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from pruneguard.settings import Settings
from tests.flows.children import command, descendants, done, wait_for
from tests.flows.conftest import TINY
from tests.flows.test_resume import counted, events

pytestmark = pytest.mark.slow


def test_a_search_killed_between_making_and_judging_goes_on_and_a_run_repeats_none_of_it(ready: Settings) -> None:
    for after in ("model.trained", "model.pruned"):
        with command("search", str(TINY), settings=ready) as process:
            wait_for(lambda after=after, process=process: process.poll() is not None or counted(ready)[after] > 0)
            helpers = descendants(process)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert not psutil.wait_procs(helpers, timeout=30)[1]

    code, output = done("search", str(TINY), settings=ready)

    assert code == 0, output
    assert "goes on where it stopped" in output
    assert "next: pruneguard run" in output
    once = counted(ready)
    assert once["release.proposed"] == once["run.finished"] == 0  # the release split is closed, the run open
    assert all(event.data["split"] == "gate" for event in events(ready) if event.type == "verdict.given")
    steps = [event.causation for event in events(ready) if event.type in ("model.pruned", "verdict.given")]
    assert len(steps) == len(set(steps))
    assert sorted(page.name for page in ready.searches.iterdir()) == ["tiny-1-data.html", "tiny-1.html"]

    code, output = done("run", str(TINY), settings=ready)

    assert code == 0, output
    found = counted(ready)
    kept = ("run.started", "data.admitted", "model.trained", "model.pruned")
    assert {name: found[name] for name in kept} == {name: once[name] for name in kept}
    assert found["release.proposed"] == 2


def test_a_policy_that_nothing_meets_ends_with_1_the_nearest_candidate_and_its_gate(
    ready: Settings, tmp_path: Path
) -> None:
    (tmp_path / "workload.py").write_bytes((TINY.parent / "workload.py").read_bytes())
    strict = (TINY.parent / "policy.yaml").read_text().replace("version: 1", "version: 2") + (
        "  - {measurement: efficiency.size_ratio, gate: at_most, limit: 0.01, subject: pruned,\n"
        "     because: It must fit a stamp., remedy: Ask for less.}\n"
    )
    (tmp_path / "policy.yaml").write_text(strict)
    recipes = "recipes:\n  narrow: [{prune: channels}]\n  heads: [{prune: heads}]\n"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(TINY.read_text() + recipes)
    assert done("approve", "--policy", str(tmp_path / "policy.yaml"), settings=ready)[0] == 0

    code, output = done("search", str(manifest), "--json", settings=ready)

    assert code == 1, output
    assert "no pruned version passes; narrow at 50 % came nearest, and 'efficiency.size_ratio' stopped it" in output
    assert "Ask for less." in output
    assert "Traceback" not in output
    found = json.loads(output[output.index("\n{\n") :])  # the story goes to the other output, which is the same here
    assert found["chosen"] is None
    assert (found["nearest"]["recipe"], found["nearest"]["ratio"]) == ("narrow", 0.5)
    assert found["full_evaluations"] == 0
    told = {each["recipe"]: each["why"] for each in found["candidates"]}
    assert "efficiency.size_ratio" in told["narrow"]
    assert "no heads" in told["heads"]
    assert counted(ready)["release.proposed"] == 0
    assert "It must fit a stamp." not in (ready.searches / "tiny-1.html").read_text()
    assert "no heads" in (ready.searches / "tiny-1.html").read_text()
