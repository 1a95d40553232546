"""`create`, typed at a real replica, into real repositories."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.ic.principal import Principal
from dfx_backup.operations import backup_planning
from dfx_backup.operations.repository_access import Access
from dfx_backup.operations.unfinished import Unfinished, UnfinishedBackups
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.management_settings import Visibility
from dfx_backup.replica.state import RunState
from tests.contract.replica_bench import identity, note_wasm
from tests.fakes.backup_project import PAGE, READ, BackupProject, scattered
from tests.fakes.faulty_store import Fault, FaultyStore
from tests.fakes.repositories import wait_for

DELEGATION = True


@pytest.fixture
def project(project: BackupProject) -> BackupProject:
    project.fill("note", scattered(1, 100), pages=130)
    return project


def errors(told: Any) -> str:
    return " ".join(f"{each['code']}: {each['message']}; {each['hint']}" for each in told["errors"])


# -- one canister ---------------------------------------------------------------------------------


@pytest.mark.judge
def test_a_backup_is_what_the_canister_held(project: BackupProject, tmp_path: Path) -> None:
    told = project.create("note", "--tag", "first")

    (backup,) = told["backups"]
    assert backup["consistency"] == "consistent"
    assert backup["level"] == 1
    assert backup["running"]
    assert project.is_running()
    judge = project.judge()
    judge.check("--read-data")
    judge.run("restore", backup["restic_id"], "--target", str(tmp_path / "back"))
    back = tmp_path / "back"
    assert (back / "stable_memory.bin").read_bytes() == project.stable()
    assert (back / "wasm_module.bin").read_bytes() == note_wasm()
    code, checked = project.run("snapshot", "verify", "--dir", str(back))
    assert code == 0, checked
    snapshots = judge.json("snapshots")
    assert snapshots[0]["hostname"] == "local"
    assert snapshots[0]["paths"] == [f"/{project.id()}"]
    assert "first" in snapshots[0]["tags"]


def test_the_manifest_tells_what_no_snapshot_holds(project: BackupProject) -> None:
    project.create("note")

    (record,) = project.records()
    told = record["backup"]
    assert told["canister_name"] == "note"
    assert told["network_name"] == "local"
    assert identity("alice").principal.to_text() in told["settings"]["controllers"]
    assert int(told["cycles"]) > 10**15
    assert int(told["cycles_estimate"]) > 2 * 10**9
    assert told["outage_s"] > 0
    assert Principal.from_text(told["subnet_id"]).raw
    assert told["certificate_time"] * 10**9 > told["taken_at_ns"]
    assert told["set_id"] is None
    assert told["module_hash"] == project.state().module.sha256.hex()
    memory = next(each for each in record["files"] if each["name"] == "stable_memory.bin")
    assert memory["sha256"] is None
    assert memory["pages"]["bytes"] == PAGE


def test_a_second_backup_stores_what_changed(project: BackupProject) -> None:
    project.create("note")
    project.fill("note", scattered(1, 100) | {5 * PAGE: b"changed"}, pages=130)

    (backup,) = project.create("note")["backups"]

    assert backup["new_bytes"] == PAGE
    assert backup["raw_bytes"] > 130 * PAGE
    assert len(project.on_chain()) == 1
    assert len(backup["deleted"]) == 1
    assert backup["kept_on_chain"] == [backup["snapshot_id"]]


def test_nothing_is_read_while_the_canister_is_stopped(project: BackupProject) -> None:
    """The outage is stop, take and start; the download finds the canister running."""
    project.server.faults.set(latency_by_method_s={READ: 0.1})
    (backup,) = project.create("note", "--concurrency", "1")["backups"]

    assert backup["transfer"]["seconds"] > 0.1 * backup["transfer"]["calls"]
    assert backup["outage_seconds"] < 0.3


def test_a_plan_changes_nothing(project: BackupProject) -> None:
    told = project.create("note", "--dry-run")

    (plan,) = told["plan"]
    assert plan["stops"]
    assert not plan["goes_on"]
    assert int(plan["cost"]) > 0
    assert project.on_chain() == []
    assert project.records() == []
    assert project.is_running()


def test_text_ends_with_the_three_numbers(project: BackupProject) -> None:
    assert project.run_text("create", "note", env=project.env) == 0

    *_, outage, cycles, level = project.text.splitlines()
    assert outage.startswith("Outage")
    assert cycles.startswith("Cycles")
    assert level == "Level   1: certified and committed"


def test_the_candid_interface_is_kept(project: BackupProject) -> None:
    chat = (Path(__file__).parents[2] / "examples" / "chat" / "chat.wasm").read_bytes()
    project.add("chat")
    project.server.replica.install(project.canisters["chat"], chat, mode="reinstall")
    project.create("chat")

    (record,) = project.records()
    assert "remove_spam" in record["backup"]["candid"]["candid:service"]


# -- several --------------------------------------------------------------------------------------


def test_a_set_shares_an_id_and_is_stopped_in_its_order(project: BackupProject) -> None:
    project.add("ledger")
    project.fill("ledger", b"books")
    project.settle('[set.shop]\ncanisters = ["note", "ledger"]\nstop_order = ["ledger", "note"]\n')

    told = project.create("--set", "shop")

    ids = [project.id("ledger"), project.id("note")]
    assert [each["canister_id"] for each in told["backups"]] == ids
    assert {each["consistency"] for each in told["backups"]} == {"consistent"}
    for record in project.records():
        assert record["backup"]["set_id"] == told["set_id"]
        assert record["backup"]["set_canisters"] == ids
    first, second = (each["outage_seconds"] for each in told["backups"])
    assert first > second > 0
    assert project.is_running("ledger")
    assert project.is_running()


def test_text_tells_what_belongs_together(project: BackupProject) -> None:
    assert project.run_text("create", "note", env=project.env) == 0
    assert "Set " not in project.text
    assert project.run_text("list", env=project.env) == 0
    assert "SET" not in project.text.split()
    project.add("ledger")

    assert project.run_text("create", "note", "ledger", env=project.env) == 0

    told = project.text
    set_id = project.records()[-1]["backup"]["set_id"]
    assert f"Set  {set_id}: `restore set:{set_id[:8]}` brings all of it back" in told
    assert project.run_text("list", env=project.env) == 0
    head, alone, *together, _ = project.text.splitlines()
    assert "SET" in head.split()
    assert set_id[:8] not in alone
    assert [set_id[:8] in each for each in together] == [True, True]


def test_without_names_those_of_the_settings_are_taken(project: BackupProject) -> None:
    assert project.envelope("create", code=2)["errors"][0]["code"] == "usage"
    project.add("ledger")
    project.settle('[canister.ledger]\nkeep_on_chain = 0\ntags = ["books"]\n')

    (backup,) = project.create()["backups"]

    assert backup["canister_name"] == "ledger"
    assert backup["kept_on_chain"] == []
    assert backup["deleted"] == [backup["snapshot_id"]]
    (found,) = project.repository.snapshots()
    assert "books" in found.tags
    assert len(project.create("--all")["backups"]) == 2


@pytest.mark.parametrize(
    "argv",
    [
        ("note", "--all"),
        ("--all", "--set", "shop"),
        ("--set", "shop"),
        ("--all", "--snapshot", "00"),
        ("note", "--snapshot", "000000000000000080000000001000000101", "--live"),
        ("note", "--live", "--leave-stopped"),
        ("note", "--tag", "a,b"),
        ("note", "--keep-on-chain", "10"),
    ],
)
def test_what_contradicts_itself_is_refused(project: BackupProject, argv: tuple[str, ...]) -> None:
    assert project.envelope("create", *argv, code=2)["errors"][0]["code"] == "usage"
    assert project.on_chain() == []


def test_one_that_fails_brings_all_back(project: BackupProject) -> None:
    project.add("ledger")
    ledger = project.state("ledger")
    ledger.status = RunState.STOPPED
    before = project.calls("stop_canister")
    told = project.envelope("create", "note", "ledger", code=60)
    assert "is stopped" in errors(told)
    assert project.calls("stop_canister") == before

    ledger.status = RunState.RUNNING
    fault = RejectFault(reject_code=5, error_code="IC0503", skip=1)
    project.server.faults.set(reject={"take_canister_snapshot": fault})
    told = project.envelope("create", "note", "ledger", code=50)

    assert project.is_running("ledger")
    assert project.is_running()
    assert len(project.on_chain()) == 1
    assert project.on_chain()[0] in errors(told)
    assert project.records() == []
    assert project.state_files("unfinished") == []
    project.server.faults.reset()
    told = project.create("note", "ledger")
    assert not any(each["goes_on"] for each in told["backups"])
    assert len(project.on_chain()) == 1
    assert len(project.on_chain("ledger")) == 1


def test_a_set_of_which_not_all_can_be_remembered_promises_nothing(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.add("ledger")
    write, ledger = UnfinishedBackups.write, project.id("ledger")

    def full(self: UnfinishedBackups, left: Unfinished) -> None:
        if left.canister.canister_id == ledger:
            raise ProjectError("No space is left for it")
        write(self, left)

    monkeypatch.setattr(UnfinishedBackups, "write", full)
    told = project.envelope("create", "note", "ledger", code=30)
    monkeypatch.undo()

    assert project.is_running("ledger")
    assert project.is_running()
    assert "in vain" in errors(told)
    assert "without another outage" not in errors(told)
    told = project.create("note", "ledger")
    assert not any(each["goes_on"] for each in told["backups"])
    assert len(project.on_chain()) == len(project.on_chain("ledger")) == 1


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
)
def test_a_run_that_was_ended_is_gone_on_with(
    project: BackupProject, number: signal.Signals
) -> None:
    code, told = project.struck(number, "create", "note", "--concurrency", "1", calls=2)

    assert project.is_running()
    (snapshot,) = project.on_chain()
    if told is not None:
        assert code == 130
        assert snapshot in errors(told)
        assert f"create {project.id()}" in errors(told)
    stops = project.calls("stop_canister")
    told = project.create("note")

    (backup,) = told["backups"]
    assert backup["goes_on"]
    assert backup["snapshot_id"] == snapshot
    assert backup["outage_seconds"] > 0
    assert backup["consistency"] == "consistent"
    assert any("earlier run" in each for each in told["warnings"])
    assert project.calls("stop_canister") == stops
    assert project.state_files("unfinished") == []
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()
    assert not project.create("note")["backups"][0]["goes_on"]


def test_new_takes_another_one(project: BackupProject) -> None:
    project.struck(signal.SIGKILL, "create", "note", "--concurrency", "1", calls=2)
    (snapshot,) = project.on_chain()
    project.fill("note", b"later")

    (backup,) = project.create("note", "--new")["backups"]

    assert backup["snapshot_id"] != snapshot
    assert backup["deleted"] == [snapshot]
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()


def test_a_snapshot_that_is_gone_is_taken_again(project: BackupProject) -> None:
    project.struck(signal.SIGKILL, "create", "note", "--concurrency", "1", calls=2)
    (snapshot,) = project.on_chain()
    assert project.run("snapshot", "delete", "note", snapshot, "--yes")[0] == 0

    told = project.create("note")

    assert not told["backups"][0]["goes_on"]
    assert any("gone from the network" in each for each in told["warnings"])


def test_other_canisters_than_before_are_refused(project: BackupProject) -> None:
    project.add("ledger")
    project.struck(signal.SIGKILL, "create", "note", "ledger", "--concurrency", "1", calls=2)

    told = project.envelope("create", "ledger", code=60)
    assert f"create {project.id('ledger')} {project.id()}" in errors(told)
    assert "--new" in errors(told)
    stops = project.calls("stop_canister")
    told = project.create("ledger", "note")
    assert [each["goes_on"] for each in told["backups"]] == [True, True]
    assert project.calls("stop_canister") == stops
    assert {each["backup"]["set_id"] for each in project.records()} == {told["set_id"]}
    order = [project.id(), project.id("ledger")]
    assert project.records()[0]["backup"]["set_canisters"] == order


def test_what_is_in_the_repository_already_is_not_brought_again(project: BackupProject) -> None:
    """The second of two fails after the first was committed."""
    project.add("ledger")
    project.fill("ledger", scattered(2, 40))
    code, _ = project.struck(
        signal.SIGKILL, "create", "note", "ledger", "--concurrency", "1", calls=9
    )
    assert code == -signal.SIGKILL
    (first,) = project.records()
    assert first["backup"]["canister_name"] == "note"

    told = project.create("note", "ledger")

    (backup,) = told["backups"]
    assert backup["canister_name"] == "ledger"
    assert told["set_id"] == first["backup"]["set_id"]
    assert len(project.records()) == 2
    assert project.state_files("unfinished") == []
    assert any("already" in each for each in told["warnings"])


def test_a_run_that_was_killed_after_its_commit_is_over(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(UnfinishedBackups, "drop", lambda _self, _key: None)
        first = project.create("note")["backups"][0]
    assert len(project.state_files("unfinished")) == 1

    (backup,) = project.create("note")["backups"]

    assert backup["backup_id"] != first["backup_id"]
    assert not backup["goes_on"]


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.SHORT, Fault.FULL, Fault.LOST])
def test_a_repository_that_fails_costs_no_second_outage(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    original = Access.store
    stores = []

    def store(access: Access) -> FaultyStore:
        found = FaultyStore(original(access))
        found.add("put", fault, match=lambda name: name.startswith("data/"), times=1000)
        stores.append(found)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Access, "store", store)
        told = project.envelope("create", "note", code=30)
    (snapshot,) = project.on_chain()
    assert snapshot in errors(told)
    assert "go on, without another outage" in errors(told)
    assert project.is_running()
    assert project.records() == []

    stops = project.calls("stop_canister")
    (backup,) = project.create("note")["backups"]
    assert backup["snapshot_id"] == snapshot
    assert project.calls("stop_canister") == stops
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()


def test_a_locked_repository_stops_nothing(project: BackupProject) -> None:
    before = project.calls("stop_canister")
    with project.repository.lock(exclusive=True):
        told = project.envelope("create", "note", code=11)

    assert "locked" in errors(told)
    assert project.calls("stop_canister") == before
    assert project.on_chain() == []


def test_no_repository_stops_nothing(project: BackupProject) -> None:
    before = project.calls("stop_canister")
    env = {"DFX_BACKUP_REPO": "nowhere"}
    assert "init" in errors(project.envelope("create", "note", code=10, env=env))
    assert project.calls("stop_canister") == before


def test_a_repository_that_is_lost_meanwhile(project: BackupProject) -> None:
    """Somebody removes the folder while the download is under way."""
    process = project.process("create", "note", "--concurrency", "1")
    project.server.faults.set(latency_by_method_s={READ: 0.3})
    wait_for(lambda: len(project.state_files("unfinished")) == 1)
    shutil.move(project.repo, project.folder / "elsewhere")
    told = json.loads(process.communicate(timeout=30)[0])
    project.server.faults.reset()

    assert process.returncode in (20, 30), told
    (snapshot,) = project.on_chain()
    assert snapshot in errors(told)
    assert project.is_running()
    shutil.rmtree(project.repo, ignore_errors=True)
    shutil.move(project.folder / "elsewhere", project.repo)
    assert project.create("note")["backups"][0]["snapshot_id"] == snapshot


def test_a_lock_that_is_taken_away_meanwhile(project: BackupProject) -> None:
    """Somebody removes all locks by force: a prune may have begun, so nothing is committed."""
    before = project.calls(READ)
    process = project.process("create", "note", "--concurrency", "1")
    project.server.faults.set(latency_by_method_s={READ: 0.2})
    wait_for(lambda: project.calls(READ) > before)
    for path in (project.repo / "locks").iterdir():
        path.unlink()
    told = json.loads(process.communicate(timeout=30)[0])
    project.server.faults.reset()

    assert process.returncode == 11, told
    (snapshot,) = project.on_chain()
    assert f"note runs; snapshot {snapshot}" in errors(told).replace("Note", "note")
    assert project.records() == []
    assert project.create("note")["backups"][0]["snapshot_id"] == snapshot


def test_a_full_disk_is_found_before_anything_is_stopped(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_planning, "LEAST_ROOM_BYTES", 1 << 60)
    assert "Make room" in errors(project.envelope("create", "note", code=60))
    assert project.on_chain() == []


# -- slots ----------------------------------------------------------------------------------------


def test_a_full_canister_gives_up_the_oldest_of_ours(project: BackupProject) -> None:
    (ours,) = project.create("note")["backups"]
    for _ in range(9):
        project.plant(stable_size=PAGE)
    told = project.create("note", "--dry-run")
    assert told["plan"][0]["replaces"] == ours["snapshot_id"]

    (backup,) = project.create("note")["backups"]

    assert ours["snapshot_id"] not in project.on_chain()
    assert backup["snapshot_id"] in project.on_chain()
    assert len(project.on_chain()) == 10


def test_a_canister_full_of_others_is_refused(project: BackupProject) -> None:
    for _ in range(10):
        project.plant(stable_size=PAGE)
    before = project.calls("stop_canister")

    told = project.envelope("create", "note", code=60)

    assert "snapshot delete" in errors(told)
    assert project.calls("stop_canister") == before
    assert len(project.on_chain()) == 10


def test_only_so_many_stay_on_the_subnet(project: BackupProject) -> None:
    theirs = project.plant(stable_size=PAGE)
    ids = [project.create("note", "--keep-on-chain", "2")["backups"][0] for _ in range(3)]
    assert project.on_chain() == [theirs, *(each["snapshot_id"] for each in ids[1:])]

    told = project.create("note", "--keep-on-chain", "0")

    assert len(told["backups"][0]["deleted"]) == 3
    assert project.on_chain() == [theirs]


# -- other ways -----------------------------------------------------------------------------------


def test_one_that_exists_is_backed_up_by_a_viewer(project: BackupProject) -> None:
    snapshot = project.plant(stable=scattered(3, 20), stable_size=30 * PAGE, chunks=(b"chunk",))
    viewer = identity("bob").principal.raw
    words = ("note", "--snapshot", snapshot)
    assert project.envelope("create", *words, identity="bob", code=50)
    project.canister.settings.snapshot_visibility = Visibility(
        kind="allowed_viewers", viewers=(viewer,)
    )
    before = project.calls("stop_canister")

    told = project.create(*words, identity="bob")

    (backup,) = told["backups"]
    assert backup["consistency"] == "unverified"
    assert backup["outage_seconds"] is None
    assert project.calls("stop_canister") == before
    assert project.records()[0]["backup"]["settings"] is None
    files = project.files(backup["restic_id"])
    _, heap, stable, chunks = project.snapshots.content(snapshot)
    assert (files["wasm_memory.bin"], files["stable_memory.bin"]) == (heap, stable)
    (hash_,) = chunks
    assert files[f"wasm_chunk_store/{hash_.hex()}.bin"] == b"chunk"
    (again,) = project.create(*words)["backups"]
    assert again["new_bytes"] == 0
    told_by = {each["backup"]["backup_id"]: each["backup"] for each in project.records()}
    assert told_by[again["backup_id"]]["settings"] is not None
    assert project.on_chain() == [snapshot]


def test_the_snapshot_of_an_unfinished_run_keeps_what_was_known(project: BackupProject) -> None:
    project.struck(signal.SIGKILL, "create", "note", "--concurrency", "1", calls=2)
    (snapshot,) = project.on_chain()

    (backup,) = project.create("note", "--snapshot", snapshot)["backups"]

    assert backup["consistency"] == "consistent"
    assert project.state_files("unfinished") == []


def test_live(project: BackupProject) -> None:
    before = project.calls("stop_canister")
    (backup,) = project.create("note", "--live")["backups"]

    assert backup["consistency"] == "live"
    assert project.calls("stop_canister") == before


def test_somebody_else_starts_it_meanwhile(project: BackupProject) -> None:
    """Its state is what it is, but nobody can say that it is one moment."""
    taking = project.server.replica.management.call

    def call(caller: bytes, method: str, *more: Any) -> Any:
        done = taking(caller, method, *more)
        if method == "take_canister_snapshot":
            project.state().version += 1
        return done

    project.server.replica.management.call = call
    try:
        told = project.envelope("create", "note", code=3)
    finally:
        del project.server.replica.management.call

    (backup,) = told["data"]["backups"]
    assert backup["consistency"] == "not consistent"
    assert told["status"] == "partial"
    assert len(project.records()) == 1


def test_it_stays_stopped_when_that_is_wanted(project: BackupProject) -> None:
    told = project.create("note", "--leave-stopped")

    assert told["leaves_stopped"]
    assert any("recover" in each for each in told["warnings"])
    assert not told["backups"][0]["running"]
    assert not project.is_running()
    assert project.state_files("journal") == []
    assert "is stopped" in errors(project.envelope("create", "note", code=60))
    (backup,) = project.create("note", "--allow-stopped")["backups"]
    assert backup["consistency"] == "consistent"
    assert not project.is_running()


def test_it_does_not_stay_stopped_when_the_backup_fails(project: BackupProject) -> None:
    fault = RejectFault(reject_code=5, error_code="IC0503", times=-1)
    project.server.faults.set(reject={READ: fault})
    project.envelope("create", "note", "--leave-stopped", code=50)
    project.server.faults.reset()

    assert project.is_running()
    assert len(project.state_files("unfinished")) == 1
    told = project.envelope("create", "note", "--leave-stopped", code=60)
    assert "--new" in errors(told)
    project.create("note", "--leave-stopped", "--new")
    assert not project.is_running()


def test_dfx_stops_and_starts_and_the_data_is_certified(project: BackupProject) -> None:
    (backup,) = project.create("note", driver="dfx", env=project.dfx.environment)["backups"]

    assert backup["driver"].startswith("dfx")
    assert backup["level"] == 1
    assert backup["consistency"] == "consistent"
    assert project.records()[0]["backup"]["settings"]["controllers"]
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()
    project.dfx.check()


def test_dfx_does_it_when_only_dfx_has_the_key(project: BackupProject) -> None:
    [folder] = project.dfx.home.rglob("identity/alice")
    hsm = {"hsm": {"pkcs11_lib_path": "/lib/x.so", "key_id": "00"}}
    (folder / "identity.json").write_text(json.dumps(hsm))

    told = project.create("note", driver="dfx", env=project.dfx.environment)

    (backup,) = told["backups"]
    assert backup["level"] == 0
    assert backup["consistency"] == "unverified"
    assert any("scratch folder" in each for each in told["warnings"])
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()
    assert project.is_running()
    assert not list((project.stage.state / "scratch").glob("*"))
    project.dfx.check()
