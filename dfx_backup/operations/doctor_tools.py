"""Findings about programs: ours, dfx, icp, and our extension in dfx's caches."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.features import (
    ICP_SINCE,
    DfxFeature,
    dfx_can,
    dfx_lacks,
    icp_remark,
)
from dfx_backup.drivers.icp import IcpTool
from dfx_backup.errors import ToolError
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    catch,
    doubt,
    failed,
    failure,
    fine,
    unknown,
)
from dfx_backup.project.dfx_extensions import NAME, Extension, dfx_versions, extensions

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 13)
_PLATFORMS = ("linux", "darwin")
_AGAIN = (
    "run `make install-extension`, or `dfx extension install` with the release's extension.json"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What the program runs on, and with.

    Attributes:
        version: our own.
        python: the interpreter's, such as `3.12.4`.
        libc: name and version of the C library, such as `glibc 2.36`; empty when not known.
        platform: `sys.platform`.
        cache_root: where dfx keeps its versions.
        extras: our extras whose packages are installed.
    """

    version: str
    python: str
    libc: str
    platform: str
    cache_root: Path
    extras: frozenset[str]


EXTRAS = ("s3", "keyring", "replica")
"""Our extras: repositories in S3, identities in the system's keyring, the development replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An extra that this project's set-up needs.

    Attributes:
        extra: its name.
        why: what needs it.
        vital: nothing else does it instead.
    """

    extra: str
    why: str
    vital: bool


def program(here: Here) -> Finding:
    """The program, and what it runs on."""
    told = f"dfx-backup {here.version}, Python {here.python}, {here.libc or 'unknown C library'}"
    told = f"{told}, {here.platform}"
    if here.platform not in _PLATFORMS:
        return doubt(
            Topic.PROGRAM, f"{told}: not tried on this system", "use Linux, macOS, or WSL 2"
        )
    python = tuple(int(part) for part in re.findall(r"\d+", here.python)[:2])
    if not _OLDEST_PYTHON <= python <= _NEWEST_PYTHON:
        known = "{}.{} to {}.{}".format(*_OLDEST_PYTHON, *_NEWEST_PYTHON)
        return doubt(
            Topic.PROGRAM, f"{told}: tried with Python {known} only", "use one of these versions"
        )
    if here.platform == "linux" and not here.libc.startswith("glibc"):
        return doubt(
            Topic.PROGRAM,
            f"{told}: tried with glibc only",
            "when a library can't be loaded, use a distribution with glibc",
        )
    return fine(Topic.PROGRAM, told)


def extras(here: Here, needs: tuple[Need, ...]) -> list[Finding]:
    """What is installed of our extras; one finding each for what is missing and needed."""
    missing = [need for need in needs if need.extra not in here.extras]
    if not missing:
        told = [name for name in EXTRAS if name in here.extras]
        return [fine(Topic.EXTRAS, f"installed: {', '.join(told) or 'none, and none is needed'}")]
    found = []
    for need in missing:
        detail = f"{need.why} needs the extra `{need.extra}`, which is not installed"
        advice = f"`pip install 'dfx-backup[{need.extra}]'`"
        if need.vital:
            found.append(failure(Topic.EXTRAS, detail, advice, exit_code=ToolError.exit_code))
        else:
            found.append(doubt(Topic.EXTRAS, detail, advice))
    return found


def dfx(find: Callable[[], DfxTool | None]) -> tuple[Finding, DfxTool | None]:
    """dfx, and what it lacks for us."""
    tool, trouble = catch(find)
    if trouble is not None:
        return unknown(Topic.DFX, trouble), None
    if tool is None:
        return fine(Topic.DFX, "not found, and not needed unless the driver says so"), None
    told = f"dfx {tool.version} at {tool.binary}"
    lacks = dfx_lacks(tool.version)
    if not lacks:
        return fine(Topic.DFX, told), tool
    told = f"{told}; it can't yet {'; '.join(lacks)}"
    if dfx_can(DfxFeature.TRANSFERS, tool.version):
        return fine(Topic.DFX, told), tool
    advice = "upgrade dfx, or use `--driver agent`, which needs none"
    return doubt(Topic.DFX, told, advice), tool


def icp(find: Callable[[], IcpTool | None]) -> Finding:
    """icp, and whether it can be driven."""
    tool, trouble = catch(find)
    if trouble is not None:
        return unknown(Topic.ICP, trouble)
    if tool is None:
        return fine(Topic.ICP, "not found, and not needed unless the driver says so")
    told = f"icp {tool.version} at {tool.binary}"
    if tool.version < ICP_SINCE:
        return doubt(
            Topic.ICP,
            f"{told}; {ICP_SINCE} is the oldest that can be driven",
            "upgrade icp, or use `--driver agent`, which needs none",
        )
    remark = icp_remark(tool.version)
    return fine(Topic.ICP, f"{told}; {remark}" if remark else told)


def installed(here: Here, tool: DfxTool | None) -> list[Finding]:
    """Our extension in dfx's caches, and manifests there with which dfx does not start."""
    found = extensions(here.cache_root)
    broken = [each for each in found if each.problem is not None]
    told = f"{len(found)} below {here.cache_root}, each with a manifest that dfx can read"
    none = f"no extension is installed below {here.cache_root}"
    manifests = [_broken(each) for each in broken]
    manifests = manifests or [fine(Topic.MANIFESTS, told if found else none)]
    return [*manifests, _ours(here, tool, found)]


def _broken(extension: Extension) -> Finding:
    return failure(
        Topic.MANIFESTS,
        f"{extension.folder}: {extension.problem}; until this is mended every command of"
        f" dfx {extension.dfx} fails",
        f"remove the folder {extension.folder}, or install that extension anew",
        exit_code=ToolError.exit_code,
    )


def _ours(here: Here, tool: DfxTool | None, found: tuple[Extension, ...]) -> Finding:
    ours = {each.dfx: each for each in found if each.name == NAME}
    idle = [each for each in ours.values() if not each.runs]
    if idle:
        program = idle[0].folder / NAME
        return failed(
            Topic.EXTENSION,
            ToolError(f"{program} is missing, or may not be started", hint=_AGAIN),
        )
    where = ", ".join(f"dfx {each.dfx} ({each.version})" for each in ours.values())
    if tool is None:
        versions = dfx_versions(here.cache_root)
        if versions and not ours:
            return doubt(Topic.EXTENSION, f"not installed for dfx {', '.join(versions)}", _AGAIN)
        return fine(Topic.EXTENSION, f"installed for {where}" if ours else "there is no dfx")
    mine = ours.get(str(tool.version))
    if mine is None:
        others = f"; it is for {where}" if ours else ""
        return doubt(
            Topic.EXTENSION,
            f"not installed for dfx {tool.version}, so that `dfx backup` is unknown to it{others}",
            f"{_AGAIN}; each version of dfx has its own",
        )
    if mine.version != here.version:
        return doubt(
            Topic.EXTENSION,
            f"dfx {tool.version} has version {mine.version}, and this is {here.version}",
            _AGAIN,
        )
    return fine(Topic.EXTENSION, f"installed for {where}")
