"""Child processes and what they took: wall time, CPU, peak memory.

The kernel counts the memory of the process that starts a child until the child's own program runs,
so a child's peak is never told as less than its parent's: this process has to stay small.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended.

    Attributes:
        code: exit code; negative when a signal ended it.
        stdout: what it printed.
        stderr: the last of what it said.
        wall_s: seconds from its start to its end.
        cpu_s: seconds of CPU, user and system together, its own children included.
        peak_mb: most memory resident at a time, in units of 1,000,000 bytes.
    """

    code: int
    stdout: str
    stderr: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float = 1800.0
) -> Finished:
    """Run a program to its end and measure it; after `timeout_s` it is killed.

    Raises:
        OSError: it can't be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 # the programs that are measured
            argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # it is not waited for twice
        out.seek(0)
        err.seek(0)
        return Finished(
            code=process.returncode,
            stdout=out.read().decode("utf-8", "replace"),
            stderr=err.read().decode("utf-8", "replace")[-2000:],
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * 1024 / 1e6,
        )
