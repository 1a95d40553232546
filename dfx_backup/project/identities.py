"""Finding identities of dfx and icp-cli, without ever making one."""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError
from dfx_backup.ic.principal import Principal, PrincipalError
from dfx_backup.model import Places
from dfx_backup.project.document import Node, folder_name, is_file, printable, read_json

ANONYMOUS_NAME: Final = "anonymous"

_DFX_DEFAULT: Final = "default"
_NAME = re.compile(r"[A-Za-z0-9.\-_@]+")
_RESERVED: Final = ("___temp___", "___s_temp___")
_NONCE_BYTES: Final = 12
_DFX_FILES: Final = ("identity.json", "identity.pem", "identity.pem.encrypted")


class IdentityTool(enum.StrEnum):
    """The program that keeps an identity."""

    DFX = "dfx"
    ICP = "icp"


class Storage(enum.StrEnum):
    """How an identity's key is kept."""

    ANONYMOUS = "anonymous"
    PLAINTEXT = "plaintext"
    SEALED = "encrypted by dfx"
    PBES2 = "encrypted PKCS#8"
    KEYRING = "keyring"
    HSM = "hardware key"
    DELEGATED = "delegation of another key"


NEEDS_PASSWORD: Final = frozenset({Storage.SEALED, Storage.PBES2})
"""Storages that a password opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRef:
    """An identity that exists. Nothing of its key was read yet.

    Attributes:
        name: its name.
        tool: whose it is.
        storage: how its key is kept.
        file: the file that holds the key, or None when no file does.
        pw_salt: salt of dfx's encryption, text as in identity.json.
        file_nonce: nonce of dfx's encryption, 12 bytes.
        principal: what the tool noted down as its principal, or None; not proven yet.
    """

    name: str
    tool: IdentityTool
    storage: Storage
    file: Path | None = None
    pw_salt: str = ""
    file_nonce: bytes = b""
    principal: Principal | None = None

    @property
    def needs_password(self) -> bool:
        """A password opens it."""
        return self.storage in NEEDS_PASSWORD

    def __str__(self) -> str:
        return f"identity {self.name!r} of {self.tool}"


def find_identity(
    name: str | None, *, places: Places, kind: IdentityTool = IdentityTool.DFX
) -> IdentityRef:
    """Find an identity.

    Args:
        name: what `--identity` or DFX_IDENTITY says, or None for the tool's default.
        places: the user's directories.
        kind: whose identities are meant.

    Raises:
        ProjectError: there is none of that name, the name is none, or a file is bad. The message
            says where it was looked for, the hint what there is.
    """
    if kind is IdentityTool.ICP:
        return _find_icp(name, Path(places.icp_home) / "identity")
    return _find_dfx(name, Path(places.dfx_config))


def list_identities(*, places: Places, kind: IdentityTool = IdentityTool.DFX) -> tuple[str, ...]:
    """Names of the identities that exist, sorted, `anonymous` included.

    Raises:
        ProjectError: the list can't be read.
    """
    if kind is IdentityTool.ICP:
        return _icp_names(_icp_list(Path(places.icp_home) / "identity"))
    return _dfx_names(Path(places.dfx_config) / "identity")


def _find_dfx(name: str | None, config: Path) -> IdentityRef:
    chosen = _checked(name if name is not None else _dfx_default(config))
    if chosen == ANONYMOUS_NAME:
        return _anonymous(IdentityTool.DFX)
    folder = config / "identity" / chosen
    if not any(is_file(folder / file) for file in _DFX_FILES):
        raise _missing(IdentityTool.DFX, chosen, folder, _dfx_names(config / "identity"))
    top = read_json(folder / "identity.json")
    if top is None:
        return _dfx_pem(chosen, folder)
    if top.at("hsm").value is not None:
        return IdentityRef(name=chosen, tool=IdentityTool.DFX, storage=Storage.HSM)
    if top.at("keyring_identity_suffix").optional_text() is not None:
        return IdentityRef(name=chosen, tool=IdentityTool.DFX, storage=Storage.KEYRING)
    encryption = top.at("encryption")
    if encryption.value is None:
        return _dfx_pem(chosen, folder)
    return IdentityRef(
        name=chosen,
        tool=IdentityTool.DFX,
        storage=Storage.SEALED,
        file=_there(folder / "identity.pem.encrypted", chosen),
        pw_salt=encryption.at("pw_salt").text(),
        file_nonce=_nonce(encryption.at("file_nonce")),
    )


def _dfx_default(config: Path) -> str:
    """The default's name; dfx begins with `default`, and so without its file."""
    top = read_json(config / "identity.json")
    return _DFX_DEFAULT if top is None else top.at("default").text()


