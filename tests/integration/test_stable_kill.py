"""Exports and imports of a real canister, killed at random moments, slowed down, and very large."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.replica.server import ReplicaServer
from tests.fakes.stable_child import StableChild
from tests.fakes.stable_project import PAGE, StableProject

AS = ("--identity", "alice", "--driver", "agent")
EXPORT = ("stable", "export", "note", "--stream", "ballast", "--file", "copy")
IMPORT = ("stable", "import", "note", "--file", "copy", "--yes", "--skip-safety-snapshot")
MIB = 1 << 20


@pytest.fixture
def project(tmp_path: Path) -> Iterator[StableProject]:
    with ReplicaServer.start() as server:
        made = StableProject(server, tmp_path)
        made.fill(0, 320, seed=1)
        yield made
        made.close()


class Killer:
    """Runs a command line again and again, and kills it at random moments."""

    def __init__(self, project: StableProject, child: StableChild, rng: random.Random) -> None:
        self.project = project
        self.child = child
        self.rng = rng

    def run(self, argv: tuple[str, ...], after_s: float = 600.0) -> int:
        words = (*argv, "--concurrency", "2", *AS)
        project = self.project
        return self.child.run(*words, home=project.dfx.home, cwd=project.folder, after_s=after_s)

    def kill(self, argv: tuple[str, ...], times: int, longest_s: float) -> tuple[int, int]:
        """How often it was killed, and how often it came to its end before."""
        killed = ended = 0
        while killed < times and ended < 4 * times:
            code = self.run(argv, self.rng.uniform(0.0, longest_s))
            assert code in (0, -9), code
            if code == 0:
                ended += 1
                self.again()
            else:
                killed += 1
        assert self.run(argv) == 0
        return killed, ended

    def again(self) -> None:
        """There is something to do again."""
        seed = self.rng.randrange(1, 1000)
        self.project.fill(self.rng.randrange(300), 20, seed=seed)


def copied(project: StableProject) -> bytes:
    return (project.folder / "copy.stable.bin").read_bytes()


def kill_both_ways(project: StableProject, kills: int, rng: random.Random) -> None:
    with StableChild() as child:
        killer = Killer(project, child, rng)
        assert killer.run(EXPORT) == 0  # all is loaded now
        began = time.monotonic()
        project.server.faults.set(latency_call_s=0.03, latency_query_s=0.03)
        project.fill(0, 320, seed=2)
        assert killer.run(EXPORT) == 0
        longest_s = 1.1 * (time.monotonic() - began)
        for path in project.folder.glob("copy.*"):
            path.unlink()
        project.fill(0, 320, seed=3)

        killed, _ = killer.kill(EXPORT, kills, longest_s)
        assert killed == kills
        wanted = project.ballast()
        assert copied(project) == wanted
        names = {each.name for each in project.folder.glob("copy.*")}
        assert names == {"copy.stable.bin", "copy.stable.json"}

        project.fill(0, 320, seed=4)
        killed, _ = killer.kill(IMPORT, kills, longest_s)
        assert killed == kills
        assert project.ballast() == wanted
        assert project.run("stable", "verify", "--file", "copy", "--live")[0] == 0


def test_killed_a_few_times(project: StableProject) -> None:
    kill_both_ways(project, 2, random.Random(1))


@pytest.mark.slow
def test_killed_at_many_points(project: StableProject) -> None:
    kill_both_ways(project, 25, random.Random(2))


CHILD = """
import resource, sys
from dfx_backup.cli.app import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def export_apart(project: StableProject, *words: str) -> tuple[Any, int]:
    """An export in a process of its own: its fields, and the most memory that it took (bytes)."""
    shell = ("/bin/sh", "-c", '"$@"; exit $?', "sh")  # a child of ours would begin with our memory
    python = (sys.executable, "-W", "ignore", "-c", CHILD)
    done = subprocess.run(
        [*shell, *python, *EXPORT, *words, *AS, "--quiet", "--json"],
        cwd=project.folder,
        env={**os.environ, "HOME": str(project.dfx.home), "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"], int(done.stderr.splitlines()[-1]) * 1024


@pytest.mark.slow
def test_queries_with_latency_are_nearly_as_fast_as_they_can_be(project: StableProject) -> None:
    queries = 150
    project.fill(0, 320, seed=0)
    for query in range(queries):  # a chunk, and one of zeros, so that bytes are not the bound
        project.fill(query * 30, 15, seed=6)
    project.server.faults.set(latency_query_s=0.17)

    data, memory = export_apart(project, "--reads", "hashes")

    assert (data["calls"], data["window"]) == (queries, 8)
    assert data["seconds"] <= queries * 0.17 / 8 / 0.8
    assert memory <= 80e6 + 8 * 4.5e6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_gib_nearly_all_zeros(project: StableProject) -> None:
    size = 8 * 1024 * MIB
    pages = size // PAGE
    project.fill(pages // 2, 40, seed=7)
    project.fill(pages - 30, 30, seed=8)

    data, memory = export_apart(project, "--reads", "hashes")

    assert data["size_bytes"] == size
    assert memory <= 80e6 + 8 * 4.5e6
    copy = project.folder / "copy.stable.bin"
    assert copy.stat().st_size == size
    assert copy.stat().st_blocks * 512 < 40 * MIB
    with copy.open("rb") as file:
        for page, count in ((0, 320), (pages // 2, 40), (pages - 30, 30)):
            file.seek(page * PAGE)
            assert file.read(count * PAGE) == project.read("ballast", page * PAGE, count * PAGE)
