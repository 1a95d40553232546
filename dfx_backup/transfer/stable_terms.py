"""The words of exports and imports of streams."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dfx_backup.transfer.stable_sidecar import Certified, Moment, Sidecar


class Reads(enum.StrEnum):
    """How a stream is read."""

    CERTIFIED = "certified"
    """Every byte in a certified answer."""
    HASHES = "hashes"
    """Certified hashes, and queries for what differs from an earlier copy."""


class StreamWork(Protocol):
    """Where the chunks of an export are put: files, or a repository. Threads share it."""

    @property
    def stream(self) -> str:
        """Name of the stream."""

    @property
    def chunk_bytes(self) -> int:
        """Bytes of each chunk but the last."""

    @property
    def resumed(self) -> Sequence[int]:
        """Numbers of the chunks that an interrupted run has put here."""

    def begin(self, size: int, /) -> None:
        """The stream has so many bytes."""

    def resize(self, size: int, /) -> None:
        """It has so many now; chunks that keep their length are kept."""

    def begin_again(self) -> None:
        """From now on chunks are put where others may be."""

    def put(self, offset: int, data: bytes, /) -> None:
        """Put whole chunks at their place."""

    def read(self, offset: int, length: int, /) -> bytes:
        """What an interrupted run has put here."""

    def earlier(self, index: int, length: int, hash_: bytes, /) -> bytes | None:
        """A chunk of the earlier copy, when it has this hash there and in truth."""

    def note(self, indexes: Sequence[int], /) -> None:
        """These chunks are put."""

    def sync(self) -> None:
        """Let what is put survive a kill, as far as it can."""

    def commit(self, sidecar: Sidecar, /) -> None:
        """Make what was put an export: from now on it is whole, and seen."""

    def close(self) -> None:
        """Let others have the place; only what was committed stays for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoices:
    """How an export is made.

    Attributes:
        reads: how it begins.
        rounds_by_hashes: what changed meanwhile is found by hashes, not by reading all again.
        accept_unproven: an export without any evidence of one moment is completed, and says so.
        tool: name and version of the program.
        created_at: seconds since the epoch.
    """

    reads: Reads
    rounds_by_hashes: bool
    accept_unproven: bool = False
    tool: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What proves an export."""

    certified: Certified
    moment: Moment
    versions: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTally:
    """What moved; sizes are bytes.

    Attributes:
        moved_bytes: what came over the network in this run.
        resumed_bytes: what an interrupted run had read.
        copied_bytes: what is as it was in the earlier export, and came from there.
        zero_bytes: what was known to be zero from its hash, and not read.
        calls: reads that brought data.
        retries: requests that failed and were made again.
        seconds: for the reads, from the first sent to the last received.
        window: most reads that were in flight at a time.
    """

    moved_bytes: int
    resumed_bytes: int
    copied_bytes: int
    zero_bytes: int
    calls: int
    retries: int
    seconds: float
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export did.

    Attributes:
        sidecar: what is known of them.
        reads: how it began.
        rounds: how often the canister was read.
        hash_calls: calls for hashes.
        tally: what moved.
    """

    sidecar: Sidecar
    reads: Reads
    rounds: int
    hash_calls: int
    tally: ExportTally


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did; sizes are bytes.

    Attributes:
        session: of the canister.
        resumed: it went on with a session that was there.
        total_bytes: of the stream.
        moved_bytes: what was sent.
        same_bytes: what was the same on the canister already.
        calls: writes.
        hash_calls: calls for hashes.
        finish_calls: calls of `backup_import_finish`.
        retries: requests that failed and were made again.
        seconds: for the writes, from the first sent to the last confirmed.
        window: most writes that were in flight at a time.
    """

    session: int
    resumed: bool
    total_bytes: int
    moved_bytes: int
    same_bytes: int
    calls: int
    hash_calls: int
    finish_calls: int
    retries: int
    seconds: float
    window: int
