"""The config object of a repository (restic's doc/design.rst, "Repository Format")."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfx_backup.errors import DamageError, RefusedError
from dfx_backup.repository.layout import CONFIG_NAME, id_bytes

VERSION = 2
BLOB_BYTES = 65536
LARGE_BLOB_BYTES = 262144
BLOB_SIZES = (BLOB_BYTES, LARGE_BLOB_BYTES)
_OURS = "dfx_backup"
"""Our own field; restic leaves fields alone that it does not know."""

_DEGREE = 53
_KNOWN = {"version", "id", "chunker_polynomial", _OURS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a repository is.

    Attributes:
        version: of the format; always 2.
        id: 32 random bytes, hexadecimal.
        chunker_polynomial: hexadecimal; only restic's own chunker uses it.
        blob_size: bytes of the pieces into which files are cut.
        extra: whatever else stands there.
    """

    version: int
    id: str
    chunker_polynomial: str
    blob_size: int
    extra: Mapping[str, Any] = field(default_factory=dict)


def new_config(random: Callable[[int], bytes], *, blob_size: int) -> Config:
    """The config of a new repository."""
    return Config(
        version=VERSION,
        id=random(32).hex(),
        chunker_polynomial=f"{random_polynomial(random):x}",
        blob_size=blob_size,
    )


def encode_config(config: Config) -> bytes:
    """The JSON text."""
    document = {
        "version": config.version,
        "id": config.id,
        "chunker_polynomial": config.chunker_polynomial,
        **config.extra,
    }
    if config.blob_size != BLOB_BYTES:
        document[_OURS] = {"blob_size": config.blob_size}
    return json.dumps(document, separators=(",", ":")).encode()


def decode_config(text: bytes, where: str) -> Config:
    """The config from its JSON text.

    Args:
        text: the JSON.
        where: the store, for messages.

    Raises:
        RefusedError: the repository has another version.
        DamageError: it is no config.
    """
    garbage = DamageError(f"{CONFIG_NAME} in {where} can't be understood: it is no config")
    try:
        document = json.loads(text)
        version = document["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise garbage from error
    if not isinstance(version, int) or version < 1:
        raise garbage
    if version != VERSION:
        raise RefusedError(
            f"{where} has version {version} of the repository format; only {VERSION} is known",
            hint="use a newer version of this program"
            if version > VERSION
            else "`restic migrate upgrade_repo_v2` brings it up to date",
        )
    try:
        return Config(
            version=version,
            id=id_bytes(document["id"]).hex(),
            chunker_polynomial=str(document["chunker_polynomial"]),
            blob_size=_blob_size(document),
            extra={key: value for key, value in document.items() if key not in _KNOWN},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise garbage from error


def _blob_size(document: dict[str, Any]) -> int:
    size = document.get(_OURS, {}).get("blob_size", BLOB_BYTES)
    if size not in BLOB_SIZES:
        raise ValueError("a size that is none")
    return int(size)


def random_polynomial(random: Callable[[int], bytes]) -> int:
    """An irreducible polynomial of degree 53 over GF(2), bit i standing for x^i.

    restic cuts its own backups with it and refuses a repository whose polynomial is reducible.
    """
    while True:
        drawn = int.from_bytes(random(8), "big")
        # About one in 53 is irreducible; one without the constant term never is.
        polynomial = drawn & ((1 << _DEGREE) - 1) | 1 << _DEGREE | 1
        if is_irreducible(polynomial):
            return polynomial


def is_irreducible(polynomial: int) -> bool:
    """Whether a polynomial over GF(2) has no factors: Ben-Or's test.

    It has a factor of degree i or a divisor of i exactly when it shares one with x^(2^i) - x.
    """
    power = x = 2
    for _ in range((polynomial.bit_length() - 1) // 2):
        power = _square_modulo(power, polynomial)
        if _common_divisor(polynomial, power ^ x) != 1:
            return False
    return True


def _square_modulo(value: int, polynomial: int) -> int:
    # Squaring over GF(2) only spreads the bits: binary digits read in base 4.
    return _remainder(int(f"{value:b}", 4), polynomial)


def _remainder(value: int, polynomial: int) -> int:
    length = polynomial.bit_length()
    while value.bit_length() >= length:
        value ^= polynomial << (value.bit_length() - length)
    return value


def _common_divisor(one: int, other: int) -> int:
    while other:
        one, other = other, _remainder(one, other)
    return one
