"""zstd at level 3: one context a thread, because contexts are costly and not thread-safe."""

import sys
import threading
from collections.abc import Callable, Iterator

from dfx_backup.errors import DamageError
from dfx_backup.repository.store import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
_STEP_BYTES = 1 << 20


class _Compressor(threading.local):
    def __init__(self) -> None:
        self.context = zstd.ZstdCompressor(level=LEVEL)


_LOCAL = _Compressor()


def compress(data: Buffer) -> bytes:
    """One frame that holds `data` and tells its size."""
    context = _LOCAL.context
    context.set_pledged_input_size(len(data))
    return context.compress(data, mode=zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(data: Buffer, what: str, *, limit: int) -> bytes:
    """The content of one frame.

    Args:
        data: the frame.
        what: whose content this is, for the message.
        limit: more bytes than this are damage: nothing of ours is larger.

    Raises:
        DamageError: it is no frame, or it is longer than `limit`.
    """
    try:
        # A decompressor is good for one frame; to make one costs about a microsecond.
        context = zstd.ZstdDecompressor()
        plain = context.decompress(data, limit + 1)
    except zstd.ZstdError as error:
        raise DamageError(f"{what} is damaged: {error}") from error
    if not context.eof or len(plain) > limit:
        raise DamageError(f"{what} is damaged: it does not have its size")
    return plain


class StreamCompressor:
    """Compresses one long text piece by piece.

    Args:
        emit: given compressed pieces; each is its own from then on.
    """

    def __init__(self, emit: Callable[[bytearray], None]) -> None:
        self._context = zstd.ZstdCompressor(level=LEVEL)
        self._emit = emit

    def feed(self, data: Buffer) -> None:
        """Compress more."""
        self._pass_on(self._context.compress(data))

    def finish(self) -> None:
        """End the frame."""
        self._pass_on(self._context.flush(zstd.ZstdCompressor.FLUSH_FRAME))

    def _pass_on(self, piece: bytes) -> None:
        if piece:
            self._emit(bytearray(piece))


def decompress_steps(data: Buffer, what: str) -> Iterator[bytes]:
    """The content of one frame, in pieces of about a megabyte.

    Raises:
        DamageError: it is no frame.
    """
    context = zstd.ZstdDecompressor()
    try:
        piece = context.decompress(data, _STEP_BYTES)
        while True:
            if piece:
                yield piece
            if context.eof:
                return
            if context.needs_input:
                raise DamageError(f"{what} is damaged: it ends too early")
            piece = context.decompress(b"", _STEP_BYTES)
    except zstd.ZstdError as error:
        raise DamageError(f"{what} is damaged: {error}") from error
