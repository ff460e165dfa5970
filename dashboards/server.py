"""The dashboard as an ASGI application, and as a process: `python -m dashboards.server`."""

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from pruneguard.errors import PruneGuardError
from pruneguard.serving.server import address_of, listen
from pruneguard.settings import Settings, load_settings

SCRIPT = Path(__file__).with_name("app.py")

OPTIONS: dict[str, object] = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.allowedOrigins": [],  # nobody's page may talk to ours through a frame
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 1,  # MB; no page takes a file
    "runner.magicEnabled": False,
    "theme.light.primaryColor": "#0b5cad",
    "theme.light.linkColor": "#0b5cad",
    "theme.dark.primaryColor": "#2a75bf",
    "theme.dark.linkColor": "#6cb2f5",
    "theme.paddingTop": "2.5rem",
    "theme.headingFontSizes": ["2rem", "1.4rem", "1.15rem"],
}

HEADERS = {
    # The pages bring everything along; a browser that holds them to it also stops an image hidden in a recorded name.
    # Vega compiles its expressions, hence unsafe-eval; Streamlit injects its styles, hence unsafe-inline.
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


def application(settings: Settings) -> st.App:
    """The dashboard over the ledger and artefacts that `settings` name. One per process, as Streamlit demands."""
    for name, value in OPTIONS.items():
        config.set_option(name, value)
    return st.App(
        SCRIPT,
        # A ledger URL may hold a password, and Streamlit's secrets are its one way to hand a script values.
        secrets={"pruneguard": {"settings": settings.model_dump_json()}},
        routes=[Route("/healthz", _healthy), Route("/fleet", _home)],
        middleware=[Middleware(_Headers)],
    )


async def _healthy(request: Request) -> JSONResponse:
    """Whether this process answers. Whether the ledger does is on every page."""
    return JSONResponse({"status": "ok"})


async def _home(request: Request) -> RedirectResponse:
    """The first page has no address of its own to Streamlit, which would say it does not exist."""
    return RedirectResponse("/")


class _Headers:
    """Adds HEADERS to every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS.items()]
            await send(message)

        await self._app(scope, receive, with_headers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the first line of output is the address. Exit codes as in pruneguard.errors."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.server", description=__doc__)
    parser.add_argument("--host", help="address to listen on; default PRUNEGUARD_HOST")
    parser.add_argument("--port", type=int, help="port, 0 for any free one; default PRUNEGUARD_DASHBOARD_PORT")
    parser.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings()
        port = settings.dashboard_port if given.port is None else given.port
        bound = listen(given.host or settings.host, port, setting="PRUNEGUARD_DASHBOARD_PORT")
    except PruneGuardError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(address_of(*bound.getsockname()[:2]), flush=True)
    options = uvicorn.Config(
        application(settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,  # an open page holds its websocket for ever
    )
    server = uvicorn.Server(options)
    if given.until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    server.run(sockets=[bound])
    return 0


def _stop_at_eof(server: uvicorn.Server) -> None:
    """A parent that dies closes the pipe, however it died; nobody is left on its port."""
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
