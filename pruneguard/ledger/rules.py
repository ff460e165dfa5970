"""Who may do what, when: every reason for which an entry may not take effect. Pure, as the fold is that asks here.

The ledger asks before it appends, and the fold asks again for every reader; what breaks a rule is recorded as a
violation and changes nothing. `now` is the later of the clock (the latest time of any entry that took effect) and the
event's own time. A person may have several accounts (actors); duties are about persons.

Every entry
 1. The first to take effect is `ledger.opened`, unsigned and by `monitor`; nothing does before it, and it does once.
 2. Each digest and field is of the kind that the catalogue names; what the type needs is there.
 3. A causation id has happened once. Of batch.sealed and drift.reported, only the newest 1,000 and 100 that took effect
    for the model are remembered, of access.denied the newest 100, until retention drops them.
 4. A signature is by the key that the actor has at this position (the very first key.registered: by the key that it
    registers), the event names this ledger, and no signed event before it has its id.
 5. A person's act is signed (`events.SIGNED`). What approves a release or moves traffic (`events.CLICKED`) may come
    unsigned: by a person it then says `assurance` "server-attested"; signed or by `monitor`, it does not say it.

People (`people.py`)
 6. key.registered: the first names its own actor, with the role admin. Every other is by an admin who is another person
    than the one named. The actor has no key now, and if it had one, it is of the same person. Neither actor nor person
    is `monitor`, and no actor looks like another or like `monitor`, no person like another or like it: two names look
    alike when they are equal once 0 is read as o, 1 and i as l, and . _ - are left out. The key was never anybody's
    before.
 7. key.rotated: by the actor named. The new key was never anybody's before; `proof` is its signature (`key_proof`).
 8. key.revoked: by an admin or the actor named, who has a key and is not the last admin. The roles go with the key.
 9. role.granted: by an admin who is another person; the actor has a key and none of these roles.
10. role.revoked: by an admin who is another person; the actor has all of these roles and is not the last admin.
11. Nobody is admin and approver at once, over all accounts of a person.
12. policy.adopted: by an approver. A digest keeps its terms. Where another policy of the name is in force, the version
    is higher, and this person has not adopted it yet. It comes into force when as many persons adopted it as the policy
    in force then asks approvals for; the first of a name does at once. Adopting again what is in force changes nothing.

Releases (`promotion.py`)
13. run.started: by an engineer; the run is new.
14. Work on a run (run.finished, data.admitted, model.trained, model.pruned, attempt.failed, verdict.given,
    gates.self_tested): by an engineer; the run is of this model and has not ended. Whoever starts, admits, trains,
    prunes, tries to or judges is a maker of the run.
15. model.trained and model.pruned: the data, and a parent that is named, are known to have been made. Whoever admits
    data or makes a model is its maker, and so are the makers, by then, of the data and parent it is made of.
16. verdict.given: its policy is or was in force; candidate, parent and data are known to have been made. `passed` is so
    exactly where there are rules and no objections, and no more objections than rules. Where a digest comes again for
    the model, the first one counts.
17. gates.self_tested, gates.drilled: the policy is or was in force; refused is at most of. gates.drilled: by an
    engineer; clean_passed is at most clean_of. It is about no run and no model.
18. waiver.granted: by an approver who is not a maker of the verdict's run, candidate, twin or data. The verdict is on
    record for the model, is about the candidate and on the release split; its objection to the rule is not "no
    evidence"; its policy allows waivers. `expires` is after now, by 90 days at most. `before` is the rules passed of
    the rules checked, `after` is one more. A second waiver of the digest and rule is by another person than the one
    before.
19. release.proposed: by an engineer; the verdict is on record for the model, is about the candidate and on the release
    split; its policy is the one in force of its name. It passed, or its policy allows waivers and for each objection,
    none of which is "no evidence", the newest waiver of digest and rule has not lapsed now; then the release rests on
    those waivers, and on what extends them. The number is the model's next. Where the model's newest approved release
    rests on a policy of another name, the one now in force under that name binds this release too: its waivers are
    allowed by both.
20. release.approved: by an approver who is not a maker (at its proposal: the proposer, and the makers of the verdict's
    run, candidate, twin and data) and has not approved it; the release is proposed; no waiver it rests on has lapsed;
    unsigned only where every policy that binds it says so. With as many approvals as the most that a policy that binds
    it asks for, it is approved. What binds it is fixed at its proposal.
21. traffic.shifted: by `monitor` or an operator; the release is approved or in canary and not held, no other is in
    canary, the model's traffic is not diverted, no waiver it rests on has lapsed; unsigned by a person only where every
    policy that binds it says so. Its share becomes that of the next of its policy's steps, 1 after the last; or a
    smaller step's; or 1 where nothing is live. To a larger share than it has, it goes when the step's seconds have
    passed since it took the share it has, by the latest times; and `monitor` names the comparison that it rests on, and
    at least as many requests as the step asks for. A share of 1 makes it live. To shift ends its shadow.
22. release.rolled_back: of a canary to the live version, or of the live version to the last one to go live of those
    that gave way, which `to` names. By an operator; or by `monitor` for an alarm about this release that it names: of
    the detector "waiver" where the policy's on_lapse is "roll back", of "canary" while it is in canary, of any other
    where its on_decay is "roll back". A hold ends with it.
23. batch.sealed, drift.reported, alarm.raised: by `monitor`, about a release. An alarm's event id is new. An alarm of
    the detector "waiver", and no other, names a waiver: one that the release rests on, that has lapsed, and whose lapse
    has raised no alarm since a rollback last went back to a release that rests on it. One of the detector "canary", and
    no other, names a comparison; the release is in canary.

Keeping (`keeping.py`)
24. document.attached: by anybody with a key. It names a document or states something, has not expired now, and a model
    that it names is known.
25. hold.placed: by an auditor or admin; no hold of the name stands. hold.lifted: by an auditor or admin; one stands.
26. retention.applied: by an admin. Only telemetry (batch.sealed, drift.reported, access.denied) is dropped, at least
    183 days old: `before` is that much before now. Every range lies in what took effect as telemetry, is not absent
    already, and ends at or before the last multiple of 256 entries by which the clock had not come to `before`. No
    hold on telemetry or all stands. (Decisions carry every later one and are kept as long as the ledger: longer than
    10 years.)
27. subject.described: by an auditor or admin; none of the commitments was ever on record before.
28. subject.erased: by an auditor or admin; every commitment is on record and none is erased already. No hold stands on
    all, or on a subject that one of the commitments was recorded for.

Access (`permits.py`)
29. token.issued: by an admin who is another person than the holder, who has a key. No token had the name before. It is
    for operate only where the holder is an operator. `expires` is after now, by 366 days at most. `secret` is the
    digest of the token's text. A token counts until it expires, is revoked, or the holder's key is.
30. token.revoked: by an admin or its holder; the token counts still, or has expired.
31. access.denied: by `monitor`; it does not end before it begins.

Traffic (`traffic.py`); each by an operator, unsigned only where every policy that binds the release says so: for 33 the
one that is live, or else in canary
32. release.held: the release is approved or in canary, and not held. release.resumed: it is held. A hold stops shares,
    never the way back.
33. traffic.diverted: a release of the model is live or in canary. `to` is one that has been live, is live or retired
    now, has the digest that is named, and rests on no waiver that has lapsed; or null, with no digest: nothing answers.
    It is not diverted so already. traffic.restored: it is diverted. Where the release that it is diverted to is rolled
    back, it is diverted to where that goes back to.
34. traffic.copied: by `monitor` too. With a share: the release is approved, another is live, no other answers copies,
    no waiver it rests on has lapsed; it answers that share of the requests as well, and nobody gets these answers.
    Without one: it answers copies, and answers none from then on.
"""

