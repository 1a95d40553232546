# ruff: noqa: ARG002 - scripted answers need not look at everything
"""Stands in for the execution core where the edge is tested: no Wasm, answers by method name."""

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from dfx_backup.replica.calls import Outcome
from dfx_backup.replica.reject import Reject

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = bytes.fromhex("80000000001000000101")
ELSEWHERE = bytes.fromhex("00000000000000070101")
CONTROLLER = bytes.fromhex("0102030401")


class ScriptedManagement:
    def effective_canister_id(self, method: str, arg: bytes) -> bytes | None:
        return arg or None


class ScriptedReplica:
    """`big:N` replies N bytes, `reject` rejects, `refuse` is refused, `stuck` never answers."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.canisters = {OWN: canister(OWN), ELSEWHERE: canister(ELSEWHERE)}
        self.management = ScriptedManagement()
        self.failure: Exception | None = None
        self.natives: dict[bytes, object] = {}
        self.earlier: list[object] = []
        self.data_certificate: Callable[[bytes], bytes] | None = None
        self.root_key = b""
        self.subnet_id = b""
        self.executed: list[tuple[bytes, bytes, str, bytes]] = []
        self.open: list[Outcome] = []
        self.offset_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.offset_ns

    def accepts_ingress(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> None:
        if method == "refuse":
            raise Reject(4, "not accepted", "IC0406")

    def ingress(
        self,
        sender: bytes,
        canister_id: bytes,
        method: str,
        arg: bytes,
        *,
        request_id: bytes,
        memo: bytes,
    ) -> Outcome:
        self.executed.append((sender, canister_id, method, arg))
        outcome = Outcome(request_id)
        if method == "stuck":
            self.open.append(outcome)
        elif method == "reject":
            outcome.finish(Reject(5, "it trapped", "IC0503"))
        else:
            outcome.finish(self.query(sender, canister_id, method, arg))
        return outcome

    def query(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        if method == "reject":
            raise Reject(5, "it trapped", "IC0503")
        if method == "certificate":
            assert self.data_certificate is not None
            return self.data_certificate(canister_id)
        if method.startswith("big:"):
            return bytes(int(method[4:]))
        return b"reply to " + method.encode() + arg


def canister(canister_id: bytes) -> SimpleNamespace:
    module = SimpleNamespace(
        sha256=b"\x11" * 32,
        metadata={"candid:service": (True, b"service : {}"), "secret": (False, b"private")},
    )
    return SimpleNamespace(
        canister_id=canister_id,
        controllers=[CONTROLLER],
        module=module,
        certified_data=b"certified",
        created_at=7,
        last_install_at=8,
        memory_usage=1000,
    )
