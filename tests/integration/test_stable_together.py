"""Exports of streams into the repository beside somebody who forgets and prunes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.operations.stable_repository import RepositoryWork
from dfx_backup.replica.server import ReplicaServer
from tests.fakes.repositories import age_objects
from tests.fakes.stable_repository_project import StableRepositoryProject


@pytest.fixture
def project(tmp_path: Path) -> Iterator[StableRepositoryProject]:
    with ReplicaServer.start() as server:
        made = StableRepositoryProject(server, tmp_path)
        made.fill(0, 60, seed=1)
        yield made
        made.close()


def test_what_a_delta_leans_on_is_not_pruned(
    project: StableRepositoryProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = project.export()["backup_id"]
    project.fill(0, 1, seed=2)
    take, codes = RepositoryWork.earlier, []

    def meanwhile(work: Any, *words: Any) -> Any:
        if not codes:
            forget = ("forget", earlier, "--allow-empty-group", "--yes", "--json")
            for argv in (forget, ("prune", "--json")):
                process = project.process(*argv)
                process.communicate(timeout=60)
                codes.append(process.returncode)
        return take(work, *words)

    monkeypatch.setattr(RepositoryWork, "earlier", meanwhile)

    data = project.export()

    assert codes[1] == 11  # nobody prunes under a writer
    assert project.files(data["restic_id"])["memory.stable.bin"] == project.ballast()
    monkeypatch.undo()
    age_objects(project.repo, 100_000)
    project.envelope("prune")
    assert project.files(data["restic_id"])["memory.stable.bin"] == project.ballast()
    project.envelope("verify", "--read-data")


def test_what_was_forgotten_before_is_stored_again(project: StableRepositoryProject) -> None:
    earlier = project.export()["backup_id"]
    project.envelope("forget", earlier, "--allow-empty-group", "--yes")

    data = project.export("--reads", "hashes")
    age_objects(project.repo, 100_000)
    project.envelope("prune")

    assert project.files(data["restic_id"])["memory.stable.bin"] == project.ballast()
    project.envelope("verify", "--read-data")
