"""`dfx extension install URL`: fetches a manifest, chooses a version, unpacks an archive."""

import io
import platform
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tests.fakes.dfx.manifest import (
    FilesError,
    Manifest,
    ManifestError,
    highest_version,
    load,
    parse,
)
from tests.fakes.dfx.shell import DfxError, Shell

_TEMPLATE = (
    "https://github.com/dfinity/dfx-extensions/releases/download/"
    "{{tag}}/{{basename}}.{{archive-format}}"
)


def install(
    shell: Shell,
    name: str,
    *,
    builtins: tuple[str, ...],
    install_as: str | None,
    version: str | None,
) -> None:
    """Install an extension from the address of its manifest.

    Args:
        shell: this run.
        name: the address; anything else would be looked up in dfx's catalogue, which is empty here.
        builtins: dfx's own commands, whose names an extension can't have.
        install_as: another name for it.
        version: take this one, whatever dfx it wants.

    Raises:
        DfxError: it can't be installed.
    """
    if (install_as or name) in builtins:
        raise DfxError(
            f"Extension '{name}' cannot be installed because it conflicts with an existing "
            "command. Consider using '--install-as' flag to install this extension under different "
            "name."
        )
    if not urlsplit(name).scheme:
        raise DfxError(f"extension '{name}' not found in catalog")
    told = _read(_fetch(name))
    folder = shell.cache / "extensions" / (install_as or told.name)
    also = f", and is available as '{install_as}'" if install_as else ""
    if folder.exists():
        _mind_the_present_one(shell, told.name, folder, version, also)
        return
    chosen = version or _choose(shell, name)
    template = told.download_url_template or _TEMPLATE
    for key, value in (
        ("tag", f"{told.name}-v{chosen}"),
        ("basename", f"{told.name}-{_machine()}"),
        ("archive-format", "tar.gz"),
    ):
        template = template.replace(f"{{{{{key}}}}}", value)
    _unpack(_fetch(template), template, folder)
    _finish(told, folder)
    shell.info(f"Extension '{told.name}' version {chosen} installed successfully{also}")


def _mind_the_present_one(
    shell: Shell, name: str, folder: Path, version: str | None, also: str
) -> None:
    present = _load(folder).version
    if version is None or version == present:
        shell.warn(f"Extension '{name}' version {present} is already installed{also}")
        return
    sys.stderr.write(
        f"ERROR: Extension '{name}' is already installed at version {present}\n"
        f'ERROR: To upgrade, run "dfx extension uninstall {name}" and then re-run the dfx '
        "extension install command\n"
    )
    raise DfxError("Different version already installed")


def _choose(shell: Shell, address: str) -> str:
    text = _fetch(urljoin(address, "dependencies.json")).decode()
    try:
        found = highest_version(text, shell.version)
    except ManifestError as err:
        raise DfxError(str(err)) from err
    if found is None:
        raise DfxError("No compatible version found.")
    return found


def _fetch(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as err:
        kind = "client" if err.code < 500 else "server"
        status = f"{err.code} {err.reason}"
        raise DfxError(f"HTTP status {kind} error ({status}) for url ({address})") from err
    except urllib.error.URLError as err:
        raise DfxError(f"error sending request for url ({address})", str(err.reason)) from err
    return content


def _read(content: bytes) -> Manifest:
    try:
        return parse(content.decode())
    except ManifestError as err:
        raise DfxError("error decoding response body", str(err)) from err


def _load(folder: Path) -> Manifest:
    try:
        return load(folder)
    except FilesError as err:
        raise DfxError(*err.links) from err


def _machine() -> str:
    systems = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin"}
    arch = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    return f"{arch}-{systems[sys.platform]}"


def _unpack(content: bytes, address: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp", dir=folder.parent) as place:
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
                archive.extractall(place, filter="tar")
        except (tarfile.TarError, OSError) as err:
            text = f"Cannot decompress extension archive (downloaded from: '{address}')"
            raise DfxError(text, str(err)) from err
        top = next(Path(place).iterdir(), None)  # whichever the file system tells first
        if top is None:
            raise DfxError("No top-level directory found in archive")
        shutil.move(top, folder)


def _finish(told: Manifest, folder: Path) -> None:
    """The program becomes executable, but only beside a manifest that has commands."""
    if not _load(folder).subcommands:
        return
    try:
        program = (folder / told.name).rename(folder / folder.name)
        program.chmod(0o500)
    except OSError as err:
        raise DfxError(f"Failed to set permissions of {folder / folder.name}", str(err)) from err
