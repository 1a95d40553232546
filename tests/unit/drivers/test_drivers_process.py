"""How programs are started and ended, with real child programs."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dfx_backup.drivers import terminal
from dfx_backup.drivers.environment import child_environment, locate, require
from dfx_backup.drivers.process import (
    AskedAgainError,
    Patience,
    ProgramFailedError,
    ProgramTimedOutError,
    run,
)
from dfx_backup.drivers.terminal import Question
from dfx_backup.errors import ToolError

QUICK = Patience(grace_s=0.3, interrupt_s=5)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} is still alive"
        time.sleep(0.01)


def test_both_streams_and_the_code_come_back() -> None:
    done = run(shell("echo out; echo err >&2; exit 3"), env={}, timeout_s=10)
    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert "out" in done.text
    assert "err" in done.text


def test_an_argument_is_never_read_by_a_shell() -> None:
    done = run(["/bin/echo", "$(id); `id` 'x' *"], env={}, timeout_s=10)
    assert done.stdout == "$(id); `id` 'x' *\n"


def test_a_huge_standard_error_does_not_block_the_child_and_keeps_its_end() -> None:
    done = run(
        python("""
            import sys
            sys.stderr.write(("x" * 99 + chr(10)) * 200_000 + "last line")
            sys.stdout.write("done")
        """),
        env={},
        timeout_s=30,
    )
    assert done.stdout == "done"
    assert done.stderr.endswith("last line")
    assert len(done.stderr) <= terminal.MAX_OUTPUT_BYTES + 70_000


def test_output_that_is_not_utf8_is_replaced() -> None:
    done = run(shell(r"printf 'a\377b'; printf '\303(' >&2"), env={}, timeout_s=10)
    assert done.stdout == "a\ufffdb"
    assert done.stderr == "\ufffd("


def test_the_standard_input_is_empty() -> None:
    done = run(["/bin/cat"], env={}, timeout_s=10)
    assert (done.code, done.stdout) == (0, "")


def test_a_child_that_exits_before_it_reads_or_prints_anything() -> None:
    assert run(["/bin/true"], env={}, timeout_s=10).code == 0


def test_the_child_runs_in_a_session_of_its_own() -> None:
    done = run(python("import os; print(os.getsid(0) == os.getpid())"), env={}, timeout_s=10)
    assert done.stdout == "True\n"


def test_the_child_sees_only_the_given_environment(tmp_path: Path) -> None:
    done = run(["/usr/bin/env"], env={"ONLY": "this"}, timeout_s=10, cwd=str(tmp_path))
    assert done.stdout == "ONLY=this\n"


def test_the_working_directory_is_the_given_one(tmp_path: Path) -> None:
    done = run(shell("pwd -P"), env={}, timeout_s=10, cwd=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path.resolve())


def test_check_tells_argv_code_and_the_last_25_lines() -> None:
    done = run(
        shell("for n in $(seq 1 40); do echo line $n >&2; done; exit 7"), env={}, timeout_s=10
    )
    with pytest.raises(ProgramFailedError) as caught:
        done.check()
    assert caught.value.status == 7
    assert caught.value.argv[0] == "/bin/sh"
    assert caught.value.stderr_tail == tuple(f"line {n}" for n in range(16, 41))
    assert "exit code 7" in caught.value.message
    assert "line 40" in caught.value.message
    assert caught.value.exit_code == 40


def test_check_returns_what_ended_well() -> None:
    done = run(["/bin/true"], env={}, timeout_s=10)
    assert done.check() is done


def test_a_child_killed_by_a_signal_has_a_negative_code() -> None:
    done = run(shell("kill -9 $$"), env={}, timeout_s=10)
    assert done.code == -signal.SIGKILL
    assert "signal 9" in done.failed("x").message


def test_a_time_out_ends_the_whole_session(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(ProgramTimedOutError) as caught:
        run(
            shell(f"(trap '' TERM; sleep 60) & echo $! > {note}; echo so far >&2; sleep 60"),
            env={"PATH": "/usr/bin:/bin"},
            timeout_s=1.5,
            patience=QUICK,
        )
    assert time.monotonic() - started < 6
    assert caught.value.status is None
    assert caught.value.stderr_tail == ("so far",)
    wait_for_end(int(note.read_text()))  # though it ignores SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = python(f"""
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open({str(note)!r}, "w").write(str(os.getpid()))
        time.sleep(60)
    """)
    started = time.monotonic()
    with pytest.raises(ProgramTimedOutError):
        run(child, env={}, timeout_s=1.5, patience=QUICK)
    assert time.monotonic() - started < 5
    wait_for_end(int(note.read_text()))


def test_a_grandchild_that_keeps_the_pipes_open_does_not_hold_us_up(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    started = time.monotonic()
    done = run(
        shell(f"sleep 30 & echo $! > {note}; echo out"), env={"PATH": "/usr/bin:/bin"}, timeout_s=20
    )
    assert time.monotonic() - started < 5
    assert (done.code, done.stdout) == (0, "out\n")
    os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_program_that_cannot_be_started_is_one_clear_error(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("no shebang")
    script.chmod(0o755)
    for argv in ([str(tmp_path / "absent")], [str(tmp_path)], [str(script)], ["/bin/echo", "a\0b"]):
        with pytest.raises(ToolError, match="could not be started"):
            run(argv, env={}, timeout_s=5)


# -- interrupted ----------------------------------------------------------------------------------

PARENT = """
    import signal, sys
    from dfx_backup.drivers.process import Patience, run

    def stop(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    try:
        run({child!r}, env={{}}, timeout_s=60, patience=Patience(grace_s=0.3, interrupt_s={wait}))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise SystemExit(130)
    print("not interrupted")
"""


def interrupted_parent(child: list[str], *, wait_s: float) -> subprocess.Popen[str]:
    """A process that runs a child; the child says that it began when its parent waits for it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT.format(child=child, wait=wait_s))],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the group can be signalled as a terminal does
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    return parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_to_our_group_lets_the_child_finish_first(tmp_path: Path, number: int) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"
    child = shell(f"/bin/sleep 0.2; echo x > {begun}; /bin/sleep 0.6; echo x > {finished}")
    parent = interrupted_parent(child, wait_s=20)
    wait_for(begun)
    os.killpg(parent.pid, number)
    out, _ = parent.communicate(timeout=15)
    assert out == "interrupted\n"
    assert parent.returncode == 130
    assert finished.exists()


