"""Identities on disk, and the passphrase prompt that needs a terminal."""

import base64
import json
import os
import sys
import termios
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from icp_identity import Identity

from tests.fakes.dfx.shell import DfxError, Shell

PROMPT = "Please enter the passphrase for your identity: "


class Identities:
    """The folder `identity` of dfx's configuration."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._folder = shell.config / "identity"

    def selected(self) -> str:
        """--identity, DFX_IDENTITY, or the default one, which is created when there is none."""
        default = self._shell.config / "identity.json"
        if not default.is_file():
            self._create_default(default)
        name = self._shell.identity
        if name is None:
            return str(json.loads(default.read_text())["default"])
        if name != "anonymous" and not self._exists(name):
            path = self._folder / name / "identity.json"
            raise DfxError(
                "The specified identity must exist", f"Identity {name} does not exist at '{path}'."
            )
        return name

    def names(self) -> list[str]:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted({"anonymous", *(each.name for each in found if self._exists(each.name))})

    def is_plaintext(self, name: str) -> bool:
        about = self._about(name)
        return name != "anonymous" and not any(
            about.get(key) for key in ("hsm", "encryption", "keyring_identity_suffix")
        )

    def load(self, name: str) -> Identity:
        """Read the key, with a prompt when it is encrypted."""
        if name == "anonymous":
            return Identity(anonymous=True)
        about = self._about(name)
        if about.get("encryption"):
            return _identity(self._decrypt(name, about["encryption"]))
        if about.get("keyring_identity_suffix"):
            return _identity(self._from_keyring(name))
        return _identity((self._folder / name / "identity.pem").read_bytes())

    def _exists(self, name: str) -> bool:
        files = ("identity.json", "identity.pem", "identity.pem.encrypted")
        return any((self._folder / name / file).is_file() for file in files)

    def _about(self, name: str) -> dict[str, Any]:
        path = self._folder / name / "identity.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def _decrypt(self, name: str, encryption: dict[str, Any]) -> bytes:
        path = self._folder / name / "identity.pem.encrypted"
        password = _ask()
        key = Argon2id(
            salt=base64.b64decode(encryption["pw_salt"]),
            length=32,
            iterations=3,
            lanes=1,
            memory_cost=64000,
        ).derive(password.encode())
        try:
            pem = AESGCM(key).decrypt(bytes(encryption["file_nonce"]), path.read_bytes(), None)
        except InvalidTag as err:
            raise DfxError(
                f"Failed to load identity {name}",
                f"Failed to decrypt PEM file at {path}",
                "Failed to decrypt content",
                "aead::Error",
            ) from err
        sys.stderr.write(f"\x1b[1A\r\x1b[2K{PROMPT}[hidden]\nDecryption complete.\n")
        return pem

    def _from_keyring(self, name: str) -> bytes:
        mock = self._shell.environ.get("DFX_CI_MOCK_KEYRING_LOCATION")
        if not mock:
            raise DfxError("Failed to load PEM from keyring", "Keyring is not available")
        store = json.loads(Path(mock).read_text())["kv_store"]
        return bytes.fromhex(store[f"internet_computer_identity_{name}"])

    def _create_default(self, default: Path) -> None:
        shell = self._shell
        folder = self._folder / "default"
        if not self._exists("default"):
            shell.info('Creating the "default" identity.')
            shell.warn('The "default" identity is not stored securely. Do not use it.')
            folder.mkdir(parents=True)
            key = ec.generate_private_key(ec.SECP256K1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            (folder / "identity.pem").write_bytes(pem.replace(b"\n", b"\r\n"))
            (folder / "identity.pem").chmod(0o400)
            shell.info("Your seed phrase for identity 'default': twelve words that nobody may see")
            shell.info('Created the "default" identity.')
        default.write_text(json.dumps({"default": "default"}, indent=2))


def _ask() -> str:
    """As dialoguer does: the prompt on standard error, which must be a terminal."""
    failure = DfxError(
        "Failed to load identity", "Failed to read user input", "IO error: not a terminal"
    )
    if not sys.stderr.isatty():
        raise failure
    number = 0 if sys.stdin.isatty() else os.open("/dev/tty", os.O_RDWR)
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    before = termios.tcgetattr(number)
    quiet = termios.tcgetattr(number)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(number, termios.TCSAFLUSH, quiet)  # what was typed too early is lost
    try:
        line = b""
        while not line.endswith(b"\n"):
            more = os.read(number, 1)
            if not more:
                raise failure
            line += more
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
    sys.stderr.write("\n")
    return line.decode().rstrip("\r\n")


def _identity(pem: bytes) -> Identity:
    blocks = pem.replace(b"\r\n", b"\n").partition(b"-----END EC PARAMETERS-----\n")
    key = load_pem_private_key(blocks[2] or blocks[0], None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Identity(privkey=key.private_bytes_raw().hex(), type="ed25519")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    if not isinstance(key.curve, ec.SECP256K1):
        raise DfxError("Failed to load PEM", "Unsupported curve")
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    return Identity(privkey=secret.hex(), type="secp256k1")
