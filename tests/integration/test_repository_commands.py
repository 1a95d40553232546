"""The commands on a repository, as whole command lines; folders are imported, no canister is."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.model import Consistency
from dfx_backup.operations.backups import backup_meta
from dfx_backup.repository.keys import Password
from dfx_backup.repository.layout import ObjectKind
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.machine import Machine, rfc3339
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import from_json, to_json
from tests.fakes.desk import Desk
from tests.fakes.repositories import PASSWORD, Restic
from tests.fakes.snapshot_folder import CANISTER, TAKEN, contents, paged, write_folder
from tests.fakes.stage import NETWORK_ID

pytestmark = pytest.mark.usefixtures("quick_keys")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.run("init")
    return desk


def flip(path: Path, at: int = -100) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def packs(repo: Path) -> list[Path]:
    return sorted((path for path in (repo / "data").rglob("*") if path.is_file()), key=str)


# -- init -----------------------------------------------------------------------------------------


def test_init_makes_a_repository_and_writes_down_where(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    told = desk.run("init", "--blob-size", "256KiB")

    assert told["blob_bytes"] == 262144
    assert (desk.repo / "config").exists()
    settings = (tmp_path / "dfx-backup.toml").read_text()
    assert 'repository = "repo"' in settings
    book = (tmp_path / "RECOVERY.md").read_text()
    assert str(desk.repo) in book
    assert f"restic -r {desk.repo}" in book
    assert PASSWORD not in settings + book
    assert desk.run("list", env={"DFX_BACKUP_REPO": ""})["backups"] == []


def test_init_fills_the_runbook_in_and_lists_the_canisters(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "dfx.json").write_text('{"canisters": {"chat": {}, "x y": {}}}')
    ids = {"chat": {"ic": CANISTER}, "x y": {"ic": "ryjl3-tyaaa-aaaaa-aaaba-cai"}}
    (tmp_path / "canister_ids.json").write_text(json.dumps(ids))
    desk.run("init")

    book = (tmp_path / "RECOVERY.md").read_text()
    assert f"| `chat` | `{CANISTER}` | ic (" in book
    assert f"--path /{CANISTER}" in book
    settings = (tmp_path / "dfx-backup.toml").read_text()
    assert "[canister.chat]" in settings
    assert '[canister."x y"]' in settings
    assert desk.run("list", env={"DFX_BACKUP_REPO": ""})["backups"] == []


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "dfx-backup.toml").write_text("# mine\n")
    (tmp_path / "RECOVERY.md").write_text("mine\n")
    told = desk.run("init")

    assert told["written"] == []
    assert (tmp_path / "dfx-backup.toml").read_text() == "# mine\n"
    assert (tmp_path / "RECOVERY.md").read_text() == "mine\n"
    assert any("add `repository =" in each for each in told["warnings"])
    assert "already" in desk.run("init", code=60)["errors"][0]["message"]


def test_init_refuses_a_place_that_git_would_commit(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    assert "git does not ignore" in desk.run("init", code=60)["errors"][0]["message"]
    assert not desk.repo.exists()
    desk.run("init", code=60, env={"PATH": "/nowhere"})
    (tmp_path / ".gitignore").write_text("/repo/\n")
    desk.run("init")


def test_init_refuses_a_place_that_a_new_local_network_clears(tmp_path: Path) -> None:
    told = Desk(tmp_path).run("init", "--repo", ".dfx/repo", code=60)

    assert "cleared" in told["errors"][0]["message"]


# -- passwords ------------------------------------------------------------------------------------


def test_a_new_password_is_asked_for_twice(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.env.pop("DFX_BACKUP_PASSWORD_FILE")
    asked: list[str] = []

    def answers(*given: str) -> Callable[[str], str]:
        left = list(given)

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return left.pop(0)

        return ask

    told = desk.run("init", code=12, typed="", ask_password=answers("one", "two"))
    assert "differ" in told["errors"][0]["message"]
    desk.run("init", code=12, typed="", ask_password=answers(""))
    assert not desk.repo.exists()
    desk.run("init", typed="", ask_password=answers("one", "one"))
    asked.clear()
    desk.run("list", typed="", ask_password=answers("one"))
    assert asked == [f"Password of repository {desk.repo}: "]


def test_without_a_terminal_the_options_are_named(desk: Desk) -> None:
    told = desk.run("list", code=12, env={"DFX_BACKUP_PASSWORD_FILE": ""})

    assert "--password-file" in told["errors"][0]["hint"]


def test_a_command_gives_the_password(desk: Desk) -> None:
    script = desk.folder / "tell"
    script.write_text(f"#!/bin/sh\necho '{PASSWORD}'\necho more\n")
    script.chmod(0o700)
    without = {"DFX_BACKUP_PASSWORD_FILE": ""}

    desk.run("list", "--password-command", "./tell", env=without)
    desk.run("list", "--password-command", f"echo '{PASSWORD}'", env=without)
    told = desk.run("list", "--password-command", "echo wrong", code=12, env=without)
    assert "does not open" in told["errors"][0]["message"]


@pytest.mark.parametrize(
    ("command", "code"),
    [("sh -c 'echo hunter2; echo hunter2 >&2; exit 3'", 40), ("true", 40), ("'", 2), ("", 2)],
)
def test_a_command_that_fails_tells_no_secret(desk: Desk, command: str, code: int) -> None:
    told = desk.run("list", "--password-command", command, "--verbose", code=code)

    assert "--password-command" in told["errors"][0]["message"]
    assert "hunter2" not in desk.stage.stdout + desk.stage.stderr


def test_the_password_shows_nowhere(desk: Desk) -> None:
    desk.run("list", "--verbose")
    desk.text("list", "--verbose")

    assert PASSWORD not in desk.stage.stdout + desk.stage.stderr


def test_the_order_is_option_environment_settings(desk: Desk) -> None:
    (desk.folder / "dfx-backup.toml").write_text('repository = "third"')
    desk.run("init", "--repo", "second")

    assert desk.run("list")["repository"] == str(desk.repo)
    assert desk.run("list", "--repo", "second")["repository"] == str(desk.folder / "second")
    told = desk.run("list", code=10, env={"DFX_BACKUP_REPO": ""})
    assert str(desk.folder / "third") in told["errors"][0]["message"]
    wrong = desk.folder / "wrong"
    wrong.write_text("wrong\n")
    desk.run("list", "--password-file", str(wrong), code=12)


# -- what is wrong with a repository --------------------------------------------------------------


def test_no_repository_names_init(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for env in ({"DFX_BACKUP_REPO": ""}, {}):
        told = desk.run("list", code=10, env=env)
        assert "init" in told["errors"][0]["hint"]


@pytest.mark.parametrize("typed", ["s3:", "sftp:host:/x", "s3:https://u:p@h/b", "a\nb"])
def test_a_location_that_is_none(tmp_path: Path, typed: str) -> None:
    assert Desk(tmp_path).run("list", "--repo", typed, code=2)["errors"]


def test_a_config_that_is_garbage(desk: Desk) -> None:
    (desk.repo / "config").write_bytes(b"garbage")

    assert desk.run("list", code=20)["errors"][0]["code"] == "damage"


def test_a_repository_that_is_locked(desk: Desk) -> None:
    desk.bring()
    backup = desk.bring(1)
    lock_exclusively(desk)

    for argv in (["list"], ["show", backup], ["verify"], ["diff", backup, backup], ["prune"]):
        told = desk.run(*argv, code=11)["errors"][0]
        assert "x@elsewhere" in told["message"]
        assert "unlock" in told["hint"]
    assert desk.run("export", backup, "back", code=11)["errors"]
    assert not (desk.folder / "back").exists()
    assert desk.run("forget", "--keep-last", "1", "--yes", code=11)["errors"]
    assert desk.run("pin", backup, code=11)["errors"]
    told = desk.run("unlock")
    assert told["removed"] == 0
    assert [each["hostname"] for each in told["left"]] == ["elsewhere"]
    assert desk.run("unlock", "--all")["removed"] == 1
    desk.run("pin", backup)


def open_directly(desk: Desk) -> Repository:
    """The repository, as somebody on another machine opens it."""
    machine = Machine(hostname="elsewhere", username="x", pid=1)
    return Repository.open(LocalStore(desk.repo), Password(PASSWORD), machine)


def lock_exclusively(desk: Desk) -> None:
    """A lock that another machine holds."""
    repository = open_directly(desk)
    lock = {"time": rfc3339(desk.stage.subnet.clock.now), "exclusive": True}
    lock |= {"hostname": "elsewhere", "username": "x", "pid": 1, "uid": 0, "gid": 0}
    repository.save_sealed(ObjectKind.LOCK, json.dumps(lock).encode())


# -- import, export, list, show -------------------------------------------------------------------


def test_what_is_imported_is_exported(desk: Desk) -> None:
    folder = write_folder(
        desk.folder / "copy", heap=b"\1" * 131_072, stable={5: b"five"}, chunks=(b"chunk",)
    )
    told = desk.run("import", "copy", "--tag", "nightly")
    assert (told["made_by"], told["level"]) == ("dfx-backup", 1)
    desk.run("export", told["backup_id"][:6], "back")

    before, after = contents(folder), contents(desk.folder / "back")
    record = json.loads(after.pop("backup.json"))
    before.pop("backup.json")
    assert after == before
    assert record["backup"]["backup_id"] == told["backup_id"]
    assert (desk.folder / "back").stat().st_mode & 0o777 == 0o700
    assert desk.run("export", "latest", "back", code=60)["errors"]


def test_an_export_is_imported_as_the_same_backup(desk: Desk) -> None:
    backup = desk.bring()
    desk.run("export", "latest", "back")
    assert "already" in desk.run("import", "back", code=60)["errors"][0]["message"]
    desk.run("init", "--repo", "other")

    told = desk.run("import", "back", "--repo", "other")
    assert told["backup_id"] == backup
    desk.run("export", backup, "again", "--repo", "other")
    assert contents(desk.folder / "again").keys() == contents(desk.folder / "back").keys()


@pytest.mark.parametrize("blob_size", [65536, 262144])
def test_memories_are_hashed_by_pages(tmp_path: Path, blob_size: int) -> None:
    desk = Desk(tmp_path)
    desk.run("init", "--blob-size", str(blob_size // 1024) + "KiB")
    content: dict[str, Any] = {"heap": b"\1" * 131_072, "stable": {5: b"five"}}
    folder = write_folder(tmp_path / "copy", page_bytes=65536, **content)
    data = contents(folder)
    backup = desk.run("import", "copy")["backup_id"]
    for shown in (desk.run("show", backup), desk.run("export", backup, "back")):
        told = {each.pop("name"): each for each in shown["files"]}
        for name in ("wasm_memory.bin", "stable_memory.bin"):
            pages = paged(name, data[name], blob_size).pages
            assert pages is not None
            assert told[name]["sha256"] is None
            assert told[name]["pages"] == {"bytes": blob_size, "sha256": pages.sha256}
        assert told["wasm_module.bin"]["pages"] is None
        assert len(told["wasm_module.bin"]["sha256"]) == 64
    assert "(of its pages)" in desk.text("show", backup)
    assert desk.run("snapshot", "verify", "--dir", "back")["hashes"] is True

    flip(tmp_path / "back" / "wasm_memory.bin")
    desk.run("snapshot", "verify", "--dir", "back", code=20)
    desk.run("init", "--repo", "other")
    told = desk.run("import", "back", "--repo", "other", code=20)
    assert "wasm_memory.bin is damaged" in told["errors"][0]["message"]


@pytest.mark.parametrize("name", ["wasm_memory.bin", "stable_memory.bin", "wasm_module.bin"])
def test_a_file_that_is_not_the_one_of_backup_json_is_found(desk: Desk, name: str) -> None:
    """Every blob is what its id says, but the manifest tells of another file."""
    write_folder(desk.folder / "copy", heap=b"\1" * 65536, stable={2: b"two"}, page_bytes=65536)
    data = contents(desk.folder / "copy")
    record = from_json(data["backup.json"], Path("backup.json"))
    details = BackupDetails(
        backup_id="ab" * 16,
        network_name="local",
        taken_at_ns=TAKEN * 10**9,
        consistency=Consistency.CONSISTENT,
    )
    record = replace(record, backup=details)
    data["backup.json"] = to_json(record)
    data[name] = b"\2" + data[name][1:]
    repository = open_directly(desk)
    with repository.writer() as writer:
        writer.commit(backup_meta(record, tags=()), data)

    desk.run("export", "latest", "back", code=20)
    assert not (desk.folder / "back").exists()
    found = desk.run("verify", "latest", "--read-data", code=20)
    assert name in found["errors"][0]["message"]


def test_a_folder_of_dfx_needs_to_be_told_whose_it_is(desk: Desk) -> None:
    desk.stage.names["chat"] = desk.stage.add("chat")
    write_folder(desk.folder / "copy", ours=False)

    assert "--canister" in desk.run("import", "copy", code=2)["errors"][0]["hint"]
    told = desk.run("import", "copy", "--canister", "chat")
    assert told["canister_id"] == desk.stage.names["chat"]
    assert (told["made_by"], told["level"], told["network_id"]) == ("dfx", 0, NETWORK_ID)
    write_folder(desk.folder / "ours")
    assert (
        "holds a snapshot of"
        in (desk.run("import", "ours", "--canister", "chat", code=60)["errors"][0]["message"])
    )


def test_a_damaged_folder_is_not_imported(desk: Desk) -> None:
    folder = write_folder(desk.folder / "copy", heap=b"\1" * 131_072)
    flip(folder / "wasm_memory.bin")
    assert "SHA-256" in desk.run("import", "copy", code=20)["errors"][0]["message"]
    (folder / "wasm_memory.bin").unlink()
    desk.run("import", "copy", code=20)

    assert desk.run("list")["backups"] == []
    desk.run("import", "nowhere", code=30)


def test_only_what_is_new_is_stored(desk: Desk) -> None:
    noise = os.urandom(65536 * 30)
    stable = {n: noise[n * 65536 : (n + 1) * 65536] for n in range(30)}
    first = desk.run("import", str(write_folder(desk.folder / "a", stable=stable)))
    stable[7] = b"changed"
    second = desk.run("import", str(write_folder(desk.folder / "b", stable=stable)))

    assert first["stored_bytes"] > len(noise)
    assert second["stored_bytes"] < 10_000
    assert second["raw_bytes"] > len(noise)


def test_list_shows_and_show_shows_all(desk: Desk) -> None:
    first, second = desk.bring(0, "--tag", "a"), desk.bring(1, "--tag", "b")
    listed = desk.run("list")["backups"]

    assert [each["backup_id"] for each in listed] == [first, second]
    assert [each["tags"] for each in listed] == [["a"], ["b"]]
    assert [each["backup_id"] for each in desk.run("list", "--tag", "b")["backups"]] == [second]
    assert desk.run("list", "--canister", CANISTER)["backups"] == listed
    told = desk.run("show", second[:5])
    assert told["backup_id"] == second
    assert {each["name"] for each in told["files"]} >= {"metadata.json", "stable_memory.bin"}
    assert desk.run("show", f"{CANISTER}@latest")["backup_id"] == second
    assert second[:8] in desk.text("list")
    assert second in desk.text("show", "latest")


@pytest.mark.parametrize(
    "name", ["", "zz", "@latest", f"{CANISTER}@first", "set:12", "chat@latest"]
)
def test_a_name_that_means_nothing(desk: Desk, name: str) -> None:
    desk.bring()

    assert desk.run("show", name, code=2)["errors"][0]["hint"] or name.startswith("set:")


def test_latest_alone_is_refused_with_two_canisters(desk: Desk) -> None:
    desk.bring()
    desk.bring(canister="ryjl3-tyaaa-aaaaa-aaaba-cai")

    assert "CANISTER@latest" in desk.run("show", "latest", code=60)["errors"][0]["hint"]


def test_the_alarm_for_cron(desk: Desk) -> None:
    assert desk.run("list", "--max-age", "26h", code=3)["data"]["backups"] == []
    desk.bring()
    now = desk.stage.subnet.clock.now
    hours = (now - TAKEN) / 3600

    desk.run("list", "--max-age", f"{hours + 1:.0f}h")
    told = desk.run("list", "--max-age", f"{hours - 1:.0f}h", code=3)
    assert "hours old" in told["errors"][0]["message"]
    assert told["data"]["backups"]
    desk.run("list", "--max-age", "soon", code=2)


# -- diff -----------------------------------------------------------------------------------------


def test_diff_names_files_and_pages(desk: Desk) -> None:
    pages = {n: b"%d" % n for n in range(100)}
    first = desk.bring(stable=pages)
    second = desk.bring(1, stable=pages | {40: b"x", 41: b"y", 99: b"z"}, chunks=(b"new",))
    told = {each["name"]: each for each in desk.run("diff", first, second)["files"]}

    stable = told["stable_memory.bin"]
    assert (stable["change"], stable["changed_pages"], stable["pages"]) == ("changed", 3, 100)
    assert stable["ranges"] == [{"first": 40, "count": 2}, {"first": 99, "count": 1}]
    assert len(stable["map"]) == 64
    assert [cell for cell, share in enumerate(stable["map"]) if share] == [26, 63]
    assert told["wasm_module.bin"]["change"] == "same"
    assert [each["change"] for name, each in told.items() if "chunk" in name] == ["added"]
    assert "40-41, 99" in desk.text("diff", first, second)


# -- verify ---------------------------------------------------------------------------------------


def test_reading_all_data_raises_the_level_once(desk: Desk) -> None:
    backup = desk.bring()
    desk.run("verify")
    assert desk.run("show", backup)["level"] == 1

    told = desk.run("verify", "--read-data")
    assert [(each["raised"], each["level"]) for each in told["backups"]] == [(True, 2)]
    assert desk.run("show", backup)["level"] == 2
    notes = len(list((desk.repo / "snapshots").iterdir()))
    assert desk.run("verify", backup, "--read-data")["backups"][0]["raised"] is False
    assert len(list((desk.repo / "snapshots").iterdir())) == notes == 2


def test_a_flipped_bit_is_found_and_named(desk: Desk) -> None:
    whole = desk.bring(stable={0: os.urandom(65536)})
    clean = set(packs(desk.repo))
    hit = desk.bring(1, stable={0: os.urandom(65536), 1: os.urandom(65536)})
    new = sorted(set(packs(desk.repo)) - clean, key=lambda path: path.stat().st_size)
    flip(new[-1], at=70_000)

    desk.run("verify")  # the structure is as it was
    told = desk.run("verify", "--read-data", code=20)
    assert hit[:8] in told["errors"][0]["message"]
    assert whole[:8] not in told["errors"][0]["message"]
    hits = [each for found in told["data"]["findings"] for each in found["hits"]]
    assert {(each["backup_id"], each["file"]) for each in hits} == {(hit, "stable_memory.bin")}
    assert {each["backup_id"] for each in told["data"]["backups"] if each["raised"]} == {whole}
    assert desk.run("verify", hit, "--read-data", code=20)["errors"][0]["code"] == "damage"
    desk.run("verify", whole, "--read-data")
    desk.run("export", hit, "back", code=20)
    assert not (desk.folder / "back").exists()
    assert "stable_memory.bin" in desk.text("verify", "--read-data", code=20)


def test_a_missing_pack_and_a_damaged_snapshot_object(desk: Desk) -> None:
    backup = desk.bring()
    for path in packs(desk.repo):
        path.unlink()

    told = desk.run("verify", code=20)
    assert backup[:8] in told["errors"][0]["message"]
    listed = desk.run("list", code=20)
    assert [each["readable"] for each in listed["data"]["backups"]] == [False]
    desk.run("show", backup, code=20)
    [snapshot] = (desk.repo / "snapshots").iterdir()
    flip(snapshot)
    assert desk.run("list", code=20)["data"]["backups"] == []


def test_a_missing_index(desk: Desk) -> None:
    desk.bring()
    for path in (desk.repo / "index").iterdir():
        path.unlink()

    assert desk.run("verify", code=20)["data"]["findings"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--read-data", "--read-data-subset", "1/2"],
        ["latest", "--read-data-subset", "1/2"],
        ["--read-data-subset", "half"],
    ],
)
def test_verify_as_it_can_not_be(desk: Desk, argv: list[str]) -> None:
    desk.bring()

    desk.run("verify", *argv, code=2)


def test_a_subset_is_read(desk: Desk) -> None:
    desk.bring()

    told = desk.run("verify", "--read-data-subset", "50%")
    assert 0 < told["packs_read"] < told["packs"]
    assert not told["backups"][0]["raised"]


def test_live_compares_with_the_canister(desk: Desk) -> None:
    canister = desk.stage.add("chat")
    details = BackupDetails(
        backup_id="0f" * 16,
        network_name="local",
        taken_at_ns=TAKEN * 10**9,
        consistency=Consistency.CONSISTENT,
        canister_name="chat",
        module_hash="cd" * 32,
    )
    desk.bring(canister=canister, backup=details)

    told = desk.run("verify", "--live", code=3)
    [compared] = told["data"]["live"]
    assert [each["what"] for each in compared["differences"]] == ["module_hash"]
    assert compared["differences"][0]["then"] == "cd" * 32
    assert desk.stage.asked[-1][0] == canister
    assert "the canister differs now" in desk.text("verify", "chat@latest", "--live", code=3)
    desk.bring(1)
    assert desk.run("verify", "--live", code=30)["data"]["live"]  # the other one is nowhere


def test_a_set_is_named_as_a_whole(desk: Desk) -> None:
    for number, canister in enumerate((CANISTER, "ryjl3-tyaaa-aaaaa-aaaba-cai")):
        details = BackupDetails(
            backup_id=f"{number:032x}",
            set_id="5e" * 16,
            network_name="local",
            taken_at_ns=TAKEN * 10**9,
            consistency=Consistency.CONSISTENT,
        )
        desk.bring(canister=canister, backup=details)

    assert len(desk.run("verify", "set:5e5e")["backups"]) == 2
    assert "several" in desk.run("show", "latest", code=60)["errors"][0]["message"]
    desk.run("verify", "set:", code=2)
    desk.run("show", "0000", code=2)
    desk.run("show", f"{CANISTER}@latest")


# -- retention ------------------------------------------------------------------------------------


def test_forget_keeps_what_the_rules_say_and_shows_the_plan_before(desk: Desk) -> None:
    ids = [desk.bring(day, stable={0: b"%d" % day}) for day in range(4)]
    desk.run("pin", ids[0])
    plan = desk.run("forget", "--keep-last", "1", "--dry-run")["plan"]
    assert [each["backup_id"] for each in plan["remove"]] == ids[1:3]
    assert [each["reasons"] for each in plan["keep"]] == [["pinned"], ["last"]]
    assert len(desk.run("list")["backups"]) == 4

    assert desk.run("forget", "--keep-last", "1", code=60)["errors"]
    done = desk.run("forget", "--keep-last", "1", "--yes")
    assert done["plan"]["will_be_lost"] == plan["will_be_lost"]
    assert [each["backup_id"] for each in desk.run("list")["backups"]] == [ids[0], ids[3]]
    desk.run("unpin", ids[0])
    desk.text("forget", "--keep-last", "1", typed="y\n")
    assert [each["backup_id"] for each in desk.run("list")["backups"]] == [ids[3]]


def test_the_rules_may_stand_in_the_settings(desk: Desk) -> None:
    for day in range(3):
        desk.bring(day)
    desk.run("forget", "--keep-last", "2", "--yes")
    (desk.folder / "dfx-backup.toml").write_text("[retention]\nkeep_last = 1\n")
    assert len(desk.run("forget", "--dry-run")["plan"]["remove"]) == 1
    (desk.folder / "dfx-backup.toml").write_text("")

    assert "Nothing says" in desk.run("forget", code=2)["errors"][0]["message"]


def test_the_last_of_a_canister_stays(desk: Desk) -> None:
    backup = desk.bring()
    assert "last" in desk.run("forget", backup, "--yes", code=60)["errors"][0]["message"]
    desk.run("pin", backup)
    told = desk.run("forget", backup, "--allow-empty-group", "--yes", code=60)
    assert "pinned" in told["errors"][0]["message"]
    desk.run("unpin", backup)

    desk.run("forget", backup, "--allow-empty-group", "--yes")
    assert desk.run("list")["backups"] == []


def test_notes_go_with_their_backup(desk: Desk) -> None:
    first = desk.bring()
    desk.bring(1)
    desk.run("verify", "--read-data")
    assert len(list((desk.repo / "snapshots").iterdir())) == 4

    desk.run("forget", first, "--yes")
    assert len(list((desk.repo / "snapshots").iterdir())) == 2


def test_forget_and_prune_free_the_space(desk: Desk) -> None:
    first = desk.bring(stable={0: os.urandom(65536)})
    second = desk.bring(1, stable={0: os.urandom(65536)})
    for path in packs(desk.repo):
        os.utime(path, (0, 0))  # packs of the last day would wait
    before = sum(path.stat().st_size for path in packs(desk.repo))
    planned = desk.run("prune", "--dry-run")["prune"]
    assert planned["packs_removed"] == planned["packs_to_drop"] == 0

    told = desk.run("forget", first, "--prune", "--max-unused", "0%", "--yes")["prune"]
    assert told["packs_removed"] > 0
    assert sum(path.stat().st_size for path in packs(desk.repo)) < before - 60_000
    desk.run("verify", "--read-data")
    desk.run("export", second, "back")
    desk.run("prune", "--max-unused", "all", code=2)


def test_pin_and_unpin_tell_whether_that_is_new(desk: Desk) -> None:
    backup = desk.bring()
    told = [desk.run(verb, backup)["changed"] for verb in ("pin", "pin", "unpin", "unpin")]

    assert told == [True, False, True, False]
    assert "for ever, as before" not in desk.text("pin", backup)
    assert "for ever, as before" in desk.text("pin", backup)


# -- keys -----------------------------------------------------------------------------------------


def test_passwords_come_and_go(desk: Desk) -> None:
    second = desk.folder / "second"
    second.write_text("second\n")
    added = desk.run("key", "add", "--new-password-file", "second")["key_id"]
    known = desk.run("key", "list", "--password-file", "second")["keys"]
    assert {each["key_id"]: each["current"] for each in known}[added] is True
    assert len(known) == 2
    told = desk.run("key", "remove", added[:6], "--password-file", "second", code=60)
    assert "opened" in told["errors"][0]["message"]

    desk.run("key", "remove", added[:6])
    desk.run("list", "--password-file", "second", code=12)
    third = desk.folder / "third"
    third.write_text("third\n")
    desk.run("key", "passwd", "--new-password-command", "cat third")
    desk.run("list", code=12)
    desk.run("list", "--password-file", "third")
    desk.run("key", "remove", "zz", "--password-file", "third", code=2)
    assert "third" not in desk.text("key", "list", "--password-file", "third")


# -- restic, the judge ----------------------------------------------------------------------------


@pytest.mark.judge
def test_restic_reads_what_was_imported_and_we_what_it_left(desk: Desk) -> None:
    restic = Restic(desk.repo, desk.folder / "restic")
    folder = write_folder(desk.folder / "copy", heap=b"\1" * 131_072, stable={9: b"nine"})
    first = desk.run("import", "copy")["backup_id"]
    second = desk.bring(1, stable={9: b"nine", 12: os.urandom(65536)})
    desk.run("verify", "--read-data")
    desk.run("pin", first)

    restic.run("check", "--read-data")
    path = f"--path=/{CANISTER}"
    restic.run(
        "restore", "latest", "--tag", f"dfx-backup:id={first}", "--target", str(desk.folder / "one")
    )
    found = contents(desk.folder / "one")
    found.pop("backup.json")
    assert found == {n: d for n, d in contents(folder).items() if n != "backup.json"}
    restic.run(
        "restore",
        "latest",
        "--tag",
        "dfx-backup:snapshot",
        path,
        "--target",
        str(desk.folder / "two"),
    )
    record = json.loads((desk.folder / "two" / "backup.json").read_text())
    assert record["backup"]["backup_id"] == second
    restic.run("forget", "--keep-last", "1", "--prune")  # by host and path, as restic does
    listed = desk.run("list")["backups"]
    assert [(each["backup_id"], each["level"]) for each in listed] == [(second, 2)]
    desk.run("verify", "--read-data")
    desk.run("forget", "--keep-last", "1", "--yes")
    assert len(list((desk.repo / "snapshots").iterdir())) == 2  # the note on the other is gone
    restic.run("check", "--read-data")


@pytest.mark.judge
def test_restic_backups_in_the_same_repository_are_left_alone(desk: Desk) -> None:
    restic = Restic(desk.repo, desk.folder / "restic")
    restic.run("backup", str(desk.password))
    desk.bring()
    desk.bring(1)

    told = desk.run("list")
    assert (len(told["backups"]), told["strangers"]) == (2, 1)
    desk.run("forget", "--keep-last", "1", "--yes")
    assert desk.run("list")["strangers"] == 1
    assert "1" in desk.text("list").splitlines()[-1]
