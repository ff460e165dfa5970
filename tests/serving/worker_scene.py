"""A scene on disk, as other processes see it, with workers that answer out of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pruneguard.ledger.keys import load_log_key, new_log_key
from pruneguard.ledger.ledger import Ledger
from pruneguard.serving.server import listen
from pruneguard.serving.workers import Workers
from pruneguard.settings import Settings
from tests.serving.scene import JSON_ROW, Recorder, Scene

SECONDS_MAX = 60.0


def home_of(folder: Path, **more: Any) -> tuple[Settings, Scene]:
    """A home with a ledger in SQLite and a first release that is live; whoever calls it closes the scene's ledger."""
    settings = Settings(home=folder / "var", held_dir=folder / "held", gateway_port=0, dashboard_port=0, **more)
    key_file = settings.keys_dir / "log.key"
    new_log_key(key_file, "scene.example/pruneguard")
    key = load_log_key(key_file)
    scene = Scene(settings.home, ledger=Ledger.create_or_open(settings.ledger, origin=key.name, key=key))
    scene.release()
    return settings, scene


class Crew:
    """Workers, the observer that hears them, and where they answer."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.listener = listen(settings.host, 0, setting="PRUNEGUARD_GATEWAY_PORT")
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.observer = Recorder()
        self.workers = Workers(
            count, self.observer, environ=settings.environ, listener=self.listener, office="/nowhere/office"
        )

    def infer(self, client: httpx.Client | None = None) -> httpx.Response:
        return (client or httpx).post(f"{self.url}/v2/models/digits/infer", json=JSON_ROW)


@contextmanager
def crew(settings: Settings, count: int = 1) -> Iterator[Crew]:
    made = Crew(settings, count)
    with made.listener, made.workers:
        yield made


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, f"waited {SECONDS_MAX:g} s for {what}"
        time.sleep(0.02)
