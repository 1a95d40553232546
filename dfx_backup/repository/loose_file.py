"""One file of a backup whose size may change, and whose parts may come again, until it is done."""

import hashlib

from dfx_backup.repository.contents import ContentTable, weight
from dfx_backup.repository.entries import Entries
from dfx_backup.repository.file_writer import FileRecord
from dfx_backup.repository.layout import BlobKind
from dfx_backup.repository.pack_writer import PackWriter


class LooseFile:
    """Stores what comes at once, in the caller's thread; what comes later takes its place.

    What was stored and is not needed any more stays until somebody prunes. Parts that are never
    written are zeros: whoever brings them knows what is there. Made by `Writer.loose_file`.

    Attributes:
        name: its name.
        size: its bytes.
        content: ids of its blobs; complete after `finish`.
        finished: whether `finish` has found nothing wrong with what came last.
    """

    def __init__(self, packs: PackWriter, *, name: str, blob_size: int) -> None:
        self.name = name
        self.size = 0
        self.finished = False
        self._packs = packs
        self._blob_size = blob_size
        self._zero = bytes(blob_size)
        self._zero_id = hashlib.sha256(self._zero).digest()
        self._tail_id = self._zero_id
        self.content = ContentTable(0, self._zero_id)
        self._entries = Entries(name)

    def resize(self, size: int) -> None:
        """Give it so many bytes; a blob that has another length now is zeros until it is written.

        Nobody may write at the same time.

        Raises:
            DamageError: a page was lost here.
        """
        self._check()
        old, count = self.content, -(-size // self._blob_size)
        tail, same = size % self._blob_size, min(self.size, size) // self._blob_size
        self.size = size
        self.finished = False
        self._entries = Entries(self.name)
        self._tail_id = hashlib.sha256(self._zero[:tail]).digest() if tail else self._zero_id
        self.content = ContentTable(count, self._zero_id)
        for place in range(same):
            blob_id = old[place]
            if blob_id != self._zero_id:
                self._entries.add(weight(place, blob_id))
                self.content[place] = blob_id
        if tail:
            self.content[count - 1] = self._tail_id

    def write(self, offset: int, data: bytes) -> None:
        """Store a part; safe to call from several threads for different parts.

        Args:
            offset: where it lies; a multiple of the blob size.
            data: its bytes, a multiple of the blob size unless it ends the file.

        Raises:
            ValueError: it lies outside the file, or is not made of whole blobs.
            StoreError: an upload failed.
        """
        size, end = self._blob_size, offset + len(data)
        if offset < 0 or end > self.size or offset % size or (end % size and end != self.size):
            raise ValueError(f"{len(data)} bytes at {offset} of a file of {self.size}")
        self.finished = False
        view = memoryview(data)
        for start in range(0, len(data), size):
            page = view[start : start + size]
            place = (offset + start) // size
            if data.startswith(self._zero[: len(page)], start):
                self._enter(place, self._zero_id if len(page) == size else self._tail_id)
            else:
                self._enter(place, self._packs.store_blob(BlobKind.DATA, page))

    def finish(self) -> FileRecord:
        """Store blobs of zeros, when it has any; what the file is.

        Raises:
            DamageError: a page was lost here.
            StoreError: an upload failed.
        """
        self._check()
        for zeros, blob_id in (
            (self._zero, self._zero_id),
            (self._zero[: self.size % self._blob_size], self._tail_id),
        ):
            if zeros and self.content.has(blob_id):
                self._packs.store_blob(BlobKind.DATA, zeros)
        self.finished = True
        return FileRecord(
            name=self.name,
            size=self.size,
            sha256=None,
            content_sha256=self.content.sha256(),
        )

    def _enter(self, place: int, blob_id: bytes) -> None:
        zeros, before = (self._zero_id, self._tail_id), self.content[place]
        self.content[place] = blob_id
        self._entries.add(
            (0 if blob_id in zeros else weight(place, blob_id))
            - (0 if before in zeros else weight(place, before))
        )

    def _check(self) -> None:
        self._entries.check(self.content, (self._zero_id, self._tail_id))
