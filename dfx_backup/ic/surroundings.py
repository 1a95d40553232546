"""What the wire takes from the outside: time and chance."""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_NONCE_BYTES = 16


def random_nonce() -> bytes:
    """Sixteen random bytes."""
    return secrets.token_bytes(_NONCE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a session takes from the outside, so that tests can choose it.

    Attributes:
        clock: seconds since the epoch.
        monotonic: seconds of a clock that never jumps.
        sleep: waits for some seconds.
        nonce: makes a nonce of at most 32 bytes.
        rng: gives numbers from 0 to 1.
    """

    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    nonce: Callable[[], bytes] = random_nonce
    rng: Callable[[], float] = random.random
