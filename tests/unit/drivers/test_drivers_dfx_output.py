"""What the versions of dfx print, word for word, and what is read from it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.drivers import dfx_output
from dfx_backup.errors import ToolError
from dfx_backup.model import CanisterSnapshot, RunState, SnapshotId

DEPRECATED = (
    "WARNING: dfx is deprecated, use icp-cli https://cli.internetcomputer.org. LLM skills can be "
    "found at https://skills.internetcomputer.org/llms.txt\n"
)

STATUS_0_32 = """\
Canister status call result for rwlgt-iiaaa-aaaaa-aaaaa-cai.
Status: Stopped
Controllers: 2vxsx-fae rrkah-fqaaa-aaaaa-aaaaq-cai
Memory allocation: 0 Bytes
Compute allocation: 0 %
Freezing threshold: 2_592_000 Seconds
Idle cycles burned per day: 1_234_567 Cycles
Memory Size: 2_508_192 Bytes
Balance: 3_092_278_099_590 Cycles
Reserved: 7 Cycles
Reserved cycles limit: 5_000_000_000_000 Cycles
Wasm memory limit: 3_221_225_472 Bytes
Wasm memory threshold: 0 Bytes
Module hash: 0x3b1f6d0a0f4d1b3c5e7f9a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5
Number of queries: 0
Instructions spent in queries: 0
Total query request payload size: 0 Bytes
Total query response payload size: 0 Bytes
Log visibility: controllers
"""

STATUS_0_23 = """\
Canister status call result for chat.
Status: Running
Controllers: 2vxsx-fae
Memory allocation: 0
Compute allocation: 0
Freezing threshold: 2_592_000
Memory Size: Nat(2508192)
Balance: 3_092_278_099_590 Cycles
Reserved: 0 Cycles
Reserved Cycles Limit: 5_000_000_000_000 Cycles
Module hash: None
Number of queries: 0
Instructions spent in queries: 0
Total query request payload size (bytes): 0
Total query response payload size (bytes): 0
Log visibility: controllers
"""


def test_the_status_of_today() -> None:
    status = dfx_output.canister_status(STATUS_0_32 + "\n" + DEPRECATED)
    assert status.state is RunState.STOPPED
    assert status.controllers == ("2vxsx-fae", "rrkah-fqaaa-aaaaa-aaaaq-cai")
    assert status.module_hash == "3b1f6d0a0f4d1b3c5e7f9a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5"
    assert status.memory_bytes == 2_508_192
    assert status.cycles == 3_092_278_099_590
    assert status.reserved_cycles == 7
    assert status.idle_cycles_per_day == 1_234_567
    assert status.freezing_threshold_s == 2_592_000
    assert status.version is None  # dfx does not tell it
    assert status.snapshots_bytes is None


def test_the_status_of_older_versions_has_no_units() -> None:
    status = dfx_output.canister_status(STATUS_0_23)
    assert status.state is RunState.RUNNING
    assert status.module_hash is None
    assert status.memory_bytes == 2_508_192
    assert status.cycles == 3_092_278_099_590
    assert status.idle_cycles_per_day is None
    assert status.freezing_threshold_s == 2_592_000


def test_stopping_is_a_state_of_its_own() -> None:
    text = STATUS_0_32.replace("Status: Stopped", "Status: Stopping")
    assert dfx_output.canister_status(text).state is RunState.STOPPING


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Status: Stopped\n", ""),
        ("Status: Stopped", "Status: Sleeping"),
        ("3_092_278_099_590", "plenty"),
        ("0x3b1f", "0xzz"),
        ("0x3b1f", "0x3b"),
    ],
)
def test_a_status_that_can_not_be_read_is_refused(old: str, new: str) -> None:
    assert old in STATUS_0_32
    with pytest.raises(ToolError, match="dfx's status"):
        dfx_output.canister_status(STATUS_0_32.replace(old, new))


def test_the_id_is_found_in_either_stream() -> None:
    line = (
        "Created a new snapshot of canister chat. Snapshot ID: 00000000000000010000000000a00101\n"
    )
    found = SnapshotId("00000000000000010000000000a00101")
    assert dfx_output.created_snapshot(line + DEPRECATED) == found
    assert dfx_output.created_snapshot(DEPRECATED + line) == found
    assert dfx_output.created_snapshot(DEPRECATED) is None


def test_the_list_of_today_and_that_of_older_versions() -> None:
    text = (
        "0000000000000001000000000000a0010101: 2.39 MiB, taken at 2026-09-16 18:07:04 UTC\n"
        "0000000000000000000000000000a0010101: 0 B, taken at 2026-09-16 18:07:03 UTC\n"
    )
    expected = (
        CanisterSnapshot(
            snapshot_id=SnapshotId("0000000000000000000000000000a0010101"),
            taken_at_ns=1_789_582_023_000_000_000,
        ),
        CanisterSnapshot(
            snapshot_id=SnapshotId("0000000000000001000000000000a0010101"),
            taken_at_ns=1_789_582_024_000_000_000,
        ),
    )
    assert dfx_output.listed_snapshots(text) == expected  # oldest first; sizes are rounded
    older = text.replace("2.39 MiB", "2.39MiB").replace("0 B", "0B")
    assert dfx_output.listed_snapshots(DEPRECATED + older) == expected


def test_an_empty_list_says_so() -> None:
    text = DEPRECATED + "No snapshots found in canister rwlgt-iiaaa-aaaaa-aaaaa-cai\n"
    assert dfx_output.listed_snapshots(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",  # as with -q before 0.32: nothing printed is no empty list
        DEPRECATED,
        "0001: 1 MiB, taken yesterday\n",
        "0001: 1 MiB, taken at 2026-13-41 18:07:04 UTC\n",
    ],
)
def test_a_list_that_can_not_be_read_is_not_an_empty_one(text: str) -> None:
    with pytest.raises(ToolError):
        dfx_output.listed_snapshots(text)


def test_the_principal_is_the_line_that_is_one() -> None:
    me = "535yc-uxytb-gfk7h-tny7p-vjkoe-i4krp-3qmcl-uqfgr-cpgej-yqtjq-rqe"
    assert dfx_output.principal(f"{me}\n") == me
    assert dfx_output.principal("2vxsx-fae\n") == "2vxsx-fae"
    with pytest.raises(ToolError, match="no principal"):
        dfx_output.principal("Created identity\n")


@given(st.text())
def test_garbage_never_breaks_a_reader(text: str) -> None:
    for reader in (
        dfx_output.canister_status,
        dfx_output.listed_snapshots,
        dfx_output.principal,
        dfx_output.created_snapshot,
    ):
        with contextlib.suppress(ToolError):
            reader(text)


@given(st.lists(st.sampled_from(STATUS_0_32.splitlines()), max_size=25), st.text(max_size=5))
def test_shuffled_and_cut_statuses_never_break_the_reader(lines: list[str], end: str) -> None:
    try:
        status = dfx_output.canister_status("\n".join(lines) + end)
    except ToolError:
        return
    assert any(line.startswith("Status: ") for line in lines)
    assert status.state in set(RunState)
