"""Snapshot ids: eight bytes of a counter, then the bytes of the owner's canister id."""

import re
from collections.abc import Iterable

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.ic.principal import Principal, PrincipalError
from dfx_backup.model import CanisterId, CanisterSnapshot, SnapshotId

_COUNTER_BYTES = 8
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def canonical(snapshot: str) -> SnapshotId:
    """The id in lower case.

    Raises:
        UsageError: the text is no hexadecimal id.
    """
    text = snapshot.strip().lower().removeprefix("0x")
    if not _HEX.fullmatch(text):
        raise UsageError(
            f"'{snapshot}' is no snapshot id", hint="ids are hexadecimal; `snapshot list` has them"
        )
    return SnapshotId(text)


def owner(snapshot: SnapshotId) -> CanisterId | None:
    """The canister that the id belongs to, or None when the id does not have the usual form."""
    raw = bytes.fromhex(snapshot)[_COUNTER_BYTES:]
    if not raw:
        return None
    try:
        return CanisterId(Principal(raw).to_text())
    except PrincipalError:
        return None


def find(
    wanted: str, snapshots: Iterable[CanisterSnapshot], canister: CanisterId
) -> CanisterSnapshot:
    """The canister's snapshot with this id.

    Raises:
        UsageError: it is no id, or the canister has no such snapshot.
        RefusedError: it belongs to another canister.
    """
    snapshot = canonical(wanted)
    for known in snapshots:
        if known.snapshot_id == snapshot:
            return known
    belongs_to = owner(snapshot)
    if belongs_to is not None and belongs_to != canister and len(snapshot) == 36:
        raise RefusedError(
            f"snapshot {snapshot} belongs to canister {belongs_to}, not to {canister}",
            hint="`snapshot list` shows the snapshots of a canister",
        )
    raise UsageError(
        f"canister {canister} has no snapshot {snapshot}", hint="`snapshot list` has the ids"
    )
