import json
from hashlib import sha256
from pathlib import Path

import pytest

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.e2e.conftest import JUDGES, run_judge

pytestmark = pytest.mark.judge


@pytest.mark.usefixtures("js_agent")
def test_seed_scenario_with_certificates_and_query_signatures_verified(
    server: ReplicaServer, node: Path, chat_wasm: bytes
) -> None:
    script = str(JUDGES / "seed.mjs")
    controller = Principal.from_text(run_judge([str(node), script, "principal"]).strip())
    chat = server.replica.create_canister(controllers=[controller.raw])
    server.replica.install(chat, chat_wasm)

    out = run_judge([str(node), script, "run", server.url, Principal(chat).to_text()])

    told = json.loads(out)
    assert told["messages"] == 10
    assert told["moduleHash"] == sha256(chat_wasm).hexdigest()
