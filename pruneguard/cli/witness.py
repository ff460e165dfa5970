"""Commands for whoever runs a witness: new, vkey, serve. They need the wheel and nothing of the service."""

import argparse
import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.cli.arguments import Commands, command
from pruneguard.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from pruneguard.ledger import notes

PORT = 8603


def add(commands: Commands) -> None:
    witness = commands.add_parser("witness", help="remember what a log said, and cosign only what continues it")
    kinds = witness.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = command(
        kinds,
        "new",
        _new,
        "Make a witness's key, and print the line that logs and auditors put into their trust policy.\n\n"
        "A witness is worth most when somebody else than the log's operator runs it, on another machine.",
    )
    new.add_argument("name", help="what it goes by, an address for instance: audit.example/witness")
    new.add_argument("--algorithm", default="ed25519", help="ed25519 (default) or ml-dsa-44")
    vkey = command(kinds, "vkey", _vkey, "Print a witness's verifier key.")
    serve = command(
        kinds,
        "serve",
        _serve,
        "Answer the logs that it knows, until Ctrl-C (C2SP tlog-witness).\n\n"
        "Keep the state file as long as the key: a witness that forgets would cosign another history.",
    )
    for sub in (new, vkey, serve):
        sub.add_argument("--key", type=Path, default=Path("witness.key"), help="its key (default: witness.key)")
    serve.add_argument(
        "--log",
        action="append",
        required=True,
        metavar="VKEY",
        help="a log that it knows: a verifier key, or a file that holds one; more than once for more logs",
    )
    serve.add_argument(
        "--state", type=Path, default=Path("witness.sqlite"), help="what it remembers (default: witness.sqlite)"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=int, default=PORT, help=f"port to listen on; 0 takes any free one ({PORT})")


def _new(args: argparse.Namespace) -> int:
    from pruneguard.witness import keys

    made = keys.new(args.key, args.name, algorithm=args.algorithm)
    print(f"{args.key}: the key of {made.name}, readable by you alone")
    print(f"witness {made.name} {made.verifier.vkey}")
    print("next: pruneguard witness serve --log VKEY_OF_THE_LOG")
    return 0


def _vkey(args: argparse.Namespace) -> int:
    from pruneguard.witness import keys

    print(keys.load(args.key).verifier.vkey)
    return 0


def _serve(args: argparse.Namespace) -> int:
    from pruneguard.witness import keys
    from pruneguard.witness.server import Witness, WitnessServer
    from pruneguard.witness.state import State

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    key = keys.load(args.key)
    witness = Witness(State(args.state), [key], [_log(told) for told in args.log])
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with WitnessServer(witness, host=args.host, port=args.port) as server:
        print(f"{key.name} answers at {server.url}, until Ctrl-C", flush=True)
        stopping.wait()
    return 0


def _log(told: str) -> "notes.Verifier":
    from pruneguard.ledger import notes

    try:
        text = told if "+" in told else Path(told).read_text().strip()
    except OSError as error:
        raise UnavailableError(f"{told} is no verifier key, and no file to read one from: {error.strerror}") from error
    if (verifier := notes.Verifier.parse(text)).kind == notes.COSIGNATURE:
        raise InvalidInputError(f"{verifier.name!r} is the key of a witness; name that of a log")
    return verifier
