"""Index objects: which packs there are, and which blobs lie in them.

restic's doc/design.rst, "Indexing". One index object lists whole packs, at most 50,000 blobs.
"""

import json
from binascii import unhexlify
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dfx_backup.errors import DamageError
from dfx_backup.repository.layout import BlobKind, is_id
from dfx_backup.repository.packs import PackedBlob
from dfx_backup.repository.sealing import SEAL_BYTES

MOST_BLOBS = 50_000
"""Blobs of one index object: restic's own limit."""


class IndexedPack(NamedTuple):
    """A pack as an index object lists it.

    Attributes:
        pack_id: hexadecimal id.
        blobs: what is in it.
    """

    pack_id: str
    blobs: tuple[PackedBlob, ...]


def encode_index(packs: Iterable[tuple[str, Iterable[PackedBlob]]]) -> Iterator[bytes]:
    """The JSON text of an index object in pieces, from packs and what is in them."""
    lead = '{"packs":['
    for pack_id, blobs in packs:
        yield f'{lead}{{"id":"{pack_id}","blobs":[{",".join(map(_blob_json, blobs))}]}}'.encode()
        lead = ","
    yield b'{"packs":[]}' if lead != "," else b"]}"


def _blob_json(blob: PackedBlob) -> str:
    raw = f',"uncompressed_length":{blob.raw_length}' if blob.compressed else ""
    return (
        f'{{"id":"{blob.blob_id.hex()}","type":"{blob.kind}","offset":{blob.offset},'
        f'"length":{blob.length}{raw}}}'
    )


def decode_index(text: bytes, what: str) -> list[IndexedPack]:
    """The packs of an index object.

    Args:
        text: its JSON text.
        what: its name, for the message.

    Raises:
        DamageError: it is no index object.
    """
    try:
        document = json.loads(text)
        return [_pack_of(pack) for pack in document["packs"] or ()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DamageError(f"{what} can't be understood: it is no index") from error


def _pack_of(pack: Any) -> IndexedPack:  # noqa: ANN401 - JSON comes as it is
    pack_id = pack["id"]
    if not is_id(pack_id):
        raise ValueError("an id that is none")
    return IndexedPack(pack_id, tuple(map(_blob_of, pack["blobs"])))


_MOST = (1 << 32) - 1
_KINDS = {kind.value: kind for kind in BlobKind}


def _blob_of(blob: Any) -> PackedBlob:  # noqa: ANN401 - JSON comes as it is
    length, offset = blob["length"], blob["offset"]
    raw = blob.get("uncompressed_length", 0)
    blob_id = unhexlify(blob["id"])
    # Fractions and texts have no bits and raise TypeError; one negative number makes all negative.
    if len(blob_id) != 32 or not 0 <= offset | length | raw <= _MOST or length < SEAL_BYTES:
        raise ValueError("a place that is none")
    plain = raw or length - SEAL_BYTES
    return PackedBlob(blob_id, _KINDS[blob["type"]], offset, length, plain, raw != 0)
