"""Passwords: each opens a key object, and every key object holds the same master key.

restic's doc/design.rst, "Keys, Encryption and MAC".
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dfx_backup.errors import DamageError, RefusedError, WrongKeyError
from dfx_backup.repository.layout import ObjectKind, is_id, list_objects, object_name
from dfx_backup.repository.machine import Machine, rfc3339, seconds_of
from dfx_backup.repository.sealing import Sealer
from dfx_backup.repository.store import ObjectStore

SCRYPT_N = 32768
SCRYPT_R = 8
SCRYPT_P = 1
_SALT_BYTES = 64
_DERIVED_BYTES = 64
_MOST_MEMORY = 1 << 30
"""A key object that asks for more memory than this was not made by restic or by us."""
_MOST_WORK = 1 << 26
"""The same for N * r * p, the work."""


class Password:
    """A password; it shows in no representation.

    Args:
        text: the password.
    """

    __slots__ = ("_secret",)

    def __init__(self, text: str) -> None:
        self._secret = text.encode()

    def __repr__(self) -> str:
        return "Password(…)"

    def derive(self, salt: bytes, n: int, r: int, p: int) -> bytes:
        """64 bytes of key."""
        need = 128 * n * r + 128 * r * p + (1 << 20)
        return hashlib.scrypt(
            self._secret, salt=salt, n=n, r=r, p=p, maxmem=need, dklen=_DERIVED_BYTES
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MasterKey:
    """The keys of everything in a repository but of its key objects.

    Attributes:
        encrypt: AES key, 32 bytes.
        mac_k: AES key of the tag, 16 bytes.
        mac_r: Poly1305 key of the tag, 16 bytes.
    """

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    def __repr__(self) -> str:
        return "MasterKey(…)"

    def sealer(self, random: Callable[[int], bytes]) -> Sealer:
        """What seals with these keys."""
        return Sealer(encrypt=self.encrypt, mac_k=self.mac_k, mac_r=self.mac_r, random=random)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What a key object tells to everybody.

    Attributes:
        key_id: hexadecimal id.
        hostname: machine that made it.
        username: user who made it.
        created: seconds since the epoch, or None when it does not tell.
        current: whether the repository was opened with it.
    """

    key_id: str
    hostname: str
    username: str
    created: float | None
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _KeyObject:
    key_id: str
    n: int
    r: int
    p: int
    salt: bytes
    data: bytes
    hostname: str
    username: str
    created: float | None

    def open(self, password: Password) -> MasterKey | None:
        """The master key, or None when this is not the password."""
        try:
            text = _password_sealer(
                password.derive(self.salt, self.n, self.r, self.p), _no_random
            ).unseal(self.data, self.key_id)
        except DamageError:
            return None
        return _decode_master(text, self.key_id)


class KeyRing:
    """The key objects of a repository.

    Args:
        store: where they lie.
        machine: who works on them.
        current: hexadecimal id of the key with which the repository was opened.
        master: what the keys hold.
    """

    def __init__(
        self, store: ObjectStore, machine: Machine, *, current: str, master: MasterKey
    ) -> None:
        self._store = store
        self._machine = machine
        self._master = master
        self.current = current

    def list(self) -> tuple[KeyInfo, ...]:
        """Every key, rising by id.

        Raises:
            DamageError: a key object can't be understood.
        """
        found = []
        for key_id in sorted(key_id for key_id, _ in list_objects(self._store, ObjectKind.KEY)):
            key = _read_key(self._store, key_id)
            found.append(
                KeyInfo(
                    key_id=key_id,
                    hostname=key.hostname,
                    username=key.username,
                    created=key.created,
                    current=key_id == self.current,
                )
            )
        return tuple(found)

    def add(self, password: Password) -> str:
        """Add a key that this password opens; its id."""
        return write_key(self._store, password, self._master, self._machine)

    def remove(self, key_id: str) -> None:
        """Remove a key.

        Raises:
            RefusedError: the repository was opened with it, or there is none.
        """
        if key_id == self.current:
            raise RefusedError(
                f"key {key_id[:8]} is the one that opened the repository",
                hint="open it with another password to remove this one",
            )
        if not is_id(key_id) or not self._store.exists(object_name(ObjectKind.KEY, key_id)):
            raise RefusedError(f"there is no key {key_id}")
        self._store.delete(object_name(ObjectKind.KEY, key_id))

    def change(self, password: Password) -> str:
        """Replace the key that opened the repository by one for this password; its id."""
        old = self.current
        self.current = self.add(password)
        # The new key must open before the old one goes.
        if open_key(self._store, self.current, password) != self._master:
            raise DamageError(f"the new key {self.current[:8]} can't be read back")
        self._store.delete(object_name(ObjectKind.KEY, old))
        return self.current


