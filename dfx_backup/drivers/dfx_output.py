"""What dfx prints, read without side effects.

Texts move between standard output and standard error from version to version, so every reader
takes both as one text. Labels are compared without regard to case; older versions print numbers
without units, newer ones with `_` between thousands.
"""

import re
from datetime import UTC, datetime

from dfx_backup.errors import ToolError
from dfx_backup.model import CanisterSnapshot, CanisterStatus, RunState, SnapshotId

_SNAPSHOT_LINE = re.compile(
    r"^\s*([0-9a-f]+): [^,\n]+, taken at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\s*$", re.MULTILINE
)
_NONE_LISTED = re.compile(r"^No snapshots found in canister ", re.MULTILINE)
_CREATED = re.compile(r"Snapshot ID: ([0-9a-f]+)\b")
_NUMBER = re.compile(r"(?:Nat\()?([0-9][0-9_]*)\)?(?:\s|$)")
_HASH = re.compile(r"0x([0-9a-f]{64})$")
_PRINCIPAL = re.compile(r"^[a-z0-9]{2,5}(?:-[a-z0-9]{1,5})*$")


def created_snapshot(text: str) -> SnapshotId | None:
    """The id that `snapshot create` tells, or None when there is none in the text."""
    found = _CREATED.findall(text)
    return SnapshotId(found[-1]) if found else None


def listed_snapshots(text: str) -> tuple[CanisterSnapshot, ...]:
    """What `snapshot list` tells, oldest first.

    Sizes are None: dfx prints them rounded. Times are whole seconds, in nanoseconds.

    Raises:
        ToolError: the text is neither a list nor says that there is nothing to list.
    """
    lines = _SNAPSHOT_LINE.findall(text)
    if not lines and not _NONE_LISTED.search(text):
        raise ToolError(
            f"dfx's list of snapshots can't be read: {_excerpt(text)}",
            hint="report the version of dfx and this output",
        )
    snapshots = [
        CanisterSnapshot(snapshot_id=SnapshotId(found), taken_at_ns=_nanoseconds(taken_at))
        for found, taken_at in lines
    ]
    return tuple(sorted(snapshots, key=lambda told: (told.taken_at_ns or 0, told.snapshot_id)))


def canister_status(text: str) -> CanisterStatus:
    """What `canister status` tells; what it does not tell is None.

    Raises:
        ToolError: the text holds no status, or a value that can't be read.
    """
    fields = _fields(text)
    state = fields.get("status", "").lower()
    if state not in set(RunState):
        raise ToolError(
            f"dfx's status can't be read: {_excerpt(text)}",
            hint="report the version of dfx and this output",
        )
    return CanisterStatus(
        state=RunState(state),
        module_hash=_module_hash(fields.get("module hash")),
        controllers=tuple(fields.get("controllers", "").split()),
        memory_bytes=_number(fields, "memory size"),
        cycles=_number(fields, "balance"),
        reserved_cycles=_number(fields, "reserved"),
        idle_cycles_per_day=_number(fields, "idle cycles burned per day"),
        freezing_threshold_s=_number(fields, "freezing threshold"),
    )


def principal(text: str) -> str:
    """The principal that `identity get-principal` prints.

    Raises:
        ToolError: there is none.
    """
    for line in text.splitlines():
        if "-" in line and _PRINCIPAL.match(line.strip()):
            return line.strip()
    raise ToolError(f"dfx printed no principal: {_excerpt(text)}")


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in text.splitlines() if ": " in line)
    return {label.strip().lower(): value.strip() for label, _, value in pairs}


def _number(fields: dict[str, str], label: str) -> int | None:
    value = fields.get(label)
    if value is None:
        return None
    found = _NUMBER.match(value)
    if found is None:
        raise ToolError(f"dfx's status tells {value!r} as {label}, which is no number")
    return int(found.group(1).replace("_", ""))


def _module_hash(value: str | None) -> str | None:
    if value is None or value.lower() == "none":
        return None
    found = _HASH.match(value.lower())
    if found is None:
        raise ToolError(f"dfx's status tells {value!r} as module hash")
    return found.group(1)


def _nanoseconds(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as err:
        raise ToolError(f"dfx tells {text!r} as the time of a snapshot") from err
    return int(moment.timestamp()) * 1_000_000_000


def _excerpt(text: str) -> str:
    return repr(text.strip()[:200])
