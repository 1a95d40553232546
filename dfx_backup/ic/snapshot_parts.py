"""The parts of a canister snapshot, and ranges of them, as the management canister names them."""

import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dfx_backup.errors import NetworkError

if TYPE_CHECKING:
    from dfx_backup.ic.candid import Value


class Section(enum.StrEnum):
    """A part of a snapshot that is addressed by offsets."""

    WASM_MODULE = "wasm_module"
    WASM_MEMORY = "wasm_memory"
    STABLE_MEMORY = "stable_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A range of a section.

    Attributes:
        section: of which section.
        offset: bytes from its beginning.
        size: bytes, at most 2,000,000.
    """

    section: Section
    offset: int
    size: int

    def to_candid(self) -> "Value":
        """The variant that names it."""
        return (self.section.value, {"offset": self.offset, "size": self.size})

    def check(self, data: bytes) -> None:
        """Refuse bytes that can't be this range.

        Raises:
            NetworkError: they are more or fewer than were asked for.
        """
        if len(data) != self.size:
            raise NetworkError(
                f"{len(data)} bytes came where {self.size} of {self.section.value} were asked for"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmChunk:
    """A chunk of the Wasm chunk store.

    Attributes:
        hash: its SHA-256, 32 bytes.
    """

    hash: bytes

    def to_candid(self) -> "Value":
        """The variant that names it."""
        return ("wasm_chunk", {"hash": self.hash})

    def check(self, data: bytes) -> None:
        """Refuse bytes that are not this chunk.

        Raises:
            NetworkError: their hash is another.
        """
        if hashlib.sha256(data).digest() != self.hash:
            raise NetworkError(f"other bytes came than the Wasm chunk {self.hash.hex()}")


ReadPart: TypeAlias = Slice | WasmChunk
"""What one call reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlace:
    """Where uploaded bytes go.

    Attributes:
        section: into which section; None is the Wasm chunk store.
        offset: bytes from its beginning.
    """

    section: Section | None
    offset: int = 0

    def to_candid(self) -> "Value":
        """The variant that names it."""
        if self.section is None:
            return ("wasm_chunk", None)
        return (self.section.value, {"offset": self.offset})
