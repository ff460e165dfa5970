"""Runs, verdicts, waivers, releases: what may be released, by whom, and who may not agree to it."""

from typing import Any

import pytest

from pruneguard.audit.standalone import verify as standalone
from pruneguard.ledger import rules
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.state import Assurance, Status
from tests.ledger.making import ROWS, SLIM, STUMP, TWIN, Log, digest, later, says, started

NO = {"speed": "failed"}


@pytest.fixture
def log() -> Log:
    return started()


# -- runs


def test_an_approver_does_not_start_runs(log: Log) -> None:
    assert log.start("r2", by="grace") == ["run.started: 'grace' is not an engineer"]


def test_a_run_starts_once_and_ends_once(log: Log) -> None:
    assert log.start() == ["run.started: run 'r1' exists already"]
    assert not log.work("run.finished", {}, outcome="done")
    assert log.work("run.finished", {}, outcome="done")
    assert any("ended" in why for why in log.work("data.admitted", {"data": ROWS, "evidence": "e"}))


def test_work_belongs_to_its_run(log: Log) -> None:
    assert says(log.work("data.admitted", {"data": ROWS, "evidence": "e"}, run="r9"), "no run 'r9'")
    assert not log.start("r2", model="faces")
    why = log.act("data.admitted", "ada", {"data": ROWS, "evidence": "e"}, run="r2", model="digits")
    assert says(why, "is about 'faces', not 'digits'")


def test_nobody_but_an_engineer_works_on_a_run(log: Log) -> None:
    """Else a word of anybody's would make an approver a maker, and so unable to approve."""
    log.make(TWIN)
    why = log.work("model.trained", {"model": SLIM, "data": ROWS}, by="grace")
    assert why == ["model.trained: 'grace' is not an engineer"]
    assert log.state.runs["r1"].makers == {"ada"}


def test_a_model_is_made_of_what_is_on_record(log: Log) -> None:
    log.make(TWIN)
    why = log.work("model.trained", {"model": SLIM, "data": "rows from nowhere"})
    assert says(why, f"no run on record made the data {digest('rows from nowhere')}")
    refs = {"model": SLIM, "parent": "a dense one from nowhere", "data": ROWS, "lineage": "l"}
    assert says(log.work("model.pruned", refs, recipe={}), "no run on record made the parent")


@pytest.mark.parametrize(
    ("refused", "of", "words"), [(3, 2, "3 refused of 2"), (0, 0, "of is 0"), (-1, 2, "refused is")]
)
def test_a_self_test_is_a_number_of_a_number(log: Log, refused: int, of: int, words: str) -> None:
    refs = {"policy": "policy", "report": "report"}
    assert says(log.work("gates.self_tested", refs, refused=refused, of=of), words)
    assert not log.work("gates.self_tested", refs, refused=2, of=2)
    assert [(test.refused, test.of) for test in log.state.self_tests] == [(2, 2)]


@pytest.mark.parametrize(
    ("by", "policy", "told", "words"),
    [
        ("grace", "policy", {}, "'grace' is not an engineer"),
        ("ada", "mine", {}, "was never adopted"),
        ("ada", "policy", {"refused": 27}, "27 bad artefacts refused of 26"),
        ("ada", "policy", {"clean_passed": 21}, "21 clean artefacts passed of 20"),
        ("ada", "policy", {"of": 0}, "of is 0"),
        ("ada", "policy", {"clean_of": 0}, "clean_of is 0"),
    ],
)
def test_a_drill_is_an_engineers_and_two_numbers_of_two(
    log: Log, by: str, policy: str, told: dict[str, int], words: str
) -> None:
    counts = {"refused": 25, "of": 26, "clean_passed": 20, "clean_of": 20}
    assert says(log.act("gates.drilled", by, {"policy": policy, "report": "report"}, **counts | told), words)
    assert not log.act("gates.drilled", "ada", {"policy": "policy", "report": "report"}, **counts)
    assert [(drill.refused, drill.of, drill.by) for drill in log.state.drills] == [(25, 26, "ada")]


def test_a_drill_carries_its_engineers_signature(log: Log) -> None:
    counts = {"refused": 1, "of": 1, "clean_passed": 1, "clean_of": 1}
    why = log.act("gates.drilled", "ada", {"policy": "policy", "report": "r"}, clicked=True, **counts)
    assert says(why, "only a person's own signature makes this event")


# -- verdicts


