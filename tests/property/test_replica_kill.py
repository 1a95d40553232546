"""The real process is killed at any moment; what was asked again is done exactly once."""

import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2
import pytest

from dfx_backup.replica.control_client import ControlClient, ControlFile
from dfx_backup.replica.management import ManagementCanister
from dfx_backup.replica.principal import from_text, to_text
from dfx_backup.replica.replica import Replica
from tests.fakes import small_client as small
from tests.fakes.wat_canisters import (
    GROW,
    STABLE_GROW,
    STABLE_WRITE,
    WRITE,
    scribe,
    scribe_order,
)

if TYPE_CHECKING:
    from dfx_backup.replica.candid import Codec

ME = small.ed25519_signer(9)
PAGE = 65_536
START = [sys.executable, "-m", "dfx_backup.replica", "start", "--control", "--state-dir"]


@dataclass
class State:
    heap: bytearray
    stable: bytearray
    calls: int = 0

    def copy(self) -> "State":
        return State(bytearray(self.heap), bytearray(self.stable), self.calls)


@dataclass
class Model:
    """What the canister and its snapshots hold; snapshots by id."""

    canister: State
    snapshots: dict[bytes, State] = field(default_factory=dict)
    uploads: dict[bytes, bytearray] = field(default_factory=dict)


class Subject:
    """The process, and one client that sends the same envelope until it is answered."""

    def __init__(self, state: Path, rng: random.Random) -> None:
        self.state = state
        self.rng = rng
        self.kills = 0
        self.process = self.started()
        self.codec: Codec = ManagementCanister(Replica()).codec
        client = ControlClient(ControlFile.read(state))
        answer = client.send("create", controllers=[to_text(ME.principal)])
        self.id = from_text(answer["canister_id"])

    def started(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*START, str(self.state)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        self.address = ready["url"].removeprefix("http://")
        self.root_key = bytes.fromhex(ready["root_key"])
        return process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.kills += 1

    def manage(self, method: str, **fields: Any) -> Any:
        arg = self.codec.encode_args(method, {"canister_id": self.id, **fields})
        values = self.codec.decode_reply(method, self.call(b"", method, arg))
        return values[0] if values else None

    def call(self, callee: bytes, method: str, arg: bytes) -> bytes:
        content = small.call(callee, method, arg, sender=ME.principal, nonce=self.rng.randbytes(16))
        body = small.envelope(content, ME)
        killer = None
        if self.rng.random() < 0.4:
            killer = threading.Timer(self.rng.random() ** 2 * 0.03, self.kill)
            killer.start()
        while True:
            try:
                reply = self.reply(content, body)
            except (OSError, http.client.HTTPException):
                reply = None
            if killer is not None:
                killer.join()
                killer = None
                self.process = self.started()
            elif reply is None:
                time.sleep(0.02)
            if reply is not None:
                return reply

    def reply(self, content: dict[str, Any], body: bytes) -> bytes | None:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        connection.request("POST", f"/api/v4/canister/{to_text(self.id)}/call", body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status == 202:
            return None
        assert answer.status == 200, data
        certificate = cbor2.loads(data)["certificate"]
        tree = small.check_certificate(certificate, self.root_key, canister_id=self.id)
        path = (b"request_status", small.hash_value(content))
        found = small.lookup(tree, *path, b"reply")
        assert isinstance(found, bytes), small.lookup(tree, *path, b"reject_message")
        return found


def step(subject: Subject, model: Model, rng: random.Random) -> None:
    kind = rng.choice(["write"] * 6 + ["grow", "take", "load", "delete", "upload", "upload", "put"])
    now = model.canister
    if kind in ("write", "grow"):
        write(subject, now, rng, grows=kind == "grow")
    elif kind == "take" and len(model.snapshots) + len(model.uploads) < 6:
        made = subject.manage("take_canister_snapshot")["id"]
        model.snapshots[made] = now.copy()
    elif kind == "load" and model.snapshots:
        wanted = rng.choice(sorted(model.snapshots))
        subject.manage("load_canister_snapshot", snapshot_id=wanted)
        model.canister = model.snapshots[wanted].copy()
    elif kind == "delete" and model.snapshots:
        wanted = rng.choice(sorted(model.snapshots))
        subject.manage("delete_canister_snapshot", snapshot_id=wanted)
        del model.snapshots[wanted]
    elif kind == "upload" and len(model.snapshots) + len(model.uploads) < 6:
        sizes = {"wasm_module_size": 9, "wasm_memory_size": 0, "stable_memory_size": 8 * PAGE}
        rest = {"globals": [], "certified_data": b""}
        made = subject.manage("upload_canister_snapshot_metadata", **sizes, **rest)["snapshot_id"]
        model.uploads[made] = bytearray(8 * PAGE)
    elif kind == "put" and model.uploads:
        wanted, offset = rng.choice(sorted(model.uploads)), rng.randrange(6 * PAGE)
        chunk = rng.randbytes(rng.choice([10, 4096, 100_000]))
        subject.manage(
            "upload_canister_snapshot_data",
            snapshot_id=wanted,
            kind=("stable_memory", {"offset": offset}),
            chunk=chunk,
        )
        model.uploads[wanted][offset : offset + len(chunk)] = chunk


def write(subject: Subject, now: State, rng: random.Random, *, grows: bool) -> None:
    operation = rng.choice([GROW, STABLE_GROW] if grows else [WRITE, STABLE_WRITE])
    memory = now.heap if operation in (WRITE, GROW) else now.stable
    data = b"" if grows else rng.randbytes(rng.choice([1, 5000, 40_000]))
    number = rng.randrange(3) if grows else rng.randrange(50_000, 120_000)
    if not grows and number + len(data) > len(memory):
        return
    order = scribe_order(operation, number, data)
    subject.call(subject.id, "run", order)
    now.heap[: len(order)] = order
    if grows:
        memory += bytes(number * PAGE)
    else:
        memory[number : number + len(data)] = data
    now.calls += 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_equals_the_model(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    state = tmp_path / "state"
    subject = Subject(state, rng)
    try:
        fields = {
            "mode": ("install", None),
            "wasm_module": scribe(is_64=bool(seed % 2)),
            "arg": b"",
        }
        subject.manage("install_code", **fields)
        model = Model(State(bytearray(2 * PAGE), bytearray()))
        for _ in range(60):
            step(subject, model, rng)
    finally:
        subject.kill()
    assert subject.kills > 10
    replica = Replica(state_dir=state)
    canister = replica.canisters[subject.id]
    check(canister, model.canister)
    assert canister.snapshots.keys() == model.snapshots.keys() | model.uploads.keys()
    for snapshot_id, taken in model.snapshots.items():
        check(canister.snapshots[snapshot_id], taken)
    for snapshot_id, content in model.uploads.items():
        blob = canister.snapshots[snapshot_id].stable
        assert blob.read(0, blob.size) == content
    replica.close()


def check(found: Any, expected: State) -> None:
    assert found.heap.read(0, found.heap.size) == expected.heap
    assert found.stable.read(0, found.stable.size) == expected.stable
    sign = found.globals[2].bits >> 63
    assert sign == expected.calls % 2
