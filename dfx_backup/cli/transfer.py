"""`snapshot download`, `upload` and `verify`: snapshots between the subnet and folders.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import enum
from typing import Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.options import (
    CanisterArgument,
    CloneOption,
    DryRunOption,
    SnapshotArgument,
    YesOption,
)
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id, snapshot_id

WINDOW = 50
"""`transfer.terms.DEFAULT_WINDOW`, which takes a while to import."""
_WIDEST = 200
_SEED_BYTES = 4

DirOption = Annotated[
    str, typer.Option("--dir", metavar="DIR", help="Folder of the snapshot.", show_default=False)
]

ConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--concurrency",
        metavar="N",
        min=1,
        max=_WIDEST,
        help="Most slices in flight; a node takes 50 calls at a time.",
    ),
]

ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="ID",
        help="Go on with this snapshot; not needed where the upload was begun.",
    ),
]

EarlyReplaceOption = Annotated[
    str | None,
    typer.Option(
        "--replace",
        metavar="ID",
        help="Delete this canister snapshot before the data arrives; never the only one.",
    ),
]


class ReadBackChoice(enum.StrEnum):
    """How much of an upload is read and compared; some of it always is."""

    SAMPLED = "sampled"
    ALL = "all"


def register(group: typer.Typer) -> None:
    """Put the commands into the group `snapshot`."""
    command(group, "download")(download_snapshot)
    command(group, "upload")(upload_snapshot)
    command(group, "verify")(verify_snapshot)


def download_snapshot(
    run: Run,
    canister: CanisterArgument,
    snapshot: SnapshotArgument,
    *,
    folder: DirOption,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted download.")
    ] = False,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
) -> Report:
    """Copy a canister snapshot into a folder, every slice certified."""
    from dfx_backup.cli import transfer_view as view
    from dfx_backup.operations.snapshot_download import download, plan_download
    from dfx_backup.operations.transfer_plans import DownloadOptions

    options = DownloadOptions(
        folder=run.surroundings.path(folder),
        resume=resume,
        window=concurrency,
        tool=f"dfx-backup {__version__}",
    )
    wanted = snapshot_id(snapshot)
    target = run.connector.canister(run, canister, changes=False)
    if dry_run:
        return view.download_plan(plan_download(target, wanted, options))
    return view.downloaded(download(run.runtime, target, wanted, options, TransferView.of(run)))


def upload_snapshot(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    canister: CanisterArgument,
    *,
    folder: DirOption,
    resume: ResumeOption = None,
    replace: EarlyReplaceOption = None,
    concurrency: ConcurrencyOption = WINDOW,
    clone: CloneOption = False,
    read_back: Annotated[
        ReadBackChoice,
        typer.Option("--read-back", help="How much is read and compared in the end."),
    ] = ReadBackChoice.SAMPLED,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Make a canister snapshot out of a folder; zero pages are not sent."""
    from dfx_backup.cli import transfer_view as view
    from dfx_backup.operations.snapshot_upload import plan_upload, upload
    from dfx_backup.operations.transfer_plans import UploadOptions
    from dfx_backup.transfer.terms import ReadBack

    options = UploadOptions(
        folder=run.surroundings.path(folder),
        resume=optional_snapshot_id(resume),
        replace=optional_snapshot_id(replace),
        window=concurrency,
        clone=clone,
        read_back=ReadBack(read_back.value),
        seed=int.from_bytes(run.surroundings.random(_SEED_BYTES)),
    )
    target = run.connector.canister(run, canister, changes=not dry_run)
    if dry_run:
        return view.upload_plan(plan_upload(run.runtime, target, options))
    if options.replace is not None:
        plan = plan_upload(run.runtime, target, options)
        run.confirm(yes=yes, losses=plan.will_be_lost, question=f"Replace a snapshot of {target}")
    return view.uploaded(upload(run.runtime, target, options, TransferView.of(run)))


def verify_snapshot(run: Run, *, folder: DirOption) -> Report:
    """Check a snapshot's folder: sizes, hashes, metadata."""
    from dfx_backup.cli import transfer_view as view
    from dfx_backup.operations.snapshot_verify import verify

    return view.verified(verify(run.surroundings.path(folder), run.view))
