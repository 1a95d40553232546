"""Findings about this machine: places to write to, room, files with secrets, the clock."""

import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import NetworkError, RefusedError
from dfx_backup.model import CanisterId, CanisterStatus
from dfx_backup.operations import cycles
from dfx_backup.operations.backup_planning import LEAST_ROOM_BYTES
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    ask,
    catch,
    doubt,
    failure,
    fine,
)
from dfx_backup.operations.state_files import remove, write_whole

SKEW_DOUBT_S = 15.0
"""From here on a clock is worth a look."""
SKEW_FAILS_S = 60.0
"""A stop is signed for 60 s, and a change for 240 of the 300 s that a replica allows."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_CLOCK_ADVICE = "set this machine's clock; a time service (NTP) keeps it right"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place that needs room.

    Attributes:
        what: names it.
        folder: where it is, or will be.
        vital: whole snapshots come here, and without room commands refuse.
    """

    what: str
    folder: Path
    vital: bool


def writable(folder: Path) -> Finding:
    """Make the folder, and write and remove a file in it."""

    def write() -> str:
        probe = folder / ".doctor"
        write_whole(probe, {})
        remove(probe)
        return f"{folder} can be written"

    return ask(Topic.STATE, write)


def disks(rooms: Sequence[Room], statuses: Sequence[CanisterStatus]) -> list[Finding]:
    """Whether snapshots of the canisters that were looked at find room."""
    wanted = sum(cycles.snapshot_bytes(status) or 0 for status in statuses)
    return [_disk(room, wanted if room.vital else 0) for room in rooms]


def _disk(room: Room, wanted: int) -> Finding:
    free = _free(room.folder)
    if free is None:
        return doubt(Topic.DISK, f"{room.what}: how much room {room.folder} has is not told", None)
    told = f"{room.what}: {_mib(free)} free in {room.folder}"
    advice = "make room, or let `forget --prune` do it" if room.vital else "make room"
    if free < LEAST_ROOM_BYTES:
        least = f"{told}, and {_mib(LEAST_ROOM_BYTES)} are the least that is needed"
        if room.vital:
            return failure(Topic.DISK, least, advice, exit_code=RefusedError.exit_code)
        return doubt(Topic.DISK, least, advice)
    if free < wanted:
        return doubt(
            Topic.DISK, f"{told}; the canisters' snapshots may take {_mib(wanted)}", advice
        )
    return fine(Topic.DISK, told)


def _free(folder: Path) -> int | None:
    """Bytes that are free where the folder is, or will be."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def secrets(files: Callable[[], Sequence[Path]]) -> list[Finding]:
    """Whether others on this machine may read keys and passwords."""
    found, trouble = catch(files)
    if found is None:
        assert trouble is not None
        return [doubt(Topic.SECRETS, f"not looked at: {trouble.message}", trouble.hint)]
    loose = [file for file in found if _is_loose(file)]
    if not loose:
        told = ", ".join(map(str, found)) or "no key or password in a file was named"
        return [fine(Topic.SECRETS, f"{told}: for its owner alone" if found else told)]
    return [
        doubt(Topic.SECRETS, f"{file} can be read or changed by others", f"`chmod 600 {file}`")
        for file in loose
    ]


def _is_loose(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & _OTHERS)
    except OSError:
        return False  # whoever reads it tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The ways to the network's time.

    Attributes:
        now: our own clock, seconds since the epoch.
        server: what an HTTP header tells, or None without one.
        certified: the network's, for the case that our clock is off by so many seconds.
    """

    now: Callable[[], float]
    server: Callable[[], float | None]
    certified: Callable[[CanisterId, float], float]


def clock(clocks: Clocks, canister: CanisterId | None) -> tuple[Finding, float]:
    """How far our clock is from the network's, and how many seconds it is behind.

    Signed calls carry the time at which they expire: a clock that is wrong by a minute makes them
    expire before they arrive, or be refused.
    """
    rough, trouble = catch(lambda: _behind(clocks, clocks.server()))
    behind, how = rough, "as its HTTP answers say"
    if canister is not None:
        guess = rough if rough is not None and abs(rough) > SKEW_DOUBT_S else 0.0
        exact, trouble = catch(lambda: _behind(clocks, clocks.certified(canister, guess)))
        if exact is not None:
            behind, how = exact, "certified"
    if behind is None:
        why = "the network does not tell its time" if trouble is None else trouble.message
        return doubt(Topic.CLOCK, f"could not be compared: {why}", _CLOCK_ADVICE), 0.0
    return _judged(behind, how), behind


def _behind(clocks: Clocks, theirs: float | None) -> float | None:
    return None if theirs is None else theirs - clocks.now()


def _judged(behind: float, how: str) -> Finding:
    sense = "behind" if behind > 0 else "ahead of"
    told = f"{abs(behind):.0f} s {sense} the network's time ({how})"
    if abs(behind) >= SKEW_FAILS_S:
        return failure(
            Topic.CLOCK,
            f"{told}: calls expire before they arrive, or are refused",
            _CLOCK_ADVICE,
            exit_code=NetworkError.exit_code,
        )
    if abs(behind) >= SKEW_DOUBT_S:
        return doubt(Topic.CLOCK, told, _CLOCK_ADVICE)
    return fine(Topic.CLOCK, f"within {abs(behind) + 1:.0f} s of the network's time ({how})")
