"""`stable info`, `export`, `verify` and `import`: memory alone, through a canister's own methods.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.options import (
    CanisterArgument,
    DryRunOption,
    ReplaceOption,
    SkipSafetySnapshotOption,
    YesOption,
)
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, TagOption, repository_command
from dfx_backup.cli.session import Run, command, require_command
from dfx_backup.cli.stable_repository import BackupOption, export_place, import_copy
from dfx_backup.cli.transfer import WINDOW, ConcurrencyOption
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id
from dfx_backup.errors import UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.stable_plans import Methods
    from dfx_backup.operations.target import Target

group = typer.Typer(
    rich_markup_mode=None,
    help="Export, verify and import a canister's memory in chunks.",
    callback=require_command,
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    """Put the group into the tree."""
    app.add_typer(group, name="stable")


class ViaChoice(enum.StrEnum):
    """The way to the memory."""

    ENDPOINTS = "endpoints"
    SNAPSHOT = "snapshot"


class ProtocolChoice(enum.StrEnum):
    """`operations.stable_plans.StableProtocol`, which takes a while to import."""

    BACKUP = "backup"
    FACTLAND = "factland"
    OFFSET_BLOB = "offset-blob"


class ReadsChoice(enum.StrEnum):
    """How a stream is read."""

    AUTO = "auto"
    CERTIFIED = "certified"
    HASHES = "hashes"


ViaOption = Annotated[
    ViaChoice,
    typer.Option("--via", help="Through the canister's own methods, or through a snapshot."),
]
ProtocolOption = Annotated[
    ProtocolChoice,
    typer.Option("--protocol", help="Whose methods the canister has; `backup` are the kit's."),
]
MethodOption = Annotated[
    str | None,
    typer.Option("--method", metavar="NAME", help="Method of protocol `offset-blob`."),
]
StreamOption = Annotated[
    str | None,
    typer.Option("--stream", metavar="NAME", help="Stream of the canister; see `stable info`."),
]
FileOption = Annotated[
    str,
    typer.Option(
        "--file",
        metavar="NAME",
        help="NAME of the files NAME.stable.bin and NAME.stable.json.",
        show_default=False,
    ),
]


@command(group, "info")
def info_(
    run: Run,
    canister: CanisterArgument,
    *,
    via: ViaOption = ViaChoice.ENDPOINTS,
    protocol: ProtocolOption = ProtocolChoice.BACKUP,
    method: MethodOption = None,
) -> Report:
    """List what of a canister's memory can be read."""
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_info import info

    _require_endpoints(via)
    target = run.connector.canister(run, canister, changes=False)
    return view.informed(info(target, _methods(protocol, method)))


@repository_command(group, "export")
def export_(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    canister: CanisterArgument,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="NAME", help="Write NAME.stable.bin; else into the repository."
        ),
    ] = None,
    tag: TagOption = None,
    stream: StreamOption = None,
    via: ViaOption = ViaChoice.ENDPOINTS,
    protocol: ProtocolOption = ProtocolChoice.BACKUP,
    method: MethodOption = None,
    reads: Annotated[
        ReadsChoice,
        typer.Option("--reads", help="Certified reads, or certified hashes and queries."),
    ] = ReadsChoice.AUTO,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
) -> Report:
    """Copy a stream of a canister's memory into the repository, or into a file."""
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_export import export, plan_export
    from dfx_backup.operations.stable_plans import StableExportOptions
    from dfx_backup.transfer.stable_terms import Reads

    _require_endpoints(via)
    options = StableExportOptions(
        place=export_place(run, choice, file, tag or ()),
        stream=stream,
        methods=_methods(protocol, method),
        reads=None if reads is ReadsChoice.AUTO else Reads(reads.value),
        window=concurrency,
        tool=f"dfx-backup {__version__}",
    )
    target = run.connector.canister(run, canister, changes=False)
    if dry_run:
        return view.export_plan(plan_export(target, options))
    return view.exported(export(run.runtime, target, options, _progress(run)))


@command(group, "verify")
def verify_(
    run: Run,
    *,
    file: FileOption,
    live: Annotated[
        bool, typer.Option("--live", help="Compare with the canister as it is now, too.")
    ] = False,
) -> Report:
    """Check an exported file against the hashes beside it."""
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_copies import FileCopy
    from dfx_backup.operations.stable_verify import verify

    path = run.surroundings.path(file)
    target = None
    if live:
        sidecar = FileCopy.read(path).sidecar
        target = run.connector.canister(run, sidecar.identity.canister_id, changes=False)
    return view.verified(verify(run.runtime, path, target, _progress(run)))


@repository_command(group, "import")
def import_stream(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    canister: CanisterArgument,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="NAME", help="NAME of the files that `export` has made."),
    ] = None,
    backup: BackupOption = None,
    stream: StreamOption = None,
    via: ViaOption = ViaChoice.ENDPOINTS,
    skip_safety_snapshot: SkipSafetySnapshotOption = False,
    replace: ReplaceOption = None,
    from_other_canister: Annotated[
        bool, typer.Option("--from-other-canister", help="The copy is another canister's.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Give up the import that is in progress.")
    ] = False,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Overwrite a stream of a canister's memory by a copy; only differences are sent."""
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations import stable_import as operation
    from dfx_backup.operations.stable_plans import StableImportOptions

    _require_endpoints(via)
    if abort and (file or backup):
        raise UsageError("--abort gives up an import: it takes neither --file nor --backup")
    target = run.connector.canister(run, canister, changes=not dry_run, restores=True)
    if abort:
        return _abort(run, target, dry_run=dry_run, yes=yes)
    with import_copy(run, choice, file, backup) as copy:
        options = StableImportOptions(
            copy=copy,
            stream=stream,
            skip_safety_snapshot=skip_safety_snapshot,
            replace=optional_snapshot_id(replace),
            other_canister=from_other_canister,
            window=concurrency,
        )
        plan = operation.plan_import(run.runtime, target, options)
        if dry_run:
            return view.import_plan(plan)
        question = f"Overwrite {plan.stream.name} of {target}"
        run.confirm(yes=yes, losses=plan.will_be_lost, question=question, notes=plan.warnings)
        return view.imported(operation.import_(run.runtime, target, options, _progress(run)))


def _abort(run: Run, target: "Target", *, dry_run: bool, yes: bool) -> Report:
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_import import abort, plan_abort

    plan = plan_abort(target)
    if dry_run:
        return view.abort_plan(plan)
    run.confirm(yes=yes, losses=plan.will_be_lost, question=f"Give up the import on {target}")
    return view.aborted(abort(target))


def _methods(protocol: ProtocolChoice, method: str | None) -> "Methods":
    from dfx_backup.operations.stable_plans import Methods, StableProtocol

    return Methods(protocol=StableProtocol(protocol.value), method=method)


def _require_endpoints(via: ViaChoice) -> None:
    if via is ViaChoice.SNAPSHOT:
        raise UsageError(
            "--via snapshot is not there yet",
            hint="`snapshot create` and `snapshot download` bring the whole canister",
        )


def _progress(run: Run) -> TransferView:
    return TransferView(run.view, run.surroundings.clock.monotonic)
