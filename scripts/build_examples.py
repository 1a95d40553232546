"""Build the example canisters anew: the Rust ones with cargo, the Motoko ones with npm's `motoko`.

    scripts/build_examples.py [--out FOLDER]

Without `--out` the modules are written beside their sources, and `examples/built-with.json` tells
which compilers made them. Other versions of the compilers make other bytes.
"""

import argparse
import json
import os
import shlex
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

    Each is built in a copy that is one workspace together with the kit: what lies outside of a
    workspace would bring its path into the names of symbols, and so into the order of functions.
    `work` keeps what cargo made for the next time.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = work or Path(folder)
        built = {}
        for name in RUST:
            copy, target = work / name, work / "target"
            shutil.rmtree(copy, ignore_errors=True)
            _make_workspace(copy, Path("examples") / name)
            subprocess.run(
                ["cargo", "build", "-q", "-j1", "--locked", "--release", "--target", TARGET],
                cwd=copy,
                env={
                    **os.environ,
                    "CARGO_TARGET_DIR": str(target),
                    "RUSTC_WRAPPER": str(_write_wrapper(work, copy)),
                },
                check=True,
            )
            module = f"{name.replace('-', '_')}.wasm"
            built[name] = _place(out, name, module)
            shutil.copyfile(target / TARGET / "release" / module, built[name])
        return built


def _make_workspace(copy: Path, example: Path) -> None:
    """Copy an example and the kit below a manifest that has the example's profile."""
    for part in (KIT, example):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("target"))
    manifest = copy / example / "Cargo.toml"
    package, profile = manifest.read_text(encoding="utf-8").split("[profile.release]")
    profile = profile.removesuffix("[workspace]\n")
    manifest.write_text(package, encoding="utf-8")
    root = (
        f'[workspace]\nresolver = "2"\nmembers = ["{example}"]\n'
        f'exclude = ["{KIT}"]\n\n[profile.release]{profile}'
    )
    (copy / "Cargo.toml").write_text(root, encoding="utf-8")
    shutil.move(copy / example / "Cargo.lock", copy / "Cargo.lock")


def _write_wrapper(work: Path, copy: Path) -> Path:
    """A program that runs rustc with other names for places of this machine.

    Panics tell names of files. As flags of cargo's these would change the names of symbols.
    """
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    registries = sorted((cargo / "registry" / "src").glob("*"))
    places = {cargo: "cargo", copy: "build", **dict.fromkeys(registries, "crates")}
    flags = " ".join(  # the last one that fits counts
        shlex.quote(f"--remap-path-prefix={place}={name}") for place, name in places.items()
    )
    wrapper = work / f"rustc-for-{copy.name}"
    wrapper.write_text(f'#!/bin/sh\nexec "$@" {flags}\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return wrapper


def build_motoko(out: Path, names: tuple[str, ...] = MOTOKO) -> dict[str, Path]:
    """Build the Motoko examples; gives the modules by name."""
    built = {}
    for name in names:
        built[name] = _place(out, name, "chat.wasm")
        argv = ["node", str(EXAMPLES / name / "build.cjs"), str(built[name])]
        subprocess.run(argv, check=True)
    return built


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
