"""Streams of a real canister into the repository and back, judged by restic."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.server import ReplicaServer
from dfx_backup.repository.keys import Password
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.repository import Repository
from tests.fakes.repositories import PASSWORD, age_objects, new_repository, this_machine
from tests.fakes.stable_project import PAGE
from tests.fakes.stable_repository_project import StableRepositoryProject

CHUNK = 15 * PAGE
MEMORY, SIDECAR = "memory.stable.bin", "memory.stable.json"


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[StableRepositoryProject]:
    made = StableRepositoryProject(server, tmp_path)
    made.fill(0, 200, seed=1)
    yield made
    made.close()


def first(told: Any) -> str:
    return str(told["errors"][0]["message"])


def hint(told: Any) -> str:
    return str(told["errors"][0]["hint"])


# Into the repository


@pytest.mark.parametrize("reads", ["certified", "hashes"])
def test_a_backup_is_the_memory(project: StableRepositoryProject, reads: str) -> None:
    project.fill(60, 40, seed=0)  # zeros, too

    data = project.export("--reads", reads, "--tag", "nightly")

    found = project.files(data["restic_id"])
    assert set(found) == {MEMORY, SIDECAR, "backup.json"}
    assert found[MEMORY] == project.ballast()
    assert json.loads(found[SIDECAR])["root"] == data["root"]
    record = json.loads(found["backup.json"])
    assert record["backup"]["kind"] == "stable"
    assert record["backup"]["consistency"] == "live"
    assert (
        record["backup"]["stable"] | {"stream": "ballast", "root": data["root"]}
        == (record["backup"]["stable"])
    )
    assert data["backup_id"] == record["backup"]["backup_id"]
    [listed] = project.envelope("list")["data"]["backups"]
    assert (listed["kind"], listed["stream"], listed["tags"]) == ("stable", "ballast", ["nightly"])


def test_only_what_changed_moves(project: StableRepositoryProject) -> None:
    project.fill(0, 15 * 52, seed=1)
    project.export()
    project.fill(15 * 40 + 3, 1, seed=2)  # one chunk of 52

    data = project.export()

    assert data["plan"]["delta"]
    assert data["moved_bytes"] == CHUNK <= 0.02 * data["size_bytes"]
    assert data["new_bytes"] < 2 * CHUNK
    assert project.files(data["restic_id"])[MEMORY] == project.ballast()


def test_the_same_again_stores_nothing(project: StableRepositoryProject) -> None:
    project.export()

    data = project.export()

    assert data["moved_bytes"] == 0
    assert data["copied_bytes"] == data["size_bytes"]
    assert data["new_bytes"] < 20_000  # a sidecar


def test_blobs_of_another_size(project: StableRepositoryProject) -> None:
    project.fill(61, 60, seed=0)
    large = LocalStore(project.folder / "large")
    Repository.init(large, Password(PASSWORD), this_machine(), blob_size=262144)
    for seed in (5, 6):
        data = project.export("--repo", "large", "--reads", "hashes")
        project.fill(77, 1, seed=seed)

    assert data["chunk_size"] == 3 * 262144
    assert data["moved_bytes"] == data["chunk_size"]
    project.envelope("export", "note/ballast@latest", "out", "--repo", "large")
    assert project.envelope("stable", "verify", "--file", "out/memory")["data"]["whole"]
    live = project.envelope(
        "stable", "import", "note", "--backup", data["backup_id"], "--yes", "--repo", "large"
    )["data"]
    assert live["moved_bytes"] == data["chunk_size"]


def test_a_stream_that_grows_and_shrinks(project: StableRepositoryProject) -> None:
    project.export()
    project.fill(300, 7, seed=3)

    grown = project.export()

    assert project.files(grown["restic_id"])[MEMORY] == project.ballast()
    project.send("set_motto", "carpe diem")
    one = project.export(stream="motto")
    project.send("set_motto", "x")
    other = project.export(stream="motto")
    assert project.files(one["restic_id"])[MEMORY] == b"carpe diem"
    assert project.files(other["restic_id"])[MEMORY] == b"x"


def test_a_writer_that_never_rests(project: StableRepositoryProject) -> None:
    with project.restless():
        told = project.envelope("stable", "export", "note", "--stream", "ballast", code=60)

    assert told["errors"][0]["code"] == "moving"
    assert project.repository.snapshots() == ()
    quiet = project.export()
    assert project.files(quiet["restic_id"])[MEMORY] == project.ballast()


def test_nothing_is_built_upon_damage(project: StableRepositoryProject) -> None:
    backup = project.export()
    age_objects(project.repo, 0)
    packs = sorted((project.repo / "data").rglob("*"), key=lambda each: each.stat().st_size)
    with packs[-1].open("r+b") as file:  # the largest one holds pages
        file.seek(1000)
        wrong = bytes(each ^ 1 for each in file.read(64))
        file.seek(1000)
        file.write(wrong)

    told = project.envelope("stable", "export", "note", "--stream", "ballast", code=20)

    assert told["errors"][0]["code"] == "damage"
    assert [each.snapshot_id for each in project.repository.snapshots()] == [backup["restic_id"]]


def test_where_it_goes(project: StableRepositoryProject) -> None:
    words = ("stable", "export", "note", "--stream", "ballast")
    for more in (("--repo", "repo"), ("--tag", "x"), ("--password-file", "password")):
        told = project.envelope(*words, "--file", "copy", *more, code=2)
        assert "--file writes files" in first(told)
    assert project.envelope(*words, "--file", "copy")["data"]["repository"] is None  # a default
    assert project.repository.snapshots() == ()

    code, told = project.run(*words)  # nothing names a repository

    assert code == 10
    assert "--file NAME" in hint(told)
    plan = project.envelope(*words, "--dry-run")["data"]["plan"]
    assert plan["repository"] == str(project.repo)
    assert plan["file"] is None
    assert project.repository.snapshots() == ()


# Beside backups of whole canisters


@pytest.fixture
def both(project: StableRepositoryProject) -> tuple[str, str]:
    """Ids of a backup of the canister, and of a later one of its stream."""
    whole = project.create("note")["backups"][0]["backup_id"]
    return whole, project.export()["backup_id"]


def test_the_latest_is_of_the_right_kind(
    project: StableRepositoryProject, both: tuple[str, str]
) -> None:
    whole, stream = both
    for name in ("note@latest", "latest"):
        assert project.envelope("show", name)["data"]["backup_id"] == whole
        plan = project.envelope("restore", name, "--dry-run")["data"]["plan"]
        assert plan["backup_id"] == whole
        words = ("stable", "import", "note", "--backup", name, "--dry-run")
        assert project.envelope(*words)["data"]["plan"]["backup_id"] == stream
    assert project.envelope("show", "note/ballast@latest")["data"]["backup_id"] == stream
    told = project.envelope("restore", stream[:8], "--yes", code=2)
    assert "not the whole canister" in first(told)
    assert f"stable import {project.id()} --backup {stream[:8]}" in hint(told)
    told = project.envelope("stable", "import", "note", "--backup", whole, "--yes", code=2)
    assert "not of a stream" in first(told)


def test_names_that_mean_several_streams(project: StableRepositoryProject) -> None:
    backup = project.export()["backup_id"]
    told = project.envelope("show", "note@latest", code=2)
    assert "only of its ballast" in first(told)
    assert "note/ballast@latest" in hint(told)
    project.export(stream="motto")

    told = project.envelope("stable", "import", "note", "--backup", "note@latest", code=2)

    assert "ballast, motto" in first(told)
    words = ("stable", "import", "note", "--backup", "note/ballast@latest", "--dry-run")
    assert project.envelope(*words)["data"]["plan"]["backup_id"] == backup
    told = project.envelope("show", "note/other@latest", code=2)
    assert "stream `other`" in first(told)


def test_retention_keeps_each_kind_and_stream(
    project: StableRepositoryProject, both: tuple[str, str]
) -> None:
    motto = project.export(stream="motto")["backup_id"]
    newer = project.export()["backup_id"]

    project.envelope("forget", "--keep-last", "1", "--yes")

    kept = {each["backup_id"] for each in project.envelope("list")["data"]["backups"]}
    assert kept == {both[0], motto, newer}
    told = project.envelope("forget", motto, "--yes", code=60)
    assert "last backup of its stream" in first(told)
    assert project.envelope("pin", motto)["data"]["pinned"]


def test_the_alarm_counts_whole_canisters(
    project: StableRepositoryProject, both: tuple[str, str]
) -> None:
    assert project.envelope("list", "--max-age", "1h")["errors"] == []
    project.envelope("forget", both[0], "--allow-empty-group", "--yes")
    told = project.envelope("list", "--max-age", "1h", code=3)
    assert "no good backup" in first(told)
    assert project.envelope("list", "--max-age", "1h", "--kind", "stable")["errors"] == []
    assert project.envelope("list", "--kind", "snapshot")["data"]["backups"] == []


def test_create_goes_its_own_way(project: StableRepositoryProject, both: tuple[str, str]) -> None:
    whole = project.create("note")["backups"][0]

    assert project.files(whole["restic_id"])["metadata.json"]
    [kept] = project.on_chain()
    assert kept == project.envelope("show", whole["backup_id"])["data"]["snapshot_id"]
    diff = project.envelope("diff", both[0], both[1])
    assert "not backups of the same" in diff["data"]["warnings"][0]


def test_differences_of_two(project: StableRepositoryProject) -> None:
    one = project.export()["backup_id"]
    project.fill(33, 2, seed=7)
    other = project.export()["backup_id"]

    [file] = project.envelope("diff", one, other)["data"]["files"]

    assert file["name"] == MEMORY
    assert file["ranges"] == [{"first": 33, "count": 2}]


def test_verified_and_compared(project: StableRepositoryProject) -> None:
    backup = project.export()["backup_id"]

    data = project.envelope("verify", backup, "--read-data", "--live")["data"]

    assert data["backups"][0]["level"] == 2
    assert data["live"][0]["differences"] == []
    project.fill(0, 1, seed=8)
    told = project.envelope("verify", backup, "--live", code=3)
    [difference] = told["data"]["live"][0]["differences"]
    assert difference["what"] == "stream ballast"
    assert "1 of its chunks" in difference["now"]
    assert project.envelope("verify", "--live")["data"]["live"] == []  # hashes cost cycles


# Out of the repository


def test_only_differences_are_sent(project: StableRepositoryProject) -> None:
    project.fill(90, 30, seed=0)
    wanted = project.ballast()
    project.export()
    project.fill(100, 1, seed=4)
    project.fill(3, 1, seed=0)

    data = project.envelope("stable", "import", "note", "--backup", "latest", "--yes")["data"]

    assert project.ballast() == wanted
    assert data["moved_bytes"] == 2 * CHUNK
    assert data["plan"]["file"] is None


def test_out_and_in_again(project: StableRepositoryProject) -> None:
    backup = project.export("--tag", "x")["backup_id"]

    project.envelope("export", backup, "out")

    assert (project.folder / "out" / MEMORY).read_bytes() == project.ballast()
    assert project.envelope("stable", "verify", "--file", "out/memory", "--live")["data"]["whole"]
    told = project.envelope("import", "out", code=60)
    assert "in the repository already" in first(told)
    new_repository(LocalStore(project.folder / "other"))
    data = project.envelope("import", "out", "--repo", "other")["data"]
    assert data["backup_id"] == backup
    shown = project.envelope("show", backup, "--repo", "other")["data"]
    assert (shown["kind"], shown["stable"]["stream"]) == ("stable", "ballast")
    project.envelope("verify", "--read-data", "--repo", "other")
    (project.folder / "out" / MEMORY).write_bytes(b"x" + project.ballast()[1:])
    new_repository(LocalStore(project.folder / "third"))
    told = project.envelope("import", "out", "--repo", "third", code=20)
    assert "the first at offset 0" in first(told)


def test_words_that_do_not_go_together(project: StableRepositoryProject) -> None:
    words = ("stable", "import", "note", "--yes")
    for more, told in (
        ((), "--backup"),
        (("--file", "a", "--backup", "b"), "--backup"),
        (("--abort", "--backup", "b"), "--abort gives up"),
        (("--file", "a", "--repo", "repo"), "go with --backup"),
    ):
        assert told in first(project.envelope(*words, *more, code=2))


# Judged by restic


@pytest.mark.judge
def test_what_restic_restores_is_an_export(
    project: StableRepositoryProject, tmp_path: Path
) -> None:
    project.create("note")
    project.fill(60, 40, seed=0)
    project.export()
    project.fill(3, 1, seed=9)
    data = project.export()
    judge = project.judge()

    judge.check("--read-data")
    judge.run("restore", data["restic_id"], "--target", str(tmp_path / "back"))

    verified = project.envelope("stable", "verify", "--file", "back/memory", "--live")["data"]
    assert verified["whole"]
    assert verified["live"]["same"]
    new_repository(LocalStore(project.folder / "other"))
    again = project.envelope("import", str(tmp_path / "back"), "--repo", "other")["data"]
    assert again["backup_id"] == data["backup_id"]
    judge.run("forget", "--keep-last", "1", "--prune")
    kinds = [each["kind"] for each in project.envelope("list")["data"]["backups"]]
    assert sorted(kinds) == ["snapshot", "stable"]
    judge.check("--read-data")
    project.envelope("prune")


def test_through_a_snapshot_too(project: StableRepositoryProject) -> None:
    backup = project.export(stream="stable_memory")["backup_id"]
    wanted = project.stable_memory()
    project.fill(3, 40, seed=12)
    words = ("stable", "import", "note", "--via", "snapshot", "--backup", backup, "--yes")

    project.envelope(*words)

    assert project.stable_memory() == wanted
    told = project.envelope(
        "stable", "export", "note", "--via", "snapshot", "--repo", "repo", code=2
    )
    assert "--via snapshot writes files" in first(told)


def test_interrupted(project: StableRepositoryProject) -> None:
    project.fill(0, 900, seed=1)
    words = ("stable", "export", "note", "--stream", "ballast", "--concurrency", "2")

    code, told = project.struck(signal.SIGINT, *words, calls=12, method="backup_read")

    assert code == 130
    assert "what was stored is not stored twice" in hint(told)
    assert f"--repo {project.repo}" in hint(told)
    assert project.repository.snapshots() == ()
    assert not list((project.repo / "locks").iterdir())
    data = project.export()
    assert data["new_bytes"] < data["size_bytes"] - 8 * CHUNK
    assert project.files(data["restic_id"])[MEMORY] == project.ballast()


def test_a_backup_comes_back_through_a_snapshot(project: StableRepositoryProject) -> None:
    project.export(stream="stable_memory")
    wanted = project.stable_memory()
    project.fill(0, 60, seed=9)

    words = ("stable", "import", "note", "--backup", "latest", "--via", "snapshot", "--yes")
    data = project.envelope(*words)["data"]

    assert project.stable_memory() == wanted
    assert data["plan"]["root"]
    assert len(project.canister.snapshots) == 1
