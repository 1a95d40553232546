"""Who works on a repository, and where its time and randomness come from.

Nothing in this package reads a clock, a host name or random bytes by itself, so what it writes can
be reproduced byte by byte.
"""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def process_lives(pid: int) -> bool:
    """Whether a process with that id runs on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The process that works on a repository, and its surroundings.

    Attributes:
        hostname: name of this machine; locks and keys carry it.
        username: name of the user; locks and keys carry it.
        pid: process id; locks carry it.
        uid: numeric user id; locks carry it.
        gid: numeric group id; locks carry it.
        clock: seconds since the epoch.
        monotonic: seconds that never jump back.
        sleep: waits for so many seconds.
        random: so many random bytes.
        alive: whether a process of this machine lives.
    """

    hostname: str
    username: str
    pid: int
    uid: int = 0
    gid: int = 0
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[int], bytes] = secrets.token_bytes
    alive: Callable[[int], bool] = process_lives


def rfc3339(seconds: float) -> str:
    """A moment as restic writes it: UTC, microseconds without trailing zeros."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def seconds_of(text: str) -> float:
    """The moment that restic wrote, in seconds since the epoch.

    Raises:
        ValueError: it is no moment.
    """
    # Go writes up to nine digits of a second; Python reads six.
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[:digits][:6]:0<6}{rest[digits:]}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.timestamp()
