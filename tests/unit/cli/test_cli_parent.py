from pathlib import Path

import pytest

from dfx_backup.cli.parent import Ancestor, find_dfx, split_cache_path, swallowed_identity


@pytest.mark.parametrize(
    ("argv", "rest", "cache"),
    [
        ([], [], None),
        (["--dfx-cache-path", "/c"], [], "/c"),
        (["doctor", "--", "x", "--dfx-cache-path", "/c"], ["doctor", "--", "x"], "/c"),
        (["--dfx-cache-path"], ["--dfx-cache-path"], None),
        (["--dfx-cache-path", "/c", "doctor"], ["--dfx-cache-path", "/c", "doctor"], None),
    ],
)
def test_dfxs_pair_is_taken_off_the_end_only(
    argv: list[str], rest: list[str], cache: str | None
) -> None:
    assert split_cache_path(argv) == (rest, cache)


def process(proc: Path, pid: int, argv: list[str], *, parent: int, cwd: str = "/") -> None:
    here = proc / str(pid)
    here.mkdir()
    (here / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    (here / "stat").write_text(f"{pid} (na) me) S {parent} 1 1")
    (here / "cwd").symlink_to(cwd)


def test_dfx_is_found_above_a_launcher_script(tmp_path: Path) -> None:
    process(tmp_path, 10, ["/usr/bin/dfx", "backup", "doctor"], parent=1, cwd="/home/u/src")
    process(tmp_path, 11, ["/bin/sh", "/x/backup", "doctor"], parent=10)

    found = find_dfx(11, proc=tmp_path)

    assert found == Ancestor(argv=("/usr/bin/dfx", "backup", "doctor"), cwd="/home/u/src")


def test_a_script_called_dfx_counts(tmp_path: Path) -> None:
    process(tmp_path, 10, ["python3", "/opt/dfx", "backup"], parent=1)

    assert find_dfx(10, proc=tmp_path) is not None


def test_a_word_dfx_further_on_does_not(tmp_path: Path) -> None:
    process(tmp_path, 10, ["grep", "-r", "dfx"], parent=1)

    assert find_dfx(10, proc=tmp_path) is None


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert find_dfx(10, proc=tmp_path) is None


def test_a_chain_that_ends_nowhere_is_given_up(tmp_path: Path) -> None:
    process(tmp_path, 10, ["sh"], parent=10)

    assert find_dfx(10, proc=tmp_path) is None


@pytest.mark.parametrize(
    ("dfx", "ours", "identity"),
    [
        (["dfx", "--identity", "al", "backup", "doctor"], ["doctor"], "al"),
        (["dfx", "backup", "--identity=al", "doctor"], ["doctor"], "al"),
        (["dfx", "-v", "backup", "doctor", "x"], ["doctor", "x"], None),
        (
            ["dfx", "backup", "doctor", "--identity", "bo"],
            ["doctor", "--identity", "bo"],
            None,
        ),
        (
            ["dfx", "--identity", "al", "backup", "doctor", "--identity", "bo"],
            ["doctor", "--identity", "bo"],
            "al",
        ),
        (["dfx", "--identity", "al", "backup"], [], "al"),
        (["dfx", "backup", "--identity"], [], None),
    ],
)
def test_what_dfx_swallowed_is_found_before_our_own_words(
    dfx: list[str], ours: list[str], identity: str | None
) -> None:
    assert swallowed_identity(Ancestor(argv=tuple(dfx), cwd="/"), ours) == identity
