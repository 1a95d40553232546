"""Writing the kit for canisters into the user's project: never over what is there already."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from dfx_backup.errors import ProjectError, RefusedError

_SUFFIXES = (".did", ".md", ".mo", ".rs", ".toml")
"""What belongs to a kit; not what compilers leave beside it."""


class Language(StrEnum):
    """What the canister is written in."""

    RUST = "rust"
    MOTOKO = "motoko"


class FileState(StrEnum):
    """What became of a file of the kit."""

    WRITTEN = "written"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class KitFile:
    """One file.

    Attributes:
        name: relative to the kit's folder, with slashes.
        content: what the kit has there.
        state: kept means that it was there, and the same.
    """

    name: str
    content: bytes
    state: FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What the user has to add by hand.

    Attributes:
        place: where, in words.
        text: what, one or more lines.
    """

    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KitResult:
    """The kit as it is in the project now.

    Attributes:
        language: of the canister.
        folder: where the files are.
        files: in the order of their names.
        additions: what is left to be done.
    """

    language: Language
    folder: Path
    files: tuple[KitFile, ...]
    additions: tuple[Addition, ...]


def write_kit(language: Language, folder: Path, *, typed: str) -> KitResult:
    """Write the kit's files into a folder, which is made when it is not there.

    Args:
        language: of the canister.
        folder: for the kit's files alone.
        typed: the folder's name as the user gave it.

    Raises:
        RefusedError: files are there that differ from the kit's; nothing was written.
        ProjectError: the folder or a file can't be read or written.
    """
    try:
        files = tuple(_compared(folder, name, content) for name, content in _sources(language))
        changed = [each.name for each in files if _differs(folder, each)]
        if changed:
            raise RefusedError(
                f"Nothing was written: in {typed} there are other versions of {', '.join(changed)}",
                hint="Move them away, or give another folder with `--dir`.",
            )
        for each in files:
            if each.state is FileState.WRITTEN:
                _create(folder / each.name, each.content)
    except OSError as error:
        where = error.filename or folder
        raise ProjectError(f"{where} can't be written: {error.strerror or error}") from error
    return KitResult(
        language=language, folder=folder, files=files, additions=_additions(language, typed)
    )


def _compared(folder: Path, name: str, content: bytes) -> KitFile:
    there = (folder / name).exists() or (folder / name).is_symlink()
    return KitFile(name=name, content=content, state=FileState.KEPT if there else FileState.WRITTEN)


def _differs(folder: Path, file: KitFile) -> bool:
    if file.state is FileState.WRITTEN:
        return False
    path = folder / file.name
    return not path.is_file() or path.read_bytes() != file.content


def _create(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


def _sources(language: Language) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a kit's files."""
    kit = resources.files("dfx_backup") / "kit"
    yield "backup.did", (kit / "backup.did").read_bytes()
    yield from sorted(_below(kit / language.value, ""))


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        name = f"{prefix}{each.name}"
        if each.is_file() and each.name.endswith(_SUFFIXES):
            yield name, each.read_bytes()
        elif each.is_dir() and each.name != "target":
            yield from _below(each, f"{name}/")


def _additions(language: Language, typed: str) -> tuple[Addition, ...]:
    did = Addition(place="your .did file", text=f"the types and methods of {typed}/backup.did")
    if language is Language.MOTOKO:
        return (
            Addition(
                place="your actor's file, at the top (the path is relative to that file)",
                text=f'import Backup "{typed}/Backup";',
            ),
            Addition(
                place="the actor, below the functions that it names",
                text=(
                    "include Backup(func _ = false, "
                    '[{ name = "state"; dump; restore = ?restore }]);'
                ),
            ),
        )
    return (
        Addition(
            place="Cargo.toml (the path is relative to that file)",
            text=(
                f'[dependencies]\ncanister-backup-kit = {{ path = "{typed}" }}\n\n'
                "[profile.release.package.sha2]\nopt-level = 3"
            ),
        ),
        Addition(
            place="src/lib.rs",
            text=(
                "canister_backup_kit::endpoints!"
                "(canister_backup_kit::Backup::new().stable_memory());"
            ),
        ),
        Addition(
            place="your pre_upgrade hook, first of all",
            text="canister_backup_kit::pre_upgrade();",
        ),
        did,
    )
