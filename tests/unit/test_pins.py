"""What is installed is pinned with hashes, and says nothing of where it was fetched from."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
BUILD_PINS = (ROOT / "requirements" / "build.txt").read_text(encoding="utf-8")
JUDGES = ROOT / "tests" / "e2e" / "judges"
LOCKS = sorted(JUDGES.glob("*/Cargo.lock"))
DEFAULT_SOURCE = "registry+https://github.com/rust-lang/crates.io-index"
"""What cargo writes into every lock file: a name and no address, since cargo may look elsewhere."""


def pinned(pins: str = PINS) -> dict[str, str]:
    """Version by name; every logical line must be one pin with at least one hash."""
    found = {}
    text = re.sub(r"^\s*#.*\n", "", pins, flags=re.MULTILINE).replace("\\\n", " ")
    for line in text.splitlines():
        told = re.fullmatch(r"([\w.-]+)==(\S+)(?: ;[^-]*)?(?:\s+--hash=sha256:[0-9a-f]{64})+", line)
        assert told is not None, line
        found[canonicalize_name(told[1])] = told[2]
    return found


def test_everything_that_is_named_is_pinned_at_a_version_that_fits() -> None:
    extras = PROJECT["optional-dependencies"]
    named = [Requirement(each) for each in PROJECT["dependencies"]]
    named += [Requirement(each) for extra in extras.values() for each in extra]
    pins = pinned()

    assert [str(each) for each in named if canonicalize_name(each.name) not in pins] == []
    misfits = [
        str(each) for each in named if pins[canonicalize_name(each.name)] not in each.specifier
    ]
    assert misfits == []


def test_what_is_released_is_what_is_tested() -> None:
    """The archives' program has the very versions that the tests run with."""
    extras = PROJECT["optional-dependencies"]
    named = [*PROJECT["dependencies"], *extras["keyring"], *extras["replica"], *extras["s3"]]
    released, tested = pinned(BUILD_PINS), pinned()
    tools = {"altgraph", "macholib", "pyinstaller", "pyinstaller-hooks-contrib"}

    assert {canonicalize_name(Requirement(each).name) for each in named} <= set(released)
    differing = {name for name, version in released.items() if tested.get(name) != version}
    assert differing == tools


@pytest.mark.parametrize("pins", [PINS, BUILD_PINS], ids=["dev", "build"])
def test_pins_name_no_index(pins: str) -> None:
    assert re.findall(r"^--(?!hash).*|\w+://\S+", pins, re.MULTILINE) == []


def test_the_judges_are_pinned_and_name_no_registry() -> None:
    lock = json.loads((JUDGES / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}

    assert packages
    assert [name for name, each in packages.items() if "integrity" not in each] == []
    assert [name for name, each in packages.items() if "resolved" in each] == []
    assert "omit-lockfile-registry-resolved=true" in (JUDGES / ".npmrc").read_text().splitlines()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_crates_are_pinned_and_come_from_where_cargo_looks_by_default(lock: Path) -> None:
    told = tomllib.loads(lock.read_text(encoding="utf-8"))
    foreign = [each for each in told["package"] if "source" in each]

    assert foreign
    assert {each["source"] for each in foreign} == {DEFAULT_SOURCE}
    assert [each["name"] for each in foreign if "checksum" not in each] == []


def test_only_the_replica_needs_the_engine() -> None:
    names = {Requirement(each).name for each in PROJECT["dependencies"]}
    by_extra = {
        extra
        for extra, each in PROJECT["optional-dependencies"].items()
        if "wasmtime" in {Requirement(one).name for one in each}
    }

    assert "wasmtime" not in names
    assert by_extra == {"replica"}
