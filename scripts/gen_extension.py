"""Write extension.json and dependencies.json anew, from the command tree.

dfx parses `dfx backup …` with extension.json before the program sees a word of it, and refuses to
run any command at all when a manifest has a field that it does not know. So each command declares
only that it takes everything: options, repeated options and `--help` reach the program untouched.
The tests compare; run this after a command was added, or its first line changed.
"""

import argparse
import inspect
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Command  # Typer keeps it to itself, and returns it

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from dfx_backup import __version__  # noqa: E402 - only now can it be found
from dfx_backup.cli.tree import tree  # noqa: E402 - the same

NAME = "backup"
DFX = ">=0.23.0"
"""The first dfx with canister snapshots, and the first that installs from a URL.

Its parsing of extensions is that of 0.32.0, with another version of clap. It leaves out what
follows the numbers of its own version before it compares: a beta counts as the release.
"""

CATCH_ALL = {
    "args": {"about": "Arguments and options; see --help", "values": "unlimited"},
    "help": {"about": "Show help", "long": "help", "short": "h", "values": 0},
}
"""What every command declares; `help` shadows the parser's own, so that the program's is shown."""


def manifest(
    *, homepage: str | None = None, download_url_template: str | None = None
) -> dict[str, object]:
    """The fields of extension.json, as dfx 0.23.0 and later know them.

    Args:
        homepage: where the project lives; that of pyproject.toml when not given.
        download_url_template: where dfx finds archives, with `{{tag}}`, `{{basename}}` and
            `{{archive-format}}`. It belongs into a manifest that is served, for `dfx extension
            install URL`; the installed one needs none.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    root = tree([])
    assert isinstance(root, TyperGroup)
    fields: dict[str, object] = {
        "name": NAME,
        "version": __version__,
        "homepage": homepage or project.get("urls", {}).get("Homepage", ""),
        "summary": _about(root),
        "categories": ["backup", "developer-tools"],
        "keywords": project["keywords"],
        "subcommands": _subcommands(root),
    }
    if download_url_template is not None:
        fields["download_url_template"] = download_url_template
    return fields


def dependencies(known: dict[str, object]) -> dict[str, object]:
    """The fields of dependencies.json: the versions of dfx for each version of ours.

    Args:
        known: what stands there already; versions released earlier stay.
    """
    found = known | {__version__: {"dfx": {"version": DFX}}}
    return dict(sorted(found.items(), key=lambda each: [int(part) for part in each[0].split(".")]))


def _subcommands(group: TyperGroup) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, command in group.commands.items():
        if command.hidden:
            continue
        below: dict[str, object] = (
            {"subcommands": _subcommands(command)}
            if isinstance(command, TyperGroup)
            else {"args": CATCH_ALL}
        )
        found[name] = {"about": _about(command), **below}
    return found


def _about(command: "Command") -> str:
    return inspect.cleandoc(command.help or "").splitlines()[0]


def texts(fields: dict[str, object] | None = None) -> dict[str, str]:
    """Both files, by name; the manifest as it is committed unless other fields are given."""
    known = json.loads((ROOT / "dependencies.json").read_text(encoding="utf-8"))
    both = {"extension.json": fields or manifest(), "dependencies.json": dependencies(known)}
    return {name: json.dumps(each, indent=2) + "\n" for name, each in both.items()}


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT, metavar="DIR", help="where to")
    parser.add_argument("--homepage", metavar="URL", help="where the project lives")
    parser.add_argument("--download-url-template", metavar="URL", help="where dfx finds archives")
    given = parser.parse_args()
    fields = manifest(homepage=given.homepage, download_url_template=given.download_url_template)
    for name, content in texts(fields).items():
        (given.output / name).write_text(content, encoding="utf-8")
        print(given.output / name)


if __name__ == "__main__":
    main()
