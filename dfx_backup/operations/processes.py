"""Which process wrote something, in a way that a reused process id or a reboot can't fake."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_START_TIME_FIELD = 22
"""Field of /proc/PID/stat that holds the start time in clock ticks since boot (proc(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStamp:
    """One process of one boot.

    Attributes:
        pid: its process id.
        started: boot id and start time in ticks, or None where the system does not tell.
    """

    pid: int
    started: str | None


def this_process() -> ProcessStamp:
    """The stamp of the process that asks."""
    pid = os.getpid()
    return ProcessStamp(pid=pid, started=_started(pid))


def is_alive(stamp: ProcessStamp) -> bool:
    """Whether exactly that process still runs.

    Where the system tells no start times, any process with that id counts.
    """
    if stamp.started is not None:
        return _started(stamp.pid) == stamp.started
    try:
        os.kill(stamp.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(pid: int) -> str | None:
    """Boot id and start time, or None when there is no such process or no /proc."""
    try:
        boot = _BOOT_ID.read_text().strip()
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    position = _START_TIME_FIELD - 3
    return f"{boot}:{fields[position]}" if len(fields) > position else None
