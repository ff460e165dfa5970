"""Attacks 33 to 40: everybody signs what they sign, and no hash is wrong; only the rules are broken."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.audit import bundle
from pruneguard.audit.report import Level
from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates import judge
from pruneguard.ledger.events import Entry, utc
from pruneguard.policy import Policy
from pruneguard.verdict import Outcome, Verdict
from tests.attacks.attacker import Forger, caught, entry
from tests.audit.conftest import Told, listed
from tests.ledger.acts import DIGEST
from tests.privacy.scenes import FIELDS, back_up, described, erase, kept, restore


def policy_of(told: Told) -> Policy:
    (digest,) = told.ledger.state().policies
    return Policy.decode(told.artifacts.get(digest))


# -- 33


def test_33_nobody_approves_what_they_made_under_whatever_name(told: Told) -> None:
    forger = Forger(told)
    forger.propose()
    at = forger.approve("ada")
    caught(forger.files(), Level.SEMANTICS, entry(at))
    for roles in (("approver",), ("approver", "operator")):
        forger = Forger(told)
        forger.register("ada-2", *roles, person="ada")  # the same human's second account, with a key of its own
        forger.propose()
        at = forger.approve("ada-2")
        forger.shift()
        caught(forger.files(), Level.SEMANTICS, f"{entry(at)}.*made this release")


def test_33_two_accounts_of_one_person_are_one_approval(told: Told) -> None:
    forger = Forger(told)
    strict = replace(policy_of(told), version=2, approvals_min=2)
    _adopt(forger, strict)
    verdict = _judged_again(forger, strict)
    forger.register("grace-2", "approver", person="grace")
    digest = told.story.candidate
    forger.act("release.proposed", "ada", {"model": digest, "verdict": verdict}, model="digits", number=3)
    forger.approve()
    at = forger.approve("grace-2")
    caught(forger.files(), Level.SEMANTICS, f"{entry(at)}.*approved it already")


# -- 34


def test_34_a_role_counts_where_the_act_stands_in_the_log(told: Told) -> None:
    forger = Forger(told)
    forger.register("hal", "auditor")
    forger.propose()
    early = forger.approve("hal")
    forger.act("role.granted", "root", actor="hal", roles=["approver"])
    caught(forger.files(), Level.SEMANTICS, f"{entry(early)}.*not an approver")

    forger = Forger(told)
    forger.propose()
    forger.act("role.revoked", "root", actor="grace", roles=["approver"], reason="left")
    late = forger.approve(time=utc(forger.now - timedelta(days=1)))  # its clock says before, the log says after
    caught(forger.files(), Level.SEMANTICS, f"{entry(late)}.*not an approver")

    forger = Forger(told)
    forger.propose()
    forger.act("key.revoked", "root", actor="grace", reason="stolen")
    late = forger.approve()
    caught(forger.files(), Level.SIGNATURES, f"{entry(late)}.*'grace' has no key")


# -- 35


def test_35_a_policy_cannot_be_loosened_and_put_back_unseen(told: Told) -> None:
    forger = Forger(told)
    own = policy_of(told)
    at = forger.act("policy.adopted", "grace", {"policy": own.digest}, **{**own.terms, "on_decay": "notify"})
    caught(forger.files(), Level.SEMANTICS, f"{entry(at)}.*other terms")

    forger = Forger(told)
    loose = replace(own, version=2, rules=own.rules[:1])
    _adopt(forger, loose)
    _judged_again(forger, loose)
    back = _adopt(forger, own)
    caught(forger.files(), Level.SEMANTICS, entry(back))  # an older version does not come back under its old number

    forger = Forger(told)
    at = forger.position("policy.adopted")
    forger.change(at, data={**own.terms, "on_decay": "notify"})
    caught(forger.files(), Level.SEMANTICS, entry(at))  # the terms are not those of the document


# -- 36


def test_36_every_attempt_at_a_gate_stays_to_be_seen(told: Told) -> None:
    forger = Forger(told)
    refused = forger.position("verdict.given", passed=False)
    proof = f"proofs/{refused}.tlog-proof"
    hidden = {path: content for path, content in told.files.items() if path != proof}
    caught(listed(hidden), Level.COMPLETENESS, f"{proof}: this file is missing")
    digest = Entry.decode(forger.entries[refused]).event.refs["verdict"]
    path = bundle.document_path(digest)
    hidden = {name: content for name, content in told.files.items() if name != path}
    caught(listed(hidden), Level.SEMANTICS, f"{entry(refused)}.*{path}")
    forger.entries.pop(refused)
    caught(forger.files(), Level.ANCHORING, "ledger/checkpoint: ", held=told.ledger.checkpoint)


# -- 37


def test_37_evidence_about_other_rows_is_none(fresh: Told) -> None:
    forger = Forger(fresh)
    _judged_again(forger, policy_of(fresh), rows=fresh.artifacts.put(b"other rows"))
    caught(forger.files(), Level.SEMANTICS, f"{entry(len(forger.entries) - 1)}.*evidence", alone=None)


POSTDATED = "2099-01-01T00:00:00.000000Z"


def test_37_a_verdict_that_is_dated_after_the_span_is_decided_again_where_the_span_rests_on_it(fresh: Told) -> None:
    forger, story = Forger(fresh), fresh.story
    end = utc(forger.now + timedelta(days=1))
    given = Entry.decode(forger.entries[forger.position("verdict.given", passed=False)]).event
    no = Verdict.decode(fresh.artifacts.get(story.verdicts[1]))
    yes = replace(no, findings=tuple(replace(finding, outcome=Outcome.PASSED) for finding in no.findings))
    verdict, run = fresh.artifacts.put(yes.encode()), {"run": "digits-2", "model": "digits"}
    forger.act("run.started", "ada", {"manifest": DIGEST}, **run)
    told = {**given.data, **run, "passed": True, "objections": {}}
    at = forger.act("verdict.given", "ada", {**given.refs, "verdict": verdict}, time=POSTDATED, **told)
    refs = {"model": story.rejected, "verdict": verdict}
    forger.act("release.proposed", "ada", refs, model="digits", number=3)
    forger.act("release.approved", "grace", {"model": story.rejected}, model="digits", number=3, reason="passed")
    forger.lead(digest=story.rejected)
    caught(forger.files(end=end), Level.SEMANTICS, f"{entry(at)}.*its evidence says failed", alone=None)


def test_37_a_policy_that_is_dated_after_the_span_is_compared_where_the_span_rests_on_it(fresh: Told) -> None:
    forger = Forger(fresh)
    end = utc(forger.now + timedelta(days=1))
    strict = replace(policy_of(fresh), version=2, approvals_min=2)
    refs = {"policy": fresh.artifacts.put(strict.encode())}
    at = forger.act("policy.adopted", "grace", refs, time=POSTDATED, **{**strict.terms, "approvals_min": 1})
    verdict = _judged_again(forger, strict)
    refs = {"model": fresh.story.candidate, "verdict": verdict}
    forger.act("release.proposed", "ada", refs, model="digits", number=3)
    forger.approve()
    forger.lead()
    caught(forger.files(end=end), Level.SEMANTICS, entry(at))


def test_37_what_has_expired_is_no_evidence(told: Told) -> None:
    forger = Forger(told)
    said = {"framework": "nist-ai-rmf", "control": "govern-1.1", "title": "minutes", "statement": "we met"}
    at = forger.act("document.attached", "grace", **said, expires=utc(forger.now - timedelta(days=1)))
    caught(forger.files(), Level.SEMANTICS, entry(at))


def test_37_an_edited_threshold_is_found(told: Told) -> None:
    path = bundle.document_path(policy_of(told).digest)
    edited = told.files[path].replace(b'"limit":0.9', b'"limit":0.6')
    assert edited != told.files[path]
    caught(listed({**told.files, path: edited}), Level.SEMANTICS, f"{path}, bytes")


# -- 38


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"expires": {"days": -1}}, "grant"),
        ({"expires": {"days": 91}}, "grant"),
        ({"expires": "2027-01-06T00:00:00+02:00"}, "grant"),
        ({"expires": "2027-01-06T00:00:00"}, "grant"),
        ({"digest": "candidate"}, "grant"),
        ({"by": "ada"}, "grant"),
        ({"rule": "no leakage"}, "grant"),
        ({"after": "5/5"}, "grant"),
        ({"wait": 31}, "propose"),
        ({"wait": 31, "clock": "set back"}, "propose"),
        ({}, "nothing"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_38_a_waiver_is_for_one_rule_of_one_digest_until_a_date(
    told: Told, change: dict[str, object], where: str
) -> None:
    forger, story = Forger(told), told.story
    verdict = told.ledger.state().models["digits"].verdict(story.verdicts[1])
    assert verdict is not None
    if change.get("by"):
        forger.register("ada-2", "approver", person="ada")
    granted = []
    for number, rule in enumerate(sorted(verdict.objections)):
        expires = change.get("expires", {"days": 30})
        data = {
            "rule": change.get("rule", rule),
            "reason": "r",
            "control": "c",
            "expires": expires if isinstance(expires, str) else utc(forger.now + timedelta(minutes=1, **expires)),
            "before": verdict.score(),
            "after": change.get("after", verdict.score(1)),
        }
        refs = {"model": story.candidate if change.get("digest") else story.rejected, "verdict": verdict.digest}
        granted.append(
            forger.act("waiver.granted", "ada-2" if change.get("by") else "grace", refs, model="digits", **data)
        )
        assert number < len(verdict.objections)
    if where == "grant":
        caught(forger.files(), Level.SEMANTICS, entry(granted[0]))
        return
    forger.now += timedelta(days=int(str(change.get("wait", 0))))
    if change.get("clock"):
        sealed = {"model": story.twin, "batch": story.twin}
        forger.act("batch.sealed", "monitor", sealed, model="digits", number=1, rows=1)
        forger.now -= timedelta(days=30)
    at = forger.propose(verdict=1)
    caught(forger.files(), None if where == "nothing" else Level.SEMANTICS, entry(at))


def test_38_a_release_moves_no_further_on_a_waiver_that_has_lapsed(told: Told) -> None:
    forger, story = Forger(told), told.story
    verdict = told.ledger.state().models["digits"].verdict(story.verdicts[1])
    assert verdict is not None
    for rule in sorted(verdict.objections):
        scores = {"before": verdict.score(), "after": verdict.score(1), "expires": utc(forger.now + timedelta(days=30))}
        refs = {"model": story.rejected, "verdict": verdict.digest}
        forger.act("waiver.granted", "grace", refs, model="digits", rule=rule, reason="r", control="c", **scores)
    forger.propose(verdict=1)
    refs = {"model": story.rejected}
    forger.act("release.approved", "grace", refs, model="digits", number=3, reason="with open eyes")
    forger.shift(share="0.1", digest=story.rejected)
    forger.now += timedelta(days=40)
    at = forger.shift(digest=story.rejected)
    caught(forger.files(), Level.SEMANTICS, f"{entry(at)}.*(lapsed|waiver)")


# -- 39


def test_39_what_the_log_never_let_answer_is_found(told: Told) -> None:
    rejected = told.story.rejected
    caught(told.files, Level.COMPLETENESS, f"{rejected}: answered requests", answering=(rejected,), alone=None)
    caught(told.files, None, answering=(told.story.twin,))
    forger = Forger(told)
    forger.propose()
    at = forger.act(
        "batch.sealed", "monitor", {"model": told.story.candidate, "batch": DIGEST}, model="digits", number=3, rows=5
    )
    caught(forger.files(), Level.COMPLETENESS, f"{entry(at)}.*the log gave it no traffic")


def test_39_traffic_goes_and_comes_back_only_to_what_was_approved(told: Told) -> None:
    forger = Forger(told)
    forger.propose()
    at = forger.shift()
    caught(forger.files(), Level.SEMANTICS, entry(at))
    forger = Forger(told)
    forger.propose()
    forger.approve()
    forger.lead()
    forger.propose(number=4)
    refs = {"model": told.story.candidate}
    at = forger.act("release.rolled_back", "otto", refs, model="digits", number=3, to=4, reason="worse")
    caught(forger.files(), Level.SEMANTICS, f"{entry(at)}.*go back|{entry(at)}.*way back")


# -- 40


def test_40_an_erased_value_that_a_backup_brings_back_is_erased_again(tmp_path: Path) -> None:
    settings = described(tmp_path / "var")
    back_up(settings, tmp_path / "backup")
    erase(settings)
    restore(settings, tmp_path / "backup")
    assert kept(settings) == sorted(FIELDS.values())
    home.read_ledger(settings).close()
    assert kept(settings) == []


def test_40_nothing_is_dropped_or_erased_under_a_legal_hold(told: Told) -> None:
    forger = Forger(told)
    described = {"person": "s1", "commitments": ["ab" * 32]}
    forger.act("subject.described", "root", **described)
    forger.act("hold.placed", "root", hold="case-7", scope="all", reason="court")
    erased = forger.act("subject.erased", "root", commitments=["ab" * 32], basis="art. 17")
    caught(forger.files(), Level.SEMANTICS, f"{entry(erased)}.*hold")
    forger.entries.pop()
    dropped = forger.act(
        "retention.applied", "root", **{"class": "telemetry", "before": utc(forger.now - timedelta(days=200)),
        "entries": [[18, 19]], "reason": "old"}
    )  # fmt: skip
    caught(forger.files(), Level.SEMANTICS, f"{entry(dropped)}.*hold")


def test_40_a_body_that_no_retention_dropped_is_missed(told: Told) -> None:
    path, raw = "ledger/tile/entries/000.p/29", told.ledger.raw(25, 26)[0]
    gone = told.files[path].replace(len(raw).to_bytes(2) + raw, b"\x00\x00")
    assert len(gone) == len(told.files[path]) - len(raw)
    caught(listed({**told.files, path: gone}), Level.COMPLETENESS, f"{entry(25)}.*retention")


def _adopt(forger: Forger, policy: Policy) -> int:
    return forger.act("policy.adopted", "grace", {"policy": forger.told.artifacts.put(policy.encode())}, **policy.terms)


def _judged_again(forger: Forger, policy: Policy, *, rows: str = "") -> str:
    """The story's pruned candidate judged by another policy, or as if measured on other rows; the verdict's digest."""
    told, run = forger.told, {"run": "digits-2", "model": "digits"}
    event = Entry.decode(forger.entries[forger.position("release.proposed", number=2)]).event
    given = next(v for v in told.ledger.state().models["digits"].verdicts if v.digest == event.refs["verdict"])
    evidence = [Evidence.decode(told.artifacts.get(digest)) for digest in given.evidence]
    verdict = judge(policy, evidence, candidate=given.candidate, twin=given.twin, data=given.data)
    forger.act("run.started", "ada", {"manifest": DIGEST}, **run)
    if rows:
        admitted = Evidence(rows, None, rows, {"data.leakage": Estimate(0.0, n=9)})
        forger.act("data.admitted", "ada", {"data": rows, "evidence": told.artifacts.put(admitted.encode())}, **run)
        verdict = replace(verdict, data=rows)
    refs = {"model": given.candidate, "parent": given.twin, "data": rows or given.data, "policy": policy.digest}
    refs |= {"verdict": told.artifacts.put(verdict.encode()), "evidence": list(given.evidence)}
    forger.act("verdict.given", "ada", refs, **run, split="release", **verdict.outline)
    return verdict.digest
