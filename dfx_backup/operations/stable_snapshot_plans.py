"""Options, plans and results of `stable` through a snapshot: frozen values, ready to be printed."""

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
from dfx_backup.operations.durations import Span
from dfx_backup.operations.plans import CreatePlan, LoadPlan, LoadResult
from dfx_backup.operations.stable_copies import StableCopy
from dfx_backup.operations.transfer_plans import SendOptions
from dfx_backup.transfer.stable_sidecar import StablePaths
from dfx_backup.transfer.stable_snapshot import SnapshotExport
from dfx_backup.transfer.terms import DEFAULT_WINDOW, ReadBack, UploadReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotExportOptions:
    """What `stable export --via snapshot` was asked for.

    Attributes:
        file: NAME of the files.
        snapshot: read this one, which exists; None takes one.
        allow_stopped: go on when the canister is found stopped, and leave it stopped.
        window: most slices in flight.
        tool: name and version of the program.
    """

    file: Path
    snapshot: SnapshotId | None = None
    allow_stopped: bool = False
    window: int = DEFAULT_WINDOW
    tool: str = "dfx-backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotExportPlan:
    """What `stable export --via snapshot` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        take: how a snapshot is taken, or None when one exists.
        snapshot: the one that exists and is read, or None.
        goes_on: an earlier run took it, and it is deleted in the end.
        paths: the files.
        size: of the stable memory, in bytes; at most so much when it is not told; None: not known.
        calls: reads, or None.
        window: most slices in flight.
        outage: seconds for which the canister is stopped, or None when it is not.
        seconds: how long reading takes on mainnet, or None.
        cycles: what it all costs the canister (estimate), or None.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    take: CreatePlan | None
    snapshot: CanisterSnapshot | None
    goes_on: bool
    paths: StablePaths
    size: int | None
    calls: int | None
    window: int
    outage: Span | None
    seconds: Span | None
    cycles: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotExportResult:
    """What `stable export --via snapshot` did.

    Attributes:
        plan: what was planned.
        report: what the transfer did.
        snapshot_id: what was read.
        outage_s: seconds for which the canister was stopped, in the run that took it.
        consistency: what a snapshot of ours promises; None for one that existed.
        deleted: the snapshot was ours, and is gone again.
        cycles: what was paid for reading (estimate).
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: SnapshotExportPlan
    report: SnapshotExport
    snapshot_id: SnapshotId
    outage_s: float
    consistency: Consistency | None
    deleted: bool
    cycles: int
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module that is installed over the imported memory.

    Attributes:
        path: where it is; None: the canister's own.
        content: the bytes; None: they come with the base snapshot.
    """

    path: Path | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotImportOptions:
    """What `stable import --via snapshot` was asked for.

    Attributes:
        copy: what is imported: files, or a backup.
        module: installed with an upgrade that skips pre_upgrade, so that post_upgrade rebuilds
            the heap; None: the heap stays that of the base snapshot.
        new: begin anew, whatever an earlier run left.
        skip_safety_snapshot: keep nothing of the present state.
        replace: snapshot that the safety snapshot replaces, or None.
        other_canister: the file may be another canister's.
        allow_stopped: go on when the canister is found stopped, and leave it stopped.
        read_back: how much is read and compared before the load.
        window: most slices in flight.
        seed: of the sample that is read back.
        tool: name and version of the program.
    """

    copy: StableCopy
    module: Module | None = None
    new: bool = False
    skip_safety_snapshot: bool = False
    replace: SnapshotId | None = None
    other_canister: bool = False
    allow_stopped: bool = False
    read_back: ReadBack = ReadBack.SAMPLED
    window: int = DEFAULT_WINDOW
    seed: int = 0
    tool: str = "dfx-backup"

    @property
    def sending(self) -> SendOptions:
        """The part that an upload knows."""
        return SendOptions(window=self.window, read_back=self.read_back, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotImportPlan:
    """What `stable import --via snapshot` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        copy: what is imported.
        size: of the new stable memory, in bytes.
        size_now: of the present one, or None.
        take: how the base snapshot is taken; None: an earlier run has.
        base: the base snapshot's moment, when an earlier run took it, in nanoseconds, or None.
        resumes: the snapshot into which an earlier run uploads, or None.
        fetch_bytes: heap and module of the base, at most; None: not known.
        send_bytes: what is uploaded, at most; None: not known.
        load: the last part.
        rebuilds: the heap is rebuilt by an upgrade.
        module: the file that is installed then; None: the canister's own module.
        outage: seconds for which the canister is stopped, both times together.
        seconds: how long the transfers take on mainnet, or None.
        cycles: what it all costs the canister (estimate), or None.
        window: most slices in flight.
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    copy: StableCopy
    size: int
    size_now: int | None
    take: CreatePlan | None
    base: int | None
    resumes: SnapshotId | None
    fetch_bytes: int | None
    send_bytes: int | None
    load: LoadPlan
    rebuilds: bool
    module: Path | None
    outage: Span | None
    seconds: Span | None
    cycles: int | None
    window: int
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotImportResult:
    """What `stable import --via snapshot` did.

    Attributes:
        plan: what was planned.
        base_outage_s: seconds for which the canister was stopped for the base snapshot.
        fetched_bytes: what was read of the base in this run.
        report: what the upload did.
        load: what the load did.
        rebuilt: an upgrade has rebuilt the heap.
        deleted: snapshots of ours that are gone again.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: SnapshotImportPlan
    base_outage_s: float
    fetched_bytes: int
    report: UploadReport
    load: LoadResult
    rebuilt: bool
    deleted: tuple[SnapshotId, ...] = ()
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
