"""Command lines of extensions, and what dfx does with each; put to the stand-in and to clap itself.

`MANIFESTS` are what may be installed as `backup`; a `Row` names one of them. The table stands in
for the documentation that dfx does not have.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.dfx.clap import HelpError, UsageError, VersionError
from tests.fakes.dfx.extension import Run, route
from tests.fakes.dfx.manifest import Manifest, parse
from tests.fakes.dfx.shell import DfxError

REPOSITORY = Path(__file__).resolve().parents[3]
_HELP = {"about": "Show help", "long": "help", "short": "h", "values": 0}
_ALL = {"about": "All", "values": "unlimited"}


def _manifest(**subcommands: Any) -> str:
    fields = {
        "name": "backup",
        "version": "0.1.0",
        "homepage": "",
        "summary": "A summary.",
        "categories": [],
    }
    return json.dumps(fields | ({"subcommands": subcommands} if subcommands else {}))


def _leaf(**args: Any) -> dict[str, Any]:
    return {"about": "Do it.", "args": args}


def _option(values: object, **more: Any) -> dict[str, Any]:
    return {"about": "An option", "values": values} | more


MANIFESTS = {
    "ours": (REPOSITORY / "extension.json").read_text(encoding="utf-8"),
    "nothing": _manifest(),
    "bare": _manifest(create=_leaf(), any=_leaf()),
    "one": _manifest(create=_leaf(canister=_option(1))),
    "all": _manifest(create=_leaf(args=_ALL)),
    "options": _manifest(
        create=_leaf(
            canister=_option(1),
            net=_option(1, long="net"),
            pair=_option(2, long="pair", short="p"),
            some=_option("1..3", long="some"),
            tag=_option("unlimited", long="tag"),
            word=_option(1, long="word"),
        )
    ),
    "options and all": _manifest(create=_leaf(args=_ALL, tag=_option(1, long="tag"))),
    "several": _manifest(create=_leaf(a=_option(1), b=_option("unlimited"), c=_option(1))),
    "own identity": _manifest(
        create=_leaf(args=_ALL, identity=_option(1, long="identity"), help=_HELP)
    ),
}
"""Manifests by a name: ours, and some that show why ours is as it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line after `dfx`, and what comes of it: what the extension gets, or words of dfx's own.

    `outcome` is a list of arguments; a text that begins with `error:` (code 2); a text that
    begins with `Usage:` (a help, code 0).
    """

    manifest: str
    line: str
    outcome: str | tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        return self.line.split()


def passed(words: str = "") -> tuple[str, ...]:
    return tuple(words.split())


TWICE = "cannot be used multiple times"
ROWS = (
    # what a manifest without arguments lets through
    Row("bare", "backup", passed()),
    Row("bare", "backup --help", "Usage: dfx backup"),
    Row("bare", "backup -h", "Usage: dfx backup"),
    Row("bare", "backup help", "Usage: dfx backup"),
    Row("bare", "backup help create", "Usage: dfx backup create"),
    Row("bare", "help backup", "Usage: dfx backup"),
    Row("bare", "help backup create", "Usage: dfx backup create"),
    Row("bare", "backup create --help", "Usage: dfx backup create"),
    Row("bare", "backup create", passed("create")),
    Row("bare", "backup nope", "error: unrecognized subcommand 'nope'"),
    Row("bare", "backup help nope", "error: unrecognized subcommand 'nope'"),
    Row("bare", "backup create --bogus", "error: unexpected argument '--bogus' found"),
    Row("bare", "backup create -x", "error: unexpected argument '-x' found"),
    Row("bare", "backup create x", "error: unexpected argument 'x' found"),
    Row("bare", "backup any -- --help", "error: unexpected argument '--help' found"),
    Row("bare", "backup --version", "error: unexpected argument '--version' found"),
    Row("nothing", "backup", passed()),
    Row("nothing", "backup create", "error: unexpected argument 'create' found"),
    Row("nothing", "backup --help", "Usage: dfx backup"),
    # one positional: a hyphen in its value hides what comes next, but only one word fits
    Row("one", "backup create foo", passed("create foo")),
    Row("one", "backup create --bogus", passed("create --bogus")),
    Row("one", "backup create --help", "Usage: dfx backup create"),
    Row("one", "backup create foo bar", "error: unexpected argument 'bar' found"),
    # positionals come in the order of their names
    Row("several", "backup create 1 2 3", passed("create 1 2 3")),
    Row("several", "backup create --help", "Usage: dfx backup create"),
    # a catch-all without a help of its own
    Row("all", "backup create --help", "Usage: dfx backup create"),
    Row("all", "backup create foo --help", passed("create foo --help")),
    Row("all", "backup create --bogus", passed("create --bogus")),
    Row("all", "backup create --bogus --help", passed("create --bogus --help")),
    Row("all", "backup create --tag a --tag b", passed("create --tag a --tag b")),
    # declared options
    Row("options", "backup create --net ic", passed("create --net ic")),
    Row("options", "backup create --net=ic", passed("create --net=ic")),
    Row("options", "backup create --net -ic", passed("create --net -ic")),
    Row("options", "backup create --net", "error: a value is required for '--net <net>'"),
    Row("options", "backup create --net a --net b", f"error: the argument '--net <net>' {TWICE}"),
    Row("options", "backup create --tag a --tag b", passed("create --tag a --tag b")),
    Row("options", "backup create --word a b", passed("create --word a b")),
    Row("options", "backup create --pair a", "error: 2 values required for '--pair <pair> <pair>'"),
    Row("options", "backup create --pair a b c", passed("create --pair a b c")),
    Row("options", "backup create -p a b", passed("create -p a b")),
    Row("options", "backup create --some", "error: a value is required for '--some <some>...'"),
    Row("options", "backup create --some a b c", passed("create --some a b c")),
    Row(
        "options and all",
        "backup create --tag a --tag b",
        f"error: the argument '--tag <tag>' {TWICE}",
    ),
    Row("options and all", "backup create x --tag a --tag b", passed("create x --tag a --tag b")),
    Row("options and all", "backup create --tag", "error: a value is required for '--tag <tag>'"),
    # ours: a catch-all, and a help of its own that hides the parser's
    Row("ours", "backup", passed()),
    Row("ours", "backup --help", "Usage: dfx backup"),
    Row("ours", "backup snapshot --help", "Usage: dfx backup snapshot"),
    Row("ours", "backup snapshot", passed("snapshot")),
    Row("ours", "backup help snapshot create", "Usage: dfx backup snapshot create"),
    Row("ours", "backup create --help", passed("create --help")),
    Row("ours", "backup create -h", passed("create -h")),
    Row("ours", "backup create foo --help", passed("create foo --help")),
    Row("ours", "backup snapshot create --help", passed("snapshot create --help")),
    Row("ours", "backup snapshot bogus", "error: unrecognized subcommand 'bogus'"),
    Row("ours", "backup --json", "error: unexpected argument '--json' found"),
    Row("ours", "backup snapshot --json list", "error: unexpected argument '--json' found"),
    Row("ours", "backup create --tag a --tag b", passed("create --tag a --tag b")),
    Row("ours", "backup create --tag -x", passed("create --tag -x")),
    Row("ours", "backup create --tag=-x chat", passed("create --tag=-x chat")),
    Row("ours", "backup create -- -x", passed("create -- -x")),
    Row("ours", "backup create -- --help", passed("create -- --help")),
    Row("ours", "backup create chat -- --help", passed("create chat -- --help")),
    Row("ours", "backup create -5", passed("create -5")),
    Row("ours", "backup create create", passed("create create")),
    Row("ours", "backup create help", passed("create help")),
    Row("ours", "backup create backup", passed("create backup")),
    Row("ours", "backup -- create", "error: unexpected argument 'create' found"),
    Row("ours", "backup create --dry-run --json --yes", passed("create --dry-run --json --yes")),
    # global options before the command are swallowed; behind its first word they are passed on
    Row("ours", "--identity al backup create x", passed("create x")),
    Row("ours", "--identity=al -v backup create x", passed("create x")),
    Row("ours", "-qv backup create x", passed("create x")),
    Row("ours", "--log tee --logfile f backup create", passed("create")),
    Row("ours", "backup --identity al create x", passed("create x")),
    Row("ours", "backup -v create", passed("create")),
    Row(
        "ours", "backup snapshot --identity al create x", passed("snapshot --identity al create x")
    ),
    Row("ours", "backup create --identity al x", passed("create --identity al x")),
    Row("ours", "backup create x --identity al", passed("create x --identity al")),
    Row("ours", "backup create --identity=al x", passed("create --identity=al x")),
    Row("ours", "backup create x -v", passed("create x -v")),
    Row("ours", "backup create -v", passed("create -v")),
    Row("ours", "backup create -vv --quiet", passed("create -vv --quiet")),
    Row("ours", "--identity a backup create --identity b", passed("create --identity b")),
    Row("ours", "--identity a backup --identity b create", passed("create")),
    Row(
        "ours",
        "backup create x --identity a --identity b",
        passed("create x --identity a --identity b"),
    ),
    Row("ours", "backup create x --log weird", passed("create x --log weird")),
    Row("ours", "backup create --log weird", "error: invalid value 'weird' for '--log <LOGMODE>'"),
    Row(
        "ours", "backup create --verbose=3", "error: unexpected value '3' for '--verbose...' found"
    ),
    Row(
        "ours",
        "backup create --identity a --identity b",
        f"error: the argument '--identity <IDENTITY>' {TWICE}",
    ),
    Row("ours", "backup create --help --help", f"error: the argument '--help' {TWICE}"),
    Row(
        "ours", "backup create --identity", "error: a value is required for '--identity <IDENTITY>'"
    ),
    Row("ours", "--identity backup backup create", "error: unrecognized subcommand 'run'"),
    Row("ours", "--bogus backup create", "error: unexpected argument '--bogus' found"),
    Row("own identity", "backup create --identity al x", passed("create --identity al x")),
    Row("own identity", "--identity al backup create x", passed("create x")),
    # `extension run` goes past the manifest
    Row("ours", "extension run backup", passed()),
    Row("ours", "extension run backup bogus --whatever", passed("bogus --whatever")),
    Row(
        "ours", "extension run backup create --whatever --help", passed("create --whatever --help")
    ),
    Row("ours", "extension run backup --help", "Usage: dfx extension run"),
    Row("ours", "extension run backup -v create", passed("create")),
    Row("ours", "extension run backup --identity al create", passed("create")),
    Row("ours", "extension run -v backup create", passed("create")),
    Row("ours", "extension run backup --bogus create", passed("--bogus create")),
    Row("ours", "extension run backup create -- --help", passed("create -- --help")),
    Row("ours", "extension run", "error: the following required arguments were not provided:"),
)
"""Every line of note; the tests of the stand-in and of the judge run over all of them."""


def outcome(manifest: str, argv: list[str]) -> str | tuple[str, ...]:
    """What the stand-in makes of a line, in the terms of a `Row`.

    The text of an error is its first line, that of a help its `Usage` line's beginning.
    """
    try:
        found = route(_installed(manifest), argv)
    except UsageError as err:
        return str(err).splitlines()[0]
    except HelpError as err:
        return "error: help" if err.code else f"Usage: {' '.join(err.words)}"
    except VersionError:
        return "version"
    except DfxError as err:
        return f"panic: {err}"
    assert found is None or isinstance(found, Run), found
    return "builtin" if found is None else tuple(found.passed)


def _installed(manifest: str) -> dict[str, Manifest]:
    return {"backup": parse(MANIFESTS[manifest]).named("backup")}
