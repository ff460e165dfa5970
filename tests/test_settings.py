"""Settings come from PRUNEGUARD_* and from nowhere else; what does not fit stops the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pruneguard.errors import InvalidInputError
from pruneguard.settings import PREFIX, Settings, for_children, load_settings


def test_without_variables_everything_has_a_value_and_only_this_machine_can_reach_it() -> None:
    settings = load_settings({})
    assert settings.host == "127.0.0.1"
    assert settings.ledger == "sqlite:///var/ledger.sqlite"
    assert settings.artifacts == "var/artifacts"


def test_a_variable_sets_its_field() -> None:
    settings = load_settings({"PRUNEGUARD_HOME": "/srv/pg", "PRUNEGUARD_GATEWAY_PORT": "0", "PATH": "/usr/bin"})
    assert settings.home == Path("/srv/pg")
    assert settings.gateway_port == 0
    assert settings.keys_dir == Path("/srv/pg/keys")
    assert settings.observations == Path("/srv/pg/observations")


def test_a_url_wins_over_the_folder_in_home() -> None:
    urls = {"PRUNEGUARD_LEDGER_URL": "postgresql+psycopg://db/pg", "PRUNEGUARD_ARTIFACTS_URL": "s3://bucket/pg"}
    settings = load_settings(urls)
    assert settings.ledger == "postgresql+psycopg://db/pg"
    assert settings.artifacts == "s3://bucket/pg"


def test_a_misspelt_variable_is_named_with_the_ones_that_exist() -> None:
    with pytest.raises(InvalidInputError, match=r"PRUNEGUARD_GATEWAY_PROT.*PRUNEGUARD_GATEWAY_PORT"):
        load_settings({"PRUNEGUARD_GATEWAY_PROT": "8600"})


def test_a_variable_in_lower_case_is_not_silently_ignored() -> None:
    with pytest.raises(InvalidInputError, match="PRUNEGUARD_home"):
        load_settings({"PRUNEGUARD_home": "/srv/pg"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "-1"),
        ("GATEWAY_PORT", "http"),
        ("GATEWAY_PORT", ""),
        ("THREADS", "0"),
        ("THREADS", "1.5"),
        ("REQUEST_BYTES_MAX", "0"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{PREFIX}{name}={value!r}"):
        load_settings({PREFIX + name: value})


def test_settings_do_not_change_after_they_are_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).threads = 2  # type: ignore[misc]


def test_every_setting_has_a_sentence_that_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_what_opens_peoples_keys_is_told_to_no_child_and_no_reader() -> None:
    settings = load_settings({"PRUNEGUARD_PASSPHRASE": "correct horse", "PRUNEGUARD_THREADS": "2"})
    assert settings.passphrase.get_secret_value() == "correct horse"
    assert "PRUNEGUARD_PASSPHRASE" not in settings.environ
    assert "correct horse" not in f"{settings!r} {settings.model_dump()} {settings.environ}"
    told = for_children({"PRUNEGUARD_PASSPHRASE": "correct horse", "PATH": "/usr/bin"})
    assert told == {"PATH": "/usr/bin"}
