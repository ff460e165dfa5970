"""`pruneguard gates schedule` as people start it: what it records, what a kill leaves, and how a failure ends it."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from policies.document import load_policy
from pruneguard import home, releases
from pruneguard.gates.exhibits import ArtefactTest
from pruneguard.ledger.keys import load_signer
from pruneguard.ledger.state import Drill
from pruneguard.settings import Settings
from tests.flows.children import SECONDS_MAX, command, descendants, done, said
from tests.flows.conftest import TINY
from tests.flows.hasty import BAD

pytestmark = pytest.mark.slow

HASTY = "tests.flows.hasty"
WORDS = ("gates", "schedule", "--policy", str(TINY.parent / "policy.yaml"), "--every", "999d")


def drills(settings: Settings) -> list[Drill]:
    ledger = home.read_ledger(settings, verify=True)
    state = ledger.state()
    ledger.close()
    assert state.violations == []
    return state.drills


@pytest.fixture
def killed(ready: Settings) -> Settings:
    """A home in which a schedule was killed in the middle of its first drill."""
    with command(*WORDS, settings=ready, module=HASTY) as process:
        said(process, "due ")
        helpers = descendants(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not psutil.wait_procs(helpers, timeout=30)[1]
    assert drills(ready) == []
    return ready


def test_a_drill_killed_half_way_is_made_up_for_and_recorded_once(killed: Settings) -> None:
    with command(*WORDS, settings=killed, module=HASTY) as process:
        lines = said(process, "next ")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 130, output
    assert "  1 of 1 bad artefacts refused, 1 of 1 clean ones passed" in lines
    (drill,) = drills(killed)
    assert (drill.refused, drill.of, drill.clean_passed, drill.clean_of, drill.by) == (1, 1, 1, 1, "ada")
    policy = load_policy(TINY.parent / "policy.yaml")
    report = ArtefactTest.decode(home.artifacts(killed).get(drill.report), policy=policy)
    assert [each.exhibit.name for each in report.bad] == [BAD]

    with command(*WORDS, settings=killed, module=HASTY) as process:
        assert not [line for line in said(process, "next ") if "due " in line]  # held already
    assert drills(killed) == [drill]


def test_gates_that_let_a_bad_network_pass_end_the_schedule_with_1_and_an_alarm(
    ready: Settings, tmp_path: Path
) -> None:
    lax = tmp_path / "lax.yaml"
    lax.write_text((TINY.parent / "policy.yaml").read_text().replace("policy: tiny", "policy: lax"))
    lax.write_text(lax.read_text().replace("margin: 0.2", "margin: 0.99"))
    grace = load_signer(ready.keys_dir / "grace.key")
    ledger = home.open_ledger(ready)
    releases.adopt(ledger, home.artifacts(ready), policy=load_policy(lax), signer=grace)
    ledger.close()
    code, output = done("gates", "schedule", "--policy", str(lax), settings=ready, module=HASTY)
    assert code == 1, output
    assert f"ALARM  the gates of lax 1 let pass what they must refuse: {BAD}" in output
    (drill,) = drills(ready)  # what failed is on record as well
    assert (drill.refused, drill.of) == (0, 1)
    code, output = done("gates", "test", "--policy", str(lax), "--json", settings=ready)
    assert json.loads(output)["artefacts"] is None
