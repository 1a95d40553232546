"""The stand-in keeps to what dfx does: streams, texts, exit codes, arguments, extensions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.drivers.process import run
from dfx_backup.drivers.terminal import Question
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import ReplicaBench, identity, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.dfx.shell import DEPRECATION
from tests.fakes.memory_driver import MemoryDriver
from tests.fakes.memory_management import MemorySubnet

NOBODY = MemoryDriver(MemorySubnet())


class Local:
    """A stand-in whose network `local` is an embedded replica."""

    def __init__(self, server: ReplicaServer, folder: Path, version: str) -> None:
        self.dfx = FakeDfx.install(folder, version=version)
        self.dfx.add_identity("alice", pem("alice"))
        self.dfx.add_identity("mallory", pem("mallory"), select=False)
        self.dfx.point_local_at(server.url)
        self.bench = ReplicaBench(server, driver=NOBODY, stranger=NOBODY, down=NOBODY)
        self.canister = self.bench.canister


@pytest.fixture
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start() as started:
        yield started


@pytest.fixture
def local(server: ReplicaServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Local]:
    made = Local(server, tmp_path, getattr(request, "param", "0.32.0"))
    yield made
    made.bench.close()
    made.dfx.check()


def without_notice(text: str) -> str:
    return text.replace(DEPRECATION + "\n", "")


# -- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["0.25.0", "0.32.0"], indirect=True)
def test_results_move_to_standard_output_with_0_32(local: Local) -> None:
    old = local.dfx.version != "0.32.0"
    name = local.canister
    stopped = local.dfx.run("canister", "stop", name)
    assert stopped.returncode == 0
    assert stopped.stdout == ""
    line = f"Stopping code for canister {name}, with canister_id {name}\n"
    assert without_notice(stopped.stderr) == line
    assert (DEPRECATION in stopped.stderr) is not old
    created = local.dfx.run("canister", "snapshot", "create", name)
    stream, other = (
        (created.stderr, created.stdout)
        if old
        else (created.stdout, without_notice(created.stderr))
    )
    (snapshot,) = local.bench.snapshots()
    assert stream == f"Created a new snapshot of canister {name}. Snapshot ID: {snapshot}\n"
    assert other == ""
    listed = local.dfx.run("canister", "snapshot", "list", name, "-q")
    assert (snapshot in listed.stdout) is not old
    assert snapshot not in listed.stderr  # -q hides what the log would tell
    assert listed.returncode == 0


def test_the_notice_can_be_turned_off_and_is_not_part_of_the_version(local: Local) -> None:
    assert local.dfx.run("--version").stdout == "dfx 0.32.0\n"
    assert local.dfx.run("--version").stderr == ""
    quiet = local.dfx.run("identity", "whoami", DFX_WARNING="-x,-deprecation")
    assert (quiet.stdout, quiet.stderr) == ("alice\n", "")
    assert DEPRECATION in local.dfx.run("identity", "whoami", "-qq").stderr


# -- refusals -------------------------------------------------------------------------------------


def test_a_running_canister_is_refused_in_dfx_s_own_words(local: Local) -> None:
    told = local.dfx.run("canister", "snapshot", "create", local.canister)
    assert told.returncode == 255
    assert without_notice(told.stderr) == (
        f"Error: Canister {local.canister} is running and snapshots should not be taken of running "
        "canisters. Run `dfx canister stop` first\n"
    )


def test_the_diagnosis_replaces_the_chain_unless_verbose(local: Local) -> None:
    words = ("canister", "stop", local.canister, "--identity", "mallory")
    short = local.dfx.run(*words)
    assert short.returncode == 255
    assert "is not part of the controllers" in short.stderr
    assert "Only controllers of canister" not in short.stderr
    full = local.dfx.run(*words, "-v")
    assert "is not part of the controllers" in full.stderr
    assert "IC0512" in full.stderr


def test_a_replica_that_is_down_is_diagnosed(tmp_path: Path) -> None:
    dfx = FakeDfx.install(tmp_path)
    dfx.add_identity("alice", pem("alice"))
    dfx.point_local_at("http://127.0.0.1:1")
    told = dfx.run("canister", "status", "aaaaa-aa")
    assert told.returncode == 255
    assert without_notice(told.stderr) == (
        "Error: You are trying to connect to the local replica but dfx cannot connect to it.\n"
        "To fix: Target a different network or run 'dfx start' to start the local replica.\n"
    )
    dfx.check()


def test_names_are_looked_up_in_the_project(local: Local, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / ".dfx" / "local").mkdir(parents=True)
    (root / "src").mkdir()
    (root / "dfx.json").write_text(json.dumps({"canisters": {"chat": {}}}))
    ids = {"chat": {"local": local.canister}}
    (root / ".dfx" / "local" / "canister_ids.json").write_text(json.dumps(ids))
    found = local.dfx.run("canister", "id", "chat", cwd=root / "src")
    assert found.stdout == f"{local.canister}\n"
    told = local.dfx.run("canister", "status", "chat", cwd=root / "src")
    assert told.stdout.startswith("Canister status call result for chat.\nStatus: Running\n")
    missing = local.dfx.run("canister", "id", "shop", cwd=root)
    assert "Please issue 'dfx canister create shop'." in missing.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["canister", "status", "x", "--json"], "unexpected argument '--json' found"),
        (["canister", "bogus"], "unrecognized subcommand 'bogus'"),
        (["canister", "stop"], "required arguments were not provided"),
        (["canister", "stop", "x", "--network"], "a value is required for '--network <NETWORK>'"),
        (["canister", "snapshot", "load", "x", "123"], "Odd number of digits"),
        (["wallet", "balance"], "unrecognized subcommand 'wallet'"),
        (["canister", "stop", "x", "--identity", "a", "--identity", "b"], "multiple times"),
    ],
)
def test_what_it_does_not_know_it_refuses_and_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    dfx = FakeDfx.install(tmp_path)
    assert dfx.run_inside(*argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    with pytest.raises(AssertionError):
        dfx.check()
    dfx.run_inside(*argv)
    assert [note["argv"] for note in dfx.refused()] == [argv]
    dfx.check()


def test_ic_and_the_variable_can_not_be_had_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dfx = FakeDfx.install(tmp_path)
    assert dfx.run_inside("canister", "status", "aaaaa-aa", "--ic", DFX_NETWORK="local") == 2
    assert "'--ic' cannot be used with '--network <NETWORK>'" in capsys.readouterr().err
    assert len(dfx.refused()) == 1
    assert dfx.run_inside("canister", "status", "aaaaa-aa", DFX_NETWORK="") == 255
    assert "Network not found: \n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "refused"),
    [("0.22.0", "snapshot"), ("0.25.0", "download"), ("0.30.1", None), ("0.32.0", None)],
)
def test_older_versions_do_not_know_newer_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, refused: str | None
) -> None:
    dfx = FakeDfx.install(tmp_path, version=version)
    dfx.point_local_at("http://127.0.0.1:1")
    words = ("canister", "snapshot", "download", "aaaaa-aa", "00", "--dir", "/nowhere")
    assert dfx.run_inside(*words) == (2 if refused else 255)
    assert bool(dfx.refused()) is bool(refused)
    if refused:
        assert f"unrecognized subcommand '{refused}'" in capsys.readouterr().err


def test_the_first_call_makes_a_default_identity(tmp_path: Path) -> None:
    dfx = FakeDfx.install(tmp_path)
    told = dfx.run("identity", "whoami")
    assert told.stdout == "default\n"
    assert "seed phrase" in told.stderr
    text = (dfx.config / "identity" / "default" / "identity.pem").read_bytes()
    assert text.startswith(b"-----BEGIN EC PRIVATE KEY-----\r\n")
    again = dfx.run("identity", "list")
    assert again.stdout == "anonymous\ndefault\n"
    assert without_notice(again.stderr) == " *"


def test_the_passphrase_is_asked_at_a_terminal_only(tmp_path: Path) -> None:
    dfx = FakeDfx.install(tmp_path)
    dfx.add_encrypted_identity("sealed", pem("alice"), password="correct horse")
    told = dfx.run("identity", "get-principal")
    assert told.returncode == 255
    assert told.stderr.endswith("Caused by: IO error: not a terminal\n")
    assert told.stdout == ""
    done = run(
        [str(dfx.bin_dir / "dfx"), "identity", "get-principal"],
        env=dfx.environment,
        timeout_s=60,
        question=Question(pattern=r"identity: (?!\[hidden)", answer=lambda: "correct horse"),
    )
    assert done.code == 0
    assert done.stdout == f"{identity('alice').principal.to_text()}\n"
    assert "Please enter the passphrase for your identity: [hidden]\n" in done.stderr
    assert done.stderr.endswith("Decryption complete.\n")


# -- transfers ------------------------------------------------------------------------------------


def test_a_snapshot_goes_to_a_folder_and_back(local: Local, tmp_path: Path) -> None:
    local.bench.fill(1)
    (snapshot,) = local.bench.snapshots()
    folder = tmp_path / "snapshot"
    folder.mkdir()
    words = ("canister", "snapshot", "download", local.canister, snapshot, "--dir", str(folder))
    told = local.dfx.run(*words)
    assert told.returncode == 0, told.stderr
    assert without_notice(told.stderr) == (
        f"Snapshot {snapshot} in canister {local.canister} saved to '{folder}'\n"
    )
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["source"] == {"taken_from_canister": None}
    assert (folder / "wasm_memory.bin").stat().st_size == metadata["wasm_memory_size"] == 65536
    assert not (folder / "stable_memory.bin").exists()
    again = local.dfx.run(*words)
    assert again.returncode == 255
    assert "is not empty (to resume an aborted download, use `--resume`)" in again.stderr
    sent = local.dfx.run(
        "canister",
        "snapshot",
        "upload",
        local.canister,
        "--dir",
        str(folder),
        "--replace",
        snapshot,
    )
    assert sent.returncode == 0, sent.stderr
    (uploaded,) = local.bench.snapshots()
    assert uploaded != snapshot
    assert f"Snapshot ID: {uploaded}\n" in sent.stderr
    assert (folder / f"{uploaded}.json").exists()  # dfx leaves it there
    local.bench.write(b"second")
    assert local.dfx.run("canister", "stop", local.canister).returncode == 0
    loaded = local.dfx.run("canister", "snapshot", "load", local.canister, uploaded)
    assert loaded.returncode == 0, loaded.stderr
    assert local.bench.read() == b"first"
