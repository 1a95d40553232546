"""`restore`, typed at a real replica."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from dfx_backup.ic.principal import Principal
from dfx_backup.operations import backup_source
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import RunState
from tests.contract.replica_bench import identity
from tests.fakes.restore_project import RestoreProject, await_calls, start

MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("quick_keys")
DELEGATION = True


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[RestoreProject]:
    made = RestoreProject(server, tmp_path)
    yield made
    made.close()


def packs(repo: Path) -> list[Path]:
    return [path for path in (repo / "data").rglob("*") if path.is_file()]


def stops(project: RestoreProject) -> int:
    return project.server.faults.counters().calls.get("stop_canister", 0)


def error(told: Any) -> str:
    return " ".join(f"{each['code']}: {each['message']} {each['hint']}" for each in told["errors"])


class TestOwnCanister:
    def test_the_state_is_back(self, project: RestoreProject) -> None:
        project.write(b"precious")
        backup = project.back_up()
        project.write(b"lost")

        told = project.data("restore", backup[:8], "--yes")

        assert project.read() == b"precious"
        assert told["running"]
        assert told["outage_seconds"] > 0
        assert told["deleted"] == [told["snapshot_id"]]
        [safety] = project.canister.snapshots
        assert safety.hex() == told["safety_snapshot_id"], "the present state alone is kept"
        project.data("snapshot", "load", "note", told["safety_snapshot_id"], "--yes")
        assert project.read() == b"lost"

    def test_every_byte_is_back(self, project: RestoreProject) -> None:
        planted = project.plant(
            stable={0: os.urandom(5 * MIB), 9 * MIB: b"end"},
            stable_size=12 * MIB,
            heap={100: b"heap"},
            heap_size=2 * 65536,
            chunks=(b"first chunk" * 50, b"second chunk" * 50),
        )
        wanted = project.snapshots.content(planted)
        backup = project.back_up(planted)

        told = project.data("restore", backup, "--yes", "--read-back", "all")

        assert told["checked_bytes"] == told["plan"]["total_bytes"]
        assert told["sent_bytes"] == told["plan"]["send_bytes"] < 6 * MIB
        assert told["level"] == 3
        taken = project.data("snapshot", "create", "note")["snapshot_id"]
        assert project.snapshots.content(taken) == wanted
        assert project.data("show", backup)["level"] == 3

    def test_the_plan_changes_nothing(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        before, held = set(project.canister.snapshots), stops(project)

        told = project.data("restore", "note@latest", "--dry-run")["plan"]

        assert told["backup_id"] == backup
        assert told["stops"]
        assert told["starts"]
        assert told["safety_snapshot"]
        assert not told["elsewhere"]
        assert told["send_bytes"] > 0
        assert int(told["cycles"]["cost"]) > 0
        assert backup[:8] in told["will_be_lost"][0]
        assert set(project.canister.snapshots) == before
        assert stops(project) == held
        assert project.read() == b"new"

    def test_nothing_is_done_without_consent(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        before = set(project.canister.snapshots)

        told = project.data("restore", backup, code=60)

        assert "There is no terminal to ask on" in error(told)
        assert "--yes" in error(told)
        assert set(project.canister.snapshots) == before
        assert project.read() == b"new"

    def test_a_damaged_page_stops_nothing(self, project: RestoreProject) -> None:
        planted = project.plant(stable={0: os.urandom(3 * MIB)}, stable_size=3 * MIB)
        backup = project.back_up(planted)
        project.write(b"new")
        largest = max(packs(project.repo), key=lambda path: path.stat().st_size)
        data = bytearray(largest.read_bytes())
        data[len(data) // 2] ^= 1
        largest.write_bytes(bytes(data))
        held = stops(project)

        told = project.data("restore", backup, "--yes", code=20)

        assert told["errors"][0]["code"] == "damage"
        assert "othing was stopped" in error(told)
        assert stops(project) == held
        assert project.read() == b"new"
        [begun] = project.canister.snapshots
        assert f"snapshot delete {project.canister_id} {begun.hex()}" in error(told)
        assert project.canister.status is RunState.RUNNING

    @pytest.mark.parametrize("few", [0, 16], ids=["listed", "one by one"])
    @pytest.mark.parametrize("cut", [False, True], ids=["missing", "cut off"])
    def test_a_pack_that_is_not_whole_is_known_before_anything_is_sent(
        self, project: RestoreProject, monkeypatch: pytest.MonkeyPatch, few: int, *, cut: bool
    ) -> None:
        monkeypatch.setattr(backup_source, "_FEW_PACKS", few)
        planted = project.plant(stable={0: os.urandom(3 * MIB)}, stable_size=3 * MIB)
        backup = project.back_up(planted)
        before, held = set(project.canister.snapshots), stops(project)
        largest = max(packs(project.repo), key=lambda path: path.stat().st_size)
        if cut:
            os.truncate(largest, 1000)
        else:
            largest.unlink()

        told = project.data("restore", backup, "--yes", code=20)

        assert told["errors"][0]["code"] == "damage"
        assert set(project.canister.snapshots) == before
        assert stops(project) == held

    def test_a_failing_load_leaves_the_old_state_and_the_upload(
        self, project: RestoreProject
    ) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        fault = RejectFault(reject_code=5, error_code="IC0408", message="no", times=-1)
        project.server.faults.set(reject={"load_canister_snapshot": fault})

        told = project.data("restore", backup, "--yes", code=50)

        assert "what was uploaded is kept" in error(told)
        assert project.read() == b"new"
        project.server.faults.reset()
        sent = project.server.faults.counters().calls.get("upload_canister_snapshot_data", 0)
        again = project.data("restore", backup, "--yes")
        assert project.read() == b"old"
        assert again["sent_bytes"] == 0
        assert project.server.faults.counters().calls["upload_canister_snapshot_data"] == sent

    def test_two_slots_are_needed(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        for _ in range(9):
            project.data("snapshot", "create", "note")

        told = project.data("restore", backup, "--yes", code=60)
        assert "two are needed" in error(told)
        assert len(project.canister.snapshots) == 9

        project.data("restore", backup, "--yes", "--skip-safety-snapshot")
        assert project.read() == b"old"
        project.data("snapshot", "create", "note")
        told = project.data("restore", backup, "--yes", "--skip-safety-snapshot", code=60)
        assert "10 snapshots" in error(told)
        assert "--replace" not in error(told)

    def test_what_another_restore_left_is_told(self, project: RestoreProject) -> None:
        first, second = project.back_up(), project.back_up()
        fault = RejectFault(reject_code=5, error_code="IC0408", message="no", times=-1)
        project.server.faults.set(reject={"load_canister_snapshot": fault})
        project.data("restore", first, "--yes", code=50)
        project.server.faults.reset()

        told = project.data("restore", second, "--dry-run")

        assert any("was not finished" in each for each in told["warnings"])
        again = project.data("restore", first, "--dry-run")
        assert again["plan"]["resumes"]
        assert not any("was not finished" in each for each in again["warnings"])

    def test_the_safety_snapshot_may_replace_another(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        taken = [project.data("snapshot", "create", "note")["snapshot_id"] for _ in range(9)]

        told = project.data("restore", backup, "--yes", "--replace", taken[0])

        left = {each.hex() for each in project.canister.snapshots}
        assert left == {*taken[1:], told["safety_snapshot_id"]}

    def test_a_stopped_canister(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        project.snapshots.management.stop(project.snapshots.canister, timeout_s=10)

        project.data("restore", backup, "--yes", code=60)
        told = project.data("restore", backup, "--yes", "--allow-stopped")

        assert not told["running"]
        assert project.canister.status is RunState.STOPPED

    def test_a_stranger_is_refused_before_anything_is_sent(self, project: RestoreProject) -> None:
        backup = project.back_up()
        before = set(project.canister.snapshots)

        project.data("restore", backup, "--yes", code=50, identity="bob")

        assert set(project.canister.snapshots) == before


class TestElsewhere:
    def test_another_canister(self, project: RestoreProject) -> None:
        project.write(b"precious")
        backup = project.back_up()
        raw, other = project.another()
        project.write(b"other", raw)

        told = project.data("restore", backup, "--to", other, "--yes")

        assert told["plan"]["elsewhere"]
        assert project.read(raw) == b"precious"
        assert any("bound to a canister's id" in each for each in told["warnings"])

    def test_an_empty_canister(self, project: RestoreProject) -> None:
        project.write(b"precious")
        backup = project.back_up()
        raw, other = project.another(install=False)

        told = project.data("restore", backup, "--to", other, "--yes")

        assert told["safety_snapshot_id"] is None
        assert project.read(raw) == b"precious"

    def test_another_network(self, project: RestoreProject) -> None:
        project.write(b"precious")
        backup = project.back_up()
        with ReplicaServer.start() as second:
            raw = second.replica.create_canister(
                controllers=[identity("alice").principal.raw], cycles=10**13
            )
            other = Principal(raw).to_text()
            told = project.data("restore", backup, "--to", other, "--network", second.url, "--yes")
            assert second.replica.query(b"\x04", raw, "get", b"") == b"precious"
        assert told["plan"]["elsewhere"]
        assert any("another network" in each for each in told["warnings"])

    def test_a_network_that_was_reset_is_refused(
        self, project: RestoreProject, tmp_path: Path
    ) -> None:
        backup = project.back_up()
        with ReplicaServer.start() as second:
            config = json.loads((tmp_path / "dfx.json").read_text())
            config["networks"]["local"]["bind"] = second.url.removeprefix("http://")
            (tmp_path / "dfx.json").write_text(json.dumps(config))

            told = project.data("restore", backup, "--yes", code=60)

            assert "root key is another" in error(told)
            assert "--network" in error(told)

    def test_the_environment_never_decides(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()

        told = project.data("restore", backup, "--yes", env={"DFX_NETWORK": "ic"})

        assert told["network"] == "local"
        assert project.read() == b"old"


class TestSettings:
    def test_they_are_applied_last_and_controllers_at_the_very_end(
        self, project: RestoreProject
    ) -> None:
        backup = self._with_settings(project)
        project.canister.settings.freezing_threshold = 5_000_000
        bob = identity("bob").principal.raw
        project.canister.controllers.append(bob)

        plan = project.data("restore", backup, "--settings", "--dry-run")["plan"]
        assert {each["name"] for each in plan["settings"]} == {"freezing_threshold", "controllers"}
        assert not any("own control" in each for each in plan["will_be_lost"])
        told = project.data("restore", backup, "--settings", "--yes")

        assert told["settings_applied"]
        assert bob not in project.canister.controllers
        assert project.canister.settings.freezing_threshold != 5_000_000

    def test_losing_control_is_said(self, project: RestoreProject) -> None:
        backup = self._with_settings(project)
        alice, bob = (identity(name).principal.raw for name in ("alice", "bob"))
        project.canister.controllers = [alice, bob]
        told = project.data("restore", backup, "--settings", "--dry-run", identity="bob")

        assert any("own control" in each for each in told["plan"]["will_be_lost"])
        done = project.data("restore", backup, "--settings", "--yes", identity="bob")
        assert done["settings_applied"]
        assert bob not in project.canister.controllers

    def test_a_backup_without_settings_is_refused(self, project: RestoreProject) -> None:
        backup = project.back_up()

        assert "holds no settings" in error(
            project.data("restore", backup, "--settings", "--yes", code=60)
        )

    def test_refused_settings_do_not_undo_the_restore(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = self._with_settings(project)
        project.write(b"new")
        project.canister.settings.freezing_threshold = 5_000_000
        fault = RejectFault(reject_code=5, error_code="IC0503", message="no", times=-1)
        project.server.faults.set(reject={"update_settings": fault})

        told = project.data("restore", backup, "--settings", "--yes", code=3)

        assert "could not be applied" in error(told)
        assert project.read() == b"old"

    def _with_settings(self, project: RestoreProject) -> str:
        return project.back_up(settings=True)


class TestCheck:
    def test_a_check_that_passes(self, project: RestoreProject) -> None:
        backup = project.back_up()

        told = project.data("restore", backup, "--yes", "--check", f"{sys.executable} -c pass")

        assert told["checked"]

    def test_a_check_that_fails(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")

        told = project.data("restore", backup, "--yes", "--check", "/bin/false", code=40)

        assert project.read() == b"old"
        assert "exit code 1" in error(told)
        safety = told["data"]["safety_snapshot_id"]
        assert f"snapshot load {project.canister_id} {safety}" in error(told)

    def test_rolling_back(self, project: RestoreProject) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")

        words = ("restore", backup, "--yes", "--check", "/bin/false", "--rollback")
        told = project.data(*words, code=40)

        assert told["data"]["rolled_back"]
        assert told["data"]["running"]
        assert project.read() == b"new"
        assert len(project.canister.snapshots) == 1

    @pytest.mark.parametrize(("number", "back"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
    def test_a_check_that_is_interrupted(
        self, project: RestoreProject, number: signal.Signals, *, back: bool
    ) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        sign = project.folder / "begun"
        script = project.folder / "check.py"
        script.write_text(f"import time; open({str(sign)!r}, 'w').close(); time.sleep(30)")
        check = f"{sys.executable} {script}"
        more = ("--rollback",) if back else ()
        process = start(project, "restore", backup, "--yes", "--check", check, *more)
        end = time.monotonic() + 30
        while not sign.exists():
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

        os.kill(process.pid, number)
        told = json.loads(process.communicate(timeout=30)[0])

        assert process.returncode == 130, told
        assert project.read() == (b"new" if back else b"old")
        assert told["data"]["running"]
        assert told["data"]["rolled_back"] is back
        assert "the check was not finished" in error(told).lower()
        assert told["data"]["safety_snapshot_id"] in error(told)

    def test_a_program_that_is_not_there_is_known_first(self, project: RestoreProject) -> None:
        backup = project.back_up()

        project.data("restore", backup, "--yes", "--check", "/no/such", code=40)

        assert not project.canister.snapshots

    @pytest.mark.parametrize(
        "words", [("--rollback",), ("--start",), ("--rollback", "--skip-safety-snapshot")]
    )
    def test_words_that_contradict(self, project: RestoreProject, words: tuple[str, ...]) -> None:
        backup = project.back_up()
        check = () if len(words) == 1 else ("--check", "/bin/true")

        project.data("restore", backup, "--yes", *words, *check, code=2)


HEART = """
(module
  (memory 1)
  (func (export "canister_heartbeat") nop))
