"""What the wire needs of an identity; `identity.py` reads the forms in which users keep them."""

from typing import Protocol

from dfx_backup.ic.principal import Principal


class Identity(Protocol):
    """Signs requests as one principal."""

    @property
    def principal(self) -> Principal:
        """The sender of everything that this identity signs."""

    @property
    def public_key_der(self) -> bytes | None:
        """The public key as DER SubjectPublicKeyInfo, or None for the anonymous identity."""

    def sign(self, message: bytes) -> bytes | None:
        """Sign a message: 64 bytes, Ed25519, or r and s of ECDSA over SHA-256 with the low s.

        Returns:
            The signature, or None for the anonymous identity.
        """
