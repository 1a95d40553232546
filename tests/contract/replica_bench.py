"""A bench on the embedded replica: real calls over real HTTP."""

import time
from functools import cache

import wasmtime
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dfx_backup.drivers.base import Driver
from dfx_backup.ic.identity import Identity, load_pem
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId, RunState, SnapshotId
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.contract.driver_suite import Bench

# `set` keeps its argument in the heap, `get` replies with it.
_NOTE = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (memory 1)
  (func (export "canister_update set")
    (i32.store (i32.const 0) (call $size))
    (call $copy (i32.const 4) (i32.const 0) (call $size))
    (call $reply))
  (func (export "canister_query get")
    (call $append (i32.const 4) (i32.load (i32.const 0)))
    (call $reply)))
"""
ANYBODY = b"\x04"


@cache
def note_wasm() -> bytes:
    return bytes(wasmtime.wat2wasm(_NOTE))


@cache
def pem(name: str) -> bytes:
    """A secp256k1 key in SEC1 with CRLF, as dfx writes it; the same one for the same name."""
    secret = int.from_bytes(name.encode().rjust(31, b"\x01"), "big")
    key = ec.derive_private_key(secret, ec.SECP256K1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return text.replace(b"\n", b"\r\n")


@cache
def identity(name: str) -> Identity:
    return load_pem(pem(name), source=name)


class ReplicaBench(Bench):
    """The canister is controlled by `alice`; `mallory` is the stranger."""

    def __init__(
        self, server: ReplicaServer, *, driver: Driver, stranger: Driver, down: Driver
    ) -> None:
        self.driver, self.stranger, self.down = driver, stranger, down
        self.server = server
        self.session = Session(server.url, identity("alice"), root_key=server.root_key)
        self.management = ManagementCanister(self.session)
        self._raw = self._create()
        self.canister = CanisterId(Principal(self._raw).to_text())
        server.replica.install(self._raw, note_wasm())
        self._set(b"first")

    def close(self) -> None:
        self.session.close()

    def now(self) -> float:
        return time.time()

    def write(self, content: bytes) -> None:
        before = self.state()
        self.management.start(self.canister)
        self._set(content)
        if before is RunState.STOPPED:
            self.management.stop(self.canister, timeout_s=10)

    def read(self) -> bytes:
        before = self.state()
        self.management.start(self.canister)
        content = self.server.replica.query(ANYBODY, self._raw, "get", b"")
        if before is RunState.STOPPED:
            self.management.stop(self.canister, timeout_s=10)
        return content

    def state(self) -> RunState:
        return self.management.status(self.canister).state

    def snapshots(self) -> list[SnapshotId]:
        return [each.snapshot_id for each in self.management.list_snapshots(self.canister)]

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.management.take_snapshot(self.canister)

    def empty_canister(self) -> CanisterId:
        made = CanisterId(Principal(self._create()).to_text())
        self.management.stop(made, timeout_s=10)
        return made

    def absent_canister(self) -> CanisterId:
        raw = bytearray(self._raw)
        raw[6] ^= 0x40  # far beyond what was created, and inside the subnet's range
        return CanisterId(Principal(bytes(raw)).to_text())

    def slow_stop(self) -> None:
        self.server.faults.set(latency_by_method_s={"stop_canister": 8.0})

    def lose_answer(self, method: str) -> None:
        self.server.faults.set(lost_reply={method: 1})

    def refuse(self, method: str, *, reject_code: int, error_code: str) -> None:
        fault = RejectFault(reject_code=reject_code, error_code=error_code, message="no", times=-1)
        self.server.faults.set(reject={method: fault})

    def _create(self) -> bytes:
        alice = identity("alice").principal.raw
        return self.server.replica.create_canister(controllers=[alice], cycles=10**13)

    def _set(self, content: bytes) -> None:
        self.session.call(Principal(self._raw), "set", content)
