"""`stable export` and `stable import` through a snapshot; `cli.stable` has the words."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run
from dfx_backup.cli.stable_repository import files_named
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id
from dfx_backup.errors import ProjectError, UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.stable_copies import StableCopy
    from dfx_backup.operations.stable_snapshot_plans import Module
    from dfx_backup.operations.target import Target


class ViaChoice(enum.StrEnum):
    """The way to the memory."""

    AUTO = "auto"
    """The canister's own methods; a canister without any is told of the other way."""
    ENDPOINTS = "endpoints"
    SNAPSHOT = "snapshot"


ViaOption = Annotated[
    ViaChoice,
    typer.Option("--via", help="The canister's own methods (auto), or a snapshot: an outage."),
]
SnapshotOption = Annotated[
    str | None,
    typer.Option("--snapshot", metavar="ID", help="Read this canister snapshot: no outage."),
]
HeapFromStableOption = Annotated[
    bool,
    typer.Option("--heap-from-stable", help="Let post_upgrade make a new heap of the memory."),
]
ModuleOption = Annotated[
    str | None,
    typer.Option("--module", metavar="WASM", help="Module of that upgrade; else its own."),
]
NewOption = Annotated[
    bool, typer.Option("--new", help="Do not go on with what an earlier run left.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWords:
    """What `stable export` was told that a snapshot can do."""

    repository: bool
    file: str | None
    snapshot: str | None
    allow_stopped: bool
    concurrency: int
    dry_run: bool


def export_by_snapshot(run: Run, canister: str, words: ExportWords) -> Report:
    """Plan or carry out `stable export --via snapshot`.

    Raises:
        UsageError: no file is named.
        BackupError: as the operation tells it.
    """
    from dfx_backup.cli import stable_snapshot_view as view
    from dfx_backup.operations.stable_snapshot_export import export, plan_export
    from dfx_backup.operations.stable_snapshot_plans import SnapshotExportOptions

    if words.file is None or words.repository:
        raise UsageError(
            "--via snapshot writes files: name them with --file",
            hint="`create` brings a snapshot, with its stable memory, into the repository",
        )
    takes = words.snapshot is None and not words.dry_run
    target = run.connector.canister(run, canister, changes=takes)
    options = SnapshotExportOptions(
        file=files_named(run, words.file),
        snapshot=optional_snapshot_id(words.snapshot),
        allow_stopped=words.allow_stopped,
        window=words.concurrency,
        tool=f"dfx-backup {__version__}",
    )
    if words.dry_run:
        return view.export_plan(plan_export(run.runtime, target, options))
    return view.exported(export(run.runtime, target, options, TransferView.of(run)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWords:
    """What `stable import` was told."""

    via: ViaChoice
    stream: str | None
    heap_from_stable: bool
    module: str | None
    new: bool
    allow_stopped: bool
    skip_safety_snapshot: bool
    replace: str | None
    from_other_canister: bool
    concurrency: int
    dry_run: bool
    yes: bool

    @property
    def by_snapshot(self) -> bool:
        """Whether it goes through a snapshot: only when that was asked for."""
        return self.via is ViaChoice.SNAPSHOT

    def check(self) -> None:
        """Refuse what only the other way can do.

        Raises:
            UsageError: it was asked for.
        """
        if self.by_snapshot:
            refuse_methods("backup", None, "auto", self.stream)
            return
        _refuse(
            {
                "--heap-from-stable": self.heap_from_stable,
                "--module": self.module is not None,
                "--new": self.new,
                "--allow-stopped": self.allow_stopped,
            },
            "goes with --via snapshot",
        )


def import_by_snapshot(
    run: Run, target: "Target", copy: "StableCopy", words: ImportWords
) -> Report:
    """Plan or carry out `stable import --via snapshot`.

    Raises:
        UsageError: the words contradict each other.
        BackupError: as the operation tells it.
    """
    from dfx_backup.cli import stable_snapshot_view as view
    from dfx_backup.operations import stable_snapshot_import as operation
    from dfx_backup.operations.stable_snapshot_plans import SnapshotImportOptions

    if words.module is not None and not words.heap_from_stable:
        raise UsageError("--module is the module of the upgrade that --heap-from-stable makes")
    options = SnapshotImportOptions(
        copy=copy,
        module=_module(run, words.module) if words.heap_from_stable else None,
        new=words.new,
        skip_safety_snapshot=words.skip_safety_snapshot,
        replace=optional_snapshot_id(words.replace),
        other_canister=words.from_other_canister,
        allow_stopped=words.allow_stopped,
        window=words.concurrency,
        tool=f"dfx-backup {__version__}",
    )
    plan = operation.plan_import(run.runtime, target, options)
    if words.dry_run:
        return view.import_plan(plan)
    run.confirm(
        yes=words.yes,
        losses=plan.will_be_lost,
        question=f"Put {copy} into {target}, through a snapshot",
        notes=(*view.spending(plan), *plan.warnings),
    )
    return view.imported(operation.import_(run.runtime, target, options, TransferView.of(run)))


def refuse_methods(protocol: str, method: str | None, reads: str, stream: str | None) -> None:
    """Refuse what only a canister's own methods can do.

    Raises:
        UsageError: it was asked for.
    """
    _refuse(
        {
            "--protocol": protocol != "backup",
            "--method": method is not None,
            "--reads": reads != "auto",
            f"--stream {stream}": stream not in (None, "stable_memory"),
        },
        "is for the canister's own methods: a snapshot holds the whole stable memory",
    )


def refuse_snapshot(snapshot: str | None, *, allow_stopped: bool) -> None:
    """Refuse what only a snapshot can do.

    Raises:
        UsageError: it was asked for.
    """
    given = {"--snapshot": snapshot is not None, "--allow-stopped": allow_stopped}
    _refuse(given, "goes with --via snapshot")


def _refuse(given: dict[str, bool], why: str) -> None:
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"{name} {why}")


def _module(run: Run, typed: str | None) -> "Module":
    from dfx_backup.operations.stable_snapshot_plans import Module

    if typed is None:
        return Module()
    path = run.surroundings.path(typed)
    try:
        return Module(path=path, content=path.read_bytes())
    except OSError as error:
        raise ProjectError(
            f"{path} can't be read: {error.strerror or error}",
            hint="--module names the .wasm file that `dfx build` has made",
        ) from error
