"""The interface between a repository and the place where its objects lie.

Objects are written once and never changed. A name is relative, ASCII, and can't leave the store.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dfx_backup.errors import DamageError, ProjectError

Buffer = bytes | bytearray | memoryview
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*){0,3}")
_LONGEST_NAME = 200


class StoreError(ProjectError):
    """The place where a repository lies can't be read or written."""


class MissingObjectError(DamageError):
    """An object that should be there is not.

    Attributes:
        name: the object.
    """

    def __init__(self, name: str, *, where: str) -> None:
        super().__init__(f"{name} is missing in {where}")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a listing tells about an object.

    Attributes:
        name: its name.
        size: its bytes.
        modified: when it was written, by the store's clock, in seconds since the epoch.
    """

    name: str
    size: int
    modified: float


class ObjectStore(ABC):
    """A place for objects; safe to use from several threads.

    Every method raises `StoreError` when the store can't be used, and `ValueError` for a name that
    `valid_name` does not know: that is a mistake of ours.

    Attributes:
        longest_read: bytes from which a longer range is no better than several.
    """

    longest_read = 16 << 20

    @abstractmethod
    def put(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        """Write an object whole; when this returns it survives a power cut.

        Writing an object that is there already replaces it by the same bytes: names of objects are
        hashes of their contents, so to repeat a lost write is safe.
        """

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Read an object.

        Raises:
            MissingObjectError: there is none.
        """

    @abstractmethod
    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes of an object from `offset` on.

        Raises:
            MissingObjectError: there is no such object.
            DamageError: the object ends before.
        """

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of an object.

        Raises:
            MissingObjectError: there is none.
        """

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose names begin with `prefix`, which ends with '/' or is empty; any order.

        Names that are none of ours are left out.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such an object."""

    @abstractmethod
    def describe(self) -> str:
        """Where this is, for messages; never with credentials."""


def valid_name(name: str) -> bool:
    """Whether an object may have this name."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: no object may have it.
    """
    if not valid_name(name):
        raise ValueError(f"{name!r} is no name of an object")
    return name


def checked_prefix(prefix: str) -> str:
    """The prefix itself.

    Raises:
        ValueError: it is neither empty nor a name with a slash after it.
    """
    if prefix and not (prefix.endswith("/") and valid_name(prefix[:-1])):
        raise ValueError(f"{prefix!r} is no prefix of names")
    return prefix


def pieces_of(data: Buffer | Sequence[Buffer]) -> "list[Buffer]":
    """The pieces of an object in their order, without copying them."""
    return [data] if isinstance(data, Buffer) else list(data)
