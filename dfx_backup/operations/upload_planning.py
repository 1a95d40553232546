"""What an upload would do, decided and checked before a slot is taken."""

from dataclasses import replace
from pathlib import Path

from dfx_backup.errors import DamageError, RefusedError, UsageError
from dfx_backup.ic.canister_settings import CanisterSettings
from dfx_backup.ic.snapshot_metadata import HookStatus, SnapshotMetadata, SnapshotSource
from dfx_backup.ic.snapshot_parts import Section
from dfx_backup.model import CanisterSnapshot, CanisterStatus, SnapshotId
from dfx_backup.operations import cycles, durations, folder_way, preflight, snapshot_ids
from dfx_backup.operations.plans import CyclesCheck
from dfx_backup.operations.preflight import Survey
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import (
    SendOptions,
    Sizes,
    SnapshotUploadPlan,
    UploadOptions,
    Way,
)
from dfx_backup.operations.wasm_module import HEARTBEAT, MAX_MODULE_BYTES, exports
from dfx_backup.transfer.terms import ReadBack
from dfx_backup.transfer.upload_plan import Origin, UploadPlan
from dfx_backup.transfer.upload_plan import plan_upload as plan_folder
from dfx_backup.transfer.upload_state import remembered

MAX_HEAP_32 = 4 * cycles.GIB
"""Most bytes of a wasm32 heap; an empty canister counts as wasm32."""

_GLOBAL_BYTES = 8


def charged_bytes(metadata: SnapshotMetadata) -> int:
    """Bytes that a snapshot is charged for, without its chunks, which are charged one by one."""
    sections = Sizes.of(metadata).sections
    return sum(sections) + _GLOBAL_BYTES * len(metadata.globals) + len(metadata.certified_data)


def plan(run: Runtime, target: Target, options: UploadOptions, state: Path) -> SnapshotUploadPlan:
    """See `snapshot_upload.plan_upload`; `state` is what is remembered of an earlier run."""
    run.progress.step(f"{target}: checking {options.folder}")
    what = plan_folder(options.folder)
    if what.origin.problems:
        raise DamageError(
            f"{options.folder} can't be uploaded: {' '.join(what.origin.problems)}",
            hint="nothing was sent; `snapshot verify` checks a folder",
        )
    planned = plan_sending(target, what, options, state, preflight.survey(target))
    if target.direct is None:
        folder_way.require_upload(target, planned, options)
    balance = require_balance(target, planned)
    return replace(planned, warnings=(*planned.warnings, *balance))


def plan_sending(
    target: Target, what: UploadPlan, options: SendOptions, state: Path, found: Survey
) -> SnapshotUploadPlan:
    """What making these bytes into a snapshot would do; nothing is sent, no balance is judged.

    Args:
        target: the canister.
        what: the bytes.
        options: how.
        state: what is remembered of an earlier run.
        found: what the canister looks like.

    Raises:
        UsageError, RefusedError, NetworkError, ToolError: as `snapshot_upload.plan_upload`.
    """
    settings = None
    if target.direct is not None:
        settings = target.direct.calls.full_status(target.canister_id).settings
    replaces = _replaced(target, options, found)
    resumes = _resumed(target, options, what, found, state)
    if resumes is None and replaces is None:
        _require_slot(target, found)
    stub = _needs_stub(target, found.status, what, resumed=resumes is not None)
    keeps_hook = _keeps_hook(what.metadata, settings)
    heartbeat = _has_heartbeat(what)
    check = _cycles(found.status, what, options, replaces, resumed=resumes is not None)
    planned = SnapshotUploadPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        what=what,
        sizes=Sizes.of(what.metadata),
        way=Way.DRIVER if target.direct is None else Way.DIRECT,
        resumes=resumes,
        replaces=replaces,
        snapshots=found.snapshots,
        installs_stub=stub,
        keep_timer=not options.clone,
        keep_hook_status=keeps_hook,
        heartbeat=heartbeat,
        read_back=options.read_back,
        window=options.window,
        seconds=durations.upload_time(what.send_bytes, what.envelopes, options.window),
        cycles=check,
        will_be_lost=_lost(target, replaces),
    )
    return replace(planned, warnings=_warnings(target, planned, options))


