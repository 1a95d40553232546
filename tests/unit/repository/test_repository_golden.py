"""Golden repositories: the sound one is read, and each damage is named with its exit code."""

import os
from pathlib import Path

import pytest

from dfx_backup.errors import BackupError, DamageError, WrongKeyError
from dfx_backup.repository.check import check
from dfx_backup.repository.compression import zstd
from dfx_backup.repository.findings import Sort
from dfx_backup.repository.keys import Password
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.prune import prune
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.subset import EVERYTHING
from dfx_backup.repository.trees import Tree
from dfx_backup.repository.usage import walk_tree
from scripts import gen_golden_repositories as golden
from tests.fakes.repositories import Restic, back_up, contents, reopened, this_machine

SETS = [golden.FIRST, golden.SECOND]

# What opening it, or a check of it, ends with; and which of the two backups are hit.
NOT_OPENED = {
    "missing-keys": (20, "no keys"),
    "damaged-key": (20, "keys/"),
    "garbage-config": (20, "config"),
    "missing-config": (10, "no repository"),
    "newer-version": (60, "version 3"),
}
DAMAGED = {
    "flipped-bit-in-page": (Sort.PACK, {1}),
    "flipped-bit-in-shared-page": (Sort.PACK, {0, 1}),
    "flipped-bit-in-tree": (Sort.PACK, {1}),
    "flipped-bit-in-pack-header": (Sort.PACK, {1}),
    "exchanged-packs": (Sort.PACK_SIZE, {0, 1}),
    "truncated-pack": (Sort.PACK_SIZE, {1}),
    "empty-pack": (Sort.PACK_SIZE, {1}),
    "missing-pack": (Sort.PACK_MISSING, {1}),
    "missing-tree": (Sort.PACK_MISSING, {1}),
    "missing-index": (Sort.BLOB, {0, 1}),
    "garbage-index": (Sort.INDEX, None),
    "damaged-snapshot": (Sort.SNAPSHOT, {1}),
}


def copy_of(case: str) -> MemoryStore:
    """A golden repository in memory, all of it old."""
    store = MemoryStore()
    folder = golden.FOLDER / case
    for path in folder.rglob("*"):
        if path.is_file():
            store.objects[path.relative_to(folder).as_posix()] = (path.read_bytes(), 0.0)
    return store


def sound_ids() -> list[str]:
    return [each.snapshot_id for each in reopened(copy_of("sound")).snapshots()]


def test_the_generator_writes_the_same_bytes() -> None:
    made_with = (golden.FOLDER / golden.VERSION).read_text().strip()
    if zstd.zstd_version != made_with:
        pytest.skip(f"zstd {made_with} made the golden repositories, and this is another one")
    there = {
        path.relative_to(golden.FOLDER).as_posix(): path.read_bytes()
        for path in golden.FOLDER.rglob("*")
        if path.is_file()
    }
    files = golden.golden_files()
    assert sorted(there) == sorted(files)
    assert there == files
    assert sum(map(len, there.values())) < 300_000


def test_there_is_a_case_for_each() -> None:
    cases = {path.name for path in golden.FOLDER.iterdir() if path.is_dir()}
    assert cases == {"sound", *NOT_OPENED, *DAMAGED}


def test_the_sound_one() -> None:
    repository = reopened(copy_of("sound"))
    report = check(repository, read_data=EVERYTHING)
    assert (report.findings, report.backups, report.packs) == ((), 2, 4)
    for snapshot_id, files in zip(sound_ids(), SETS, strict=True):
        assert contents(repository, snapshot_id) == files


def test_a_wrong_password() -> None:
    with pytest.raises(WrongKeyError) as caught:
        Repository.open(copy_of("sound"), Password("battery staple"), this_machine())
    assert caught.value.exit_code == 12


@pytest.mark.parametrize("case", NOT_OPENED)
def test_what_can_not_be_opened(case: str) -> None:
    code, words = NOT_OPENED[case]
    with pytest.raises(BackupError, match=words) as caught:
        reopened(copy_of(case))
    assert caught.value.exit_code == code


@pytest.mark.parametrize("case", DAMAGED)
def test_what_a_check_finds(case: str) -> None:
    sort, numbers = DAMAGED[case]
    report = check(reopened(copy_of(case)), read_data=EVERYTHING)
    assert sort in {finding.sort for finding in report.findings}
    assert report.error().exit_code == 20
    if numbers is not None:
        ids = sound_ids()
        assert set(report.damaged_backups) == {ids[number] for number in numbers}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_read_is_right_or_an_error(case: str, tmp_path: Path) -> None:
    repository = reopened(copy_of(case))
    wrong = 0
    for snapshot_id, files in zip(sound_ids(), SETS, strict=True):
        try:
            tree_id = repository.snapshot(snapshot_id).tree

            def load(_path: str, each: bytes) -> Tree:
                return repository.tree(each)

            nodes = dict(walk_tree(tree_id, load))
        except DamageError:
            wrong += 1
            continue
        for path, data in files.items():
            handle = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
            try:
                repository.reader().restore_file(nodes[path], handle)
                assert os.pread(handle, len(data) + 1, 0) == data
            except DamageError:
                wrong += 1
            finally:
                os.close(handle)
    # A header is not needed to read what the index lists.
    assert wrong or case == "flipped-bit-in-pack-header"


@pytest.mark.parametrize("case", DAMAGED)
def test_a_prune_changes_nothing_that_is_damaged(case: str) -> None:
    store = copy_of(case)
    repository = reopened(store)
    before = dict(store.objects)
    try:
        prune(repository)
    except DamageError as error:
        assert error.hint  # noqa: PT017 - bits that are not read can't be seen
    assert {name: store.objects[name] for name in before} == before


@pytest.mark.parametrize("case", ["missing-pack", "missing-tree", "missing-index"])
def test_a_new_backup_of_the_same_files_tells_or_is_whole(case: str) -> None:
    """What is lost must not be taken for stored."""
    repository = reopened(copy_of(case))
    try:
        commit = back_up(repository, golden.SECOND)
    except DamageError as error:
        assert error.exit_code == 20  # noqa: PT017 - either is right
    else:
        assert contents(repository, commit.snapshot_id) == golden.SECOND


@pytest.mark.judge
def test_restic_reads_the_sound_one(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "repository")
    for name, (data, _) in copy_of("sound").objects.items():
        store.put(name, data)
    judge = Restic(tmp_path / "repository", tmp_path / "home")
    judge.check("--read-data")
    for snapshot_id, files in zip(sound_ids(), SETS, strict=True):
        target = tmp_path / snapshot_id
        judge.run("restore", snapshot_id, "--target", str(target))
        for path, data in files.items():
            assert (target / path).read_bytes() == data
