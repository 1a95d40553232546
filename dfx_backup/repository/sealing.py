"""Encryption and authentication of everything in a repository: AES-256-CTR and Poly1305-AES.

restic's doc/design.rst, "Keys, Encryption and MAC": a sealed object is a random 16-byte nonce, the
ciphertext, and a 16-byte tag over the ciphertext. The nonce is the counter's start and, encrypted
with a second AES key, the one-time half of the Poly1305 key.
"""

import threading
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from dfx_backup.errors import DamageError
from dfx_backup.repository.store import Buffer

NONCE_BYTES = 16
TAG_BYTES = 16
SEAL_BYTES = NONCE_BYTES + TAG_BYTES
"""What sealing adds."""
_BLOCK_BYTES = 16


class _Contexts(threading.local):
    """Cipher contexts of one thread: to make one costs more than to seal a small blob."""

    def __init__(self, encrypt: bytes, mac_k: bytes) -> None:
        start = bytes(NONCE_BYTES)
        self.counter: CipherContext = Cipher(AES(encrypt), CTR(start)).encryptor()
        # One block at a time under a key of its own: Poly1305-AES is defined so.
        self.mac: CipherContext = Cipher(AES(mac_k), ECB()).encryptor()  # noqa: S305 # see above


class Sealer:
    """Seals and unseals with one set of keys; safe to use from several threads.

    Args:
        encrypt: AES key, 32 bytes.
        mac_k: AES key of the tag, 16 bytes.
        mac_r: Poly1305 key of the tag, 16 bytes.
        random: so many random bytes.
    """

    def __init__(
        self, *, encrypt: bytes, mac_k: bytes, mac_r: bytes, random: Callable[[int], bytes]
    ) -> None:
        if (len(encrypt), len(mac_k), len(mac_r)) != (32, 16, 16):
            raise ValueError("keys of a wrong length")
        self._mac_r = mac_r
        self._random = random
        self._contexts = _Contexts(encrypt, mac_k)

    def __repr__(self) -> str:
        return "Sealer(…)"

    def seal(self, plain: Buffer) -> bytearray:
        """Encrypt and authenticate; the result is `SEAL_BYTES` longer."""
        size = len(plain)
        nonce = self._random(NONCE_BYTES)
        sealed = bytearray(size + SEAL_BYTES)
        sealed[:NONCE_BYTES] = nonce
        with memoryview(sealed) as view:
            contexts = self._contexts
            contexts.counter.reset_nonce(nonce)
            # The cipher wants room for a block more than it writes: the tag's place gives it.
            contexts.counter.update_into(plain, view[NONCE_BYTES:])
            body = view[NONCE_BYTES : NONCE_BYTES + size]
            tag = Poly1305.generate_tag(self._mac_key(nonce), body)
        sealed[-TAG_BYTES:] = tag
        return sealed

    def seal_pieces(self, pieces: Sequence[bytearray]) -> list[Buffer]:
        """Encrypt the pieces of one plain text in place; the result is the sealed whole, in pieces.

        For trees of hundreds of megabytes, which must not be in memory twice.
        """
        nonce = self._random(NONCE_BYTES)
        counter = self._contexts.counter
        counter.reset_nonce(nonce)
        tag = Poly1305(self._mac_key(nonce))
        for piece in pieces:
            size = len(piece)
            piece.extend(bytes(_BLOCK_BYTES))
            with memoryview(piece) as view:
                counter.update_into(view[:size], view)
            del piece[size:]
            tag.update(piece)
        return [nonce, *pieces, tag.finalize()]

    def unseal(self, sealed: Buffer, what: str) -> bytes:
        """Check and decrypt.

        Args:
            sealed: the whole sealed object or blob.
            what: its name, for the message.

        Raises:
            DamageError: it is not what was sealed with these keys.
        """
        if len(sealed) < SEAL_BYTES:
            raise DamageError(f"{what} is damaged: it is too short")
        with memoryview(sealed) as view:
            nonce = bytes(view[:NONCE_BYTES])
            body = view[NONCE_BYTES:-TAG_BYTES]
            try:
                Poly1305.verify_tag(self._mac_key(nonce), body, bytes(view[-TAG_BYTES:]))
            except InvalidSignature:
                raise DamageError(f"{what} is damaged: its content is not authentic") from None
            contexts = self._contexts
            contexts.counter.reset_nonce(nonce)
            # Decryption is encryption in counter mode.
            return contexts.counter.update(body)

    def _mac_key(self, nonce: bytes) -> bytes:
        return self._mac_r + self._contexts.mac.update(nonce)
