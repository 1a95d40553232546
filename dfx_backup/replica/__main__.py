"""Start a development replica, and control one that runs: `python -m dfx_backup.replica`."""

import argparse
import base64
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dfx_backup.errors import BackupError, ProjectError, ToolError, UsageError
from dfx_backup.replica.buffers import keep_buffers
from dfx_backup.replica.control_client import ControlClient, ControlFile
from dfx_backup.replica.reject import ReplicaFailedError

_LOOK_S: Final = 0.2
EPILOG: Final = (
    "This replica is for development and tests: it binds to loopback only and protects neither its "
    "keys nor its state."
)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dfx_backup.replica", description=__doc__, epilog=EPILOG
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    start = commands.add_parser(
        "start", help="run a replica until SIGTERM or SIGINT", epilog=EPILOG
    )
    start.add_argument("--port", type=int, default=0, help="TCP port; 0, the default, takes any")
    start.add_argument("--host", default="127.0.0.1", help="loopback address to bind to")
    start.add_argument("--state-dir", type=Path, help="keep keys, canisters and snapshots here")
    start.add_argument("--cache-dir", type=Path, help="keep compiled modules here")
    start.add_argument("--control", action="store_true", help="serve the control endpoint")
    start.add_argument(
        "--delegation", action="store_true", help="give the subnet a key under the root key"
    )
    start.add_argument("--seed", type=int, help="make new keys predictable")
    start.add_argument("--verbose", action="store_true", help="log every request")
    start.set_defaults(run=_start)

    deploy = commands.add_parser("deploy", help="create a canister and install a module")
    deploy.add_argument("wasm", type=Path, metavar="WASM", help="module, may be gzipped")
    _add_state_dir(deploy)
    argument = deploy.add_mutually_exclusive_group()
    argument.add_argument("--arg", help="argument of the init method, Candid in hexadecimal")
    argument.add_argument("--arg-file", type=Path, help="the same, bytes of a file")
    deploy.add_argument(
        "--controller", action="append", default=[], metavar="P", help="principal; repeatable"
    )
    deploy.add_argument("--cycles", type=int, help="balance; the default is 100 T")
    deploy.add_argument("--specified-id", metavar="P", help="canister id to take")
    deploy.set_defaults(run=_deploy)

    faults = commands.add_parser("faults", help="show, set or reset fault switches and counters")
    faults.add_argument("action", choices=("get", "set", "reset", "counters"))
    faults.add_argument(
        "changes", nargs="?", metavar="JSON", help="for set: '{\"latency_call_s\": 0.5}'"
    )
    _add_state_dir(faults)
    faults.set_defaults(run=_faults)
    return parser


def _add_state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state-dir", type=Path, required=True, help="of the running replica")


def _start(options: argparse.Namespace) -> None:
    try:
        from dfx_backup.replica.server import ReplicaServer  # noqa: PLC0415 - loads wasmtime
    except ImportError as error:
        raise ToolError(
            f"The replica can't run here: {error}",
            hint="It needs Linux or macOS, and the extra: pip install 'dfx-backup[replica]'",
        ) from error

    keep_buffers()
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with (
        _failing_clearly(),
        ReplicaServer.start(
            port=options.port,
            host=options.host,
            state_dir=options.state_dir,
            cache_dir=options.cache_dir,
            control=options.control,
            delegation=options.delegation,
            seed=options.seed,
        ) as server,
    ):
        _print({"url": server.url, "root_key": server.root_key.hex(), "pid": os.getpid()})
        while not stop.wait(_LOOK_S):
            if server.replica.failure is not None:
                raise server.replica.failure


@contextmanager
def _failing_clearly() -> Iterator[None]:
    try:
        yield
    except ReplicaFailedError as error:
        raise ProjectError(
            str(error), hint="What was committed before is safe; start the replica again"
        ) from error


def _deploy(options: argparse.Namespace) -> None:
    arg = b""
    if options.arg is not None:
        try:
            arg = bytes.fromhex(options.arg)
        except ValueError as error:
            raise UsageError(f"--arg is not hexadecimal: {error}") from error
    elif options.arg_file is not None:
        arg = _read(options.arg_file)
    fields: dict[str, Any] = {
        "wasm": base64.b64encode(_read(options.wasm)).decode("ascii"),
        "arg": base64.b64encode(arg).decode("ascii"),
        "controllers": options.controller,
    }
    if options.cycles is not None:
        fields["cycles"] = options.cycles
    if options.specified_id is not None:
        fields["specified_id"] = options.specified_id
    _print(_client(options).send("deploy", **fields))


def _faults(options: argparse.Namespace) -> None:
    if (options.action == "set") != (options.changes is not None):
        raise UsageError("`faults set` takes a JSON object; the other actions take nothing")
    changes: dict[str, Any] = {}
    if options.changes is not None:
        try:
            changes = json.loads(options.changes)
        except ValueError as error:
            raise UsageError(f"The fault switches are not JSON: {error}") from error
        if not isinstance(changes, dict):
            raise UsageError("The fault switches are not a JSON object")
    action = "counters" if options.action == "counters" else f"faults/{options.action}"
    _print(_client(options).send(action, **changes))


def _client(options: argparse.Namespace) -> ControlClient:
    return ControlClient(ControlFile.read(options.state_dir))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProjectError(f"{path} can't be read: {error.strerror}") from error


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def main(argv: Sequence[str]) -> int:
    """Run a command line; returns the exit code (see `errors`)."""
    options = build_parser().parse_args(argv)
    try:
        options.run(options)
    except BackupError as error:
        hint = f". {error.hint}" if error.hint else ""
        print(f"error: {error.message}{hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