@pytest.mark.parametrize("unknown", ["model", "parent", "data"])
def test_a_verdict_is_about_what_a_run_on_record_made(log: Log, unknown: str) -> None:
    log.make(SLIM)
    why = log.judge(SLIM, "v1", **{unknown: "from nowhere"})
    assert says(why, f"made the {unknown} {digest('from nowhere')}")


def test_a_verdict_rests_on_an_adopted_policy(log: Log) -> None:
    assert says(log.judge(SLIM, "v1", policy="mine"), "never adopted")


def test_a_verdict_does_not_rest_on_a_policy_that_waits_for_a_second_person() -> None:
    log = started(approvals_min=2)
    assert not log.adopt("looser", version=2)
    assert says(log.judge(SLIM, "v1", policy="looser"), "waits for another person")
    assert not log.adopt("looser", version=2, by="gil")
    assert not log.judge(SLIM, "v1", policy="looser")


def test_a_verdict_on_a_replaced_policy_releases_nothing(log: Log) -> None:
    log.judge(SLIM, "v1")
    assert not log.adopt("stricter", version=2)
    assert says(log.propose(SLIM, "v1", 1), "'p' version 2 has replaced")


def test_a_policy_is_never_replaced_in_hindsight(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.adopt("stricter", version=2, approvals_min=2)
    assert not log.approve(SLIM, 1)
    assert log.statuses == {1: Status.APPROVED}


@pytest.mark.parametrize(
    ("passed", "rules", "objections"),
    [
        (True, 2, NO),
        (False, 2, {}),
        (True, 0, {}),
        ("true", 2, {}),
        (1, 2, {}),
        (False, 1, {"a": "failed", "b": "failed"}),
    ],
)
def test_a_verdict_passes_exactly_where_rules_were_checked_and_none_objects(
    log: Log, passed: Any, rules: int, objections: dict[str, str]
) -> None:
    log.make(SLIM)
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": "policy", "verdict": "v1", "evidence": ["e"]}
    told = {"split": "release", "passed": passed, "rules": rules, "objections": objections}
    assert len(log.work("verdict.given", refs, **told)) == 1
    assert log.propose(SLIM, "v1", 1)


@pytest.mark.parametrize("objections", [["speed: failed"], {"speed": "passed"}, {" ": "failed"}, {"speed": ["failed"]}])
def test_an_objection_is_a_rule_and_its_outcome(log: Log, objections: Any) -> None:
    log.make(SLIM)
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": "policy", "verdict": "v1", "evidence": ["e"]}
    told = {"split": "release", "passed": False, "rules": 4, "objections": objections}
    assert says(log.work("verdict.given", refs, **told), "objections is")


# -- waivers


def waived(log: Log, **how: Any) -> list[str]:
    log.judge(SLIM, "w1", objections=NO)
    return log.waive(SLIM, "w1", **how)


def test_a_failed_candidate_is_released_on_a_waiver_and_stays_failed(log: Log) -> None:
    log.judge(SLIM, "w1", objections=NO)
    assert says(log.propose(SLIM, "w1", 1), "the verdict is a no: speed: failed")
    assert not log.waive(SLIM, "w1")
    assert not log.propose(SLIM, "w1", 1)
    release = log.state.models["digits"].releases[1]
    assert release.waivers == ("speed",)
    assert not log.state.models["digits"].by_digest[release.verdict].passed
    assert not log.approve(SLIM, 1)
    assert not log.shift(SLIM, 1)


def test_every_objection_needs_its_own_waiver(log: Log) -> None:
    log.judge(SLIM, "w1", objections={"speed": "failed", "size": "underpowered"})
    assert not log.waive(SLIM, "w1", "speed", before="8/10", after="9/10")
    assert says(log.propose(SLIM, "w1", 1), "the verdict is a no: size: underpowered")
    assert not log.waive(SLIM, "w1", "size", before="8/10", after="9/10")
    assert not log.propose(SLIM, "w1", 1)


def test_what_was_not_measured_is_never_waived(log: Log) -> None:
    log.judge(SLIM, "w1", objections={"speed": "no evidence"})
    assert says(log.waive(SLIM, "w1"), "no evidence on 'speed'")


def test_a_waiver_from_when_a_rule_was_measured_does_not_stand_for_evidence_that_is_missing_now(log: Log) -> None:
    assert not waived(log)
    log.judge(SLIM, "w2", objections={"speed": "no evidence"})
    assert says(log.propose(SLIM, "w2", 1), "the verdict is a no: speed: no evidence")
    second = standalone.Fold()
    wrong = [list(filter(None, found)) for found in map(second.take, map(standalone.parse_entry, log.entries))]
    assert [any(found) for found in wrong] == [False] * (len(wrong) - 1) + [True]
    assert not log.propose(SLIM, "w1", 1)


def test_a_waiver_under_one_policy_is_none_under_another_that_allows_none(log: Log) -> None:
    assert not waived(log)
    assert not log.adopt("strict", name="strict", waivers=False)
    log.judge(SLIM, "w2", objections=NO, policy="strict")
    assert says(log.propose(SLIM, "w2", 1), "the verdict is a no: speed: failed")
    given = log.state.models["digits"].by_digest
    assert [set(log.state.taken_on(given[digest(name)])) for name in ("w1", "w2")] == [{"speed"}, set()]


def test_a_waiver_is_for_a_rule_that_objects(log: Log) -> None:
    assert says(waived(log, rule="accuracy"), "does not object to 'accuracy'; its objections are ['speed']")


def test_a_waiver_is_for_one_exact_candidate(log: Log) -> None:
    log.judge(SLIM, "w1", objections=NO)
    log.judge(STUMP, "v2", objections=NO)
    assert says(log.waive(STUMP, "w1"), "the verdict is about")
    assert not log.waive(SLIM, "w1")
    assert says(log.propose(STUMP, "v2", 1), "the verdict is a no")


def test_a_waiver_is_not_for_a_verdict_of_the_search(log: Log) -> None:
    log.judge(SLIM, "w1", objections=NO, split="gate")
    assert says(log.waive(SLIM, "w1"), "only the release split")


def test_a_waiver_is_for_a_verdict_on_record(log: Log) -> None:
    assert says(log.waive(SLIM, "w1"), "no verdict")


@pytest.mark.parametrize("by", ["ada", "otto", "root", "iris"])
def test_nobody_but_an_approver_waives(log: Log, by: str) -> None:
    assert any(f"{by!r} is not an approver" in why for why in waived(log, by=by))


def test_nobody_waives_what_they_made_under_any_account(log: Log) -> None:
    assert not log.register("ada-too", "approver", person="ada")
    assert says(waived(log, by="ada-too"), "made this candidate")


def test_a_waiver_is_signed(log: Log) -> None:
    assert says(waived(log, clicked=True), "only a person's own signature")


def test_a_policy_can_refuse_waivers() -> None:
    assert says(waived(started(waivers=False)), "the policy 'p' allows no waivers")


@pytest.mark.parametrize(("days", "allowed"), [(90, True), (90.00001, False), (0.00001, True), (0, False), (-1, False)])
def test_a_waiver_ends_after_now_and_within_90_days(log: Log, days: float, allowed: bool) -> None:
    log.judge(SLIM, "w1", objections=NO)
    time = later(utc(log.now), minutes=5)
    why = log.waive(SLIM, "w1", time=time, expires=later(time, days=days))
    assert why == [] if allowed else says(why, "by at most 90 days")


def test_a_waiver_cannot_be_stretched_by_setting_a_clock_back(log: Log) -> None:
    log.judge(SLIM, "w1", objections=NO)
    now = log.state.clock
    expired = later(now, days=-1)
    assert says(log.waive(SLIM, "w1", time=later(now, days=-2), expires=expired), "by at most 90 days")


@pytest.mark.parametrize(
    "expires",
    [
        "2026-02-01T00:00:00Z",
        "2026-02-01T00:00:00.000000+00:00",
        "2026-02-01T00:00:00.000000",
        "2026-02-01T00:00:00.000000z",
        "2026-02-01 00:00:00.000000Z",
        "2026-02-30T00:00:00.000000Z",
        "2026-02-01T24:00:00.000000Z",
        "\uff12026-02-01T00:00:00.000000Z",
        None,
        1770000000,
    ],
)
def test_an_expiry_is_in_utc_and_says_so(log: Log, expires: object) -> None:
    assert says(waived(log, expires=expires), "expected a UTC time like")


@pytest.mark.parametrize(
    ("before", "after"), [("9/10", "9/10"), ("8/10", "10/10"), ("9/9", "10/10"), ("10/10", "11/10"), ("9/10", "10/11")]
)
def test_a_waiver_tells_the_score_without_and_with_it(log: Log, before: str, after: str) -> None:
    assert says(waived(log, before=before, after=after), "are ('9/10', '10/10')")


@pytest.mark.parametrize("field", ["reason", "control"])
def test_a_waiver_has_a_reason_and_a_compensating_control(log: Log, field: str) -> None:
    assert says(waived(log, **{field: " "}), f"{field} is ' '")


def test_nobody_extends_their_own_waiver(log: Log) -> None:
    assert not waived(log)
    assert not log.register("grace-2", "approver", person="grace")
    for by in ("grace", "grace-2"):
        assert says(log.waive(SLIM, "w1", by=by), "somebody else must extend it")
    assert not log.waive(SLIM, "w1", by="gil")
    assert log.state.waivers[SLIM, "speed"].granted_by == "gil"


@pytest.mark.parametrize("after", ["waiving", "proposal", "approval", "canary"])
def test_a_lapsed_waiver_stops_what_rests_on_it(log: Log, after: str) -> None:
    log.release(TWIN, 1)
    assert not waived(log)
    steps = {
        "proposal": lambda: log.propose(SLIM, "w1", 2),
        "approval": lambda: log.approve(SLIM, 2),
        "canary": lambda: log.shift(SLIM, 2, "0.1"),
        "live": lambda: log.shift(SLIM, 2),
    }
    names = ["waiving", *steps]
    for name in names[1 : names.index(after) + 1]:
        assert not steps[name]()
    log.waits(days=31)
    step = names[names.index(after) + 1]
    assert says(steps[step](), "lapsed" if step != "proposal" else "the verdict is a no")
    assert not log.waive(SLIM, "w1", by="gil")
    assert not steps[step]()


def test_a_waiver_holds_until_its_expiry_and_not_at_it(log: Log) -> None:
    log.judge(SLIM, "w1", objections=NO)
    expires = later(log.state.clock, days=1)
    assert not log.waive(SLIM, "w1", expires=expires)
    assert log.propose(SLIM, "w1", 1, time=expires)
    assert not log.propose(SLIM, "w1", 1, time=later(expires, microseconds=-1))


def test_a_clock_set_back_revives_no_waiver(log: Log) -> None:
    assert not waived(log)
    expires = log.state.waivers[SLIM, "speed"].expires
    assert not log.start("r2", time=expires)
    assert says(log.propose(SLIM, "w1", 1, time=later(expires, days=-1)), "the verdict is a no")


def lapsed_while_live(**terms: Any) -> Log:
    log = started(**terms)
    log.release(TWIN, 1)
    assert not waived(log)
    assert not log.propose(SLIM, "w1", 2)
    assert not log.approve(SLIM, 2)
    assert not log.lead(SLIM, 2)
    log.waits(days=31)
    return log


def about(log: Log) -> dict[str, Any]:
    return {"detector": "waiver", "cause": "waiver lapsed", "waiver": log.state.waivers[SLIM, "speed"].event}


def test_a_lapse_raises_one_alarm_for_each_waiver() -> None:
    log = lapsed_while_live()
    assert not log.alarm(SLIM, 2, **about(log))
    assert says(log.alarm(SLIM, 2, **about(log)), "was raised already")
    assert not log.waive(SLIM, "w1", by="gil")
    log.waits(days=31)
    assert not log.alarm(SLIM, 2, **about(log))


def test_an_alarm_about_a_waiver_is_of_one_that_lapsed_on_this_release() -> None:
    log = lapsed_while_live()
    assert says(log.alarm(TWIN, 1, **about(log)), "rests on no waiver")
    early = later(log.state.waivers[SLIM, "speed"].expires, days=-1)
    assert says(log.alarm(SLIM, 2, **about(log), time=early), "rests on no waiver")
    for told in ({"detector": "twin"}, {"waiver": None}):
        assert says(log.alarm(SLIM, 2, **{**about(log), **told}), "and no other, names a waiver")


@pytest.mark.parametrize(("on_lapse", "on_decay"), [("notify", "roll back"), ("roll back", "notify")])
def test_what_follows_from_a_lapse_stands_in_the_policy(on_lapse: str, on_decay: str) -> None:
    log = lapsed_while_live(on_lapse=on_lapse, on_decay=on_decay)
    assert not log.alarm(SLIM, 2, **about(log))
    lapse = log.effective[-1].event.id
    why = log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=lapse)
    assert why == [] if on_lapse == "roll back" else says(why, "the policy does not let a monitor roll back")


