"""Make a canister's stable memory what a copy is, through a snapshot: any canister, no code in it.

What is loaded is made of the canister's present module and heap, out of a base snapshot, and of the
copy. The heap may disagree with the imported memory; an upgrade can rebuild it in the same outage.
"""

import hashlib
from contextlib import closing
from dataclasses import replace

from dfx_backup.errors import BackupError, DamageError, ProjectError
from dfx_backup.ic.code_install import needs_chunks
from dfx_backup.operations import (
    preflight,
    snapshot_upload,
    stable_base,
    stable_rebuild,
    transfers,
    upload_planning,
)
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.plans import LoadOptions, LoadResult
from dfx_backup.operations.snapshot_load import load
from dfx_backup.operations.snapshot_upload import Sending
from dfx_backup.operations.stable_base import Base
from dfx_backup.operations.stable_copies import StableCopy
from dfx_backup.operations.stable_held import IMPORTED, SnapshotRecord, require_direct
from dfx_backup.operations.stable_rebuild import Loading
from dfx_backup.operations.stable_snapshot_import_plan import plan_one, record_of
from dfx_backup.operations.stable_snapshot_plans import (
    SnapshotImportOptions,
    SnapshotImportPlan,
    SnapshotImportResult,
)
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.transfer.stable_check import chunks_problem, size_problem
from dfx_backup.transfer.stable_image import Scanned, plan_image, scan
from dfx_backup.transfer.terms import TransferProgress, UploadReport
from dfx_backup.transfer.upload_plan import SourceFile, UploadPlan, plan_upload


def plan_import(run: Runtime, target: Target, options: SnapshotImportOptions) -> SnapshotImportPlan:
    """Say what will be moved, what it costs, and what will be lost. Nothing is changed.

    Raises:
        UsageError: the options contradict each other, or the identity's key can't be read.
        RefusedError: the copy is another canister's or no stable memory, or it would not be safe.
        NetworkError, ToolError, ProjectError: as the network, the driver or the disk tell them.
    """
    return plan_one(run, target, options)


def import_(
    run: Runtime, target: Target, options: SnapshotImportOptions, progress: TransferProgress
) -> SnapshotImportResult:
    """Check the copy, take the base, upload, read back; then stop, safety snapshot, load, start.

    Interrupted before the load, the same command goes on with what was taken and sent.

    Raises:
        DamageError: the copy does not have its hashes, or other bytes were read back.
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        LockedError: another run holds the canister.
        UsageError, RefusedError, NetworkError, ToolError, ProjectError: as `plan_import`, or from
            a step.
    """
    plan = plan_one(run, target, options)
    record = record_of(run, target, options)
    with Interrupts() as interrupts:
        file, found = _require_whole(options, interrupts, progress)
        told: tuple[str, ...] = ()
        used = None if options.new else stable_base.usable(target, record, plan.load.module_hash)
        if used is None:
            told = stable_base.discard(run, target, record)
        with transfers.goes_on(_again(run, target, options)):
            base = stable_base.fetch(run, target, interrupts, record, used, options, progress)
            own = _own_module(record)
            module = _module(target, own, options)
            report, what = _send(run, target, interrupts, record, options, (file, found), progress)
    loading = Loading(
        run, target, record, base.used, module, base_hash=hashlib.sha256(own).hexdigest()
    )
    how = LoadOptions(
        snapshot=report.snapshot_id,
        skip_safety_snapshot=options.skip_safety_snapshot,
        replace=options.replace,
        allow_stopped=options.allow_stopped,
    )
    try:
        loaded = load(run, target, how, steps=loading)
    except BackupError as error:
        loading.settle()
        error.advise("what was uploaded is kept until the same command goes on, or --new is added")
        raise
    result = _result(plan, base, report, loaded, rebuilt=module is not None)
    result = replace(result, warnings=(*told, *result.warnings))
    if not loaded.confirmed:
        return result
    return _cleaned(run, target, record, result, what, module)


