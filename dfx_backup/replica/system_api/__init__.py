"""The system API: what canisters import from `ic0` (interface specification, "System API").

`table` says which functions there are, with what types, and in which kinds of messages they may
be called; the other modules implement them, by topic, under the same names.
"""

from collections.abc import Callable
from functools import cache

from dfx_backup.replica.system_api import (
    arguments,
    cycles,
    environment,
    outgoing,
    replies,
    stable,
)
from dfx_backup.replica.system_api.frame import Frame, Trap
from dfx_backup.replica.system_api.table import SIGNATURES, Signature

Host = Callable[..., int | None]
_TOPICS = (arguments, cycles, environment, outgoing, replies, stable)


@cache
def functions_for(*, is_64: bool) -> dict[str, tuple[str, str, Host]]:
    """Name -> (parameters, result, function) for modules with 64-bit or 32-bit pointers.

    Types are "i" (i32) and "I" (i64), the result "" when there is none. The functions take the
    frame and unsigned integers.
    """
    pointer = "I" if is_64 else "i"
    return {
        name: (
            signature.parameters.replace("p", pointer),
            signature.result.replace("p", pointer),
            _guarded(name, signature, implementation(name)),
        )
        for name, signature in SIGNATURES.items()
        if not (is_64 and signature.is_32_only)
    }


def implementation(name: str) -> Host:
    """The function that implements `name`."""
    for topic in _TOPICS:
        if hasattr(topic, name):
            found: Host = getattr(topic, name)
            return found
    raise LookupError(name)


def _guarded(name: str, signature: Signature, function: Host) -> Host:
    modes = signature.modes

    def guarded(frame: Frame, *values: int) -> int | None:
        if frame.mode not in modes:
            raise Trap(f'"ic0_{name}" cannot be executed in {frame.mode.value} mode', 504)
        return function(frame, *values)

    return guarded
