"""Put a backup back into a canister: upload, read back, stop, safety snapshot, load, start."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dfx_backup.errors import BackupError, DamageError, InterruptedRunError
from dfx_backup.model import SnapshotId
from dfx_backup.operations import snapshot_upload, transfers
from dfx_backup.operations.backup_export import export_backup
from dfx_backup.operations.backup_notes import NoteKind, write_notes
from dfx_backup.operations.backup_restore_plan import PURPOSE, load_options, plan_one, state_file
from dfx_backup.operations.backup_source import plan_backup
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.plans import LoadOptions, LoadResult
from dfx_backup.operations.restore_plans import RestoreOptions, RestorePlan, RestoreResult
from dfx_backup.operations.setting_changes import apply_settings, failed
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.snapshot_load import load
from dfx_backup.operations.snapshot_upload import Sending
from dfx_backup.operations.state_files import private_folder, remove
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import UploadOptions
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.terms import ReadBack, TransferProgress, UploadReport
from dfx_backup.transfer.upload_state import remembered

LEVEL_RESTORED = 3
"""The backup was restored, read back whole and loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A backup that is a snapshot now; `report` is None when the driver sent it."""

    snapshot_id: SnapshotId
    report: UploadReport | None
    warnings: tuple[str, ...] = ()


def plan_restore(
    run: Runtime, repository: Repository, target: Target, backup: Backup, options: RestoreOptions
) -> RestorePlan:
    """Check backup and canister, and say what will be sent, what it costs and what will be lost.

    Raises:
        DamageError: the backup is not whole.
        UsageError, RefusedError: the options contradict each other, or it would not be safe.
        LockedError: somebody works on the repository alone.
        NetworkError, ToolError, ProjectError: as the network, the driver or the disk tell them.
    """
    with reading(repository, run.progress):
        run.progress.step(f"{target}: checking {backup}")
        return plan_one(run, target, backup, plan_backup(repository, backup), options)


def restore(
    run: Runtime,
    repository: Repository,
    target: Target,
    backup: Backup,
    options: RestoreOptions,
    progress: TransferProgress,
) -> RestoreResult:
    """Plan again, then restore; interrupted before the load, the same call goes on.

    Raises:
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        LockedError: another run holds the canister, or somebody the repository alone.
        DamageError, UsageError, RefusedError, NetworkError, ToolError, ProjectError: as
            `plan_restore`, or from a step.
    """
    with reading(repository, run.progress):
        run.progress.step(f"{target}: checking {backup}")
        plan = plan_one(run, target, backup, plan_backup(repository, backup), options)
        sent = upload(run, repository, target, plan, options, progress)
    with kept((sent,)):
        how = load_options(options, sent.snapshot_id, starts=plan.starts)
        loaded = load(run, target, how)
    failure = check(options)
    gone_back = None
    if failure is not None:
        gone_back = _go_back(run, target, options, loaded, failure)
    done = Loaded(plan=plan, sent=sent, load=loaded)
    result = finish(run, repository, target, options, done, failure)
    return replace(result, rolled_back=gone_back, failure=failure)


def upload(
    run: Runtime,
    repository: Repository,
    target: Target,
    plan: RestorePlan,
    options: RestoreOptions,
    progress: TransferProgress,
) -> Uploaded:
    """Make the backup a snapshot of the canister, which goes on meanwhile; inside `reading`.

    Raises:
        InterruptedRunError: a signal has come; the same restore goes on.
        LockedError, DamageError, RefusedError, NetworkError, ToolError, ProjectError: as
            `snapshot_upload.upload`.
    """
    if target.direct is None:
        return _through_driver(run, repository, target, plan, options, progress)
    how = Sending(
        state=state_file(run, target, plan.backup, options),
        purpose=PURPOSE,
        options=options.sending,
        keep_state=True,
    )
    again = f"go on, with what has arrived, by the same `{run.program} restore` command"
    try:
        with Interrupts() as interrupts, interrupts.deferred(), transfers.goes_on(again):
            report = snapshot_upload.send(run, target, plan.upload, how, progress, interrupts)
    except DamageError as error:
        begun = remembered(how.state)
        if begun is not None:
            command = run.command("snapshot delete", target, begun)
            error.advise(f"nothing was stopped; what was uploaded of it goes with `{command}`")
        raise
    snapshot_upload.own(run, target, report.snapshot_id, PURPOSE)
    return Uploaded(snapshot_id=report.snapshot_id, report=report)


@contextmanager
def kept(sent: Sequence[Uploaded]) -> Iterator[None]:
    """Say, when loading fails, that nothing has to be sent again."""
    try:
        yield
    except BackupError as error:
        error.advise(
            "what was uploaded is kept, and the same command goes on with it; the snapshot is "
            + ", ".join(each.snapshot_id for each in sent)
        )
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A backup that was loaded, and how it came to that."""

    plan: RestorePlan
    sent: Uploaded
    load: LoadResult


