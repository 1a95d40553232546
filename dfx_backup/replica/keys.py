"""The keys of a replica: root, subnet, node; made at the first start, kept in its directory."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dfx_backup.errors import DamageError
from dfx_backup.replica import principal
from dfx_backup.replica.certificate import BlsKey

FILE_NAME: Final = "keys.json"
_SEED_BYTES: Final = 32


@dataclass(frozen=True)
class ReplicaKeys:
    """Every key of the replica, derived from one 32-byte seed.

    Attributes:
        seed: 32 secret bytes.
        delegation: whether the subnet has a key of its own under the root key.
    """

    seed: bytes
    delegation: bool = False

    @classmethod
    def from_number(cls, seed: int, *, delegation: bool = False) -> Self:
        """Keys that are the same on every machine, for tests."""
        return cls(hashlib.sha256(b"replica-seed-%d" % seed).digest(), delegation)

    @classmethod
    def load_or_create(
        cls, state_dir: Path | None, *, delegation: bool = False, seed: int | None = None
    ) -> Self:
        """Take the keys of the state directory; make them first when there are none.

        Args:
            state_dir: where `keys.json` is; None keeps nothing.
            delegation: see the class.
            seed: makes new keys predictable.

        Raises:
            DamageError: the file can't be read as what was written.
        """
        path = state_dir / FILE_NAME if state_dir is not None else None
        if path is not None and path.exists():
            return cls(_read_seed(path), delegation)
        keys = (
            cls(secrets.token_bytes(_SEED_BYTES), delegation)
            if seed is None
            else cls.from_number(seed, delegation=delegation)
        )
        if path is not None:
            _write_private(path, json.dumps({"version": 1, "seed": keys.seed.hex()}) + "\n")
        return keys

    def _derived(self, name: bytes) -> bytes:
        return hashlib.sha256(self.seed + name).digest()

    @cached_property
    def root(self) -> BlsKey:
        """Key of the whole network."""
        return BlsKey.from_seed(self._derived(b"root"))

    @cached_property
    def subnet(self) -> BlsKey:
        """Key that signs the state of our subnet; the root key when there is no delegation."""
        return BlsKey.from_seed(self._derived(b"subnet")) if self.delegation else self.root

    @cached_property
    def stranger(self) -> BlsKey:
        """Key of a subnet that holds none of our canisters; only faults use it."""
        return BlsKey.from_seed(self._derived(b"stranger"))

    @cached_property
    def root_subnet_id(self) -> bytes:
        """Principal of the root subnet."""
        return principal.self_authenticating(self.root.public_der)

    @cached_property
    def subnet_id(self) -> bytes:
        """Principal of our subnet."""
        return principal.self_authenticating(self.subnet.public_der)

    @cached_property
    def node(self) -> Ed25519PrivateKey:
        """Key of the one node, which signs query replies."""
        return Ed25519PrivateKey.from_private_bytes(self._derived(b"node"))

    @cached_property
    def node_public_der(self) -> bytes:
        """Public key of the node, DER, 44 bytes."""
        return self.node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def node_id(self) -> bytes:
        """Principal of the node."""
        return principal.self_authenticating(self.node_public_der)


def _read_seed(path: Path) -> bytes:
    try:
        content = json.loads(path.read_text("utf-8"))
        seed = bytes.fromhex(content["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{path}: the keys of the replica can't be read ({error})") from error
    if len(seed) != _SEED_BYTES:
        raise DamageError(f"{path}: the seed has {len(seed)} bytes instead of {_SEED_BYTES}")
    return seed


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
