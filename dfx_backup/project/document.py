"""JSON and TOML files of the user, read once into typed values.

Whatever is wrong with such a file becomes one `ProjectError` that names the file, the key and the
reason. Every other module of this package reads files through this one.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomli

from dfx_backup.errors import ProjectError
from dfx_backup.ic.principal import Principal, PrincipalError
from dfx_backup.model import CanisterId

_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),  # before int: a bool is an int for Python
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value somewhere in a file, which knows where.

    Attributes:
        file: the file.
        path: the keys that lead here from the top.
        value: what the parser made of it.
    """

    file: Path
    path: tuple[str, ...]
    value: object

    @property
    def label(self) -> str:
        """File and keys for messages, such as `/p/dfx.json: canisters.chat.type`."""
        keys = ".".join(printable(key) for key in self.path)
        return f"{self.file}: {keys}" if keys else str(self.file)

    def error(self, reason: str, *, hint: str | None = None) -> ProjectError:
        """The error to raise when this value can't be used."""
        return ProjectError(f"{self.label} {reason}", hint=hint)

    def at(self, key: str) -> "Node":
        """The value under a key; a missing one reads as null."""
        return Node(file=self.file, path=(*self.path, key), value=self._object().get(key))

    def items(self) -> list[tuple[str, "Node"]]:
        """The members of an object, sorted by key; null has none.

        Raises:
            ProjectError: this is something else than an object or null.
        """
        return [(key, self.at(key)) for key in sorted(self._object())]

    def nodes(self) -> list["Node"]:
        """The members of a list; null has none.

        Raises:
            ProjectError: this is something else than a list or null.
        """
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self._must_be("a list")
        return [
            Node(file=self.file, path=(*self.path, str(index)), value=value)
            for index, value in enumerate(self.value)
        ]

    def text(self) -> str:
        """The text that must stand here.

        Raises:
            ProjectError: there is none, or something else.
        """
        if not isinstance(self.value, str):
            raise self._must_be("text")
        if any(ord(char) < 0x20 or 0xD800 <= ord(char) < 0xE000 for char in self.value):
            raise self.error("holds a control character")
        return self.value

    def optional_text(self) -> str | None:
        """The text here, or None for null or a missing key."""
        return None if self.value is None else self.text()

    def number(self) -> int:
        """The whole number that must stand here.

        Raises:
            ProjectError: there is none, or something else.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self._must_be("a whole number")
        return self.value

    def canister_id(self) -> CanisterId:
        """The canister's principal that must stand here, in canonical form.

        Raises:
            ProjectError: there is none, or the text is no principal.
        """
        try:
            return CanisterId(Principal.from_text(self.text()).to_text())
        except PrincipalError as error:
            raise self.error(f"must be a principal: {error.message}", hint=error.hint) from None

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that are not known.

        Raises:
            ProjectError: naming the first unknown key and the known ones.
        """
        wanted = sorted(known)
        for key, node in self.items():
            if key not in wanted:
                listed = ", ".join(wanted) if wanted else "none yet"
                raise node.error("is not known", hint=f"Keys that are known here: {listed}.")

    def _object(self) -> dict[str, object]:
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self._must_be("an object")
        return self.value

    def _must_be(self, wanted: str) -> ProjectError:
        if self.value is None:
            return self.error("is missing" if self.path else f"must be {wanted}, not null")
        found = next((name for kind, name in _KINDS if isinstance(self.value, kind)), "a date")
        return self.error(f"must be {wanted}, not {found}")


def read_json(file: Path) -> Node | None:
    """Read a JSON file whose top is an object; None when there is no such file.

    Raises:
        ProjectError: it can't be read, is no JSON, or its top is no object.
    """
    text = read_text(file)
    if text is None:
        return None
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise ProjectError(f"{file} is not valid JSON: {error.msg} at {at}") from None
    except (ValueError, RecursionError):
        raise ProjectError(f"{file} is not valid JSON: a value is too large or too deep") from None
    return _top(file, value)


def read_toml(file: Path) -> Node | None:
    """Read a TOML file; None when there is no such file.

    Raises:
        ProjectError: it can't be read, or is no TOML.
    """
    text = read_text(file)
    if text is None:
        return None
    try:
        value: object = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ProjectError(f"{file} is not valid TOML: {error}") from None
    except (ValueError, RecursionError):
        raise ProjectError(f"{file} is not valid TOML: a value is too large or too deep") from None
    return _top(file, value)


def read_text(file: Path) -> str | None:
    """Read a text file; None when there is none.

    Raises:
        ProjectError: it can't be read, or is not UTF-8.
    """
    data = read_bytes(file)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProjectError(f"{file} is not UTF-8 text: byte {error.start} is wrong") from None


def read_bytes(file: Path) -> bytes | None:
    """Read a file; None when there is none.

    Raises:
        ProjectError: it is there and can't be read.
    """
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ProjectError(f"{file} can't be read: {error.strerror}") from None


def is_file(file: Path) -> bool:
    """Tell whether a file is there; a folder that can't be looked into holds none."""
    try:
        return file.is_file()
    except OSError:
        return False


def folder_name(name: str, what: str) -> str:
    """The name, when it is safe as the name of a folder.

    Raises:
        ProjectError: it would lead to another place.
    """
    if not name or name in (".", "..") or any(char in name for char in "/\\\0"):
        raise ProjectError(f"{printable(name)!r} can't be the name of {what}")
    return name


def _top(file: Path, value: object) -> Node:
    node = Node(file=file, path=(), value=value)
    if not isinstance(value, dict):
        raise node._must_be("an object")  # noqa: SLF001 - the same module
    return node


def printable(key: str) -> str:
    """A key as it can be printed: files may hold characters that terminals can't."""
    return key if key.isprintable() else ascii(key)[1:-1]
