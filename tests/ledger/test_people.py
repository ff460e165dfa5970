"""Keys, roles and policies: who may decide about whom, and that two accounts of one human are one person."""

import pytest

from pruneguard.ledger import rules
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import Role
from tests.ledger.making import TEAM, Log, opened, says, signer, started


@pytest.fixture
def log() -> Log:
    return started()


# -- the first key, and registering


@pytest.mark.parametrize(
    ("actor", "named", "roles"),
    [("root", "root", ["engineer"]), ("root", "ada", ["admin"])],
)
def test_the_first_key_is_an_admins_own(actor: str, named: str, roles: list[str]) -> None:
    log = Log()
    assert not log.act("ledger.opened", rules.MONITOR, origin="log.example/x")
    data = {"actor": named, "person": named, "public_key": signer(named).public_key, "roles": roles}
    assert says(log.act("key.registered", actor, by=signer(named), **data), "the first key must be its own actor's")
    assert not log.register("root", "admin")


def test_the_first_key_signs_for_itself() -> None:
    log = Log()
    assert not log.act("ledger.opened", rules.MONITOR, origin="log.example/x")
    data = {"actor": "root", "person": "root", "public_key": signer("root").public_key, "roles": ["admin"]}
    assert says(log.act("key.registered", "root", by=signer("eve"), **data), "the signature is not 'root'")
    assert log.state.people == {}


def test_nobody_but_an_admin_registers_keys(log: Log) -> None:
    assert says(log.register("eve", "engineer", by="grace"), "'grace' is not an admin")
    assert not log.register("eve", "engineer")


def test_nobody_registers_an_account_for_themselves(log: Log) -> None:
    assert says(log.register("root-2", "operator", person="root"), "their own keys and roles")


def test_an_account_has_one_key_at_a_time(log: Log) -> None:
    assert says(log.register("ada", "engineer", key="another"), "'ada' has a key already")


def test_nobody_gets_a_key_in_the_services_name(log: Log) -> None:
    assert says(log.register(rules.MONITOR, "operator"), "the service's own name")


@pytest.mark.parametrize("twin", ["gr4ce", "grace-", "gra.ce", "m0nitor", "0tt0", "lris", "1ris"])
def test_no_name_looks_like_another(log: Log, twin: str) -> None:
    why = log.register(twin, "engineer")
    assert (twin == "gr4ce") is not any("looks like" in reason for reason in why)


def test_no_person_looks_like_another(log: Log) -> None:
    assert says(log.register("eve", "engineer", person="i-ris"), "'i-ris' looks like 'iris'")
    assert not log.register("eve", "engineer", person="iris")


@pytest.mark.parametrize("name", ["", "Ada", "\u0430da", "a da", "ada\n", "-ada", "a" * 65, "adá", 7, None])
def test_a_name_is_plain_lower_case(log: Log, name: object) -> None:
    """So that no two names are told apart by nothing that an eye can see."""
    data = {"actor": name, "person": "eve", "public_key": signer("eve").public_key, "roles": ["engineer"]}
    assert says(log.act("key.registered", "root", **data), "expected 1 to 64 of a-z 0-9 . _ -")


@pytest.mark.parametrize("key", ["", "AAAA", "not base64", 44 * "A", 43 * "A" + "=\n", 42 * "A" + "B=", 7, None])
def test_what_is_no_public_key_is_refused(log: Log, key: object) -> None:
    data = {"actor": "eve", "person": "eve", "public_key": key, "roles": ["engineer"]}
    assert says(log.act("key.registered", "root", **data), "expected base64 of an Ed25519 public key")


@pytest.mark.parametrize("roles", [[], ["king"], "admin", ["engineer", "engineer"], [["admin"]], None])
def test_roles_are_a_list_of_those_there_are(log: Log, roles: object) -> None:
    data = {"actor": "eve", "person": "eve", "public_key": signer("eve").public_key, "roles": roles}
    assert says(log.act("key.registered", "root", **data), "expected a list of roles")


# -- rotating and revoking


def test_a_rotated_key_signs_and_the_old_one_does_not(log: Log) -> None:
    assert not log.rotate("ada", "fresh")
    assert says(log.start("r2"), "the signature is not 'ada'")
    refs = {"manifest": "m"}
    assert not log.act("run.started", "ada", refs, by=signer("ada", "fresh"), run="r2", model="digits")
    assert log.state.people["ada"].roles == {Role.ENGINEER}


def test_nobody_rotates_anothers_key(log: Log) -> None:
    new = signer("ada", "fresh")
    data = {"actor": "ada", "public_key": new.public_key, "proof": new.prove(log.state.id)}
    assert says(log.act("key.rotated", "root", **data), "'ada' alone rotates their key")


