"""Damaged repositories, by whole command lines: each damage is named with its exit code.

What is damaged never comes out as data, and no command ends in a traceback.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.repository import keys
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.store import Buffer, StoreError
from scripts import gen_golden_repositories as golden
from tests.fakes.desk import Desk
from tests.fakes.repositories import pages
from tests.fakes.snapshot_folder import contents, write_folder

MEMORIES = (pages(1, 2, 0, 3), pages(1, 4, 0, 3))
"""Of two backups: their first pages are the same, their second ones are not."""

# Exit code and words of every command, where the repository can't be opened.
NOT_OPENED = {
    "missing-keys": (20, "no keys"),
    "damaged-key": (20, "keys/"),
    "garbage-config": (20, "config"),
    "missing-config": (10, "no repository"),
    "newer-version": (60, "version 3"),
}
# Words of what `verify --read-data` tells, and which of the two backups are hit.
DAMAGED = {
    "flipped-bit-in-page": ("is damaged", {1}),
    "flipped-bit-in-shared-page": ("is damaged", {0, 1}),
    "flipped-bit-in-tree": ("is damaged", {1}),
    "flipped-bit-in-pack-header": ("is damaged", None),
    "exchanged-packs": ("bytes instead of", {0, 1}),
    "truncated-pack": ("bytes instead of", {1}),
    "empty-pack": ("0 bytes instead of", {1}),
    "missing-pack": ("is missing", {1}),
    "missing-tree": ("is missing", {1}),
    "missing-index": ("is in no index", {0, 1}),
    "garbage-index": ("index/", None),
    "damaged-snapshot": ("snapshots/", {1}),
}
COMMANDS = (
    ["list"],
    ["show", "latest"],
    ["diff", "latest", "latest"],
    ["verify", "--read-data"],
    ["export", "latest", "out"],
    ["import", "copy-0"],
    ["forget", "--keep-last", "1", "--yes"],
    ["prune"],
    ["pin", "latest"],
    ["key", "list"],
    ["unlock"],
)


pytestmark = pytest.mark.usefixtures("quick_keys")


class Damaged:
    """Copies of a repository with two backups, each damaged in one way.

    Attributes:
        ids: the backups' ids, oldest first.
        folders: what their exports hold, but for backup.json.
    """

    def __init__(self, folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keys, "SCRYPT_N", 16)
            desk = Desk(folder)
            desk.run("init")
            self.ids = []
            self.folders = []
            for number, heap in enumerate(MEMORIES):
                name = f"copy-{number}"
                write_folder(folder / name, heap=heap, taken_at=1_780_000_000 + number)
                self.ids.append(desk.run("import", name)["backup_id"])
                self.folders.append(files_of(folder / name))
            store = MemoryStore()
            for path in desk.repo.rglob("*"):
                if path.is_file():
                    name = path.relative_to(desk.repo).as_posix()
                    store.objects[name] = (path.read_bytes(), 0.0)
            sound = {name: data for name, (data, _) in store.objects.items()}
            self.cases = golden.damages(sound, golden.Places(store))

    def desk(self, case: str, folder: Path) -> Desk:
        desk = Desk(folder)
        for name, data in self.cases[case].items():
            path = desk.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for number, heap in enumerate(MEMORIES):
            write_folder(folder / f"copy-{number}", heap=heap, taken_at=1_780_000_000 + number)
        return desk


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name != "backup.json"}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    return Damaged(tmp_path_factory.mktemp("damaged"))


def ended(desk: Desk, *argv: str) -> tuple[int, Any]:
    """Exit code and envelope; a bug would be 1."""
    code = desk.stage.run(*argv, "--json", env=desk.env)
    assert code != 1, (argv, desk.stage.stdout, desk.stage.stderr)
    assert "Traceback" not in desk.stage.stdout + desk.stage.stderr
    envelope = desk.stage.envelope
    assert (envelope["exit_code"], bool(envelope["errors"])) == (code, code != 0)
    return code, envelope


def test_there_is_a_case_for_each(damaged: Damaged) -> None:
    assert damaged.cases.keys() == {"sound", *NOT_OPENED, *DAMAGED}


@pytest.mark.parametrize("case", NOT_OPENED)
def test_every_command_says_why_it_can_not_be_opened(
    damaged: Damaged, case: str, tmp_path: Path
) -> None:
    desk = damaged.desk(case, tmp_path)
    code, words = NOT_OPENED[case]
    for argv in COMMANDS:
        found, envelope = ended(desk, *argv)
        assert (argv, found) == (argv, code)
        assert words in envelope["errors"][0]["message"]
    assert not (tmp_path / "out").exists()


def test_a_wrong_password(damaged: Damaged, tmp_path: Path) -> None:
    desk = damaged.desk("sound", tmp_path)
    desk.password.write_text("battery staple\n")
    for argv in COMMANDS:
        found, envelope = ended(desk, *argv)
        assert (argv, found) == (argv, 12)
        assert envelope["errors"][0]["code"] == "wrong-key"


@pytest.mark.parametrize("case", DAMAGED)
def test_verify_names_the_damage_and_the_backups(
    damaged: Damaged, case: str, tmp_path: Path
) -> None:
    desk = damaged.desk(case, tmp_path)
    words, numbers = DAMAGED[case]
    code, envelope = ended(desk, "verify", "--read-data")
    assert code == 20
    assert envelope["errors"][0]["code"] == "damage"
    findings = envelope["data"]["findings"]
    assert any(words in each["message"] for each in findings)
    hit = {one["backup_id"] for each in findings for one in each["hits"]}
    if case == "damaged-snapshot":  # nobody can tell which backup it was
        assert hit == {None}
    elif numbers is not None:
        assert hit - {None} == {damaged.ids[number] for number in numbers}
    advised = "restic rebuild-index" in (envelope["errors"][0]["hint"] or "")
    assert advised == (case in ("missing-index", "garbage-index"))
    assert all(each["level"] < 2 for each in envelope["data"]["backups"] if each["damaged"])


@pytest.mark.parametrize("case", ["sound", *DAMAGED])
def test_what_is_exported_is_right_or_nothing(damaged: Damaged, case: str, tmp_path: Path) -> None:
    desk = damaged.desk(case, tmp_path)
    codes = []
    for number, (backup, expected) in enumerate(zip(damaged.ids, damaged.folders, strict=True)):
        code, _ = ended(desk, "export", backup, f"out-{number}")
        codes.append(code)
        folder = tmp_path / f"out-{number}"
        if code == 0:
            assert files_of(folder) == expected
        else:
            assert code in (2, 20)  # 2: a backup whose snapshot object is damaged has no name
            assert not folder.exists()
            assert not (tmp_path / f"out-{number}.partial").exists()
    hit = DAMAGED.get(case, ("", set()))[1]
    if hit is not None:
        assert {number for number, code in enumerate(codes) if code} == hit


@pytest.mark.parametrize("case", DAMAGED)
def test_no_command_makes_it_worse(damaged: Damaged, case: str, tmp_path: Path) -> None:
    """Whatever is tried, what could be exported before can be exported afterwards."""
    desk = damaged.desk(case, tmp_path)
    for argv in (["verify", "--read-data"], ["import", "copy-0"], ["prune"], ["unlock"]):
        code, _ = ended(desk, *argv)
        assert code in (0, 20, 60), argv
    hit = DAMAGED[case][1]
    for number, backup in enumerate(damaged.ids):
        code, _ = ended(desk, "export", backup, f"out-{number}")
        if hit is not None and number not in hit:
            assert code == 0
        if code == 0:
            assert files_of(tmp_path / f"out-{number}") == damaged.folders[number]


@pytest.mark.parametrize("case", sorted({*NOT_OPENED, *DAMAGED}))
def test_the_golden_ones_themselves(case: str, tmp_path: Path) -> None:
    """They hold backups of another program: `list` counts them, `verify` goes through them."""
    desk = Desk(tmp_path)
    shutil.copytree(golden.FOLDER / case, desk.repo)
    code, words = NOT_OPENED.get(case, (20, DAMAGED.get(case, ("", None))[0]))
    found, envelope = ended(desk, "verify", "--read-data")
    assert found == code
    told = [each["message"] for each in envelope["errors"]]
    told += [each["message"] for each in envelope["data"].get("findings", [])]
    assert any(words in each for each in told)


# -- stores that refuse to be written -------------------------------------------------------------


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: LocalStore, name: str, _data: "Buffer | list[Buffer]" = b"") -> None:
        raise StoreError(f"{name} can't be written: Read-only file system")

    monkeypatch.setattr(LocalStore, "put", refuse)
    monkeypatch.setattr(LocalStore, "delete", refuse)


@pytest.mark.usefixtures("read_only")
def test_a_repository_that_can_not_be_written_is_read_and_that_is_said(
    damaged: Damaged, tmp_path: Path
) -> None:
    desk = damaged.desk("sound", tmp_path)
    latest = damaged.ids[1]
    for argv in (["list"], ["show", latest], ["diff", *damaged.ids], ["verify", "--read-data"]):
        code, envelope = ended(desk, *argv)
        assert code == 0
        assert any("without a lock" in each for each in envelope["data"]["warnings"])
    code, envelope = ended(desk, "export", latest, "out")
    assert code == 0
    assert files_of(tmp_path / "out") == damaged.folders[1]
    code, envelope = ended(desk, "verify", "--read-data")
    assert any("could not be noted" in each for each in envelope["data"]["warnings"])
    for argv in (["forget", "--keep-last", "1", "--yes"], ["prune"], ["pin", latest]):
        code, envelope = ended(desk, *argv)
        assert code == 30
        assert "Read-only" in envelope["errors"][0]["message"]
