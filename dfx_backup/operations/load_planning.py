"""What a load would do, decided and checked while the canister runs."""

from dataclasses import dataclass

from dfx_backup.errors import RefusedError, UsageError
from dfx_backup.model import MAX_SNAPSHOTS, CanisterSnapshot, RunState, SnapshotId
from dfx_backup.operations import cycles, preflight, snapshot_ids
from dfx_backup.operations.ledger import SAFETY, Ledger
from dfx_backup.operations.patience import CANNOT_ASK
from dfx_backup.operations.plans import CyclesCheck, LoadOptions, LoadPlan
from dfx_backup.operations.target import Runtime, Target

_NO_SLOT = (
    "delete a snapshot with `snapshot delete`, name one that the safety snapshot may replace with"
    " --replace, or go without one with --skip-safety-snapshot"
)
FIRST_KEPT_S = 24 * 3600.0
"""So long the first of several safety snapshots stays: what was tried since may all be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSource:
    """What is loaded.

    Attributes:
        snapshot: the snapshot; one that is still to be uploaded has an empty id.
        foreign: it is of another canister.
        version: `canister_version` inside it, or None.
        uploaded: whether it was uploaded; None: not known.
        about: how it is called in what will be lost; None: by its id.
        added: what its upload brings on top, while that is still to come.
    """

    snapshot: CanisterSnapshot
    foreign: bool
    version: int | None = None
    uploaded: bool | None = None
    about: str | None = None
    added: "Added | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What an upload that comes before the load brings on top.

    Attributes:
        slots: of snapshots.
        size: bytes of memory.
        cost: cycles.
    """

    slots: int
    size: int
    cost: int


def plan(
    run: Runtime,
    target: Target,
    options: LoadOptions,
    found: preflight.Survey,
    source: LoadSource | None = None,
) -> LoadPlan:
    """Check everything that can be checked while the canister runs, and say what will be lost.

    Args:
        run: the surroundings.
        target: the canister.
        options: what was asked for.
        found: what the canister looks like.
        source: what will be loaded; None: the snapshot of `options`, which is looked for.

    Raises:
        UsageError: the canister has no such snapshot, or the options contradict each other.
        RefusedError: it would not be safe; nothing was touched.
        NetworkError, ToolError: as the driver tells them.
    """
    status = found.status
    preflight.require_state(run, target, status, allow_stopped=options.allow_stopped)
    source = source or _source(target, options, found)
    replaces = _replaced(target, options, found, source)
    deletes = _old_safety_snapshots(run, target, options, found, source)
    safety = not options.skip_safety_snapshot and status.module_hash is not None
    check = _cycles(found, source, safety=safety)
    warnings = [*preflight.require_cycles(target, check), *_warnings(target, source)]
    if not safety:
        warnings.append(f"The present state of {target} is not kept: no safety snapshot.")
    return LoadPlan(
        canister=target.ref,
        network=target.network,
        network_id=target.network_id,
        driver=target.driver.describe(),
        state=status.state,
        stops=status.state is RunState.RUNNING,
        snapshot=source.snapshot,
        snapshot_version=source.version,
        canister_version=status.version,
        module_hash=status.module_hash,
        uploaded=source.uploaded,
        safety_snapshot=safety,
        replaces=replaces,
        deletes=deletes,
        cycles=check,
        will_be_lost=_lost(target, source, replaces, deletes),
        warnings=tuple(warnings),
    )


def _source(target: Target, options: LoadOptions, found: preflight.Survey) -> LoadSource:
    wanted = snapshot_ids.canonical(options.snapshot)
    foreign = wanted not in found.ids
    if foreign and options.other_canister:
        snapshot = CanisterSnapshot(snapshot_id=wanted)
        if snapshot_ids.owner(wanted) == target.canister_id:
            snapshot_ids.find(wanted, found.snapshots, target.canister_id)
    else:
        try:
            snapshot = snapshot_ids.find(wanted, found.snapshots, target.canister_id)
        except RefusedError as error:
            error.hint = "--from-other-canister loads it nevertheless, when that is what you want"
            raise
    owner = snapshot_ids.owner(wanted) if foreign else target.canister_id
    if target.reader is None or owner is None:
        return LoadSource(snapshot=snapshot, foreign=foreign)
    try:
        metadata = target.reader.read_snapshot_metadata(owner, wanted)
    except CANNOT_ASK:
        return LoadSource(snapshot=snapshot, foreign=foreign)
    return LoadSource(
        snapshot=snapshot,
        foreign=foreign,
        version=metadata.canister_version,
        uploaded=None if metadata.source is None else metadata.source == "metadata_upload",
    )


