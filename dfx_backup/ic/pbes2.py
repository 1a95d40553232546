"""Encrypted PKCS#8 keys: PBES2 of RFC 8018, as icp-cli (scrypt) and OpenSSL (PBKDF2) write it."""

from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dfx_backup.ic import der

_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_PRFS: Final[dict[bytes, type[hashes.HashAlgorithm]]] = {
    bytes.fromhex("2a864886f70d0207"): hashes.SHA1,
    bytes.fromhex("2a864886f70d0209"): hashes.SHA256,
    bytes.fromhex("2a864886f70d020b"): hashes.SHA512,
}
_KEY_BYTES: Final = {
    bytes.fromhex("60864801650304012a"): 32,
    bytes.fromhex("608648016503040116"): 24,
    bytes.fromhex("608648016503040102"): 16,
}

_BLOCK_BYTES = 16
# A file must not be able to make us burn all memory or hours before its password is even checked.
_MAX_SCRYPT_BYTES = 1 << 30
_MAX_SCRYPT_PARALLEL = 16
_MAX_ITERATIONS = 20_000_000


class UnsupportedCipherError(Exception):
    """The key is encrypted in a way that is not read here."""


class _Kdf(Protocol):
    def derive(self, key_material: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Sealed:
    """An encrypted key, taken apart.

    Attributes:
        kdf: makes the key from the password; good for one use.
        iv: initialisation vector of AES-CBC.
        ciphertext: the encrypted PKCS#8 structure.
    """

    kdf: _Kdf
    iv: bytes
    ciphertext: bytes


def read(content: bytes) -> Sealed:
    """Take an EncryptedPrivateKeyInfo (RFC 5958) apart.

    Raises:
        ValueError: it is damaged.
        UnsupportedCipherError: another scheme than PBES2 with scrypt or PBKDF2 and AES-CBC.
    """
    algorithm, encrypted = _parts(der.read_sequence(content), 2)
    scheme, parameters = _algorithm(algorithm)
    if scheme != _PBES2 or parameters is None:
        raise UnsupportedCipherError("it is encrypted with something else than PBES2")
    kdf, cipher = _parts(der.read_elements(parameters.expect(der.SEQUENCE)), 2)
    cipher_id, iv = _algorithm(cipher)
    if cipher_id not in _KEY_BYTES or iv is None:
        raise UnsupportedCipherError("it is encrypted with another cipher than AES-CBC")
    sealed = Sealed(
        kdf=_kdf(kdf, _KEY_BYTES[cipher_id]),
        iv=iv.expect(der.OCTET_STRING),
        ciphertext=encrypted.expect(der.OCTET_STRING),
    )
    if len(sealed.iv) != _BLOCK_BYTES or len(sealed.ciphertext) % _BLOCK_BYTES:
        raise der.DerError("not whole blocks")
    return sealed


def open_sealed(sealed: Sealed, password: str) -> bytes:
    """Decrypt to the PKCS#8 structure.

    Raises:
        ValueError: the padding is broken: most likely the password is wrong.
    """
    key = sealed.kdf.derive(password.encode("utf-8", "surrogatepass"))
    decryptor = Cipher(algorithms.AES(key), modes.CBC(sealed.iv)).decryptor()
    padded = decryptor.update(sealed.ciphertext) + decryptor.finalize()
    unpadder = padding.PKCS7(8 * _BLOCK_BYTES).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _kdf(element: der.Element, key_bytes: int) -> _Kdf:
    identifier, parameters = _algorithm(element)
    if parameters is None:
        raise der.DerError("key derivation without parameters")
    parts = der.read_elements(parameters.expect(der.SEQUENCE))
    if identifier == _SCRYPT:
        return _scrypt(parts, key_bytes)
    if identifier == _PBKDF2:
        return _pbkdf2(parts, key_bytes)
    raise UnsupportedCipherError("its password goes through neither scrypt nor PBKDF2")


def _scrypt(parts: list[der.Element], key_bytes: int) -> _Kdf:
    """Parameters of RFC 7914 section 7: salt, cost, block size, parallelism, key length."""
    if len(parts) not in (4, 5):
        raise der.DerError("scrypt takes four or five parameters")
    salt = parts[0].expect(der.OCTET_STRING)
    cost, block, parallel = (der.read_integer(part) for part in parts[1:4])
    if not (cost and block and parallel):
        raise der.DerError("scrypt with a parameter of zero")
    if 128 * cost * block > _MAX_SCRYPT_BYTES or parallel > _MAX_SCRYPT_PARALLEL:
        raise UnsupportedCipherError("opening it would take more memory than is reasonable")
    return Scrypt(salt=salt, length=key_bytes, n=cost, r=block, p=parallel)


def _pbkdf2(parts: list[der.Element], key_bytes: int) -> _Kdf:
    """Parameters of RFC 8018 appendix A.2: salt, iterations, length and hash if not default."""
    if len(parts) < 2:
        raise der.DerError("PBKDF2 takes at least two parameters")
    salt, iterations = parts[0].expect(der.OCTET_STRING), der.read_integer(parts[1])
    if iterations > _MAX_ITERATIONS:
        raise UnsupportedCipherError("opening it would take longer than is reasonable")
    prf: type[hashes.HashAlgorithm] | None = hashes.SHA1  # the standard's default
    if parts[-1].tag == der.SEQUENCE:
        prf = _PRFS.get(_algorithm(parts[-1])[0])
    if prf is None:
        raise UnsupportedCipherError("its PBKDF2 uses a hash that is not read here")
    return PBKDF2HMAC(algorithm=prf(), length=key_bytes, salt=salt, iterations=iterations)


def _algorithm(element: der.Element) -> tuple[bytes, der.Element | None]:
    """The object identifier and the parameters of an AlgorithmIdentifier."""
    parts = der.read_elements(element.expect(der.SEQUENCE))
    if not 1 <= len(parts) <= 2:
        raise der.DerError("an algorithm is a name and its parameters")
    identifier = parts[0].expect(der.OBJECT_IDENTIFIER)
    return identifier, parts[1] if len(parts) == 2 else None


def _parts(elements: list[der.Element], count: int) -> list[der.Element]:
    if len(elements) != count:
        raise der.DerError(f"expected {count} parts")
    return elements
