"""Words of a command line that mean more than text."""

import string

from dfx_backup.errors import UsageError
from dfx_backup.model import SnapshotId


def optional_snapshot_id(typed: str | None) -> SnapshotId | None:
    """As `snapshot_id`, or None for nothing."""
    return None if typed is None else snapshot_id(typed)


def snapshot_id(typed: str) -> SnapshotId:
    """The id in the form that tools print: lower-case hexadecimal, without `0x`.

    Raises:
        UsageError: it is none.
    """
    digits = typed.lower().removeprefix("0x")
    if not digits or len(digits) % 2 or set(digits) - set(string.hexdigits):
        raise UsageError(
            f"`{typed}` is not a snapshot id: it must be hexadecimal digits, two for each byte",
            hint="`snapshot list CANISTER` shows the ids.",
        )
    return SnapshotId(digits)
