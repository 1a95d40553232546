"""What restoring a backup would do, decided and checked before anything is sent."""

from dataclasses import replace
from pathlib import Path

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.model import CanisterSnapshot, Consistency, RunState, SnapshotId
from dfx_backup.operations import cycles, folder_way, load_planning, preflight, upload_planning
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.ledger import Ledger
from dfx_backup.operations.load_planning import Added, LoadSource
from dfx_backup.operations.plans import LoadOptions
from dfx_backup.operations.recover import refuse_pending
from dfx_backup.operations.restore_plans import RestoreOptions, RestorePlan
from dfx_backup.operations.setting_changes import plan_settings
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import SnapshotUploadPlan
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT
from dfx_backup.transfer.upload_plan import UploadPlan
from dfx_backup.transfer.upload_state import remembered

PURPOSE = "uploaded for a restore"
"""Of what is uploaded, in the list of our own snapshots."""

_NO_SLOT = (
    "delete one with `snapshot delete`: what is uploaded needs a slot, and the safety snapshot"
    " another"
)
_LABELS = {
    Consistency.NOT_CONSISTENT: "{backup} is not consistent: somebody had the canister running, or"
    " changed it, while it was taken.",
    Consistency.LIVE: "{backup} was taken live: calls that were outstanding then are not in it.",
}
_STAY = "Settings, controllers, cycles"
_TIMER = "global timer comes back"


def require_own(backup: Backup, target: Target) -> None:
    """Refuse a target that is not the backup's own canister on the backup's own network.

    Raises:
        RefusedError: it is another network of the same name.
    """
    if backup.network_id != target.network_id:
        raise RefusedError(
            f"network {target.network.name} is not the one that {backup} is of: its root key is"
            f" another ({target.network_id[:16]}, not {(backup.network_id or '')[:16]})",
            hint="a local network that was reset is another one; --network names the network to"
            " restore to nevertheless",
        )


def require_whole_canister(backup: Backup) -> None:
    """Refuse what a restore can't put back.

    Raises:
        UsageError: it is a backup of a stream.
    """
    if backup.kind != KIND_SNAPSHOT:
        raise UsageError(
            f"{backup} holds a stream of the canister's memory, not the whole canister",
            hint=f"`stable import {backup.canister_id} --backup {backup.backup_id[:8]}` puts it"
            " back",
        )


def state_file(run: Runtime, target: Target, backup: Backup, options: RestoreOptions) -> Path:
    """What is remembered of the upload of this backup to this canister."""
    clone = ".clone" if options.clone else ""
    return run.state / "uploads" / f"{target.key}.{backup.backup_id}{clone}.json"


def load_options(options: RestoreOptions, snapshot: SnapshotId, *, starts: bool) -> LoadOptions:
    """How the uploaded snapshot is loaded."""
    return LoadOptions(
        snapshot=snapshot,
        skip_safety_snapshot=options.skip_safety_snapshot,
        replace=options.replace,
        allow_stopped=options.allow_stopped,
        leave_stopped=not starts,
    )


def plan_one(
    run: Runtime, target: Target, backup: Backup, what: UploadPlan, options: RestoreOptions
) -> RestorePlan:
    """Plan to restore a backup whose content was read.

    Args:
        run: the surroundings.
        target: the canister that is overwritten.
        backup: what is restored.
        what: its content, of `backup_source.plan_backup`.
        options: how.

    Raises:
        UsageError: the options contradict each other.
        RefusedError: it would not be safe; nothing was touched.
        NetworkError, ToolError, ProjectError: as the network, the driver or the disk tell them.
    """
    _require_sense(options)
    refuse_pending(run, target)
    found = preflight.survey(target)
    state = state_file(run, target, backup, options)
    if remembered(state) not in found.ids:
        preflight.require_slot(target, found.snapshots, _NO_SLOT)
    upload = upload_planning.plan_sending(target, what, options.sending, state, found)
    balance = _require_way(target, upload)
    elsewhere = (backup.canister_id, backup.network_id) != (target.canister_id, target.network_id)
    source = _source(upload, backup, elsewhere=elsewhere)
    starts = _starts(upload, options) and found.status.state is RunState.RUNNING
    load = load_planning.plan(
        run, target, load_options(options, SnapshotId(""), starts=starts), found, source
    )
    settings = plan_settings(target, backup) if options.settings else None
    planned = RestorePlan(
        backup=backup,
        upload=upload,
        load=load,
        starts=starts,
        elsewhere=elsewhere,
        settings=settings,
        check=None if options.check is None else options.check.text,
        rollback=options.rollback,
        will_be_lost=load.will_be_lost,
    )
    _require_check(planned)
    warnings = (*upload.warnings, *balance, *_warnings(planned, target, options))
    return _completed(run, target, planned, found, warnings)


