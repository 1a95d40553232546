"""`stable info`, `export`, `verify` and `import`, typed at a real canister built from the kit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.candid import Codec
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import Reject
from tests.fakes.kit_canister import EXAMPLES
from tests.fakes.kit_stage import CHAT
from tests.fakes.stable_project import PAGE, StableProject

CHUNK = 15 * PAGE
EXPORT = ("stable", "export", "note", "--stream", "ballast", "--file", "copy")
IMPORT = ("stable", "import", "note", "--file", "copy", "--yes")
VERIFY = ("stable", "verify", "--file", "copy")


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[StableProject]:
    made = StableProject(server, tmp_path)
    made.fill(0, 200, seed=1)
    yield made
    made.close()


def ok(project: StableProject, *argv: str) -> Any:
    code, told = project.run(*argv)
    assert code == 0, told
    return told["data"]


def error(told: Any) -> str:
    return str(told["errors"][0]["message"])


def copied(project: StableProject, name: str = "copy") -> bytes:
    return (project.folder / f"{name}.stable.bin").read_bytes()


def files(project: StableProject) -> set[str]:
    return {each.name for each in project.folder.glob("copy.*")}


def refuse(project: StableProject, method: str, **how: Any) -> None:
    """Let the replica refuse a method from some call on."""
    fault = RejectFault(times=-1, message="no", **how)
    project.server.faults.set(reject={method: fault})


WHOLE = {"copy.stable.bin", "copy.stable.json"}


def test_what_there_is(project: StableProject) -> None:
    data = ok(project, "stable", "info", "note")

    assert data["kit"].startswith("rust ")
    assert {each["stream"]: each["kind"] for each in data["streams"]} == {
        "stable_memory": "stable_memory",
        "ballast": "virtual_memory",
        "motto": "app",
    }


@pytest.mark.parametrize("reads", ["certified", "hashes"])
@pytest.mark.parametrize("stream", ["ballast", "stable_memory"])
def test_a_copy_is_the_memory(project: StableProject, reads: str, stream: str) -> None:
    data = ok(project, *EXPORT[:3], "--stream", stream, "--file", "copy", "--reads", reads)

    wanted = project.ballast() if stream == "ballast" else project.stable_memory()
    assert copied(project) == wanted
    assert data["moment"] == "versions"
    assert data["certified"] == {"certified": "reads", "hashes": "hashes"}[reads]
    assert files(project) == WHOLE
    assert ok(project, *VERIFY, "--live")["live"]["same"]


def test_the_second_export_moves_what_changed(project: StableProject) -> None:
    project.fill(0, 15 * 100, seed=1)
    ok(project, *EXPORT)
    project.fill(15 * 40 + 3, 1, seed=2)  # one chunk of a hundred

    data = ok(project, *EXPORT)

    assert data["plan"]["reads"] == "hashes"
    assert copied(project) == project.ballast()
    assert data["moved_bytes"] == CHUNK <= 0.02 * data["size_bytes"]


def test_zeros_are_known(project: StableProject) -> None:
    project.fill(400, 30, seed=3)  # grows; zeros in between

    data = ok(project, *EXPORT, "--reads", "hashes")

    assert copied(project) == project.ballast()
    assert data["zero_bytes"] >= 10 * CHUNK
    blocks = (project.folder / "copy.stable.bin").stat().st_blocks * 512
    assert blocks <= data["size_bytes"] - data["zero_bytes"]


def test_what_the_app_makes(project: StableProject) -> None:
    project.send("set_motto", "carpe diem")
    words = ("--stream", "motto", "--file", "copy")
    assert ok(project, "stable", "export", "note", *words)["size_bytes"] == 10
    assert copied(project) == b"carpe diem"
    project.send("set_motto", "festina lente, and then some")

    ok(project, "stable", "import", "note", "--file", "copy", "--yes")

    assert project.send("motto") == "carpe diem"
    assert ok(project, "stable", "info", "note")["import_session"] is None


@pytest.mark.parametrize("identity", ["bob", "anonymous"])
def test_nobody_else_may_read(project: StableProject, identity: str) -> None:
    for argv in (("stable", "info", "note"), EXPORT):
        code, told = project.run(*argv, identity=identity)
        assert code == 50, told
    assert not files(project) & WHOLE


def test_a_writer_that_never_rests(project: StableProject) -> None:
    with project.restless():
        code, told = project.run(*EXPORT)

    assert code == 60, told
    assert told["errors"][0]["code"] == "moving"
    assert "--via snapshot" in told["errors"][0]["hint"]
    assert not files(project) & WHOLE
    ok(project, *EXPORT)
    assert copied(project) == project.ballast()


class TestImport:
    def test_there_and_back(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        before = copied(project)
        project.fill(30, 1, seed=5)
        project.fill(100, 15, seed=0)
        project.fill(200, 45, seed=6)  # a tail that was not there
        snapshots = len(project.canister.snapshots)

        data = ok(project, *IMPORT)

        after = project.ballast()
        assert after[: len(before)] == before
        assert not any(after[len(before) :])
        assert data["moved_bytes"] <= 4 * CHUNK
        assert data["safety_snapshot"]["snapshot_id"]
        assert len(project.canister.snapshots) == snapshots + 1
        assert not data["import_mode"]  # the app takes this stream up by itself
        assert project.send("is_importing") is False

    def test_import_mode_holds_until_the_upgrade(self, project: StableProject) -> None:
        everything = ("stable", "export", "note", "--stream", "stable_memory", "--file", "copy")
        ok(project, *everything)
        wanted = copied(project)
        project.fill(0, 20, seed=2)

        data = ok(project, *IMPORT, "--skip-safety-snapshot")

        assert data["import_mode"]
        assert "pre_upgrade" in data["next_step"]
        assert project.stable_memory() == wanted
        assert project.send("is_importing") is True
        with pytest.raises(Reject, match="being imported"):
            project.fill(0, 1, seed=2)
        code, told = project.run(*EXPORT)
        assert code == 60
        assert "an import of stable_memory is in progress" in error(told).lower()
        with pytest.raises(Reject):
            project.install("upgrade")

        project.install("upgrade", skip_pre_upgrade=True)
        assert project.send("is_importing") is False
        ok(project, *everything)

    def test_it_asks_first(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        calls = project.canister.version

        code, told = project.run(*IMPORT[:-1])
        assert code == 60
        assert "are overwritten" in error(told)
        code, told = project.run(*IMPORT[:-1], "--dry-run")
        assert code == 0
        assert told["data"]["plan"]["takes_safety_snapshot"] is True
        assert ok(project, "stable", "info", "note")["import_session"] is None
        assert project.canister.version - calls == 3  # questions alone

    def test_an_interrupted_one_goes_on_without_a_second_snapshot(
        self, project: StableProject
    ) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        project.fill(0, 200, seed=8)
        refuse(project, "backup_import_write", skip=2, error_code="IC0503", reject_code=5)
        code, told = project.run(*IMPORT, "--concurrency", "1")
        assert code == 50, told
        assert "stable import" in told["errors"][0]["hint"]
        project.server.faults.reset()

        data = ok(project, *IMPORT)

        assert data["resumed"]
        assert data["safety_snapshot"] is None
        assert data["moved_bytes"] < len(wanted)
        assert project.ballast() == wanted

    def test_giving_up(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        project.fill(0, 200, seed=8)
        refuse(project, "backup_import_finish", skip=0, error_code="IC0503", reject_code=5)
        assert project.run(*IMPORT)[0] == 50
        project.server.faults.reset()

        data = ok(project, "stable", "import", "note", "--abort", "--yes")

        assert data["aborted"]
        assert project.send("is_importing") is True
        project.install("upgrade", skip_pre_upgrade=True)
        code, told = project.run("stable", "import", "note", "--abort", "--yes")
        assert code == 60
        assert "no import is in progress" in error(told).lower()

    def test_a_damaged_file_is_not_written(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        with (project.folder / "copy.stable.bin").open("r+b") as file:
            file.write(b"damage")

        code, told = project.run(*IMPORT)

        assert code == 20, told
        assert not project.canister.snapshots
        assert project.run(*VERIFY)[0] == 20


def test_out_of_cycles_is_an_error_and_not_the_end(project: StableProject) -> None:
    refuse(project, "backup_read", skip=2, error_code="IC0207")
    code, told = project.run(*EXPORT, "--concurrency", "1")
    assert code == 50, told
    assert "stable export" in told["errors"][0]["hint"]
    assert not files(project) & WHOLE
    project.server.faults.reset()

    data = ok(project, *EXPORT)

    assert data["resumed_bytes"] > 0
    assert copied(project) == project.ballast()
    assert files(project) == WHOLE


def test_motoko_is_read_in_certified_answers(project: StableProject) -> None:
    project.use((EXAMPLES / CHAT.module).read_bytes(), Codec.from_did(CHAT.app))
    for letter in "abc":
        project.send("append", letter * 650_000)
    wanted = project.send("dump")
    words = ("--stream", "messages", "--file", "copy")
    for _ in range(2):
        data = ok(project, "stable", "export", "note", *words)
        assert data["plan"]["reads"] == "certified"
        assert data["hash_calls"] == 0
        assert data["moment"] == "versions"
        assert data["size_bytes"] > 1_900_000
    project.send("append", "and more")

    data = ok(project, "stable", "import", "note", "--file", "copy", "--yes")

    assert project.send("dump") == wanted
    assert not data["import_mode"]
    assert ok(project, *VERIFY, "--live")["live"]["differing_chunks"] == 0
