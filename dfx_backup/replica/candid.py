"""The replica's own Candid: encode and decode by the methods of an interface description.

Written apart from the client's codec on purpose: a mistake there can't hide behind the same mistake
here. `candid_types` holds the types, `did_parser` reads descriptions, `candid_encode` (which tells
the Python form of every value) and `candid_decode` do the work.
"""

from collections.abc import Sequence
from typing import Any

from dfx_backup.replica.candid_decode import MAX_STEPS, Decoder
from dfx_backup.replica.candid_encode import Encoder
from dfx_backup.replica.candid_types import CandidError, Env, Func, MismatchError, Some, Type
from dfx_backup.replica.did_parser import Interface, parse_did

__all__ = [
    "CandidError",
    "Codec",
    "Interface",
    "MismatchError",
    "Some",
    "decode",
    "encode",
    "parse_did",
]


def encode(types: Sequence[Type], values: Sequence[object], env: Env | None = None) -> bytes:
    """Encode values of the given types.

    Raises:
        CandidError: a value does not have its type.
    """
    return Encoder(types, env or {}).encode(values)


def decode(
    data: bytes | memoryview,
    types: Sequence[Type],
    env: Env | None = None,
    *,
    max_steps: int = MAX_STEPS,
) -> list[Any]:
    """Decode a message as values of the given types.

    Raises:
        MismatchError: it is well-formed, but of other types.
        CandidError: it is not a Candid message, or too complex.
    """
    return Decoder(data, max_steps=max_steps).values(types, env or {})


class Codec:
    """Encodes and decodes the arguments and replies of an interface's methods."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._encoders: dict[tuple[str, bool], Encoder] = {}

    @classmethod
    def from_did(cls, source: str) -> "Codec":
        """Make a codec from `.did` text; raises CandidError."""
        return cls(parse_did(source))

    @property
    def methods(self) -> dict[str, Func]:
        """The methods by name."""
        return self._interface.methods

    @property
    def types(self) -> Env:
        """The named types."""
        return self._interface.types

    def encode_args(self, method: str, *values: object) -> bytes:
        """Encode a method's arguments; raises CandidError."""
        return self._encoder(method, reply=False).encode(values)

    def encode_reply(self, method: str, *values: object) -> bytes:
        """Encode a method's results; raises CandidError."""
        return self._encoder(method, reply=True).encode(values)

    def decode_args(self, method: str, data: bytes | memoryview) -> list[Any]:
        """Decode a method's arguments; raises CandidError."""
        return decode(data, self.methods[method].args, self._interface.types)

    def decode_reply(self, method: str, data: bytes | memoryview) -> list[Any]:
        """Decode a method's results; raises CandidError."""
        return decode(data, self.methods[method].results, self._interface.types)

    def _encoder(self, method: str, *, reply: bool) -> Encoder:
        found = self._encoders.get((method, reply))
        if found is None:
            func = self.methods[method]
            found = Encoder(func.results if reply else func.args, self._interface.types)
            self._encoders[method, reply] = found
        return found
