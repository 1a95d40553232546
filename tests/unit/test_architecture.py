"""The rules of CONTRIBUTING.md that neither ruff nor import-linter can see."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "dfx_backup"
FILES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(source) for name, source in FILES.items()}

PROGRAMS = re.compile(
    r"(subprocess|multiprocessing|pty|pexpect)(\.|$)|asyncio\.(create_)?subprocess"
    r"|os\.(system|popen|fork|forkpty|openpty|exec[lv]|spawn[lv]|posix_spawn)"
)
ENDS = re.compile(r"(sys\.exit|os\._exit|SystemExit|exit|quit|signal\.raise_signal)$")
SURROUNDINGS = re.compile(
    r"os\.(environb?|getenvb?|putenv|getcwdb?|chdir|isatty|getlogin)$"
    r"|pathlib\.Path\.(cwd|home)$|sys\.(argv|stdin|stdout|stderr)$|(input|getpass\.getpass)$"
)
TIME = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|sleep)$"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)$"
)
CHANCE = re.compile(r"random\.(?!Random$)\w+$|os\.u?random$|secrets\.\w+$|uuid\.uuid[14]$")

# What a rule allows, each with its reason.
STARTS_PROGRAMS = {
    "drivers/process.py",  # the one that starts them
    "drivers/terminal.py",  # speaks to what that one has started
}
ENDS_THE_PROGRAM = {"__main__.py", "replica/__main__.py"}
READS_SURROUNDINGS = {
    "__main__.py",  # hands its words to `main`
    "cli/context.py",  # the one that reads them
    "replica/__main__.py",  # a program of its own
}
READS_CLOCKS = {
    "cli/context.py",  # the one that reads them
    "drivers/process.py",  # the time-outs of real programs are real time
    "drivers/terminal.py",  # the same
    "repository/local.py",  # ages of files, by the same machine's clock, unless told
}
READS_CHANCE = {
    "ic/surroundings.py",  # the default of a parameter
}
MAY_CHANGE = {
    "Contents",  # a folder as it is being read
    "PackTotals",  # counters
    "Session",  # what a command finds out about itself on the way
    "Survey",  # counters
    "_Rule",  # counters
    "_Tally",  # counters
}


def imported(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for, dotted."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                full = each.name if each.asname else each.name.partition(".")[0]
                found[each.asname or full] = full
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for each in node.names:
                found[each.asname or each.name] = f"{node.module}.{each.name}"
    return found


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of a chain of attributes, or None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def names_in(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The full name of everything that a module imports, uses or calls; whether it is called."""
    known = imported(tree)
    for full in known.values():
        yield full, False
    for node in ast.walk(tree):
        call = isinstance(node, ast.Call)
        told = dotted(node.func if isinstance(node, ast.Call) else node)
        if told is not None:
            first, dot, rest = told.partition(".")
            yield known.get(first, first) + dot + rest, call


NAMES = {name: set(names_in(tree)) for name, tree in TREES.items()}


def found(names: set[tuple[str, bool]], rule: str) -> set[str]:
    """What of a module's names the rule is about."""
    pattern, calls_only, _ = RULES[rule]
    return {name for name, call in names if (call or not calls_only) and pattern.match(name)}


RULES = {
    "programs": (PROGRAMS, False, STARTS_PROGRAMS),
    "ends": (ENDS, True, ENDS_THE_PROGRAM),
    "surroundings": (SURROUNDINGS, False, READS_SURROUNDINGS),
    "time": (TIME, True, READS_CLOCKS),  # what is not called is handed on as a parameter
    "chance": (CHANCE, True, READS_CHANCE),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_has_its_place(rule: str) -> None:
    allowed = RULES[rule][2]
    # The replica stands apart: it has clocks and keys of its own, but starts no programs.
    apart = ("replica/",) if rule in ("time", "chance") else ()
    names = [name for name in FILES if not name.startswith(apart)]
    hits = {name: told for name in names if (told := found(NAMES[name], rule))}

    assert {name: told for name, told in hits.items() if name not in allowed} == {}
    assert allowed <= set(hits), "an exception that is no longer needed"


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("programs", "from subprocess import run as go\ngo()"),
        ("programs", "import os as o\no.system('x')"),
        ("programs", "import os\nos.execvp('x', [])"),
        ("ends", "import sys\nsys.exit(1)"),
        ("ends", "raise SystemExit(3)"),
        ("surroundings", "from os import environ as e\ne['HOME']"),
        ("surroundings", "from pathlib import Path\nPath.cwd()"),
        ("time", "from time import sleep\nsleep(1)"),
        ("time", "from datetime import datetime\ndatetime.now()"),
        ("chance", "import secrets\nsecrets.token_bytes(8)"),
    ],
)
def test_the_rules_see(rule: str, source: str) -> None:
    assert found(set(names_in(ast.parse(source))), rule)


def test_the_rules_let_parameters_pass() -> None:
    source = "import time, random\ndef f(clock=time.time):\n  return random.Random(1), clock()"
    names = set(names_in(ast.parse(source)))

    assert found(names, "time") == found(names, "chance") == set()


def dataclasses() -> Iterator[tuple[str, str, dict[str, bool]]]:
    """Every dataclass outside of the replica: its module, its name, its words."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or name.startswith("replica/"):
                continue
            for each in node.decorator_list:
                call = each if isinstance(each, ast.Call) else ast.Call(each, [], [])
                if dotted(call.func) in ("dataclass", "dataclasses.dataclass"):
                    words = {
                        word.arg: isinstance(word.value, ast.Constant) and word.value.value is True
                        for word in call.keywords
                        if word.arg
                    }
                    yield name, node.name, words


def test_values_are_frozen_and_slotted() -> None:
    classes = list(dataclasses())
    loose = {
        name
        for _, name, words in classes
        if not (words.get("slots") and (words.get("frozen") or name in MAY_CHANGE))
    }

    assert len(classes) > 100, "the search found too little: it has to be mended"
    assert loose == set()
    assert {name for _, name, words in classes if not words.get("frozen")} == MAY_CHANGE


def test_values_at_the_edges_take_keywords_only() -> None:
    # In `ic`, small values such as principals and types are built by position everywhere.
    positional = {
        (module, name)
        for module, name, words in dataclasses()
        if not words.get("kw_only") and not module.startswith("ic/")
    }

    assert positional == {("drivers/features.py", "ToolVersion")}  # 1.2.3 reads by position


def test_every_exception_to_a_check_has_its_reason_on_the_line() -> None:
    bare = re.compile(r"#\s*(noqa|type:\s*ignore)(?!(: [A-Z0-9, ]+|\[[\w, -]+\])\s*(-|#)\s*\S)")
    without = [
        f"{name}:{number}: {line.strip()}"
        for name, source in FILES.items()
        for number, line in enumerate(source.splitlines(), start=1)
        if bare.search(line)
    ]

    assert without == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}

    assert [name for name in FILES if drawers & set(Path(name).with_suffix("").parts)] == []


def test_nothing_is_written_in_place() -> None:
    """A file is written beside its name and moved there; `files.py` and the stores do it."""
    writes = re.compile(r"\.(write_text|write_bytes)\(|\bopen\([^)]*[\"'][wa]b?\+?[\"']")
    hits = {
        name
        for name, source in FILES.items()
        if not name.startswith("replica/") and writes.search(source)
    }

    assert hits == {"operations/folder_way.py"}  # in a scratch folder of its own


def test_only_tests_of_the_package_have_no_packages() -> None:
    """The top-level package of ic-py is called `ic`: one of ours would hide it."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []
