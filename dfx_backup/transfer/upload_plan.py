"""What an upload sends, decided and checked before anything is sent."""

from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import BackupError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.transfer.terms import FolderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """What an upload would send; sizes are bytes.

    Attributes:
        report: the folder and its problems; an upload with problems is refused.
        metadata: what is uploaded, exact to the bit.
        total_bytes: module, memories and chunks together.
        send_bytes: the part that is sent.
        zero_bytes: the part that is zero and not sent.
        envelopes: calls that carry it.
        chunks: how many of them are chunks of the Wasm chunk store.
    """

    report: FolderReport
    metadata: SnapshotMetadata
    total_bytes: int
    send_bytes: int
    zero_bytes: int
    envelopes: int
    chunks: int


def plan_upload(folder: Path) -> UploadPlan:
    """Check a folder and decide what is sent; raises DamageError only when nothing can be read."""
    del folder
    raise BackupError("uploads are not there yet")