def _replaced(target: Target, options: SendOptions, found: Survey) -> CanisterSnapshot | None:
    if options.replace is None:
        return None
    old = snapshot_ids.find(options.replace, found.snapshots, target.canister_id)
    if len(found.snapshots) == 1:
        raise RefusedError(
            f"{old.snapshot_id} is the only snapshot of {target}, and it would be deleted before"
            " the data of the new one arrives",
            hint="leave --replace out: there are free slots; delete the old one afterwards",
        )
    return old


def _resumed(
    target: Target, options: SendOptions, what: UploadPlan, found: Survey, state: Path
) -> SnapshotId | None:
    """The snapshot that is gone on with; one that was named must be fit for that."""
    if options.resume is None:
        begun = remembered(state)
        return begun if begun in found.ids else None
    if options.replace is not None:
        raise UsageError("--resume goes on with a snapshot that is there: it replaces none")
    chosen = snapshot_ids.find(options.resume, found.snapshots, target.canister_id).snapshot_id
    if target.direct is None:
        return chosen  # refused with the right words later on
    there = target.direct.calls.read_snapshot_metadata(target.canister_id, chosen)
    if there.source is not SnapshotSource.METADATA_UPLOAD:
        raise RefusedError(
            f"snapshot {chosen} of {target} was taken, not uploaded: nothing can be put into it",
            hint="`snapshot list` tells which one is yours; without --resume a new one is made",
        )
    if Sizes.of(there).sections != Sizes.of(what.metadata).sections:
        raise RefusedError(
            f"snapshot {chosen} of {target} does not have the sizes of {what.origin}",
            hint="it was begun with another folder; without --resume a new one is made",
        )
    return chosen


def _require_slot(target: Target, found: Survey) -> None:
    preflight.require_slot(
        target,
        found.snapshots,
        "delete one with `snapshot delete`, or name one with --replace: it is deleted before the"
        " data arrives",
    )


def _needs_stub(target: Target, status: CanisterStatus, what: UploadPlan, *, resumed: bool) -> bool:
    """Whether a module with a 64-bit memory must be installed first, into an empty canister."""
    large = what.metadata.wasm_memory_size > MAX_HEAP_32
    if not large or resumed or status.module_hash is not None:
        return False
    if target.direct is None:
        raise RefusedError(
            f"{target} is empty, and a heap above 4 GiB needs a wasm64 module in it first",
            hint="install any wasm64 module, or use an identity whose key can be read",
        )
    return True


def _keeps_hook(metadata: SnapshotMetadata, settings: CanisterSettings | None) -> bool:
    """Whether the hook's status can be sent: a load refuses one that its settings contradict.

    Where there is no limit, what the replica expects is not certain: then it is left out.
    """
    status = metadata.hook_status
    if settings is None:
        return True  # the driver's own upload sends everything
    limit, threshold = settings.wasm_memory_limit, settings.wasm_memory_threshold
    if status is None or not limit or threshold is None:
        return False
    low = limit < metadata.wasm_memory_size + threshold
    return low == (status is not HookStatus.CONDITION_NOT_SATISFIED)


def _has_heartbeat(what: UploadPlan) -> bool | None:
    data = next((each for each in what.sections if each.part is Section.WASM_MODULE), None)
    if data is None or data.size > MAX_MODULE_BYTES:
        return None
    what.origin.open()
    try:
        names = exports(what.origin.read(data, 0, data.size))
    finally:
        what.origin.close()
    return None if names is None else HEARTBEAT in names


