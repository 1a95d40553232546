"""Completion in real shells: bash always, zsh and fish where they are installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from dfx_backup.cli.app import main
from dfx_backup.cli.completion_scripts import Node, nodes
from tests.fakes.stage import Stage

PATIENCE_S = 60
SHELLS = ("bash", "zsh", "fish")
NODES = nodes()


def at(path: str) -> Node:
    [found] = [node for node in NODES if node.path == path]
    return found


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three scripts, in the shells' own names."""
    folder = tmp_path_factory.mktemp("scripts")
    stage = Stage(folder)
    for shell, name in zip(SHELLS, ("bash", "_dfx-backup", "dfx-backup.fish"), strict=True):
        assert stage.run("completion", shell) == 0
        (folder / name).write_text(stage.stdout)
    return folder


def require(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def bash_words(scripts: Path, *words: str) -> list[str]:
    """What bash's own machinery is offered for the last of the words."""
    line = " ".join(f"'{word}'" for word in ("dfx-backup", *words))
    code = (
        f"source {scripts / 'bash'}; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
        ' _dfx_backup; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    argv = [require("bash"), "--norc", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.path or "root")
def test_bash_offers_what_the_tree_has(scripts: Path, node: Node) -> None:
    wanted = [name for name, _ in node.below] or [each.name for each in node.options]

    assert bash_words(scripts, *node.path.split(), "") == wanted


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sn",), ["snapshot"]),
        (("snapshot", "lo"), ["load"]),
        (("create", "chat", "--le"), ["--leave-stopped"]),
        (("create", "--driver", ""), ["dfx", "icp", "agent"]),
        (("create", "--driver", "=", "ag"), ["agent"]),
        (("create", "--driver", "="), ["dfx", "icp", "agent"]),
        (("create", "list", "--tag", ""), []),  # a canister may be called like a command
        (("export", "latest", "fold"), []),  # bash completes files
        (("nonsense", "--net"), []),
    ],
)
def test_bash_in_the_middle_of_a_line(
    scripts: Path, words: tuple[str, ...], offered: list[str]
) -> None:
    assert bash_words(scripts, *words) == offered


@pytest.fixture
def typing(scripts: Path, tmp_path: Path) -> Iterator["pexpect.spawn[str]"]:
    """An interactive bash that has read its script."""
    (tmp_path / "password-file").touch()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb", "PS1": "> "}
    env["INPUTRC"] = "/dev/null"
    words = ["--norc", "--noprofile", "-i"]
    around = {"env": env, "cwd": str(tmp_path), "dimensions": (24, 300)}
    child = pexpect.spawn(require("bash"), words, encoding="utf-8", timeout=PATIENCE_S, **around)
    child.sendline(
        f"bind 'set enable-bracketed-paste off'; source {scripts / 'bash'}; echo re''ady"
    )
    child.expect("ready")
    yield child
    child.close(force=True)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            "dfx-backup snap\tlo\tchat --skip\t",
            "dfx-backup snapshot load chat --skip-safety-snapshot ",
        ),
        ("dfx-backup create --driver=ag\t", "dfx-backup create --driver=agent "),
        (
            "dfx-backup list --password-file pass\t",
            "dfx-backup list --password-file password-file ",
        ),
    ],
)
def test_tab_in_a_real_bash(typing: "pexpect.spawn[str]", keys: str, line: str) -> None:
    typing.send(keys)

    typing.expect_exact(line)


def test_fish_offers_what_the_tree_has(scripts: Path, tmp_path: Path) -> None:
    fish = require("fish")
    for node in (at(""), at("snapshot"), at("snapshot load"), at("create")):
        options = [] if node.below else [each.name for each in node.options]
        wanted = {name for name, _ in node.below} or set(options)
        line = f"dfx-backup {node.path} {'--' if options else ''}"
        code = f"source {scripts / 'dfx-backup.fish'}; complete -C '{' '.join(line.split(' '))}'"
        env = {**os.environ, "HOME": str(tmp_path)}
        argv = [fish, "--no-config", "-c", re.sub(" +", " ", code)]
        done = subprocess.run(
            argv, capture_output=True, text=True, check=True, env=env, timeout=PATIENCE_S
        )
        assert {told.split("\t")[0] for told in done.stdout.splitlines()} == wanted
        assert all("\t" in told for told in done.stdout.splitlines())


def test_tab_in_a_real_zsh(scripts: Path, tmp_path: Path) -> None:
    zsh = require("zsh")
    rc = f"fpath=({scripts} $fpath); autoload -Uz compinit; compinit -u -D; PS1='> '\n"
    (tmp_path / ".zshrc").write_text(os.environ.get("ZSH_TEST_RC", "") + rc)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "vt100", "LANG": "C.UTF-8"}
    child = pexpect.spawn(zsh, ["-i"], env=env, encoding="utf-8", timeout=PATIENCE_S)
    try:
        child.expect_exact("> ")
        child.send("dfx-backup snap\t")
        child.expect("shot")
        child.send("lo\t")
        child.expect("ad")
        child.send("chat --skip\t")
        child.expect_exact("-safety-snapshot")
        child.send("--driver \t")
        child.expect("agent")
    finally:
        child.close(force=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_name_is_in_every_script(scripts: Path, shell: str) -> None:
    name = {"bash": "bash", "zsh": "_dfx-backup", "fish": "dfx-backup.fish"}[shell]
    script = (scripts / name).read_text()
    names = {word for node in NODES for word in node.path.split()}
    names |= {each.name.removeprefix("--") for node in NODES for each in node.options}

    assert [each for each in sorted(names) if each not in script] == []


def test_shellcheck_finds_nothing(scripts: Path) -> None:
    argv = [require("shellcheck"), str(scripts / "bash")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_one_of_the_commands() -> None:
    assert main(["completion", "--help"]) == 0
