"""Principals: the names of canisters, users, subnets and nodes (interface spec, "Principals")."""

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import Self

from dfx_backup.errors import ProjectError

MAX_BYTES = 29
_GROUP = 5
_CHECKSUM_BYTES = 4
_MAX_TEXT = 63
_SELF_AUTHENTICATING = b"\x02"


class PrincipalError(ProjectError):
    """A text or blob that should be a principal is none."""


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """An opaque blob of at most 29 bytes.

    Attributes:
        raw: the bytes as they go over the wire.

    Raises:
        PrincipalError: the blob is longer than 29 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) > MAX_BYTES:
            raise PrincipalError(f"a principal has at most {MAX_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the canonical text form, such as `ryjl3-tyaaa-aaaaa-aaaba-cai`.

        Upper case is read too, as the specification asks; anything else that is not canonical
        (wrong checksum, dashes in other places) is refused.

        Raises:
            PrincipalError: the text is no principal; the message names it.
        """
        wanted = text.strip().lower()
        compact = wanted.replace("-", "")
        if not compact or len(wanted) > _MAX_TEXT or not wanted.isascii():
            raise _not_a_principal(text)
        padding = "=" * (-len(compact) % 8)
        try:
            blob = base64.b32decode(compact.upper() + padding)
        except (binascii.Error, ValueError):
            raise _not_a_principal(text) from None
        if not _CHECKSUM_BYTES <= len(blob) <= MAX_BYTES + _CHECKSUM_BYTES:
            raise _not_a_principal(text)
        principal = cls(blob[_CHECKSUM_BYTES:])
        if principal.to_text() != wanted:
            raise _not_a_principal(text)
        return principal

    @classmethod
    def self_authenticating(cls, public_key_der: bytes) -> Self:
        """The principal of whoever holds the key whose DER form (SubjectPublicKeyInfo) is given."""
        return cls(hashlib.sha224(public_key_der).digest() + _SELF_AUTHENTICATING)

    def to_text(self) -> str:
        """The canonical text: base32 of CRC-32 and bytes, lower case, a dash every 5 characters."""
        checksum = zlib.crc32(self.raw).to_bytes(_CHECKSUM_BYTES, "big")
        compact = base64.b32encode(checksum + self.raw).decode("ascii").rstrip("=").lower()
        return "-".join(compact[i : i + _GROUP] for i in range(0, len(compact), _GROUP))

    def __str__(self) -> str:
        return self.to_text()


def _not_a_principal(text: str) -> PrincipalError:
    shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
    return PrincipalError(
        f"{shown!r} is not a principal",
        hint="A principal looks like ryjl3-tyaaa-aaaaa-aaaba-cai; it has a checksum.",
    )


ANONYMOUS = Principal(b"\x04")
"""Whoever sends without a signature."""

MANAGEMENT = Principal(b"")
"""The management canister, `aaaaa-aa`."""