def _dfx_names(folder: Path) -> tuple[str, ...]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        entries = []
    names = {
        entry.name
        for entry in entries
        if _NAME.fullmatch(entry.name)
        and not entry.name.startswith(_RESERVED)
        and any(is_file(entry / file) for file in _DFX_FILES)
    }
    return tuple(sorted(names | {ANONYMOUS_NAME}))


def _dfx_pem(name: str, folder: Path) -> IdentityRef:
    return IdentityRef(
        name=name,
        tool=IdentityTool.DFX,
        storage=Storage.PLAINTEXT,
        file=_there(folder / "identity.pem", name),
    )


def _nonce(node: Node) -> bytes:
    numbers = [entry.number() for entry in node.nodes()]
    if len(numbers) != _NONCE_BYTES or not all(0 <= number < 256 for number in numbers):
        raise node.error(f"must be {_NONCE_BYTES} bytes as numbers")
    return bytes(numbers)


def _find_icp(name: str | None, folder: Path) -> IdentityRef:
    chosen = name if name is not None else _icp_default(folder)
    folder_name(chosen, "an identity")
    if chosen == ANONYMOUS_NAME:
        return _anonymous(IdentityTool.ICP)
    top = _icp_list(folder)
    names = _icp_names(top)
    if top is None or chosen not in names:
        raise _missing(IdentityTool.ICP, chosen, folder / "identity_list.json", names)
    return _icp_identity(chosen, top.at("identities").at(chosen), folder)


def _icp_identity(name: str, node: Node, folder: Path) -> IdentityRef:
    kind = node.at("kind").text()
    storage, file = _icp_storage(kind, node), None
    if storage is Storage.ANONYMOUS:
        return _anonymous(IdentityTool.ICP, name)
    if storage in (Storage.PLAINTEXT, Storage.PBES2):
        file = _there(folder / "keys" / f"{name}.pem", name)
    return IdentityRef(
        name=name,
        tool=IdentityTool.ICP,
        storage=storage,
        file=file,
        principal=_principal(node.at("principal")),
    )


def _icp_storage(kind: str, node: Node) -> Storage:
    if kind == "pem":
        form = node.at("format").text()
        if form == "plaintext":
            return Storage.PLAINTEXT
        if form == "pbes2":
            return Storage.PBES2
        raise node.at("format").error(f"must be plaintext or pbes2, not {form!r}")
    known = {
        "anonymous": Storage.ANONYMOUS,
        "keyring": Storage.KEYRING,
        "hsm": Storage.HSM,
    }
    # Kinds that later versions of icp-cli may add have no key of their own that could be read.
    return known.get(kind, Storage.DELEGATED)


def _icp_default(folder: Path) -> str:
    top = read_json(folder / "identity_defaults.json")
    if top is None:
        return ANONYMOUS_NAME
    _version_1(top)
    return top.at("default").text()


def _icp_list(folder: Path) -> Node | None:
    top = read_json(folder / "identity_list.json")
    if top is not None:
        _version_1(top)
    return top


def _version_1(top: Node) -> None:
    if top.at("v").value != 1:
        raise top.at("v").error("must be 1: another version of this file is not known")


def _icp_names(top: Node | None) -> tuple[str, ...]:
    names = {name for name, _node in top.at("identities").items()} if top is not None else set()
    return tuple(sorted(names | {ANONYMOUS_NAME}))


def _principal(node: Node) -> Principal | None:
    text = node.optional_text()
    if text is None:
        return None
    try:
        return Principal.from_text(text)
    except PrincipalError as error:
        raise node.error(f"must be a principal: {error.message}") from None


def _anonymous(tool: IdentityTool, name: str = ANONYMOUS_NAME) -> IdentityRef:
    return IdentityRef(name=name, tool=tool, storage=Storage.ANONYMOUS)


def _checked(name: str) -> str:
    """A name that dfx would take, and that leads nowhere else as a folder."""
    if not _NAME.fullmatch(name) or name in (".", "..") or name.startswith(_RESERVED):
        raise ProjectError(
            f"{name!r} can't be the name of an identity",
            hint="Names have letters, digits and the characters . - _ @.",
        )
    return name


def _there(file: Path, name: str) -> Path:
    if not is_file(file):
        raise ProjectError(f"identity {name!r} has no key: {file} is missing")
    return file


def _missing(tool: IdentityTool, name: str, place: Path, names: Iterable[str]) -> ProjectError:
    known = ", ".join(printable(other) for other in names)
    return ProjectError(
        f"{tool} has no identity {name!r}: looked for it at {place}",
        hint=f"Identities that exist: {known}. Identities are made with `{tool} identity new`.",
    )
