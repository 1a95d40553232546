"""What icp prints, read without side effects: JSON on standard output, one object.

Natural numbers of the status are texts with `_` between thousands, those of snapshots are numbers.
"""

import json
import re

from dfx_backup.errors import RejectError, ToolError
from dfx_backup.model import CanisterId, CanisterSnapshot, CanisterStatus, RunState, SnapshotId

_NUMBER = re.compile(r"[0-9][0-9_]*")
_SNAPSHOT = re.compile(r"(?:[0-9a-f]{2})+")
_HASH = re.compile(r"0x([0-9a-f]{64})")
_PRINCIPAL = re.compile(r"[a-z0-9]{1,5}(?:-[a-z0-9]{1,5})*")
_REPORT = "report the version of icp and this output"


def canister_status(text: str, canister: CanisterId) -> CanisterStatus:
    """What `canister status --json` tells; what it does not tell is None.

    icp answers from the state tree, and with success, when the identity may not read the status.

    Raises:
        RejectError: that is what it did.
        ToolError: the text is not such an object.
    """
    told = _object(text, "status")
    if "status" not in told and "controllers" in told:
        raise RejectError(
            f"could not read the status of canister {canister}: the identity may not",
            reject_code=5,
            reject_message="icp tells only what everybody may read",
            error_code="IC0512",
            hint="use the identity of a controller: `--identity NAME`",
        )
    state = told.get("status")
    if not isinstance(state, str) or state.lower() not in set(RunState):
        raise _unreadable("status", text)
    settings = told.get("settings")
    if not isinstance(settings, dict):
        raise _unreadable("status", text)
    return CanisterStatus(
        state=RunState(state.lower()),
        module_hash=_module_hash(told.get("module_hash")),
        controllers=_texts(settings.get("controllers"), text),
        memory_bytes=_number(told, "memory_size"),
        cycles=_number(told, "cycles"),
        reserved_cycles=_number(told, "reserved_cycles"),
        idle_cycles_per_day=_number(told, "idle_cycles_burned_per_day"),
        freezing_threshold_s=_number(settings, "freezing_threshold"),
    )


def listed_snapshots(text: str) -> tuple[CanisterSnapshot, ...]:
    """What `snapshot list --json` tells, oldest first.

    Raises:
        ToolError: the text is not such an object.
    """
    listed = _object(text, "list of snapshots").get("snapshots")
    if not isinstance(listed, list):
        raise _unreadable("list of snapshots", text)
    snapshots = [_snapshot(each, text) for each in listed]
    return tuple(sorted(snapshots, key=lambda told: (told.taken_at_ns or 0, told.snapshot_id)))


def created_snapshot(text: str) -> CanisterSnapshot:
    """What `snapshot create --json` tells.

    Raises:
        ToolError: the text is not such an object.
    """
    return _snapshot(_object(text, "new snapshot"), text)


def uploaded_snapshot(text: str) -> SnapshotId:
    """What `snapshot upload --json` tells.

    Raises:
        ToolError: the text is not such an object.
    """
    return _snapshot_id(_object(text, "uploaded snapshot"), text)


def principal(text: str) -> str:
    """The principal that `identity principal` prints.

    Raises:
        ToolError: there is none.
    """
    line = text.strip()
    if "-" not in line or not _PRINCIPAL.fullmatch(line):
        raise _unreadable("principal", text)
    return line


def _object(text: str, what: str) -> dict[str, object]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _unreadable(what, text) from None
    if not isinstance(value, dict):
        raise _unreadable(what, text)
    return value


def _snapshot(value: object, text: str) -> CanisterSnapshot:
    if not isinstance(value, dict):
        raise _unreadable("snapshot", text)
    return CanisterSnapshot(
        snapshot_id=_snapshot_id(value, text),
        taken_at_ns=_number(value, "taken_at_timestamp"),
        size_bytes=_number(value, "total_size_bytes"),
    )


def _snapshot_id(value: dict[str, object], text: str) -> SnapshotId:
    found = value.get("snapshot_id")
    if not isinstance(found, str) or not _SNAPSHOT.fullmatch(found):
        raise _unreadable("snapshot", text)
    return SnapshotId(found)


def _number(told: dict[str, object], key: str) -> int | None:
    value = told.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value) or len(value) > 100:
        raise ToolError(f"icp tells {str(value)[:80]!r} as {key}, which is no number", hint=_REPORT)
    return int(value.replace("_", ""))


def _module_hash(value: object) -> str | None:
    if value is None:
        return None
    found = _HASH.fullmatch(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ToolError(f"icp tells {str(value)[:80]!r} as module hash", hint=_REPORT)
    return found.group(1)


def _texts(value: object, text: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _unreadable("status", text)
    return tuple(value)


def _unreadable(what: str, text: str) -> ToolError:
    return ToolError(f"icp's {what} can't be read: {text.strip()[:200]!r}", hint=_REPORT)
