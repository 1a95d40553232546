"""dfx's password-protected identity file `identity.pem.encrypted`: Argon2id and AES-256-GCM."""

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from dfx_backup.errors import ProjectError, UnreadableIdentityError, WrongKeyError

_ITERATIONS: Final = 3
_MEMORY_KIB: Final = 64_000
_LANES: Final = 1
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SALT = re.compile(r"[A-Za-z0-9+/]{11,64}")


def derive_key(password: str, pw_salt: str, *, source: str) -> bytes:
    """Make the file's key from the password: Argon2id version 0x13, 64000 KiB, 3 passes, 1 lane.

    Args:
        password: as the user typed it.
        pw_salt: the text in identity.json. dfx means it as hexadecimal, but its hashing library
            reads it as base64 without padding: 64 digits make 48 bytes of salt.
        source: names the identity in messages.

    Raises:
        ProjectError: the salt is none.
        UnreadableIdentityError: the installed `cryptography` lacks Argon2id.
    """
    if not _SALT.fullmatch(pw_salt):
        raise ProjectError(f"{source} can't be read: its pw_salt is not a salt")
    try:
        salt = base64.b64decode(pw_salt + "=" * (-len(pw_salt) % 4))
    except binascii.Error:
        raise ProjectError(f"{source} can't be read: its pw_salt is not a salt") from None
    try:
        kdf = Argon2id(
            salt=salt,
            length=_KEY_BYTES,
            iterations=_ITERATIONS,
            lanes=_LANES,
            memory_cost=_MEMORY_KIB,
        )
    except UnsupportedAlgorithm:
        raise UnreadableIdentityError(
            f"{source} can't be opened: the installed cryptography package has no Argon2id",
            hint="Install cryptography from a wheel, or let dfx open the identity: --driver dfx.",
        ) from None
    return kdf.derive(password.encode("utf-8", "surrogatepass"))


def open_sealed(
    data: bytes, *, password: str, pw_salt: str, file_nonce: bytes, source: str
) -> bytes:
    """Decrypt `identity.pem.encrypted` to the PEM in it.

    Args:
        data: ciphertext followed by the 16-byte tag.
        password: the identity's password.
        pw_salt: from identity.json, see `derive_key`.
        file_nonce: 12 bytes, from identity.json.
        source: names the identity in messages.

    Raises:
        WrongKeyError: the password is wrong, or the file was changed: its tag can't tell which.
        ProjectError: nonce, salt or file have impossible sizes.
    """
    if len(file_nonce) != _NONCE_BYTES:
        raise ProjectError(f"{source} can't be read: its file_nonce is not {_NONCE_BYTES} bytes")
    if len(data) < _TAG_BYTES:
        raise ProjectError(f"{source} can't be read: its encrypted file is cut off")
    key = derive_key(password, pw_salt, source=source)
    try:
        return AESGCM(key).decrypt(file_nonce, data, None)
    except InvalidTag:
        raise WrongKeyError(
            f"the password does not open {source}",
            hint="Check the password, or the file that --identity-password-file names.",
        ) from None
