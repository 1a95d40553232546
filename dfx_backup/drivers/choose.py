"""Which driver a command uses, and the reason why, which every plan shows."""

from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.features import DfxFeature, require_dfx, require_icp
from dfx_backup.drivers.icp import IcpTool
from dfx_backup.errors import ToolError
from dfx_backup.model import DriverName


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A driver, and why it is this one.

    Attributes:
        driver: the one to use.
        reason: part of a sentence, to follow "because".
        dfx: the dfx to drive, for the dfx driver only.
        icp: the icp to drive, for the icp driver only.
    """

    driver: DriverName
    reason: str
    dfx: DfxTool | None = None
    icp: IcpTool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the choice depends on.

    Attributes:
        started_by_dfx: dfx started us, as its extension.
        has_dfx_json: the project is described by a dfx.json.
        has_icp_yaml: the project is described by an icp.yaml.
        find_dfx: finds dfx and asks for its version (see `probe_dfx`); called only when it matters.
        find_icp: the same for icp (see `probe_icp`).
    """

    started_by_dfx: bool
    has_dfx_json: bool
    has_icp_yaml: bool
    find_dfx: Callable[[], DfxTool | None]
    find_icp: Callable[[], IcpTool | None]


def choose_driver(explicit: DriverName | None, situation: Situation) -> Choice:
    """Choose the driver: the user's word first, then what is there.

    Raises:
        ToolError: the chosen tool is missing or too old.
    """
    match explicit:
        case DriverName.AGENT:
            return Choice(driver=DriverName.AGENT, reason="`--driver agent` was given")
        case DriverName.DFX:
            return _dfx(_required_dfx(situation), "`--driver dfx` was given")
        case DriverName.ICP:
            return _icp(_required_icp(situation), "`--driver icp` was given")
        case None:
            return _from_situation(situation)


def _from_situation(situation: Situation) -> Choice:
    if situation.started_by_dfx or situation.has_dfx_json:
        tool = situation.find_dfx()
        if tool is not None:
            by_dfx = "dfx started this program"
            here = "there is a dfx.json, and dfx was found"
            return _dfx(tool, by_dfx if situation.started_by_dfx else here)
        return Choice(driver=DriverName.AGENT, reason="dfx was not found")
    if situation.has_icp_yaml:
        icp = situation.find_icp()
        if icp is not None:
            return _icp(icp, "there is an icp.yaml, and icp was found")
        return Choice(driver=DriverName.AGENT, reason="icp was not found")
    return Choice(driver=DriverName.AGENT, reason="there is no dfx.json or icp.yaml")


def _icp(tool: IcpTool, reason: str) -> Choice:
    require_icp(tool.version)
    return Choice(driver=DriverName.ICP, reason=reason, icp=tool)


def _dfx(tool: DfxTool, reason: str) -> Choice:
    require_dfx(DfxFeature.SNAPSHOTS, tool.version)
    return Choice(driver=DriverName.DFX, reason=reason, dfx=tool)


def _required_dfx(situation: Situation) -> DfxTool:
    tool = situation.find_dfx()
    if tool is None:
        raise ToolError(
            "`dfx` was not found",
            hint="install dfx, or use `--driver agent`, which needs no dfx",
        )
    return tool


def _required_icp(situation: Situation) -> IcpTool:
    tool = situation.find_icp()
    if tool is None:
        raise ToolError(
            "`icp` was not found",
            hint="install icp, or use `--driver agent`, which needs no icp",
        )
    return tool