def test_a_second_interrupt_ends_the_child(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    parent = interrupted_parent(
        shell(f"/bin/sleep 0.2; echo $$ > {begun}; exec /bin/sleep 60"), wait_s=60
    )
    wait_for(begun)
    pid = int(begun.read_text())
    os.killpg(parent.pid, signal.SIGINT)
    time.sleep(0.3)
    assert is_alive(pid)
    for _ in range(5):  # on a busy machine two signals may arrive as one
        os.killpg(parent.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            parent.wait(timeout=4)
            break
    assert parent.communicate(timeout=15)[0] == "interrupted\n"
    wait_for_end(pid)


def test_a_child_that_outlives_our_patience_after_an_interrupt_is_ended(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    parent = interrupted_parent(
        shell(f"/bin/sleep 0.2; echo $$ > {begun}; exec /bin/sleep 60"), wait_s=0.3
    )
    wait_for(begun)
    pid = int(begun.read_text())
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=15)[0] == "interrupted\n"
    wait_for_end(pid)


def test_a_killed_parent_leaves_the_child_to_finish(tmp_path: Path) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"
    parent = interrupted_parent(
        shell(f"echo x > {begun}; /bin/sleep 0.5; echo x > {finished}"), wait_s=20
    )
    wait_for(begun)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.communicate(timeout=15)
    wait_for(finished)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 15
    while not path.exists() or path.stat().st_size == 0:
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


# -- questions ------------------------------------------------------------------------------------

ASKING = """
    import getpass, sys
    print("before", flush=True)
    answer = getpass.unix_getpass("Please enter the passphrase for your identity: ", sys.stderr)
    print("after", "right" if answer == "correct horse" else "wrong", flush=True)
    print("Decryption complete.", answer, file=sys.stderr)
    raise SystemExit(0 if answer == "correct horse" else 255)
"""
PROMPT = r"enter the passphrase for your identity"


def asking(answer: str) -> Question:
    return Question(pattern=PROMPT, answer=lambda: answer)


def test_a_question_is_answered_at_a_terminal_and_the_answer_is_masked() -> None:
    done = run(python(ASKING), env={}, timeout_s=20, question=asking("correct horse"))
    assert done.code == 0
    assert done.stdout == "before\nafter right\n"  # standard output stays a pipe of its own
    assert "Decryption complete. ***" in done.stderr
    assert "correct horse" not in done.text


def test_a_wrong_answer_is_the_programs_to_judge() -> None:
    done = run(python(ASKING), env={}, timeout_s=20, question=asking("wrong horse"))
    assert (done.code, done.stdout) == (255, "before\nafter wrong\n")


def test_an_answer_sent_before_the_echo_is_off_would_be_lost() -> None:
    slow = ASKING.replace(
        "answer = getpass",
        'sys.stderr.write("Please enter the passphrase for your identity: "); sys.stderr.flush()\n'
        "    import time; time.sleep(0.3)\n    answer = getpass",
    ).replace('getpass("Please enter the passphrase for your identity: "', 'getpass(""')
    done = run(python(slow), env={}, timeout_s=10, question=asking("correct horse"))
    assert "after right" in done.stdout


def test_a_program_that_asks_again_is_ended() -> None:
    twice = "import getpass, sys\nwhile True: getpass.unix_getpass('the passphrase: ', sys.stderr)"
    with pytest.raises(AskedAgainError, match="did not accept the answer"):
        run(
            python(twice),
            env={},
            timeout_s=20,
            question=Question(pattern="the passphrase: ", answer=lambda: "nope nope"),
            patience=QUICK,
        )


def test_a_program_that_asks_nothing_runs_at_a_terminal_too() -> None:
    done = run(
        python("import sys; print(sys.stderr.isatty(), sys.stdin.isatty(), sys.stdout.isatty())"),
        env={},
        timeout_s=10,
        question=asking("unused"),
    )
    assert done.stdout == "True True False\n"


def test_much_output_at_a_terminal_is_read_to_its_end() -> None:
    code = "import sys; sys.stderr.write('\\x1b[31mline\\x1b[0m\\n' * 20000 + 'end')"
    done = run(python(code), env={}, timeout_s=30, question=asking("unused"))
    assert done.stderr == "line\n" * 20000 + "end"


def test_what_a_spinner_overwrites_is_a_line_of_its_own() -> None:
    code = "import sys; sys.stderr.write('- Working\\r\\x1b[2KSnapshot ID: 00\\n')"
    done = run(python(code), env={}, timeout_s=10, question=asking("unused"))
    assert done.stderr == "- Working\nSnapshot ID: 00\n"


def test_the_echo_of_an_accepted_answer_is_no_second_question() -> None:
    code = ASKING.replace(
        'print("after"',
        'print("\\x1b[1A\\r\\x1b[2KPlease enter the passphrase for your identity: [hidden]", '
        'file=sys.stderr)\n    print("after"',
    )
    question = Question(pattern=f"{PROMPT}: (?!\\[hidden)", answer=lambda: "correct horse")
    done = run(python(code), env={}, timeout_s=20, question=question)
    assert done.stdout == "before\nafter right\n"
    assert "identity: [hidden]\n" in done.stderr


def test_when_the_answer_can_not_be_had_the_program_is_ended_at_once() -> None:
    def absent() -> str:
        raise ToolError("the passphrase file is gone")

    started = time.monotonic()
    with pytest.raises(ToolError, match="the passphrase file is gone"):
        run(
            python(ASKING),
            env={},
            timeout_s=20,
            question=Question(pattern=PROMPT, answer=absent),
            patience=Patience(grace_s=0.3, interrupt_s=20),
        )
    assert time.monotonic() - started < 5


def test_a_time_out_at_a_terminal_ends_the_program() -> None:
    with pytest.raises(ProgramTimedOutError):
        run(
            ["/bin/sleep", "60"],
            env={},
            timeout_s=0.3,
            question=asking("unused"),
            patience=QUICK,
        )


def test_a_question_never_shows_its_answer() -> None:
    assert "answer" not in repr(asking("correct horse"))


# -- secrets --------------------------------------------------------------------------------------


def test_secrets_are_masked_in_errors_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    done = run(
        shell("echo pin $DFX_HSM_PIN >&2; echo token s3cret-token >&2; exit 1"),
        env={"DFX_HSM_PIN": "123456"},
        timeout_s=10,
        secrets=["s3cret-token"],
    )
    with pytest.raises(ProgramFailedError) as caught:
        done.check()
    shown = caught.value.message + "".join(caught.value.argv) + caplog.text
    assert "123456" not in shown
    assert "s3cret-token" not in shown
    assert "pin ***" in shown


# -- the environment ------------------------------------------------------------------------------


def test_the_environment_is_built_from_an_allowlist() -> None:
    kept = {
        "HOME": "/home/u",
        "PATH": "/bin",
        "USER": "u",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "TMPDIR": "/tmp",
        "XDG_DATA_HOME": "/d",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x",
        "SSL_CERT_FILE": "/c.pem",
        "SSL_CERT_DIR": "/c",
        "HTTPS_PROXY": "http://p",
        "https_proxy": "http://p",
        "no_proxy": "localhost",
        "DFX_WARNING": "-mainnet_plaintext_identity",
        "DFX_IDENTITY": "alice",
        "DFX_CONFIG_ROOT": "/r",
        "DFX_HSM_PIN": "1234",
        "ICP_HOME": "/i",
    }
    left_out = {
        "AWS_SECRET_ACCESS_KEY": "x",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
        "DFX_NETWORK": "ic",
        "ICP_NETWORK": "ic",
        "ICP_ENVIRONMENT": "ic",
        "DFX_BACKUP_PASSWORD_FILE": "/secret",
        "my_proxy": "x",
        "home": "x",
    }
    assert child_environment(kept | left_out) == kept


def test_what_the_driver_adds_wins() -> None:
    assert child_environment({"DFX_WARNING": "a"}, extra={"DFX_WARNING": "b"}) == {
        "DFX_WARNING": "b"
    }


def test_programs_are_looked_up_in_the_given_path_only(tmp_path: Path) -> None:
    tool = tmp_path / "tool-of-ours"
    tool.write_text("#!/bin/sh\n")
    assert locate("tool-of-ours", path=str(tmp_path)) is None  # not executable
    tool.chmod(0o755)
    assert locate("tool-of-ours", path=str(tmp_path)) == str(tool)
    assert locate(str(tool), path="") == str(tool)
    assert locate("sh", path=str(tmp_path)) is None
    with pytest.raises(ToolError, match="`sh` was not found") as caught:
        require("sh", path=str(tmp_path), hint="get one")
    assert caught.value.hint == "get one"
    assert require("tool-of-ours", path=str(tmp_path)) == str(tool)
