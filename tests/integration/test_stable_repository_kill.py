"""Exports into the repository, killed at random moments: what is seen is whole, always."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.replica.server import ReplicaServer
from tests.fakes.stable_child import StableChild
from tests.fakes.stable_repository_project import StableRepositoryProject

OPEN = ("--repo", "repo", "--password-file", "password", "--identity", "alice", "--driver", "agent")
EXPORT = ("stable", "export", "note", "--stream", "ballast", "--concurrency", "2", *OPEN)
IMPORT = ("stable", "import", "note", "--backup", "latest", "--yes", "--skip-safety-snapshot")
MEMORY = "memory.stable.bin"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[StableRepositoryProject]:
    with ReplicaServer.start() as server:
        made = StableRepositoryProject(server, tmp_path)
        made.fill(0, 320, seed=1)
        yield made
        made.close()


def kill(project: StableRepositoryProject, kills: int, rng: random.Random) -> None:
    judge = project.judge()
    with StableChild() as child:

        def run(*argv: str, after_s: float = 600.0) -> int:
            where = {"home": project.dfx.home, "cwd": project.folder}
            return child.run(*argv, **where, after_s=after_s)

        assert run(*EXPORT) == 0  # all is loaded now
        project.server.faults.set(latency_call_s=0.03, latency_query_s=0.03)
        began = time.monotonic()
        project.fill(0, 320, seed=2)
        assert run(*EXPORT) == 0
        longest_s = 1.1 * (time.monotonic() - began)
        killed = 0
        known = {each.snapshot_id for each in project.repository.snapshots()}
        for _ in range(5 * kills):
            project.fill(rng.randrange(300), 20, seed=rng.randrange(3, 10_000))
            code = run(*EXPORT, after_s=rng.uniform(0.0, longest_s))
            assert code in (0, -9)
            new = {each.snapshot_id for each in project.repository.snapshots()} - known
            assert len(new) <= 1
            assert code == -9 or new
            for each in new:  # also when it was killed right after the commit
                assert project.files(each)[MEMORY] == project.ballast()
            known |= new
            killed += code == -9
            if killed == kills:
                break
        assert killed == kills

        wanted = project.ballast()
        assert run(*EXPORT) == 0
        judge.run("unlock", "--remove-all")
        judge.check("--read-data")
        project.fill(0, 320, seed=0)
        for _ in range(kills):
            run(*IMPORT, *OPEN, after_s=rng.uniform(0.0, longest_s))
        assert run(*IMPORT, *OPEN) == 0
        assert project.ballast() == wanted
        judge.run("unlock", "--remove-all")
        judge.check("--read-data")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.judge
def test_killed_at_50_moments(project: StableRepositoryProject) -> None:
    kill(project, 50, random.Random(6))
