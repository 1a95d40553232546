import json
import os
from pathlib import Path

import pytest

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.e2e.conftest import run_judge

pytestmark = pytest.mark.judge


class Icp:
    """The real icp binary with a home of its own, pointed at one replica and canister."""

    def __init__(self, binary: Path, home: Path, server: ReplicaServer) -> None:
        self._binary = binary
        self._server = server
        self.env = {
            "HOME": str(home),
            "ICP_HOME": str(home / "icp"),
            "PATH": os.environ["PATH"],
            "DO_NOT_TRACK": "1",
            "RUST_BACKTRACE": "0",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self.run("identity", "new", "alice", "--storage", "plaintext", "-q")
        self.principal = self.run("identity", "principal", "--identity", "alice").strip()
        self.canister = ""

    def run(self, *words: str) -> str:
        return run_judge([str(self._binary), *words], env=self.env)

    def at(self, *words: str) -> str:
        """Run `icp canister …` on the canister, as alice, on the replica."""
        where = ("-n", self._server.url, "-k", self._server.root_key.hex(), "--identity", "alice")
        return self.run("canister", *words, *where)

    def dump(self) -> list[str]:
        out = self.at("call", self.canister, "dump", "()", "--query", "--json")
        text = json.loads(out)["response_candid"]
        return [part for part in text.split('"')[1::2] if part]


@pytest.fixture
def icp(icp_binary: Path, tmp_path: Path, server: ReplicaServer, chat_wasm: bytes) -> Icp:
    driver = Icp(icp_binary, tmp_path, server)
    controller = Principal.from_text(driver.principal).raw
    chat = server.replica.create_canister(controllers=[controller])
    server.replica.install(chat, chat_wasm)
    driver.canister = Principal(chat).to_text()
    return driver


def test_every_snapshot_command_of_icp(icp: Icp, tmp_path: Path) -> None:
    chat = icp.canister
    folder = tmp_path / "snapshot"
    icp.at("call", chat, "append", '("Hi there!")')
    assert json.loads(icp.at("status", chat, "--json"))["status"] == "Running"

    icp.at("stop", chat)
    created = json.loads(icp.at("snapshot", "create", chat, "--json"))
    icp.at("start", chat)
    listed = json.loads(icp.at("snapshot", "list", chat, "--json"))["snapshots"]
    assert [entry["snapshot_id"] for entry in listed] == [created["snapshot_id"]]
    icp.at("snapshot", "download", chat, created["snapshot_id"], "-o", str(folder))

    icp.at("call", chat, "remove_spam", "()")
    assert icp.dump() == []
    icp.at("stop", chat)
    icp.at("snapshot", "restore", chat, created["snapshot_id"])
    icp.at("start", chat)
    assert icp.dump() == ["Hi there!"]

    uploaded = json.loads(icp.at("snapshot", "upload", chat, "-i", str(folder), "--json"))
    icp.at("call", chat, "remove_spam", "()")
    icp.at("stop", chat)
    icp.at("snapshot", "restore", chat, uploaded["snapshot_id"])
    icp.at("start", chat)
    assert icp.dump() == ["Hi there!"]

    for snapshot in (created, uploaded):
        icp.at("snapshot", "delete", chat, snapshot["snapshot_id"])
    assert json.loads(icp.at("snapshot", "list", chat, "--json"))["snapshots"] == []
