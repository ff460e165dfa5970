"""What may be loaded: decided from the ledger's state and the documents that it names."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pruneguard.ledger.events import utc
from pruneguard.ledger.state import Approval, Assurance, Status
from pruneguard.policy import Action, Policy
from pruneguard.serving.admission import Admission, Documents, objections
from pruneguard.verdict import Outcome, Verdict
from tests.monitors.service import MODEL, POLICY, Service
from tests.serving.scene import Scene

NOW = utc(datetime.now(UTC))
LATER = utc(datetime.now(UTC) + timedelta(days=31))


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    return scene


def known(scene):
    """State, release and documents, each for a test to spoil."""
    state = scene.ledger.state()
    release = state.models["digits"].releases[1]
    read = scene.artifacts.get
    return state, release, Documents(Verdict.decode(read(release.verdict)), Policy.decode(read(release.policy)))


def test_a_release_that_rests_on_everything_it_must_is_admitted(scene):
    assert Admission(scene.artifacts).objections(scene.ledger.state(), "digits", 1) == []


def test_what_the_ledger_does_not_know_is_not_admitted(scene):
    admission, state = Admission(scene.artifacts), scene.ledger.state()
    assert admission.objections(state, "digits", 2) == ["the ledger knows no release 2 of 'digits'"]
    assert admission.objections(state, "others", 1) == ["the ledger knows no release 1 of 'others'"]


@pytest.mark.parametrize("document", ["verdict", "policy"])
@pytest.mark.parametrize("harm", ["absent", "changed"])
def test_a_document_that_is_gone_or_changed_on_disk_keeps_the_version_out(scene, document, harm):
    digest = getattr(scene.ledger.state().models["digits"].releases[1], document)
    path = scene.artifacts.local_path(digest)
    if harm == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    (why,) = Admission(scene.artifacts).objections(scene.ledger.state(), "digits", 1)
    assert why.startswith("what it rests on cannot be read")
    assert digest in why


def test_every_reason_is_told_at_once(scene):
    state, release, documents = known(scene)
    release.status, release.approvals = Status.PROPOSED, []
    spoilt = replace(documents, verdict=replace(documents.verdict, candidate="sha256:another", policy="sha256:other"))
    why = objections(state, release, spoilt, now=NOW)
    assert [reason.split(",")[0].split(" sha256")[0] for reason in why] == [
        "its verdict's document has the candidate",
        "its verdict's document has the policy",
        "it is proposed",
        "0 persons who did not make it have approved it as its policy asks; expected 1",
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"split": "gate"}, "'gate' split"),
        ({"candidate": "sha256:another"}, "about sha256:another"),
        ({"policy": "sha256:another"}, "rests on the policy sha256:another"),
        ({"passed": False, "objections": {"any": "failed"}}, "a no: any: failed"),
        ({"rules": 0}, "a no: no rule was checked"),
    ],
)
def test_a_verdict_that_cannot_release_this_file_is_an_objection(scene, changes, why):
    state, release, documents = known(scene)
    model = state.models["digits"]
    model.by_digest[release.verdict] = replace(model.by_digest[release.verdict], **changes)
    assert any(why in reason for reason in objections(state, release, documents, now=NOW))


def test_a_release_without_any_verdict_on_record_is_not_admitted(scene):
    state, release, documents = known(scene)
    del state.models["digits"].by_digest[release.verdict]
    assert objections(state, release, documents, now=NOW) == [f"no verdict {release.verdict} is on record"]


def test_a_verdict_document_with_other_findings_than_the_ledger_says_is_an_objection(scene):
    state, release, documents = known(scene)
    (finding,) = documents.verdict.findings
    failed = replace(documents.verdict, findings=(replace(finding, outcome=Outcome.FAILED),))
    (why,) = objections(state, release, replace(documents, verdict=failed), now=NOW)
    assert why == "its verdict's document has the objections {'any': 'failed'}; the ledger says {}"


def test_a_policy_with_other_terms_than_were_adopted_is_an_objection(scene):
    state, release, documents = known(scene)
    laxer = replace(documents, policy=replace(documents.policy, approvals_min=0))
    assert objections(state, release, laxer, now=NOW) == [
        "its policy's document has approvals_min 0; it was adopted with 1"
    ]


def test_approvals_of_makers_of_one_person_twice_and_of_clicks_where_none_count_do_not_add_up(scene):
    state, release, documents = known(scene)
    (approval,) = release.approvals
    release.approvals_min = 2
    maker = replace(approval, actor="ada", person=next(iter(release.makers)))
    again = replace(approval, actor="grace-2")
    click = Approval("gus", "gus", Assurance.SERVER_ATTESTED, "fine", approval.time, 9)
    release.approvals, release.clicks = [approval, maker, again, click], False
    (why,) = objections(state, release, documents, now=NOW)
    assert why.startswith("1 persons who did not make it")
    release.clicks = True
    assert objections(state, release, documents, now=NOW) == []


# -- waivers: lapsed ones keep out what is on its way in


def waived(folder, *, on_lapse=Action.NOTIFY, live=False, first=True):
    """A release that failed a rule somebody took on, in canary or live; `first`: another one was live before it."""
    service = Service(folder, policy=replace(POLICY, on_lapse=on_lapse))
    if first:
        service.approve(service.dense)
        service.watch.step()
    release = service.approve(service.pruned, waived=True)
    service.watch.step()
    if live and first:
        service.send(release, 60)
    return service, service.model.releases[release.number]


def decide(service, release, *, now):
    read = service.artifacts.get
    documents = Documents(Verdict.decode(read(release.verdict)), Policy.decode(read(release.policy)))
    return objections(service.ledger.state(), release, documents, now=now)


def test_a_waived_failure_is_admitted_until_the_waiver_lapses(tmp_path):
    service, release = waived(tmp_path)
    assert release.status is Status.CANARY
    assert decide(service, release, now=NOW) == []
    assert Admission(service.artifacts).objections(service.ledger.state(), MODEL, release.number) == []
    (why,) = decide(service, release, now=LATER)
    assert why.startswith("it rests on a waiver of 'any' that lapsed")


def test_after_a_lapse_a_live_version_is_loaded_again_only_where_people_decide(tmp_path):
    for action, refused in ((Action.NOTIFY, 0), (Action.ROLL_BACK, 1)):
        service, release = waived(tmp_path / action.value, on_lapse=action, live=True)
        assert release.status is Status.LIVE
        assert len(decide(service, release, now=LATER)) == refused


def test_a_lapse_never_keeps_out_what_nothing_could_replace(tmp_path):
    service, release = waived(tmp_path, on_lapse=Action.ROLL_BACK, first=False)
    assert release.status is Status.LIVE
    assert decide(service, release, now=LATER) == []


def test_what_a_rollback_returns_to_is_never_refused_for_a_lapse(tmp_path):
    service, _ = waived(tmp_path, on_lapse=Action.ROLL_BACK, first=False)
    service.send(service.approve(service.dense), 60)
    service.watch.step()
    service.send(service.model.releases[2], 60)
    fallback = service.model.fallback
    assert (fallback.number, fallback.status) == (1, Status.RETIRED)
    assert decide(service, fallback, now=LATER) == []
