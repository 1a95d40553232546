import http.client
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import cbor2
import pytest
import wasmtime

from dfx_backup.errors import (
    BackupError,
    LockedError,
    NetworkError,
    ProjectError,
    RejectError,
    UsageError,
)
from dfx_backup.replica.control_client import ControlClient, ControlFile
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.replica import Limits
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from tests.fakes import small_client as small
from tests.fakes.wat_canisters import canister, proxy, proxy_order

COUNTER = wasmtime.wat2wasm("""
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "time" (func $time (result i64)))
  (memory (export "memory") 40)
  (func $answer (param $size i32)
    (call $append (i32.const 0) (local.get $size))
    (call $reply))
  (func (export "canister_update bump")
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $answer (i32.const 4)))
  (func (export "canister_update big") (call $answer (i32.const 2000000)))
  (func (export "canister_update slow") (local $left i64)
    (local.set $left (i64.const 1500000000))
    (loop $again
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br_if $again (i64.ne (local.get $left) (i64.const 0))))
    (call $answer (i32.const 4)))
  (func (export "canister_query get") (call $answer (i32.const 4)))
  (func (export "canister_query now")
    (i64.store (i32.const 8) (call $time))
    (call $append (i32.const 8) (i32.const 8))
    (call $reply)))
""")
ME = small.ed25519_signer(9)


@pytest.fixture
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start(seed=1) as running:
        yield running