@pytest.mark.parametrize("told", [("ada", "another"), ("grace", "fresh"), ("ada", "fresh")])
def test_a_new_key_proves_that_somebody_has_it(log: Log, told: tuple[str, str]) -> None:
    """By its own signature, over this actor and this ledger."""
    ledger = "another ledger" if told == ("ada", "fresh") else log.state.id
    assert says(log.rotate("ada", "fresh", proof=signer(*told).prove(ledger)), "the proof does not hold")


def test_a_revoked_key_signs_nothing_and_its_roles_are_gone(log: Log) -> None:
    assert not log.act("key.revoked", "root", actor="ada", reason="lost")
    assert says([log.start("r2")[0]], "'ada' has no key")
    assert log.state.people["ada"].roles == frozenset()


@pytest.mark.parametrize(("by", "allowed"), [("ada", True), ("root", True), ("grace", False)])
def test_a_key_is_revoked_by_an_admin_or_its_owner(log: Log, by: str, allowed: bool) -> None:
    why = log.act("key.revoked", by, actor="ada", reason="lost")
    assert why == [] if allowed else says(why, "'grace' is not an admin")


def test_a_key_is_revoked_once_and_with_a_reason(log: Log) -> None:
    assert says(log.act("key.revoked", "root", actor="ada", reason=" "), "reason is ' '")
    assert not log.act("key.revoked", "root", actor="ada", reason="lost")
    assert says(log.act("key.revoked", "root", actor="ada", reason="lost"), "'ada' has no key")


def test_after_a_revocation_the_same_person_gets_a_new_key(log: Log) -> None:
    assert not log.act("key.revoked", "root", actor="ada", reason="lost")
    assert says(log.register("ada", "engineer", person="eve", key="fresh"), "'ada' is 'ada', not 'eve'")
    assert not log.register("ada", "engineer", key="fresh")
    assert log.state.may("ada", Role.ENGINEER)


@pytest.mark.parametrize("how", ["register", "rotate", "after revocation", "rotated away"])
def test_no_key_is_ever_used_again(log: Log, how: str) -> None:
    if how == "after revocation":
        assert not log.act("key.revoked", "root", actor="ada", reason="lost")
        why = log.register("ada", "engineer")
    elif how == "rotated away":
        assert not log.rotate("ada", "fresh")
        why = log.rotate("ada", "", old="fresh")
    else:
        why = log.rotate("grace", "ada") if how == "rotate" else log.register("eve", "engineer", key="ada")
    assert says(why, "this key is or was 'ada'")


def test_the_last_admin_stays(log: Log) -> None:
    assert says(log.act("key.revoked", "root", actor="root", reason="tired"), "the last admin")
    assert not log.register("rita", "admin")
    assert not log.act("key.revoked", "root", actor="root", reason="tired")
    assert says(log.act("key.revoked", "rita", actor="rita", reason="tired"), "the last admin")


def test_a_role_is_not_taken_from_the_last_admin(log: Log) -> None:
    assert not log.register("rita", "admin")
    assert not log.act("role.revoked", "rita", actor="root", roles=["admin"], reason="moved")
    assert log.act("role.revoked", "root", actor="rita", roles=["admin"], reason="revenge")
    assert log.state.may("rita", Role.ADMIN)


# -- roles


def test_a_role_counts_from_where_it_was_granted_to_where_it_was_taken(log: Log) -> None:
    assert log.start("r2", by="otto")
    assert not log.act("role.granted", "root", actor="otto", roles=["engineer"])
    assert not log.start("r2", by="otto")
    assert not log.act("role.revoked", "root", actor="otto", roles=["engineer"], reason="moved")
    assert log.start("r3", by="otto")
    assert log.state.people["otto"].roles == {Role.OPERATOR}


@pytest.mark.parametrize("type_", ["role.granted", "role.revoked"])
def test_nobody_but_an_admin_decides_about_roles(log: Log, type_: str) -> None:
    reason = {"reason": "moved"} if type_ == "role.revoked" else {}
    roles = ["engineer"] if type_ == "role.granted" else ["operator"]
    assert says(log.act(type_, "grace", actor="otto", roles=roles, **reason), "'grace' is not an admin")


def test_nobody_grants_or_takes_their_own_roles(log: Log) -> None:
    assert not log.register("rita", "admin")
    assert says(log.act("role.granted", "root", actor="root", roles=["operator"]), "their own keys and roles")
    why = log.act("role.revoked", "root", actor="root", roles=["admin"], reason="tired")
    assert says(why, "their own keys and roles")


def test_not_even_by_a_second_account(log: Log) -> None:
    assert not log.register("rita", "admin")
    assert not log.register("root-2", "operator", person="root", by="rita")
    assert says(log.act("role.granted", "root", actor="root-2", roles=["engineer"]), "their own keys and roles")


