"""A whole life in S3 by whole command lines: moto's server, and one that is careless and busy."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dfx_backup.repository import keys
from dfx_backup.repository.s3 import S3ObjectStore
from tests.fakes.desk import Desk
from tests.fakes.moto_s3 import moto_s3
from tests.fakes.repositories import Restic, noise, pages
from tests.fakes.sloppy_s3 import SloppyS3
from tests.fakes.snapshot_folder import contents

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
FIRST, SECOND = noise(1, 6) + pages(0, 7), noise(1, 4) + noise(2, 2) + pages(0, 7)
MANY = 1_100
"""Objects that do not fit into one page of a listing."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SCRYPT_N", 1 << 10)
    defaults = S3ObjectStore.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "first_pause", timedelta(milliseconds=5))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_s3("bucket") as url:
        yield url


def live(desk: Desk) -> str:
    """Every command on a repository in S3; the id of the backup that is left."""
    desk.run("init")
    first = desk.bring(0, heap=FIRST)
    second = desk.bring(1, heap=SECOND)
    assert [each["backup_id"] for each in desk.run("list")["backups"]] == [first, second]
    assert desk.run("show", second)["backup_id"] == second
    changed = {
        each["name"]: each["changed_pages"] for each in desk.run("diff", first, second)["files"]
    }
    assert changed["wasm_memory.bin"] == 2
    told = desk.run("verify", "--read-data")
    assert (told["findings"], [each["level"] for each in told["backups"]]) == ([], [2, 2])
    desk.run("pin", first)
    desk.run("unpin", first)
    pruned = desk.run("forget", "--keep-last", "1", "--prune", "--yes")["prune"]
    assert pruned["packs_removed"] == 0  # all of it is young
    desk.run("prune", "--dry-run")
    assert desk.run("unlock") == {"removed": 0, "left": [], "warnings": []}
    assert len(desk.run("key", "list")["keys"]) == 1
    desk.run("export", second, "out")
    assert contents(desk.folder / "out")["wasm_memory.bin"] == SECOND
    return second


def test_a_whole_life_on_moto(moto: str, tmp_path: Path) -> None:
    live(Desk(tmp_path, repo=f"s3:{moto}/bucket/{uuid.uuid4().hex}", env=ENVIRON))


def test_a_whole_life_on_a_server_that_heeds_no_conditions_and_is_busy(tmp_path: Path) -> None:
    """Listings come in short pages, and every seventh answer is 503."""
    with SloppyS3("bucket") as server:
        server.moods.page = 3
        server.moods.every = 7
        live(Desk(tmp_path, repo=f"s3:{server.url}/bucket/a/b", env=ENVIRON))
        assert sum(verb == "PUT" for verb, _ in server.requests) > 10


def test_more_objects_than_a_listing_has_in_a_page_and_slow_replies(tmp_path: Path) -> None:
    """Packs that nobody needs, old enough to go: they are all seen, and all removed."""
    with SloppyS3("bucket") as server:
        desk = Desk(tmp_path, repo=f"s3:{server.url}/bucket", env=ENVIRON)
        desk.run("init")
        backup = desk.bring(heap=FIRST)
        objects = server.buckets["bucket"]
        long_ago = time.time() - 30 * 86400
        needed = {name for name in objects if name.startswith("data/")}
        for number in range(MANY):
            id_ = f"{number:02x}"[-2:] + f"{number:062x}"
            objects[f"data/{id_[:2]}/{id_}"] = (b"left behind", long_ago)
        told = desk.run("verify")
        assert told["packs"] == MANY + len(needed)
        assert len(told["findings"]) == MANY
        assert desk.run("prune")["prune"]["packs_removed"] == MANY
        assert {name for name in objects if name.startswith("data/")} == needed
        server.moods.late_s = 0.05
        assert desk.run("verify")["findings"] == []
        desk.run("export", backup, "out")
        assert contents(desk.folder / "out")["wasm_memory.bin"] == FIRST


def test_a_server_that_refuses_is_told(tmp_path: Path) -> None:
    with SloppyS3("bucket") as server:
        desk = Desk(tmp_path, repo=f"s3:{server.url}/bucket", env=ENVIRON)
        desk.run("init")
        desk.bring(heap=FIRST)
        server.moods.refusal = (403, "AccessDenied", "")
        for argv in (["list"], ["prune"], ["import", "nowhere"]):
            told = desk.run(*argv, code=30)["errors"][0]
            assert "bucket" in json.dumps(told)
        server.moods.refusal = None
        wrong = desk.run("list", "--repo", f"s3:{server.url}/other", code=30)["errors"][0]
        assert "other" in wrong["message"]


@pytest.mark.slow
@pytest.mark.judge
def test_restic_reads_what_the_commands_wrote_to_a_bucket(moto: str, tmp_path: Path) -> None:
    where = f"s3:{moto}/bucket/{uuid.uuid4().hex}"
    desk = Desk(tmp_path, repo=where, env=ENVIRON)
    judge = Restic(where, tmp_path / "judge", **ENVIRON)
    second = live(desk)
    judge.check("--read-data")
    judge.run("prune", "--max-unused", "0")
    judge.run(
        "restore", "latest", "--tag", "dfx-backup:snapshot", "--target", str(tmp_path / "back")
    )
    assert contents(tmp_path / "back")["wasm_memory.bin"] == SECOND
    desk.run("export", second, "again")
    assert contents(tmp_path / "again")["wasm_memory.bin"] == SECOND
    desk.run("verify", "--read-data")
