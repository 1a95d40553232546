"""Opening identities: from the place where dfx or icp-cli keeps a key to something that signs."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError, UnreadableIdentityError, WrongKeyError
from dfx_backup.ic.dfx_sealed import open_sealed
from dfx_backup.ic.identity import AnonymousIdentity, load_pem
from dfx_backup.ic.signer import Identity
from dfx_backup.project.document import read_bytes, read_json, read_text
from dfx_backup.project.identities import IdentityRef, IdentityTool, Storage

_DFX_SERVICE: Final = "internet_computer_identities"
_DFX_USER: Final = "internet_computer_identity_{}"
_ICP_SERVICE: Final = "icp-cli"

Password = Callable[[], str]
"""Asks for a password, or reads it from a file; called only when one is needed."""


def load_identity(
    ref: IdentityRef, *, password: Password | None = None, mock_keyring: str | None = None
) -> Identity:
    """Open an identity's key.

    Args:
        ref: the identity, as `find_identity` returned it.
        password: gives its password; called once, and only for an encrypted one.
        mock_keyring: stands in for the system's keyring in tests. For dfx the JSON file that
            DFX_CI_MOCK_KEYRING_LOCATION names (an empty text means that there is no keyring), for
            icp-cli the folder that ICP_CLI_KEYRING_MOCK_DIR names.

    Raises:
        WrongKeyError: the password is missing or wrong.
        UnreadableIdentityError: the key is in hardware, in a keyring that can't be read, or
            belongs to a delegation; the hint says what works all the same.
        ProjectError: the key's file is damaged, or not the key that the tool noted down.
    """
    if ref.storage is Storage.ANONYMOUS:
        return AnonymousIdentity()
    if ref.storage in (Storage.HSM, Storage.DELEGATED):
        raise _unreadable(ref, f"it is a {ref.storage}")
    identity = _open(ref, password, mock_keyring)
    if ref.principal is not None and identity.principal != ref.principal:
        raise ProjectError(
            f"{ref} is not what {ref.tool} noted down: its key is that of {identity.principal}, "
            f"not of {ref.principal}"
        )
    return identity


def _open(ref: IdentityRef, password: Password | None, mock_keyring: str | None) -> Identity:
    if ref.storage is Storage.KEYRING:
        return load_pem(_keyring_pem(ref, mock_keyring), source=str(ref))
    if ref.file is None:
        raise ProjectError(f"{ref} has no file")
    data = read_bytes(ref.file)
    if data is None:
        raise ProjectError(f"{ref} has no key: {ref.file} is missing")
    source = f"{ref} ({ref.file})"
    if not ref.needs_password:
        return load_pem(data, source=source)
    if password is None:
        raise WrongKeyError(
            f"{ref} is encrypted, and no password was given",
            hint="Give the password with --identity-password-file.",
        )
    if ref.storage is Storage.PBES2:
        return load_pem(data, password=password(), source=source)
    pem = open_sealed(
        data,
        password=password(),
        pw_salt=ref.pw_salt,
        file_nonce=ref.file_nonce,
        source=source,
    )
    return load_pem(pem, source=source)


def _keyring_pem(ref: IdentityRef, mock_keyring: str | None) -> bytes:
    if ref.tool is IdentityTool.ICP:
        user, service = ref.name, _ICP_SERVICE
    else:
        user, service = _DFX_USER.format(ref.name), _DFX_SERVICE
    if mock_keyring is None:
        secret = _system_keyring(ref, service, user)
    elif ref.tool is IdentityTool.ICP:
        secret = read_text(Path(mock_keyring) / f"default_{service}_{user}.mockcred")
    else:
        secret = _dfx_mock(ref, mock_keyring, user)
    if secret is None:
        raise _unreadable(ref, f"the keyring has no entry {user!r} of {service!r}")
    if ref.tool is IdentityTool.ICP:
        return secret.encode("utf-8", "surrogatepass")
    try:
        return bytes.fromhex(secret)
    except ValueError:
        raise ProjectError(f"{ref} is damaged: its keyring entry is not hexadecimal") from None


def _dfx_mock(ref: IdentityRef, location: str, user: str) -> str | None:
    if not location:
        raise _unreadable(ref, "there is no keyring here")
    top = read_json(Path(location))
    return None if top is None else top.at("kv_store").at(user).optional_text()


def _system_keyring(ref: IdentityRef, service: str, user: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to import
        from keyring.errors import KeyringError  # noqa: PLC0415 - the same
    except ImportError:
        raise _unreadable(
            ref,
            "its key is in the system's keyring, which the package keyring reads, and that is not "
            "installed",
            "Install it with `pip install 'dfx-backup[keyring]'`",
        ) from None
    try:
        return keyring.get_password(service, user)
    except (KeyringError, OSError, RuntimeError) as error:
        # Only the kind: a backend's text is not ours to vouch for.
        raise _unreadable(
            ref,
            f"the system's keyring can't be read ({type(error).__name__})",
            "Unlock the keyring",
        ) from None


def _unreadable(ref: IdentityRef, why: str, remedy: str | None = None) -> UnreadableIdentityError:
    still = f"--driver {ref.tool} works with it: {ref.tool} signs there itself"
    hint = f"{remedy}; otherwise {still}." if remedy else f"But {still}."
    return UnreadableIdentityError(f"{ref} can't be opened: {why}", hint=hint)
