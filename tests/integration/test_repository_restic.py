"""restic, whom we had no hand in, reads what we write; and we read what it writes."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from dfx_backup.errors import WrongKeyError
from dfx_backup.repository.config import LARGE_BLOB_BYTES
from dfx_backup.repository.keys import Password
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import BackupMeta
from tests.fakes.repositories import (
    PAGE,
    PASSWORD,
    Restic,
    back_up,
    contents,
    new_repository,
    noise,
    pages,
    reopened,
    this_machine,
)

pytestmark = pytest.mark.judge

FILES = {
    "metadata.json": b'{"version": 1}',
    "stable_memory.bin": noise(1, 20) + pages(0, 0, 0, 3, 3, 0) + b"the tail",
    "wasm_chunk_store/ab.bin": noise(2, 1)[:1000],
    "wasm_memory.bin": b"",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def judge(root: Path, tmp_path: Path) -> Restic:
    return Restic(root, tmp_path / "home")


def folder_contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_restic_restores_what_we_wrote(root: Path, judge: Restic, tmp_path: Path) -> None:
    repository = new_repository(LocalStore(root))
    meta = BackupMeta(
        hostname="local", paths=("/aaaaa-aa",), time=1_780_000_000.25, tags=("one", "two")
    )
    with repository.writer() as writer:
        file = writer.file("stable_memory.bin", len(FILES["stable_memory.bin"]))
        file.write(0, FILES["stable_memory.bin"])
        file.finish()
        small = {name: data for name, data in FILES.items() if name != "stable_memory.bin"}
        commit = writer.commit(meta, small)

    judge.check("--read-data")
    (told,) = judge.json("snapshots")
    assert told["id"] == commit.snapshot_id
    assert (told["hostname"], told["paths"]) == ("local", ["/aaaaa-aa"])
    assert told["tags"] == ["one", "two"]
    assert told["time"] == "2026-05-28T20:26:40.25Z"
    assert told["username"] == "tester"
    judge.run("restore", "latest", "--target", str(tmp_path / "out"))
    assert folder_contents(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "metadata.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out" / "wasm_chunk_store").stat().st_mode & 0o777 == 0o700
    assert judge.run("dump", "latest", "/metadata.json") == '{"version": 1}'
    listed = judge.run("ls", "latest")
    assert all(f"/{name}" in listed for name in FILES)


def test_restic_reads_large_blobs_and_long_holes(root: Path, judge: Restic, tmp_path: Path) -> None:
    repository = Repository.init(
        LocalStore(root), Password(PASSWORD), this_machine(), blob_size=LARGE_BLOB_BYTES
    )
    size = 8 * 1024 * PAGE + 7  # to be listed only
    with repository.writer() as writer:
        file = writer.file("stable_memory.bin", size, whole_hash=False)
        file.skip(0, size - 7)
        file.write(size - 7, b"the end")
        file.finish()
        writer.add("small.bin", noise(1, 9))
        writer.commit(BackupMeta(hostname="local", paths=("/c",), time=1_780_000_000.0))

    judge.check("--read-data")
    assert f"{size}" in judge.run("ls", "-l", "latest")
    judge.run("restore", "latest", "--target", str(tmp_path / "out"), "--include", "small.bin")
    assert (tmp_path / "out" / "small.bin").read_bytes() == noise(1, 9)


def test_we_read_what_restic_wrote(root: Path, judge: Restic, tmp_path: Path) -> None:
    judge.run("init", "--repository-version", "2")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    rng = random.Random(1)
    # Large enough for restic's own chunker to cut it at odd places.
    (folder / "large.bin").write_bytes(rng.randbytes(5_000_000) + bytes(3_000_000))
    (folder / "sub" / "text.txt").write_text("hello")
    (folder / "empty").touch()
    (folder / "link").symlink_to("empty")
    judge.run("backup", str(folder), "--tag", "theirs", "--host", "elsewhere")

    repository = reopened(LocalStore(root))
    (snapshot,) = repository.snapshots()

    assert snapshot.tags == ("theirs",)
    assert snapshot.hostname == "elsewhere"
    assert snapshot.paths == (str(folder),)
    found = contents(repository, snapshot.snapshot_id)
    prefix = str(folder).lstrip("/")
    assert found == {
        f"{prefix}/{name}": (folder / name).read_bytes()
        for name in ("large.bin", "sub/text.txt", "empty")
    }
    tree = repository.tree(snapshot.tree)
    for part in folder.parts[1:]:
        node = tree.find(part)
        assert node is not None
        assert node.subtree is not None
        tree = repository.tree(node.subtree)
    large = tree.find("large.bin")
    assert large is not None
    with (tmp_path / "out").open("wb") as file:
        repository.reader().restore_file(large, file.fileno())
    assert (tmp_path / "out").read_bytes() == (folder / "large.bin").read_bytes()
    assert repository.reader().read_range(large, 4_999_000, 2000)[1000:] == bytes(1000)


def test_we_go_on_in_a_repository_of_restics_that_it_pruned(
    root: Path, judge: Restic, tmp_path: Path
) -> None:
    judge.run("init", "--repository-version", "2")
    repository = reopened(LocalStore(root))
    back_up(repository, {"a.bin": noise(1, 30)}, time=1_780_000_000.0)
    kept = {"a.bin": noise(1, 10) + noise(2, 10)}
    second = back_up(repository, kept, time=1_780_000_001.0)

    judge.run("forget", "--keep-last", "1", "--group-by", "host", "--prune", "--max-unused", "0")

    # The repository that is still open learns that packs have gone, and so does a new one.
    third = {"a.bin": noise(1, 20), "b.bin": noise(2, 10)}
    after = back_up(repository, third, time=1_780_000_002.0)
    again = reopened(LocalStore(root))
    assert contents(again, second.snapshot_id) == kept
    assert contents(again, after.snapshot_id) == third
    judge.check("--read-data")
    judge.run("restore", "latest", "--target", str(tmp_path / "out"))
    assert folder_contents(tmp_path / "out") == third


def test_keys_of_both(root: Path, judge: Restic, tmp_path: Path) -> None:
    repository = new_repository(LocalStore(root))
    other = tmp_path / "other"
    other.write_text("second password\n")

    judge.run("key", "add", "--new-password-file", str(other))
    repository.keys.add(Password("third password"))

    for text in ("second password", "third password"):
        opened = Repository.open(LocalStore(root), Password(text), this_machine())
        assert opened.id == repository.id
    other.write_text("third password\n")
    process = subprocess.run(
        ["restic", "--no-cache", "-r", str(root), "-p", str(other), "cat", "config"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(process.stdout)["id"] == repository.id
    assert len(judge.json("key", "list")) == 3
    with pytest.raises(WrongKeyError):
        Repository.open(LocalStore(root), Password("fourth password"), this_machine())


def test_restic_shows_our_trees(root: Path, judge: Restic) -> None:
    repository = new_repository(LocalStore(root))
    commit = back_up(repository, FILES)

    said = judge.run("cat", "blob", commit.tree.hex())

    assert [node["name"] for node in json.loads(said)["nodes"]] == [
        "metadata.json",
        "stable_memory.bin",
        "wasm_chunk_store",
        "wasm_memory.bin",
    ]


def test_restic_rebuilds_the_index_from_our_packs(root: Path, judge: Restic) -> None:
    repository = new_repository(LocalStore(root))
    commit = back_up(repository, FILES)
    for path in (root / "index").iterdir():
        path.unlink()

    judge.run("rebuild-index")

    judge.check("--read-data")
    assert contents(reopened(LocalStore(root)), commit.snapshot_id) == FILES
