"""A home of the real icp, with identities of tests in it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dfx_backup.drivers.icp import IcpTool, probe_icp
from tests.contract.replica_bench import pem
from tests.e2e.conftest import JUDGES, need

PASSWORD = "a password for tests"


def icp_binary() -> Path:
    """The real icp; skips visibly, or fails where judges are required, without it."""
    package = JUDGES / "node_modules" / "@icp-sdk" / "icp-cli-linux-x64"
    return need(package / "bin" / "icp", "the icp binary")


class IcpHome:
    """`HOME` and `ICP_HOME` of their own, with `alice` and `mallory` in plain text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binary = icp_binary()
        self.environment = {
            "HOME": str(folder),
            "ICP_HOME": str(folder / "icp"),
            "PATH": f"{self.binary.parent}:{os.environ['PATH']}",
        }
        for name in ("alice", "mallory"):
            self.add(name)

    def add(self, name: str, *storage: str, key: str | None = None) -> None:
        """Import an identity's key, by default the one of its own name."""
        file = self.folder / f"{name}.pem"
        file.write_bytes(pem(key or name))
        kept = storage or ("--storage", "plaintext")
        self.run("identity", "import", name, "--from-pem", str(file), *kept)

    def add_locked(self, name: str, *, key: str) -> Path:
        """Import a key under `PASSWORD`; returns the file that holds the password."""
        file = self.folder / "password"
        file.write_text(PASSWORD + "\n")
        self.add(name, "--storage", "password", "--storage-password-file", str(file), key=key)
        return file

    def run(self, *words: str, extra: Mapping[str, str] | None = None) -> str:
        """Run icp to its end; its own words when it fails."""
        quiet = {"DO_NOT_TRACK": "1", "RUST_BACKTRACE": "0", "NO_COLOR": "1"}
        done = subprocess.run(
            [str(self.binary), *words],
            env=self.environment | quiet | dict(extra or {}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"icp {words}\n{done.stderr}"
        return done.stdout

    def tool(self) -> IcpTool:
        """The icp as drivers find it."""
        found = probe_icp(environment=self.environment)
        assert found is not None
        return found
