"""Streams read in pieces as large as the canister takes, and the words for who reads them."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from dfx_backup.errors import EndpointError, NetworkError, RejectError
from dfx_backup.ic.stable_endpoints import ChunkHashes, EndpointsInfo
from dfx_backup.transfer.terms import PAGE_BYTES

CHUNK_BYTES = 15 * PAGE_BYTES
"""Bytes with one hash. Two fit into a certified answer (2 MiB), three into that of a query (3)."""
CERTIFIED_CHUNKS = 2
"""Most chunks that one certified read asks for."""
QUERY_CHUNKS = 3
"""Most chunks that one query asks for."""
CERTIFIED_BYTES = CERTIFIED_CHUNKS * CHUNK_BYTES
"""Most bytes that one certified read asks for."""
QUERY_BYTES = QUERY_CHUNKS * CHUNK_BYTES
"""Most bytes that one query asks for."""
SMALLEST_BYTES = 4096
"""What is refused as too large at this size is refused for another reason."""

_TOO_LARGE = ("too large", "larger than", "payload size", "exceeded the limit", "instruction limit")


class StreamReader(Protocol):
    """Reads a canister's streams; `ic.stable_endpoints.StableEndpoints` is one."""

    @property
    def info_counts(self) -> int:
        """How often `info` raises the canister's version."""

    @property
    def certifies_size(self) -> bool:
        """Whether the end of a stream is certified as its bytes are."""

    def info(self) -> EndpointsInfo:
        """What there is to read, certified."""

    def read(self, stream: str, offset: int, length: int, /, *, certified: bool) -> bytes:
        """Exactly so many bytes."""

    def hashes(self, stream: str, offset: int, chunk_size: int, count: int, /) -> ChunkHashes:
        """Certified hashes of consecutive chunks: at least one unless the stream ends there."""

    def watch(self, listener: Callable[[NetworkError], None], /) -> AbstractContextManager[None]:
        """Let the listener hear of failed requests until the block ends."""


def is_too_large(error: NetworkError) -> bool:
    """Whether a read failed because it asks for more than the canister can answer at once."""
    if isinstance(error, EndpointError):
        return error.case == "too_large"
    if isinstance(error, RejectError):
        return any(each in error.reject_message.lower() for each in _TOO_LARGE)
    return False


class Pieces:
    """Reads ranges of one stream; what is too large is halved, for this range and all later ones.

    Args:
        reader: reads the network.
        stream: of which stream.
        certified: whether reads are calls as updates.
        largest: bytes that are asked for at once at first.

    Attributes:
        calls: reads that brought data.
        executed: calls that the canister has answered, also with an error of the interface.
        moved: bytes that came.
    """

    def __init__(self, reader: StreamReader, stream: str, *, certified: bool, largest: int) -> None:
        self._reader = reader
        self._stream = stream
        self._certified = certified
        self._lock = threading.Lock()
        self.largest = largest
        self.calls = self.executed = self.moved = 0

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes, in as many calls as it takes.

        Raises:
            NetworkError: the canister refuses, or can't be reached.
        """
        if length <= self.largest:
            try:
                return self._one(offset, length)
            except NetworkError as error:
                if not is_too_large(error) or length <= SMALLEST_BYTES:
                    raise
                self._lower(length)
        parts = []
        end = offset + length
        while offset < end:
            step = min(self.largest, end - offset)
            parts.append(self.read(offset, step))
            offset += step
        return b"".join(parts)

    def _one(self, offset: int, length: int) -> bytes:
        try:
            data = self._reader.read(self._stream, offset, length, certified=self._certified)
        except EndpointError:
            with self._lock:
                self.executed += 1  # it has raised the version, too
            raise
        with self._lock:
            self.calls += 1
            self.executed += 1
            self.moved += len(data)
        return data

    def _lower(self, refused: int) -> None:
        """Half of what was refused, in whole pages while there are any."""
        half = refused // 2
        if half > PAGE_BYTES:
            half -= half % PAGE_BYTES
        with self._lock:
            self.largest = min(self.largest, max(SMALLEST_BYTES, half))
