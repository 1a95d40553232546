"""The words of transfers: who reads and writes slices, what is wanted, what came of it."""

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dfx_backup.errors import NetworkError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, UploadPlace
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, CanisterSnapshot, NetworkId, SentCall, SnapshotId
from dfx_backup.progress import Progress

SLICE_BYTES = 2_000_000
"""Most bytes of one slice (management canister, MAX_SLICE_SIZE_BYTES)."""
PAGE_BYTES = 65_536
"""A Wasm page."""
DEFAULT_WINDOW = 50
"""Slices in flight: a node takes 50 calls at a time and answers 429 to more, which is heeded."""

TroubleListener = Callable[[NetworkError], None]
"""Hears of every failed request, in the thread that made it, also when it is tried again."""


class SliceReader(Protocol):
    """Reads snapshots; `ic.management.ManagementCanister` is one. Threads share it."""

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId, /
    ) -> SnapshotMetadata:
        """The snapshot's certified metadata."""

    def read_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, part: ReadPart, /
    ) -> bytes:
        """The certified bytes of one part, exactly as many as were asked for."""

    def watch(self, listener: TroubleListener, /) -> AbstractContextManager[None]:
        """Let the listener hear of failed requests until the block ends."""


class SliceWriter(SliceReader, Protocol):
    """Writes snapshots as well."""

    def list_snapshots(self, canister: CanisterId, /) -> tuple[CanisterSnapshot, ...]:
        """The canister's snapshots."""

    def upload_snapshot_metadata(
        self,
        canister: CanisterId,
        metadata: SnapshotMetadata,
        /,
        *,
        replace: SnapshotId | None = None,
        before_send: Callable[[SentCall], None] | None = None,
    ) -> SnapshotId:
        """Make a new snapshot of zeros."""

    def upload_snapshot_data(
        self, canister: CanisterId, snapshot: SnapshotId, place: UploadPlace, chunk: bytes, /
    ) -> None:
        """Put bytes into a snapshot made by `upload_snapshot_metadata`."""


class TransferProgress(Progress, Protocol):
    """Hears how far a transfer is. Called by several threads, but by one at a time."""

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """A phase begins; so many of its bytes are there already."""

    def advance(self, count: int) -> None:
        """So many bytes more are finished."""

    def retry(self, reason: str) -> None:
        """Something failed and is tried again."""


class SilentTransfer:
    """Swallows everything."""

    def step(self, text: str) -> None:
        """Ignore the step."""

    def warn(self, text: str) -> None:
        """Ignore the warning."""

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Ignore the phase."""

    def advance(self, count: int) -> None:
        """Ignore the bytes."""

    def retry(self, reason: str) -> None:
        """Ignore the retry."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How a transfer is carried out.

    Attributes:
        window: most slices in flight.
        patience_s: seconds for which one slice is tried while it fails with errors that pass.
        should_stop: asked several times a second; True ends the transfer, which can be resumed.
        surroundings: clocks, sleep and chance.
        checkpoint_bytes: after so many bytes everything is forced to the disk.
    """

    window: int = DEFAULT_WINDOW
    patience_s: float = 300.0
    should_stop: Callable[[], bool] = _never
    surroundings: Surroundings = field(default_factory=Surroundings)
    checkpoint_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupIdentity:
    """What a folder is a copy of, and who made it; goes into backup.json.

    Attributes:
        canister_id: whose snapshot.
        snapshot_id: which one.
        network_id: on which network.
        tool: name and version of the program.
        created_at: seconds since the epoch.
    """

    canister_id: CanisterId
    snapshot_id: SnapshotId
    network_id: NetworkId
    tool: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModule:
    """Evidence that a snapshot's module is in a file already.

    Attributes:
        path: the file.
        module_hash: SHA-256 of the installed module, hexadecimal, certified by the network.
        canister_version: the canister's version in that same answer.
    """

    path: Path
    module_hash: str
    canister_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageHash:
    """A hash of a file that was made page by page.

    Attributes:
        page_bytes: of each page; the last one may be shorter.
        sha256: of the SHA-256s of all pages, one after the other, hexadecimal.
    """

    page_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file of a snapshot folder.

    Attributes:
        name: relative to the folder, with slashes.
        size: bytes.
        sha256: of its content, hexadecimal; None when it was not computed.
        pages: hash of its pages; None when it was not computed.
    """

    name: str
    size: int
    sha256: str | None
    pages: PageHash | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadReport:
    """What a download did; sizes are bytes.

    Attributes:
        folder: where everything is.
        metadata: the snapshot's.
        files: every file, metadata.json included.
        total_bytes: module, memories and chunks together.
        moved_bytes: the part that came over the network in this run.
        resumed_bytes: the part that an earlier run had finished.
        known_bytes: the part that was known without reading it.
        zero_bytes: the part that takes no space on the disk, being zero.
        slices: calls that brought data.
        retries: requests that failed and were made again.
        seconds: from the first slice sent to the last received.
        window: most slices that were in flight at a time.
    """

    folder: Path
    metadata: SnapshotMetadata
    files: tuple[FileRecord, ...]
    total_bytes: int
    moved_bytes: int
    resumed_bytes: int
    known_bytes: int
    zero_bytes: int
    slices: int
    retries: int
    seconds: float
    window: int


