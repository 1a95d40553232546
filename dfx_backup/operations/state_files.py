"""Small private files that must survive a power cut: written whole or not at all."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dfx_backup.errors import DamageError, ProjectError

T = TypeVar("T")


def private_folder(path: Path) -> Path:
    """Make the folder and its parents, readable by the user alone.

    Raises:
        ProjectError: the folder can't be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def write_whole(path: Path, content: Mapping[str, object]) -> None:
    """Replace the file by `content` as JSON; afterwards it is on the disk.

    One temporary name a file is enough: the caller holds the canister's lock.

    Raises:
        ProjectError: the file can't be written.
    """
    folder = private_folder(path.parent)
    temporary = folder / f".{path.name}.tmp"
    data = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise _unusable(path, error) from error


def remove(path: Path) -> None:
    """Remove the file, if it is there; afterwards the disk knows.

    Raises:
        ProjectError: the file can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make names that came, went or changed in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_versioned(
    path: Path, *, kind: str, version: int, parse: Callable[["Fields"], T]
) -> T | None:
    """Read a file that `write_whole` wrote; None when there is none.

    Args:
        path: the file.
        kind: what its field `format` must say.
        version: the newest `version` that we understand.
        parse: makes the value; complaints of `Fields` pass through.

    Raises:
        DamageError: the file is not what was written; names it.
        ProjectError: it can't be read, or a newer program wrote it; names it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is no JSON") from error
    fields = Fields(path, content)
    if fields.text("format") != kind:
        raise damaged(path, f"its format is not '{kind}'")
    found = fields.whole("version")
    if found > version:
        raise ProjectError(
            f"{path} was written by a newer version of this program"
            f" (format {found}; this one knows {version})",
            hint="use the newer version to finish that run",
        )
    return parse(fields)


class Fields:
    """Typed access to one JSON object of a file; every complaint is a `DamageError` naming it."""

    def __init__(self, path: Path, content: Any) -> None:  # noqa: ANN401 - JSON comes as it is
        if not isinstance(content, dict):
            raise damaged(path, "an object is missing")
        self._path = path
        self._content: dict[str, Any] = content

    def text(self, name: str) -> str:
        """A text."""
        value = self._content.get(name)
        if not isinstance(value, str):
            raise damaged(self._path, f"'{name}' is no text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None for null or nothing."""
        return None if self._content.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._content.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise damaged(self._path, f"'{name}' is no whole number")
        return value

    def optional_whole(self, name: str) -> int | None:
        """A whole number, or None for null or nothing."""
        return None if self._content.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A moment in seconds since the epoch."""
        value = self._content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise damaged(self._path, f"'{name}' is no number")
        if not 0 <= value < 1e11:
            raise damaged(self._path, f"'{name}' is out of range")
        return float(value)

    def flag(self, name: str) -> bool:
        """A truth value."""
        value = self._content.get(name)
        if not isinstance(value, bool):
            raise damaged(self._path, f"'{name}' is neither true nor false")
        return value

    def choice(self, name: str, kind: Callable[[str], T]) -> T:
        """One member of an enumeration."""
        value = self.text(name)
        try:
            return kind(value)
        except ValueError as error:
            raise damaged(self._path, f"'{name}' can't be '{value}'") from error

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise damaged(self._path, f"'{name}' holds something else than texts")
        return tuple(values)

    def objects(self, name: str) -> "tuple[Fields, ...]":
        """A list of objects."""
        return tuple(Fields(self._path, value) for value in self._list(name))

    def child(self, name: str) -> "Fields":
        """An object."""
        return Fields(self._path, self._content.get(name))

    def _list(self, name: str) -> list[Any]:
        values = self._content.get(name)
        if not isinstance(values, list):
            raise damaged(self._path, f"'{name}' is no list")
        return values


def damaged(path: Path, reason: str) -> DamageError:
    """The error for a file of ours that is not what we wrote."""
    return DamageError(
        f"{path} can't be understood: {reason}",
        hint="check with the tool of your choice that the canister named by the file runs,"
        " then remove the file",
    )


def _unusable(path: Path, error: OSError) -> ProjectError:
    return ProjectError(
        f"{path} can't be used: {error.strerror or error}",
        hint="the state directory must be writable; XDG_STATE_HOME moves it",
    )
