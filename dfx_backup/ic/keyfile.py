"""Private keys in PEM: SEC1, PKCS#8 and encrypted PKCS#8, of the three kinds that subnets accept.

`cryptography` refuses some containers that dfx and icp-cli write (Ed25519 with the public key
beside it, RFC 5958 and the older form with a wrong tag; SEC1 without its curve), so the containers
are taken apart here and only the bare numbers are given to it.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from dfx_backup.errors import ProjectError, WrongKeyError
from dfx_backup.ic import der, pbes2

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

_ED25519: Final = bytes.fromhex("2b6570")
_EC_PUBLIC_KEY: Final = bytes.fromhex("2a8648ce3d0201")
_CURVES: Final[dict[bytes, ec.EllipticCurve]] = {
    bytes.fromhex("2b8104000a"): ec.SECP256K1(),
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1(),
}

_MAX_FILE = 65_536
_SCALAR_BYTES = 32
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_PARAMETERS = b"EC PARAMETERS"
_PRIVATE = b"PRIVATE KEY"
_SEC1 = b"EC PRIVATE KEY"
_PKCS8 = b"PRIVATE KEY"
_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"

# Context tags of the optional fields of the two containers.
_FIELD_0 = 0xA0
_FIELD_1 = 0xA1
_FIELD_1_IMPLICIT = 0x81


class _UnsupportedError(Exception):
    """The container is sound, but what is in it can't sign for the Internet Computer."""


@dataclass(frozen=True, slots=True, repr=False)
class _Block:
    label: bytes
    content: bytes


def load_private_key(data: bytes, *, password: str | None, source: str) -> PrivateKey:
    """Read the one private key in a PEM file.

    Args:
        data: the file's bytes; lines may end in CRLF, and an EC PARAMETERS block may precede the
            key.
        password: opens an encrypted key; not used for a plain one.
        source: names the file or identity in messages.

    Raises:
        ProjectError: there is no key, or more than one, or of a kind that is not supported.
        WrongKeyError: the key is encrypted and the password is missing or wrong.
    """
    try:
        block, curve = _find_key(data)
        if block.label == _SEC1:
            return _from_sec1(block.content, curve)
        if block.label == _PKCS8:
            return _from_pkcs8(block.content)
        return _from_encrypted(block.content, password, source)
    except (_UnsupportedError, pbes2.UnsupportedCipherError) as error:
        raise ProjectError(
            f"{source} can't be used: {error}",
            hint="Ed25519, secp256k1 and P-256 keys in SEC1 or PKCS#8 are read.",
        ) from None
    except ValueError:
        # Neither the text of such an error nor its cause is passed on: they may quote the key.
        raise ProjectError(f"{source} is damaged, or is no private key in PEM form") from None


def _find_key(data: bytes) -> tuple[_Block, bytes | None]:
    """The private key's block, and the curve that an EC PARAMETERS block names."""
    if len(data) > _MAX_FILE:
        raise der.DerError("too large for a key")
    curve = None
    keys = []
    for label, body in _BLOCK.findall(data):
        if label == _PARAMETERS:
            curve = _read_curve(_decode(body))
        elif label.endswith(_PRIVATE):
            keys.append((label, body))
    if not keys:
        raise der.DerError("no private key")
    if len(keys) > 1:
        raise _UnsupportedError("it holds more than one private key")
    label, body = keys[0]
    if label not in (_SEC1, _PKCS8, _ENCRYPTED):
        raise _UnsupportedError(f"it holds a key in the form {label.decode('ascii')!r}")
    if b"Proc-Type:" in body:
        raise _UnsupportedError("it is encrypted in OpenSSL's old way; `openssl pkcs8` converts it")
    return _Block(label, _decode(body)), curve


