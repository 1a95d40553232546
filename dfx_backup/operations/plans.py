"""Options, plans and results of the snapshot operations: frozen values, ready to be printed.

`--dry-run` shows a plan; the operation builds the same plan again under the canister's lock, does
it, and hands it back inside the result.
"""

from dataclasses import dataclass

from dfx_backup.model import (
    CanisterRef,
    CanisterSnapshot,
    Consistency,
    Network,
    NetworkId,
    RunState,
    SnapshotId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclesCheck:
    """Whether the balance carries one more snapshot; all amounts are cycles.

    Attributes:
        balance: the balance now, or None when the tool does not tell.
        cost: estimate of what the operation itself spends (13-node subnet, higher rate).
        required: what must be left so that the canister is not frozen at its new memory usage.
        top_up: what is missing; 0 when the balance is enough or nothing could be computed.
        storage_per_day: what the new snapshot costs a day at the higher published rate, or None.
        unknown: why nothing could be computed, or None.
    """

    balance: int | None
    cost: int | None
    required: int | None
    top_up: int = 0
    storage_per_day: int | None = None
    unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """`canister_version` at the three moments that must agree; None when it could not be read."""

    after_stop: int | None = None
    in_snapshot: int | None = None
    before_start: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What `snapshot create` was asked for.

    Attributes:
        live: do not stop the canister.
        replace: snapshot that the new one replaces, or None.
        allow_stopped: go on when the canister is found stopped, and leave it stopped.
    """

    live: bool = False
    replace: SnapshotId | None = None
    allow_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePlan:
    """What `snapshot create` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        state: the canister's status now.
        stops: whether it is stopped and started again.
        replaces: the snapshot that will be gone afterwards, or None.
        snapshots: those that exist now, oldest first.
        cycles: whether the balance carries it.
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    state: RunState
    stops: bool
    replaces: CanisterSnapshot | None
    snapshots: tuple[CanisterSnapshot, ...]
    cycles: CyclesCheck
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResult:
    """What `snapshot create` did.

    Attributes:
        plan: what was planned.
        snapshot: the new snapshot.
        outage_s: seconds from sending stop to receiving start's answer; 0.0 when nothing was
            stopped.
        consistency: what the snapshot can promise.
        versions: the canister's versions that say so.
        running: whether the canister was seen running at the end.
        recovery_pending: a lost stop may still execute; `recover` closes the journal entry.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: CreatePlan
    snapshot: CanisterSnapshot
    outage_s: float
    consistency: Consistency
    versions: Versions
    running: bool
    recovery_pending: bool = False
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What `snapshot load` was asked for.

    Attributes:
        snapshot: the snapshot to load.
        skip_safety_snapshot: take none of the present state.
        replace: snapshot that the safety snapshot replaces, or None.
        other_canister: the snapshot may belong to another canister of the same subnet.
        allow_stopped: go on when the canister is found stopped, and leave it stopped.
        leave_stopped: do not start the canister after the load.
    """

    snapshot: SnapshotId
    skip_safety_snapshot: bool = False
    replace: SnapshotId | None = None
    other_canister: bool = False
    allow_stopped: bool = False
    leave_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What `snapshot load` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        state: the canister's status now.
        stops: whether it is stopped and started again.
        snapshot: the snapshot to load; only its id is known when it is another canister's.
        snapshot_version: `canister_version` inside the snapshot, or None.
        canister_version: the canister's version now, or None.
        module_hash: hash of the module that runs now; the snapshot's own is not told by the
            network.
        uploaded: True: it was uploaded and brings its global timer back; False: taken natively and
            does not; None: not known.
        safety_snapshot: whether the present state is kept in a snapshot first.
        replaces: the snapshot that the safety snapshot replaces, or None.
        deletes: safety snapshots of ours that go after a confirmed load.
        cycles: whether the balance carries it.
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    state: RunState
    stops: bool
    snapshot: CanisterSnapshot
    snapshot_version: int | None
    canister_version: int | None
    module_hash: str | None
    uploaded: bool | None
    safety_snapshot: bool
    replaces: CanisterSnapshot | None
    deletes: tuple[SnapshotId, ...]
    cycles: CyclesCheck
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What `snapshot load` did.

    Attributes:
        plan: what was planned.
        safety: the snapshot of the state before the load, or None when it was skipped.
        outage_s: seconds from sending stop to receiving start's answer; 0.0 when nothing was
            stopped.
        running: whether the canister was seen running at the end.
        deleted: older safety snapshots of ours that were deleted.
        recovery_pending: a lost stop may still execute; `recover` closes the journal entry.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: LoadPlan
    safety: CanisterSnapshot | None
    outage_s: float
    running: bool
    deleted: tuple[SnapshotId, ...] = ()
    recovery_pending: bool = False
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Nobody interfered, and nothing can happen late any more."""
        return not self.incomplete and not self.recovery_pending

    @property
    def news(self) -> tuple[str, ...]:
        """The warnings that the plan did not have."""
        return tuple(each for each in self.warnings if each not in self.plan.warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """A snapshot, and why we took it: None for one that is not recorded as ours."""

    snapshot: CanisterSnapshot
    purpose: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResult:
    """A canister's snapshots, oldest first, and the slots that are left."""

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    snapshots: tuple[ListedSnapshot, ...]
    free_slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePlan:
    """What `snapshot delete` will do; `will_be_lost` has one sentence for each thing."""

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    snapshot: CanisterSnapshot
    will_be_lost: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResult:
    """What `snapshot delete` did; `left` are the snapshots that remain."""

    plan: DeletePlan
    left: tuple[CanisterSnapshot, ...]
    warnings: tuple[str, ...] = ()
