"""Homes of a service, made once per process and copied for each test that wants one."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.document import load_policy
from pruneguard import attempts, home, lifecycle, releases
from pruneguard.ledger.keys import load_signer
from pruneguard.manifest import load_manifest
from pruneguard.search import Trial
from pruneguard.settings import Settings
from pruneguard.workload import Split

TINY = Path(__file__).parent / "tiny" / "manifest.yaml"


@dataclass(frozen=True, slots=True)
class Approved:
    """A home whose ledger holds the dense twin as release 1 and a pruned one as release 2, and rows to ask with.

    Both are approved, and nothing has served them yet.
    """

    settings: Settings
    rows: Split


def adopted(folder: Path) -> Settings:
    """A new home with four people in it and the tiny policy adopted."""
    settings = Settings(home=folder, gateway_port=0, dashboard_port=0)
    ledger = home.create(settings, admin="root", team=True)
    manifest = load_manifest(TINY)
    policy = load_policy(manifest.policy, relative_to=TINY.parent)
    grace = load_signer(settings.keys_dir / "grace.key")
    releases.adopt(ledger, home.artifacts(settings), policy=policy, signer=grace)
    ledger.close()
    return settings


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Approved:
    settings = adopted(tmp_path_factory.mktemp("made") / "var")
    ledger, artifacts = home.open_ledger(settings), home.artifacts(settings)
    manifest = load_manifest(TINY)
    policy = load_policy(manifest.policy, relative_to=TINY.parent)
    grace, ada = (load_signer(settings.keys_dir / f"{name}.key") for name in ("grace", "ada"))
    job = lifecycle.begin(manifest, policy, data_dir=Path(), ledger=ledger, artifacts=artifacts, signer=ada)
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    pruned = attempts.attempt(job, twin, data, Trial("channels", 0.5)).candidate
    for number, candidate in enumerate((twin.contender, pruned), start=1):
        _, verdict = lifecycle.judge(job, candidate, twin.contender, data)
        lifecycle.propose(job, candidate, verdict)
        releases.approve(ledger, model="tiny", number=number, reason="read the findings", signer=grace)
    lifecycle.finish(job, "proposed")
    ledger.close()
    return Approved(settings, job.snapshot.release)


@pytest.fixture
def approved(made: Approved, tmp_path: Path) -> Approved:
    """A copy, this test's own."""
    shutil.copytree(made.settings.home, tmp_path / "var")
    # What it saw is its own too: every copy goes another way from here.
    own = made.settings.model_copy(update={"home": tmp_path / "var", "held_dir": tmp_path / "held"})
    return Approved(own, made.rows)


@pytest.fixture
def ready(tmp_path: Path) -> Settings:
    """A home in which the tiny manifest can run."""
    return adopted(tmp_path / "ready")
