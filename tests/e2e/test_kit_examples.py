"""The committed examples of the kits are what their sources compile to."""

import json
from pathlib import Path

import pytest

from scripts import build_examples
from tests.e2e.conftest import JUDGES

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "examples" / name / "Cargo.lock" for name in build_examples.RUST]
REGISTRY = 'source = "registry+https://github.com/rust-lang/crates.io-index"'


def expect_recorded(compiler: str) -> None:
    """Skip when another version of the compiler is here: it makes other bytes."""
    found, wanted = build_examples.versions()[compiler], build_examples.recorded()[compiler]
    if found != wanted:
        pytest.skip(f"built with {compiler} {wanted}, here is {found}")


@pytest.mark.judge
@pytest.mark.usefixtures("moc", "node")
def test_motoko_module(tmp_path: Path) -> None:
    expect_recorded("motoko")
    built = build_examples.build_motoko(tmp_path, ("kit-chat",))["kit-chat"]
    committed = ROOT / "examples" / "kit-chat" / built.name
    assert built.read_bytes() == committed.read_bytes(), "it is not what it is built to"


@pytest.mark.slow
@pytest.mark.judge
@pytest.mark.timeout(900)
def test_rust_modules(tmp_path: Path) -> None:
    if build_examples.versions()["rustc"] is None:
        pytest.skip("no rustc with the target wasm32-unknown-unknown")
    expect_recorded("rustc")
    built = build_examples.build_rust(tmp_path / "out", tmp_path)
    for name, path in built.items():
        committed = ROOT / "examples" / name / path.name
        assert path.read_bytes() == committed.read_bytes(), f"{name} is not what it is built to"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_crates_come_from_where_they_always_come(lock: Path) -> None:
    sources = [line for line in lock.read_text().splitlines() if line.startswith("source = ")]
    assert sources
    assert set(sources) == {REGISTRY}


@pytest.mark.parametrize(
    "module", sorted((ROOT / "examples").glob("*/*.wasm")), ids=lambda path: path.parent.name
)
def test_modules_are_small_and_tell_nothing_of_the_machine(module: Path) -> None:
    content = module.read_bytes()
    assert len(content) < 1_000_000
    for word in (b"/root/", b"/home/", b"/tmp/", b".cargo", b"registry/src"):
        assert word not in content, word


def test_the_recorded_compilers_are_those_of_the_judges() -> None:
    wanted = json.loads((JUDGES / "package.json").read_text())["dependencies"]["motoko"]
    assert build_examples.recorded()["motoko"] == wanted
