"""Build the present sources once more, in a copy elsewhere, and compare with `build/release`."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.release import layout, sources  # noqa: E402 - only now can it be found


def main() -> int:
    """Build, compare, and name what differs; 1 when anything does."""
    epoch = str(layout.epoch())
    with tempfile.TemporaryDirectory(prefix="dfx-backup-again-") as name:
        copy = Path(name).resolve() / "a" / "copy"
        for each in sources.tracked((".",)):
            (copy / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / each, copy / each)
        subprocess.run(
            [sys.executable, "scripts/build_release.py"],
            cwd=copy,
            env=os.environ | {"SOURCE_DATE_EPOCH": epoch},
            check=True,
        )
        first, second = digests(layout.OUTPUT), digests(copy / "build" / "release")
    differing = sorted(
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    )
    for name in differing:
        print(f"differs: {name}")
    if not differing:
        print(f"All {len(first)} files are the same, byte for byte.")
    return 1 if differing else 0


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    sys.exit(main())
