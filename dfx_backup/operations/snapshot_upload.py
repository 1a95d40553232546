"""Make a native snapshot out of a folder. Nothing of the canister is touched but its slots."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, UploadPlace
from dfx_backup.model import CanisterId, CanisterSnapshot, SentCall, SnapshotId
from dfx_backup.operations import cycles, durations, folder_way, transfers, upload_planning
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.ledger import Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.recover import refuse_pending
from dfx_backup.operations.state_files import private_folder, remove
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import (
    SendOptions,
    SnapshotUploadPlan,
    SnapshotUploadResult,
    UploadOptions,
)
from dfx_backup.operations.wasm_module import STUB_WASM64
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import (
    SliceWriter,
    TransferProgress,
    TroubleListener,
    UploadChoices,
    UploadReport,
    UploadTarget,
)
from dfx_backup.transfer.upload_state import remembered

PURPOSE = "uploaded from a folder"


def plan_upload(run: Runtime, target: Target, options: UploadOptions) -> SnapshotUploadPlan:
    """Check the folder and the canister, and say what will be sent and what it costs.

    Raises:
        DamageError: the folder is not whole; names its files.
        UsageError: the canister has no snapshot to resume or replace, or the driver can't do what
            was asked.
        RefusedError: it would not be safe, or the balance does not carry it.
        NetworkError, ToolError, ProjectError: as the network, the driver or the disk tell them.
    """
    refuse_pending(run, target)
    return upload_planning.plan(run, target, options, state_file(run, target, options.folder))


def upload(
    run: Runtime,
    target: Target,
    options: UploadOptions,
    progress: TransferProgress,
    *,
    purpose: str = PURPOSE,
) -> SnapshotUploadResult:
    """Plan again, then send the folder and read back; interrupted at any point, it goes on.

    Raises:
        InterruptedRunError: a signal has come; the same command goes on.
        LockedError: another run holds the canister, or sends the same folder to it.
        DamageError, UsageError, RefusedError, NetworkError, ToolError, ProjectError: as
            `plan_upload`, or from the transfer.
    """
    with Interrupts() as interrupts:
        plan = plan_upload(run, target, options)
        if target.direct is None:
            made = folder_way.upload(run, target, plan, progress)
            own(run, target, made.snapshot_id, purpose)
            return _result(run, target, plan, made.snapshot_id, None, made.warnings)
        with interrupts.deferred(), transfers.goes_on(_again(run, target, options)):
            how = Sending(
                state=state_file(run, target, options.folder), purpose=purpose, options=options
            )
            report = send(run, target, plan, how, progress, interrupts)
        own(run, target, report.snapshot_id, purpose)
        return _result(run, target, plan, report.snapshot_id, report, ())


def state_file(run: Runtime, target: Target, folder: Path) -> Path:
    """What is remembered of an upload of this folder to this canister."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return run.state / "uploads" / f"{target.key}.{name}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How a planned upload is carried out.

    Attributes:
        state: what is remembered of it.
        purpose: why, for the list of our own snapshots.
        options: what was asked for.
        keep_state: see `UploadTarget.keep_state`.
    """

    state: Path
    purpose: str
    options: SendOptions
    keep_state: bool = False


def send(
    run: Runtime,
    target: Target,
    plan: SnapshotUploadPlan,
    how: Sending,
    progress: TransferProgress,
    interrupts: Interrupts,
) -> UploadReport:
    """Make the snapshot and fill it, by direct calls; signals are deferred by the caller.

    Raises:
        InterruptedRunError: a signal has come; the same upload goes on.
        LockedError, DamageError, RefusedError, NetworkError, ProjectError: as `upload_snapshot`.
    """
    assert target.direct is not None
    if plan.installs_stub:
        progress.step(f"{target}: installing an empty wasm64 module")
        with canister_lock(run, target, purpose="snapshot upload"):
            target.direct.calls.install_code(target.canister_id, STUB_WASM64)
        interrupts.check()
    state = how.state
    private_folder(state.parent)
    begun = remembered(state)
    if begun is not None and begun not in {each.snapshot_id for each in plan.snapshots}:
        remove(state)  # the snapshot was deleted since: there is nothing to go on with
    return upload_snapshot(
        _Writer(run=run, target=target, direct=target.direct.slices, purpose=how.purpose),
        UploadTarget(
            canister_id=target.canister_id,
            network_id=target.network_id,
            state=state,
            keep_state=how.keep_state,
            snapshot_id=how.options.resume,
            replace=None if plan.replaces is None else plan.replaces.snapshot_id,
        ),
        plan.what,
        UploadChoices(
            read_back=plan.read_back,
            keep_timer=plan.keep_timer,
            keep_hook_status=plan.keep_hook_status,
            seed=how.options.seed,
        ),
        options=transfers.options(run, interrupts, plan.window),
        progress=progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Direct calls; a new snapshot is made under the canister's lock, and known as ours at once.

    Other runs compare lists of snapshots to find theirs, and must not find this one among them.
    """

    run: Runtime
    target: Target
    direct: SliceWriter
    purpose: str

    def upload_snapshot_metadata(
        self,
        canister: CanisterId,
        metadata: SnapshotMetadata,
        /,
        *,
        replace: SnapshotId | None = None,
        before_send: Callable[[SentCall], None] | None = None,
    ) -> SnapshotId:
        with canister_lock(self.run, self.target, purpose="snapshot upload"):
            made = self.direct.upload_snapshot_metadata(
                canister, metadata, replace=replace, before_send=before_send
            )
            ledger = Ledger(self.run.state, self.target.key)
            if replace is not None:
                ledger.drop(replace)
            ledger.add(_record(self.run, made, self.purpose))
        return made

    def upload_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, place: UploadPlace, chunk: bytes, /
    ) -> None:
        self.direct.upload_snapshot_data(canister, snapshot, place, chunk)

    def list_snapshots(self, canister: CanisterId, /) -> tuple[CanisterSnapshot, ...]:
        return self.direct.list_snapshots(canister)

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId, /
    ) -> SnapshotMetadata:
        return self.direct.read_snapshot_metadata(canister, snapshot)

    def read_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, part: ReadPart, /
    ) -> bytes:
        return self.direct.read_snapshot_data(canister, snapshot, part)

    def watch(self, listener: TroubleListener, /) -> AbstractContextManager[None]:
        return self.direct.watch(listener)


