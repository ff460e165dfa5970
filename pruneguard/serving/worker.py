"""One worker: a process that answers, started by `pruneguard.serving.workers` and by nobody else.

Its arguments are what it inherits: the socket that it accepts from, the line to its parent, the page that both share,
and the path of the Unix socket where the parent answers what a worker cannot. Everything else is in the environment.

It ends on SIGTERM, or when the line does, after what is under way has its answer: nobody outlives the parent.
"""

import argparse
import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

from pruneguard import home
from pruneguard.errors import PruneGuardError
from pruneguard.serving import access, configured, frames
from pruneguard.serving.follower import Follower
from pruneguard.serving.frames import Told
from pruneguard.serving.pulse import BEATS, FAILURES, STOPPING, TURNED_AWAY, Pulse
from pruneguard.serving.relay import Relay
from pruneguard.serving.server import Server
from pruneguard.serving.shipping import Shipping
from pruneguard.settings import Settings, load_settings

FOLLOW_SECONDS_MAX = 60.0
LINGER_SECONDS = 1.0
SWITCH_SECONDS = 0.0005
"""How long another thread may keep the answering one waiting: ten times less than Python lets it by default."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pruneguard.serving.worker", description=__doc__)
    for name in ("listener", "line", "pulse"):
        parser.add_argument(name, type=int)
    parser.add_argument("office")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s worker %(process)d %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_SECONDS)
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    try:
        with socket.socket(fileno=given.line) as line, socket.socket(fileno=given.listener) as listener:
            work(load_settings(), listener, line, Pulse(given.pulse), office=given.office, leaving=leaving)
    except PruneGuardError as error:
        print(f"error: a worker did not start: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def work(
    settings: Settings,
    listener: socket.socket,
    line: socket.socket,
    pulse: Pulse,
    *,
    office: str,
    leaving: threading.Event,
) -> None:
    """Answer until `leaving` is set. Says that it is ready with an empty frame."""
    with ExitStack() as running:
        shipping = running.enter_context(Shipping(line, pulse))
        allowed = running.enter_context(access.from_settings(settings, refused=shipping.refused))
        gateway = configured.gateway(
            settings,
            shipping,
            access=allowed,
            relay=Relay(office, request_bytes_max=settings.request_bytes_max),
            in_flight=pulse.in_flight,
        )

        def beat() -> None:
            pulse.counts[BEATS] += 1
            pulse.counts[TURNED_AWAY], pulse.counts[FAILURES] = server.turned_away, gateway.observer_failures
            if pulse[STOPPING]:
                gateway.drain()

        server = Server(
            gateway.app,
            host=settings.host,
            port=settings.gateway_port,
            bound=listener,
            tls=configured.tls(settings),
            connections_max=settings.connections_max,
            beat=beat,
        )
        follower = running.enter_context(Follower(partial(home.read_ledger, settings), gateway))
        follower.wait_for(1, timeout_s=FOLLOW_SECONDS_MAX)  # what is live answers from the first request on
        server.start()
        running.callback(server.stop, linger_s=LINGER_SECONDS)
        line.sendall(frames.pack(Told()))
        threading.Thread(target=_leave_with_parent, args=(line, leaving), daemon=True).start()
        leaving.wait()


def _leave_with_parent(line: socket.socket, leaving: threading.Event) -> None:
    """The parent says nothing on the line; that it ends is how a worker learns that the parent has."""
    with suppress(OSError):
        line.recv(1)
    leaving.set()


if __name__ == "__main__":
    sys.exit(main())
