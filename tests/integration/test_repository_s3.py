"""A whole life in S3: create, restore, forget, prune, check, and restic on the same bucket."""

import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dfx_backup.repository.check import check
from dfx_backup.repository.forget import forget
from dfx_backup.repository.prune import prune
from dfx_backup.repository.s3 import S3ObjectStore
from dfx_backup.repository.s3_access import S3Access, S3Location
from dfx_backup.repository.subset import EVERYTHING
from tests.fakes.moto_s3 import moto_s3
from tests.fakes.repositories import PAGE, Restic, back_up, new_repository, noise, pages, reopened
from tests.fakes.sloppy_s3 import SloppyS3

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
FIRST = {"memory.bin": noise(1, 300) + pages(0, 0, 7), "chunks/a.bin": b"abc"}  # two packs
SECOND = {"memory.bin": noise(1, 300)[: 250 * PAGE] + noise(2, 50), "chunks/a.bin": b"abd"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_s3("bucket") as url:
        yield url


def open_at(where: str) -> S3ObjectStore:
    access = S3Access.from_environment(ENVIRON)
    return S3ObjectStore(S3Location.parse(where), access, first_pause=timedelta(milliseconds=5))


def live(where: str, folder: Path) -> dict[str, bytes]:
    """From init to a pruned repository with the second backup; what that one holds."""
    repository = new_repository(open_at(where))
    first = back_up(repository, FIRST)
    second = back_up(reopened(open_at(where)), SECOND)
    repository = reopened(open_at(where))
    assert check(repository, read_data=EVERYTHING).findings == ()
    assert forget(repository, [first.snapshot_id]).removed == (first.snapshot_id,)
    assert prune(repository).packs_removed == 0  # all of it is young
    report = prune(repository, keep_younger_s=-60, max_unused=0)
    assert report.packs_removed > 0
    assert report.packs_written > 0
    repository = reopened(open_at(where))
    assert check(repository, read_data=EVERYTHING).findings == ()
    return restored(where, second.snapshot_id, folder)


def restored(where: str, snapshot_id: str, folder: Path) -> dict[str, bytes]:
    repository = reopened(open_at(where))
    found = {}
    tree = repository.tree(repository.snapshot(snapshot_id).tree)
    chunks = repository.tree(tree.find("chunks").subtree)
    for path, node in (
        ("memory.bin", tree.find("memory.bin")),
        ("chunks/a.bin", chunks.find("a.bin")),
    ):
        target = folder / node.name
        handle = os.open(target, os.O_RDWR | os.O_CREAT)
        try:
            repository.reader().restore_file(node, handle)
        finally:
            os.close(handle)
        found[path] = target.read_bytes()
    return found


def test_a_whole_life_on_moto(moto: str, tmp_path: Path) -> None:
    assert live(f"s3:{moto}/bucket/{uuid.uuid4().hex}", tmp_path) == SECOND


def test_a_whole_life_on_a_sloppy_server(tmp_path: Path) -> None:
    """It heeds no conditions, lists in short pages, and is busy now and then."""
    with SloppyS3("bucket") as server:
        server.moods.page = 3
        server.moods.every = 5
        assert live(f"s3:{server.url}/bucket/a/b", tmp_path) == SECOND


@pytest.mark.judge
def test_restic_works_on_the_same_bucket(moto: str, tmp_path: Path) -> None:
    where = f"s3:{moto}/bucket/{uuid.uuid4().hex}"
    judge = Restic(where, tmp_path / "home", **ENVIRON)
    repository = new_repository(open_at(where))
    first, second = back_up(repository, FIRST), back_up(repository, SECOND)
    judge.check("--read-data")
    judge.run("forget", first.snapshot_id, "--prune", "--max-unused", "0")
    assert check(reopened(open_at(where)), read_data=EVERYTHING).findings == ()
    assert restored(where, second.snapshot_id, tmp_path) == SECOND
    back_up(repository, FIRST)  # opened before restic pruned
    judge.check("--read-data")