def _completed(
    run: Runtime,
    target: Target,
    plan: RestorePlan,
    found: preflight.Survey,
    warnings: tuple[str, ...],
) -> RestorePlan:
    """The plan with all that is to be told."""
    quicker = _quicker(run, target, plan, found)
    told = (*quicker, *warnings, *_left_over(run, target, plan, found))
    return replace(
        plan,
        warnings=tuple(dict.fromkeys(told)),
        quicker=quicker,
        will_be_lost=_lost(plan, target),
    )


def _quicker(
    run: Runtime, target: Target, plan: RestorePlan, found: preflight.Survey
) -> tuple[str, ...]:
    """Say so when the snapshot that the backup was made of still exists."""
    record = plan.backup.record
    snapshot = None if record is None else record.identity.snapshot_id
    if plan.elsewhere or snapshot not in found.ids:
        return ()
    command = run.command("snapshot load", target, snapshot)
    there = f"The snapshot that {plan.backup} was made of is still on the subnet"
    why = (
        "brings the same state back at once, without an upload; only the global timer stays behind"
    )
    return (f"{there}: `{command}` {why}.",)


def _left_over(
    run: Runtime, target: Target, plan: RestorePlan, found: preflight.Survey
) -> tuple[str, ...]:
    """Snapshots that other restores uploaded and did not delete again."""
    return tuple(
        f"Snapshot {own.snapshot_id} was uploaded by a restore that was not finished; when nobody"
        f" goes on with it: `{run.command('snapshot delete', target, own.snapshot_id)}`."
        for own in Ledger(run.state, target.key).read()
        if own.purpose == PURPOSE
        and own.snapshot_id in found.ids
        and own.snapshot_id != plan.upload.resumes
    )


def _require_sense(options: RestoreOptions) -> None:
    if options.start and not options.clone:
        raise UsageError("--start is for --clone: everything else is started anyway")
    if options.rollback and options.check is None:
        raise UsageError("--rollback needs --check: it decides whether to go back")


def _require_check(plan: RestorePlan) -> None:
    if plan.check is not None and not plan.starts:
        raise UsageError("--check needs a canister that runs", hint="--start starts a clone")
    if plan.rollback and not plan.load.safety_snapshot:
        raise UsageError("--rollback needs a safety snapshot to go back to")


def _require_way(target: Target, upload: SnapshotUploadPlan) -> tuple[str, ...]:
    """Refuse what can't be uploaded; what is not known is told."""
    if target.direct is None:
        folder_way.require(target)
    return upload_planning.require_balance(target, upload)


def _starts(upload: SnapshotUploadPlan, options: RestoreOptions) -> bool:
    """Whether it is started; a clone that would act by itself is not, unless that is wanted."""
    return options.start or not options.clone or upload.heartbeat is False


def _source(upload: SnapshotUploadPlan, backup: Backup, *, elsewhere: bool) -> LoadSource:
    metadata, begun = upload.what.metadata, upload.resumes is not None
    size = upload_planning.charged_bytes(metadata) + upload.what.chunks * cycles.CHUNK_BYTES
    cost = 0 if begun else upload.cycles.cost or 0
    return LoadSource(
        snapshot=CanisterSnapshot(
            snapshot_id=SnapshotId(upload.resumes or ""),
            taken_at_ns=metadata.taken_at_ns,
            size_bytes=size,
        ),
        foreign=elsewhere,
        version=metadata.canister_version,
        uploaded=True,
        about=str(backup),
        added=Added(slots=0 if begun else 1, size=0 if begun else size, cost=cost),
    )


def _lost(plan: RestorePlan, target: Target) -> tuple[str, ...]:
    lost = [*plan.will_be_lost]
    if plan.settings is not None:
        lost += [
            f"Setting {each.name} of {target}: {each.old or 'nothing'}; it becomes"
            f" {each.new or 'nothing'}."
            for each in plan.settings.changes
        ]
        if plan.settings.loses_control:
            who = target.principal or "who calls"
            lost.append(f"Our own control of {target}: {who} is no controller afterwards.")
    return tuple(lost)


def _warnings(plan: RestorePlan, target: Target, options: RestoreOptions) -> list[str]:
    told = [each for each in plan.load.warnings if _holds(each, plan, options)]
    label = plan.backup.details.consistency if plan.backup.details else None
    if label in _LABELS:
        told.append(_LABELS[label].format(backup=plan.backup))
    if plan.settings is not None:
        told.append("Cycles, logs and history stay as they are now.")
    if plan.elsewhere and plan.backup.network_id != target.network_id:
        told.append(
            f"{target} lives on another network than the backup's own ({plan.backup.network_name})."
        )
    if options.clone and plan.upload.keep_timer is False:
        told.append("The global timer is left out.")
    if not plan.starts and plan.load.stops:
        told.append(f"{target} stays stopped afterwards: start it when it may act.")
    return told


def _holds(warning: str, plan: RestorePlan, options: RestoreOptions) -> bool:
    """Whether what is true of every load is true of this one."""
    if plan.settings is not None and warning.startswith(_STAY):
        return False
    return not (options.clone and _TIMER in warning)
