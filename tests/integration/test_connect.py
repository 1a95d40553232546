"""From words to a canister on a real replica: project, network, driver, identity, password."""

import json
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.cli.app import main
from dfx_backup.cli.context import SystemClock
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY, network_id
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity, note_wasm, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.snapshot_folder import CANISTER, write_folder
from tests.fakes.stage import Stage


class Project:
    """A dfx project with one canister, `note`, controlled by the identity `alice`."""

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        self.server = server
        self.dfx = FakeDfx.install(folder)
        self.dfx.add_identity("alice", pem("alice"))
        self.stage = Stage(folder)
        self.raw = server.replica.create_canister(
            controllers=[identity("alice").principal.raw], cycles=10**13
        )
        server.replica.install(self.raw, note_wasm())
        self.canister_id = Principal(self.raw).to_text()
        ids = folder / ".dfx" / "local" / "canister_ids.json"
        ids.parent.mkdir(parents=True)
        ids.write_text(json.dumps({"note": {"local": self.canister_id}}))
        local = {"bind": server.url.removeprefix("http://"), "type": "ephemeral"}
        note = {"type": "custom", "wasm": "note.wasm", "candid": "note.did"}
        config = {"canisters": {"note": note}, "networks": {"local": local}}
        (folder / "dfx.json").write_text(json.dumps(config))
        self.stderr = ""

    def run(
        self, *argv: str, env: dict[str, str] | None = None, typed: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        """Exit code and envelope; without dfx on PATH unless `env` says so."""
        env = {"HOME": str(self.dfx.home), "PATH": "/nowhere", **(env or {})}
        around = self.stage.surroundings(
            env=env, typed=typed, home=self.dfx.home, clock=SystemClock(), **more
        )
        code = main([*argv, "--json"], surroundings=around)
        self.stderr = around.stderr.getvalue()  # type: ignore[attr-defined] # a StringIO
        return code, json.loads(around.stdout.getvalue())  # type: ignore[attr-defined] # the same


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Project:
    return Project(server, tmp_path)


def test_the_agent_takes_and_loads(project: Project) -> None:
    code, created = project.run("snapshot", "create", "note")
    assert code == 0, created
    assert created["data"]["consistency"] == "consistent"
    assert created["data"]["canister_id"] == project.canister_id
    assert created["data"]["driver"] == "the agent driver"

    code, listed = project.run("snapshot", "list", "note")
    assert code == 0
    [only] = listed["data"]["snapshots"]
    assert only["snapshot_id"] == created["data"]["snapshot_id"]

    code, loaded = project.run("snapshot", "load", "note", only["snapshot_id"], "--yes")
    assert code == 0, loaded
    assert loaded["data"]["running"]


def test_dfx_takes_too_and_the_key_proves_it(project: Project) -> None:
    code, created = project.run("snapshot", "create", "note", env=project.dfx.environment)

    project.dfx.check()
    assert code == 0, created
    assert created["data"]["driver"] == "dfx 0.32.0"
    assert created["data"]["consistency"] == "consistent"
    assert None not in created["data"]["versions"].values()


def test_started_by_dfx_its_own_binary_comes_first(project: Project) -> None:
    code, listed = project.run("snapshot", "list", "note", cache_path=project.dfx.cache)

    assert code == 0, listed
    assert listed["data"]["driver"] == "dfx 0.32.0"


def test_a_key_that_only_dfx_can_use(project: Project) -> None:
    [folder] = project.dfx.home.rglob("identity/alice")
    hsm = {"hsm": {"pkcs11_lib_path": "/lib/x.so", "key_id": "00"}}
    (folder / "identity.json").write_text(json.dumps(hsm))

    code, told = project.run("snapshot", "list", "note", "--driver", "agent")
    assert code == 30
    assert told["errors"][0]["code"] == "identity-unreadable"

    code, told = project.run("snapshot", "create", "note", env=project.dfx.environment)
    assert code == 0
    assert "can't be checked" in told["data"]["warnings"][0]


def test_a_url_is_a_network_and_a_principal_a_canister(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "dfx.json").unlink()

    words = ("snapshot", "list", project.canister_id, "--network", project.server.url)
    code, listed = project.run(*words, cwd=elsewhere)

    assert code == 0, listed
    assert listed["data"]["canister_name"] is None


def test_the_environment_names_network_and_identity(project: Project) -> None:
    env = {"DFX_NETWORK": "nowhere"}
    assert project.run("snapshot", "list", "note", env=env)[0] == 30
    assert project.run("snapshot", "list", "note", "--network", "local", env=env)[0] == 0

    env = {"DFX_IDENTITY": "nobody"}
    assert project.run("snapshot", "list", "note", env=env)[0] == 30
    assert project.run("snapshot", "list", "note", "--identity", "alice", env=env)[0] == 0


def test_the_environment_does_not_decide_where_a_state_is_overwritten(project: Project) -> None:
    env = {"DFX_NETWORK": "ic"}
    load = ("snapshot", "load", "note", "00" * 18, "--yes")

    code, told = project.run(*load, env=env)

    assert code == 60
    assert told["errors"][0]["hint"] == "Add `--network ic` when that is what you mean."


def test_the_anonymous_identity_is_no_controller(project: Project) -> None:
    code, told = project.run("snapshot", "list", "note", "--identity", "anonymous")

    assert code == 50
    assert told["errors"][0]["code"] == "rejected"


def test_another_root_key_proves_nothing(project: Project) -> None:
    pinned = ("--root-key", MAINNET_ROOT_KEY.hex())

    code, told = project.run("snapshot", "list", "note", *pinned)

    assert code == 50
    assert told["errors"][0]["code"] == "certificate"


def test_what_is_no_root_key_is_refused_before_anything_is_sent(project: Project) -> None:
    assert project.run("snapshot", "list", "note", "--root-key", "abcd")[0] == 30


class TestPassword:
    """An encrypted identity opens with a file, or with one prompt."""

    @pytest.fixture
    def sealed(self, project: Project) -> Project:
        project.dfx.add_encrypted_identity("alice2", pem("alice"), password="correct horse")
        return project

    def test_from_a_file_relative_to_where_the_command_was_typed(
        self, sealed: Project, tmp_path: Path
    ) -> None:
        typed_in = tmp_path / "src"
        typed_in.mkdir()
        (typed_in / "pw").write_text("correct horse\nsecond line\n")

        words = ("snapshot", "list", "note", "--identity", "alice2")
        code, told = sealed.run(*words, "--identity-password-file", "pw", cwd=typed_in)

        assert code == 0, told

    def test_from_the_environment(self, sealed: Project, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("correct horse")
        env = {"DFX_BACKUP_IDENTITY_PASSWORD_FILE": str(tmp_path / "pw")}

        assert sealed.run("snapshot", "list", "note", "--identity", "alice2", env=env)[0] == 0

    def test_asked_once_on_the_terminal(self, sealed: Project) -> None:
        prompts = []

        def ask(prompt: str) -> str:
            prompts.append(prompt)
            return "correct horse"

        words = ("snapshot", "create", "note", "--identity", "alice2")
        code, told = sealed.run(*words, typed="", ask_password=ask, env=sealed.dfx.environment)

        assert code == 0, told
        assert told["data"]["driver"] == "dfx 0.32.0"
        assert prompts == ["Password of identity 'alice2' of dfx: "]

    def test_without_a_terminal_it_says_what_to_do(self, sealed: Project) -> None:
        code, told = sealed.run("snapshot", "list", "note", "--identity", "alice2")

        assert code == 12
        assert "--identity-password-file" in told["errors"][0]["hint"]

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\n", None])
    def test_a_file_without_a_password(
        self, sealed: Project, tmp_path: Path, content: bytes | None
    ) -> None:
        if content is not None:
            (tmp_path / "pw").write_bytes(content)

        words = ("snapshot", "list", "note", "--identity", "alice2")
        code, told = sealed.run(*words, "--identity-password-file", "pw")

        assert code == 30
        assert "assword file" in told["errors"][0]["message"]

    def test_a_wrong_one_never_shows(self, sealed: Project, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("battery staple")

        words = ("snapshot", "list", "note", "--identity", "alice2")
        code, told = sealed.run(*words, "--identity-password-file", "pw")

        assert code == 12
        assert "battery" not in json.dumps(told) + sealed.stderr


def test_an_identity_that_dfx_swallowed_is_used(project: Project) -> None:
    words = ("snapshot", "list", "note", "--driver", "agent")
    more = {"cache_path": project.dfx.cache, "swallowed_identity": "nobody"}

    assert project.run(*words, **more)[0] == 30
    assert project.run(*words, "--identity", "alice", **more)[0] == 0


def test_a_change_without_a_certain_identity_is_refused(project: Project) -> None:
    more: dict[str, Any] = {"cache_path": project.dfx.cache, "identity_uncertain": True}
    words = ("note", "--driver", "agent")

    code, told = project.run("snapshot", "create", *words, **more)
    assert code == 60
    assert "--identity NAME" in told["errors"][0]["hint"]
    assert project.run("snapshot", "create", *words, "--identity", "alice", **more)[0] == 0
    assert project.run("snapshot", "list", *words, **more)[0] == 0


def test_doctor_looks_at_everything(project: Project) -> None:
    code, told = project.run("doctor")

    assert code == 0, told
    names = [finding["name"] for finding in told["data"]["findings"]]
    assert {"driver", "network", "root key", "identity", "recovery"} <= set(names)
    assert any(name.startswith("note") for name in names)


def test_doctor_outside_of_a_project(project: Project, tmp_path: Path) -> None:
    (tmp_path / "dfx.json").unlink()

    code, told = project.run("doctor", "--network", project.server.url)

    assert code == 0, told
    assert not [each for each in told["data"]["findings"] if each["name"].startswith("note")]


def test_recover_all_looks_at_the_projects_canisters(project: Project) -> None:
    project.run("snapshot", "create", "note")

    code, told = project.run("recover", "--all")

    assert code == 0
    assert [each["canister_name"] for each in told["data"]["recovered"]] == ["note"]


@pytest.mark.usefixtures("quick_keys")
def test_an_import_needs_no_identity_where_the_network_is_known(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    write_folder(tmp_path / "copy", ours=False)
    (tmp_path / "password").write_text("secret\n")
    env = {"HOME": str(tmp_path / "nobody"), "PATH": "/nowhere", "DFX_BACKUP_REPO": "repo"}
    env["DFX_BACKUP_PASSWORD_FILE"] = "password"

    def run(*argv: str) -> Any:
        around = stage.surroundings(env=env, home=tmp_path / "nobody", clock=SystemClock())
        assert main([*argv, "--json"], surroundings=around) == 0
        return json.loads(around.stdout.getvalue())["data"]  # type: ignore[attr-defined] # a StringIO

    run("init")
    told = run("import", "copy", "--canister", CANISTER, "--network", "ic")
    assert told["canister_id"] == CANISTER
    assert told["network"] == "ic"
    assert told["network_id"] == network_id(MAINNET_ROOT_KEY)
