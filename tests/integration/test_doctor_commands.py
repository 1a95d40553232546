"""`doctor` typed at a real canister, a real repository and dfx's real folders."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from dfx_backup.cli import connect, hasty
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY
from dfx_backup.operations import doctor_repository
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity
from tests.fakes.backup_project import READ, BackupProject
from tests.fakes.stable_project import StableProject
from tests.fakes.transfer_project import HastyClock

ROOT = Path(__file__).parents[2]

# Gives to whoever asks: `stable_read` a blob, `backup_read` one as the kit does.
_OPEN = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (data (i32.const 0) "DIDL\\01\\6d\\7b\\01\\00\\01x")
  (data (i32.const 32) "DIDL\\02\\6b\\02\\bc\\8a\\01\\01\\c5\\fe\\d2\\01\\7f"
                       "\\6d\\7b\\01\\00\\00\\01x")
  (func (export "canister_query stable_read")
    (call $append (i32.const 0) (i32.const 11)) (call $reply))
  (func (export "canister_query backup_read")
    (call $append (i32.const 32) (i32.const 23)) (call $reply))
  (func (export "canister_update export_all")
    unreachable))
"""
_SERVICE = b"service : { export_all : () -> (blob); stable_read : (nat64, nat64) -> (blob) query }"


def leb(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + leb(number >> 7)


def with_service(wasm: bytes, service: bytes, *, public: bool = True) -> bytes:
    """The module, with its interface in a custom section."""
    name = b"icp:public candid:service" if public else b"icp:private candid:service"
    content = leb(len(name)) + name + service
    return wasm + b"\0" + leb(len(content)) + content


@pytest.fixture
def project(project: BackupProject, tmp_path: Path) -> BackupProject:
    project.canister.controllers = [identity("alice").principal.raw, b"\x01" * 28 + b"\x02"]
    for secret in (tmp_path / "password", *tmp_path.rglob("identity.pem")):
        secret.chmod(0o600)
    return project


def findings(told: Any) -> dict[str, Any]:
    """What was found, by name; the worst where there are several."""
    ranks = {"ok": 0, "warn": 1, "fail": 2}
    found: dict[str, Any] = {}
    for each in told["data"]["findings"]:
        known = found.get(each["name"])
        if known is None or ranks[each["state"]] > ranks[known["state"]]:
            found[each["name"]] = each
    return found


def look(project: BackupProject, *argv: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return findings(project.envelope("doctor", *argv, code=code, **more))


def states(found: dict[str, Any]) -> dict[str, str]:
    return {name: each["state"] for name, each in found.items()}


def test_a_set_up_in_order(project: BackupProject) -> None:
    project.create("note")
    project.envelope("verify", "--read-data")
    project.dfx.add_extension("backup", "#!/bin/sh\n")

    found = look(project)

    assert {name: each for name, each in found.items() if each["state"] != "ok"} == {}
    assert "certified" in found["clock"]["detail"]
    assert "1 backup" in found["repository"]["detail"]
    assert str(project.folder / "password") in found["repository password"]["detail"]
    assert "correct horse" not in project.text + project.stderr
    assert len(found) == 31


def test_as_text_it_is_one_line_each(project: BackupProject) -> None:
    assert project.run_text("doctor", env=project.env) == 0
    lines = project.text.splitlines()

    assert "OK    note: status: running" in lines
    assert any(each.startswith("WARN  ") for each in lines) == ("WARN" in project.text)


def test_what_strangers_get_is_found(project: BackupProject) -> None:
    module = with_service(bytes(wasmtime.wat2wasm(_OPEN)), _SERVICE)
    project.server.replica.install(project.snapshots.raw, module, mode="reinstall")

    found = look(project, code=60)

    assert found["note: backup methods"]["state"] == "fail"
    assert "backup_read answers" in found["note: backup methods"]["detail"]
    assert "anyone can download" in found["note: public dump methods"]["detail"]
    assert "stable_read" in found["note: public dump methods"]["detail"]


@pytest.mark.parametrize("public", [True, False])
def test_a_method_that_is_not_tried_is_named_where_its_name_is_public(
    project: BackupProject, *, public: bool
) -> None:
    plain = _OPEN.replace("canister_query stable_read", "canister_query get")
    module = with_service(bytes(wasmtime.wat2wasm(plain)), _SERVICE, public=public)
    project.server.replica.install(project.snapshots.raw, module, mode="reinstall")

    dumps = look(project, code=60)["note: public dump methods"]

    assert dumps["state"] == ("warn" if public else "ok")
    assert ("export_all" in dumps["detail"]) == public


def test_the_kits_own_guard_holds(server: ReplicaServer, tmp_path: Path) -> None:
    project = StableProject(server, tmp_path)
    project.fill(0, 1, seed=1)
    _, told = project.run("doctor")
    project.close()

    found = findings(told)
    assert found["note: backup methods"]["detail"] == "they refuse anonymous callers"
    assert found["note: public dump methods"]["state"] == "ok"


def test_what_everybody_may_download(project: BackupProject) -> None:
    management = project.snapshots.management
    for audience, state in ((Audience.PUBLIC, "warn"), (Audience.ALLOWED_VIEWERS, "ok")):
        viewers = (identity("bob").principal.to_text(),)
        visible = Visibility(
            audience=audience, viewers=viewers if audience is Audience.ALLOWED_VIEWERS else ()
        )
        project.canister.controllers = [b"\x04", identity("alice").principal.raw]
        settings = CanisterSettings(snapshot_visibility=visible)
        management.update_settings(project.snapshots.canister, settings)
        found = look(project)
        assert found["note: snapshot visibility"]["state"] == state
    assert viewers[0] in found["note: snapshot visibility"]["detail"]
    seen = look(project, identity="bob")["note: controller"]
    assert (seen["state"], "a viewer" in seen["detail"]) == ("warn", True)
    assert "anybody can do everything" in found["note: controller"]["detail"]


def test_what_a_failed_create_left(project: BackupProject) -> None:
    fault = RejectFault(reject_code=5, error_code="IC0504", message="no", times=-1)
    project.server.faults.set(reject={READ: fault})
    project.envelope("create", "note", code=50)
    project.server.faults.reset()

    left = look(project)["unfinished backups"]

    assert left["state"] == "warn"
    assert f"create {project.id()} --network local" in left["advice"]
    assert look(project)["note: orphan snapshots"]["state"] == "ok"
    project.create("note")
    assert look(project)["unfinished backups"]["state"] == "ok"


def test_what_a_failed_upload_left(project: BackupProject) -> None:
    snapshot = project.plant()
    project.envelope("snapshot", "download", "note", snapshot, "--dir", "copy")
    fault = RejectFault(reject_code=5, error_code="IC0504", message="no", times=-1)
    project.server.faults.set(reject={"upload_canister_snapshot_data": fault})
    project.envelope("snapshot", "upload", "note", "--dir", "copy", "--yes", code=50)
    project.server.faults.reset()
    half = project.on_chain()[-1]

    found = look(project)

    assert found["unfinished uploads"]["state"] == "warn"
    assert half in found["unfinished uploads"]["detail"]
    assert half not in found["note: orphan snapshots"]["detail"]


def test_a_plain_key_on_mainnet(project: BackupProject) -> None:
    words = ("--root-key", MAINNET_ROOT_KEY.hex())
    found = look(project, *words, code=50)
    assert found["plaintext identity"]["state"] == "warn"

    around = project.dfx.environment
    found = look(project, *words, driver="dfx", env=around, code=30)
    assert "dfx 0.32.0 refuses" in found["plaintext identity"]["detail"]
    assert "DFX_WARNING=-mainnet_plaintext_identity" in found["plaintext identity"]["advice"]

    allowed = around | {"DFX_WARNING": "-mainnet_plaintext_identity"}
    found = look(project, *words, driver="dfx", env=allowed, code=50)
    assert found["plaintext identity"]["state"] == "warn"
    assert "is pinned" in found["root key"]["detail"]


def test_a_snapshot_that_nobody_recorded(project: BackupProject) -> None:
    project.envelope("snapshot", "create", "note")
    orphan = look(project)["note: orphan snapshots"]

    assert orphan["state"] == "warn"
    assert project.on_chain()[0] in orphan["detail"]


def test_other_states_of_a_canister(project: BackupProject) -> None:
    for cycles, code, word in ((1, 50, "IC0207"), (10**9, 60, "cycles are missing")):
        project.canister.cycles = cycles
        found = look(project, code=code)
        assert found["note: cycles"]["state"] == "fail"
        assert word in found["note: cycles"]["detail"]

    project.canister.cycles = 10**16
    project.canister.controllers = [b"\x04", identity("alice").principal.raw]
    project.snapshots.management.stop(project.snapshots.canister, timeout_s=10)
    found = look(project)
    assert found["note: status"]["state"] == "warn"
    assert found["note: backup methods"]["state"] == "warn"

    found = look(project, identity="bob", code=50)
    assert found["note: controller"]["state"] == "fail"
    assert found["network"]["state"] == "ok"


class TestRepository:
    """Places and passwords; nothing is ever written there."""

    def test_none_is_named(self, project: BackupProject) -> None:
        code, told = project.run("doctor")
        found = findings(told)

        assert code == 0
        assert found["repository"]["state"] == "warn"
        assert "disk" in found

    def test_there_is_none(self, project: BackupProject) -> None:
        found = look(project, "--repo", "elsewhere", code=10)

        assert found["repository"]["state"] == "fail"
        assert not (project.folder / "elsewhere").exists()

    def test_a_wrong_password(self, project: BackupProject) -> None:
        (project.folder / "pw").write_text("battery staple\n")
        found = look(project, "--password-file", "pw", code=12)

        assert found["repository password"]["state"] == "fail"
        assert found["secret files"]["state"] == "warn"
        assert "chmod 600" in found["secret files"]["advice"]
        assert "battery" not in project.text + project.stderr

    def test_a_password_that_a_program_prints(self, project: BackupProject) -> None:
        words = ("--password-command", "/bin/cat password")
        found = look(project, *words)

        assert found["repository password"]["detail"].endswith("the program of --password-command")

    def test_no_password_at_all(self, project: BackupProject) -> None:
        code, told = project.run("doctor", "--repo", "repo")

        assert code == 12
        assert findings(told)["repository password"]["state"] == "fail"
        assert findings(told)["note: status"]["state"] == "ok"

    def test_never_verified(self, project: BackupProject) -> None:
        project.create("note")
        assert look(project)["last verification"]["state"] == "warn"

    def test_object_storage_that_does_not_answer(
        self, project: BackupProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor_repository, "OPEN_S", 1.0)
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        with silence() as url:
            found = look(project, "--repo", f"s3:{url}/bucket/x", code=50, env=keys)

        assert "does not answer within 1 s" in found["repository"]["detail"]

    def test_nothing_is_written(self, project: BackupProject) -> None:
        project.create("note")

        def files() -> dict[Path, bytes]:
            return {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}

        before = files()
        look(project)
        assert files() == before


def test_settings_that_can_not_be_read_are_one_finding(project: BackupProject) -> None:
    project.settle("retenshun = 1\n")
    found = look(project, code=30)

    assert found["network"]["state"] == "fail"
    assert "retenshun" in found["network"]["detail"]
    assert found["recovery"]["state"] == "ok"


class TestDfx:
    """Its versions and its extensions."""

    def test_an_extension_that_is_there(self, project: BackupProject) -> None:
        project.dfx.add_extension("backup", "#!/bin/sh\n")
        found = look(project, driver="dfx", env=project.dfx.environment)

        assert found["extension"]["detail"].startswith("installed for dfx 0.32.0 (")
        assert found["driver"]["detail"] == "dfx 0.32.0, because `--driver dfx` was given"

    def test_an_extension_that_is_missing(self, project: BackupProject) -> None:
        found = look(project, env=project.dfx.environment)

        assert found["extension"]["state"] == "warn"
        assert "make install-extension" in found["extension"]["advice"]

    def test_a_folder_that_stops_dfx(self, project: BackupProject) -> None:
        stray = project.dfx.cache / "extensions" / "old"
        stray.mkdir(parents=True)
        found = look(project, env=project.dfx.environment, code=40)

        assert str(stray) in found["extension manifests"]["detail"]
        assert "every command of dfx 0.32.0 fails" in found["extension manifests"]["detail"]

    def test_a_manifest_that_stops_dfx(self, project: BackupProject) -> None:
        manifest = json.loads((ROOT / "extension.json").read_text())
        project.dfx.add_extension("backup", "#!/bin/sh\n", manifest=json.dumps(manifest | {"x": 1}))
        found = look(project, cache_path=project.dfx.cache, code=40)

        assert "`x`" in found["extension manifests"]["detail"]

    def test_a_dfx_that_hangs(
        self, project: BackupProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connect, "HASTY_PROBE_S", 0.5)
        (project.dfx.bin_dir / "dfx").write_text("#!/bin/sh\nexec sleep 60\n")
        began = time.monotonic()
        found = look(project, env=project.dfx.environment)

        assert found["dfx"]["state"] == "warn"
        assert time.monotonic() - began < 30


class AheadClock(HastyClock):
    """A clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ahead = seconds

    def now(self) -> float:
        return super().now() + self._ahead


@pytest.mark.parametrize(("ahead", "state"), [(20, "warn"), (-100, "fail"), (3000, "fail")])
def test_a_clock_that_is_wrong(project: BackupProject, ahead: int, state: str) -> None:
    project.clock = AheadClock(ahead)
    _, told = project.run("doctor", env=project.env)
    found = findings(told)

    assert found["clock"]["state"] == state
    assert "certified" in found["clock"]["detail"]
    assert found["note: public dump methods"]["state"] == "ok"  # asked by the network's time
    assert found["repository"]["state"] == "ok"


@contextmanager
def silence() -> Iterator[str]:
    """A host that takes connections and never says a word."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def hold() -> None:
            listener.settimeout(0.05)
            while not ended.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
            for each in held:
                each.close()


def test_a_host_that_is_silent(project: BackupProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "HASTY_S", 0.5)
    began = time.monotonic()
    with silence() as url:
        found = look(project, "--network", url, code=50)

    assert found["network"]["state"] == "fail"
    assert found["canisters"]["state"] == "warn"
    assert found["repository"]["state"] == "ok"
    assert time.monotonic() - began < 30


def test_a_host_that_is_not_there(project: BackupProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "HASTY_S", 0.5)
    found = look(project, "--network", "http://127.0.0.1:9", code=50)

    assert found["network"]["state"] == "fail"


def test_a_network_that_answers_and_then_hangs(
    project: BackupProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hasty, "HASTY_CALL_S", 0.5)
    monkeypatch.setattr(connect, "HASTY_S", 0.5)
    project.server.faults.set(latency_by_method_s={"canister_status": 5.0, "stable_read": 5.0})
    began = time.monotonic()
    found = look(project, code=50)

    assert found["note: controller"]["state"] == "fail"
    assert found["note: public dump methods"]["state"] == "warn"
    assert time.monotonic() - began < 30
