"""Transfers as a process, interrupted in the middle: what arrived is kept, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.model import SnapshotId
from tests.fakes.transfer_project import TransferProject

MIB = 1 << 20
PATIENCE_S = 30


@pytest.fixture
def project(tmp_path: Path) -> Iterator[TransferProject]:
    with TransferProject.start(tmp_path) as made:
        yield made


@pytest.fixture
def planted(project: TransferProject) -> SnapshotId:
    return project.plant(stable={0: os.urandom(20 * MIB)}, stable_size=20 * MIB)


def start(project: TransferProject, *argv: str) -> "subprocess.Popen[str]":
    words = ("--concurrency", "2", "--network", "local", "--identity", "alice")
    return subprocess.Popen(
        [sys.executable, "-m", "dfx_backup", *argv, *words, "--driver", "agent", "--json"],
        cwd=project.folder,
        env={"HOME": str(project.dfx.home), "PATH": "/nowhere"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(
    project: TransferProject, method: str, number: signal.Signals, *argv: str
) -> tuple[int, Any]:
    """Send the signal once three slices are through."""
    project.server.faults.set(latency_by_method_s={method: 0.15})
    before = project.server.faults.counters().calls.get(method, 0)
    process = start(project, *argv)
    end = time.monotonic() + PATIENCE_S
    while project.server.faults.counters().calls.get(method, 0) < before + 5:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, number)
    told, _ = process.communicate(timeout=PATIENCE_S)
    project.server.faults.set(latency_by_method_s={})
    return process.returncode, json.loads(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_download_is_resumed(
    project: TransferProject, planted: SnapshotId, number: signal.Signals
) -> None:
    words = ("snapshot", "download", "note", planted, "--dir", "copy")

    code, told = interrupted(project, "read_canister_snapshot_data", number, *words)

    assert code == 130
    [error] = told["errors"]
    assert error["code"] == "interrupted"
    assert error["hint"].endswith(
        f"snapshot download {project.canister_id} {planted}"
        f" --dir {project.folder}/copy --resume --network local --identity alice --driver agent`."
    )
    code, told = project.run(*words)
    assert code == 60
    code, told = project.run(*words, "--resume")
    assert code == 0, told
    assert told["data"]["resumed_bytes"] >= 3 * 2_000_000
    _, _, stable, _ = project.snapshots.content(planted)
    assert (project.folder / "copy" / "stable_memory.bin").read_bytes() == stable


def test_an_upload_goes_on(project: TransferProject, planted: SnapshotId) -> None:
    code, told = project.run("snapshot", "download", "note", planted, "--dir", "copy")
    assert code == 0, told
    words = ("snapshot", "upload", "note", "--dir", "copy")

    code, told = interrupted(project, "upload_canister_snapshot_data", signal.SIGINT, *words)

    assert code == 130
    assert "same command" in told["errors"][0]["hint"]
    assert len(project.canister.snapshots) == 2
    code, told = project.run(*words)
    assert code == 0, told
    assert told["data"]["resumed_bytes"] >= 3 * 2_000_000
    assert len(project.canister.snapshots) == 2
    made = told["data"]["snapshot_id"]
    assert project.snapshots.content(made) == project.snapshots.content(planted)
