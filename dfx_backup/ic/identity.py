"""Identities: who signs a request, and how (interface specification, "Signatures").

No key ever shows in a representation, a message or a traceback: identities show their principal.
"""

from typing import Final, final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dfx_backup.ic.keyfile import PrivateKey, load_private_key
from dfx_backup.ic.principal import ANONYMOUS, Principal
from dfx_backup.ic.signer import Identity

__all__ = [
    "AnonymousIdentity",
    "EcdsaIdentity",
    "Ed25519Identity",
    "Identity",
    "from_private_key",
    "load_pem",
]

_ORDERS: Final = {
    "secp256k1": 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141,
    "secp256r1": 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
}


@final
class AnonymousIdentity:
    """Sends without a signature, as principal `2vxsx-fae`."""

    __slots__ = ()

    @property
    def principal(self) -> Principal:
        """The anonymous principal."""
        return ANONYMOUS

    @property
    def public_key_der(self) -> None:
        """None: there is no key."""
        return

    def sign(self, message: bytes) -> None:  # noqa: ARG002 - the protocol's name
        """None: nothing is signed."""
        return

    def __repr__(self) -> str:
        return f"AnonymousIdentity({self.principal})"


@final
class Ed25519Identity:
    """Signs the message itself with Ed25519 (RFC 8032)."""

    __slots__ = ("_der", "_key", "_principal")

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self._der = _public_der(key)
        self._principal = Principal.self_authenticating(self._der)

    @property
    def principal(self) -> Principal:
        """The principal of the key's holder."""
        return self._principal

    @property
    def public_key_der(self) -> bytes:
        """The public key as SubjectPublicKeyInfo, 44 bytes."""
        return self._der

    def sign(self, message: bytes) -> bytes:
        """Sign; returns 64 bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"Ed25519Identity({self._principal})"


@final
class EcdsaIdentity:
    """Signs the message's SHA-256 with ECDSA on secp256k1 or P-256."""

    __slots__ = ("_der", "_key", "_order", "_principal")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._order = _ORDERS[key.curve.name]
        self._der = _public_der(key)
        self._principal = Principal.self_authenticating(self._der)

    @property
    def principal(self) -> Principal:
        """The principal of the key's holder."""
        return self._principal

    @property
    def public_key_der(self) -> bytes:
        """The public key as SubjectPublicKeyInfo with an uncompressed point."""
        return self._der

    def sign(self, message: bytes) -> bytes:
        """Sign; returns r and s, 32 bytes each, with the lower of the two possible values of s."""
        signature = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        s = min(s, self._order - s)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def __repr__(self) -> str:
        return f"EcdsaIdentity({self._principal})"


def from_private_key(key: PrivateKey) -> Ed25519Identity | EcdsaIdentity:
    """Make the identity that signs with this key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Ed25519Identity(key)
    return EcdsaIdentity(key)


def load_pem(data: bytes, *, password: str | None = None, source: str) -> Identity:
    """Read an identity from a PEM file as dfx, icp-cli, quill and OpenSSL write them.

    Args:
        data: the file: SEC1 or PKCS#8, plain or encrypted with PBES2; Ed25519, secp256k1 or P-256.
        password: opens an encrypted key.
        source: names the file or identity in messages.

    Raises:
        ProjectError: there is no usable key.
        WrongKeyError: the key is encrypted and the password is missing or wrong.
    """
    return from_private_key(load_private_key(data, password=password, source=source))


def _public_der(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
