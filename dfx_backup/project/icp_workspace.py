"""Workspaces of icp-cli: a project, and those that it names in `dependencies`, deployed together.

A name of a canister is its own in the workspace's root, and `FOLDER:NAME` in a dependency, where
the folder is relative to the root.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dfx_backup.errors import ProjectError
from dfx_backup.project.document import Node, is_file
from dfx_backup.project.icp_yaml import (
    FILE_NAME,
    IcpConfig,
    canister_name,
    load_yaml,
    read_icp_yaml,
)

_CANISTER_FILE: Final = "canister.yaml"
_GLOB_SIGNS: Final = "*?[{"
_MAX_PROJECTS: Final = 1000


def workspace_root(member: Path) -> Path:
    """The outermost project that deploys this one: icp-cli keeps all ids there.

    As icp-cli does, go up from project to project as long as the next one names the member among
    its dependencies, or theirs; an icp.yaml above that can't be read names none.

    Args:
        member: the nearest folder with an icp.yaml, without symbolic links.
    """
    root = member
    for folder in member.parents:
        if not is_file(folder / FILE_NAME):
            continue
        if member not in _reached(folder):
            break
        root = folder
    return root


def canister_names(config: IcpConfig) -> tuple[str, ...]:
    """Names of all canisters of a workspace, in the order of its files.

    Args:
        config: the icp.yaml of its root.

    Raises:
        ProjectError: a manifest is bad or missing, or a name stands twice.
    """
    names: dict[str, None] = {}
    root = config.file.parent.resolve()
    for folder, project in _projects(config):
        prefix = "" if folder == root else os.path.relpath(folder, root) + ":"
        for own in _own_names(project):
            name = prefix + own
            if name in names:
                raise ProjectError(f"{project.file} has two canisters of the name {name!r}")
            names[name] = None
    return tuple(names)


def _reached(folder: Path) -> set[Path]:
    """Folders of all dependencies, near and far; what can't be read has none."""
    found: set[Path] = set()
    waiting = [folder]
    while waiting and len(found) < _MAX_PROJECTS:
        for dependency in _probe(waiting.pop()):
            if dependency not in found:
                found.add(dependency)
                waiting.append(dependency)
    return found


def _probe(folder: Path) -> list[Path]:
    try:
        top = load_yaml(folder / FILE_NAME)
        listed = [] if top is None else top.at("dependencies").nodes()
        return [(folder / each.at("path").text()).resolve() for each in listed]
    except (ProjectError, OSError, RuntimeError):
        return []


def _projects(config: IcpConfig) -> Iterator[tuple[Path, IcpConfig]]:
    """The workspace's root and every project below it, once each, depth first."""
    seen: set[Path] = set()
    waiting = [config]
    while waiting:
        project = waiting.pop()
        folder = project.file.parent.resolve()
        if folder in seen:
            continue
        seen.add(folder)
        if len(seen) > _MAX_PROJECTS:
            raise ProjectError(f"{config.file} leads to more than {_MAX_PROJECTS} projects")
        yield folder, project
        waiting += [
            read_icp_yaml(_there(project.file.parent / each.path / FILE_NAME, project, each.name))
            for each in reversed(project.dependencies)
        ]


def _there(file: Path, project: IcpConfig, alias: str) -> Path:
    if not is_file(file):
        raise ProjectError(
            f"{project.file}: the dependency {alias!r} is not there: no {str(file)!r}"
        )
    return file


def _own_names(config: IcpConfig) -> Iterator[str]:
    for node in config.canisters:
        if isinstance(node.value, str):
            for file in _manifests(config.file.parent, node):
                top = load_yaml(file)
                if top is None:
                    raise node.error(f"names a folder without {_CANISTER_FILE}")
                yield canister_name(top)
        else:
            yield canister_name(node)


def _manifests(folder: Path, node: Node) -> list[Path]:
    """Files that an entry means: a folder's, or those of all folders that match a pattern."""
    pattern = str(folder / node.text())
    if not any(sign in node.text() for sign in _GLOB_SIGNS):
        return [Path(pattern) / _CANISTER_FILE]
    # Not Path.glob, which refuses patterns that begin at the root of the file system.
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 # see above
    return [file for each in matches if is_file(file := Path(each) / _CANISTER_FILE)]
