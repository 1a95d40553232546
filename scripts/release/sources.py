"""What a release is built from."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from scripts.release.layout import MANIFESTS, ROOT

PINS = ROOT / "requirements" / "build.txt"
PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "dfx_backup")
"""What the sdist is made of; nothing else gets into the packages."""

_AROUND = (*MANIFESTS, "requirements/build.txt", "scripts/release", "scripts/build_release.py")


def tracked(names: tuple[str, ...] = PACKAGE) -> Iterator[Path]:
    """The files that git knows, relative to the project; without git, all that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *names], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode == 0:
        known = (Path(name) for name in listed.stdout.decode().split("\0") if name)
        yield from (name for name in known if (ROOT / name).is_file())
        return
    for name in names:
        files = sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]
        yield from (
            file.relative_to(ROOT)
            for file in files
            if file.is_file() and not {"__pycache__", "target"} & set(file.parts)
        )


def fingerprint() -> str:
    """SHA-256 over all that makes a release what it is: tests refuse one of other sources."""
    digest = hashlib.sha256()
    for name in sorted(tracked(PACKAGE + _AROUND)):
        content = (ROOT / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
