"""Files that are written whole or not at all, and JSON that is read with every type checked."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dfx_backup.errors import DamageError

T = TypeVar("T")


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file by `data`, readable by the user alone; afterwards it is on the disk.

    One temporary name a file is enough: the caller holds a lock.

    Raises:
        OSError: the file can't be written.
    """
    temporary = path.parent / f".{path.name}.tmp"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that came, went or changed in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Fields:
    """Typed access to one JSON object of a file; every complaint is a `DamageError` naming it.

    Args:
        path: the file.
        content: what was parsed.
        hint: what to do about a damaged file of this sort.
    """

    def __init__(
        self,
        path: Path,
        content: Any,  # noqa: ANN401 - JSON comes as it is
        *,
        hint: str | None = None,
    ) -> None:
        self._path = path
        self._hint = hint
        if not isinstance(content, dict):
            raise self.damaged("an object is missing")
        self._content: dict[str, Any] = content

    @property
    def content(self) -> Mapping[str, Any]:
        """The object as it was parsed."""
        return self._content

    def damaged(self, reason: str) -> DamageError:
        """The error for a file that can't be understood."""
        return DamageError(f"{self._path} can't be understood: {reason}", hint=self._hint)

    def text(self, name: str) -> str:
        """A text."""
        value = self._content.get(name)
        if not isinstance(value, str):
            raise self.damaged(f"`{name}` is no text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None for null or nothing."""
        return None if self._content.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._content.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.damaged(f"`{name}` is no whole number")
        return value

    def optional_whole(self, name: str) -> int | None:
        """A whole number, or None for null or nothing."""
        return None if self._content.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A moment in seconds since the epoch."""
        value = self._content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.damaged(f"`{name}` is no number")
        if not 0 <= value < 1e11:
            raise self.damaged(f"`{name}` is out of range")
        return float(value)

    def flag(self, name: str) -> bool:
        """A truth value."""
        value = self._content.get(name)
        if not isinstance(value, bool):
            raise self.damaged(f"`{name}` is neither true nor false")
        return value

    def choice(self, name: str, kind: Callable[[str], T]) -> T:
        """One member of an enumeration."""
        value = self.text(name)
        try:
            return kind(value)
        except ValueError as error:
            raise self.damaged(f"`{name}` can't be `{value}`") from error

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.damaged(f"`{name}` holds something else than texts")
        return tuple(values)

    def objects(self, name: str) -> "tuple[Fields, ...]":
        """A list of objects."""
        return tuple(Fields(self._path, value, hint=self._hint) for value in self._list(name))

    def child(self, name: str) -> "Fields":
        """An object."""
        return Fields(self._path, self._content.get(name), hint=self._hint)

    def optional_texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; nothing counts as an empty one."""
        return () if self._content.get(name) is None else self.texts(name)

    def optional_child(self, name: str) -> "Fields | None":
        """An object, or None for null or nothing."""
        return None if self._content.get(name) is None else self.child(name)

    def _list(self, name: str) -> list[Any]:
        values = self._content.get(name)
        if not isinstance(values, list):
            raise self.damaged(f"`{name}` is no list")
        return values
