"""A snapshot into a folder."""

from pathlib import Path

from dfx_backup.errors import BackupError
from dfx_backup.transfer.terms import (
    BackupIdentity,
    DownloadReport,
    KnownModule,
    SliceReader,
    TransferOptions,
    TransferProgress,
)


def download_snapshot(
    reader: SliceReader,
    what: BackupIdentity,
    folder: Path,
    *,
    options: TransferOptions,
    progress: TransferProgress,
    resume: bool = False,
    known_module: KnownModule | None = None,
) -> DownloadReport:
    """Copy a snapshot into a folder; see the package."""
    del reader, what, folder, options, progress, resume, known_module
    raise BackupError("downloads are not there yet")
