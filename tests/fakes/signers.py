"""An identity with a fixed key, for tests of what is below the reading of identity files."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dfx_backup.ic.principal import ANONYMOUS, Principal


class Ed25519Signer:
    def __init__(self, seed: int = 3) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        raw = self._key.public_key().public_bytes_raw()
        self.public_key_der: bytes | None = bytes.fromhex("302a300506032b6570032100") + raw
        self.principal = Principal.self_authenticating(self.public_key_der)

    def sign(self, message: bytes) -> bytes | None:
        return self._key.sign(message)

    def check(self, signature: bytes, message: bytes) -> None:
        self._key.public_key().verify(signature, message)


class Nobody:
    principal = ANONYMOUS
    public_key_der: bytes | None = None

    def sign(self, _message: bytes) -> bytes | None:
        return None
