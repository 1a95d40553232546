"""The argument lists that dfx gets, word for word."""

import pytest

from dfx_backup.drivers import dfx_argv
from dfx_backup.model import CanisterId, SnapshotId

CANISTER = CanisterId("rwlgt-iiaaa-aaaaa-aaaaa-cai")
SNAPSHOT = SnapshotId("0000000000000001000000000000a0010101")
ALICE = dfx_argv.DfxArguments(binary="/cache/dfx", network="ic", identity="alice")
ANYONE = dfx_argv.DfxArguments(binary="/cache/dfx", network="http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (ALICE.status(CANISTER), "canister status rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        (ALICE.stop(CANISTER), "canister stop rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        (ALICE.start(CANISTER), "canister start rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        (ALICE.list_snapshots(CANISTER), "canister snapshot list rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        (
            ALICE.take_snapshot(CANISTER, None),
            "canister snapshot create rwlgt-iiaaa-aaaaa-aaaaa-cai",
        ),
        (
            ALICE.take_snapshot(CANISTER, SNAPSHOT),
            f"canister snapshot create rwlgt-iiaaa-aaaaa-aaaaa-cai --replace {SNAPSHOT}",
        ),
        (
            ALICE.load_snapshot(CANISTER, SNAPSHOT),
            f"canister snapshot load rwlgt-iiaaa-aaaaa-aaaaa-cai {SNAPSHOT}",
        ),
        (
            ALICE.delete_snapshot(CANISTER, SNAPSHOT),
            f"canister snapshot delete rwlgt-iiaaa-aaaaa-aaaaa-cai {SNAPSHOT}",
        ),
    ],
)
def test_canister_commands_name_binary_network_and_identity(made: list[str], expected: str) -> None:
    assert made == ["/cache/dfx", *expected.split(), "--network", "ic", "--identity", "alice"]


def test_without_an_identity_the_choice_is_left_to_dfx() -> None:
    assert ANYONE.stop(CANISTER)[-2:] == ["--network", "http://127.0.0.1:8000"]
    assert ANYONE.principal() == ["/cache/dfx", "identity", "get-principal"]
    assert ALICE.principal() == ["/cache/dfx", "identity", "get-principal", "--identity", "alice"]


def test_the_version_is_asked_without_anything_else() -> None:
    assert dfx_argv.version("/cache/dfx") == ["/cache/dfx", "--version"]


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (None, "-deprecation"),
        ("", "-deprecation"),
        ("-mainnet_plaintext_identity", "-mainnet_plaintext_identity,-deprecation"),
        ("-deprecation", "-deprecation"),
        ("-deprecation,-x", "-deprecation,-x"),
    ],
)
def test_the_users_warnings_are_kept_and_one_is_added(users: str | None, expected: str) -> None:
    assert dfx_argv.warning_setting(users) == expected


def test_a_plaintext_identity_is_never_allowed_silently() -> None:
    assert dfx_argv.PLAINTEXT_OFF not in dfx_argv.warning_setting(None)
