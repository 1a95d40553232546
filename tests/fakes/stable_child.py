"""Exports and imports in processes of their own, to be killed: python -m tests.fakes.stable_child.

It forks for each line of its input, so that the program is imported once. A line is a JSON object:
`argv` of a command line, `home`, `cwd`, and `after_s`, seconds after which the process is killed.
It answers with a line: the exit code, negative for a signal.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from dfx_backup.cli import connect, stable_view
from dfx_backup.cli.app import main
from dfx_backup.cli.context import Surroundings, SystemClock
from dfx_backup.operations import stable_export, stable_import

ROOT = Path(__file__).parents[2]
LOADED = (connect, stable_view, stable_export, stable_import)


class StableChild:
    """The test's side of it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fakes.stable_child"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._process:  # closes the pipes, and waits
            self._process.kill()

    def run(self, *argv: str, home: Path, cwd: Path, after_s: float = 600.0) -> int:
        """Exit code; -9 when it was killed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        order = {"argv": argv, "home": str(home), "cwd": str(cwd), "after_s": after_s}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())


def serve(order: dict[str, Any]) -> int:
    """Fork, wait, kill."""
    pid = os.fork()
    if pid == 0:
        os._exit(work(order))
    end = time.monotonic() + order["after_s"]
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(order: dict[str, Any]) -> int:
    """One command line."""
    out = io.StringIO()
    around = Surroundings(
        environment={"HOME": order["home"], "PATH": "/nowhere"},
        cwd=Path(order["cwd"]),
        home=Path(order["home"]),
        platform="linux",
        stdin=io.StringIO(),
        stdout=out,
        stderr=out,
        clock=SystemClock(),
        process_id=os.getpid(),
        hostname="stage",
        username="tester",
        user_id=os.getuid(),
        group_id=os.getgid(),
        random=os.urandom,
    )
    code = main(order["argv"], surroundings=around)
    if code:
        print(out.getvalue(), file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    for line in sys.stdin:
        print(serve(json.loads(line)), flush=True)
