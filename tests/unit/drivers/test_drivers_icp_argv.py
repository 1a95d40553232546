"""How icp is told what to do, and what it sees of the environment."""

import pytest

from dfx_backup.drivers.features import ToolVersion, icp_remark, require_icp
from dfx_backup.drivers.icp_argv import IcpArguments, icp_environment, version
from dfx_backup.errors import ToolError
from dfx_backup.model import CanisterId, SnapshotId

C = CanisterId("rwlgt-iiaaa-aaaaa-aaaaa-cai")
S = SnapshotId("00ff")
ICP = IcpArguments(binary="/bin/icp", url="http://h:1/base", root_key=b"\x30\x81", identity="a")
WHERE = ["--network", "http://h:1/base/", "--root-key", "3081", "--identity", "a"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (ICP.status(C), ["status", C, "--json"]),
        (ICP.stop(C), ["stop", C]),
        (ICP.start(C), ["start", C]),
        (ICP.list_snapshots(C), ["snapshot", "list", C, "--json"]),
        (ICP.take_snapshot(C, None), ["snapshot", "create", C, "--json"]),
        (ICP.take_snapshot(C, S), ["snapshot", "create", C, "--replace", S, "--json"]),
        (ICP.load_snapshot(C, S), ["snapshot", "restore", C, S]),
        (ICP.delete_snapshot(C, S), ["snapshot", "delete", C, S]),
        (ICP.download_snapshot(C, S, "/f"), ["snapshot", "download", C, S, "--output", "/f"]),
        (ICP.upload_snapshot(C, "/f"), ["snapshot", "upload", C, "--input", "/f", "--json"]),
    ],
)
def test_every_command_names_network_key_and_identity(argv: list[str], words: list[str]) -> None:
    assert argv == ["/bin/icp", "canister", *words, *WHERE]


def test_identities_and_versions() -> None:
    assert ICP.principal() == ["/bin/icp", "identity", "principal", "--identity", "a"]
    locked = IcpArguments(
        binary="/bin/icp", url="http://h", root_key=b"", password_file="/pw"
    )  # a file
    assert locked.principal()[3:] == ["--identity-password-file", "/pw"]
    assert version("/bin/icp") == ["/bin/icp", "--version"]


def test_the_environment_is_quiet_and_the_users() -> None:
    given = {
        "HOME": "/h",
        "ICP_HOME": "/i",
        "ICP_CLI_KEYRING_MOCK_DIR": "/k",
        "ICP_ENVIRONMENT": "x",
        "ICP_NETWORK": "x",
        "ICP_CLI_DIST": "npm",
        "RUST_BACKTRACE": "1",
        "DO_NOT_TRACK": "",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HTTPS_PROXY": "http://p:1",
        "no_proxy": "internal, localhost",
    }
    assert icp_environment(given) == {
        "HOME": "/h",
        "ICP_HOME": "/i",
        "ICP_CLI_KEYRING_MOCK_DIR": "/k",
        "RUST_BACKTRACE": "0",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "HTTPS_PROXY": "http://p:1",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "internal,localhost,127.0.0.1,::1",
    }


def test_versions_of_icp() -> None:
    for text in ("1.2.0", "1.5.0", "1.7.0", "2.0.0"):
        require_icp(ToolVersion.parse(text))
    with pytest.raises(ToolError, match=r"icp 1\.1\.9 is too old") as caught:
        require_icp(ToolVersion.parse("1.1.9"))
    assert "--driver agent" in (caught.value.hint or "")
    assert icp_remark(ToolVersion.parse("icp 1.5.0")) is None
    assert "newer than 1.5.0" in (icp_remark(ToolVersion.parse("1.7.0")) or "")
    assert "older than 1.5.0" in (icp_remark(ToolVersion.parse("1.3.0")) or "")