def test_a_role_is_granted_once_and_taken_from_who_has_it(log: Log) -> None:
    assert says(log.act("role.granted", "root", actor="otto", roles=["operator"]), "has ['operator'] already")
    why = log.act("role.revoked", "root", actor="otto", roles=["operator", "auditor"], reason="moved")
    assert says(why, "does not have ['auditor']")
    assert says(log.act("role.granted", "root", actor="eve", roles=["operator"]), "'eve' has no key")


@pytest.mark.parametrize("first", ["admin", "approver"])
def test_nobody_is_admin_and_approver_under_any_accounts(log: Log, first: str) -> None:
    second = {"admin": "approver", "approver": "admin"}[first]
    assert says(log.register("eve", "admin", "approver"), "an admin cannot approve")
    assert not log.register("eve", first)
    assert says(log.act("role.granted", "root", actor="eve", roles=[second]), "an admin cannot approve")
    assert says(log.register("eve-2", second, person="eve"), "an admin cannot approve")


def test_what_was_signed_once_takes_effect_once(log: Log) -> None:
    """Else the service could give a role back that an admin took, with the admin's own signature."""
    assert not log.act("role.granted", "root", actor="otto", roles=["engineer"])
    granted = log.effective[-1]
    assert not log.act("role.revoked", "root", actor="otto", roles=["engineer"], reason="moved")
    assert says(log.fold(granted), "this very act has happened already")
    assert not log.state.may("otto", Role.ENGINEER)


def test_a_stranger_cannot_act(log: Log) -> None:
    event = Event("run.started", "eve", {"run": "r2", "model": "digits"}, {"manifest": "sha256:" + 64 * "0"})
    assert "'eve' has no key" in log.add(event, signer("eve"))[0]


# -- policies


def test_an_engineer_does_not_adopt_policies(log: Log) -> None:
    assert says(log.adopt("loose", by="ada", version=2), "'ada' is not an approver")


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("approvals_min", 0),
        ("approvals_min", -1),
        ("approvals_min", "1"),
        ("approvals_min", True),
        ("version", "2"),
        ("version", None),
        ("on_decay", "panic"),
        ("on_lapse", None),
        ("waivers", 1),
        ("server_attested", "false"),
        ("name", "P"),
    ],
)
def test_a_policys_terms_are_of_their_kind(log: Log, term: str, value: object) -> None:
    assert says(log.adopt("loose", **{"version": 2, term: value}), f"{term} is {value!r}")


@pytest.mark.parametrize("term", ["version", "approvals_min", "on_decay", "server_attested", "waivers", "on_lapse"])
def test_an_adopted_policy_keeps_its_terms(log: Log, term: str) -> None:
    other = {"version": 2, "approvals_min": 2, "server_attested": False, "waivers": False}.get(term)
    other = other if other is not None else {"on_decay": "notify", "on_lapse": "roll back"}[term]
    assert not log.adopt()  # again, the same
    assert any("other terms" in reason for reason in log.adopt(**{term: other}))
    assert log.state.in_force["p"].version == 1


def test_a_change_of_policy_has_a_higher_version(log: Log) -> None:
    assert says(log.adopt("other"), "version 1 of 'p' is in force")
    assert not log.adopt("second", version=2)
    assert says(log.adopt(), "version 2 of 'p' is in force")


def test_a_policy_of_another_name_replaces_nothing(log: Log) -> None:
    assert not log.adopt("another", name="q")
    assert {name: policy.version for name, policy in log.state.in_force.items()} == {"p": 1, "q": 1}


def test_a_policy_is_replaced_by_as_many_persons_as_it_asks_approvals_for() -> None:
    log = started(approvals_min=2)
    before = log.state.in_force["p"]
    assert not log.adopt("looser", version=2)
    assert log.state.in_force["p"] == before
    assert says(log.adopt("looser", version=2), "has adopted it already; another person must")
    assert not log.register("grace-2", "approver", person="grace")
    assert says(log.adopt("looser", version=2, by="grace-2"), "another person must")
    assert not log.adopt("looser", version=2, by="gil")
    assert log.state.in_force["p"].adopted_by == ("grace", "gil")
    assert log.state.pending == {}


def test_the_first_policy_of_a_name_is_in_force_at_once() -> None:
    assert started(approvals_min=2).state.in_force["p"].adopted_by == ("grace",)


def test_everybody_of_the_team_has_the_role_they_were_given(log: Log) -> None:
    assert {actor: [*log.state.people[actor].roles] for actor in TEAM} == {a: [Role(r)] for a, r in TEAM.items()}
    assert opened().state.people.keys() == {"root"}