# -- proposals


def test_a_failed_verdict_cannot_be_proposed(log: Log) -> None:
    assert not log.judge(STUMP, "v1", objections={"speed": "failed", "size": "underpowered"})
    assert says(log.propose(STUMP, "v1", 1), "the verdict is a no: size: underpowered, speed: failed")
    assert not log.state.models["digits"].releases


def test_a_verdict_without_rules_cannot_be_proposed(log: Log) -> None:
    log.make(SLIM)
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": "policy", "verdict": "v1", "evidence": ["e"]}
    assert not log.work("verdict.given", refs, split="release", passed=False, rules=0, objections={})
    assert says(log.propose(SLIM, "v1", 1), "no rule was checked")


def test_a_verdict_of_the_search_cannot_be_proposed(log: Log) -> None:
    assert not log.judge(SLIM, "v1", split="gate")
    assert says(log.propose(SLIM, "v1", 1), "only the release split")


def test_what_was_never_judged_cannot_be_proposed(log: Log) -> None:
    assert says(log.propose(SLIM, "v1", 1), "no verdict")
    assert not log.judge(SLIM, "v1")
    assert says(log.propose(STUMP, "v1", 1), "the verdict is about")


def test_an_approver_does_not_propose(log: Log) -> None:
    log.judge(SLIM, "v1")
    assert log.propose(SLIM, "v1", 1, by="grace") == ["release.proposed: 'grace' is not an engineer"]


