"""Options, plans and results of `create`: frozen values, ready to be printed."""

from dataclasses import dataclass
from pathlib import Path

from dfx_backup.model import (
    CanisterRef,
    CanisterSnapshot,
    Consistency,
    Network,
    NetworkId,
    SnapshotId,
)
from dfx_backup.operations.plans import CreatePlan, Versions
from dfx_backup.operations.target import Target
from dfx_backup.operations.transfer_plans import Way
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.parts import PartsReport
from dfx_backup.transfer.terms import DEFAULT_WINDOW

KEEP_ON_CHAIN = 1
"""Snapshots of ours that stay on the subnet when nobody says otherwise: for a fast way back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    """Where backups go.

    Attributes:
        repository: open.
        text: where it lies, as it is told.
        folder: its folder, or None when it lies elsewhere.
    """

    repository: Repository
    text: str
    folder: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A canister that is backed up, and what was settled for it.

    Attributes:
        target: the canister.
        tags: on every backup of it.
        keep_on_chain: how many of our snapshots stay on the subnet.
    """

    target: Target
    tags: tuple[str, ...] = ()
    keep_on_chain: int = KEEP_ON_CHAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """What `create` was asked for.

    Attributes:
        snapshot: back up this snapshot, which exists, and take none.
        live: do not stop the canisters.
        allow_stopped: go on when a canister is found stopped, and leave it stopped.
        leave_stopped: do not start the canisters when all went well.
        new: take new snapshots, whatever an earlier run left.
        stop_s: seconds for which each canister may take to stop, or None for the usual.
        window: most slices in flight.
        tool: name and version of this program.
        again: options that name the repository, for the commands in hints.
    """

    snapshot: SnapshotId | None = None
    live: bool = False
    allow_stopped: bool = False
    leave_stopped: bool = False
    new: bool = False
    stop_s: float | None = None
    window: int = DEFAULT_WINDOW
    tool: str = "dfx-backup"
    again: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlan:
    """What `create` will do with one canister.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        take: how a snapshot is taken, or None when one exists.
        snapshot: the one that exists and is backed up, or None.
        goes_on: an earlier run took it.
        way: how the bytes travel.
        size_bytes: at most what is downloaded, or None.
        cycles: what it all costs the canister (estimate), or None.
        keep_on_chain: how many of our snapshots stay on the subnet.
        deletes: those of ours that are deleted after the commit.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    take: CreatePlan | None
    snapshot: CanisterSnapshot | None
    goes_on: bool
    way: Way
    size_bytes: int | None
    cycles: int | None
    keep_on_chain: int
    deletes: tuple[SnapshotId, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPlan:
    """What `create` will do.

    Attributes:
        repository: where the backups go.
        members: the canisters in the order in which they are stopped.
        leaves_stopped: they are not started again when all goes well.
        warnings: one sentence for each thing to know, the members' left out.
    """

    repository: str
    members: tuple[MemberPlan, ...]
    leaves_stopped: bool
    warnings: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether any canister is stopped."""
        return any(each.take is not None and each.take.stops for each in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberResult:
    """What `create` did with one canister.

    Attributes:
        plan: what was planned.
        snapshot_id: what was backed up.
        record: the manifest.
        details: its section on the backup; the outage is that of the run that took the snapshot.
        restic_id: id of the snapshot object.
        versions: the canister's versions that say how consistent it is.
        running: whether the canister was seen running; None when it was not looked at.
        recovery_pending: a lost stop may still execute; `recover` closes the journal entry.
        report: what the transfer did in this run; None when the driver did it.
        kept: snapshots of ours that are on the subnet.
        deleted: snapshots of ours that were deleted.
    """

    plan: MemberPlan
    snapshot_id: SnapshotId
    record: BackupRecord
    details: BackupDetails
    restic_id: str
    versions: Versions
    running: bool | None
    recovery_pending: bool
    report: PartsReport | None
    kept: tuple[SnapshotId, ...]
    deleted: tuple[SnapshotId, ...]

    @property
    def consistency(self) -> Consistency:
        """What the backup promises."""
        return self.details.consistency


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """What `create` did.

    Attributes:
        plan: what was planned.
        set_id: what the backups share; None for a single one.
        members: one for each canister.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: BackupPlan
    set_id: str | None
    members: tuple[MemberResult, ...]
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
