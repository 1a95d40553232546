"""CBOR as the Internet Computer uses it: one optional tag in front, then plain maps and lists.

Everything under the self-describing tag decodes to other Python types in newer versions of cbor2,
so the tag is taken off before; other tags have no place in what we read.
"""

import io
from typing import Any

import cbor2

from dfx_backup.errors import NetworkError

SELF_DESCRIBED = b"\xd9\xd9\xf7"
_TAG = 55799


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