class FolderKind(enum.StrEnum):
    """Which program made a snapshot folder."""

    OURS = "dfx-backup"
    ICP = "icp"
    DFX = "dfx"
    JUNO = "juno"
    UNKNOWN = "unknown"
    """It holds no metadata that any of them writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReport:
    """What a folder holds, and what is wrong with it.

    Attributes:
        folder: which one.
        kind: who made it.
        metadata: the snapshot's, or None when it can't be read.
        identity: what backup.json says; None without one.
        files: those that belong to the snapshot, in the order of its sections.
        hashes: whether the files' hashes were compared with recorded ones.
        problems: full sentences; empty when nothing is wrong.
    """

    folder: Path
    kind: FolderKind
    metadata: SnapshotMetadata | None
    identity: BackupIdentity | None
    files: tuple[FileRecord, ...]
    hashes: bool
    problems: tuple[str, ...]


class ReadBack(enum.StrEnum):
    """How much of an uploaded snapshot is read and compared."""

    NONE = "none"
    SAMPLED = "sampled"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTarget:
    """Where an upload goes.

    Attributes:
        canister_id: whose snapshot it becomes.
        network_id: on which network.
        state: file that keeps what must survive a kill; not inside the folder. It is removed
            when the upload is done.
        keep_state: leave it there: the same upload once more sends nothing, and compares again.
        snapshot_id: resume into this snapshot; None: what `state` says, or a new one.
        replace: a snapshot that is deleted in the step that makes the new one.
    """

    canister_id: CanisterId
    network_id: NetworkId
    state: Path
    keep_state: bool = False
    snapshot_id: SnapshotId | None = None
    replace: SnapshotId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadChoices:
    """What may be left out of an upload, and how it is checked.

    Attributes:
        read_back: how much is read and compared in the end.
        keep_timer: send the global timer; a copy without it does not start acting.
        keep_hook_status: send the low-memory hook's status; a load refuses one that does not
            agree with the target's settings.
        seed: of the sample that is read back.
    """

    read_back: ReadBack = ReadBack.SAMPLED
    keep_timer: bool = True
    keep_hook_status: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """What an upload did; sizes are bytes.

    Attributes:
        snapshot_id: the new snapshot.
        total_bytes: module, memories and chunks together.
        sent_bytes: the part that was sent in this run.
        resumed_bytes: the part that was there from an earlier run.
        zero_bytes: the part that needed no sending, being zero.
        envelopes: calls that carried data.
        checked_bytes: the part that was read back and compared.
        retries: requests that failed and were made again.
        seconds: from the first slice sent to the last confirmed.
        window: most slices that were in flight at a time.
    """

    snapshot_id: SnapshotId
    total_bytes: int
    sent_bytes: int
    resumed_bytes: int
    zero_bytes: int
    envelopes: int
    checked_bytes: int
    retries: int
    seconds: float
    window: int