def _replaced(
    target: Target, options: LoadOptions, found: preflight.Survey, source: LoadSource
) -> CanisterSnapshot | None:
    if options.skip_safety_snapshot:
        if options.replace is not None:
            raise UsageError(
                "--replace names what the safety snapshot replaces, and none is taken",
                hint="leave out --replace or --skip-safety-snapshot",
            )
        return None
    if options.replace is None:
        _require_slots(target, found, source)
        return None
    replaces = snapshot_ids.find(options.replace, found.snapshots, target.canister_id)
    if replaces.snapshot_id == source.snapshot.snapshot_id:
        raise RefusedError(
            f"snapshot {replaces.snapshot_id} is the one to load; the safety snapshot can't"
            " replace it",
            hint="name another snapshot with --replace",
        )
    return replaces


def _require_slots(target: Target, found: preflight.Survey, source: LoadSource) -> None:
    """Refuse when there is no room for the safety snapshot, after what comes before it."""
    coming = 0 if source.added is None else source.added.slots
    if coming and len(found.snapshots) + coming == MAX_SNAPSHOTS:
        raise RefusedError(
            f"canister {target} has {len(found.snapshots)} snapshots, {MAX_SNAPSHOTS} is the limit,"
            " and two are needed: one to be loaded and one of the present state",
            hint=_NO_SLOT,
        )
    preflight.require_slot(target, found.snapshots, _NO_SLOT)


def _old_safety_snapshots(
    run: Runtime, target: Target, options: LoadOptions, found: preflight.Survey, source: LoadSource
) -> tuple[SnapshotId, ...]:
    """Safety snapshots of ours that are not needed any more, as things will be after the load.

    Beside the newest one the first of the last day stays: who tries one backup after the other,
    or the same again, has the state from before all of that in no other place.
    """
    keep = {source.snapshot.snapshot_id}
    if options.replace is not None:
        keep.add(snapshot_ids.canonical(options.replace))
    ours = [
        own
        for own in Ledger(run.state, target.key).read()
        if own.purpose == SAFETY and own.snapshot_id in found.ids
    ]
    recent = [own for own in ours if run.clock.now() - own.taken_at < FIRST_KEPT_S]
    keep |= {own.snapshot_id for own in recent[:1]}
    if options.skip_safety_snapshot:
        keep |= {own.snapshot_id for own in ours[-1:]}
    return tuple(own.snapshot_id for own in ours if own.snapshot_id not in keep)


def _cycles(found: preflight.Survey, source: LoadSource, *, safety: bool) -> CyclesCheck:
    present = cycles.snapshot_bytes(found.status)
    coming = source.snapshot.size_bytes
    if present is None:
        return cycles.check(found.status, added_bytes=None, cost=None)
    grows = 0 if coming is None else max(0, coming - present)
    added = grows + (present if safety else 0)
    cost = cycles.load_cost(present if coming is None else coming)
    if safety:
        cost += cycles.take_cost(present)
    if source.added is not None:
        added += source.added.size
        cost += source.added.cost
    return cycles.check(found.status, added_bytes=added, cost=cost)


def _lost(
    target: Target,
    source: LoadSource,
    replaces: CanisterSnapshot | None,
    deletes: tuple[SnapshotId, ...],
) -> tuple[str, ...]:
    if source.foreign:
        what = "another canister's" if source.about is None else f"that of {source.about}"
        lost = [f"The whole present state of {target}: {what} takes its place."]
    else:
        about = source.about or f"snapshot {source.snapshot.snapshot_id}"
        since = f"What {target} did since {about} was taken"
        lost = [f"{since}: code, heap, stable memory and certified data go back to that moment."]
    if replaces is not None:
        lost.append(
            f"Snapshot {replaces.snapshot_id} of {target}: the safety snapshot takes its place."
        )
    lost.extend(
        f"Snapshot {old} of {target}: an older safety snapshot of ours, deleted afterwards."
        for old in deletes
    )
    return tuple(lost)


def _warnings(target: Target, source: LoadSource) -> list[str]:
    timer = {
        True: "The snapshot was uploaded: its global timer comes back with it.",
        False: "The snapshot is a native one: the global timer is not brought back by it.",
        None: "Whether the global timer comes back is not known: only uploaded snapshots do that.",
    }[source.uploaded]
    warnings = [
        "Settings, controllers, cycles, logs and history stay as they are now.",
        timer,
        "Effects outside the canister, such as transfers and calls to others, are not undone.",
    ]
    if source.foreign and source.added is None:  # or the upload's own plan says so
        warnings.append(
            "Keys bound to a canister id (threshold signatures, vetKeys, Internet Identity"
            f" principals) differ: what the snapshot holds was not made for {target}."
        )
    return warnings
