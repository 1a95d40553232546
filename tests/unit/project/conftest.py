"""A user's directories in a temporary folder, and a project in them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.model import Places


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "work" / "shop"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def places(tmp_path: Path, root: Path) -> Places:
    home = tmp_path.resolve() / "home"
    return Places(
        cwd=str(root),
        home=str(home),
        dfx_config=str(home / ".config/dfx"),
        dfx_shared_data=str(home / ".local/share/dfx"),
        icp_home=str(home / ".local/share/icp-cli"),
        state=str(home / ".local/state/dfx-backup"),
    )


@pytest.fixture
def write() -> Callable[[Path, object], Path]:
    """Write a file, JSON when it is given an object, and make its folders."""

    def write_file(file: Path, content: object) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write_file