class Client:
    """One kept-alive connection to a server."""

    def __init__(self, server: ReplicaServer) -> None:
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def request(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        self.connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def send(self, canister_id: bytes, content: dict[str, Any], version: int) -> dict[str, Any]:
        path = f"/api/v{version}/canister/{to_text(canister_id)}/{content['request_type']}"
        status, body = self.request(path, small.envelope(content, ME))
        assert status == 200, body
        answer: dict[str, Any] = cbor2.loads(body.removeprefix(small.TAG))
        return answer

    def call(self, canister_id: bytes, method: str, **more: Any) -> bytes:
        content = small.call(canister_id, method, sender=ME.principal, **more)
        answer = self.send(canister_id, content, 4)
        form = "sharded" if self.server.keys.delegation else None
        tree = small.check_certificate(
            answer["certificate"], self.server.root_key, canister_id=canister_id, form=form
        )
        reply = small.lookup(tree, b"request_status", small.hash_value(content), b"reply")
        assert isinstance(reply, bytes)
        return reply

    def query(self, canister_id: bytes, method: str) -> bytes:
        content = small.call(canister_id, method, kind="query", sender=ME.principal)
        reply: bytes = self.send(canister_id, content, 3)["reply"]["arg"]
        return reply


def deployed(server: ReplicaServer) -> bytes:
    canister_id = server.replica.create_canister(controllers=[ME.principal])
    server.replica.install(canister_id, COUNTER)
    return canister_id


def test_it_starts_and_stops_fast_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    began = time.monotonic()
    server = ReplicaServer.start()
    started = time.monotonic() - began
    with Client(server) as client:
        assert client.request("/api/v2/status")[0] == 200
        server.close()
        server.close()
        with pytest.raises(OSError, match=r".*"):
            client.request("/api/v2/status")
    assert started < 0.5
    assert threading.active_count() == before
    with pytest.raises(OSError, match=r".*"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_it_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ReplicaServer.start() as server, Client(server) as client:
        status = cbor2.loads(client.request("/api/v2/status")[1].removeprefix(small.TAG))
        assert "development replica" in status["impl_version"]
        assert status["root_key"] == server.root_key
        assert server.url in caplog.text
    assert "development replica" in caplog.text


@pytest.mark.parametrize("delegation", [False, True])
def test_calls_and_queries_over_one_connection(delegation: bool) -> None:  # noqa: FBT001
    with ReplicaServer.start(delegation=delegation) as server, Client(server) as client:
        canister_id = deployed(server)
        assert canister_id.startswith(bytes.fromhex("8000000000100000"))
        assert client.call(canister_id, "bump") == b"\1\0\0\0"
        assert client.call(canister_id, "bump", nonce=b"x") == b"\2\0\0\0"
        assert client.query(canister_id, "get") == b"\2\0\0\0"
        assert len(client.call(canister_id, "big")) == 2_000_000
        assert server.faults.counters().executed == {"bump": 2, "big": 1}


def test_many_connections_at_once(server: ReplicaServer) -> None:
    canister_id = deployed(server)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Client(server) as client:
                for turn in range(3):
                    client.call(canister_id, "bump", nonce=bytes([number, turn]))
        except BaseException as error:  # noqa: BLE001 - any failure in a thread must be seen
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with Client(server) as client:
        assert client.query(canister_id, "get") == (180).to_bytes(4, "little")


def test_a_long_message_is_polled_while_it_executes() -> None:
    with ReplicaServer.start(sync_timeout_s=0.1) as server, Client(server) as client:
        canister_id = deployed(server)
        content = small.call(canister_id, "slow", sender=ME.principal)
        request_id = small.hash_value(content)
        path = f"/api/v4/canister/{to_text(canister_id)}/call"
        assert client.request(path, small.envelope(content, ME)) == (202, b"")
        seen: list[Any] = []
        while seen[-1:] != [b"replied"]:
            read = small.read([b"request_status", request_id], sender=ME.principal)
            began = time.monotonic()
            certificate = client.send(canister_id, read, 3)["certificate"]
            assert time.monotonic() - began < 0.5
            tree = small.check_certificate(certificate, server.root_key)
            seen.append(small.lookup(tree, b"request_status", request_id, b"status"))
            time.sleep(0.02)
        assert seen[0] == b"processing"


def test_one_replica_to_a_state_directory(tmp_path: Path) -> None:
    with ReplicaServer.start(state_dir=tmp_path, control=True) as server:
        with pytest.raises(LockedError, match="another replica") as caught:
            ReplicaServer.start(state_dir=tmp_path, control=True)
        assert str(tmp_path) in caught.value.message
        assert ControlFile.read(tmp_path).url == server.url


def test_state_directories_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ProjectError, match="file"):
        ReplicaServer.start(state_dir=file)


def test_state_and_keys_survive_a_restart(tmp_path: Path) -> None:
    with ReplicaServer.start(state_dir=tmp_path) as server, Client(server) as client:
        canister_id, root_key = deployed(server), server.root_key
        client.call(canister_id, "bump")
    with ReplicaServer.start(state_dir=tmp_path) as server, Client(server) as client:
        assert server.root_key == root_key
        assert client.call(canister_id, "bump") == b"\2\0\0\0"


def killed(server: ReplicaServer, state: Path, copy: Path) -> Path:
    """The state directory as a kill at this moment would leave it."""
    with server.replica.lock:
        shutil.copytree(state, copy)
    return copy


def test_an_envelope_executes_once_whatever_happens_to_the_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    small_call = {"sender": ME.principal, "nonce": b"1"}
    with ReplicaServer.start(state_dir=state) as server, Client(server) as client:
        canister_id = deployed(server)
        bump = small.call(canister_id, "bump", **small_call)
        big = small.call(canister_id, "big", **small_call)
        first = client.send(canister_id, bump, 4)
        client.send(canister_id, big, 4)
        copy = killed(server, state, tmp_path / "copy")
    with ReplicaServer.start(state_dir=copy) as server, Client(server) as client:
        again = client.send(canister_id, bump, 4)
        trees = [
            small.check_certificate(each["certificate"], server.root_key, canister_id=canister_id)
            for each in (first, again, client.send(canister_id, big, 4))
        ]
        path = (b"request_status", small.hash_value(bump))
        assert small.lookup(trees[1], *path, b"reply") == b"\1\0\0\0"
        assert small.lookup(trees[0], *path, b"reply") == b"\1\0\0\0"
        status = small.lookup(trees[2], b"request_status", small.hash_value(big), b"status")
        assert status == b"done"
        assert client.query(canister_id, "get") == b"\1\0\0\0"
        stranger = small.ed25519_signer(10)
        read = small.read(list(path), sender=stranger.principal)
        where = f"/api/v3/canister/{to_text(canister_id)}/read_state"
        assert client.request(where, small.envelope(read, stranger))[0] == 403


def test_open_calls_and_stops_are_answered_after_a_kill(tmp_path: Path) -> None:
    state, jammed = tmp_path / "state", Limits(messages_per_drain=0)
    with (
        ReplicaServer.start(state_dir=state, limits=jammed, sync_timeout_s=0.1) as server,
        Client(server) as client,
    ):
        a, b = (server.replica.create_canister(controllers=[ME.principal]) for _ in range(2))
        for each in (a, b):
            server.replica.install(each, proxy())
        arg = proxy_order(b, "echo", b"late")
        forward = small.call(a, "forward", arg, sender=ME.principal)
        argument = bytes.fromhex("4449444c016c01b3c4b1f20468010001") + bytes([len(a)]) + a
        stop = small.call(b"", "stop_canister", argument, sender=ME.principal)
        where = f"/api/v4/canister/{to_text(a)}/call"
        for content in (forward, stop):
            assert client.request(where, small.envelope(content, ME)) == (202, b"")
        copy = killed(server, state, tmp_path / "copy")
    with ReplicaServer.start(state_dir=copy) as server, Client(server) as client:
        for content, reply in ((forward, bytes(8) + b"late"), (stop, b"DIDL\0\0")):
            status, body = client.request(where, small.envelope(content, ME))
            assert status == 200, body
            certificate = cbor2.loads(body)["certificate"]
            tree = small.check_certificate(certificate, server.root_key, canister_id=a)
            found = small.lookup(tree, b"request_status", small.hash_value(content), b"reply")
            assert found == reply
        assert server.replica.canister(a).status is RunState.STOPPED


def test_timers_and_heartbeats_go_on_after_traps(server: ReplicaServer) -> None:
    canister_id = server.replica.create_canister(controllers=[ME.principal])
    module = canister("""
      (func (export "canister_init") (drop (call $set_timer (i64.const 1))))
      (func (export "canister_global_timer") unreachable)
      (func (export "canister_heartbeat")
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (drop (call $set_timer (i64.const 1)))
        (if (i32.and (i32.load (i32.const 0)) (i32.const 1)) (then
          (i32.store (i32.const 4) (i32.const 1)))))
      (func (export "canister_query beats") (call $append (i32.const 0) (i32.const 4))
        (call $reply))""")
    server.replica.install(canister_id, module)
    with Client(server) as client:
        deadline = time.monotonic() + 10
        while int.from_bytes(client.query(canister_id, "beats"), "little") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    logs = server.replica.canister(canister_id).logs
    assert len(logs) >= 3
    assert logs[0].content == b"[TRAP]: wasm `unreachable` instruction executed"


def test_a_bug_ends_everything_and_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ReplicaServer.start(state_dir=tmp_path) as server, Client(server) as client:
        canister_id = deployed(server)
        client.call(canister_id, "bump")
        state = server.replica.canister(canister_id)

        def broken(*_: object) -> None:
            state.certified_data = b"half done"
            raise ZeroDivisionError("oops")

        server.replica._scheduler.round = broken  # type: ignore[method-assign]
        server._threads[1].join(5)
        assert "The replica has a bug: ZeroDivisionError: oops" in caplog.text
        path = f"/api/v4/canister/{to_text(canister_id)}/call"
        content = small.call(canister_id, "bump", sender=ME.principal)
        status, body = client.request(path, small.envelope(content, ME))
        assert (status, body) == (500, b"The replica has a bug: ZeroDivisionError: oops")
        status, body = client.request("/api/v2/status")
        assert cbor2.loads(body)["replica_health_status"] == "unhealthy"
    with ReplicaServer.start(state_dir=tmp_path) as server, Client(server) as client:
        assert server.replica.canister(canister_id).certified_data == b""
        assert client.send(canister_id, content, 4)["status"] == "replied"
        assert client.query(canister_id, "get") == b"\2\0\0\0"


def test_time_moves_when_told(server: ReplicaServer) -> None:
    canister_id = deployed(server)
    with Client(server) as client:
        before = int.from_bytes(client.query(canister_id, "now"), "little")
        server.advance_time(1000)
        content = small.call(canister_id, "now", kind="query", ingress_expiry=1)
        path = f"/api/v3/canister/{to_text(canister_id)}/query"
        status, body = client.request(path, small.envelope(content))
        assert status == 200
        after = int.from_bytes(cbor2.loads(body[3:])["reply"]["arg"], "little")
    assert 1000e9 <= after - before < 1010e9
    with pytest.raises(UsageError, match="back"):
        server.advance_time(-1)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_it_binds_to_loopback_only(host: str) -> None:
    with pytest.raises(UsageError, match=r"loopback|no IP address"):
        ReplicaServer.start(host=host)


def test_a_taken_port_is_one_clear_error(server: ReplicaServer) -> None:
    with pytest.raises(NetworkError, match=str(server.port)) as caught:
        ReplicaServer.start(port=server.port)
    assert caught.value.hint
    with pytest.raises(NetworkError):
        ReplicaServer.start(port=99999)


# HTTP as it is spoken on the wire


def raw(server: ReplicaServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 6000000\r\n", 413),
        (b"Content-Length: 99999999999\r\n", 413),
        (b"Content-Length: x\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", 411),
    ],
)
def test_bodies_that_are_not_read(server: ReplicaServer, head: bytes, status: int) -> None:
    path = b"/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/call"
    body = bytes(6_000_000) if b" 6000000" in head else b""
    data = raw(server, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body)
    assert data.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in data


