"""Canisters with the kit on the replica, and memory in them: `python -m benchmarks.kit_filler`.

A program of its own for the reason that `filler` is one. `costs` needs no replica that runs: it
counts instructions on one of its own, which is made to charge for them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import kit_memory
from dfx_backup.ic.identity import load_pem
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId
from dfx_backup.replica.candid import Codec
from dfx_backup.replica.replica import Replica

ROOT = Path(__file__).parent.parent
RUST = ROOT / "examples" / "kit-rust" / "kit_rust.wasm"
MOTOKO = ROOT / "examples" / "kit-chat" / "chat.wasm"
_APPS = """service : {
  fill : (nat64, nat64, nat64) -> ();
  append : (text) -> (nat);
}"""
_PAGES_PER_CALL = 4096
_MESSAGE_FEE = 5_000_000
"""What the replica charges for a message beside its instructions."""
_CALLER = b"\x01" * 28 + b"\x02"
_HASHED = 8
"""MiB that are hashed to count instructions."""

APPS = Codec.from_did(_APPS)
KIT = Codec.from_did((ROOT / "dfx_backup" / "kit" / "backup.did").read_text("utf-8"))


class Filler:
    """A session with the replica."""

    def __init__(self, url: str, root_key: str, key: Path) -> None:
        identity = load_pem(key.read_bytes(), source="benchmark")
        self._session = Session(url, identity, root_key=bytes.fromhex(root_key))
        self._management = ManagementCanister(self._session)

    def install(self, module: Path) -> CanisterId:
        """A canister with one of the examples."""
        canister = self._management.create(cycles=10**16)
        self._management.install_code(canister, module.read_bytes())
        return canister

    def grow(self, canister: CanisterId, pages: int) -> None:
        """Let the ballast have so many pages, by filling the last one."""
        self._call(canister, "fill", pages - 1, 1, kit_memory.SEED)

    def fill(self, canister: CanisterId, pages: int, *, step: int, seed: int) -> None:
        """Fill every page of the ballast, or one in every `step`."""
        many = _PAGES_PER_CALL if step == 1 else 1
        for first in range(0, pages, max(many, step)):
            self._call(canister, "fill", first, min(many, pages - first), seed)

    def append(self, canister: CanisterId, count: int) -> None:
        """Write messages of a million bytes."""
        for number in range(count):
            self._call(canister, "append", kit_memory.message(number))

    def snapshot(self, canister: CanisterId) -> str:
        """Take a snapshot; the canister keeps what it has."""
        return str(self._management.take_snapshot(canister).snapshot_id)

    def _call(self, canister: CanisterId, method: str, *values: object) -> None:
        target = Principal.from_text(canister)
        self._session.call(target, method, APPS.encode_args(method, *values))


class _Counted:
    """An example on a replica that charges for instructions."""

    def __init__(self, module: Path) -> None:
        self._replica = Replica(charge_cycles=True)
        self._canister = self._replica.create_canister(controllers=[_CALLER])
        code = module.read_bytes()
        self._replica.install(self._canister, code, b"DIDL\0\0", sender=_CALLER)

    def call(self, codec: Codec, method: str, *values: object) -> tuple[list[Any], int]:
        """Call a method; what it gives, and how many instructions it took."""
        arg = codec.encode_args(method, *values)
        before = self._cycles
        answer = self._replica.ingress(_CALLER, self._canister, method, arg).get()
        return codec.decode_reply(method, answer), before - self._cycles - _MESSAGE_FEE

    @property
    def _cycles(self) -> int:
        return self._replica.canisters[self._canister].cycles

    def per_hashed_byte(self, stream: str) -> float:
        """Instructions for hashing a byte of a stream that has 8 MiB or more."""
        chunk = 1 << 20
        asked = {"stream": stream, "offset": 0, "chunk_size": chunk, "count": _HASHED}
        ((_, found),), spent = self.call(KIT, "backup_hashes", asked)
        return spent / (len(found["hashes"]) * chunk)


def count_instructions() -> dict[str, float]:
    """Instructions for hashing a byte, by the kit's language."""
    rust, motoko = _Counted(RUST), _Counted(MOTOKO)
    rust.call(APPS, "fill", 0, _HASHED * 16, kit_memory.SEED)
    for number in range(_HASHED + 1):
        motoko.call(APPS, "append", kit_memory.message(number))
    motoko.call(KIT, "backup_stage", {"stream": "messages"})
    return {
        "Rust": rust.per_hashed_byte("ballast"),
        "Motoko": motoko.per_hashed_byte("messages"),
    }


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kit_filler", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("costs")
    for name in ("rust", "motoko", "change", "snapshot"):
        command = commands.add_parser(name)
        command.add_argument("url")
        command.add_argument("root_key")
        command.add_argument("key", type=Path)
        if name in ("change", "snapshot"):
            command.add_argument("canister", type=CanisterId)
        if name != "snapshot":
            command.add_argument("size", type=int, help="pages, or messages")
            command.add_argument("step", type=int, help="one page in so many holds data")
    return parser


def main() -> int:
    """Fill, change, take a snapshot, or count; prints one JSON value."""
    given = build_parser().parse_args()
    if given.command == "costs":
        print(json.dumps(count_instructions()))
        return 0
    filler = Filler(given.url, given.root_key, given.key)
    if given.command == "rust":
        canister = filler.install(RUST)
        filler.grow(canister, given.size)
        filler.fill(canister, given.size, step=given.step, seed=kit_memory.SEED)
        print(json.dumps(canister))
    elif given.command == "motoko":
        canister = filler.install(MOTOKO)
        filler.append(canister, given.size)
        print(json.dumps(canister))
    elif given.command == "change":
        seed = kit_memory.SEED + 1
        filler.fill(given.canister, given.size, step=given.step, seed=seed)
        print("null")
    else:
        print(json.dumps(filler.snapshot(given.canister)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
