"""There and back: what `create` brought away is what `restore` puts into another canister."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import wasmtime

from dfx_backup.repository.prune import prune
from dfx_backup.repository.s3 import S3ObjectStore
from tests.fakes.backup_project import PAGE, BackupProject, scattered
from tests.fakes.moto_s3 import moto_s3
from tests.fakes.sloppy_s3 import SloppyS3

BUCKET_ENV = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NO_MEMORY = "(module)"
NANS = """
(module
  (memory 1)
  (global (export "quiet") (mut f64) (f64.const nan:0x8000000000001))
  (global (export "signalling") (mut f64) (f64.const -nan:0x4000000000001))
  (global (export "narrow") (mut f32) (f32.const nan:0x200001))
  (global (export "endless") (mut f32) (f32.const -inf))
  (global (export "negative") (mut f64) (f64.const -0.0))
  (global (export "whole") (mut i64) (i64.const -1)))
"""


DELEGATION = True


def install(project: BackupProject, text: str) -> None:
    module = bytes(wasmtime.wat2wasm(text))
    project.server.replica.install(project.canisters["note"], module, mode="reinstall")


def there_and_back(project: BackupProject, **more: Any) -> Any:
    """Back `note` up, and restore that into `other`; what `restore` told."""
    other = project.add("other")
    project.create("note", **more)
    words = ("--to", other, "--read-back", "all", "--yes")
    told = project.envelope("restore", "note@latest", *words, **more)["data"]
    one, another = project.state(), project.state("other")
    assert one.module.sha256 == another.module.sha256
    for left, right in ((one.heap, another.heap), (one.stable, another.stable)):
        assert left.size == right.size
        assert left.read(0, left.size) == right.read(0, right.size)
    assert one.globals == another.globals
    assert one.certified_data == another.certified_data
    assert one.chunks == another.chunks
    return told


@contextmanager
def busy_sloppy_s3() -> Iterator[str]:
    """It heeds no conditions, lists in short pages, and every fifth answer is 503 and late."""
    with SloppyS3("bucket") as server:
        server.moods.page = 3
        server.moods.every = 5
        server.moods.late_s = 0.005
        yield server.url
        assert any(verb == "DELETE" for verb, _ in server.requests)


@pytest.mark.parametrize("serve", [lambda: moto_s3("bucket"), busy_sloppy_s3], ids=["moto", "busy"])
def test_an_object_store(
    project: BackupProject,
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[[], AbstractContextManager[str]],
) -> None:
    """Two generations, the restore of one, a prune without a grace period, and all data read."""
    defaults = S3ObjectStore.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "first_pause", timedelta(milliseconds=5))
    monkeypatch.setitem(prune.__kwdefaults__, "keep_younger_s", 0.0)
    project.fill("note", scattered(1, 60), pages=100)
    with serve() as url:
        env = {**BUCKET_ENV, "DFX_BACKUP_REPO": f"s3:{url}/bucket/{uuid.uuid4().hex}"}
        project.envelope("init", env=env)
        told = there_and_back(project, env=env)
        assert told["sent_bytes"] > 60 * PAGE
        assert told["level"] == 3
        assert project.create("note", env=env)["backups"][0]["new_bytes"] == 0
        project.fill("note", scattered(2, 60), pages=100)
        (last,) = project.create("note", env=env)["backups"]
        assert last["stored_bytes"] > 60 * PAGE
        words = ("--keep-last", "1", "--prune", "--yes")
        pruned = project.envelope("forget", *words, env=env)["data"]["prune"]
        assert pruned["packs_removed"] > 0
        verified = project.envelope("verify", "--read-data", env=env)["data"]
        levels = [each["level"] for each in verified["backups"]]
        assert (verified["findings"], levels) == ([], [3, 2])  # what proved good is kept
        project.fill("note", b"lost")
        project.envelope("restore", "note@latest", "--yes", env=env)
        assert project.stable()[:PAGE] == scattered(2, 60)[0]


def test_every_bit_of_globals_that_are_no_numbers(project: BackupProject) -> None:
    install(project, NANS)
    bits = [each.bits for each in project.state().globals]
    assert 0x7FF8000000000001 in bits
    assert 0xFFF4000000000001 in bits
    there_and_back(project)
    assert [each.bits for each in project.state("other").globals] == bits


def test_no_memory_at_all(project: BackupProject) -> None:
    install(project, NO_MEMORY)
    there_and_back(project)


def test_stable_memory_alone(project: BackupProject) -> None:
    install(project, NO_MEMORY)
    project.fill("note", {PAGE - 1: b"over the edge of a page"}, pages=40)
    there_and_back(project)


def test_chunks_of_modules(project: BackupProject) -> None:
    chunks = (b"first " * 100_000, b"x")
    project.state().chunks = {hashlib.sha256(each).digest(): each for each in chunks}
    there_and_back(project)


@pytest.mark.slow
def test_a_heap_above_four_gib_into_an_empty_canister(project: BackupProject) -> None:
    install(project, "(module (memory i64 65537 65600))")
    state = project.state()
    with project.server.replica.lock:
        state.heap.write(65536 * PAGE, b"beyond")
        project.server.replica.blobs.commit([], {})
    project.create("note")
    other = project.add("other")
    project.server.replica.uninstall(project.canisters["other"])
    told = project.envelope("restore", "note@latest", "--to", other, "--yes")["data"]
    assert told["plan"]["installs_stub"]
    heap = project.state("other").heap
    assert heap.size == 65537 * PAGE
    assert heap.read(65536 * PAGE, 6) == b"beyond"


def test_the_plan_names_the_quicker_way_while_there_is_one(project: BackupProject) -> None:
    (backup,) = project.create("note")["backups"]

    def plan(*more: str) -> str:
        told = project.envelope("restore", "note@latest", "--dry-run", *more)["data"]
        return " ".join(told["warnings"])

    quicker = f"snapshot load {project.id()} {backup['snapshot_id']}"
    assert quicker in plan()
    assert quicker not in plan("--to", project.add("other"))
    told = project.envelope("restore", "note@latest", "--yes")["data"]
    assert quicker not in " ".join(told["warnings"])  # it is done
    project.state().snapshots.clear()
    assert quicker not in plan()


def test_backing_up_what_exists_says_nothing_of_what_stays_there(project: BackupProject) -> None:
    (backup,) = project.create("note")["backups"]
    words = ("create", "note", "--snapshot", backup["snapshot_id"])
    assert project.run_text(*words, env=project.env) == 0
    assert "On chain" not in project.text
    assert "On chain" in (project.run_text("create", "note", env=project.env), project.text)[1]
