"""The guides of docs/, gone through line by line on the development replica.

Names, networks and places are exchanged; what a line does stays what the guide says. What dfx does
in between is done by hand.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity, note_wasm
from tests.fakes.backup_project import PAGE, BackupProject
from tests.fakes.documents import ROOT, block, blocks, fenced_lines

GUIDES = ROOT / "docs" / "guides"
PLACE = "s3:https://s3.example.com/backups/social"
TRUE, FALSE = "/bin/true", "/bin/false"


@pytest.fixture
def project(project: BackupProject) -> BackupProject:
    project.fill("note", b"Monday", pages=3)
    return project


class Guide:
    """The lines of one guide, typed one after the other.

    Args:
        name: of its file.
        project: where they are typed.
        names: what stands for what.
    """

    def __init__(self, name: str, project: BackupProject, **names: str) -> None:
        self._lines = [line for line in fenced_lines(GUIDES / name) if line[0] != "kit"]
        self._project = project
        self.names = {"ic": "local", "./smoke.sh": TRUE, **names}

    def type(self, verb: str, code: int = 0, **more: Any) -> Any:
        """The next line, which begins so; its envelope."""
        words = [self.names.get(word, word) for word in self._lines.pop(0)]
        assert " ".join(words).startswith(verb), words
        plan = "--dry-run" in words
        asks = {"restore", "load"} & set(words[:2]) and not plan
        again = [*words, "--yes"] if asks and "--yes" not in words else words
        return self._project.envelope(*again, code=code, **more)

    def is_over(self) -> bool:
        """Every line was typed."""
        return self._lines == []


def first(project: BackupProject, name: str = "note", size: int = 6) -> bytes:
    return project.stable(name)[:size]


def test_every_guide_is_gone_through_somewhere() -> None:
    here = Path(__file__).read_text()
    elsewhere = {"least-privilege.md", "not-a-controller.md"}  # test_least_privilege, kit tests

    assert [
        page.name
        for page in GUIDES.iterdir()
        if f'"{page.name}"' not in here and page.name not in elsewhere
    ] == []


def test_nightly(project: BackupProject) -> None:
    told = block(GUIDES / "nightly.md", "toml", "[retention]")
    assert PLACE in told
    project.settle(told.replace(PLACE, "bucket").replace("canister.social", "canister.note"))
    password = str(project.folder / "password")
    guide = Guide("nightly.md", project, **{PLACE: "bucket", "~/.config/backup-password": password})
    guide.names["social"] = "note"
    env = {"DFX_BACKUP_REPO": ""}  # dfx-backup.toml names it

    guide.type("init", env=env)
    [backup] = guide.type("create", env=env)["data"]["backups"]
    assert backup["consistency"] == "consistent"
    assert len(project.on_chain()) == 1
    guide.type("forget --prune", env=env)
    guide.type("list --max-age 26h", env=env)
    assert guide.is_over()
    assert (project.folder / "bucket" / "config").exists()


def test_before_and_after_a_bad_upgrade(project: BackupProject) -> None:
    guide = Guide("bad-upgrade.md", project, backend="note", **{"backend@latest": "note@latest"})

    guide.type("create")
    project.fill("note", b"broken", pages=3)
    [snapshot] = guide.type("snapshot list")["data"]["snapshots"]
    guide.names["SNAPSHOT"] = snapshot["snapshot_id"]
    safety = guide.type("snapshot load")["data"]
    assert first(project) == b"Monday"
    assert len(project.on_chain()) == 2, safety

    project.fill("note", b"broken", pages=3)
    guide.names["./smoke.sh"] = FALSE
    guide.type("restore", code=40)
    assert first(project) == b"broken"  # the check failed: it went back
    assert project.is_running()
    assert guide.is_over()
    project.envelope("restore", "note@latest", "--check", TRUE, "--rollback", "--yes")
    assert first(project) == b"Monday"


def test_to_another_subnet(project: BackupProject) -> None:
    names = {"app": "note", "app2": "new", "app@latest": "note@latest"}
    guide = Guide("another-subnet.md", project, **names)
    project.state().settings.freezing_threshold = 1_234_567

    guide.type("create")
    assert not project.is_running()
    project.add("new")
    project.server.replica.uninstall(project.canisters["new"])
    guide.type("restore note@latest --to new")
    guide.type("restore note@latest --to new")

    assert guide.is_over()
    assert first(project, "new") == b"Monday"
    assert project.is_running("new")
    assert project.state("new").settings.freezing_threshold == 1_234_567
    assert not project.is_running()


def test_prove_a_backup(project: BackupProject) -> None:
    project.create("note")
    guide = Guide("prove-a-backup.md", project, drill="drill")
    guide.names["backend@latest"] = "note@latest"
    project.add("drill")

    guide.type("verify --read-data")
    guide.type("verify note@latest --live")
    guide.type("restore note@latest --to drill")

    assert guide.is_over()
    assert first(project, "drill") == b"Monday"
    [backup] = project.envelope("list")["data"]["backups"]
    assert backup["level"] == 3


def test_a_set(project: BackupProject) -> None:
    told = block(GUIDES / "sets.md", "toml", "[set.shop]")
    for name in ("frontend", "orders", "ledger"):
        project.add(name)
        project.fill(name, b"Monday", pages=1)
    project.settle(told)
    guide = Guide("sets.md", project)

    set_id = guide.type("create --set shop")["data"]["set_id"]
    assert len(guide.type("list")["data"]["backups"]) == 3
    project.fill("orders", b"broken", pages=1)
    guide.names["set:4fe1"] = f"set:{set_id[:8]}"
    guide.type("restore set:")

    assert guide.is_over()
    assert first(project, "orders") == b"Monday"
    assert all(project.is_running(name) for name in ("frontend", "orders", "ledger"))


def test_from_nothing(project: BackupProject, tmp_path: Path) -> None:
    project.create("note")
    project.server.replica.uninstall(project.canisters["note"])
    elsewhere = tmp_path / "new-machine"
    elsewhere.mkdir()
    place, canister = str(project.repo), project.id()
    password = str(project.folder / "password")
    names = {PLACE: place, "paper": password, "ic": project.server.url, "social": canister}
    names["social@latest"] = f"{canister}@latest"
    guide = Guide("from-nothing.md", project, **names)
    bare = {"cwd": elsewhere, "env": {"DFX_BACKUP_REPO": "", "DFX_BACKUP_PASSWORD_FILE": ""}}

    [backup] = guide.type("list", **bare)["data"]["backups"]
    guide.type("verify --read-data", **bare)
    guide.type(f"restore {canister}@latest", **bare)
    assert first(project) == b"Monday"
    guide.names |= {"BACKUP": backup["backup_id"], "social": project.add("other"), "ic": "local"}
    guide.type("restore")
    assert first(project, "other") == b"Monday"

    [key] = guide.type("key list")["data"]["keys"]
    (project.folder / "fresh").write_text("better\n")
    guide.type("key add")
    guide.names["KEY"] = key["key_id"][:12]
    fresh = {"DFX_BACKUP_PASSWORD_FILE": str(project.folder / "fresh")}
    guide.type("key remove", env=fresh)
    assert guide.is_over()
    project.envelope("list", code=12)
    project.envelope("list", env=fresh)


def test_a_broken_canister(project: BackupProject) -> None:
    guide = Guide("broken-canister.md", project, app="note", **{"app@latest": "note@latest"})

    guide.type("doctor", code=0)
    guide.type("create")
    assert project.on_chain() == []
    guide.type("create")
    guide.type("export")

    assert guide.is_over()
    rescued = project.folder / "rescue"
    assert (rescued / "stable_memory.bin").read_bytes() == project.stable()
    assert (rescued / "wasm_memory.bin").exists()


def test_mainnets_state_on_a_local_replica(project: BackupProject) -> None:
    """The backup is of one network, `local` is another, and the name is the same on both."""
    with ReplicaServer.start() as local:
        raw = local.replica.create_canister(
            controllers=[identity("alice").principal.raw], cycles=10**15
        )
        local.replica.install(raw, note_wasm())
        config = json.loads((project.folder / "dfx.json").read_text())
        config["networks"] = {
            "main": {"providers": [project.server.url], "type": "persistent"},
            "local": {"bind": local.url.removeprefix("http://"), "type": "ephemeral"},
        }
        (project.folder / "dfx.json").write_text(json.dumps(config))
        ids = {"note": {"main": project.id()}}
        (project.folder / "canister_ids.json").write_text(json.dumps(ids))
        here = {"note": {"local": Principal(raw).to_text()}}
        (project.folder / ".dfx" / "local" / "canister_ids.json").write_text(json.dumps(here))
        project.create("note", "--network", "main")
        guide = Guide("debug-locally.md", project, social="note")
        guide.names["social@latest"] = "note@latest"

        guide.type("restore note@latest --to note")

        assert guide.is_over()
        stable = local.replica.canisters[raw].stable
        assert stable.read(0, 6) == b"Monday"
        assert stable.size == 3 * PAGE
    assert first(project) == b"Monday"


def test_lines_of_other_programs_are_few_and_known() -> None:
    programs = {
        shlex.split(line)[0]
        for page in GUIDES.iterdir()
        for each in blocks(page)
        if each.kind == "sh"
        for line in each.text.splitlines()
    }

    assert programs == {"dfx", "dfx-backup", "icp", "export", "python3", "./smoke.sh"}
