from pathlib import Path

import pytest

from tests.e2e.conftest import CHAT_WASM, run_judge


@pytest.mark.judge
@pytest.mark.usefixtures("moc")
def test_the_committed_module_is_what_its_source_compiles_to(node: Path, tmp_path: Path) -> None:
    built = tmp_path / "chat.wasm"
    run_judge([str(node), str(CHAT_WASM.parent / "build.cjs"), str(built)])
    assert built.read_bytes() == CHAT_WASM.read_bytes()
