"""What opens a database is never shown."""

import pytest

from pruneguard.urls import shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ada:s3cret@db.example/x", "postgresql://ada:***@db.example/x"),
        ("postgresql://ada:s3@cret@db.example:port/x", "postgresql://ada:***@db.example:port/x"),
        ("postgresql://ada@db.example/x?sslmode=require&password=s3cret", None),
        ("postgresql://ada@db.example/x?sslpassword=s3cret&sslmode=require", None),
        ("s3://id:s3cret@bucket/folder", "s3://id:***@bucket/folder"),
        ("sqlite:////srv/pruneguard/ledger.sqlite", "sqlite:////srv/pruneguard/ledger.sqlite"),
        ("postgresql://ada@/x?host=/run/postgresql", "postgresql://ada@/x?host=/run/postgresql"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, said: str | None) -> None:
    assert "s3" not in shown(url).removeprefix("s3:")
    assert said is None or shown(url) == said
