"""The driver that is chosen, and the reason why."""

from pathlib import Path

import pytest

from dfx_backup.drivers.choose import Choice, Situation, choose_driver
from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.environment import locate_dfx
from dfx_backup.drivers.features import ToolVersion
from dfx_backup.drivers.icp import IcpTool
from dfx_backup.errors import ToolError
from dfx_backup.model import DriverName


def tool(version: str) -> DfxTool:
    return DfxTool(binary="/bin/dfx", version=ToolVersion.parse(version), environment={})


def icp_tool(version: str) -> IcpTool:
    return IcpTool(binary="/bin/icp", version=ToolVersion.parse(version), environment={})


def situation(
    *,
    by_dfx: bool = False,
    dfx_json: bool = False,
    icp_yaml: bool = False,
    dfx: str | None = None,
    icp: str | None = None,
) -> Situation:
    found = None if dfx is None else tool(dfx)
    found_icp = None if icp is None else icp_tool(icp)
    return Situation(
        started_by_dfx=by_dfx,
        has_dfx_json=dfx_json,
        has_icp_yaml=icp_yaml,
        find_dfx=lambda: found,
        find_icp=lambda: found_icp,
    )


def names(choice: Choice) -> tuple[str, str]:
    return choice.driver.value, choice.reason


def test_the_users_word_comes_first() -> None:
    here = situation(by_dfx=True, dfx_json=True, dfx="0.32.0")
    assert names(choose_driver(DriverName.AGENT, here)) == ("agent", "`--driver agent` was given")
    chosen = choose_driver(DriverName.DFX, situation(dfx="0.25.0"))
    assert names(chosen) == ("dfx", "`--driver dfx` was given")
    assert chosen.dfx == tool("0.25.0")


def test_dfx_is_chosen_when_it_started_us_or_the_project_is_its_own() -> None:
    assert names(choose_driver(None, situation(by_dfx=True, dfx="0.32.0"))) == (
        "dfx",
        "dfx started this program",
    )
    assert names(choose_driver(None, situation(dfx_json=True, dfx="0.32.0"))) == (
        "dfx",
        "there is a dfx.json, and dfx was found",
    )


def test_else_the_agent_and_why() -> None:
    assert names(choose_driver(None, situation(dfx_json=True))) == ("agent", "dfx was not found")
    assert names(choose_driver(None, situation(dfx="0.32.0"))) == (
        "agent",
        "there is no dfx.json or icp.yaml",
    )
    assert names(choose_driver(None, situation(icp_yaml=True, dfx="0.32.0"))) == (
        "agent",
        "icp was not found",
    )


def test_icp_is_chosen_when_the_project_is_its_own() -> None:
    here = situation(icp_yaml=True, icp="1.5.0", dfx="0.32.0")
    assert names(choose_driver(None, here)) == ("icp", "there is an icp.yaml, and icp was found")
    assert choose_driver(None, here).icp == icp_tool("1.5.0")
    assert choose_driver(None, situation(dfx_json=True, icp="1.5.0")).driver is DriverName.AGENT
    by_dfx = situation(by_dfx=True, icp_yaml=True, icp="1.5.0", dfx="0.32.0")
    assert choose_driver(None, by_dfx).driver is DriverName.DFX


def test_icp_works_everywhere_when_it_is_asked_for() -> None:
    for here in (situation(icp="1.5.0"), situation(by_dfx=True, dfx_json=True, icp="1.5.0")):
        chosen = choose_driver(DriverName.ICP, here)
        assert names(chosen) == ("icp", "`--driver icp` was given")
        assert (chosen.icp, chosen.dfx) == (icp_tool("1.5.0"), None)


def test_tools_are_not_asked_when_it_does_not_matter() -> None:
    def never() -> None:
        raise AssertionError("a tool was asked for its version")

    alone = Situation(
        started_by_dfx=False,
        has_dfx_json=False,
        has_icp_yaml=False,
        find_dfx=never,
        find_icp=never,
    )
    assert choose_driver(None, alone).driver is DriverName.AGENT
    assert choose_driver(DriverName.AGENT, alone).driver is DriverName.AGENT


def test_a_missing_icp_is_refused_when_it_was_asked_for() -> None:
    with pytest.raises(ToolError, match="`icp` was not found") as caught:
        choose_driver(DriverName.ICP, situation(icp_yaml=True))
    assert "--driver agent" in (caught.value.hint or "")


@pytest.mark.parametrize("explicit", [DriverName.ICP, None])
def test_an_icp_that_is_too_old_is_refused_with_a_way_out(explicit: DriverName | None) -> None:
    with pytest.raises(ToolError, match=r"icp 1\.1\.0 is too old") as caught:
        choose_driver(explicit, situation(icp_yaml=True, icp="1.1.0"))
    assert "--driver agent" in (caught.value.hint or "")


@pytest.mark.parametrize("explicit", [DriverName.DFX, None])
def test_a_dfx_that_is_too_old_is_refused_with_a_way_out(explicit: DriverName | None) -> None:
    with pytest.raises(ToolError, match=r"dfx 0\.22\.0 is too old") as caught:
        choose_driver(explicit, situation(dfx_json=True, dfx="0.22.0"))
    assert "--driver agent" in (caught.value.hint or "")


def test_a_missing_dfx_is_refused_when_it_was_asked_for() -> None:
    with pytest.raises(ToolError, match="`dfx` was not found") as caught:
        choose_driver(DriverName.DFX, situation())
    assert "--driver agent" in (caught.value.hint or "")


def test_the_cache_of_the_dfx_that_started_us_comes_before_path(tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "bin"
    for folder in (cache, other):
        folder.mkdir()
        (folder / "dfx").write_text("#!/bin/sh\n")
        (folder / "dfx").chmod(0o755)
    assert locate_dfx(cache_path=str(cache), path=str(other)) == str(cache / "dfx")
    assert locate_dfx(cache_path=None, path=str(other)) == str(other / "dfx")
    (cache / "dfx").unlink()  # a version that was never installed into its cache
    assert locate_dfx(cache_path=str(cache), path=str(other)) == str(other / "dfx")
    assert locate_dfx(cache_path=str(cache), path="") is None
