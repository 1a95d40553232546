"""Check a snapshot's folder without a network."""

from pathlib import Path

from dfx_backup.operations.transfer_plans import VerifyResult
from dfx_backup.progress import Progress
from dfx_backup.transfer.folder import check_folder


def verify(folder: Path, progress: Progress) -> VerifyResult:
    """Compare sizes with the metadata, and everything with its recorded hash.

    Raises:
        ProjectError: there is no such folder, it can't be read, or a newer program made it.
    """
    progress.step(f"checking {folder}")
    report = check_folder(folder)
    incomplete: tuple[str, ...] = ()
    if not report.hashes and not report.problems:
        told = (
            f"{folder} was made by {report.kind.value}, which records no hashes: its sizes agree"
            " with its metadata, and whether the content is what was once downloaded can't be"
            " told."
        )
        incomplete = (told,)
    return VerifyResult(report=report, incomplete=incomplete)
