"""The example canisters as tests want them: their app interfaces, and how each is filled."""

from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.replica.replica import Replica
from tests.fakes.kit_canister import EXAMPLES, KitCanister

CHAT_APP = """service : {
  append : (text) -> (nat);
  dump : () -> (vec text) query;
  remove_spam : () -> (nat);
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example canister.

    Attributes:
        module: path of the module below `examples`.
        app: its own methods, as Candid.
        stream: a stream of it that takes imports.
        fill: gives that stream at least 3 MiB.
    """

    module: str
    app: str
    stream: str
    fill: Callable[[KitCanister], None]

    def install(self, replica: Replica) -> KitCanister:
        """A canister with this module, and nothing in it."""
        return KitCanister(replica, (EXAMPLES / self.module).read_bytes(), self.app)


def _did(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def _fill_rust(canister: KitCanister) -> None:
    canister.send("fill", 0, 56, 7)


def _fill_chat(canister: KitCanister) -> None:
    for number in range(4):
        canister.send("append", chr(97 + number) * 900_000)
    canister.call("backup_stage", stream="messages")


RUST = Example(
    module="kit-rust/kit_rust.wasm",
    app=_did("kit-rust/kit_rust.did"),
    stream="ballast",
    fill=_fill_rust,
)
HEAP = Example(
    module="kit-heap/kit_heap.wasm",
    app=_did("kit-heap/kit_heap.did"),
    stream="stable_memory",
    fill=lambda _: None,
)
CHAT = Example(
    module="kit-chat/chat.wasm",
    app=CHAT_APP,
    stream="messages",
    fill=_fill_chat,
)
