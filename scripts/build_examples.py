"""Build the example canisters anew: the Rust ones with cargo, the Motoko ones with npm's `motoko`.

    scripts/build_examples.py [--out FOLDER]

Without `--out` the modules are written beside their sources, and `examples/built-with.json` tells
which compilers made them. Other versions of the compilers make other bytes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
KIT = Path("dfx_backup") / "kit" / "rust"
RUST = ("kit-rust", "kit-heap")
MOTOKO = ("chat", "kit-chat")
RECORD = EXAMPLES / "built-with.json"
TARGET = "wasm32-unknown-unknown"


def versions() -> dict[str, str | None]:
    """The compilers that are here; None for one that is not."""
    motoko = ROOT / "tests" / "e2e" / "judges" / "node_modules" / "motoko" / "package.json"
    return {
        "rustc": _rustc(),
        "motoko": json.loads(motoko.read_bytes())["version"] if motoko.exists() else None,
    }


def recorded() -> dict[str, str]:
    """The compilers that made the committed modules."""
    found: dict[str, str] = json.loads(RECORD.read_bytes())
    return found


def _rustc() -> str | None:
    """The version of rustc, when it can build for the Internet Computer."""
    if not (shutil.which("cargo") and shutil.which("rustc")):
        return None
    print_root = ["rustc", "--print", "sysroot"]
    root = Path(
        subprocess.run(print_root, capture_output=True, text=True, check=True).stdout.strip()
    )
    if not (root / "lib" / "rustlib" / TARGET).is_dir():
        return None
    told = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]


def build_rust(out: Path, work: Path | None = None) -> dict[str, Path]:
    """Build the Rust examples; gives the modules by name.

    They are built in a copy that always looks the same from inside: paths of this machine would get
    into the modules, or change them. `work` keeps what cargo made for the next time.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = work or Path(folder)
        copy, target = work / "copy", work / "target"
        shutil.rmtree(copy, ignore_errors=True)
        for part in (KIT, *(Path("examples") / name for name in RUST)):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("target"))
        flags = {
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(_remapped(copy)),
            "CARGO_TARGET_DIR": str(target),
        }
        built = {}
        for name in RUST:
            subprocess.run(
                ["cargo", "build", "-q", "-j1", "--locked", "--release", "--target", TARGET],
                cwd=copy / "examples" / name,
                env={**os.environ, **flags},
                check=True,
            )
            module = f"{name.replace('-', '_')}.wasm"
            built[name] = _place(out, name, module)
            shutil.copyfile(target / TARGET / "release" / module, built[name])
        return built


def build_motoko(out: Path) -> dict[str, Path]:
    """Build the Motoko examples; gives the modules by name."""
    built = {}
    for name in MOTOKO:
        built[name] = _place(out, name, "chat.wasm")
        argv = ["node", str(EXAMPLES / name / "build.cjs"), str(built[name])]
        subprocess.run(argv, check=True)
    return built


def _remapped(copy: Path) -> list[str]:
    """Names of places that panics tell: not those of this machine."""
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    sources = cargo / "registry" / "src"
    places = [(copy, "build"), *((each, "crates") for each in sorted(sources.glob("*")))]
    flags = [f"--remap-path-prefix={place}={name}" for place, name in places]
    return [f"--remap-path-prefix={cargo}=cargo", *flags]  # the last one that fits counts


def _place(out: Path, name: str, file: str) -> Path:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / file


def main() -> int:
    """Build what can be built."""
    parser = argparse.ArgumentParser(description="Build the example canisters anew.")
    parser.add_argument("--out", type=Path, default=EXAMPLES, help="folder for the modules")
    out = parser.parse_args().out
    found = versions()
    if None in found.values():
        print(f"a compiler is missing: {found}; CONTRIBUTING.md tells what is needed")
        return 1
    for name, path in (build_rust(out) | build_motoko(out)).items():
        print(f"{name}: {path.stat().st_size} bytes")
    if out == EXAMPLES:
        RECORD.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