def own(run: Runtime, target: Target, snapshot: SnapshotId, purpose: str) -> None:
    """Record it, where an answer was lost and the engine found the snapshot in the list."""
    ledger = Ledger(run.state, target.key)
    if all(known.snapshot_id != snapshot for known in ledger.read()):
        with canister_lock(run, target, purpose="snapshot upload"):
            ledger.add(_record(run, snapshot, purpose))


def _record(run: Runtime, snapshot: SnapshotId, purpose: str) -> OwnSnapshot:
    return OwnSnapshot(snapshot_id=snapshot, purpose=purpose, taken_at=run.clock.now())


def _result(
    run: Runtime,
    target: Target,
    plan: SnapshotUploadPlan,
    snapshot: SnapshotId,
    report: UploadReport | None,
    warnings: tuple[str, ...],
) -> SnapshotUploadResult:
    cost = None
    if report is not None:
        cost = cycles.upload_cost(
            upload_planning.charged_bytes(plan.what.metadata),
            sent=report.sent_bytes,
            calls=report.envelopes,
            chunks=plan.what.chunks,
        ) + cycles.download_cost(report.checked_bytes, durations.slices(report.checked_bytes))
    return SnapshotUploadResult(
        plan=plan,
        snapshot_id=snapshot,
        report=report,
        cycles=cost,
        load_command=_load_command(run, target, snapshot),
        warnings=warnings,
    )


def _load_command(run: Runtime, target: Target, snapshot: SnapshotId) -> str:
    return run.command("snapshot load", target, snapshot)


def _again(run: Runtime, target: Target, options: UploadOptions) -> str:
    words = ("--dir", str(options.folder), *(("--clone",) if options.clone else ()))
    command = run.command("snapshot upload", target, *words)
    return f"go on, with what has arrived, by the same command: `{command}`"
