"""Tokens as an admin makes them: random, shown once, and kept as a digest."""

from datetime import timedelta

import pytest

from pruneguard import tokens
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Act
from pruneguard.testing import memory_ledger, people, register


@pytest.fixture
def ledger() -> Ledger:
    made = memory_ledger()
    register(made)
    return made


def issued(ledger: Ledger, name: str = "app", **told: object) -> str:
    how = {"holder": "otto", "acts": [Act.INFER], "models": ["digits"], "per_second": 5, "reason": "r", **told}
    text, _ = tokens.issue(ledger, name=name, until=timedelta(days=1), signer=people()["root"], **how)  # type: ignore[arg-type]
    return text


def test_the_text_of_a_token_is_nowhere_in_the_ledger_and_its_digest_is(ledger: Ledger) -> None:
    text = issued(ledger)
    entry = ledger.raw(ledger.size - 1, ledger.size)[0]
    assert text.encode() not in entry
    assert ledger.state().tokens["app"].secret == tokens.digest(text)


def test_no_two_texts_are_alike_and_each_names_its_token() -> None:
    texts = {tokens.new_text("a_b-c.d") for _ in range(100)}
    assert len(texts) == 100
    assert {tokens.name_in(text) for text in texts} == {"a_b-c.d"}


@pytest.mark.parametrize("text", ["", "pgt_", "pgt_app", "pgt_app_" + 42 * "x", "app_" + 43 * "x", "pgt_" + 43 * "x"])
def test_what_is_no_token_has_no_name(text: str) -> None:
    assert tokens.name_in(text) == ""


def test_a_revoked_token_says_why(ledger: Ledger) -> None:
    issued(ledger)
    tokens.revoke(ledger, name="app", reason="it leaked", signer=people()["otto"])
    assert ledger.state().tokens["app"].ended == "it leaked"


def test_an_unknown_act_is_named_with_those_there_are() -> None:
    assert tokens.acts_of(["infer", "operate"]) == [Act.INFER, Act.OPERATE]
    with pytest.raises(InvalidInputError, match=r"unknown acts \['rule'\]; a token is for infer, labels"):
        tokens.acts_of(["rule"])
