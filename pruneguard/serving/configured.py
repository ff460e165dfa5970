"""A gateway as the settings describe it: in the service's own process, or in a worker's."""

import os
from typing import Any

from pruneguard import home
from pruneguard.errors import InvalidInputError
from pruneguard.serving.batching import Joining
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.observing import Observer
from pruneguard.serving.server import Tls
from pruneguard.settings import Settings


def gateway(settings: Settings, observer: Observer, **more: Any) -> Gateway:
    """A gateway of one of `workers(settings)` processes, or of the only one; `more` is what else `Gateway` takes."""
    return Gateway(
        home.artifacts(settings),
        observer,
        threads=settings.threads,
        request_bytes_max=settings.request_bytes_max,
        joining=Joining(
            wait_s=settings.batch_wait_ms / 1000,
            rows_max=settings.batch_rows_max,
            runs_max=max(1, _cores() // (settings.threads * workers(settings))),
        ),
        **more,
    )


def workers(settings: Settings) -> int:
    """How many processes answer: half of the cores are left to clients, monitor and twin."""
    return settings.workers or max(1, _cores() // (2 * settings.threads))


def tls(settings: Settings) -> Tls | None:
    """Raises InvalidInputError where only one of the two files is named."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise InvalidInputError("PRUNEGUARD_TLS_CERT and PRUNEGUARD_TLS_KEY go together; set both, or neither")
    return Tls(settings.tls_cert, settings.tls_key)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
