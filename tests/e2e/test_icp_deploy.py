"""`icp deploy` in a project of its own: canisters come, are upgraded and go."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.e2e.conftest import run_judge

pytestmark = pytest.mark.judge

PROJECT = """
networks:
  - {{name: here, mode: connected, url: "{url}", root-key: {key}}}
environments:
  - {{name: here, network: here}}
canisters:
  - name: chat
    build: {{steps: [{{type: pre-built, path: chat.wasm}}]}}
  - name: large
    settings: {{environment_variables: {{COLOUR: blue}}}}
    build: {{steps: [{{type: pre-built, path: large.wasm}}]}}
"""


def with_sections(wasm: bytes, count: int) -> bytes:
    """The module with custom sections that make it larger than a message may be."""
    size, name = 900_000, b"\4pad"
    for number in range(count):
        body = name + bytes([number]) * size
        wasm += b"\0" + leb(len(body)) + body
    return wasm


def leb(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize("server", [True], ids=["delegated"], indirect=True)
def test_deploy_upgrade_and_delete(
    icp_binary: Path, tmp_path: Path, server: ReplicaServer, chat_wasm: bytes
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    text = PROJECT.format(url=server.url, key=server.root_key.hex())
    (project / "icp.yaml").write_text(text, encoding="utf-8")
    (project / "chat.wasm").write_bytes(chat_wasm)
    (project / "large.wasm").write_bytes(with_sections(chat_wasm, 3))
    env = {
        "HOME": str(tmp_path),
        "ICP_HOME": str(tmp_path / "icp"),
        "PATH": os.environ["PATH"],
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }

    def icp(*words: str) -> str:
        return run_judge([str(icp_binary), *words], env=env, cwd=project)

    def at(*words: str) -> str:
        return icp(*words, "-e", "here", "--identity", "alice")

    def dump() -> list[str]:
        out: dict[str, Any] = json.loads(
            at("canister", "call", "chat", "dump", "()", "--query", "--json")
        )
        return [part for part in str(out["response_candid"]).split('"')[1::2] if part]

    icp("identity", "new", "alice", "--storage", "plaintext", "-q")
    at("deploy")
    at("canister", "call", "chat", "append", '("Hi there!")')
    at("deploy")  # upgrades both
    assert dump() == ["Hi there!"]
    status = json.loads(at("canister", "status", "large", "--json"))
    assert {"name": "COLOUR", "value": "blue"} in status["settings"]["environment_variables"]
    large = server.replica.canister(Principal.from_text(status["id"]).raw)
    assert large.module is not None
    assert len(large.module.raw) > 2_700_000
    kinds = [each.kind for each in large.history]
    assert kinds[0] == "creation"
    assert kinds.count("code_deployment") == 2
    at("canister", "settings", "update", "chat", "--log-visibility", "public", "-f")
    assert "remove_spam" in at("canister", "metadata", "chat", "candid:service")
    at("canister", "install", "chat", "-m", "reinstall", "-y")
    assert dump() == []
    for name in ("chat", "large"):
        at("canister", "stop", name)
        at("canister", "delete", name)  # sends the cycles to the ledger first
    assert server.replica.canisters == {}