@pytest.mark.parametrize("number", [0, 2, "1", True, None, []])
def test_releases_are_numbered_without_gaps(log: Log, number: Any) -> None:
    log.judge(SLIM, "v1")
    (why,) = log.propose(SLIM, "v1", number)
    assert "next release has number 1" in why or "number is" in why


# -- approvals


def test_nobody_approves_what_they_made(log: Log) -> None:
    """Even with the approver's role: proposing, and any work on the run, make a maker."""
    assert not log.register("mia", "engineer", "approver")
    log.make(TWIN)
    assert not log.work("model.trained", {"model": STUMP, "data": ROWS}, by="mia")
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, by="mia"), "made this release")
    assert log.statuses == {1: Status.PROPOSED}


def test_nor_under_a_second_account(log: Log) -> None:
    assert not log.register("ada-too", "approver", person="ada")
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, by="ada-too"), "made this release")


MADE = {
    "data.admitted": {"data": "other rows", "evidence": "e"},
    "model.trained": {"model": "other twin", "data": ROWS},
    "model.pruned": {"model": "other slim", "parent": TWIN, "data": ROWS, "lineage": "l"},
}


@pytest.mark.parametrize("type_", MADE)
def test_who_made_a_model_in_another_run_is_a_maker_still(log: Log, type_: str) -> None:
    """Neither by having somebody else judge it, nor by having made only its twin or its data."""
    assert not log.register("mia", "engineer", "approver")
    assert not log.start("r2")
    log.make(SLIM)
    assert not log.work(type_, MADE[type_], by="mia", run="r2", recipe={})
    part = {"data.admitted": "data", "model.trained": "parent", "model.pruned": "model"}[type_]
    made = digest(MADE[type_]["data" if part == "data" else "model"])
    candidate = made if part == "model" else SLIM
    assert not log.judge(candidate, "v1", **({} if part == "model" else {part: made}))
    assert not log.propose(candidate, "v1", 1)
    assert says(log.approve(candidate, 1, by="mia"), "made this release")


