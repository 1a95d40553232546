"""Runs command lines in processes of their own, and may kill them in the middle.

python -m tests.fakes.command_child FOLDER

It forks for each line of its input, so that the program is imported once. A line is a JSON object:
`argv`, and `kill_at` (number of the store's operation before which the process dies) or `after_s`
(seconds after which it is killed). It answers with a line: `code`, negative for a signal, `stdout`,
`stderr`, and `operations`, those of the store.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dfx_backup.cli.app import main
from dfx_backup.cli.context import Surroundings, SystemClock
from dfx_backup.repository import keys
from dfx_backup.repository.local import LocalStore

OPERATIONS = ("put", "get", "get_range", "size", "list", "delete", "exists")


class Hasty(SystemClock):
    """Nobody else is at work, so the pause before the second look at the locks is not needed."""

    def sleep(self, seconds: float) -> None:
        del seconds


def count_and_die(kill_at: int, counted: list[int]) -> None:
    """Count the operations of local stores, and die right before the one with that number."""

    def wrapped(name: str) -> None:
        plain = getattr(LocalStore, name)

        def operation(self: LocalStore, *args: Any, **more: Any) -> Any:
            counted[0] += 1
            if counted[0] == kill_at:
                if name == "put" and kill_at % 2:
                    half = Path(self.describe()) / args[0]
                    half.parent.mkdir(parents=True, exist_ok=True)
                    (half.parent / f".{half.name}.1.0.tmp").write_bytes(bytes(1000))
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(self, *args, **more)

        setattr(LocalStore, name, operation)

    for name in OPERATIONS:
        wrapped(name)


def child(folder: Path, task: dict[str, Any], answer: int) -> None:
    """Run one command line and tell how it ended; never returns."""
    counted, out, err = [0], io.StringIO(), io.StringIO()
    count_and_die(task.get("kill_at", 0), counted)
    around = Surroundings(
        environment={**os.environ, "HOME": str(folder)},
        cwd=folder,
        home=folder,
        stdin=io.StringIO(),
        stdout=out,
        stderr=err,
        clock=SystemClock() if task.get("patient") else Hasty(),
    )
    code = main(task["argv"], surroundings=around)
    told = {"stdout": out.getvalue(), "stderr": err.getvalue(), "operations": counted[0]}
    os.write(answer, json.dumps(told).encode())
    os._exit(code)


def run(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            child(folder, task, writing)
        finally:
            os._exit(99)
    os.close(writing)
    if task.get("after_s"):
        time.sleep(task["after_s"])
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    _, status = os.waitpid(pid, 0)
    empty = {"stdout": "", "stderr": "", "operations": 0}
    return (json.loads(told) if told else empty) | {"code": os.waitstatus_to_exitcode(status)}


def serve(folder: Path) -> None:
    """Answer until the input ends."""
    keys.SCRYPT_N = 1 << 10
    for line in sys.stdin:
        print(json.dumps(run(folder, json.loads(line))), flush=True)


class Commands:
    """The other end: a process that runs command lines for a test.

    Args:
        folder: where they are typed; `judge/password` below it opens the repository `repo`.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.command_child", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
        )

    def run(self, *argv: str, **task: object) -> dict[str, Any]:
        """How one command line ended."""
        words = [*argv, "--json", "--repo", "repo", "--password-file", "judge/password"]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": words, **task}) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
