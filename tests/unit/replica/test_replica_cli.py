import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import wasmtime

from dfx_backup.replica.__main__ import main
from dfx_backup.replica.principal import from_text, to_text
from dfx_backup.replica.server import ReplicaServer
from tests.fakes import small_client as small

KEEPER = wasmtime.wat2wasm("""
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "canister_init")
    (i32.store (i32.const 0) (call $size))
    (call $copy (i32.const 4) (i32.const 0) (call $size)))
  (func (export "canister_query get")
    (call $append (i32.const 4) (i32.load (i32.const 0)))
    (call $reply)))
""")
ME = to_text(small.ed25519_signer(9).principal)


class Program:
    """`python -m dfx_backup.replica start …` in a process of its own."""

    def __init__(self, *words: str) -> None:
        argv = [sys.executable, "-m", "dfx_backup.replica", "start", *words]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplicaServer]:
    with ReplicaServer.start(state_dir=tmp_path, control=True) as running:
        yield running


@pytest.fixture
def wasm(tmp_path: Path) -> str:
    path = tmp_path / "keeper.wasm"
    path.write_bytes(KEEPER)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_stops_when_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Program("--state-dir", str(tmp_path), "--control") as program:
        assert set(program.ready) == {"url", "root_key", "pid"}
        assert program.ready["pid"] == program.process.pid
        assert len(bytes.fromhex(program.ready["root_key"])) == 133
        assert (tmp_path / "control.json").exists()
        code, err = program.end(number)
    assert code == 0
    assert "development replica" in err
    assert "Traceback" not in err
    assert not (tmp_path / "control.json").exists()


def test_a_killed_replica_comes_back(
    tmp_path: Path, wasm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = str(tmp_path / "state")
    with Program("--state-dir", state, "--control") as program:
        code, out, _ = run(capsys, "deploy", wasm, "--state-dir", state, "--arg", "616263")
        assert code == 0
        canister_id = from_text(json.loads(out)["canister_id"])
        root_key = program.ready["root_key"]
        program.end(signal.SIGKILL)
    code, _, err = run(capsys, "faults", "counters", "--state-dir", state)
    assert code == 50
    assert "does not answer" in err
    with ReplicaServer.start(state_dir=Path(state), control=True) as server:
        assert server.root_key.hex() == root_key
        assert server.replica.query(b"\4", canister_id, "get", b"") == b"abc"


SCRIBBLER = wasmtime.wat2wasm("""
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $size (result i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory 1 20)
  (global $n (mut i64) (i64.const 0))
  (func $say
    (i64.store (i32.const 0) (global.get $n))
    (i64.store (i32.const 8) (call $size))
    (i64.store (i32.const 16) (i64.load (i32.const 65528)))
    (call $append (i32.const 0) (i32.const 24))
    (call $reply))
  (func (export "canister_update scribble")
    (global.set $n (i64.add (global.get $n) (i64.const 1)))
    (drop (call $grow (i64.const 1)))
    (i64.store (i32.const 65528) (global.get $n))
    (memory.fill (i32.const 64) (i32.wrap_i64 (global.get $n)) (i32.const 30000))
    (call $write (i64.const 0) (i64.const 64) (i64.const 30000))
    (call $write (i64.shl (i64.sub (call $size) (i64.const 1)) (i64.const 16))
                 (i64.const 64) (i64.const 65000))
    (call $say))
  (func (export "canister_query look") (call $say)))
""")


def test_a_full_disk_ends_the_replica_and_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, module = tmp_path / "state", tmp_path / "scribbler.wasm"
    module.write_bytes(SCRIBBLER)
    words = ("--state-dir", str(state))
    with Program(*words, "--control") as program:
        _, out, _ = run(capsys, "deploy", str(module), *words)
        canister_id = from_text(json.loads(out)["canister_id"])
        url = program.ready["url"]
        # no file may grow beyond this, as if the disk were full
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
        done = 0
        while True:
            status, body = post(url, canister_id, small.call(canister_id, "scribble"))
            if status != 200:
                break
            done += 1
            assert done < 100
        assert done > 5
        assert status == 500
        assert b"can't be read or written: File too large" in body
        code, err = program.end(signal.SIGCONT)
        assert code == 30
        assert err.endswith("start the replica again\n")
        assert "Traceback" not in err
    with ReplicaServer.start(state_dir=state) as server:
        canister = server.replica.canister(canister_id)
        reply = server.replica.query(b"\4", canister_id, "look", b"")
        n, pages, mark = (int.from_bytes(reply[i : i + 8], "little") for i in (0, 8, 16))
        assert (n, pages, mark) == (done, done, done)
        assert canister.stable.read(0, 30_000) == bytes([done]) * 30_000
        for page in range(1, done):
            assert canister.stable.read(page << 16, 29_000) == bytes([page + 1]) * 29_000
        server.replica.ingress(b"\4", canister_id, "scribble", b"").get()


def test_a_full_disk_at_the_end_is_told(tmp_path: Path) -> None:
    with Program("--state-dir", str(tmp_path)) as program:
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (10, 10))
        code, err = program.end(signal.SIGTERM)
    assert code == 30
    assert "can't be read or written: File too large" in err
    assert "Traceback" not in err


