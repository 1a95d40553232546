"""`--version`: this program, and the ones that it would drive."""

from dfx_backup import __version__
from dfx_backup.cli import text
from dfx_backup.cli.context import Surroundings
from dfx_backup.cli.output import Report
from dfx_backup.drivers.environment import locate, locate_dfx
from dfx_backup.errors import ToolError

_TIMEOUT_S = 3.0
"""A tool that takes longer to tell its version is broken."""


def is_asked(argv: list[str]) -> bool:
    """The line asks for the version, and for nothing else."""
    return "--version" in argv and set(argv) <= {"--version", "--json"}


def report(surroundings: Surroundings) -> Report:
    """Our version, and those of dfx and icp; a tool that fails is told, and no failure of ours."""
    tools = [_tool(name, surroundings) for name in ("dfx", "icp")]
    lines = [f"dfx-backup {__version__}", *(_line(tool) for tool in tools)]
    return Report(data={"version": __version__, "tools": tools}, lines=tuple(lines))


def _line(tool: dict[str, str | None]) -> str:
    if tool["path"] is None:
        return f"{tool['name']} not found"
    return f"{tool['name']} {tool['version'] or tool['problem']} ({tool['path']})"


def _tool(name: str, surroundings: Surroundings) -> dict[str, str | None]:
    found = _locate(name, surroundings)
    version, problem = (None, None) if found is None else _ask(found, surroundings)
    return {
        "name": name,
        "version": version,
        "path": None if found is None else text.clean(found),
        "problem": problem,
    }


def _locate(name: str, surroundings: Surroundings) -> str | None:
    path = surroundings.environment.get("PATH", "")
    if name != "dfx":
        return locate(name, path=path)
    cache = surroundings.cache_path
    return locate_dfx(cache_path=None if cache is None else str(cache), path=path)


def _ask(program: str, surroundings: Surroundings) -> tuple[str | None, str | None]:
    """Its version, or what is wrong with it."""
    from dfx_backup.drivers import process
    from dfx_backup.drivers.environment import child_environment
    from dfx_backup.drivers.features import ToolVersion

    try:
        done = process.run(
            [program, "--version"],
            env=child_environment(surroundings.environment),
            timeout_s=_TIMEOUT_S,
            patience=process.Patience(grace_s=0.5, interrupt_s=0.0),
        )
        return str(ToolVersion.parse(done.check().stdout)), None
    except process.ProgramTimedOutError:
        return None, f"tells no version within {_TIMEOUT_S:g} s"
    except ToolError:
        return None, "tells no version"