def new_master(random: Callable[[int], bytes]) -> MasterKey:
    """A master key."""
    return MasterKey(encrypt=random(32), mac_k=random(16), mac_r=random(16))


def write_key(store: ObjectStore, password: Password, master: MasterKey, machine: Machine) -> str:
    """Write a key object; its hexadecimal id."""
    salt = machine.random(_SALT_BYTES)
    derived = password.derive(salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    sealed = _password_sealer(derived, machine.random).seal(_encode_master(master))
    document = {
        "created": rfc3339(machine.clock()),
        "username": machine.username,
        "hostname": machine.hostname,
        "kdf": "scrypt",
        "N": SCRYPT_N,
        "r": SCRYPT_R,
        "p": SCRYPT_P,
        "salt": _base64(salt),
        "data": _base64(sealed),
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    key_id = hashlib.sha256(text).hexdigest()
    store.put(object_name(ObjectKind.KEY, key_id), text)
    return key_id


def open_key(store: ObjectStore, key_id: str, password: Password) -> MasterKey | None:
    """What a key holds, or None when this is not its password.

    Raises:
        DamageError: it can't be understood.
    """
    return _read_key(store, key_id).open(password)


def open_any_key(
    store: ObjectStore, password: Password, fits: Callable[[MasterKey], bool]
) -> tuple[str, MasterKey]:
    """Find the key that a password opens.

    Args:
        store: where the keys lie.
        password: the password.
        fits: whether a master key is that of the repository: an init that was killed may have left
            another one.

    Raises:
        WrongKeyError: it opens none.
        DamageError: it opens none, and there are damaged ones or none at all.
    """
    damage: DamageError | None = None
    tried = 0
    strange = False
    for key_id, _ in list_objects(store, ObjectKind.KEY):
        tried += 1
        try:
            master = open_key(store, key_id, password)
        except DamageError as error:
            damage = error
            continue
        if master is None:
            continue
        if fits(master):
            return key_id, master
        strange = True
    if damage is not None:
        raise damage
    if strange:
        raise DamageError(f"the config of {store.describe()} does not fit its keys: it is damaged")
    if not tried:
        raise DamageError(f"{store.describe()} has no keys any more: nothing in it can be read")
    raise WrongKeyError(
        f"the password opens none of the {tried} keys of {store.describe()}"
        if tried > 1
        else f"the password does not open {store.describe()}",
        hint="check the password file or command, and that this is the repository you mean",
    )


def _read_key(store: ObjectStore, key_id: str) -> _KeyObject:
    name = object_name(ObjectKind.KEY, key_id)
    text = store.get(name)
    if hashlib.sha256(text).hexdigest() != key_id:
        raise DamageError(f"{name} in {store.describe()} is damaged: its content is not its name")
    try:
        return _parse_key(key_id, json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{name} in {store.describe()} can't be understood") from error


def _parse_key(key_id: str, document: Any) -> _KeyObject:  # noqa: ANN401 - JSON comes as it is
    n, r, p = (int(document[field]) for field in ("N", "r", "p"))
    if document["kdf"] != "scrypt" or n < 2 or n & (n - 1) or min(r, p) < 1:
        raise ValueError("a key derivation that we do not know")
    if 128 * n * r > _MOST_MEMORY or n * r * p > _MOST_WORK:
        raise ValueError("a key derivation that takes too much")
    created = document.get("created")
    return _KeyObject(
        key_id=key_id,
        n=n,
        r=r,
        p=p,
        salt=base64.b64decode(document["salt"], validate=True),
        data=base64.b64decode(document["data"], validate=True),
        hostname=str(document.get("hostname", "")),
        username=str(document.get("username", "")),
        created=None if created is None else seconds_of(created),
    )


def _password_sealer(derived: bytes, random: Callable[[int], bytes]) -> Sealer:
    return Sealer(encrypt=derived[:32], mac_k=derived[32:48], mac_r=derived[48:64], random=random)


def _no_random(count: int) -> bytes:
    raise AssertionError(f"{count} random bytes are asked for to read a key")


def _encode_master(master: MasterKey) -> bytes:
    document = {
        "mac": {"k": _base64(master.mac_k), "r": _base64(master.mac_r)},
        "encrypt": _base64(master.encrypt),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _decode_master(text: bytes, key_id: str) -> MasterKey:
    try:
        document = json.loads(text)
        mac = document["mac"]
        encrypt, mac_k, mac_r = (
            base64.b64decode(field, validate=True)
            for field in (document["encrypt"], mac["k"], mac["r"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"key {key_id[:8]} can't be understood") from error
    if (len(encrypt), len(mac_k), len(mac_r)) != (32, 16, 16):
        raise DamageError(f"key {key_id[:8]} holds keys of a wrong length")
    return MasterKey(encrypt=encrypt, mac_k=mac_k, mac_r=mac_r)


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()