def test_garbage_and_half_requests_do_no_harm(server: ReplicaServer) -> None:
    assert b"400" in raw(server, b"\0\1\2\r\n\r\n")
    half = b"POST /api/v4/canister/aaaaa-aa/call HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(half)
    assert raw(server, b"GET /api/v2/status HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert raw(server, b"BREW / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 501")


def test_a_failure_of_ours_is_a_500(
    server: ReplicaServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.edge, "handle", broken)
    with Client(server) as client:
        assert client.request("/api/v2/status")[0] == 500
    assert "ZeroDivisionError" in caplog.text


# Faults that need a socket


def test_dropped_cut_and_hanging_connections(server: ReplicaServer) -> None:
    server.faults.set(affected_kinds=["status"], drop_before_next=1)
    with Client(server) as client, pytest.raises(http.client.RemoteDisconnected):
        client.request("/api/v2/status")
    server.faults.set(truncate_next=1)
    with Client(server) as client, pytest.raises(http.client.IncompleteRead) as caught:
        client.request("/api/v2/status")
    assert caught.value.partial
    server.faults.set(hang_next=2, hang_s=0.2)
    began = time.monotonic()
    with Client(server) as client, pytest.raises(http.client.RemoteDisconnected):
        client.request("/api/v2/status")
    assert 0.2 <= time.monotonic() - began < 3
    server.faults.set(hang_s=60)
    with Client(server) as client:
        client.connection.request("GET", "/api/v2/status")
        time.sleep(0.05)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 3


def test_a_sleeping_request_does_not_hold_up_the_stop(server: ReplicaServer) -> None:
    server.faults.set(latency_status_s=60)
    with Client(server) as client:
        client.connection.request("GET", "/api/v2/status")
        time.sleep(0.05)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 3


def test_a_late_stop(server: ReplicaServer) -> None:
    canister_id = deployed(server)
    server.faults.set(delayed_execution={"stop_canister": {"seconds": 0.3}})
    arg = bytes.fromhex("4449444c016c01b3c4b1f204680100010a") + canister_id
    with Client(server) as client:
        content = {**small.call(canister_id, "stop_canister", arg, sender=ME.principal)}
        content["canister_id"] = b""
        path = f"/api/v4/canister/{to_text(canister_id)}/call"
        with pytest.raises(http.client.RemoteDisconnected):
            client.request(path, small.envelope(content, ME))
    assert server.replica.canister(canister_id).status == "running"
    deadline = time.monotonic() + 5
    while server.replica.canister(canister_id).status != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The control endpoint


@pytest.fixture
def controlled(tmp_path: Path) -> Iterator[ReplicaServer]:
    with ReplicaServer.start(state_dir=tmp_path, control=True) as running:
        yield running


@pytest.fixture
def control(controlled: ReplicaServer, tmp_path: Path) -> ControlClient:
    file = ControlFile.read(tmp_path)
    assert (file.url, file.root_key) == (controlled.url, controlled.root_key)
    assert file.path.stat().st_mode & 0o777 == 0o600
    return ControlClient(file)


def b64(data: bytes) -> str:
    import base64  # noqa: PLC0415 - one use

    return base64.b64encode(data).decode()


def test_canisters_are_made_and_changed(controlled: ReplicaServer, control: ControlClient) -> None:
    text = to_text(ME.principal)
    made = control.send("deploy", wasm=b64(COUNTER), controllers=[text], cycles="5000000000000")
    empty = control.send("create", specified_id="em77e-bvlzu-aq", cycles=7)
    assert empty == {"canister_id": "em77e-bvlzu-aq"}
    with Client(controlled) as client:
        canister_id = next(iter(controlled.replica.canisters))
        assert to_text(canister_id) == made["canister_id"]
        assert client.call(canister_id, "bump") == b"\1\0\0\0"
    canister = controlled.replica.canister(canister_id)
    assert canister.controllers == [ME.principal]
    assert canister.cycles == 5_000_000_000_000
    assert canister.module is not None
    assert canister.module.sha256.hex() == made["module_hash"]
    control.send("set_cycles", canister_id=made["canister_id"], cycles=str(1 << 100))
    assert canister.cycles == 1 << 100
    upgraded = control.send(
        "deploy", wasm=b64(COUNTER), canister_id=made["canister_id"], mode="upgrade"
    )
    assert upgraded["canister_id"] == made["canister_id"]


def test_faults_and_counters_over_control(
    controlled: ReplicaServer, control: ControlClient
) -> None:
    changed = control.send("faults/set", latency_call_s=0.5, lost_reply={"x": 1})
    assert (changed["latency_call_s"], changed["lost_reply"]) == (0.5, {"x": 1})
    assert control.send("faults/get") == changed == json.loads(json.dumps(changed))
    assert controlled.faults.current.latency_call_s == 0.5
    assert control.send("faults/reset")["latency_call_s"] == 0
    with Client(controlled) as client:
        client.request("/api/v2/status")
    assert control.send("counters")["requests"] == {"status": 1}
    control.send("counters/reset")
    assert control.send("counters")["requests"] == {}
    before = controlled.replica.now_ns()
    assert control.send("advance_time", seconds=3600)["now_ns"] - before >= 3600e9


@pytest.mark.parametrize(
    ("action", "fields", "error", "match"),
    [
        ("faults/set", {"nonsense": 1}, UsageError, "nonsense"),
        ("faults/get", {"x": 1}, UsageError, "'x'"),
        ("create", {"x": 1}, UsageError, "'x'"),
        ("create", {"controllers": "me"}, UsageError, "controllers"),
        ("create", {"controllers": ["me"]}, UsageError, "controllers"),
        ("create", {"cycles": -1}, UsageError, "cycles"),
        ("create", {"cycles": 1 << 128}, UsageError, "cycles"),
        ("deploy", {}, UsageError, "wasm"),
        ("deploy", {"wasm": "§"}, UsageError, "base64"),
        ("deploy", {"wasm": "", "mode": "x"}, UsageError, "mode"),
        ("deploy", {"wasm": "aGFsbG8="}, RejectError, "(?i)wasm"),
        ("set_cycles", {"cycles": 1}, UsageError, "canister_id"),
        ("set_cycles", {"canister_id": "aaaaa-aa", "cycles": 1}, RejectError, "not found"),
        ("advance_time", {}, UsageError, "seconds"),
        ("advance_time", {"seconds": -1}, UsageError, "back"),
        ("nothing", {}, UsageError, "nothing"),
    ],
)
def test_bad_control_requests_are_refused_in_words(
    controlled: ReplicaServer,
    control: ControlClient,
    action: str,
    fields: dict[str, Any],
    error: type[BackupError],
    match: str,
) -> None:
    with pytest.raises(error, match=match):
        control.send(action, **fields)
    assert not controlled.replica.canisters


def test_control_needs_the_token(controlled: ReplicaServer, tmp_path: Path) -> None:
    token = ControlFile.read(tmp_path).token
    with Client(controlled) as client:
        for value in ("", token, "Bearer ", f"Bearer {token[:-1]}", "Bearer ünïcode"):
            header = {"Authorization": value.encode().decode("latin-1")} if value else {}
            assert client.request("/_control/counters", b"{}", header)[0] == 401
        good = {"Authorization": f"Bearer {token}"}
        assert client.request("/_control/counters", b"{}", good)[0] == 200
        assert client.request("/_control/counters", None, good)[0] == 404
        for body in (b"[", b"[]"):
            assert client.request("/_control/counters", body, good)[0] == 400


def test_control_is_off_unless_asked_for(server: ReplicaServer, tmp_path: Path) -> None:
    with Client(server) as client:
        assert client.request("/_control/counters", b"{}")[0] == 404
    with pytest.raises(UsageError, match="state directory"):
        ReplicaServer.start(control=True)
    with pytest.raises(ProjectError, match="no replica"):
        ControlFile.read(tmp_path)


def test_the_control_file_goes_with_the_replica(tmp_path: Path) -> None:
    with ReplicaServer.start(state_dir=tmp_path, control=True):
        file = ControlFile.read(tmp_path)
    assert not file.path.exists()
    with pytest.raises(NetworkError, match="does not answer"):
        ControlClient(file, timeout_s=2).send("counters")
    for text in ("", "{}", "[]", '{"url": 1, "token": 2, "root_key": "zz"}'):
        file.path.write_text(text)
        with pytest.raises(ProjectError, match=r"control\.json"):
            ControlFile.read(tmp_path)
    with ReplicaServer.start(state_dir=tmp_path, control=True) as server:
        assert ControlFile.read(tmp_path).url == server.url
        file.path.write_text("{}")
    assert file.path.exists()
    assert os.listdir(tmp_path)  # noqa: PTH208 - names are not looked at
