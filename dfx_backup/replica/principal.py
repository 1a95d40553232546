"""Principals of the replica: raw bytes inside, text only at its edges.

Source: interface specification, "Principals". Everything else in this package handles a principal
as its 0 to 29 raw bytes.
"""

import base64
import binascii
import hashlib
import zlib
from typing import Final

MANAGEMENT: Final = b""
ANONYMOUS: Final = b"\x04"
MAX_LENGTH: Final = 29

_SELF_AUTHENTICATING: Final = b"\x02"


def to_text(raw: bytes) -> str:
    """Write a principal the way people see it: groups of five, dashes between.

    Args:
        raw: 0 to 29 bytes.
    """
    checked = zlib.crc32(raw).to_bytes(4, "big") + raw
    letters = base64.b32encode(checked).decode("ascii").lower().rstrip("=")
    return "-".join(letters[i : i + 5] for i in range(0, len(letters), 5))


def from_text(text: str) -> bytes:
    """Read a principal from its canonical text; case does not matter, dashes do.

    Raises:
        ValueError: the text is no principal; the message says why.
    """
    letters = text.lower().replace("-", "")
    try:
        checked = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text!r} is not a principal: not base32") from error
    if not 4 <= len(checked) <= MAX_LENGTH + 4:
        raise ValueError(f"{text!r} is not a principal: wrong length")
    raw = checked[4:]
    if to_text(raw) != text.lower():
        raise ValueError(f"{text!r} is not a principal: checksum or grouping is wrong")
    return raw


def self_authenticating(public_key_der: bytes) -> bytes:
    """The principal that the holder of a key may send requests as.

    Args:
        public_key_der: SubjectPublicKeyInfo of the key.
    """
    return hashlib.sha224(public_key_der).digest() + _SELF_AUTHENTICATING
