"""Names of a release: its tag, its archives, the platforms that dfx knows."""

import hashlib
import os
import platform
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = ROOT / "build" / "release"
FIGURES = ROOT / "build" / "figures.json"
"""What the last build measured, and what it was built from."""
NAME = "backup"
MANIFESTS = ("extension.json", "dependencies.json")

PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
)
"""What dfx asks for: Rust's name of the architecture, and one of two systems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version's files.

    Attributes:
        folder: holds the manifests, and a folder for each tag.
        version: of the program.
    """

    folder: Path
    version: str

    @property
    def tag(self) -> str:
        """As `{{tag}}` in dfx's template of addresses."""
        return f"{NAME}-v{self.version}"

    @property
    def assets(self) -> Path:
        """What is attached to the tag."""
        return self.folder / self.tag

    def archive(self, machine: str) -> Path:
        """The archive for a platform: `{{basename}}.{{archive-format}}`."""
        return self.assets / f"{NAME}-{machine}.tar.gz"


def release(folder: Path = OUTPUT) -> Release:
    """The release of the version that stands in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return Release(folder=folder, version=project["version"])


def this_machine() -> str:
    """The platform that a program built here runs on.

    Raises:
        SystemExit: dfx knows no such platform.
    """
    arch = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())
    system = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin"}.get(sys.platform)
    name = f"{arch}-{system}"
    if name not in PLATFORMS:
        raise SystemExit(f"dfx knows no extensions for {name}.")
    return name


def epoch() -> int:
    """The time that all files of a release carry: SOURCE_DATE_EPOCH, else that of the last commit.

    Raises:
        SystemExit: there is neither.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    try:
        last = ["git", "log", "-1", "--format=%ct"]
        return int(subprocess.check_output(last, cwd=ROOT, text=True))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SystemExit("Set SOURCE_DATE_EPOCH: there is no commit to take it from.") from error


def write_sha256(file: Path) -> str:
    """Write a file's SHA-256 beside it, as `sha256sum --check` reads it, and return it."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    file.with_name(f"{file.name}.sha256").write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    return digest
