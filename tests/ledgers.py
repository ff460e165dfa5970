"""Ledgers on disk for tests, and a way to change one behind its back."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pruneguard.ledger.keys import new_log_key
from pruneguard.ledger.ledger import Ledger
from pruneguard.settings import Settings
from pruneguard.testing import ORIGIN, register


def new_ledger(folder: Path) -> Settings:
    """An opened ledger with four people and nothing else."""
    settings = Settings(home=folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = new_log_key(settings.keys_dir / "log.key", ORIGIN)
    ledger = Ledger.create(settings.ledger, origin=ORIGIN, key=key)
    register(ledger)
    ledger.close()
    return settings


def edit(settings: Settings, *, index: int, body: bytes | None = None) -> bytes:
    """Change one entry behind the ledger's back, as somebody with the file could. Returns what stood there before."""
    with closing(sqlite3.connect(settings.home / "ledger.sqlite")) as connection, connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        (before,) = connection.execute("SELECT body FROM entry WHERE idx = ?", (index,)).fetchone()
        other = before[:-2] + bytes([before[-2] ^ 1]) + before[-1:] if body is None else body
        connection.execute("UPDATE entry SET body = ? WHERE idx = ?", (other, index))
    return bytes(before)
