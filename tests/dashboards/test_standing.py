import pytest

from dashboards.standing import Standing, assess, awaits
from pruneguard.ledger.state import Alarm, Model, Person, Release, Role, State, Status


def release(number: int, status: Status, *, share: float = 0.0, makers: frozenset[str] = frozenset({"ada"})) -> Release:
    return Release(
        number=number,
        model="m",
        digest="sha256:" + "0" * 64,
        twin="sha256:" + "1" * 64,
        verdict="v",
        policy="p",
        author="ada",
        makers=makers,
        status=status,
        proposed_at="2026-01-05T09:00:00Z",
        share=share,
    )


def model(*releases: Release, alarms: tuple[int, ...] = ()) -> Model:
    raised = [Alarm("e", "m", number, "twin disagreement", "artefact", "2026-01-05T09:00:00Z", {}) for number in alarms]
    return Model("m", {r.number: r for r in releases}, alarms=raised)


LIVE = release(1, Status.LIVE, share=1.0)


@pytest.mark.parametrize(
    ("subject", "standing"),
    [
        (model(), Standing.NO_RELEASE),
        (model(LIVE), Standing.HEALTHY),
        (model(LIVE, alarms=(1,)), Standing.DECAYED),
        (model(LIVE, release(2, Status.ROLLED_BACK), alarms=(2,)), Standing.ROLLED_BACK),
        (model(release(1, Status.ROLLED_BACK)), Standing.NOTHING_LIVE),
        (model(LIVE, release(2, Status.PROPOSED)), Standing.AWAITING_APPROVAL),
        (model(LIVE, release(2, Status.APPROVED)), Standing.APPROVED),
        (model(LIVE, release(2, Status.CANARY, share=0.1)), Standing.CANARY),
        (model(LIVE, release(2, Status.CANARY, share=0.1), alarms=(2,)), Standing.DECAYED),
        # An approval that waits is no reason to hide an alarm about what answers now.
        (model(LIVE, release(2, Status.PROPOSED), alarms=(1,)), Standing.DECAYED),
        # The alarm was about a version that no longer answers.
        (model(release(1, Status.RETIRED), release(2, Status.LIVE, share=1.0), alarms=(1,)), Standing.HEALTHY),
    ],
)
def test_each_state_of_a_model_has_its_standing(subject: Model, standing: Standing) -> None:
    assert assess(State(models={"m": subject}), subject).standing is standing


def test_those_who_made_a_release_are_not_asked_to_approve_it() -> None:
    people = {name: Person(name, name, "", frozenset({Role.APPROVER})) for name in ("ada", "grace")}
    assert awaits(State(people=people), release(2, Status.PROPOSED)) == "version 2 needs 1 approval from: grace"


def test_a_release_that_nobody_can_approve_says_so() -> None:
    assert "register an approver" in awaits(State(), release(2, Status.PROPOSED))