def _cycles(
    status: CanisterStatus,
    what: UploadPlan,
    options: SendOptions,
    replaces: CanisterSnapshot | None,
    *,
    resumed: bool,
) -> CyclesCheck:
    """The whole upload's cost, also when a part was sent before: at most that much is left."""
    size = charged_bytes(what.metadata)
    cost = cycles.upload_cost(size, sent=what.send_bytes, calls=what.envelopes, chunks=what.chunks)
    if options.read_back is ReadBack.ALL:
        cost += cycles.download_cost(what.total_bytes, Sizes.of(what.metadata).calls)
    freed = (replaces.size_bytes or 0) if replaces is not None else 0
    added = 0 if resumed else max(0, size + what.chunks * cycles.CHUNK_BYTES - freed)
    return cycles.check(status, added_bytes=added, cost=cost)


def require_balance(target: Target, planned: SnapshotUploadPlan) -> tuple[str, ...]:
    """Refuse an upload that the balance does not carry; warn when that can't be told.

    Raises:
        RefusedError: the balance does not carry it.
    """
    check = planned.cycles
    if check.unknown is not None:
        return (f"Whether the cycles of {target} suffice is not known: {check.unknown}.",)
    if not check.top_up:
        return ()
    told = (
        f"uploading to {target} costs about {check.cost:,} cycles, and"
        f" {check.required or 0:,} must stay so that it is not frozen; its balance is"
        f" {check.balance:,}"
    )
    if planned.resumes is not None:
        return (f"The rest may be too much: {told}.",)
    raise RefusedError(
        told,
        hint=f"top up at least {check.top_up:,} cycles: `dfx cycles top-up"
        f" {target.canister_id} {check.top_up} --network {target.network.name}`",
    )


def _lost(target: Target, replaces: CanisterSnapshot | None) -> tuple[str, ...]:
    if replaces is None:
        return ()
    told = (
        f"Snapshot {replaces.snapshot_id} of {target}: it is deleted before the data of the new"
        " one arrives."
    )
    return (told,)


def _warnings(target: Target, planned: SnapshotUploadPlan, options: SendOptions) -> tuple[str, ...]:
    told: list[str] = []
    metadata, origin = planned.what.metadata, planned.what.origin
    identity = origin.identity
    if planned.installs_stub:
        told.append(
            f"{target} is empty, which counts as wasm32: a wasm64 module that does nothing is"
            " installed first, so that a heap above 4 GiB is accepted."
        )
    elif metadata.wasm_memory_size > MAX_HEAP_32:
        told.append(
            f"A heap above 4 GiB is accepted only where the module that is now in {target} is a"
            " wasm64 one."
        )
    if metadata.hook_status is not None and not planned.keep_hook_status:
        told.append(
            "The low-memory hook's status is left out: it does not surely agree with the"
            f" settings of {target}, and a load would be refused."
        )
    elsewhere = identity is not None and (
        (identity.canister_id, identity.network_id) != (target.canister_id, target.network_id)
    )
    if elsewhere and identity is not None:
        told.append(
            f"{_capital(origin)} is a copy of {identity.canister_id}: keys that are bound to a"
            " canister's id do not move with it, and settings and controllers are not in a"
            " snapshot."
        )
    told += _acting(planned, clone=options.clone, elsewhere=elsewhere)
    if not origin.proven:
        told.append(
            f"{_capital(origin)} holds no hashes: that its files are what was once downloaded is"
            " not proven."
        )
    if planned.way is Way.DRIVER:
        told.append(folder_way.NOTICE.format(driver=planned.driver))
    return tuple(told)


def _capital(origin: Origin) -> str:
    told = str(origin)
    return told[0].upper() + told[1:]


def _acting(planned: SnapshotUploadPlan, *, clone: bool, elsewhere: bool) -> list[str]:
    """What makes the canister act by itself once the snapshot is loaded."""
    timer = planned.what.metadata.global_timer
    told = []
    if planned.heartbeat and (clone or elsewhere):
        told.append(
            "The module exports canister_heartbeat: once loaded and started, the copy acts by"
            " itself, whatever is left out."
        )
    if planned.heartbeat is None and clone:
        told.append("The module can't be read: whether it has a heartbeat is not known.")
    if not clone and elsewhere and timer is not None and timer.deadline_ns is not None:
        told.append(
            "The global timer is sent: once loaded, the copy starts acting; --clone leaves it out."
        )
    return told
