"""What users paste from docs/automation.md is what it claims to be."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.desk import DAY, Desk
from tests.fakes.documents import ROOT, block
from tests.fakes.snapshot_folder import TAKEN

PAGE = ROOT / "docs" / "automation.md"
GOLDEN = ROOT / "tests" / "golden" / "json"
PATIENCE_S = 60


def run(argv: list[str], folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def stand_in(folder: Path, script: str) -> Path:
    """A `dfx-backup` that notes how it was called, and then does what the script says."""
    program = folder / "bin" / "dfx-backup"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder / "calls"}\n{script}\n')
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


# -- GitHub Actions -------------------------------------------------------------------------------


def workflow() -> Any:
    return yaml.safe_load(block(PAGE, "yaml", "runs-on"))


def steps() -> dict[str, Any]:
    return {
        each.get("name", each.get("uses")): each for each in workflow()["jobs"]["backup"]["steps"]
    }


def test_the_workflow_is_one() -> None:
    told = workflow()

    assert set(told) == {"name", True, "concurrency", "permissions", "jobs"}  # `on` is YAML's true
    assert told[True]["schedule"][0]["cron"].split()[2:] == ["*", "*", "*"]
    assert told["permissions"] == {"contents": "read"}
    for step in told["jobs"]["backup"]["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert not re.search(r"\$\{\{\s*secrets", step.get("run", "")), "secrets come by `env`"


def test_its_secrets_become_files_of_ones_own(tmp_path: Path) -> None:
    script = steps()["Identity and password"]["run"]

    done = run(["bash", "-e", "-c", script], tmp_path, IDENTITY_PEM="key\nlines", PASSWORD="long")

    assert done.returncode == 0, done.stderr
    pem = tmp_path / ".config" / "dfx" / "identity" / "backup" / "identity.pem"
    assert pem.read_text() == "key\nlines\n"
    assert (tmp_path / ".backup-password").read_text() == "long\n"
    for path in (pem, tmp_path / ".backup-password"):
        assert path.stat().st_mode & 0o077 == 0
    assert steps()["Back up"]["env"]["DFX_BACKUP_PASSWORD_FILE"].endswith("/.backup-password")
    assert steps()["Back up"]["env"]["DFX_IDENTITY"] == pem.parent.name


@pytest.mark.parametrize("failing", ["recover", "create", "forget", "list", "none"])
def test_a_failure_ends_the_job(tmp_path: Path, failing: str) -> None:
    stand_in(tmp_path, f'[ "$1" != {failing} ] || exit 4')

    done = run(["bash", "-e", "-c", steps()["Back up"]["run"]], tmp_path)

    verbs = [line.split()[0] for line in calls(tmp_path)]
    everything = ["recover", "create", "forget", "list"]
    assert verbs == everything[: everything.index(failing) + 1 if failing != "none" else None]
    assert done.returncode == (0 if failing == "none" else 4)


# -- Makefile -------------------------------------------------------------------------------------


def test_the_makefile_backs_up_before_it_deploys(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(block(PAGE, "make", "deploy:"))
    program = stand_in(tmp_path, "")
    for name in ("dfx", "git"):
        other = program.with_name(name)
        other.write_text(f'#!/bin/sh\n[ {name} = git ] && echo 1a2b3c || echo dfx "$@" >> calls\n')
        other.chmod(0o755)

    done = run(["make", "deploy", "CANISTER=chat"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert calls(tmp_path) == [
        "create chat --network ic --tag before-1a2b3c",
        "dfx deploy chat --network ic",
    ]
    program.write_text("#!/bin/sh\nexit 50\n")
    assert run(["make", "deploy"], tmp_path).returncode != 0
    assert len(calls(tmp_path)) == 2  # nothing was deployed without a backup


# -- cron -----------------------------------------------------------------------------------------


def test_the_lines_of_cron_are_some() -> None:
    lines = block(PAGE, "cron", "--max-age").splitlines()
    variables = [line for line in lines if re.match(r"[A-Z_]+=", line)]
    jobs = [line.split(None, 5) for line in lines if line not in variables]

    assert {line.partition("=")[0] for line in variables} == {
        "DFX_BACKUP_PASSWORD_FILE",
        "DFX_IDENTITY",
        "PATH",
    }
    assert len(jobs) == 2
    for *fields, command in jobs:
        assert all(re.fullmatch(r"\*|\d+", field) for field in fields)
        assert "%" not in command  # cron takes it for a newline


def test_the_alarm_is_silent_until_there_is_reason(tmp_path: Path) -> None:
    [line] = [each for each in block(PAGE, "cron", "--max-age").splitlines() if "--max-age" in each]
    found = re.search(r"dfx-backup (.+) > /dev/null$", line)
    assert found is not None
    words = found[1].split()
    desk = Desk(tmp_path)
    desk.run("init")
    desk.bring()
    clock = desk.stage.subnet.clock

    clock.now = TAKEN + DAY / 2
    assert desk.stage.run(*words, env=desk.env) == 0
    assert desk.stage.stderr == ""
    clock.now = TAKEN + 2 * DAY
    assert desk.stage.run(*words, env=desk.env) == 3
    assert desk.stage.stderr.startswith("Error: ")


# -- systemd --------------------------------------------------------------------------------------


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    program = stand_in(tmp_path, "")
    service = block(PAGE, "systemd", "[Service]")
    assert service.count("/usr/local/bin/dfx-backup") == 4
    service = service.replace("/usr/local/bin/dfx-backup", str(program))
    (tmp_path / "dfx-backup.service").write_text(service)
    (tmp_path / "dfx-backup.timer").write_text(block(PAGE, "systemd", "[Timer]"))

    for unit in ("dfx-backup.service", "dfx-backup.timer"):
        done = run(["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], tmp_path)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "dfx-backup" in line]
        assert ours == []

    [when] = re.findall(r"^OnCalendar=(.+)$", block(PAGE, "systemd", "[Timer]"), re.MULTILINE)
    assert run(["systemd-analyze", "calendar", when], tmp_path).returncode == 0


def test_systemd_would_have_complained(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    (tmp_path / "dfx-backup.service").write_text("[Service]\nType=oneshot\nExecStart=nowhere\n")

    done = run(["systemd-analyze", "verify", "--man=no", "./dfx-backup.service"], tmp_path)

    assert "dfx-backup.service" in done.stdout + done.stderr


# -- shell ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "code"), [("create", 0), ("create-unfinished", 50)])
def test_the_script_reads_what_create_prints(tmp_path: Path, name: str, code: int) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    stand_in(tmp_path, f"cat {GOLDEN / name}.json; exit {code}")

    done = run(["sh", "-c", block(PAGE, "sh", "jq")], tmp_path)

    assert done.returncode == code, done.stderr
    backups = json.loads((GOLDEN / f"{name}.json").read_text())["data"].get("backups", [])
    assert done.stdout.splitlines() == [
        f"{each['backup_id']} {each['outage_seconds']} s" for each in backups
    ]


@pytest.mark.parametrize("holding", ["jq", "systemctl", "completion"])
def test_the_shell_is_clean(tmp_path: Path, holding: str) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/sh\n{block(PAGE, 'sh', holding)}")
    assert run(["sh", "-n", str(script)], tmp_path).returncode == 0
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")

    done = run(["shellcheck", str(script)], tmp_path)

    assert done.returncode == 0, done.stdout


def test_every_page_uses_the_fences_that_are_tested() -> None:
    kinds = set(re.findall(r"^```(\w*)$", PAGE.read_text(), re.MULTILINE)) - {""}

    assert kinds == {"make", "yaml", "cron", "systemd", "sh"}
