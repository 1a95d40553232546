"""Exports of streams into the repository beside somebody who forgets and prunes."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.operations.stable_repository import RepositoryWork
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.fakes.repositories import age_objects
from tests.fakes.stable_repository_project import StableRepositoryProject


@pytest.fixture
def project(server: ReplicaServer, tmp_path: Path) -> Iterator[StableRepositoryProject]:
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


def test_the_command_that_repeats_it_has_its_tags(project: StableRepositoryProject) -> None:
    fault = RejectFault(times=-1, error_code="IC0503", reject_code=5, message="no")
    project.server.faults.set(reject={"backup_read": fault})
    words = ("stable", "export", "note", "--stream", "ballast", "--reads", "certified")
    told = project.envelope(*words, "--tag", "nightly", "--tag", "before 2.0", code=50)
    project.server.faults.reset()
    command = shlex.split(told["errors"][0]["hint"].split("`")[1])

    assert project.run_text(*command[1:], env=project.env) == 0

    [listed] = project.envelope("list", "--kind", "stable")["data"]["backups"]
    assert listed["tags"] == ["nightly", "before 2.0"]
