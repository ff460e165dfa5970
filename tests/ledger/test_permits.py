"""Bearer tokens: an admin issues them to others, they do no more than their holder, and they end."""

from typing import Any

import pytest

from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Act
from tests.ledger.making import Log, digest, later, says, started


@pytest.fixture
def log() -> Log:
    return started()


def issue(log: Log, name: str = "t1", *, by: str = "root", **told: Any) -> list[str]:
    data = {"token": name, "holder": "otto", "acts": ["infer"], "models": ["digits"], "per_second": 10, **told}
    data = {"expires": later(log.state.clock, days=30), "reason": "the app", **data}
    return log.act("token.issued", by, {"secret": f"text of {name}"}, **data)


def end(log: Log, name: str = "t1", *, by: str = "root") -> list[str]:
    return log.act("token.revoked", by, token=name, reason="it leaked")


def test_an_admin_issues_a_token_of_which_the_log_knows_a_digest(log: Log) -> None:
    assert not issue(log, acts=["operate", "infer"], models=["*"])
    token = log.state.tokens["t1"]
    assert (token.holder, token.issued_by, token.ended) == ("otto", "root", None)
    assert token.acts == {Act.INFER, Act.OPERATE}
    assert token.secret == digest("text of t1")


@pytest.mark.parametrize("by", ["ada", "grace", "otto", "iris"])
def test_nobody_but_an_admin_issues_one(log: Log, by: str) -> None:
    holder = "ada" if by != "ada" else "grace"
    assert says(issue(log, by=by, holder=holder), "is not an admin")


def test_nobody_issues_a_token_to_themself_by_another_account(log: Log) -> None:
    assert says(issue(log, holder="root"), "own person")
    assert not log.register("ruth", "admin")
    assert not log.register("root.2", "operator", person="root", by="ruth")
    assert says(issue(log, holder="root.2"), "own person")
    assert not issue(log, holder="root.2", by="ruth")


def test_a_holder_is_known_here_and_has_a_key(log: Log) -> None:
    assert says(issue(log, holder="eve"), "has no key")
    assert not log.act("key.revoked", "root", actor="otto", reason="lost")
    assert says(issue(log), "has no key")


def test_a_token_can_do_no_more_than_its_holder(log: Log) -> None:
    assert says(issue(log, holder="ada", acts=["operate"]), "is not an operator")
    assert not issue(log, holder="ada", acts=["infer", "labels", "metrics"])


def test_a_name_is_used_once_even_after_its_token_ended(log: Log) -> None:
    assert not issue(log)
    assert says(issue(log), "was issued already")
    assert not end(log)
    assert says(issue(log), "was issued already")


@pytest.mark.parametrize(("days", "allowed"), [(-1, False), (0, False), (1, True), (366, True), (367, False)])
def test_a_token_ends_within_366_days(log: Log, days: int, allowed: bool) -> None:
    expires = later(log.state.clock, minutes=1, days=days)  # the act is a minute after the one before
    found = issue(log, expires=expires)
    assert found == [] if allowed else says(found, "it expires")


@pytest.mark.parametrize(("by", "allowed"), [("root", True), ("otto", True), ("ada", False), ("iris", False)])
def test_an_admin_or_the_holder_revokes(log: Log, by: str, allowed: bool) -> None:
    assert not issue(log)
    found = end(log, by=by)
    assert found == [] if allowed else says(found, "neither an admin nor")
    assert log.state.tokens["t1"].ended == ("it leaked" if allowed else None)


def test_what_does_not_count_is_not_revoked(log: Log) -> None:
    assert says(end(log), "no token 't1'")
    assert not issue(log)
    assert not end(log)
    assert says(end(log), "counts no more already: it leaked")


def test_tokens_end_with_their_holders_key_and_stay_ended(log: Log) -> None:
    assert not issue(log)
    assert not issue(log, "t2", holder="ada")
    assert not log.act("key.revoked", "root", actor="otto", reason="lost")
    assert not log.register("otto", "operator", key="otto's new key")
    assert log.state.tokens["t1"].ended == "the key of otto was revoked"
    assert log.state.tokens["t2"].ended is None


@pytest.mark.parametrize("act", ["token.issued", "token.revoked"])
def test_both_acts_are_signed(log: Log, act: str) -> None:
    assert not issue(log)
    data: dict[str, Any] = {"token": "t1", "reason": "r"}
    if act == "token.issued":
        data |= {"token": "t2", "holder": "otto", "acts": ["infer"], "models": ["*"], "per_second": 1}
        data["expires"] = later(log.state.clock, days=1)
    assert says(log.act(act, "root", {"secret": "s"}, clicked=True, **data), "only a person's own signature")


@pytest.mark.parametrize(
    "changes",
    [
        {"acts": []},
        {"acts": ["infer", "infer"]},
        {"acts": ["everything"]},
        {"models": []},
        {"models": "*"},
        {"models": ["*", "digits"]},
        {"models": ["Digits"]},
        {"per_second": 0},
        {"per_second": True},
        {"holder": ""},
    ],
)
def test_a_malformed_token_is_refused(log: Log, changes: dict[str, Any]) -> None:
    assert says(issue(log, **changes), "expected")


def deny(log: Log, *, by: str = MONITOR, **told: Any) -> list[str]:
    since = later(log.state.clock, seconds=1)
    data = {"since": since, "until": later(since, seconds=59), "reasons": {"no token": 7}, **told}
    return log.act("access.denied", by, {"calls": "lines"}, **data)


def test_the_monitor_tells_of_denied_calls(log: Log) -> None:
    assert not deny(log)
    (told,) = log.state.denials
    assert told["reasons"] == {"no token": 7}
    assert log.state.kept[-1] != log.state.size - 1  # telemetry: retention may drop it


def test_nobody_else_tells_of_denied_calls(log: Log) -> None:
    assert says(deny(log, by="otto"), "not the monitor")


@pytest.mark.parametrize("reasons", [{}, {"no token": 0}, {" ": 1}, {"no token": "7"}, ["no token"]])
def test_counts_of_denied_calls_are_counts(log: Log, reasons: Any) -> None:
    assert says(deny(log, reasons=reasons), "expected")


def test_a_window_does_not_end_before_it_begins(log: Log) -> None:
    assert says(deny(log, until=log.state.clock), "before it begins")
