from pathlib import Path

import numpy as np
import pytest

from policies.document import load_policy
from pruneguard import home, lifecycle
from pruneguard.analysis import subject as subjects
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.keys import load_signer
from pruneguard.manifest import load_manifest
from pruneguard.reporting import Quiet, listener
from tests.flows.conftest import TINY, adopted


class Heard(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_the_twin_of_a_run_is_taken_up_and_nothing_is_recorded(tmp_path):
    settings, manifest = adopted(tmp_path / "var"), load_manifest(TINY)
    ledger, artifacts = home.open_ledger(settings), home.artifacts(settings)
    policy = load_policy(manifest.policy, relative_to=TINY.parent)
    ada = load_signer(settings.keys_dir / "ada.key")
    job = lifecycle.begin(manifest, policy, data_dir=Path(), ledger=ledger, artifacts=artifacts, signer=ada)
    lifecycle.admit(job)
    twin, size = lifecycle.train(job), ledger.size
    heard = Heard()
    token = listener.set(heard)
    try:
        found = subjects.subject(manifest, settings)
    finally:
        listener.reset(token)
    assert found.twin.digest == twin.digest
    assert heard.lines == ["the twin is the one that run tiny-1 trained"]
    assert not found.twin.model.training
    assert found.accuracy > 0.8
    assert ledger.size == size
    ledger.close()


def test_the_rows_are_those_of_the_gate_split(tiny):
    assert tiny.rows is tiny.snapshot.gate
    assert tiny.accuracy == np.mean(tiny.right)
    assert tiny.compared(tiny.twin.model).discordance == 0


def test_a_recipe_that_the_manifest_has_not_is_refused(tiny):
    assert tiny.recipe("channels") == tiny.manifest.recipes[0]
    with pytest.raises(InvalidInputError, match=r"expected one of \['channels'\], found 'chanels'"):
        tiny.recipe("chanels")


def test_ratios_are_taken_in_order_and_once():
    assert subjects.require_ratios([0.5, 0.25, 0.5]) == (0.25, 0.5)
