"""Runs of the program that are killed at some moment, on a replica with a clock of their own.

clock = SharedClock()
with ReplicaServer.start(clock_ns=clock.now_ns) as server:
    project.clock = clock
    was_running = killed(project, 0.7, "restore", backup, "--yes")
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.transfer_project import TransferProject

ROOT = Path(__file__).parents[2]
LATENCY_S = 0.1
"""What calls of the methods take, so that a kill may hit each of them."""
METHODS = (
    "stop_canister",
    "take_canister_snapshot",
    "load_canister_snapshot",
    "start_canister",
    "upload_canister_snapshot_metadata",
    "upload_canister_snapshot_data",
    "delete_canister_snapshot",
)


class SharedClock:
    """A clock of replica and program that jumps ahead instead of sleeping."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s

    def now_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 50)
        self.ahead_s += seconds


def killed(
    project: TransferProject, after_s: float, *argv: str, env: Mapping[str, str] | None = None
) -> bool:
    """Kill the command so many seconds after its first request; whether it was still running.

    The project's clock is a `SharedClock`.
    """
    words = ("--identity", "alice", "--driver", "agent", "--quiet")
    ahead = str(project.clock.ahead_s)  # type: ignore[attr-defined] # a SharedClock
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.skewed_child", ahead, *argv, *words],
        cwd=project.folder,
        env={
            "HOME": str(project.dfx.home),
            "PATH": "/nowhere",
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    counters, end = project.server.faults.counters, time.monotonic() + 60
    before = sum(counters().calls.values())
    while sum(counters().calls.values()) == before:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(after_s)
    running = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if running else None
    process.communicate(timeout=30)
    time.sleep(2 * LATENCY_S)  # what was under way executes
    return running
