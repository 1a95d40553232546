"""`init`: make a repository, and write down for the project where it is and how to get back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.drivers.environment import child_environment, locate
from dfx_backup.drivers.process import run as run_program
from dfx_backup.errors import ProjectError, RefusedError
from dfx_backup.files import replace_file
from dfx_backup.operations.repository_access import Access, Location
from dfx_backup.operations.runbook import Place, runbook
from dfx_backup.project.settings import FILE_NAME

RUNBOOK_NAME = "RECOVERY.md"
_WIPED = (".dfx", ".icp")
"""Folders that dfx and icp clear when a local network starts anew."""
_GIT_TIMEOUT_S = 10.0
_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What is made, and what is written into the project.

    Attributes:
        project: the project's folder, or that of the user without a project.
        canisters: names of its canisters.
        places: where they are known to live, for the runbook.
        named: how dfx-backup.toml names the repository already, or None.
        blob_size: bytes of the pieces into which files are cut.
        environment: environment variables, for git.
        program: how the user calls this program.
    """

    project: Path
    canisters: tuple[str, ...]
    places: tuple[Place, ...]
    named: str | None
    blob_size: int
    environment: Mapping[str, str]
    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    """What was made.

    Attributes:
        location: where the repository is.
        repository_id: its id, hexadecimal.
        key_id: id of the key that the password opens, hexadecimal.
        blob_size: bytes of the pieces into which files are cut.
        written: files that were written.
        left: files that were there and were left as they are.
        warnings: full sentences.
    """

    location: Location
    repository_id: str
    key_id: str
    blob_size: int
    written: tuple[Path, ...]
    left: tuple[Path, ...]
    warnings: tuple[str, ...]


def init(access: Access, options: InitOptions) -> InitResult:
    """Make the repository, then the two files; a file that is there is left as it is.

    Raises:
        RefusedError: the place is one where a repository would be lost or published, or there is a
            repository already.
        WrongKeyError: no password was given.
        StoreError, ProjectError: something can't be written.
    """
    check_place(access.location, environment=options.environment)
    repository = access.init(blob_size=options.blob_size)
    settings, book = options.project / FILE_NAME, options.project / RUNBOOK_NAME
    written, left = [], []
    for file, content in (
        (settings, _settings(access.location, options)),
        (book, runbook(access.location, options.places, program=options.program)),
    ):
        if file.exists() or file.is_symlink():
            left.append(file)
        else:
            _write(file, content)
            written.append(file)
    return InitResult(
        location=access.location,
        repository_id=repository.id,
        key_id=repository.keys.current,
        blob_size=options.blob_size,
        written=tuple(written),
        left=tuple(left),
        warnings=_warnings(access.location, options, settings in left),
    )


def check_place(location: Location, *, environment: Mapping[str, str]) -> None:
    """Refuse a folder that would be committed by git, or be cleared by dfx or icp.

    Raises:
        RefusedError: it is one.
    """
    folder = location.folder
    if folder is None:
        return
    wiped = next((each for each in _WIPED if each in folder.parts), None)
    if wiped is not None:
        raise RefusedError(
            f"{folder} lies in a folder `{wiped}`, which is cleared when a local network starts"
            " anew",
            hint="Choose a folder outside.",
        )
    tree = next((each for each in folder.parents if (each / ".git").exists()), None)
    if tree is None and (folder / ".git").exists():
        tree = folder
    if tree is not None and not _ignored(folder, tree, environment):
        raise RefusedError(
            f"{folder} lies in the work tree {tree}, and git does not ignore it: it could be"
            " committed, or lost with the checkout",
            hint="Choose a folder outside, best on another disk, or add it to .gitignore.",
        )


def _ignored(folder: Path, tree: Path, environment: Mapping[str, str]) -> bool:
    """Whether git leaves everything in the folder alone; without git nobody can tell."""
    git = locate("git", path=environment.get("PATH", ""))
    if git is None:
        return False
    inside = (folder / "config").relative_to(tree)
    done = run_program(
        [git, "check-ignore", "--quiet", "--", str(inside)],
        env=child_environment(environment),
        timeout_s=_GIT_TIMEOUT_S,
        cwd=str(tree),
    )
    return done.code == 0


def _warnings(location: Location, options: InitOptions, kept: bool) -> tuple[str, ...]:  # noqa: FBT001 - internal
    lost = (
        "Without the password nothing in the repository can be read, by nobody: keep a copy of it"
        " where neither this machine nor the canisters are."
    )
    found = [lost]
    if kept and options.named is None:
        found.append(
            f'{FILE_NAME} does not name the repository: add `repository = "{location}"` at its'
            " top, or give `--repo` each time."
        )
    elif kept:
        found.append(f"{FILE_NAME} names `{options.named}` as the repository, and was left so.")
    return tuple(found)


def _write(file: Path, content: str) -> None:
    try:
        replace_file(file, content.encode())
        file.chmod(_FILE_MODE)
    except OSError as error:
        raise ProjectError(f"{file} can't be written: {error.strerror or error}") from error


def _settings(location: Location, options: InitOptions) -> str:
    """The text of dfx-backup.toml; what is only an example is commented out."""
    first = options.canisters[0] if options.canisters else "NAME"
    sections = [f"[canister.{_key(name)}]\n" for name in options.canisters]
    return _SETTINGS.format(
        repository=_text(_relative(location, options.project)),
        canisters="\n".join(sections) or "# [canister.NAME]\n",
        names=", ".join(_text(name) for name in options.canisters[:2]) or _text(first),
    )


def _relative(location: Location, project: Path) -> str:
    """The location as dfx-backup.toml has it: relative only to a folder that holds it."""
    if location.folder is not None and location.folder.is_relative_to(project.resolve()):
        return str(location.folder.relative_to(project.resolve()))
    return location.text


def _key(name: str) -> str:
    plain = name.isascii() and all(char.isalnum() or char in "-_" for char in name)
    return name if plain and name else _text(name)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def canister_names(found: Sequence[Place]) -> tuple[str, ...]:
    """The names of all canisters, each once."""
    return tuple(dict.fromkeys(name for place in found for name, _ in place.canisters))


_SETTINGS = """\
# What this project settles for all commands of dfx-backup. Options and environment variables come
# first. This file holds no secrets and belongs into version control.

# Where the backups are kept: a folder, relative to this file, or s3:https://host/bucket/prefix.
repository = {repository}

# The canisters that `create` takes when it is given no names. Keys, both optional:
#   keep_on_chain = 1       how many of our snapshots stay on the subnet, for a fast rollback
#   tags = ["nightly"]      words on every backup of it
{canisters}
# Canisters that are stopped, taken and restored together.
# [set.all]
# canisters = [{names}]
# stop_order = [{names}]    # they start in reverse
# timeout = "60s"           # for each to stop

# What `forget` keeps of each canister; `prune` then frees the space.
[retention]
keep_last = 3
keep_daily = 7
keep_weekly = 4
keep_monthly = 12
# keep_tag = ["release"]

# Networks that dfx.json and icp.yaml do not know.
# [network.stage]
# url = "https://stage.example"
# root_key = "3081..."      # DER in hexadecimal; without it mainnet's key is trusted
"""
