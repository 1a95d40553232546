"""Finding the project, and what is wrong with its files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import ProjectError
from dfx_backup.model import DriverName
from dfx_backup.project.discover import ProjectKind, find_project, locate_project

Write = Callable[[Path, object], Path]


def test_no_project_is_fine(root: Path) -> None:
    assert find_project(root) is None


def test_the_nearest_file_counts(root: Path, write: Write) -> None:
    write(root / "dfx.json", {"dfx": "0.30.1"})
    write(root / "src/deep/icp.yaml", "")
    found = find_project(root / "src")
    assert found is not None
    assert (found.root, found.kind) == (root, ProjectKind.DFX)
    assert found.dfx is not None
    assert found.dfx.dfx_version == "0.30.1"
    inner = find_project(root / "src/deep")
    assert inner is not None
    assert (inner.root, inner.kind, inner.dfx) == (root / "src/deep", ProjectKind.ICP, None)


def test_a_folder_of_that_name_is_no_project(root: Path) -> None:
    (root / "dfx.json").mkdir()
    assert locate_project(root) is None


def test_symbolic_links_are_followed_before_going_up(root: Path, write: Write) -> None:
    write(root / "dfx.json", {})
    (root / "inside").mkdir()
    link = root.parent / "link"
    link.symlink_to(root / "inside")
    found = find_project(link)
    assert found is not None
    assert found.root == root


def test_a_link_to_itself_is_one_clear_error(root: Path) -> None:
    loop = root / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ProjectError, match="loop") as caught:
        find_project(loop / "x")
    assert caught.value.exit_code == 30


@pytest.mark.parametrize(
    ("driver", "kind"), [(DriverName.DFX, ProjectKind.DFX), (DriverName.ICP, ProjectKind.ICP)]
)
def test_the_driver_decides_where_both_are(
    root: Path, write: Write, driver: DriverName, kind: ProjectKind
) -> None:
    write(root / "dfx.json", {})
    write(root / "icp.yaml", "")
    found = find_project(root, driver=driver)
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize("driver", [None, DriverName.AGENT])
def test_both_files_without_a_decision_are_an_error(
    root: Path, write: Write, driver: DriverName | None
) -> None:
    write(root / "dfx.json", {})
    write(root / "icp.yaml", "")
    with pytest.raises(ProjectError, match=r"both dfx.json and icp.yaml") as caught:
        find_project(root, driver=driver)
    assert caught.value.hint is not None
    assert "--driver dfx" in caught.value.hint


def test_a_driver_does_not_reach_over_a_nearer_project(root: Path, write: Write) -> None:
    write(root / "dfx.json", {})
    write(root / "web/icp.yaml", "")
    found = find_project(root / "web", driver=DriverName.DFX)
    assert found is not None
    assert found.kind is ProjectKind.ICP


def test_settings_of_the_project_folder_are_read(root: Path, write: Write) -> None:
    write(root / "dfx.json", {})
    write(root / "dfx-backup.toml", 'repository = "/backups"')
    write(root / "src/dfx-backup.toml", 'repository = "/elsewhere"')
    found = find_project(root / "src")
    assert found is not None
    assert found.settings.repository == "/backups"


@pytest.mark.skipif("__import__('os').geteuid() == 0", reason="root reads everything")
def test_a_file_that_can_not_be_read(root: Path, write: Write) -> None:
    write(root / "dfx.json", {}).chmod(0)
    with pytest.raises(ProjectError, match="Permission denied"):
        find_project(root)
