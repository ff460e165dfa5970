"""What the pages say of one entry, after keys were rotated and revoked and retention dropped what entries said."""

from contextlib import closing
from pathlib import Path

import pytest

from dashboards.proofs import prove, signature
from dashboards.reading import Book
from pruneguard import accounts, home, testing
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.keys import new_signer
from pruneguard.settings import Settings
from tests.privacy import scenes


def test_what_somebody_signed_stands_after_their_key_is_rotated_and_revoked(tmp_path: Path) -> None:
    ledger = testing.memory_ledger()
    testing.register(ledger)
    root, path = testing.people()["root"], tmp_path / "mel.key"
    mel = new_signer(path, "mel")
    accounts.register(ledger, actor="mel", public_key=mel.public_key, roles=accounts.roles_of(["admin"]), signer=root)
    signed = accounts.grant(ledger, actor="ada", roles=accounts.roles_of(["auditor"]), signer=mel).index
    accounts.rotate(ledger, path, passphrase=None, new_passphrase=None)
    accounts.revoke(ledger, actor="mel", reason="left", signer=root)
    stands, words = signature(ledger.state(), ledger.entry(signed))
    assert stands
    assert words == "Signed by mel with an Ed25519 key registered for them, over exactly these bytes."


def test_entries_that_retention_dropped_have_no_line_and_hide_no_other(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", held_dir=tmp_path / "held")
    scenes.observed(settings)
    book = Book(settings)  # one that read them all before they went
    every = book.find().indices
    assert len(book.lines(every)) == len(every)
    scenes.retain(settings)
    dropped = [index for start, end in book.now().state.absent for index in range(start, end)]
    assert dropped
    for reader in (book, Book(settings)):
        lines = {line.index for line in reader.lines(reader.find().indices)}
        assert lines == set(range(reader.now().state.size)) - set(dropped)
        assert reader.find(text="as seen").indices
    with closing(home.read_ledger(settings)) as ledger, pytest.raises(InvalidInputError, match="retention dropped"):
        prove(ledger, dropped[0])
