"""`stable export` and `import` through a snapshot, typed at a real canister."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import Visibility
from tests.contract.replica_bench import identity
from tests.fakes.stable_project import PAGE, StableProject

EXPORT = ("stable", "export", "note", "--via", "snapshot", "--file", "copy")
IMPORT = ("stable", "import", "note", "--via", "snapshot", "--file", "copy", "--yes")


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[StableProject]:
    made = StableProject(server, tmp_path)
    made.fill(0, 80, seed=1)
    made.fill(180, 20, seed=2)  # with a hundred pages of zeros before
    yield made
    made.close()


def ok(project: StableProject, *argv: str, **more: Any) -> Any:
    code, told = project.run(*argv, **more)
    assert code == 0, told
    assert project.canister.status == "running"
    return told["data"]


def fails(project: StableProject, code: int, *argv: str, **more: Any) -> Any:
    found, told = project.run(*argv, **more)
    assert found == code, told
    assert project.canister.status == "running"
    return told["errors"][0]


def copied(project: StableProject) -> bytes:
    return (project.folder / "copy.stable.bin").read_bytes()


def refuse(project: StableProject, method: str, **how: Any) -> None:
    how = {"times": -1, "error_code": "IC0503", "reject_code": 5, "message": "no"} | how
    project.server.faults.set(reject={method: RejectFault(**how)})


def taken(project: StableProject) -> int:
    """How many snapshots were ever made."""
    return project.canister.next_snapshot


class TestExport:
    def test_a_copy_is_the_memory_and_nothing_stays(self, project: StableProject) -> None:
        wanted = project.stable_memory()

        data = ok(project, *EXPORT)

        assert copied(project) == wanted
        assert (data["moment"], data["certified"]) == ("snapshot", "reads")
        assert data["consistency"] == "consistent"
        assert 0 < data["outage_seconds"] < 30
        assert data["snapshot_deleted"]
        assert not project.canister.snapshots
        blocks = (project.folder / "copy.stable.bin").stat().st_blocks * 512
        assert blocks <= len(wanted) - 100 * PAGE
        assert not list(project.folder.glob("copy.stable.[pn]*"))
        assert not list((project.dfx.home / ".local/state/dfx-backup/stable").iterdir())

    def test_it_is_verified_like_every_other(self, project: StableProject) -> None:
        ok(project, *EXPORT)

        data = ok(project, "stable", "verify", "--file", "copy", "--live")
        assert data["live"]["same"]
        project.fill(0, 1, seed=7)
        code, told = project.run("stable", "verify", "--file", "copy", "--live")
        assert code == 3
        assert told["data"]["live"]["differing_chunks"] >= 1

    def test_methods_go_on_from_it_and_write_it_back(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        project.fill(0, 40, seed=5)

        ok(project, "stable", "import", "note", "--file", "copy", "--yes", "--skip-safety-snapshot")
        assert project.stable_memory() == wanted
        project.install("upgrade", skip_pre_upgrade=True)

        words = ("--stream", "stable_memory", "--file", "copy")
        data = ok(project, "stable", "export", "note", *words)
        assert data["plan"]["delta"]
        assert data["moved_bytes"] < data["size_bytes"] / 4

    def test_a_plan_changes_nothing(self, project: StableProject) -> None:
        version = project.canister.version

        plan = ok(project, *EXPORT, "--dry-run")["plan"]

        assert plan["stops"]
        assert plan["outage"]["high"] > 4
        assert plan["size_bytes"] == len(project.stable_memory())
        assert int(plan["cost"]) > 2_000_000_000
        assert project.canister.version == version

    def test_an_interrupted_one_makes_no_second_outage(self, project: StableProject) -> None:
        before = taken(project)
        refuse(project, "read_canister_snapshot_data", skip=3)
        told = fails(project, 50, *EXPORT, "--concurrency", "1")
        assert "without another outage" in told["hint"]
        project.server.faults.reset()
        version = project.canister.version
        wanted = project.stable_memory()
        project.fill(0, 1, seed=3)  # not in the snapshot

        plan = ok(project, *EXPORT, "--dry-run")["plan"]
        assert plan["goes_on"]
        assert not plan["stops"]
        data = ok(project, *EXPORT)

        assert data["resumed_bytes"] > 3_000_000
        assert copied(project) == wanted
        assert taken(project) == before + 1
        assert project.canister.version == version + 1  # of the write
        assert not project.canister.snapshots

    def test_what_was_read_and_lost_is_read_again(self, project: StableProject) -> None:
        refuse(project, "read_canister_snapshot_data", skip=3)
        fails(project, 50, *EXPORT, "--concurrency", "1")
        project.server.faults.reset()
        wanted = project.stable_memory()
        with (project.folder / "copy.stable.part").open("r+b") as file:
            file.write(b"a power cut")

        ok(project, *EXPORT)

        assert copied(project) == wanted

    def test_a_snapshot_that_is_gone_is_taken_again(self, project: StableProject) -> None:
        refuse(project, "read_canister_snapshot_data", skip=3)
        fails(project, 50, *EXPORT, "--concurrency", "1")
        project.server.faults.reset()
        project.canister.snapshots.clear()
        project.fill(0, 20, seed=4)

        data = ok(project, *EXPORT)

        assert data["resumed_bytes"] == 0
        assert copied(project) == project.stable_memory()

    def test_a_viewer_reads_one_that_is_there(self, project: StableProject) -> None:
        created = ok(project, "snapshot", "create", "note")
        snapshot = created["snapshot_id"]
        project.canister.settings.snapshot_visibility = Visibility(
            kind="allowed_viewers", viewers=(identity("bob").principal.raw,)
        )
        wanted, version = project.stable_memory(), project.canister.version
        project.fill(0, 5, seed=6)
        words = ("stable", "export", "note", "--snapshot", snapshot, "--file", "copy")

        data = ok(project, *words, identity="bob")

        assert copied(project) == wanted
        assert data["outage_seconds"] == 0
        assert project.canister.version == version + 1
        assert len(project.canister.snapshots) == 1

    def test_a_lost_answer_is_no_second_snapshot(self, project: StableProject) -> None:
        before = taken(project)
        project.server.faults.set(lost_reply={"take_canister_snapshot": 1})

        ok(project, *EXPORT)

        assert taken(project) == before + 1
        assert copied(project) == project.stable_memory()


class TestImport:
    def test_there_and_back(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        project.fill(30, 1, seed=5)
        project.fill(200, 60, seed=6)  # a tail that was not there

        data = ok(project, *IMPORT)

        assert project.stable_memory() == wanted
        assert not data["heap_rebuilt"]
        assert data["sent_bytes"] < len(wanted)
        [safety] = project.canister.snapshots
        assert safety.hex() == data["safety_snapshot_id"]
        state = project.dfx.home / ".local/state/dfx-backup"
        assert not list((state / "stable").iterdir())
        assert not list((state / "uploads").iterdir())
        back = ("snapshot", "load", "note", data["safety_snapshot_id"], "--yes")
        ok(project, *back)
        assert len(project.stable_memory()) > len(wanted)

    def test_it_asks_first_and_says_what_is_lost(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        version = project.canister.version

        told = fails(project, 60, *IMPORT[:-1])
        assert "copy.stable.bin takes its place" in told["message"]
        data = ok(project, *IMPORT[:-1], "--dry-run")

        plan = data["plan"]
        assert plan["takes_base_snapshot"]
        assert plan["takes_safety_snapshot"]
        assert int(plan["cost"]) > 4_000_000_000
        assert 0 < plan["fetch_bytes"] < plan["send_bytes"]
        assert any("may disagree" in each for each in data["warnings"])
        assert any("stopped twice" in each for each in data["warnings"])
        assert project.canister.version == version

    @pytest.mark.parametrize(
        ("method", "skip"),
        [
            pytest.param("take_canister_snapshot", 0, marks=pytest.mark.slow),
            ("read_canister_snapshot_data", 0),
            pytest.param("upload_canister_snapshot_metadata", 0, marks=pytest.mark.slow),
            ("upload_canister_snapshot_data", 3),
            pytest.param("take_canister_snapshot", 1, marks=pytest.mark.slow),
            ("load_canister_snapshot", 0),
        ],
    )
    def test_refused_on_the_way_it_goes_on(
        self, project: StableProject, method: str, skip: int
    ) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        project.fill(0, 80, seed=8)
        before = taken(project)
        refuse(project, method, skip=skip)
        fails(project, 50, *IMPORT, "--concurrency", "1")
        assert project.stable_memory() != wanted
        project.server.faults.reset()

        data = ok(project, *IMPORT)

        assert project.stable_memory() == wanted
        again = method == "load_canister_snapshot"  # its safety snapshot was taken before
        assert taken(project) == before + 3 + again
        assert len(project.canister.snapshots) == 1 + again
        if method == "upload_canister_snapshot_data":
            assert data["resumed_bytes"] > 0

    @pytest.mark.parametrize(
        "method",
        [
            "load_canister_snapshot",
            pytest.param("upload_canister_snapshot_metadata", marks=pytest.mark.slow),
            pytest.param("delete_canister_snapshot", marks=pytest.mark.slow),
        ],
    )
    def test_lost_answers_change_nothing(self, project: StableProject, method: str) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        project.fill(0, 80, seed=8)
        project.server.faults.set(lost_reply={method: 1})

        ok(project, *IMPORT)

        assert project.stable_memory() == wanted
        assert len(project.canister.snapshots) == 1

    def test_dfx_holds_the_canister_and_we_move_the_bytes(self, project: StableProject) -> None:
        by_dfx = {"driver": "dfx", "env": project.dfx.environment}
        ok(project, *EXPORT, **by_dfx)
        wanted = copied(project)
        project.fill(0, 20, seed=8)

        ok(project, *IMPORT, **by_dfx)

        assert project.stable_memory() == wanted
        assert len(project.canister.snapshots) == 1

    def test_new_begins_anew(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        wanted = copied(project)
        refuse(project, "upload_canister_snapshot_data", skip=3)
        fails(project, 50, *IMPORT, "--concurrency", "1")
        project.server.faults.reset()
        version = project.canister.version
        project.send("set_motto", "said since the base snapshot")
        assert ok(project, *IMPORT, "--dry-run")["plan"]["base_taken_at"]

        ok(project, *IMPORT, "--new")

        assert project.stable_memory() == wanted
        assert project.send("motto") == "said since the base snapshot"
        assert project.canister.version > version
        assert len(project.canister.snapshots) == 1

    def test_a_damaged_copy_touches_nothing(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        version = project.canister.version
        with (project.folder / "copy.stable.bin").open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"damage")

        told = fails(project, 20, *IMPORT)

        assert "983,040" in told["message"]
        assert project.canister.version == version
        assert not project.canister.snapshots

    def test_a_copy_without_its_hashes_is_none(self, project: StableProject) -> None:
        (project.folder / "stable_memory.bin").write_bytes(bytes(PAGE))

        told = fails(project, 30, *IMPORT[:5], "--file", "stable_memory.bin", "--yes")

        assert "stable.json is not there" in told["message"]

    def test_a_stream_of_the_app_is_no_stable_memory(self, project: StableProject) -> None:
        ok(project, "stable", "export", "note", "--stream", "ballast", "--file", "copy")

        told = fails(project, 60, *IMPORT)

        assert "is stream ballast" in told["message"]

    def test_a_full_canister_is_refused_before_anything(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        for _ in range(9):
            ok(project, "snapshot", "create", "note")

        told = fails(project, 60, *IMPORT)

        assert "two are needed" in told["message"]

    @pytest.mark.parametrize(
        "words",
        [
            ("export", "--via", "snapshot", "--file", "copy", "--stream", "ballast"),
            ("export", "--via", "snapshot", "--file", "copy", "--reads", "hashes"),
            ("export", "--via", "snapshot"),
            ("export", "--via", "endpoints", "--file", "copy", "--snapshot", "00"),
            ("export", "--file", "copy", "--allow-stopped"),
            ("import", "--file", "copy", "--heap-from-stable"),
            ("import", "--file", "copy", "--new"),
            ("import", "--via", "snapshot", "--file", "copy", "--stream", "ballast"),
            ("import", "--via", "snapshot", "--abort"),
        ],
    )
    def test_words_that_contradict_each_other(
        self, project: StableProject, words: tuple[str, ...]
    ) -> None:
        fails(project, 2, "stable", words[0], "note", *words[1:])