@pytest.mark.parametrize("part", ["data", "parent"])
def test_who_made_what_a_model_was_made_of_is_a_maker_too(log: Log, part: str) -> None:
    """A model trained on the curator's rows and judged on others is the curator's as well."""
    assert not log.register("mia", "engineer", "approver")
    assert not log.start("r2")
    log.make(TWIN)
    if part == "data":
        assert not log.work("data.admitted", {"data": "mia's rows", "evidence": "e"}, by="mia", run="r2")
        assert not log.work("model.trained", {"model": SLIM, "data": "mia's rows"}, run="r2")
    else:
        assert not log.work("model.trained", {"model": "mia's", "data": ROWS}, by="mia", run="r2")
        refs = {"model": SLIM, "parent": "mia's", "data": ROWS, "lineage": "l"}
        assert not log.work("model.pruned", refs, recipe={}, run="r2")
    assert not log.judge(SLIM, "v1")
    assert not log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, by="mia"), "made this release")
    assert not log.approve(SLIM, 1)


def test_who_tried_a_candidate_in_vain_worked_on_the_run_and_does_not_approve_what_came_of_it(log: Log) -> None:
    assert not log.register("mia", "engineer", "approver")
    told = {"recipe": {}, "reason": "no heads", "too_mild": False}
    assert not log.work("attempt.failed", {}, by="mia", **told)
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, by="mia"), "made this release")


