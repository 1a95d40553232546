"""Finding the project: the nearest dfx.json or icp.yaml at or above the user's folder."""

import enum
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import ProjectError
from dfx_backup.model import DriverName
from dfx_backup.project import dfx_json, icp_yaml, settings
from dfx_backup.project.dfx_json import DfxConfig, read_dfx_json
from dfx_backup.project.document import is_file
from dfx_backup.project.icp_workspace import workspace_root
from dfx_backup.project.icp_yaml import IcpConfig, read_icp_yaml
from dfx_backup.project.settings import Settings, read_settings


class ProjectKind(enum.StrEnum):
    """Whose project it is."""

    DFX = "dfx"
    ICP = "icp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a project is, before anything in it was read.

    Attributes:
        root: its folder, without symbolic links.
        kind: which of the two files counts.
    """

    root: Path
    kind: ProjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project on disk.

    Attributes:
        root: its folder, without symbolic links.
        kind: whose project it is.
        dfx: what dfx.json says; None for a project of icp-cli.
        settings: what dfx-backup.toml in the same folder says.
        icp: what icp.yaml says; None for a project of dfx.
    """

    root: Path
    kind: ProjectKind
    dfx: DfxConfig | None
    settings: Settings
    icp: IcpConfig | None = None


def locate_project(start: Path, *, driver: DriverName | None = None) -> Location | None:
    """Find the nearest folder at or above `start` that holds dfx.json or icp.yaml.

    For an icp.yaml that others name among their dependencies, it is the outermost of these.

    Args:
        start: where the user typed the command.
        driver: the driver that the user asked for; `dfx` and `icp` decide where both files are.

    Raises:
        ProjectError: both files are in that folder and the driver does not decide.
    """
    try:
        here = start.resolve()
    except (OSError, RuntimeError):
        raise ProjectError(f"{start} can't be followed to a folder") from None
    for root in (here, *here.parents):
        found = [
            kind
            for kind, name in (
                (ProjectKind.DFX, dfx_json.FILE_NAME),
                (ProjectKind.ICP, icp_yaml.FILE_NAME),
            )
            if is_file(root / name)
        ]
        if found:
            kind = _decide(root, found, driver)
            return Location(
                root=workspace_root(root) if kind is ProjectKind.ICP else root, kind=kind
            )
    return None


def find_project(start: Path, *, driver: DriverName | None = None) -> Project | None:
    """Find the project and read it; None when there is none, which is fine for principals.

    Args:
        start: where the user typed the command.
        driver: the driver that the user asked for; `dfx` and `icp` decide where both files are.

    Raises:
        ProjectError: it is not clear which project is meant, or one of its files is bad; the
            message names file, key and reason.
    """
    location = locate_project(start, driver=driver)
    if location is None:
        return None
    root = location.root
    is_dfx = location.kind is ProjectKind.DFX
    return Project(
        root=root,
        kind=location.kind,
        dfx=read_dfx_json(root / dfx_json.FILE_NAME) if is_dfx else None,
        settings=read_settings(root / settings.FILE_NAME),
        icp=None if is_dfx else read_icp_yaml(root / icp_yaml.FILE_NAME),
    )


def _decide(root: Path, found: list[ProjectKind], driver: DriverName | None) -> ProjectKind:
    if len(found) == 1:
        return found[0]
    if driver is DriverName.DFX:
        return ProjectKind.DFX
    if driver is DriverName.ICP:
        return ProjectKind.ICP
    raise ProjectError(
        f"{root} holds both {dfx_json.FILE_NAME} and {icp_yaml.FILE_NAME}",
        hint="Say which project is meant: --driver dfx or --driver icp.",
    )
