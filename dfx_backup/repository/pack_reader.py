"""Blobs read from their packs and checked, for whoever goes through whole packs."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dfx_backup.errors import DamageError
from dfx_backup.repository.compression import decompress
from dfx_backup.repository.index import BlobIndex
from dfx_backup.repository.layout import BlobKind, ObjectKind, object_name
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.packs import PackedBlob, read_pack_header
from dfx_backup.repository.sealing import Sealer
from dfx_backup.repository.store import ObjectStore

_WHOLE_PACK = 1 / 3
"""Of a pack of which more is wanted, all is read: one request instead of many."""
_GAP_BYTES = 256 << 10
"""Parts of a pack that lie closer together are read at once."""


class SealedBlob(NamedTuple):
    """A blob as it lies in its pack, found to be sound.

    Attributes:
        blob: what and where it is.
        sealed: its bytes there.
    """

    blob: PackedBlob
    sealed: memoryview


def open_blob(sealer: Sealer, blob: PackedBlob, sealed: memoryview | bytes, what: str) -> bytes:
    """The content of a blob, checked against its id.

    Args:
        sealer: the repository's keys.
        blob: what it should be.
        sealed: its bytes in the pack.
        what: name of the pack, for messages.

    Raises:
        DamageError: it is not what its id says.
    """
    name = f"{blob.kind} blob {blob.blob_id.hex()[:8]} in {what}"
    content = sealer.unseal(sealed, name)
    if blob.compressed:
        content = decompress(content, name, limit=blob.raw_length)
    if len(content) != blob.raw_length or hashlib.sha256(content).digest() != blob.blob_id:
        raise DamageError(f"{name} is damaged: its content is not its id")
    return content


def read_blobs(
    store: ObjectStore, sealer: Sealer, pack_id: str, blobs: Iterable[PackedBlob], size: int
) -> Iterator[SealedBlob]:
    """Read blobs of one pack in the order in which they lie there, each checked.

    Args:
        store: where the pack lies.
        sealer: the repository's keys.
        pack_id: hexadecimal id of the pack.
        blobs: which ones.
        size: bytes of the pack.

    Raises:
        DamageError: one of them is damaged; `MissingObjectError` when the pack is gone.
    """
    name = object_name(ObjectKind.DATA, pack_id)
    wanted = sorted(blobs, key=lambda blob: blob.offset)
    for part in _parts(wanted, size):
        start = part[0].offset
        end = max(blob.offset + blob.length for blob in part)
        data = memoryview(store.get_range(name, start, end - start))
        for blob in part:
            sealed = data[blob.offset - start : blob.offset - start + blob.length]
            open_blob(sealer, blob, sealed, name)
            yield SealedBlob(blob, sealed)


class PackFault(NamedTuple):
    """What is wrong with a pack.

    Attributes:
        message: a sentence without a full stop.
        bad: the blobs that can't be used; None for all of them.
    """

    message: str
    bad: frozenset[tuple[BlobKind, bytes]] | None


def check_pack(
    sealer: Sealer, index: BlobIndex, pack_id: str, data: bytes, indexed: int | None
) -> PackFault | None:
    """Look at every byte of a pack.

    Args:
        sealer: the repository's keys.
        index: where the blobs should lie.
        pack_id: hexadecimal id.
        data: all its bytes.
        indexed: how many blobs the index lists for it, None when it lists no such pack.
    """
    name = object_name(ObjectKind.DATA, pack_id)
    intact = hashlib.sha256(data).hexdigest() == pack_id
    alone = MemoryStore()
    alone.objects[name] = (data, 0.0)
    try:
        blobs = read_pack_header(alone, sealer, pack_id, len(data))
    except DamageError as error:
        return PackFault(error.message, None)
    bad = set()
    with memoryview(data) as view:
        for blob in blobs:
            try:
                open_blob(sealer, blob, view[blob.offset : blob.offset + blob.length], name)
            except DamageError:
                bad.add((blob.kind, blob.blob_id))
    if bad:
        return PackFault(
            f"{name} is damaged: {len(bad)} of its blobs can't be used", frozenset(bad)
        )
    if not intact:
        return PackFault(f"{name} is damaged: its content is not its name", frozenset())
    if indexed is not None and not _as_indexed(index, pack_id, blobs, indexed):
        return PackFault(f"{name} holds other blobs than the index lists", None)
    return None


def _as_indexed(index: BlobIndex, pack_id: str, blobs: Sequence[PackedBlob], indexed: int) -> bool:
    """Whether the index tells of a pack what its own header tells."""
    spots = {(blob.blob_id, blob.offset, blob.length) for blob in blobs}
    for blob in blobs:
        place = index.find(blob.kind, blob.blob_id)
        if place is None:
            return False
        spot = (blob.blob_id, place.offset, place.length)
        if index.pack_id(place.pack) == pack_id and spot not in spots:
            return False
    return len(blobs) == indexed


def _parts(blobs: Sequence[PackedBlob], size: int) -> Iterator[list[PackedBlob]]:
    """Blobs that are read with one request each."""
    if not blobs:
        return
    if sum(blob.length for blob in blobs) > size * _WHOLE_PACK:
        yield list(blobs)
        return
    part = [blobs[0]]
    for blob in blobs[1:]:
        if blob.offset - (part[-1].offset + part[-1].length) > _GAP_BYTES:
            yield part
            part = []
        part.append(blob)
    yield part