def post(url: str, canister_id: bytes, content: dict[str, Any]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    path = f"/api/v4/canister/{to_text(canister_id)}/call"
    connection.request("POST", path, small.envelope(content))
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize("missing", ["fcntl", "resource", "wasmtime"])
def test_where_it_can_not_run_it_says_so(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from dfx_backup.replica.__main__ import main
sys.exit(main(["start"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 40
    assert done.stderr.startswith("error: The replica can't run here: ")
    assert "Linux or macOS" in done.stderr
    assert done.stderr.count("\n") == 1


def test_delegation_and_seed(tmp_path: Path) -> None:
    with Program("--seed", "3", "--delegation") as one, Program("--seed", "3") as two:
        assert one.ready["root_key"] == two.ready["root_key"]
        assert one.ready["url"] != two.ready["url"]
    assert not list(tmp_path.iterdir())


def test_deploy(
    server: ReplicaServer, tmp_path: Path, wasm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ("--state-dir", str(tmp_path))
    argument = tmp_path / "arg.bin"
    argument.write_bytes(b"from a file")
    words = ("--controller", ME, "--controller", "aaaaa-aa", "--cycles", "7000000000000")
    code, out, err = run(
        capsys, "deploy", wasm, *state, "--arg-file", str(argument), *words,
        "--specified-id", "em77e-bvlzu-aq",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert json.loads(out)["canister_id"] == "em77e-bvlzu-aq"
    canister = server.replica.canister(bytes.fromhex("abcd01"))
    assert canister.controllers == [b"", from_text(ME)]
    assert canister.cycles == 7_000_000_000_000
    assert server.replica.query(b"\4", bytes.fromhex("abcd01"), "get", b"") == b"from a file"
    assert [(each.kind, each.origin) for each in canister.history] == [
        ("creation", from_text(ME)),
        ("code_deployment", from_text(ME)),
    ]
    assert canister.total_changes == 2
    code, out, err = run(capsys, "deploy", wasm, *state, "--specified-id", "em77e-bvlzu-aq")
    assert (code, out) == (50, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_faults(server: ReplicaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ("--state-dir", str(tmp_path))
    code, out, _ = run(capsys, "faults", "set", '{"latency_call_s": 0.25}', *state)
    assert (code, json.loads(out)["latency_call_s"]) == (0, 0.25)
    assert server.faults.current.latency_call_s == 0.25
    code, out, _ = run(capsys, "faults", "get", *state)
    assert json.loads(out) == json.loads(json.dumps(server.faults.current.to_json()))
    code, out, _ = run(capsys, "faults", "reset", *state)
    assert json.loads(out)["latency_call_s"] == 0
    code, out, _ = run(capsys, "faults", "counters", *state)
    assert json.loads(out)["requests"] == {}


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (("faults", "set", '{"x": 1}'), 2, "no fault switch 'x'"),
        (("faults", "set", "{"), 2, "not JSON"),
        (("faults", "set", "[]"), 2, "not a JSON object"),
        (("faults", "set"), 2, "takes a JSON object"),
        (("faults", "get", "{}"), 2, "take nothing"),
        (("deploy", "/no/such.wasm"), 30, "/no/such.wasm"),
        (("deploy", __file__, "--arg", "xyz"), 2, "hexadecimal"),
        (("deploy", __file__, "--arg-file", "/no/such"), 30, "/no/such"),
        (("deploy", __file__, "--controller", "me"), 2, "not a principal"),
        (("deploy", __file__, "--cycles", "-1"), 2, "cycles"),
        (("deploy", __file__), 50, ""),
    ],
)
def test_errors_are_one_line(
    server: ReplicaServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    match: str,
) -> None:
    got, out, err = run(capsys, *words, "--state-dir", str(tmp_path))
    assert (got, out) == (code, "")
    assert err.startswith("error: ")
    assert match in err
    assert err.count("\n") == 1
    assert not server.replica.canisters


@pytest.mark.parametrize("words", [("faults", "get"), ("deploy", __file__)])
def test_no_replica_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, _, err = run(capsys, *words, "--state-dir", str(tmp_path / "nothing"))
    assert code == 30
    assert "no replica" in err


def test_start_refuses_what_it_must_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "start", "--host", "0.0.0.0")
    assert code == 2
    assert "loopback" in err
    code, _, err = run(capsys, "start", "--control")
    assert code == 2
    assert "state directory" in err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = run(capsys, "start", "--port", port)
    assert code == 50
    assert port in err
    assert err.count("\n") == 1
    (tmp_path / "keys.json").write_text("nothing")
    code, _, err = run(capsys, "start", "--state-dir", str(tmp_path))
    assert code == 20
    assert "keys.json" in err


@pytest.mark.parametrize("words", [(), ("nonsense",), ("faults", "explode"), ("deploy",)])
def test_wrong_words_are_exit_code_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["start", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "loopback" in capsys.readouterr().out


def test_clients_of_the_control_endpoint_do_not_load_the_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from dfx_backup.replica.__main__ import main;"
        f"main(['faults', 'get', '--state-dir', {str(tmp_path)!r}]);"
        "print('wasmtime' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "False\n"