def test_who_judged_a_candidate_does_not_approve_it(log: Log) -> None:
    assert not log.register("mia", "engineer", "approver")
    assert not log.judge(SLIM, "v1", by="mia")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, by="mia"), "made this release")


def test_nobody_approves_their_own_proposal(log: Log) -> None:
    assert not log.register("mia", "engineer", "approver")
    log.judge(SLIM, "v1")
    assert not log.propose(SLIM, "v1", 1, by="mia")
    assert says(log.approve(SLIM, 1, by="mia"), "made this release")


@pytest.mark.parametrize("actor", ["otto", "root", "iris"])
def test_an_approval_needs_the_approvers_role(log: Log, actor: str) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert log.approve(SLIM, 1, by=actor) == [f"release.approved: {actor!r} is not an approver"]


def test_an_approval_is_for_one_digest_and_needs_a_reason(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(STUMP, 1), "with that digest")
    assert says(log.approve(SLIM, 1, reason="  "), "reason is")
    assert not log.approve(SLIM, 1)
    assert any("not proposed" in why for why in log.approve(SLIM, 1, by="gil"))


def test_two_approvals_are_two_persons_with_two_keys() -> None:
    log = started(approvals_min=2)
    assert not log.register("grace-2", "approver", person="grace")
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1)
    for by in ("grace", "grace-2"):
        assert says(log.approve(SLIM, 1, by=by), "approved it already")
    assert not log.rotate("grace", "fresh")
    assert log.statuses == {1: Status.PROPOSED}
    assert log.shift(SLIM, 1)
    assert not log.approve(SLIM, 1, by="gil")
    assert log.statuses == {1: Status.APPROVED}
    assert log.state.models["digits"].releases[1].approvers == ("grace", "gil")


