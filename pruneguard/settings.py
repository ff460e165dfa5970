"""Every knob of the service. Read once, at an entry point, then passed down as plain values."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pruneguard import held
from pruneguard.errors import InvalidInputError, UnavailableError

PREFIX = "PRUNEGUARD_"

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path("var")
    """Directory of everything this service writes: ledger, artefacts, keys, observations."""

    ledger_url: str = ""
    """URL of the ledger: `sqlite:///path`, or `postgresql://user@host/database`, in whose first schema it then lies.

    Empty means SQLite in `home`. A password belongs where libpq looks for it (PGPASSFILE, PGSERVICEFILE), not here.
    """

    artifacts_url: str = ""
    """fsspec URL of the artefact store (a folder, s3://, gs://). Empty means a folder in `home`."""

    privacy_url: str = ""
    """SQLAlchemy URL of the sealed personal values. Empty means SQLite in `home`; their keys lie in `home` always."""

    trust_policy: str = ""
    """File that names the ledger's witnesses (C2SP tlog-policy). Empty means `trust-policy.txt` in `home`, if any."""

    witness_interval_s: PositiveFloat = 10.0
    """Seconds between two rounds in which the newest checkpoint is shown to the witnesses."""

    held_dir: Path = Field(default_factory=held.default_folder)
    """Folder of the checkpoints that were seen, which a later history must continue. Not in `home`: a backup of it
    must not bring an older memory along."""

    data_dir: Path = Path("data")
    """Directory in which workloads look for data sets; see the README of each example."""

    host: str = "127.0.0.1"
    """Address that gateway and dashboard listen on. Anything but loopback is your decision to make."""

    gateway_port: Port = 8600
    """Port of the gateway: inference and /metrics. 0 takes any free one."""

    dashboard_port: Port = 8601
    """Port of the dashboard. 0 takes any free one."""

    access: Literal["", "open", "tokens"] = ""
    """Who may infer, send labels and read metrics: `tokens` for holders of a bearer token, `open` for everybody.

    Empty is open on a loopback address, and refuses to listen on any other. Operations always take a token.
    """

    threads: PositiveInt = 1
    """Threads that one inference may use."""

    workers: NonNegativeInt = 0
    """Processes that answer requests. 0 takes half of the cores, as many as have `threads` each, and at least one."""

    batch_wait_ms: NonNegativeFloat = 0.0
    """How long a request may wait for others, to be answered in one run. A network of less than a millisecond a row
    is answered sooner without."""

    batch_rows_max: PositiveInt = 64
    """Rows of several requests that are answered in one run."""

    connections_max: PositiveInt = 4096
    """Connections that one worker keeps open; more are told to come back."""

    drain_s: NonNegativeFloat = 0.0
    """Seconds for which a service that is to stop says that it is not ready, and goes on answering: as long as your
    load balancer takes to notice."""

    tls_cert: Path | None = None
    """PEM file of the certificate chain with which the gateway speaks https. Read again by a rolling restart."""

    tls_key: Path | None = None
    """PEM file of its private key, not encrypted."""

    watts_per_core: PositiveFloat = 10.0
    """Watts that a busy core is assumed to draw, for the energy estimate of a run."""

    training_threads: NonNegativeInt = 0
    """Threads that training may use. 0 leaves it to PyTorch; with 1 the weights do not depend on the core count."""

    request_bytes_max: PositiveInt = 16_000_000
    """Largest request body the gateway reads."""

    passphrase: SecretStr = SecretStr("")
    """Opens the key files of people, where nobody sits at a terminal to be asked. Child processes are not told."""

    @property
    def environ(self) -> dict[str, str]:
        """These settings as a child process reads them, whatever folder it runs in."""
        told = self.model_dump(exclude={"passphrase"}).items()
        values = ((name, v.resolve() if isinstance(v, Path) else v) for name, v in told if v is not None)
        return {PREFIX + name.upper(): str(value) for name, value in values}

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.sqlite'}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

    @property
    def privacy(self) -> str:
        return self.privacy_url or f"sqlite:///{self.home / 'privacy.sqlite'}"

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"

    @property
    def searches(self) -> Path:
        """Pages that show what searches tried."""
        return self.home / "searches"

    @property
    def observations(self) -> Path:
        """What the monitor must know after it was killed."""
        return self.home / "observations"

    @property
    def labels(self) -> Path:
        """Labels that wait to be sealed with what was answered."""
        return self.home / "labels.sqlite"

    @property
    def denials(self) -> Path:
        """Calls that were denied, a line each."""
        return self.home / "access"

    @property
    def cosigned(self) -> Path:
        """The newest checkpoint that witnesses cosigned."""
        return self.home / "anchors" / "witnessed"

    def read_trust_policy(self) -> bytes | None:
        """The policy that names the witnesses; None where nobody wrote one. Raises UnavailableError when it is gone."""
        path = Path(self.trust_policy) if self.trust_policy else self.home / "trust-policy.txt"
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if not self.trust_policy:
                return None
            raise UnavailableError(f"PRUNEGUARD_TRUST_POLICY names {path}, and there is no such file") from error


def for_children(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child process: this one's, without what opens people's keys."""
    return {name: value for name, value in environ.items() if name != f"{PREFIX}PASSPHRASE"}


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
