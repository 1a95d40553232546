"""Look at every canister before anything is done, and say what `create` will do."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfx_backup.errors import RefusedError
from dfx_backup.model import CanisterSnapshot, SnapshotId
from dfx_backup.operations import cycles, folder_way, on_chain, preflight
from dfx_backup.operations.backup_create_plan import BackupOptions, Depot, Member, MemberPlan
from dfx_backup.operations.backup_memory import ID_BYTES, existing
from dfx_backup.operations.durations import slices
from dfx_backup.operations.going_on import Left
from dfx_backup.operations.plans import CreateOptions, CreatePlan
from dfx_backup.operations.preflight import Survey
from dfx_backup.operations.snapshot_create import plan_found
from dfx_backup.operations.snapshot_download import find_snapshot
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.transfer_plans import Way
from dfx_backup.operations.unfinished import Unfinished, UnfinishedBackups

LEAST_ROOM_BYTES = 64 << 20
"""Less room than this on the repository's disk, and nothing is begun: packs are 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A canister, and what will be done with it.

    Attributes:
        target: the canister.
        plan: what will be done.
        found: what it looks like; None when no snapshot is taken.
        left: the snapshot that exists and is backed up; None when one is taken.
        is_stored: its backup is in the repository already.
    """

    target: Target
    plan: MemberPlan
    found: Survey | None = None
    left: Unfinished | None = None
    is_stored: bool = False


def plan_members(
    run: Runtime, depot: Depot, members: Sequence[Member], options: BackupOptions, left: Left
) -> tuple[Planned, ...]:
    """Look at every canister.

    Raises:
        UsageError: the driver can't do what was asked, or `snapshot` names none.
        RefusedError: it would not be safe, or the disk is full.
        DamageError, ProjectError, StoreError: the repository, or a file of ours, can't be read.
        NetworkError, ToolError: as the network or a driver tells them.
    """
    found = []
    records = {each.canister.canister_id: each for each in left.records}
    for member in members:
        if member.target.direct is None:
            folder_way.require(member.target)
        record = records.get(member.target.canister_id)
        if options.snapshot is not None:
            found.append(_of_existing(run, depot, member, options.snapshot))
        elif record is not None:
            stored = member.target.canister_id in left.stored
            found.append(_of_left(run, member, record, is_stored=stored))
        else:
            found.append(_of_new(run, depot, member, options))
    _require_room(depot)
    return tuple(found)


def _of_new(run: Runtime, depot: Depot, member: Member, options: BackupOptions) -> Planned:
    target = member.target
    found = preflight.survey(target)
    replaces = on_chain.make_room(run, target, found.snapshots, depot.repository)
    choices = CreateOptions(
        live=options.live, replace=replaces, allow_stopped=options.allow_stopped
    )
    take = plan_found(run, target, choices, found)
    ours = on_chain.ours(run, target, found.snapshots)
    after = [each for each in ours if each != replaces]
    # The new one counts, and its id is not known yet.
    deletes = after[: max(0, len(after) + 1 - member.keep_on_chain)]
    size = cycles.snapshot_bytes(found.status)
    plan = _plan(member, take=take, snapshot=None, size=size, deletes=tuple(deletes))
    return Planned(target=target, plan=plan, found=found)


def _of_left(run: Runtime, member: Member, record: Unfinished, *, is_stored: bool) -> Planned:
    target = member.target
    listed = target.driver.list_snapshots(target.canister_id)
    snapshot = next(
        (each for each in listed if each.snapshot_id == record.snapshot_id),
        CanisterSnapshot(snapshot_id=record.snapshot_id),
    )
    deletes = on_chain.surplus(on_chain.ours(run, target, listed), member.keep_on_chain)
    plan = _plan(member, take=None, snapshot=snapshot, size=snapshot.size_bytes, deletes=deletes)
    told = f"Snapshot {record.snapshot_id} of {target} was taken by an earlier run"
    remark = f"{told} and is gone on with: no new outage. --new takes another one."
    plan = replace(plan, goes_on=True, warnings=(*plan.warnings, remark))
    return Planned(target=target, plan=plan, left=record, is_stored=is_stored)


def _of_existing(run: Runtime, depot: Depot, member: Member, wanted: SnapshotId) -> Planned:
    target = member.target
    snapshot = find_snapshot(target, wanted)
    random = depot.repository.machine.random
    left = existing(run, target, snapshot, random)
    record = UnfinishedBackups(run.state).read(target.key)
    told = f"Whether {target} was stopped when snapshot {snapshot.snapshot_id} was taken"
    warnings = [f"{told} is not known; settings and cycles are those of now."]
    if record is not None and record.snapshot_id == snapshot.snapshot_id:
        left, warnings = record, []
        if record.details.set_id is not None:
            alone = replace(
                record.details, backup_id=random(ID_BYTES).hex(), set_id=None, set_canisters=()
            )
            left = replace(record, details=alone)
    plan = _plan(member, take=None, snapshot=snapshot, size=snapshot.size_bytes, deletes=())
    plan = replace(plan, warnings=(*plan.warnings, *warnings))
    return Planned(target=target, plan=plan, left=left)


def _plan(
    member: Member,
    *,
    take: CreatePlan | None,
    snapshot: CanisterSnapshot | None,
    size: int | None,
    deletes: tuple[SnapshotId, ...],
) -> MemberPlan:
    target, spent = member.target, 0 if take is None else take.cycles.cost
    if size is None or spent is None or target.direct is None:
        cost = None
    else:
        cost = spent + cycles.download_cost(size, slices(size))
    warnings = () if take is None else take.warnings
    if target.direct is None:
        notice = folder_way.NOTICE.format(driver=target.driver.describe())
        warnings = (*warnings, notice)
    return MemberPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        take=take,
        snapshot=snapshot,
        goes_on=False,
        way=Way.DRIVER if target.direct is None else Way.DIRECT,
        size_bytes=size,
        cycles=cost,
        keep_on_chain=member.keep_on_chain,
        deletes=deletes,
        warnings=warnings,
    )


def _require_room(depot: Depot) -> None:
    """Refuse when the repository's disk is full.

    How much room is needed can't be told before: what is there already and what is zero needs
    none.

    Raises:
        RefusedError: next to nothing is left.
    """
    if depot.folder is None:
        return
    try:
        free = shutil.disk_usage(depot.folder).free
    except OSError:
        return  # writing will tell
    if free < LEAST_ROOM_BYTES:
        raise RefusedError(
            f"the disk of repository {depot.text} has {free:,} bytes left, and"
            f" {LEAST_ROOM_BYTES:,} are the least that is needed",
            hint="make room, or let `forget --prune` do it",
        )
