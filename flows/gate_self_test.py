"""The gates on trial, at regular times: networks made bad on purpose must be refused, good ones must pass.

`pruneguard gates schedule` keeps it going; on a Prefect server of your own, its scheduler can:

prefect deploy flows.gate_self_test.gate_self_test --interval 604800     # a module path, as for the other flow
"""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.engine import engine
from policies.document import load_policy
from pruneguard import files, home
from pruneguard.cli.terminal import Terminal
from pruneguard.drill import holding
from pruneguard.drill.holding import Drilling
from pruneguard.gates.exhibits import CLEAN_MIN, ArtefactTest
from pruneguard.ledger.keys import load_signer
from pruneguard.ledger.ledger import Recorded
from pruneguard.policy import Policy
from pruneguard.reporting import listener
from pruneguard.settings import Settings, load_settings

NAP_S = 60.0
"""Longest sleep: a machine that was suspended wakes up to a drill that is late by no more."""


@flow(name="gate-self-test", validate_parameters=False)
def gate_self_test(policy: str, key: str, seed: int = 1, due: datetime | None = None) -> ArtefactTest:
    """Make artefacts, bad and good; have the gates judge them; write down what they made of them.

    `due` is the moment that it is held for; None is when the flow engine had it scheduled.
    """
    drill = begin(policy, Path(key), seed, due or flow_run.scheduled_start_time)
    with closing(drill.ledger):
        test = recall(drill) or hold(drill)
        record(drill, test)
    tell(test)
    return test


@task(cache_policy=NO_CACHE)
def begin(policy: str, key: Path, seed: int, scheduled: datetime | None) -> Drilling:
    """Check all that a drill needs before minutes of work."""
    settings = load_settings()
    return holding.begin(
        load_policy(policy),
        seed=seed,
        ledger=home.open_ledger(settings),
        artifacts=home.artifacts(settings),
        signer=load_signer(key, passphrase=settings.passphrase.get_secret_value().encode()),
        scheduled=scheduled,
    )


@task(cache_policy=NO_CACHE)
def recall(drill: Drilling) -> ArtefactTest | None:
    """What a drill that was interrupted after its last step left on record."""
    return holding.recall(drill)


@task(cache_policy=NO_CACHE)
def hold(drill: Drilling) -> ArtefactTest:
    return holding.hold(drill)


@task(cache_policy=NO_CACHE)
def record(drill: Drilling, test: ArtefactTest) -> Recorded:
    return holding.record(drill, test)


def tell(test: ArtefactTest) -> None:
    """Say how a drill went; one that failed begins with ALARM, for whoever watches the output."""
    say, counts = listener.get().say, test.outline
    say(
        f"{counts['refused']} of {counts['of']} bad artefacts refused, {counts['clean_passed']} of "
        f"{counts['clean_of']} clean ones passed"
    )
    if not test.passed:
        let = ", ".join(each.exhibit.name for each in test.bad if not each.refused)
        say(
            f"ALARM  the gates of {test.policy.name} {test.policy.version} "
            + (
                f"let pass what they must refuse: {let}"
                if let
                else f"refuse more than {1 - CLEAN_MIN:.0%} of good ones"
            )
            + "; trust no verdict under it until it is known why"
        )


def main(settings: Settings, *, policy: str, key: Path, seed: int, every: timedelta) -> int:
    """`pruneguard gates schedule`: drill at every due moment until somebody stops it, or a drill fails: then 1.

    What is due is asked of the ledger, so a drill that was missed, or killed half-way, is made up for at once.
    """
    home.open_ledger(settings, verify=True).close()  # an edited ledger stops here, before any work
    drill = begin.fn(policy, key, seed, None)  # so do most mistakes: the engine takes seconds to start
    drill.ledger.close()
    lock = files.held(settings.home / "gates.lock", what=f"a schedule drills gates on {settings.home}")
    with Terminal() as terminal, lock, engine():
        terminal.step(f"the gates of {drill.policy.name} are drilled, until Ctrl-C")
        while True:
            if (due := outstanding(settings, drill.policy, every)) is not None:
                terminal.say(f"due {due:%Y-%m-%d %H:%M} UTC")
                if not gate_self_test(policy, str(key), seed, due).passed:
                    return 1
            until = holding.last_due(every, datetime.now(UTC)) + every
            terminal.say(f"next {until:%Y-%m-%d %H:%M} UTC")
            while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
                time.sleep(min(left, NAP_S))


def outstanding(settings: Settings, policy: Policy, every: timedelta) -> datetime | None:
    with closing(home.read_ledger(settings)) as ledger:
        return holding.outstanding(ledger.state(), policy.digest, every=every, now=datetime.now(UTC))