def finish(
    run: Runtime,
    repository: Repository,
    target: Target,
    options: RestoreOptions,
    done: Loaded,
    failure: BackupError | None,
) -> RestoreResult:
    """What comes after the load and the check: clean up, note the level, settings last.

    Args:
        run: the surroundings.
        repository: where the backup is.
        target: the canister.
        options: what was asked for.
        done: what was done.
        failure: the check's error; then the settings stay as they are.
    """
    deleted, level, applied = False, None, False
    incomplete, warnings = [*done.load.incomplete], []
    if done.load.confirmed:
        deleted, troubles = _clean_up(run, target, done, options)
        warnings += troubles
        if failure is None:
            level, troubles = _note_level(run, repository, done, options)
            warnings += troubles
    if done.plan.settings is not None and failure is None:
        trouble = _settle(target, done.plan)
        applied = trouble is None
        incomplete += [] if trouble is None else [trouble]
    return RestoreResult(
        plan=done.plan,
        snapshot_id=done.sent.snapshot_id,
        report=done.sent.report,
        load=done.load,
        upload_deleted=deleted,
        checked=None if options.check is None else failure is None,
        settings_applied=applied,
        level=level,
        incomplete=tuple(incomplete),
        warnings=(*done.sent.warnings, *done.load.news, *warnings),
    )


def check(options: RestoreOptions) -> BackupError | None:
    """Run the user's check; a signal that ends it is its failure, for nobody knows then."""
    if options.check is None:
        return None
    try:
        with Interrupts():
            options.check.run()
    except InterruptedRunError as error:
        return InterruptedRunError(f"the check was not finished: {error.message}")
    except BackupError as error:
        return error
    return None


def _go_back(
    run: Runtime,
    target: Target,
    options: RestoreOptions,
    loaded: LoadResult,
    failure: BackupError,
) -> LoadResult | None:
    """Load the safety snapshot, or say how that is done."""
    if loaded.safety is None:
        failure.advise(f"{target} runs with the restored state; none was kept of before")
        return None
    safety = loaded.safety.snapshot_id
    if not options.rollback:
        command = run.command("snapshot load", target, safety)
        failure.advise(f"{target} runs with the restored state; `{command}` brings the former back")
        return None
    run.progress.step(f"{target}: the check failed, going back to {safety}")
    back = LoadOptions(snapshot=safety, skip_safety_snapshot=True)
    try:
        gone_back = load(run, target, back)
    except BackupError as error:
        error.advise(f"this was to undo a restore, because {failure.message}")
        raise
    failure.advise(f"{target} has its former state again, that of snapshot {safety}")
    return gone_back


def _clean_up(
    run: Runtime, target: Target, done: Loaded, options: RestoreOptions
) -> tuple[bool, list[str]]:
    """Delete the uploaded snapshot after a confirmed load; a failure is only told."""
    snapshot = done.sent.snapshot_id
    try:
        with canister_lock(run, target, purpose="restore"):
            delete_one(run, target, snapshot)
        remove(state_file(run, target, done.plan.backup, options))
    except BackupError as error:
        return False, [f"The uploaded snapshot {snapshot} could not be deleted: {error.message}."]
    return True, []


def _note_level(
    run: Runtime, repository: Repository, done: Loaded, options: RestoreOptions
) -> tuple[int | None, list[str]]:
    """Note that the backup was restored, when all of it was read back."""
    plan, report = done.plan, done.sent.report
    whole = report is None or report.checked_bytes >= report.total_bytes
    if options.read_back is not ReadBack.ALL or not whole:
        return None, []
    try:
        write_notes(
            repository,
            NoteKind.VERIFICATION,
            (plan.backup.backup_id,),
            progress=run.progress,
            tool=options.tool,
            level=LEVEL_RESTORED,
            told={"canister_id": plan.canister.canister_id, "network_id": plan.network_id},
        )
    except BackupError as error:
        return None, [f"That {plan.backup} was restored could not be noted: {error.message}."]
    return LEVEL_RESTORED, []


def _settle(target: Target, plan: RestorePlan) -> str | None:
    assert plan.settings is not None  # or nobody asks
    try:
        apply_settings(target, plan.settings)
    except BackupError as error:
        return failed(target, error)
    return None


def _through_driver(
    run: Runtime,
    repository: Repository,
    target: Target,
    plan: RestorePlan,
    options: RestoreOptions,
    progress: TransferProgress,
) -> Uploaded:
    """Write the backup into a scratch folder, and let the driver send that."""
    with _scratch(run.state / "scratch" / f"restore.{target.key}") as folder:
        export_backup(repository, plan.backup, folder, progress=run.progress)
        asked = UploadOptions(
            folder=folder, clone=options.clone, read_back=options.read_back, window=options.window
        )
        done = snapshot_upload.upload(run, target, asked, progress, purpose=PURPOSE)
    return Uploaded(snapshot_id=done.snapshot_id, report=None, warnings=done.warnings)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    def clear() -> None:
        for each in (folder, folder.with_name(f"{folder.name}.partial")):
            shutil.rmtree(each, ignore_errors=True)

    clear()
    private_folder(folder.parent)
    try:
        yield folder
    finally:
        clear()
