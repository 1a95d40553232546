"""Identities that the real icp-cli made are read as icp-cli reads them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.errors import WrongKeyError
from dfx_backup.model import Places
from dfx_backup.project.identities import IdentityTool, Storage, find_identity, list_identities
from dfx_backup.project.keys import load_identity

pytestmark = pytest.mark.judge
PASSWORD = "a password for tests"
Icp = Callable[..., str]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    here = str(tmp_path)
    return Places(
        cwd=here,
        home=here,
        dfx_config=here,
        dfx_shared_data=here,
        icp_home=str(tmp_path / "icp"),
        state=here,
    )


@pytest.fixture
def icp(icp_binary: Path, places: Places, tmp_path: Path) -> Icp:
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "keyring").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ICP_HOME": places.icp_home,
        "ICP_CLI_KEYRING_MOCK_DIR": str(tmp_path / "keyring"),
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }

    def run(*args: str) -> str:
        argv = [str(icp_binary), *args]
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def find(places: Places, name: str | None) -> Storage:
    return find_identity(name, places=places, kind=IdentityTool.ICP).storage


def opened(places: Places, name: str, keyring: Path | None = None) -> str:
    ref = find_identity(name, places=places, kind=IdentityTool.ICP)
    mock = None if keyring is None else str(keyring)
    return load_identity(ref, password=lambda: PASSWORD, mock_keyring=mock).principal.to_text()


def test_new_identities(icp: Icp, places: Places, tmp_path: Path) -> None:
    secret = str(tmp_path / "password")
    icp("identity", "new", "plain", "--storage", "plaintext")
    icp("identity", "new", "locked", "--storage", "password", "--storage-password-file", secret)
    icp("identity", "new", "ring", "--storage", "keyring")
    assert find(places, "plain") is Storage.PLAINTEXT
    assert find(places, "locked") is Storage.PBES2
    assert find(places, "ring") is Storage.KEYRING
    assert find(places, None) is Storage.ANONYMOUS
    for name in ("plain", "locked", "ring"):
        wanted = icp(
            "identity", "principal", "--identity", name, "--identity-password-file", secret
        )
        assert opened(places, name, tmp_path / "keyring") == wanted, name
    icp("identity", "default", "plain")
    assert find(places, None) is Storage.PLAINTEXT
    assert list_identities(places=places, kind=IdentityTool.ICP) == (
        *("anonymous", "locked", "plain", "ring"),
    )
    ref = find_identity("locked", places=places, kind=IdentityTool.ICP)
    with pytest.raises(WrongKeyError, match="'locked'"):
        load_identity(ref, password=lambda: PASSWORD + "!")


@pytest.mark.parametrize(
    "algorithm",
    [
        ["ed25519"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ],
    ids=["ed25519", "secp256k1", "p256"],
)
def test_imported_identities(
    icp: Icp, places: Places, tmp_path: Path, openssl: str, algorithm: list[str]
) -> None:
    key = tmp_path / "key.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", *algorithm, "-out", key], check=True)
    secret = str(tmp_path / "password")
    for storage in (["plaintext"], ["password", "--storage-password-file", secret]):
        icp("identity", "import", storage[0], "--from-pem", str(key), "--storage", *storage)
        wanted = icp(
            "identity", "principal", "--identity", storage[0], "--identity-password-file", secret
        )
        assert opened(places, storage[0]) == wanted