def test_a_role_counts_from_where_it_was_granted(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert log.approve(SLIM, 1, by="iris")
    assert not log.act("role.granted", "root", actor="iris", roles=["approver"])
    assert log.statuses == {1: Status.PROPOSED}
    assert not log.approve(SLIM, 1, by="iris")


def test_a_role_counts_to_where_it_was_taken_whatever_the_clock_says(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    before = log.state.clock
    assert not log.act("role.revoked", "root", actor="grace", roles=["approver"], reason="moved")
    assert says(log.approve(SLIM, 1, time=before), "not an approver")


def test_an_approval_given_before_the_role_was_taken_stands() -> None:
    log = started(approvals_min=2)
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1)
    assert not log.act("key.revoked", "grace", actor="grace", reason="lost")
    assert not log.approve(SLIM, 1, by="gil")
    assert log.statuses == {1: Status.APPROVED}


# -- how sure it is that the person acted


def test_a_click_counts_for_less_and_says_so(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1, clicked=True)
    (approval,) = log.state.models["digits"].releases[1].approvals
    assert (approval.actor, approval.assurance, approval.reason) == ("grace", Assurance.SERVER_ATTESTED, "sound")


def test_a_signed_approval_is_recorded_as_signed(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1)
    (approval,) = log.state.models["digits"].releases[1].approvals
    assert (approval.assurance, approval.index) == (Assurance.SIGNED, log.state.size - 1)


def test_a_click_that_does_not_say_so_is_refused(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    data = {"model": "digits", "number": 1, "reason": "sound"}
    for more, words in (({}, "without a signature it must say"), ({"assurance": "signed"}, "assurance is 'signed'")):
        event = Event("release.approved", "grace", {**data, **more}, {"model": SLIM})
        assert says(log.add(event), words)


def test_nothing_else_claims_to_be_a_click(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert says(log.approve(SLIM, 1, assurance="server-attested"), "only a person's act without a signature")
    assert not log.approve(SLIM, 1)
    assert says(log.shift(SLIM, 1, assurance="server-attested"), "only a person's act without a signature")


def test_a_policy_can_refuse_clicks() -> None:
    log = started(server_attested=False)
    log.release(TWIN, 1)
    log.judge(SLIM, "v2")
    log.propose(SLIM, "v2", 2)
    assert says(log.approve(SLIM, 2, clicked=True), "takes no server-attested act")
    assert not log.approve(SLIM, 2)
    assert says(log.shift(SLIM, 2, "0.1", by="otto", clicked=True), "takes no server-attested act")
    assert not log.lead(SLIM, 2)
    assert not log.roll_back(SLIM, 2, to=1, clicked=True)  # down is never refused


# -- traffic


def test_only_an_approved_release_takes_traffic(log: Log) -> None:
    log.judge(SLIM, "v1")
    assert log.shift(SLIM, 1)
    log.propose(SLIM, "v1", 1)
    assert says(log.shift(SLIM, 1), "only an approved release")


@pytest.mark.parametrize("share", ["0", "-0.1", "1.01", "nan", "inf", "much", "0.0", "1.0", "1e-3", "0.10", 1, None])
def test_a_share_is_more_than_nothing_and_at_most_all(log: Log, share: Any) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    log.approve(SLIM, 1)
    assert says(log.shift(SLIM, 1, share), "share is")
    assert log.statuses == {1: Status.APPROVED}


@pytest.mark.parametrize("actor", ["ada", "grace", "root"])
def test_nobody_but_the_monitor_or_an_operator_moves_traffic(log: Log, actor: str) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    log.approve(SLIM, 1)
    assert says(log.shift(SLIM, 1, by=actor), "is not an operator")
    assert log.statuses == {1: Status.APPROVED}
    assert not log.shift(SLIM, 1, by="otto")


def test_a_live_release_retires_the_one_before(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert log.statuses == {1: Status.RETIRED, 2: Status.LIVE}
    assert log.shift(TWIN, 1)  # what was retired comes back by rollback, not by shifting


def test_there_is_one_canary_at_a_time(log: Log) -> None:
    log.release(TWIN, 1)
    for number, candidate in ((2, SLIM), (3, STUMP)):
        log.judge(candidate, f"v{number}")
        log.propose(candidate, f"v{number}", number)
        log.approve(candidate, number)
    assert not log.shift(SLIM, 2, "0.1")
    assert says(log.shift(STUMP, 3, "0.1"), "release 2 is in canary")


# -- rollback


def test_an_operator_alone_returns_to_the_version_that_was_live(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert not log.roll_back(SLIM, 2, to=1)
    assert log.statuses == {1: Status.LIVE, 2: Status.ROLLED_BACK}


def test_a_rollback_goes_only_to_the_version_that_was_live(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    log.judge(STUMP, "v3")
    log.propose(STUMP, "v3", 3)
    log.approve(STUMP, 3)
    for never in (3, 2, 9):
        assert says(log.roll_back(SLIM, 2, to=never), "can only go back to 1")
    assert log.statuses == {1: Status.RETIRED, 2: Status.LIVE, 3: Status.APPROVED}


def test_what_was_rolled_back_is_not_returned_to(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    log.roll_back(SLIM, 2, to=1)
    log.release(STUMP, 3)
    assert says(log.roll_back(STUMP, 3, to=2), "can only go back to 1")
    assert not log.roll_back(STUMP, 3, to=1)


def test_a_rollback_returns_to_what_was_live_last_whatever_its_number(log: Log) -> None:
    for number, candidate in ((1, TWIN), (2, SLIM), (3, STUMP)):
        log.judge(candidate, f"v{number}")
        log.propose(candidate, f"v{number}", number)
        log.approve(candidate, number)
    for number, candidate in ((3, STUMP), (1, TWIN), (2, SLIM)):
        assert not log.lead(candidate, number)
    assert not log.roll_back(SLIM, 2, to=1)
    assert not log.roll_back(TWIN, 1, to=3)


def test_the_first_release_has_nowhere_to_go_back_to(log: Log) -> None:
    log.release(TWIN, 1)
    assert says(log.roll_back(TWIN, 1, to=1), "can only go back to nothing")
    assert log.statuses == {1: Status.LIVE}


def test_a_canary_gives_way_to_the_live_version(log: Log) -> None:
    log.release(TWIN, 1)
    log.judge(SLIM, "v2")
    log.propose(SLIM, "v2", 2)
    log.approve(SLIM, 2)
    log.shift(SLIM, 2, "0.1")
    assert not log.roll_back(SLIM, 2, to=1)
    assert log.statuses == {1: Status.LIVE, 2: Status.ROLLED_BACK}
    assert says(log.roll_back(SLIM, 2, to=1), "nothing to roll back")


@pytest.mark.parametrize("actor", ["ada", "grace", "root"])
def test_nobody_but_an_operator_rolls_back(log: Log, actor: str) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert says(log.roll_back(SLIM, 2, to=1, by=actor), "is not an operator")


def test_a_rollback_needs_a_reason(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert says(log.roll_back(SLIM, 2, to=1, reason=""), "reason is ''")


def test_a_monitor_rolls_back_only_for_its_alarm_about_this_release(log: Log) -> None:
    log.release(TWIN, 1)
    assert not log.alarm(TWIN, 1)
    before = log.effective[-1].event.id
    log.release(SLIM, 2)
    assert not log.alarm(SLIM, 2)
    own = log.effective[-1].event.id
    for alarm in (None, log.state.id, before):
        why = log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=alarm)
        assert says(why, "for an alarm about this release")
    assert not log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=own)


def test_a_monitor_rolls_back_only_where_the_policy_lets_it() -> None:
    log = started(on_decay="notify")
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert not log.alarm(SLIM, 2)
    alarm = log.effective[-1].event.id
    assert says(log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=alarm), "policy does not let")
    assert not log.roll_back(SLIM, 2, to=1)


# -- what was seen


def test_observations_are_the_monitors_and_of_a_release(log: Log) -> None:
    assert log.seal(SLIM, 1)
    log.release(SLIM, 1)
    assert log.seal(SLIM, 1, by="otto") == ["batch.sealed: 'otto' is not the monitor"]
    assert says(log.seal(TWIN, 1), "with that digest")
    assert not log.seal(SLIM, 1)
    assert len(log.state.models["digits"].batches) == 1


@pytest.mark.parametrize("number", [None, "1", [], {}, True])
def test_values_of_the_wrong_kind_are_violations_and_no_crash(log: Log, number: Any) -> None:
    log.release(TWIN, 1)
    for why in (log.approve(TWIN, number), log.shift(TWIN, number), log.roll_back(TWIN, number, to=1)):
        assert says(why, "number is")
    assert log.statuses == {1: Status.LIVE}


# -- from one policy to another


def test_nobody_alone_takes_a_model_to_the_laxer_terms_of_another_policy() -> None:
    log = started(approvals_min=2, server_attested=False, waivers=False)
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1)
    assert not log.approve(SLIM, 1, by="gil")
    assert not log.adopt("lax", name="lax", approvals_min=1, server_attested=True, waivers=True)
    log.judge(STUMP, "v2", policy=digest("lax"), objections={"speed": "failed"})
    assert not log.waive(STUMP, "v2")
    assert says(log.propose(STUMP, "v2", 2), "allows no waivers")
    log.judge(digest("other"), "v3", policy=digest("lax"))
    assert not log.propose(digest("other"), "v3", 2)
    assert says(log.approve(digest("other"), 2, clicked=True), "takes no server-attested act")
    assert not log.approve(digest("other"), 2)
    assert log.statuses[2] is Status.PROPOSED
    assert not log.approve(digest("other"), 2, by="gil")
    assert log.statuses[2] is Status.APPROVED


def test_a_model_that_two_people_took_to_another_policy_is_bound_by_that_one_from_then_on() -> None:
    log = started(approvals_min=2)
    assert not log.adopt("lax", name="lax", approvals_min=1)
    for number, (candidate, policy) in enumerate([(SLIM, "policy"), (STUMP, "lax"), (digest("third"), "lax")], 1):
        log.judge(candidate, f"v{number}", policy=digest(policy))
        assert not log.propose(candidate, f"v{number}", number)
        assert not log.approve(candidate, number)
        if number < 3:
            assert log.statuses[number] is Status.PROPOSED
            assert not log.approve(candidate, number, by="gil")
        assert log.statuses[number] is Status.APPROVED


def test_a_lapse_is_told_anew_of_a_release_that_a_rollback_brings_back(log: Log) -> None:
    log.judge(SLIM, "v1", objections={"speed": "failed"})
    log.waive(SLIM, "v1")
    waiver = log.state.waivers[SLIM, "speed"].event
    acts = log.propose(SLIM, "v1", 1), log.approve(SLIM, 1), log.shift(SLIM, 1)
    assert acts == ([], [], [])
    log.waits(days=31)
    assert not log.alarm(SLIM, 1, detector="waiver", cause="waiver lapsed", waiver=waiver)
    assert says(log.alarm(SLIM, 1, detector="waiver", cause="waiver lapsed", waiver=waiver), "raised already")
    log.release(STUMP, 2)
    assert not log.roll_back(STUMP, 2, 1)
    assert not log.alarm(SLIM, 1, detector="waiver", cause="waiver lapsed", waiver=waiver)
