"""A canister with methods for its memory that are older than the kit."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dfx_backup.errors import NetworkError
from dfx_backup.ic.candid import BLOB, NAT64, decode, encode
from dfx_backup.ic.principal import Principal
from tests.fakes.memory_endpoints import CANISTER, reject


class OldCanister:
    """`stable_size`, `stable_read` and `db_download`, as the canisters in the wild have them."""

    def __init__(self, memory: bytes, step: int = 2_000_000) -> None:
        self.memory = bytearray(memory)
        self.step = step
        self.canister = CANISTER
        self.version = 5
        self.calls: list[tuple[str, list[int]]] = []
        self.after: Callable[[int], None] = lambda _number: None

    def call(self, canister: Principal, method: str, arg: bytes, **_more: Any) -> bytes:
        assert canister.to_text() == self.canister
        types = {"stable_size": [], "stable_read": [NAT64, NAT64], "db_download": [NAT64]}
        if method not in types:
            raise reject(5, "IC0536", f"Canister has no update method '{method}'")
        values = decode(arg, types[method])
        self.calls.append((method, values))
        if method == "stable_size":
            reply = encode([NAT64], [len(self.memory)])
        else:
            length = values[1] if method == "stable_read" else self.step
            if method == "stable_read" and values[0] + length > len(self.memory):
                raise reject(5, "IC0503", "Canister trapped: stable memory out of bounds")
            reply = encode([BLOB], [bytes(self.memory[values[0] : values[0] + length])])
        self.version += 1
        self.after(len(self.calls))
        return reply

    def query(self, *_args: Any, **_more: Any) -> bytes:
        raise AssertionError("nothing that is not certified")

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        del listener
        return nullcontext()
