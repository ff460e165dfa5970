"""Every knob of the service. Read once, at an entry point, then passed down as plain values."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pruneguard.errors import InvalidInputError

PREFIX = "PRUNEGUARD_"

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path("var")
    """Directory of everything this service writes: ledger, artefacts, keys, observations."""

    ledger_url: str = ""
    """SQLAlchemy URL of the ledger. Empty means SQLite in `home`."""

    artifacts_url: str = ""
    """fsspec URL of the artefact store (a folder, s3://, gs://). Empty means a folder in `home`."""

    data_dir: Path = Path("data")
    """Directory in which workloads look for data sets; see the README of each example."""

    host: str = "127.0.0.1"
    """Address that gateway and dashboard listen on. Anything but loopback is your decision to make."""

    gateway_port: Port = 8600
    """Port of the gateway: inference and /metrics. 0 takes any free one."""

    dashboard_port: Port = 8601
    """Port of the dashboard. 0 takes any free one."""

    threads: PositiveInt = 1
    """Threads that one inference may use."""

    training_threads: NonNegativeInt = 0
    """Threads that training may use. 0 leaves it to PyTorch; with 1 the weights do not depend on the core count."""

    request_bytes_max: PositiveInt = 16_000_000
    """Largest request body the gateway reads."""

    @property
    def environ(self) -> dict[str, str]:
        """These settings as a child process reads them, whatever folder it runs in."""
        values = ((name, v.resolve() if isinstance(v, Path) else v) for name, v in self.model_dump().items())
        return {PREFIX + name.upper(): str(value) for name, value in values}

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.sqlite'}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"

    @property
    def observations(self) -> Path:
        return self.home / "observations"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`. Raises InvalidInputError for an unknown name or a value that does not fit."""
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    if unknown := sorted(given.keys() - known.keys()):
        raise InvalidInputError(
            f"unknown settings {unknown}; known are {sorted(known)}. Fix the spelling or unset them"
        )
    try:
        return Settings.model_validate({known[name]: value for name, value in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise InvalidInputError(f"{name}={given.get(name)!r}: {first['msg']}; fix the value or unset it") from error