"""


class TestClone:
    def test_a_clone_with_a_heartbeat_stays_stopped(self, project: RestoreProject) -> None:
        module = bytes(wasmtime.wat2wasm(HEART))
        project.server.replica.install(project.snapshots.raw, module, mode="reinstall")
        backup = project.back_up()
        raw, other = project.another()

        told = project.data("restore", backup, "--to", other, "--clone", "--yes")

        assert not told["running"]
        assert project.state_of(raw).status is RunState.STOPPED
        assert any("stays stopped" in each for each in told["warnings"])
        assert any("timer is left out" in each for each in told["warnings"])

        project.data("recover", other, "--yes")
        started = project.data("restore", backup, "--to", other, "--clone", "--start", "--yes")
        assert started["running"]

    def test_one_without_is_started(self, project: RestoreProject) -> None:
        backup = project.back_up()
        raw, other = project.another()

        told = project.data("restore", backup, "--to", other, "--clone", "--yes")

        assert told["running"]
        assert project.state_of(raw).status is RunState.RUNNING


class TestInterrupted:
    def test_kill_during_the_upload_and_once_more(self, project: RestoreProject) -> None:
        planted = project.plant(stable={0: os.urandom(20 * MIB)}, stable_size=20 * MIB)
        wanted = project.snapshots.content(planted)
        backup = project.back_up(planted)
        project.server.faults.set(latency_by_method_s={"upload_canister_snapshot_data": 0.15})

        process = start(project, "restore", backup, "--yes", "--concurrency", "2")
        await_calls(project, process, "upload_canister_snapshot_data", 5)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)

        project.server.faults.reset()
        assert len(project.canister.snapshots) == 1
        told = project.data("restore", backup, "--yes")
        assert told["resumed_bytes"] >= 2 * 1_900_000
        assert len(project.canister.snapshots) == 1, "the safety snapshot"
        taken = project.data("snapshot", "create", "note")["snapshot_id"]
        assert project.snapshots.content(taken) == wanted

    @pytest.mark.parametrize("method", ["take_canister_snapshot", "load_canister_snapshot"])
    def test_ctrl_c_during_the_outage(self, project: RestoreProject, method: str) -> None:
        project.write(b"old")
        backup = project.back_up()
        project.write(b"new")
        project.server.faults.set(latency_by_method_s={method: 1.0})

        process = start(project, "restore", backup, "--yes")
        await_calls(project, process, method, 1)
        os.kill(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=30)

        assert process.returncode == 130, told
        assert project.canister.status is RunState.RUNNING
        assert project.read() == (b"new" if method.startswith("take") else b"old")
        project.server.faults.reset()
        project.data("restore", backup, "--yes")
        assert project.read() == b"old"


class TestDriversOwnWay:
    """A key that only dfx can use: it uploads from a scratch folder."""

    def test_the_state_is_back(self, project: RestoreProject) -> None:
        project.write(b"precious")
        backup = project.back_up()
        project.write(b"lost")
        [folder] = project.dfx.home.rglob("identity/alice")
        hsm = {"hsm": {"pkcs11_lib_path": "/lib/x.so", "key_id": "00"}}
        (folder / "identity.json").write_text(json.dumps(hsm))
        dfx: dict[str, Any] = {"driver": "dfx", "env": project.dfx.environment}

        told = project.data("restore", backup, "--yes", "--read-back", "all", **dfx)

        assert project.read() == b"precious"
        assert told["plan"]["way"] == "driver"
        assert told["level"] == 3
        assert not list((project.stage.state / "scratch").glob("*"))
        [safety] = project.canister.snapshots
        assert safety.hex() == told["safety_snapshot_id"]
        project.data("restore", backup, "--yes", "--settings", code=60, **dfx)
        project.dfx.check()
