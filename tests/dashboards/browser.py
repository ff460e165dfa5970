"""Every page in a real browser: a picture of each, the text on it, and every address that was asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PAGES = ("fleet", "model", "monitoring", "releases", "audit_trail")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What a visitor of one page got: its text, where its picture is, and every address that was asked for."""

    text: str
    picture: Path
    requests: tuple[str, ...]

    @property
    def foreign(self) -> tuple[str, ...]:
        """Requests that left this machine."""
        local = {"127.0.0.1", "localhost", "::1", None}
        return tuple(url for url in self.requests if urlsplit(url).hostname not in local)


@contextmanager
def visitor(*, dark: bool = False, width: int = 1440) -> Iterator[Page]:
    """A fresh browser with one tab, its timeouts long enough for a busy machine."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        tab = chromium.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        tab.set_default_timeout(TIMEOUT_MS)
        yield tab
        chromium.close()


def tour(
    base_url: str, folder: Path, *, model: str | None = None, dark: bool = False, width: int = 1440
) -> dict[str, Seen]:
    """Visit every page of the dashboard at `base_url` and leave a full-length picture of each in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[str, Seen] = {}
    with visitor(dark=dark, width=width) as tab:
        requests: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        for name in PAGES:
            requests.clear()
            tab.set_viewport_size({"width": width, "height": 900})
            query = f"?model={model}" if model and name in ("model", "monitoring", "releases") else ""
            tab.goto(f"{base_url}/{name}{query}")
            settle(tab)
            fit(tab)
            picture = folder / f"{name}.png"
            tab.screenshot(path=picture, full_page=True)
            seen[name] = Seen(tab.locator('[data-testid="stMain"]').inner_text(), picture, tuple(requests))
    return seen


def settle(tab: Page) -> None:
    """Wait until the page's script has ended and its plots are drawn."""
    tab.locator("h1").first.wait_for()
    tab.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    tab.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")  # a table or plot on its way
    tab.wait_for_function(
        "[...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(c => c.querySelector('canvas, svg'))"
    )
    tab.wait_for_load_state("networkidle")


def fit(tab: Page) -> None:
    """Make the window as tall as the page, which scrolls inside itself, so that a picture shows all of it."""
    size = tab.viewport_size
    assert size is not None
    height = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    tab.set_viewport_size({"width": size["width"], "height": max(900, int(height) + 20)})
    settle(tab)
