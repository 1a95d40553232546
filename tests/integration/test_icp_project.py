"""Whole commands in a project of icp-cli, with the real icp."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.cli.app import main
from dfx_backup.cli.context import SystemClock
from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.contract.icp_home import PASSWORD, IcpHome
from tests.contract.replica_bench import identity, note_wasm
from tests.fakes.stage import Stage

pytestmark = [pytest.mark.judge, pytest.mark.usefixtures("quick_keys")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> IcpHome:
    return IcpHome(tmp_path_factory.mktemp("icp"))


YAML = """\
canisters:
  - {{name: note, build: {{steps: [{{type: script, command: "true"}}]}}}}
networks:
  - {{name: testnet, mode: connected, url: "{url}", root-key: {key}}}
environments:
  - {{name: staging, network: testnet}}
"""


class Project:
    """A project with the canister `note`, which `alice` controls, linked in `staging`."""

    def __init__(self, server: ReplicaServer, home: IcpHome, folder: Path) -> None:
        self.server, self.home, self.folder = server, home, folder
        self.stage = Stage(folder)
        self.raw = server.replica.create_canister(
            controllers=[identity("alice").principal.raw], cycles=10**13
        )
        server.replica.install(self.raw, note_wasm())
        self.canister_id = Principal(self.raw).to_text()
        (folder / "icp.yaml").write_text(YAML.format(url=server.url, key=server.root_key.hex()))
        home.run("identity", "default", "alice")
        self.icp("canister", "link", "note", self.canister_id, "-e", "staging")

    def icp(self, *words: str) -> str:
        """The real icp, in this project."""
        return self.home.run("--project-root-override", str(self.folder), *words)

    def run(self, *argv: str, env: dict[str, str] | None = None, **more: Any) -> tuple[int, Any]:
        """Exit code and envelope."""
        env = self.home.environment | (env or {})
        around = self.stage.surroundings(
            env=env, home=self.home.folder, clock=SystemClock(), **more
        )
        code = main([*argv, "--json"], surroundings=around)
        return code, json.loads(around.stdout.getvalue())  # type: ignore[attr-defined] # a StringIO


@pytest.fixture
def project(server: ReplicaServer, home: IcpHome, tmp_path: Path) -> Project:
    return Project(server, home, tmp_path)


AT = ("--network", "staging")


@pytest.mark.parametrize("driver", [(), ("--driver", "icp")], ids=["chosen", "asked for"])
def test_take_list_load_and_delete(project: Project, driver: tuple[str, ...]) -> None:
    code, created = project.run("snapshot", "create", "note", *AT, *driver)
    assert code == 0, created
    data = created["data"]
    assert (data["driver"], data["canister_id"]) == ("icp 1.5.0", project.canister_id)
    assert data["consistency"] == "consistent"  # proven with the key, which we can read too
    told = project.icp("canister", "snapshot", "list", "note", "-e", "staging", "--json")
    [snapshot] = json.loads(told)["snapshots"]
    assert snapshot["snapshot_id"] == data["snapshot_id"]

    code, listed = project.run("snapshot", "list", "note", *AT, *driver)
    assert code == 0, listed
    [only] = listed["data"]["snapshots"]
    assert only["snapshot_id"] == data["snapshot_id"]

    code, loaded = project.run("snapshot", "load", "note", data["snapshot_id"], "--yes", *AT)
    assert code == 0, loaded
    assert loaded["data"]["running"]

    words = ("snapshot", "delete", "note", data["snapshot_id"], "--yes")
    code, deleted = project.run(*words, *AT, *driver)
    assert code == 0, deleted
    code, listed = project.run("snapshot", "list", "note", *AT, *driver)
    assert data["snapshot_id"] not in json.dumps(listed)


def test_the_variable_of_icp_names_the_environment(project: Project) -> None:
    env = {"ICP_ENVIRONMENT": "staging"}
    assert project.run("snapshot", "list", "note", env=env)[0] == 0
    assert project.run("snapshot", "list", "note", env={"ICP_ENVIRONMENT": "gone"})[0] == 30
    load = ("snapshot", "load", "note", "00" * 18, "--yes")
    code, told = project.run(*load, env=env)
    assert code == 60
    assert told["errors"][0]["hint"] == "Add `--network staging` when that is what you mean."


def test_a_network_that_icp_started(project: Project) -> None:
    """`local` is what a descriptor says, and what is signed goes to that port with that key."""
    code, told = project.run("snapshot", "list", "note")
    assert code == 30
    assert told["errors"][0]["hint"] == "Start it with `icp network start`."

    folder = project.folder / ".icp/cache/networks/local"
    folder.mkdir(parents=True)
    port = int(project.server.url.rpartition(":")[2])
    descriptor = {
        "v": "1",
        "id": "11111111-1111-4111-8111-111111111111",
        "project-dir": str(project.folder),
        "network": "local",
        "network-dir": str(folder),
        "gateway": {"fixed": False, "port": port, "host": "127.0.0.1", "ip": "127.0.0.1"},
        "child-locator": {"type": "pid", "pid": 1, "start-time": 0},
        "root-key": project.server.root_key.hex(),
    }
    (folder / "descriptor.json").write_text(json.dumps(descriptor))
    project.icp("canister", "link", "note", project.canister_id)
    assert project.icp("canister", "status", "-i", "note").strip() == project.canister_id
    for driver in ("icp", "agent"):
        code, listed = project.run("snapshot", "list", "note", "--driver", driver)
        assert code == 0, listed
        assert listed["data"]["canister_id"] == project.canister_id


def test_another_driver_signs_with_the_same_identity(project: Project) -> None:
    code, created = project.run("snapshot", "create", "note", *AT, "--driver", "agent")
    assert code == 0, created
    assert created["data"]["driver"] == "the agent driver"
    code, told = project.run("snapshot", "list", "note", *AT, "--identity", "mallory")
    assert code == 50
    assert told["errors"][0]["code"] == "rejected"


def test_a_key_that_only_icp_can_use(project: Project, tmp_path: Path) -> None:
    """A delegation: icp signs with another key, and operations go without certified answers."""
    home = project.home
    public, chain = tmp_path / "public.pem", tmp_path / "chain.json"
    words = ("identity", "delegation")
    public.write_text(home.run(*words, "request", "guest", "--storage", "plaintext"))
    signed = home.run(
        *words, "sign", "--key-pem", str(public), "--duration", "1h", "--identity", "alice"
    )
    chain.write_text(signed)
    home.run(*words, "use", "guest", "--from-json", str(chain))

    code, told = project.run("snapshot", "create", "note", *AT, "--identity", "guest")
    assert code == 0, told
    assert any("icp signs" in each for each in told["data"]["warnings"])
    assert told["data"]["driver"] == "icp 1.5.0"
    code, told = project.run(
        "snapshot", "list", "note", *AT, "--identity", "guest", "--driver", "agent"
    )
    assert code == 30
    assert told["errors"][0]["code"] == "identity-unreadable"


@pytest.mark.parametrize("second_line", ["", "and a second line\n"])
def test_a_locked_identity(project: Project, tmp_path: Path, second_line: str) -> None:
    """icp reads the whole file, we its first line; where these differ icp asks and is answered."""
    name = f"locked{len(second_line)}"
    project.home.add_locked(name, key="alice")
    (tmp_path / "pw").write_text(f"{PASSWORD}\n{second_line}")
    words = ("snapshot", "list", "note", *AT, "--identity", name)
    code, told = project.run(*words, "--identity-password-file", "pw")
    assert code == 0, told
    assert told["data"]["driver"] == "icp 1.5.0"


def test_icp_works_in_a_project_of_dfx(project: Project) -> None:
    (project.folder / "icp.yaml").unlink()
    local = {"bind": project.server.url.removeprefix("http://"), "type": "ephemeral"}
    (project.folder / "dfx.json").write_text(json.dumps({"networks": {"local": local}}))
    words = ("snapshot", "create", project.canister_id)
    code, created = project.run(*words, "--driver", "icp")
    assert code == 0, created
    assert created["data"]["driver"] == "icp 1.5.0"


def test_doctor_names_the_driver_and_the_environment(project: Project) -> None:
    code, told = project.run("doctor", *AT)
    assert code == 0, told
    found = {each["name"]: json.dumps(each) for each in told["data"]["findings"]}
    assert "icp 1.5.0, because there is an icp.yaml, and icp was found" in found["driver"]
    assert "staging answers at" in found["network"]
    assert any(name.startswith("note") for name in found)


def test_without_icp_the_agent_takes_over(project: Project) -> None:
    code, listed = project.run("snapshot", "list", "note", *AT, env={"PATH": "/nowhere"})
    assert code == 0, listed
    assert listed["data"]["driver"] == "the agent driver"
    code, told = project.run(
        "snapshot", "list", "note", *AT, "--driver", "icp", env={"PATH": "/nowhere"}
    )
    assert code == 40
    assert "`icp` was not found" in told["errors"][0]["message"]


def repository(project: Project) -> dict[str, str]:
    """A new repository, and what opens it."""
    (project.folder / "secret").write_text("a secret for tests\n")
    env = {"DFX_BACKUP_REPO": "repo", "DFX_BACKUP_PASSWORD_FILE": "secret"}
    code, told = project.run("init", env=env)
    assert code == 0, told
    return env


@pytest.mark.parametrize("driver", [(), ("--driver", "agent")], ids=["icp", "agent"])
def test_a_backup_and_the_way_back(project: Project, driver: tuple[str, ...]) -> None:
    env = repository(project)
    replica = project.server.replica
    replica.ingress(b"\x04", project.raw, "set", b"before", request_id=os.urandom(32))
    code, created = project.run("create", "note", *AT, *driver, env=env)
    assert code == 0, created
    assert created["data"]["backups"][0]["consistency"] == "consistent"
    replica.ingress(b"\x04", project.raw, "set", b"after!", request_id=os.urandom(32))

    code, told = project.run("restore", "note@latest", "--yes", *driver, env=env)

    assert code == 0, told
    assert told["data"]["running"]
    assert replica.query(b"\x04", project.raw, "get", b"") == b"before"


def test_a_backup_with_a_key_that_only_icp_can_use(project: Project, tmp_path: Path) -> None:
    home, name = project.home, "visitor"
    public, chain = tmp_path / "public.pem", tmp_path / "chain.json"
    words = ("identity", "delegation")
    public.write_text(home.run(*words, "request", name, "--storage", "plaintext"))
    signed = home.run(
        *words, "sign", "--key-pem", str(public), "--duration", "1h", "--identity", "alice"
    )
    chain.write_text(signed)
    home.run(*words, "use", name, "--from-json", str(chain))
    env = repository(project)
    replica = project.server.replica
    replica.ingress(b"\x04", project.raw, "set", b"before", request_id=os.urandom(32))
    code, created = project.run("create", "note", *AT, "--identity", name, env=env)
    assert code == 0, created
    assert created["data"]["backups"][0]["level"] == 0
    replica.ingress(b"\x04", project.raw, "set", b"after!", request_id=os.urandom(32))

    code, told = project.run("restore", "note@latest", "--yes", "--identity", name, env=env)

    assert code == 0, told
    assert replica.query(b"\x04", project.raw, "get", b"") == b"before"
