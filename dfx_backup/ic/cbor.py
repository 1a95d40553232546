"""CBOR as the Internet Computer uses it: one optional tag in front, then plain maps and lists.

Everything under the self-describing tag decodes to other Python types in newer versions of cbor2,
so the tag is taken off before; other tags have no place in what we read.
"""

import io
from collections.abc import Mapping
from typing import Any

import cbor2

from dfx_backup.errors import NetworkError

SELF_DESCRIBED = b"\xd9\xd9\xf7"
_TAG = 55799
_BYTES, _MAP = 2, 5


def loads(data: bytes | memoryview, what: str) -> Any:  # noqa: ANN401 # the parsing edge
    """Decode one CBOR item, with or without the self-describing tag.

    Args:
        data: the item.
        what: what it is, for the error message.

    Raises:
        NetworkError: the bytes are no CBOR.
    """
    stream = io.BytesIO(data)  # bytes are not copied
    stream.seek(len(SELF_DESCRIBED) if data[:3] == SELF_DESCRIBED else 0)
    try:
        return cbor2.load(stream)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise NetworkError(f"{what} is no CBOR: {error}") from None


def dumps(value: object) -> bytes:
    """Encode a value, with the self-describing tag in front as the specification asks."""
    return cbor2.dumps(cbor2.CBORTag(_TAG, value))


def dump_parts(value: Mapping[str, object], *, large: object = None) -> tuple[bytes, ...]:
    """Encode a map as `dumps` does, in pieces that follow one another.

    Args:
        value: the map; maps in it are taken apart likewise.
        large: bytes that are a value in one of these maps: they become a piece of their own,
            without a copy. None when there are none.
    """
    parts: list[bytes] = [SELF_DESCRIBED]
    _dump(parts, value, large)
    return tuple(parts)


def _dump(parts: list[bytes], value: object, large: object) -> None:
    if isinstance(value, Mapping):
        parts.append(_head(_MAP, len(value)))
        for key, item in value.items():
            parts.append(cbor2.dumps(key))
            _dump(parts, item, large)
    elif value is large and isinstance(value, bytes):
        parts += [_head(_BYTES, len(value)), value]
    else:
        parts.append(cbor2.dumps(value))


def _head(major: int, count: int) -> bytes:
    """The head of an item (RFC 8949, section 3), in its shortest form."""
    if count < 24:
        return bytes([major << 5 | count])
    for place, size in enumerate((1, 2, 4, 8)):
        if count < 1 << (8 * size):
            return bytes([major << 5 | (24 + place)]) + count.to_bytes(size, "big")
    raise OverflowError


def load_map(data: bytes | memoryview, what: str) -> dict[str, Any]:
    """Decode a map.

    Raises:
        NetworkError: the bytes are no CBOR map.
    """
    found = loads(data, what)
    if not isinstance(found, dict):
        raise NetworkError(f"{what} is no CBOR map")
    return found


def field(found: dict[str, Any], name: str, type_: type, what: str) -> Any:  # noqa: ANN401 # the parsing edge
    """A field that must be there, of the given type.

    Raises:
        NetworkError: it is missing or something else; True is no integer.
    """
    value = found.get(name)
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        raise NetworkError(f"{what} lacks {name!r}, or it is no {type_.__name__}")
    return value
