"""Stable memory on the worst day: what was begun, changed, mixed up or edited in between."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity
from tests.fakes.heap_project import padded
from tests.fakes.stable_project import RUST, StableProject

EXPORT = ("stable", "export", "note", "--via", "snapshot", "--file", "copy")
IMPORT = ("stable", "import", "note", "--via", "snapshot", "--file", "copy", "--yes")
METHODS = ("stable", "import", "note", "--file", "copy", "--yes")


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[StableProject]:
    made = StableProject(server, tmp_path)
    made.fill(0, 40, seed=1)
    yield made
    made.close()


def ok(project: StableProject, *argv: str) -> Any:
    code, told = project.run(*argv)
    assert code == 0, told
    assert project.canister.status == "running"
    return told["data"]


def fails(project: StableProject, code: int, *argv: str) -> str:
    found, told = project.run(*argv)
    assert found == code, told
    assert project.canister.status == "running"
    return str(told["errors"][0]["message"])


def refuse(project: StableProject, method: str, *, skip: int) -> None:
    fault = RejectFault(times=-1, error_code="IC0503", reject_code=5, message="no", skip=skip)
    project.server.faults.set(reject={method: fault})


def interrupted(project: StableProject, method: str, *argv: str) -> None:
    refuse(project, method, skip=1)
    fails(project, 50, *argv, "--concurrency", "1")
    project.server.faults.reset()


def other_module(project: StableProject) -> bytes:
    """An upgrade to another module; its SHA-256."""
    module = padded((RUST / "kit_rust.wasm").read_bytes(), 100)
    sender = identity("alice").principal.raw
    project.server.replica.install(
        project.snapshots.raw, module, b"DIDL\0\0", "upgrade", sender=sender
    )
    return hashlib.sha256(module).digest()


def module_hash(project: StableProject) -> bytes:
    assert project.canister.module is not None
    return project.canister.module.sha256


def sidecar(project: StableProject, **changed: Any) -> None:
    """An edit of the sidecar."""
    path = project.folder / "copy.stable.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


class TestHalfAnImport:
    def test_is_not_exported_as_a_whole(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        project.fill(0, 40, seed=9)
        interrupted(project, "backup_import_write", *METHODS)
        snapshots = len(project.canister.snapshots)

        told = fails(project, 60, *EXPORT[:-1], "half")

        assert "an import of stable_memory is in progress" in told.lower()
        assert len(project.canister.snapshots) == snapshots
        plan = ok(project, *IMPORT, "--dry-run")
        assert any("stays in it" in each for each in plan["warnings"])

    def test_of_another_content_is_told(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        project.fill(0, 20, seed=4)
        interrupted(project, "upload_canister_snapshot_data", *IMPORT)
        [uploaded] = project.canister.snapshots

        ok(project, *EXPORT)  # the same name, and other bytes
        warnings = ok(project, *IMPORT)["warnings"]

        assert any(f"Snapshot {uploaded.hex()}" in each for each in warnings)
        assert any(".base holds module and heap" in each for each in warnings)


class TestAnotherModule:
    def test_since_the_base_snapshot(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        interrupted(project, "upload_canister_snapshot_data", *IMPORT)
        new = other_module(project)

        plan = ok(project, *IMPORT, "--dry-run")["plan"]
        assert plan["takes_base_snapshot"]
        ok(project, *IMPORT)

        assert module_hash(project) == new
        assert len(project.canister.snapshots) == 1  # the safety snapshot

    def test_right_before_the_load(
        self, project: StableProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dfx_backup.operations import stable_snapshot_import as operation  # noqa: PLC0415

        ok(project, *EXPORT)
        wanted = (project.folder / "copy.stable.bin").read_bytes()
        load, new = operation.load, b""

        def late(*words: Any, **more: Any) -> Any:
            nonlocal new
            new = new or other_module(project)
            return load(*words, **more)

        monkeypatch.setattr(operation, "load", late)

        assert "was given another module" in fails(project, 60, *IMPORT)
        assert module_hash(project) == new
        ok(project, *IMPORT)
        assert module_hash(project) == new
        assert project.stable_memory() == wanted


class TestMixedUp:
    def test_a_stream_of_another_kind(self, project: StableProject) -> None:
        ok(project, "stable", "export", "note", "--stream", "ballast", "--file", "copy")
        before = project.stable_memory()

        told = fails(project, 60, *METHODS, "--stream", "stable_memory")

        assert "of kind virtual_memory" in told
        assert project.stable_memory() == before
        assert project.ask("backup_info")["import_session"] is None

    def test_a_file_that_is_swapped_after_the_check(
        self, project: StableProject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dfx_backup.operations import stable_import as operation  # noqa: PLC0415

        ok(project, *EXPORT)
        project.fill(0, 40, seed=9)
        before, load = project.stable_memory(), operation.import_stream

        def swapped(*words: Any, **more: Any) -> Any:
            path = project.folder / "copy.stable.bin"
            path.write_bytes(path.read_bytes()[::-1])
            return load(*words, **more)

        monkeypatch.setattr(operation, "import_stream", swapped)

        assert "has changed at offset" in fails(project, 20, *METHODS, "--skip-safety-snapshot")
        assert project.stable_memory() == before

    @pytest.mark.parametrize("words", [METHODS, IMPORT])
    @pytest.mark.parametrize("field", ["canister_id", "network_id"])
    def test_another_canister_or_network(
        self, project: StableProject, words: tuple[str, ...], field: str
    ) -> None:
        ok(project, *EXPORT)
        other = {"canister_id": "rwlgt-iiaaa-aaaaa-aaaaa-cai", "network_id": "ab" * 32}
        sidecar(project, **{field: other[field]})
        version = project.canister.version

        told = fails(project, 60, *words)

        assert "is a copy of" in told
        assert project.canister.version <= version + 1  # one question

    @pytest.mark.parametrize(
        ("words", "method"),
        [(METHODS, "backup_import_write"), (IMPORT, "upload_canister_snapshot_data")],
    )
    def test_the_command_that_goes_on_does(
        self, project: StableProject, words: tuple[str, ...], method: str
    ) -> None:
        ok(project, *EXPORT)
        wanted = (project.folder / "copy.stable.bin").read_bytes()
        sidecar(project, canister_id="rwlgt-iiaaa-aaaaa-aaaaa-cai")
        project.fill(0, 40, seed=9)
        refuse(project, method, skip=1)
        _, told = project.run(*words, "--from-other-canister", "--concurrency", "1")
        project.server.faults.reset()
        command = told["errors"][0]["hint"].split("`")[1].split()

        assert project.run_text(*command[1:], "--yes") == 0

        assert project.stable_memory() == wanted


class TestEditedOrStrange:
    @pytest.mark.parametrize("words", [METHODS, IMPORT, ("stable", "verify", "--file", "copy")])
    def test_a_hash_that_was_edited(self, project: StableProject, words: tuple[str, ...]) -> None:
        ok(project, *EXPORT)
        path = project.folder / "copy.stable.json"
        hashes = json.loads(path.read_text())["hashes"]
        sidecar(project, hashes=["00" * 32, *hashes[1:]])

        assert "'root' is not that of the hashes" in fails(project, 20, *words)

    def test_a_chunk_that_no_memory_holds(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        root = hashlib.sha256(bytes(32)).hexdigest()
        size = 1 << 40
        sidecar(project, size=size, chunk_size=size, hashes=["00" * 32], root=root)
        os.truncate(project.folder / "copy.stable.bin", size)

        assert "'chunk_size'" in fails(project, 20, *METHODS)

    @pytest.mark.parametrize("words", [METHODS, IMPORT, ("stable", "verify", "--file", "copy")])
    def test_a_pipe_is_not_waited_for(self, project: StableProject, words: tuple[str, ...]) -> None:
        ok(project, *EXPORT)
        (project.folder / "copy.stable.bin").unlink()
        os.mkfifo(project.folder / "copy.stable.bin")

        assert fails(project, 30, *words).endswith("it is no file.")

    @pytest.mark.parametrize("name", ["/", ".", "..", "", "folder/"])
    @pytest.mark.parametrize(
        "words",
        [
            ("stable", "export", "note", "--stream", "ballast"),
            ("stable", "export", "note", "--via", "snapshot"),
            ("stable", "import", "note", "--yes"),
            ("stable", "verify"),
        ],
    )
    def test_a_folder_is_no_name(
        self, project: StableProject, words: tuple[str, ...], name: str
    ) -> None:
        assert "is a folder" in fails(project, 2, *words, "--file", name)

    def test_what_begins_like_a_module(self, project: StableProject) -> None:
        ok(project, *EXPORT)
        (project.folder / "cut.wasm").write_bytes(b"\0asm\1\0\0\0\1\xff")

        told = fails(project, 2, *IMPORT, "--heap-from-stable", "--module", "cut.wasm")

        assert "is no Wasm module" in told

    @pytest.mark.parametrize("words", [METHODS, IMPORT])
    def test_no_plan_for_a_file_that_is_gone_or_cut(
        self, project: StableProject, words: tuple[str, ...]
    ) -> None:
        ok(project, *EXPORT)
        path = project.folder / "copy.stable.bin"
        os.truncate(path, 5)
        assert "has 5 bytes" in fails(project, 20, *words, "--dry-run")
        path.unlink()

        assert "is missing" in fails(project, 20, *words, "--dry-run")
