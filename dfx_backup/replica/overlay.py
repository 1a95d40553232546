"""Stable memory as a message sees it that must not change it: the blob below, its writes above."""

from collections.abc import Iterator

from dfx_backup.replica.memory import HOST_PAGE, Blob


class Overlay:
    """Keeps what is written to a blob in pages of its own.

    Attributes:
        size: bytes.
    """

    def __init__(self, blob: Blob) -> None:
        self.size = blob.size
        self._blob = blob
        self._pages: dict[int, bytes] = {}

    def copy(self) -> "Overlay":
        """The same content, to be changed on its own."""
        other = Overlay(self._blob)
        other.size = self.size
        other._pages = dict(self._pages)
        return other

    def resize(self, size: int) -> None:
        """Grow with zeros."""
        self.size = size

    def write(self, offset: int, data: memoryview) -> None:
        """Put `data`, which lies inside."""
        done = 0
        for page, start, end in _spans(offset, len(data)):
            piece = bytes(data[done : done + end - start])
            if len(piece) < HOST_PAGE:
                old = self._page(page)
                piece = old[:start] + piece + old[end:]
            self._pages[page] = piece
            done += end - start

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` from bytes that lie inside."""
        below = max(0, min(len(target), self._blob.size - offset))
        if below:
            self._blob.read_into(offset, target[:below])
        target[below:] = bytes(len(target) - below)
        if not self._pages:
            return
        done = 0
        for page, start, end in _spans(offset, len(target)):
            if page in self._pages:
                target[done : done + end - start] = self._pages[page][start:end]
            done += end - start

    def _page(self, page: int) -> bytes:
        if page in self._pages:
            return self._pages[page]
        start = page * HOST_PAGE
        known = max(0, min(HOST_PAGE, self._blob.size - start))
        below = self._blob.read(start, known) if known else b""
        return below.ljust(HOST_PAGE, b"\0")


def _spans(offset: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The pages of a range: number, and the range's first and last byte within."""
    end = offset + size
    while offset < end:
        page, start = divmod(offset, HOST_PAGE)
        stop = min(HOST_PAGE, start + end - offset)
        yield page, start, stop
        offset += stop - start
