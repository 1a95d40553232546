"""Options, plans and results of transfers between snapshots and folders: frozen values."""

import enum
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.model import CanisterRef, CanisterSnapshot, Network, NetworkId, SnapshotId
from dfx_backup.operations.durations import Span, slices
from dfx_backup.operations.plans import CyclesCheck
from dfx_backup.transfer.terms import (
    DEFAULT_WINDOW,
    DownloadReport,
    FolderKind,
    FolderReport,
    ReadBack,
    UploadReport,
)
from dfx_backup.transfer.upload_plan import FolderOrigin, UploadPlan


class Way(enum.StrEnum):
    """How the bytes travel."""

    DIRECT = "direct"
    """In slices that we ask for, each one certified."""
    DRIVER = "driver"
    """Through the driver's own transfer, because only it can use the identity's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How big the parts of a snapshot are.

    Attributes:
        wasm_module: bytes.
        wasm_memory: bytes.
        stable_memory: bytes.
        wasm_chunks: how many chunks are in its Wasm chunk store.
    """

    wasm_module: int
    wasm_memory: int
    stable_memory: int
    wasm_chunks: int

    @classmethod
    def of(cls, metadata: SnapshotMetadata) -> "Sizes":
        """The sizes that a snapshot's metadata tells."""
        return cls(
            wasm_module=metadata.wasm_module_size,
            wasm_memory=metadata.wasm_memory_size,
            stable_memory=metadata.stable_memory_size,
            wasm_chunks=len(metadata.wasm_chunk_store),
        )

    @property
    def sections(self) -> tuple[int, int, int]:
        """Bytes of what is addressed by offsets."""
        return (self.wasm_module, self.wasm_memory, self.stable_memory)

    @property
    def calls(self) -> int:
        """Calls that read all of it."""
        return slices(*self.sections) + self.wasm_chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """What `snapshot download` was asked for.

    Attributes:
        folder: where it goes; made when it is not there.
        resume: go on with what an earlier run left in the folder.
        window: most slices in flight.
        known_module: a file that may be the snapshot's module; it is used instead of reading the
            module when the network's certified hash says so.
        tool: name and version of the program, for backup.json.
    """

    folder: Path
    resume: bool = False
    window: int = DEFAULT_WINDOW
    known_module: Path | None = None
    tool: str = "dfx-backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDownloadPlan:
    """What `snapshot download` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        snapshot: what is copied.
        folder: where to.
        way: how the bytes travel.
        resume: go on with what is there.
        sizes: of its parts, or None when the metadata can't be read by us.
        calls: calls that it takes, or None.
        window: most slices in flight.
        seconds: how long it takes on mainnet, or None.
        cycles: what the canister pays (estimate), or None.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    snapshot: CanisterSnapshot
    folder: Path
    way: Way
    resume: bool
    sizes: Sizes | None
    calls: int | None
    window: int
    seconds: Span | None
    cycles: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDownloadResult:
    """What `snapshot download` did.

    Attributes:
        plan: what was planned.
        report: what the transfer did.
        cycles: what the canister paid (estimate), or None.
        warnings: one sentence for each thing to know.
    """

    plan: SnapshotDownloadPlan
    report: DownloadReport
    cycles: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """How something is made into a snapshot.

    Attributes:
        resume: the snapshot that an earlier run began, or None: what this computer remembers.
        replace: snapshot that the new one replaces, or None.
        window: most slices in flight.
        clone: leave the global timer out, so that the copy does not start acting.
        read_back: how much is read and compared in the end.
        seed: of the sample that is read back.
    """

    resume: SnapshotId | None = None
    replace: SnapshotId | None = None
    window: int = DEFAULT_WINDOW
    clone: bool = False
    read_back: ReadBack = ReadBack.SAMPLED
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions(SendOptions):
    """What `snapshot upload` was asked for; `folder` is what is sent."""

    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUploadPlan:
    """What `snapshot upload` will do.

    Attributes:
        canister: the canister that gets the snapshot.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        what: where the bytes are, and what is sent of them.
        sizes: of the snapshot's parts.
        way: how the bytes travel.
        resumes: the snapshot of an earlier run that is gone on with, or None.
        replaces: the snapshot that will be gone before the data arrives, or None.
        snapshots: those that exist now, oldest first.
        installs_stub: the canister is empty, and a module that does nothing is installed first.
        keep_timer: the global timer is sent.
        keep_hook_status: the low-memory hook's status is sent.
        heartbeat: the module exports `canister_heartbeat`; None when it can't be read.
        read_back: how much is read and compared in the end.
        window: most slices in flight.
        seconds: how long it takes on mainnet.
        cycles: whether the balance carries it.
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    what: UploadPlan
    sizes: Sizes
    way: Way
    resumes: SnapshotId | None
    replaces: CanisterSnapshot | None
    snapshots: tuple[CanisterSnapshot, ...]
    installs_stub: bool
    keep_timer: bool
    keep_hook_status: bool
    heartbeat: bool | None
    read_back: ReadBack
    window: int
    seconds: Span
    cycles: CyclesCheck
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """What is sent, when it is a folder."""
        return self._report.folder

    @property
    def kind(self) -> FolderKind:
        """Which program made the folder, when it is one."""
        return self._report.kind

    @property
    def _report(self) -> FolderReport:
        assert isinstance(self.what.origin, FolderOrigin)  # or nobody asks
        return self.what.origin.report


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUploadResult:
    """What `snapshot upload` did.

    Attributes:
        plan: what was planned.
        snapshot_id: the new snapshot.
        report: what the transfer did, or None when the driver did it and told nothing.
        cycles: what the canister paid (estimate), or None.
        load_command: what makes the snapshot the canister's state.
        warnings: one sentence for each thing to know.
    """

    plan: SnapshotUploadPlan
    snapshot_id: SnapshotId
    report: UploadReport | None
    cycles: int | None
    load_command: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What `snapshot verify` found.

    Attributes:
        report: the folder and its problems.
        incomplete: one sentence for each thing that could not be checked; not empty: exit 3.
    """

    report: FolderReport
    incomplete: tuple[str, ...] = ()
