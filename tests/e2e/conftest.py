"""The judges: programs that nobody here wrote. Without one a test is skipped, in CI it fails."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from dfx_backup.replica.server import ReplicaServer
from scripts.release import layout, sources, tarball

JUDGES = Path(__file__).parent / "judges"
CHAT_WASM = Path(__file__).parent.parent.parent / "examples" / "chat" / "chat.wasm"


def need(path: Path | None, what: str) -> Path:
    """The judge's path; a skip that everybody sees, or a failure where judges are required."""
    if path is None or not path.exists():
        skip(f"{what} is not installed; `make judges` installs it")
    return path


def skip(message: str) -> NoReturn:
    """A skip that everybody sees, or a failure where judges are required."""
    if os.environ.get("DFX_BACKUP_REQUIRE_JUDGES"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def node() -> Path:
    found = shutil.which("node")
    return need(Path(found) if found else None, "Node.js")


@pytest.fixture(scope="session")
def js_agent() -> Path:
    return need(JUDGES / "node_modules" / "@icp-sdk" / "core", "the JavaScript agent")


@pytest.fixture(scope="session")
def moc() -> Path:
    return need(JUDGES / "node_modules" / "motoko", "the Motoko compiler")


@pytest.fixture(scope="session")
def icp_binary() -> Path:
    package = JUDGES / "node_modules" / "@icp-sdk" / "icp-cli-linux-x64"
    return need(package / "bin" / "icp", "the icp binary")


@pytest.fixture(scope="session")
def release() -> layout.Release:
    """What `make build` made of these very sources."""
    if not layout.FIGURES.exists():
        skip("there is no release; `make build` builds it")
    if json.loads(layout.FIGURES.read_text())["built_from"] != sources.fingerprint():
        skip("the release was built from other sources; `make build` builds it anew")
    return layout.release()


@pytest.fixture(scope="session")
def unpacked(release: layout.Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in this machine's archive, as dfx unpacks it."""
    place = tmp_path_factory.mktemp("archive")
    folder = tarball.unpack(release.archive(layout.this_machine()), place)
    (folder / "backup").chmod(0o500)
    return folder


@pytest.fixture(params=[False, True], ids=["root-only", "delegated"])
def server(request: pytest.FixtureRequest) -> Iterator[ReplicaServer]:
    with ReplicaServer.start(delegation=request.param) as running:
        yield running


@pytest.fixture
def chat_wasm() -> bytes:
    return CHAT_WASM.read_bytes()


def run_judge(
    argv: list[str], *, env: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a judge to its end and return its standard output; its own words when it fails."""
    done = subprocess.run(
        argv, capture_output=True, text=True, env=env, cwd=cwd, check=False, timeout=90
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout
