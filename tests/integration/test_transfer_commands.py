"""`snapshot download`, `upload`, `verify` and `estimate`, typed at a real replica."""

import fcntl
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from dfx_backup.ic.management import ManagementCanister
from dfx_backup.model import SnapshotId
from dfx_backup.operations.snapshot_upload import PURPOSE
from dfx_backup.operations.wasm_module import STUB_WASM64
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.management_settings import Visibility
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.replica.state import GIB, HookStatus
from dfx_backup.transfer import metadata_json
from tests.contract.replica_bench import identity, note_wasm
from tests.fakes.snapshot_stage import tree
from tests.fakes.transfer_project import TransferProject
from tests.fakes.wat_canisters import scribe

MIB = 1 << 20
PAGE = 65536
DATA = os.urandom(5 * MIB)


DELEGATION = True


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[TransferProject]:
    made = TransferProject(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def planted(project: TransferProject) -> SnapshotId:
    """A snapshot with data, long zeros and chunks."""
    return project.plant(
        stable={0: DATA, 9 * MIB: b"end"},
        stable_size=12 * MIB,
        heap={100: b"heap"},
        heap_size=2 * PAGE,
        chunks=(b"first chunk" * 50, b"second chunk" * 50),
    )


def download(
    project: TransferProject, snapshot: str, *more: str, **options: Any
) -> tuple[int, Any]:
    words = ("snapshot", "download", "note", snapshot, "--dir", "copy", *more)
    return project.run(*words, **options)


def upload(project: TransferProject, *more: str, **options: Any) -> tuple[int, Any]:
    return project.run("snapshot", "upload", "note", "--dir", "copy", *more, **options)


def copied(project: TransferProject, snapshot: str) -> Path:
    code, told = download(project, snapshot)
    assert code == 0, told
    return project.folder / "copy"


def error(told: Any) -> str:
    """What went wrong, in one line."""
    return " ".join(f"{each['code']}: {each['message']}" for each in told["errors"])


class TestDownload:
    def test_every_byte_is_in_the_folder(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        code, told = download(project, planted)

        assert code == 0, told
        files = tree(project.folder / "copy")
        module, heap, stable, chunks = project.snapshots.content(planted)
        assert files["wasm_module.bin"] == module == note_wasm()
        assert files["wasm_memory.bin"] == heap
        assert files["stable_memory.bin"] == stable
        stored = {name for name in files if name.startswith("wasm_chunk_store/")}
        assert stored == {f"wasm_chunk_store/{hash_.hex()}.bin" for hash_ in chunks}
        data = told["data"]
        assert data["moved_bytes"] == data["total_bytes"] == 12 * MIB + 2 * PAGE + 254 + 1150
        assert data["zero_bytes"] > 6 * MIB
        assert data["way"] == "direct"
        assert {each["name"] for each in data["files"]} == set(files) - {"backup.json"}

    def test_a_plan_changes_nothing(self, project: TransferProject, planted: SnapshotId) -> None:
        code, told = download(project, planted, "--dry-run")

        assert code == 0, told
        assert not (project.folder / "copy").exists()
        plan = told["data"]["plan"]
        assert plan["sizes"]["stable_memory"] == 12 * MIB
        assert plan["calls"] == 7 + 1 + 1 + 2
        assert int(plan["cost"]) > plan["sizes"]["stable_memory"]

    def test_a_folder_that_holds_something_else_is_left_alone(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        (project.folder / "copy").mkdir()
        (project.folder / "copy" / "precious").write_text("mine")

        code, told = download(project, planted)

        assert code == 60
        assert "not empty" in error(told)
        assert tree(project.folder / "copy") == {"precious": b"mine"}

    def test_resuming_with_another_snapshot_is_refused(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        copied(project, planted)
        other = project.plant(stable_size=PAGE)

        code, told = download(project, other, "--resume")

        assert code == 60
        assert "another snapshot" in error(told)

    def test_resuming_what_is_finished_checks_it(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        folder = copied(project, planted)

        code, told = download(project, planted, "--resume")
        assert code == 0, told
        assert told["data"]["moved_bytes"] == 0

        with (folder / "stable_memory.bin").open("r+b") as file:
            file.write(b"changed")
        code, told = download(project, planted, "--resume")
        assert code == 20
        assert "stable_memory.bin" in error(told)

    def test_an_unknown_snapshot(self, project: TransferProject, planted: SnapshotId) -> None:
        code, told = download(project, f"{9:016x}{planted[16:]}")

        assert code == 2
        assert "has no snapshot" in error(told)

    def test_two_runs_on_one_folder(self, project: TransferProject, planted: SnapshotId) -> None:
        folder = project.folder / "copy"
        folder.mkdir()
        with (folder / ".dfx-backup.partial").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            code, told = download(project, planted)

        assert code == 11, told

    def test_a_viewer_needs_not_control(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        bob = identity("bob").principal.raw
        code, told = download(project, planted, identity="bob")
        assert code == 50
        assert "snapshot_visibility" in told["errors"][0]["hint"]
        assert not (project.folder / "copy").exists()

        project.canister.settings.snapshot_visibility = Visibility(
            kind="allowed_viewers", viewers=(bob,)
        )
        code, told = download(project, planted, identity="bob")

        assert code == 0, told
        _, _, stable, _ = project.snapshots.content(planted)
        assert (project.folder / "copy" / "stable_memory.bin").read_bytes() == stable

    def test_text_tells_the_numbers(self, project: TransferProject, planted: SnapshotId) -> None:
        words = ("snapshot", "download", "note", planted, "--dir", "copy")

        assert project.run_text(*words) == 0

        assert "Moved     12.1 MiB in 11 calls" in project.text
        assert "of zeros take no space" in project.text
        assert project.stderr == "downloading 12.1 MiB ...\nchecking the files ...\n"


PASSING = [
    {"too_many_requests_next": 25},
    {"http_error_next": 10},
    {"drop_before_next": 5},
    {"drop_after_next": 5},
    {"truncate_next": 5},
    {"bad_signature_next": 1},
    {"wrong_subnet_next": 1},
    {"max_calls_in_flight": 2},
    {"always_202": True},
]


@pytest.fixture
def in_transfer(project: TransferProject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Switch faults on right before the first slice."""

    def switch(**faults: Any) -> None:
        for name in ("read_snapshot_data", "upload_snapshot_data"):
            method = getattr(ManagementCanister, name)

            def call(*args: Any, method: Any = method) -> Any:
                if faults:
                    project.server.faults.set(**faults)
                    faults.clear()
                return method(*args)

            monkeypatch.setattr(ManagementCanister, name, call)

    return switch


@pytest.mark.parametrize("faults", PASSING, ids=lambda each: next(iter(each)))
class TestTroublesThatPass:
    def test_a_download(
        self,
        project: TransferProject,
        planted: SnapshotId,
        in_transfer: Callable[..., None],
        faults: dict[str, Any],
    ) -> None:
        in_transfer(**faults)

        code, told = download(project, planted)

        assert code == 0, told
        _, _, stable, _ = project.snapshots.content(planted)
        assert (project.folder / "copy" / "stable_memory.bin").read_bytes() == stable
        asked_again = {"always_202", "bad_signature_next", "wrong_subnet_next"} & set(faults)
        assert told["data"]["retries"] >= (0 if asked_again else 1)

    def test_an_upload(
        self,
        project: TransferProject,
        planted: SnapshotId,
        in_transfer: Callable[..., None],
        faults: dict[str, Any],
    ) -> None:
        copied(project, planted)
        in_transfer(**faults)

        code, told = upload(project, "--read-back", "all")

        assert code == 0, told
        made = told["data"]["snapshot_id"]
        assert project.snapshots.content(made) == project.snapshots.content(planted)
        assert len(project.canister.snapshots) == 2


LASTING = [
    ({"stale_time_s": 3600.0}, "certificate", "old"),
    ({"wrong_subnet_next": -1}, "certificate", "subnet"),
    ({"bad_signature_next": -1}, "certificate", "not signed by this network"),
    ({"truncate_next": -1}, None, "IncompleteRead"),
    ({"http_error_next": -1}, None, "503"),
    ({"too_many_requests_next": -1}, None, "429"),
    ({"drop_before_next": -1}, None, "Connection aborted"),
    ({"always_202": True, "prune_replies": True}, None, "dropped"),
    (
        {"reject": {"read_canister_snapshot_data": RejectFault(error_code="IC0207", times=-1)}},
        "rejected",
        "rejected by a fault switch",
    ),
]


@pytest.mark.parametrize(
    ("faults", "slug", "word"), LASTING, ids=lambda each: next(iter(each)) if each else ""
)
def test_a_trouble_that_lasts_is_named(
    project: TransferProject,
    in_transfer: Callable[..., None],
    faults: dict[str, Any],
    slug: str | None,
    word: str,
) -> None:
    snapshot = project.plant()
    in_transfer(**faults)

    code, told = download(project, snapshot, "--concurrency", "1")

    assert code == 50, told
    assert slug is None or told["errors"][0]["code"] == slug
    assert word in error(told)
    project.server.faults.reset()
    assert "--resume" in told["errors"][0]["hint"]


class TestCorruption:
    """One bit is flipped behind the certificate: what has a hash, or is compared, finds it."""

    def test_of_the_module(self, project: TransferProject, planted: SnapshotId) -> None:
        project.server.faults.set(corrupt_chunk_next=1)

        code, told = download(project, planted, "--concurrency", "1")

        assert code == 20
        assert "The snapshot's module has SHA-256" in error(told)
        assert not (project.folder / "copy" / "metadata.json").exists()

    def test_of_a_chunk(self, project: TransferProject, planted: SnapshotId) -> None:
        slices = 1 + 1 + 7
        project.server.faults.set(corrupt_chunk_next=1, corrupt_chunk_skip=slices)

        code, told = download(project, planted, "--concurrency", "1")

        assert code == 50
        assert "Other bytes came than the Wasm chunk" in error(told)

    def test_of_what_was_uploaded(self, project: TransferProject) -> None:
        copied(project, project.plant(stable={0: DATA}, stable_size=6 * MIB))
        project.server.faults.set(corrupt_chunk_next=1)

        code, told = upload(project)

        assert code == 20
        assert "is not what was sent" in error(told)
        assert "do not load it" in told["errors"][0]["hint"]

    def test_after_that_a_new_one_is_made_when_it_was_deleted(
        self, project: TransferProject
    ) -> None:
        planted = project.plant(stable={0: DATA}, stable_size=6 * MIB)
        copied(project, planted)
        project.server.faults.set(corrupt_chunk_next=1)
        assert upload(project)[0] == 20
        [bad] = [each for each in project.snapshots.snapshots() if each != planted]

        assert project.run("snapshot", "delete", "note", bad, "--yes")[0] == 0
        code, told = upload(project)

        assert code == 0, told
        assert told["data"]["snapshot_id"] not in {bad, planted}


class TestUpload:
    def test_what_arrived_is_what_was_sent_and_can_be_loaded(
        self, project: TransferProject
    ) -> None:
        code, created = project.run("snapshot", "create", "note")
        assert code == 0, created
        copied(project, created["data"]["snapshot_id"])

        code, told = upload(project)
        assert code == 0, told
        made = told["data"]["snapshot_id"]
        words = told["data"]["load_command"].split()[1:]

        code, loaded = project.run(*words[:4], "--yes", "--network", "local")
        assert code == 0, loaded
        assert loaded["data"]["snapshot_id"] == made
        assert loaded["data"]["plan"]["uploaded"] is True

    def test_zeros_are_not_sent(self, project: TransferProject, planted: SnapshotId) -> None:
        copied(project, planted)
        before = tree(project.folder / "copy")

        code, told = upload(project)

        assert code == 0, told
        data = told["data"]
        assert data["zero_bytes"] > 6 * MIB
        assert data["moved_bytes"] + data["zero_bytes"] == data["total_bytes"]
        made = data["snapshot_id"]
        assert project.snapshots.content(made) == project.snapshots.content(planted)
        assert tree(project.folder / "copy") == before

    def test_it_is_known_as_ours(self, project: TransferProject, planted: SnapshotId) -> None:
        copied(project, planted)
        code, told = upload(project)
        assert code == 0, told

        _, listed = project.run("snapshot", "list", "note")

        known = {each["snapshot_id"]: each["purpose"] for each in listed["data"]["snapshots"]}
        assert known == {planted: None, told["data"]["snapshot_id"]: PURPOSE}

    def test_a_lost_answer_makes_no_second_snapshot(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        copied(project, planted)
        project.server.faults.set(lost_reply={"upload_canister_snapshot_metadata": 1})

        code, told = upload(project)

        assert code == 0, told
        assert len(project.canister.snapshots) == 2

    def test_the_same_command_goes_on(
        self, project: TransferProject, planted: SnapshotId, in_transfer: Callable[..., None]
    ) -> None:
        copied(project, planted)
        broken = RejectFault(error_code="IC0207", times=-1, skip=3)
        in_transfer(reject={"upload_canister_snapshot_data": broken})
        code, told = upload(project, "--concurrency", "1")
        assert code == 50
        assert "snapshot upload" in told["errors"][0]["hint"]
        project.server.faults.reset()

        _, planned = upload(project, "--dry-run")
        code, told = upload(project)

        assert code == 0, told
        assert planned["data"]["plan"]["resumes"] == told["data"]["snapshot_id"]
        assert told["data"]["resumed_bytes"] > 0
        assert len(project.canister.snapshots) == 2
        made = told["data"]["snapshot_id"]
        assert project.snapshots.content(made) == project.snapshots.content(planted)

    def test_elsewhere_the_snapshot_is_named(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        copied(project, planted)
        _, told = upload(project)
        made = told["data"]["snapshot_id"]

        code, told = upload(project, "--resume", made)
        assert code == 0, told
        assert told["data"]["snapshot_id"] == made
        assert told["data"]["moved_bytes"] == 0

        code, told = upload(project, "--resume", planted)
        assert code == 60
        assert "taken, not uploaded" in error(told)

    def test_a_damaged_folder_takes_no_slot(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        folder = copied(project, planted)
        with (folder / "wasm_memory.bin").open("r+b") as file:
            file.write(b"x")

        code, told = upload(project)

        assert code == 20
        assert "wasm_memory.bin" in error(told)
        assert len(project.canister.snapshots) == 1

    def test_ten_are_enough(self, project: TransferProject, planted: SnapshotId) -> None:
        copied(project, planted)
        for _ in range(9):
            project.plant()

        code, told = upload(project)

        assert code == 60
        assert "10 is the limit" in error(told)

    def test_the_only_snapshot_is_never_replaced(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        copied(project, planted)

        code, told = upload(project, "--replace", planted, "--yes")

        assert code == 60
        assert "the only snapshot" in error(told)
        assert list(project.snapshots.snapshots()) == [planted]

    def test_another_one_is_replaced_after_a_question(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        copied(project, planted)
        old = project.plant()

        code, told = upload(project, "--replace", old)
        assert code == 60
        assert "deleted before the data" in error(told)
        assert old in project.snapshots.snapshots()

        code, told = upload(project, "--replace", old, "--yes")
        assert code == 0, told
        assert set(project.snapshots.snapshots()) == {planted, told["data"]["snapshot_id"]}

    def test_too_few_cycles(self, project: TransferProject, planted: SnapshotId) -> None:
        copied(project, planted)
        project.canister.cycles = project.canister.freezing_limit + 10**9  # not frozen, yet

        code, told = upload(project)

        assert code == 60
        assert "Uploading to note costs about" in error(told)
        assert "Top up at least" in told["errors"][0]["hint"]
        assert len(project.canister.snapshots) == 1

    def test_a_hook_status_that_disagrees_is_left_out(self, project: TransferProject) -> None:
        snapshot = project.plant(heap_size=PAGE, hook_status=HookStatus.READY)
        copied(project, snapshot)

        code, told = upload(project)

        assert code == 0, told
        assert told["data"]["plan"]["keep_hook_status"] is False
        assert any("hook" in each for each in told["data"]["warnings"])
        made = bytes.fromhex(told["data"]["snapshot_id"])
        assert project.canister.snapshots[made].hook_status is None

    def test_one_that_agrees_is_sent(self, project: TransferProject) -> None:
        snapshot = project.plant(heap_size=PAGE, hook_status=HookStatus.CONDITION_NOT_SATISFIED)
        copied(project, snapshot)

        code, told = upload(project)

        assert code == 0, told
        made = project.canister.snapshots[bytes.fromhex(told["data"]["snapshot_id"])]
        assert made.hook_status is HookStatus.CONDITION_NOT_SATISFIED

    @pytest.mark.parametrize("clone", [False, True])
    def test_a_clone_has_no_timer(self, project: TransferProject, *, clone: bool) -> None:
        copied(project, project.plant(global_timer=10**18))

        code, told = upload(project, *(("--clone",) if clone else ()))

        assert code == 0, told
        made = project.canister.snapshots[bytes.fromhex(told["data"]["snapshot_id"])]
        assert made.global_timer == (None if clone else 10**18)

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_heartbeat_is_warned_about(self, project: TransferProject, *, packed: bool) -> None:
        text = '(module (func (export "canister_heartbeat")) (memory 1))'
        module = bytes(wasmtime.wat2wasm(text))
        module = gzip.compress(module) if packed else module
        project.server.replica.install(project.snapshots.raw, module, mode="reinstall")
        copied(project, project.plant(module=module))

        _, told = upload(project, "--clone", "--dry-run")

        assert told["data"]["plan"]["heartbeat"] is True
        assert any("canister_heartbeat" in each for each in told["data"]["warnings"])
        _, told = upload(project, "--dry-run")
        assert told["data"]["warnings"] == []  # the same canister: it has it already


class TestLargeHeap:
    """More than 4 GiB for a canister without code: sparse, so that it takes no time."""

    SIZE = 4 * GIB + 512 * MIB

    @pytest.fixture
    def folder(self, project: TransferProject) -> Path:
        module = scribe(is_64=True)
        snapshot = project.plant(module=module, heap_size=PAGE)
        project.canister.snapshots[bytes.fromhex(snapshot)].globals[:] = []
        folder = project.folder / "copy"
        metadata = project.snapshots.management.read_snapshot_metadata(
            project.snapshots.canister, snapshot
        )
        folder.mkdir()
        (folder / "wasm_module.bin").write_bytes(module)
        with (folder / "wasm_memory.bin").open("wb") as heap:
            heap.truncate(self.SIZE)
            heap.seek(self.SIZE - 5)
            heap.write(b"there")
        large = replace(metadata, wasm_memory_size=self.SIZE)
        (folder / "metadata.json").write_bytes(metadata_json.to_json(large))
        del project.canister.snapshots[bytes.fromhex(snapshot)]
        return folder

    def test_a_stub_comes_first(self, project: TransferProject, folder: Path) -> None:
        del folder
        project.server.replica.uninstall(project.snapshots.raw)
        _, planned = upload(project, "--dry-run")
        assert planned["data"]["plan"]["installs_stub"] is True
        assert any("wasm64 module" in each for each in planned["data"]["warnings"])
        assert project.canister.module is None

        code, told = upload(project)

        assert code == 0, told
        assert project.canister.module is not None
        assert project.canister.module.raw == STUB_WASM64
        made = project.canister.snapshots[bytes.fromhex(told["data"]["snapshot_id"])]
        assert made.heap.size == self.SIZE
        assert made.heap.read(self.SIZE - 5, 5) == b"there"
        assert told["data"]["moved_bytes"] < 3 * MIB

        _, planned = upload(project, "--dry-run")
        assert planned["data"]["plan"]["installs_stub"] is False

    def test_code_that_is_there_is_left_alone(self, project: TransferProject, folder: Path) -> None:
        del folder
        code, told = upload(project)

        assert code == 50
        assert "IC0408" in error(told)
        assert project.canister.module is not None
        assert project.canister.module.raw == note_wasm()


class TestVerify:
    def test_a_whole_folder(self, project: TransferProject, planted: SnapshotId) -> None:
        copied(project, planted)

        code, told = project.run("snapshot", "verify", "--dir", "copy")

        assert code == 0
        assert told["data"]["whole"] is True
        assert told["data"]["snapshot_id"] == planted
        assert all(each["sha256"] for each in told["data"]["files"])

    def test_every_damaged_file_is_named(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        folder = copied(project, planted)
        (folder / "wasm_memory.bin").write_bytes(b"short")
        with (folder / "stable_memory.bin").open("r+b") as file:
            file.write(b"x")

        code, told = project.run("snapshot", "verify", "--dir", "copy")

        assert code == 20
        assert told["data"]["whole"] is False
        assert len(told["errors"]) == 2
        assert "wasm_memory.bin" in error(told)
        assert "stable_memory.bin" in error(told)

    def test_without_hashes_it_is_not_proven(
        self, project: TransferProject, planted: SnapshotId
    ) -> None:
        (copied(project, planted) / "backup.json").unlink()

        code, told = project.run("snapshot", "verify", "--dir", "copy")

        assert code == 3
        assert told["data"]["whole"] is True
        assert told["data"]["hashes"] is False
        assert "records no hashes" in error(told)

    def test_no_folder(self, project: TransferProject) -> None:
        assert project.run("snapshot", "verify", "--dir", "nowhere")[0] == 30


class TestDriversOwnWay:
    """A key that only dfx can use: it moves the folder, and we say so."""

    @pytest.fixture(autouse=True)
    def sealed(self, project: TransferProject) -> None:
        [folder] = project.dfx.home.rglob("identity/alice")
        hsm = {"hsm": {"pkcs11_lib_path": "/lib/x.so", "key_id": "00"}}
        (folder / "identity.json").write_text(json.dumps(hsm))

    def test_both_ways(self, project: TransferProject, planted: SnapshotId) -> None:
        dfx: dict[str, Any] = {"driver": "dfx", "env": project.dfx.environment}

        code, told = download(project, planted, **dfx)
        assert code == 0, told
        assert told["data"]["way"] == "driver"
        assert any("scratch folder" in each for each in told["data"]["warnings"])
        files = tree(project.folder / "copy")
        _, heap, stable, _ = project.snapshots.content(planted)
        assert (files["wasm_memory.bin"], files["stable_memory.bin"]) == (heap, stable)
        assert not (project.folder / "copy" / ".scratch").exists()
        assert project.run("snapshot", "verify", "--dir", "copy")[0] == 0

        code, told = upload(project, "--clone", "--read-back", "all", **dfx)
        assert code == 0, told
        made = told["data"]["snapshot_id"]
        assert project.snapshots.content(made) == project.snapshots.content(planted)
        assert project.canister.snapshots[bytes.fromhex(made)].global_timer is None
        assert tree(project.folder / "copy") == files
        assert not list((project.stage.state / "scratch").glob("*"))
        project.dfx.check()

    def test_what_it_can_not_do(self, project: TransferProject, planted: SnapshotId) -> None:
        dfx: dict[str, Any] = {"driver": "dfx", "env": project.dfx.environment}

        code, told = download(project, planted, "--resume", **dfx)
        assert code == 2
        assert "can't be resumed" in error(told)

        assert download(project, planted, **dfx)[0] == 0
        project.plant()
        for option in ("--resume", "--replace"):
            code, told = upload(project, option, planted, "--yes", **dfx)
            assert code == 2, told
            assert option in error(told)


def test_a_folder_of_another_canister_is_told(
    project: TransferProject, planted: SnapshotId
) -> None:
    folder = copied(project, planted)
    written = json.loads((folder / "backup.json").read_text())
    written["canister_id"] = "rwlgt-iiaaa-aaaaa-aaaaa-cai"
    (folder / "backup.json").write_text(json.dumps(written))

    _, told = upload(project, "--dry-run")

    assert any("copy of rwlgt-iiaaa-aaaaa-aaaaa-cai" in each for each in told["data"]["warnings"])


def test_an_estimate(project: TransferProject) -> None:
    code, told = project.run("estimate", "note")
    assert code == 0, told
    thirteen = told["data"]
    code, told = project.run("estimate", "note", "--nodes", "34")
    assert code == 0, told
    more = told["data"]

    assert thirteen["size_bytes"] == PAGE + 254 or thirteen["size_bytes"] >= PAGE
    assert int(more["upload"]["cost"]) == int(thirteen["upload"]["cost"]) * 34 // 13
    assert project.run_text("estimate", "note") == 0
    assert "OPERATION  OUTAGE" in project.text


def test_a_copy_moves_to_another_folder_with_its_proof(
    project: TransferProject, planted: SnapshotId
) -> None:
    shutil.copytree(copied(project, planted), project.folder / "elsewhere")

    assert project.run("snapshot", "verify", "--dir", "elsewhere")[0] == 0