from collections.abc import Callable, Iterator, Mapping

from pruneguard.ledger import keeping, people, permits, promotion, traffic
from pruneguard.ledger.events import CATALOGUE, CLICKED, SIGNED, Entry
from pruneguard.ledger.people import MONITOR, public_key
from pruneguard.ledger.state import State

__all__ = ["MONITOR", "objections", "public_key", "signature_objections"]


def objections(state: State, entry: Entry) -> list[str]:
    """Every reason for which this entry may not take effect now; an empty list means that it may."""
    event = entry.event
    found = [f"{event.type}: {reason}" for reason in CATALOGUE[event.type].objections(event.refs, event.data)]
    if found:
        return found  # no rule reads a field that is not what it must be
    found += (f"{event.type}: {reason}" for reason in _out_of_place(state, entry))
    found += signature_objections(state, entry)
    found += (f"{event.type}: {reason}" for reason in _RULES[event.type](state, entry))
    return found


def signature_objections(state: State, entry: Entry) -> Iterator[str]:
    """Why an entry is not signed as its type asks, by the key that its actor has at this position."""
    event = entry.event
    if entry.envelope is None:
        if event.type in SIGNED:
            yield f"{event.type}: only a person's own signature makes this event; it has none"
        return
    known = state.people.get(event.actor)
    key = known.public_key if known else None
    if event.type == "key.registered" and not state.people:
        key = event.data["public_key"]  # the first key vouches for itself: whoever opens a ledger administers it
    if key is None:
        yield f"{event.type}: {event.actor!r} has no key; an admin registers one with `pruneguard keys register`"
    elif not entry.envelope.verified_by(public_key(key)):
        yield f"{event.type}: the signature is not {event.actor!r}'s"
    elif event.ledger != state.id:
        yield f"{event.type}: signed for the ledger {event.ledger!r}, and this one is {state.id!r}"
    elif event.id in state.signed:
        yield f"{event.type}: this very act has happened already; sign a new one"


def _out_of_place(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    if not state.id and event.type != "ledger.opened":
        yield "this ledger was not opened yet"
    if event.causation is not None and (before := state.causations.get(event.causation)) is not None:
        yield f"{event.causation!r} has happened already, at {before}"
    if event.type in CLICKED:
        clicked = entry.envelope is None and event.actor != MONITOR
        said = event.data.get("assurance")
        if clicked and said is None:
            yield 'without a signature it must say assurance: "server-attested"'
        if not clicked and said is not None:
            yield f"assurance is {said!r}; only a person's act without a signature says so"


def _may_open(state: State, entry: Entry) -> Iterator[str]:
    if state.id:
        yield f"this ledger was opened already, as {state.origin!r}"
    if entry.envelope is not None or entry.event.actor != MONITOR:
        yield f"only {MONITOR!r} opens a ledger, without a signature"


_RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "ledger.opened": _may_open,
    **people.RULES,
    **promotion.RULES,
    **traffic.RULES,
    **keeping.RULES,
    **permits.RULES,
}