def _require_whole(
    options: SnapshotImportOptions, interrupts: Interrupts, progress: TransferProgress
) -> tuple[SourceFile | None, Scanned]:
    """Compare the copy with its hashes before anything is done.

    Raises:
        DamageError: it is not what it should be.
    """
    copy = options.copy
    hashes = copy.sidecar.hashes
    try:
        file = None if copy.file is None else SourceFile.of(copy.file)
    except OSError as error:
        raise DamageError(f"{copy} is missing", hint="export the stream again") from error
    with interrupts.deferred(), closing(copy.open()) as data:
        _refuse(copy, size_problem(data.size, hashes))
        found = scan(
            data,
            hashes,
            progress=progress,
            should_stop=lambda: interrupts.caught is not None,
        )
    _refuse(copy, chunks_problem(found.wrong))
    return file, found


def _refuse(copy: StableCopy, problem: str | None) -> None:
    if problem is not None:
        raise DamageError(f"{copy}{problem}; nothing was sent", hint="export the stream again")


def _own_module(record: SnapshotRecord) -> bytes:
    """The canister's module, out of the base.

    Raises:
        ProjectError: it can't be read.
    """
    try:
        return stable_base.module_of(record)
    except OSError as error:
        raise ProjectError(f"{record.folder} can't be read: {error.strerror or error}") from error


def _module(target: Target, own: bytes, options: SnapshotImportOptions) -> bytes | None:
    """What is installed after the load; None: the heap stays.

    Raises:
        RefusedError: the canister's module, `own`, is a Motoko one.
    """
    if options.module is None:
        return None
    stable_rebuild.require_rebuilding(str(target), own)
    return own if options.module.content is None else options.module.content


def _send(
    run: Runtime,
    target: Target,
    interrupts: Interrupts,
    record: SnapshotRecord,
    options: SnapshotImportOptions,
    looked: tuple[SourceFile | None, Scanned],
    progress: TransferProgress,
) -> tuple[UploadReport, UploadPlan]:
    """Make base and copy a snapshot of the canister, which goes on meanwhile."""
    progress.step("putting the new snapshot together")
    file, found = looked
    copy = options.copy
    what = plan_image(
        plan_upload(record.folder), str(copy), copy.open, copy.sidecar.hashes, found, file
    )
    survey = preflight.survey(target)
    planned = upload_planning.plan_sending(target, what, options.sending, record.upload, survey)
    upload_planning.require_balance(target, planned)
    how = Sending(state=record.upload, purpose=IMPORTED, options=options.sending, keep_state=True)
    with interrupts.deferred():
        report = snapshot_upload.send(run, target, planned, how, progress, interrupts)
    snapshot_upload.own(run, target, report.snapshot_id, IMPORTED)
    return report, what


def _result(
    plan: SnapshotImportPlan, base: Base, report: UploadReport, loaded: LoadResult, *, rebuilt: bool
) -> SnapshotImportResult:
    return SnapshotImportResult(
        plan=plan,
        base_outage_s=base.used.outage_s,
        fetched_bytes=base.fetched_bytes,
        report=report,
        load=loaded,
        rebuilt=rebuilt,
        incomplete=loaded.incomplete,
        warnings=(*base.warnings, *loaded.news),
    )


def _cleaned(
    run: Runtime,
    target: Target,
    record: SnapshotRecord,
    result: SnapshotImportResult,
    what: UploadPlan,
    module: bytes | None,
) -> SnapshotImportResult:
    """Delete what was uploaded and what is on the disk; what could not be done is told."""
    snapshot = result.report.snapshot_id
    told = stable_base.delete_uploaded(run, target, snapshot)
    deleted = () if told else (snapshot,)
    if module is not None and needs_chunks(module) and not what.metadata.wasm_chunk_store:
        told = (*told, *_clear_chunks(target))
    stable_base.forget(record)
    warnings = (*result.warnings, *told)
    return replace(result, deleted=(*result.load.deleted, *deleted), warnings=warnings)


def _clear_chunks(target: Target) -> tuple[str, ...]:
    """The module's chunks are not needed any more."""
    try:
        require_direct(target).calls.clear_chunk_store(target.canister_id)
    except BackupError as error:
        return (f"The module's chunks stay in {target}: {error.message}.",)
    return ()


def _again(run: Runtime, target: Target, options: SnapshotImportOptions) -> str:
    words = ["--via", "snapshot", *options.copy.words]
    words += ["--from-other-canister"] if options.other_canister else []
    if options.module is not None:
        words.append("--heap-from-stable")
        words += [] if options.module.path is None else ["--module", str(options.module.path)]
    command = run.command("stable import", target, *words)
    return f"go on, with what was taken and sent: `{command}`"