def _decode(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise der.DerError("not base64") from None


def _read_curve(parameters: bytes) -> bytes:
    elements = der.read_elements(parameters)
    if len(elements) != 1 or elements[0].tag != der.OBJECT_IDENTIFIER:
        raise _UnsupportedError("its curve is not given by name")
    return elements[0].content


def _from_sec1(content: bytes, curve: bytes | None) -> ec.EllipticCurvePrivateKey:
    """ECPrivateKey of RFC 5915; the curve may stand inside, outside, or in both places."""
    version, secret, *rest = _at_least(der.read_sequence(content), 2)
    if der.read_integer(version) != 1:
        raise der.DerError("unknown version")
    public = None
    for field in rest:
        if field.tag == _FIELD_0:
            inner = _read_curve(field.content)
            if curve is not None and inner != curve:
                raise _UnsupportedError("it names two different curves")
            curve = inner
        elif field.tag == _FIELD_1:
            public = der.read_bit_string(*_exactly_one(field.content))
    if curve is None:
        raise _UnsupportedError("it does not name its curve")
    if curve not in _CURVES:
        raise _UnsupportedError("its curve is neither secp256k1 nor P-256")
    octets = secret.expect(der.OCTET_STRING)
    if len(octets) > _SCALAR_BYTES:
        raise der.DerError("too large for the curve")
    key = ec.derive_private_key(int.from_bytes(octets, "big"), _CURVES[curve])
    _check_point(key, public)
    return key


def _check_point(key: ec.EllipticCurvePrivateKey, public: bytes | None) -> None:
    if public is None:
        return
    uncompressed, compressed = (
        key.public_key().public_bytes(serialization.Encoding.X962, form)
        for form in (
            serialization.PublicFormat.UncompressedPoint,
            serialization.PublicFormat.CompressedPoint,
        )
    )
    if public not in (uncompressed, compressed):
        raise _UnsupportedError("the public key in it belongs to another private key")


def _from_pkcs8(content: bytes) -> PrivateKey:
    """PrivateKeyInfo of RFC 5208, or OneAsymmetricKey of RFC 5958 with its public key."""
    version, algorithm, secret, *rest = _at_least(der.read_sequence(content), 3)
    if der.read_integer(version) not in (0, 1):
        raise der.DerError("unknown version")
    kind, *parameters = _at_least(der.read_elements(algorithm.expect(der.SEQUENCE)), 1)
    inner = secret.expect(der.OCTET_STRING)
    identifier = kind.expect(der.OBJECT_IDENTIFIER)
    if identifier == _EC_PUBLIC_KEY:
        if len(parameters) != 1 or parameters[0].tag != der.OBJECT_IDENTIFIER:
            raise _UnsupportedError("its curve is not given by name")
        return _from_sec1(inner, parameters[0].content)
    if identifier == _ED25519:
        return _from_ed25519(inner, rest)
    raise _UnsupportedError("its kind is neither Ed25519, secp256k1 nor P-256")


def _from_ed25519(inner: bytes, rest: list[der.Element]) -> ed25519.Ed25519PrivateKey:
    (seed,) = _exactly_one(inner)
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed.expect(der.OCTET_STRING))
    for field in rest:
        if field.tag == _FIELD_1_IMPLICIT:
            public = der.read_bit_string(der.Element(der.BIT_STRING, field.content))
        elif field.tag == _FIELD_1:
            # Old versions of the Rust crate `ring`, and so of dfx, tagged the field explicitly.
            public = der.read_bit_string(*_exactly_one(field.content))
        else:
            continue
        if public != key.public_key().public_bytes_raw():
            raise _UnsupportedError("the public key in it belongs to another private key")
    return key


def _from_encrypted(content: bytes, password: str | None, source: str) -> PrivateKey:
    sealed = pbes2.read(content)
    if password is None:
        raise WrongKeyError(
            f"{source} is encrypted, and no password was given",
            hint="Give the password with --identity-password-file.",
        )
    wrong = WrongKeyError(
        f"the password does not open {source}",
        hint="Check the password, or the file that --identity-password-file names.",
    )
    try:
        return _from_pkcs8(pbes2.open_sealed(sealed, password))
    except ValueError:
        # Without an authentication tag a wrong password shows as broken padding or structure.
        raise wrong from None


def _at_least(elements: list[der.Element], count: int) -> list[der.Element]:
    if len(elements) < count:
        raise der.DerError("too few parts")
    return elements


def _exactly_one(content: bytes) -> list[der.Element]:
    elements = der.read_elements(content)
    if len(elements) != 1:
        raise der.DerError("expected one part")
    return elements
