"""`stable info`, `export`, `verify` and `import`: memory alone, in chunks.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.options import (
    AllowStoppedOption,
    CanisterArgument,
    DryRunOption,
    ReplaceOption,
    SkipSafetySnapshotOption,
    YesOption,
)
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, TagOption, repository_command
from dfx_backup.cli.session import Run, command, require_command
from dfx_backup.cli.stable_repository import (
    BackupOption,
    export_place,
    files_named,
    import_copy,
)
from dfx_backup.cli.stable_snapshot import (
    ExportWords,
    HeapFromStableOption,
    ImportWords,
    ModuleOption,
    NewOption,
    SnapshotOption,
    ViaChoice,
    ViaOption,
    export_by_snapshot,
    import_by_snapshot,
    refuse_methods,
    refuse_snapshot,
)
from dfx_backup.cli.transfer import WINDOW, ConcurrencyOption
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id
from dfx_backup.errors import UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.stable_copies import StableCopy
    from dfx_backup.operations.stable_plans import Methods, StableExportOptions
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
FromOtherOption = Annotated[
    bool, typer.Option("--from-other-canister", help="The copy is another canister's.")
]


@command(group, "info")
def info_(
    run: Run,
    canister: CanisterArgument,
    *,
    via: ViaOption = ViaChoice.AUTO,
    protocol: ProtocolOption = ProtocolChoice.BACKUP,
    method: MethodOption = None,
) -> Report:
    """List what of a canister's memory can be read."""
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_info import info

    target = run.connector.canister(run, canister, changes=False)
    found = info(
        target,
        _methods(protocol, method),
        endpoints=via is not ViaChoice.SNAPSHOT,
        snapshot=via is not ViaChoice.ENDPOINTS,
    )
    return view.informed(found)


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
    via: ViaOption = ViaChoice.AUTO,
    protocol: ProtocolOption = ProtocolChoice.BACKUP,
    method: MethodOption = None,
    reads: Annotated[
        ReadsChoice,
        typer.Option("--reads", help="Certified reads, or certified hashes and queries."),
    ] = ReadsChoice.AUTO,
    snapshot: SnapshotOption = None,
    allow_stopped: AllowStoppedOption = False,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
) -> Report:
    """Copy a stream of a canister's memory into the repository, or into a file."""
    if via is ViaChoice.SNAPSHOT or (via is ViaChoice.AUTO and snapshot is not None):
        refuse_methods(protocol.value, method, reads.value, stream)
        words = ExportWords(
            repository=choice != RepositoryChoice() or tag is not None,
            file=file,
            snapshot=snapshot,
            allow_stopped=allow_stopped,
            concurrency=concurrency,
            dry_run=dry_run,
        )
        return export_by_snapshot(run, canister, words)
    from dfx_backup.operations.stable_plans import StableExportOptions
    from dfx_backup.transfer.stable_terms import Reads

    refuse_snapshot(snapshot, allow_stopped=allow_stopped)
    options = StableExportOptions(
        place=export_place(run, choice, file, tag or ()),
        stream=stream,
        methods=_methods(protocol, method),
        reads=None if reads is ReadsChoice.AUTO else Reads(reads.value),
        window=concurrency,
        tool=f"dfx-backup {__version__}",
    )
    return _export(run, canister, options, dry_run=dry_run)


def _export(run: Run, canister: str, options: "StableExportOptions", *, dry_run: bool) -> Report:
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_export import export, plan_export

    target = run.connector.canister(run, canister, changes=False)
    if dry_run:
        return view.export_plan(plan_export(target, options))
    return view.exported(export(run.runtime, target, options, TransferView.of(run)))


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

    path = files_named(run, file)
    target = None
    if live:
        sidecar = FileCopy.read(path).sidecar
        target = run.connector.canister(run, sidecar.identity.canister_id, changes=False)
    return view.verified(verify(run.runtime, path, target, TransferView.of(run)))


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
    via: ViaOption = ViaChoice.AUTO,
    skip_safety_snapshot: SkipSafetySnapshotOption = False,
    replace: ReplaceOption = None,
    from_other_canister: FromOtherOption = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Give up the import that is in progress.")
    ] = False,
    heap_from_stable: HeapFromStableOption = False,
    module: ModuleOption = None,
    new: NewOption = False,
    allow_stopped: AllowStoppedOption = False,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Overwrite a stream of a canister's memory by a copy."""
    words = ImportWords(
        via=via,
        stream=stream,
        heap_from_stable=heap_from_stable,
        module=module,
        new=new,
        allow_stopped=allow_stopped,
        skip_safety_snapshot=skip_safety_snapshot,
        replace=replace,
        from_other_canister=from_other_canister,
        concurrency=concurrency,
        dry_run=dry_run,
        yes=yes,
    )
    words.check()
    if abort and (file or backup or words.by_snapshot):
        raise UsageError("--abort gives up an import through methods: it takes no copy")
    target = run.connector.canister(run, canister, changes=not dry_run, restores=True)
    if abort:
        return _abort(run, target, words)
    with import_copy(run, choice, file, backup) as copy:
        return (import_by_snapshot if words.by_snapshot else _import)(run, target, copy, words)


def _import(run: Run, target: "Target", copy: "StableCopy", words: ImportWords) -> Report:
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations import stable_import as operation
    from dfx_backup.operations.stable_plans import StableImportOptions

    options = StableImportOptions(
        copy=copy,
        stream=words.stream,
        skip_safety_snapshot=words.skip_safety_snapshot,
        replace=optional_snapshot_id(words.replace),
        other_canister=words.from_other_canister,
        window=words.concurrency,
    )
    plan = operation.plan_import(run.runtime, target, options)
    if words.dry_run:
        return view.import_plan(plan)
    question = f"Overwrite {plan.stream.name} of {target}"
    run.confirm(yes=words.yes, losses=plan.will_be_lost, question=question, notes=plan.warnings)
    return view.imported(operation.import_(run.runtime, target, options, TransferView.of(run)))


def _abort(run: Run, target: "Target", words: ImportWords) -> Report:
    from dfx_backup.cli import stable_view as view
    from dfx_backup.operations.stable_import import abort, plan_abort

    plan = plan_abort(target)
    if words.dry_run:
        return view.abort_plan(plan)
    run.confirm(yes=words.yes, losses=plan.will_be_lost, question=f"Give up the import on {target}")
    return view.aborted(abort(target))


def _methods(protocol: ProtocolChoice, method: str | None) -> "Methods":
    from dfx_backup.operations.stable_plans import Methods, StableProtocol

    return Methods(protocol=StableProtocol(protocol.value), method=method)
