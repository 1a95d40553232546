import ctypes
import subprocess
import sys

import pytest

from dfx_backup.ic import allocator

LIGHT = [
    *("principal", "signer", "candid", "management", "management_types", "snapshot_metadata"),
    *("canister_settings", "snapshot_parts", "retry", "root_keys", "certificate"),
]


def loaded_by(module: str) -> set[str]:
    code = f"import sys, dfx_backup.ic.{module}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


def test_only_the_agent_loads_ic_py() -> None:
    assert "ic.agent" in loaded_by("agent")
    assert "ic" not in loaded_by("session")


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_http(module: str) -> None:
    assert not loaded_by(module) & {"ic", "urllib3", "httpx", "ssl"}


def test_buffers_are_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    glibc = hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    allocator.keep_buffers.cache_clear()
    allocator._glibc.cache_clear()
    assert allocator.keep_buffers() is (glibc and sys.platform.startswith("linux"))
    allocator.keep_buffers.cache_clear()
    allocator._glibc.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert allocator.keep_buffers() is False
    allocator.keep_buffers.cache_clear()
    allocator._glibc.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_buffers() is False
    allocator.keep_buffers.cache_clear()
    allocator._glibc.cache_clear()
