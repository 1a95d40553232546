"""Write the golden files anew: the help of every command, and every kind of JSON envelope.

docs/cli-reference.md, which holds the same help, is written, too.

The manifest of the dfx extension, which tells of every command too, is written with them.
The tests compare; run this after a change that is meant, and read the difference.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from scripts import gen_docs, gen_extension  # noqa: E402 - only now can it be found
from tests.fakes import cases  # noqa: E402 - the same
from tests.fakes.tree import help_texts  # noqa: E402 - the same

GOLDEN = ROOT / "tests" / "golden"


def write(folder: Path, files: dict[str, str]) -> None:
    """Replace the folder's files by these."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
        print(f"{folder.name}/{name}")


def main() -> None:
    """Write both folders, and the manifest."""
    for name, content in gen_extension.texts().items():
        (ROOT / name).write_text(content, encoding="utf-8")
    write(GOLDEN / "help", help_texts())
    envelopes = {}
    for name, case in cases.ENVELOPES.items():
        with tempfile.TemporaryDirectory() as folder:
            envelopes[f"{name}.json"] = cases.envelope(case, Path(folder))
    write(GOLDEN / "json", envelopes)
    gen_docs.main()


if __name__ == "__main__":
    main()
