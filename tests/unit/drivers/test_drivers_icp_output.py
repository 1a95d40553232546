"""What icp prints, as it printed it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.drivers import icp_output
from dfx_backup.errors import BackupError, RejectError, ToolError
from dfx_backup.model import CanisterId, CanisterSnapshot, CanisterStatus, RunState, SnapshotId

C = CanisterId("bnz7o-iuaaa-aaaaa-qaaaa-cai")
ALICE = "xxroq-4qgqe-ws3l5-c7zpm-fq7qz-xh7si-hooho-k6ufv-slq7n-42nq6-aqe"
HASH = "0115035717a5c9d1be96e2fd9e8eebf108fc6f0d373b827d3acf02c4a1d66bb6"
STATUS: dict[str, Any] = {
    "id": C,
    "status": "Running",
    "settings": {
        "controllers": [ALICE],
        "compute_allocation": "0",
        "freezing_threshold": "2_592_000",
        "reserved_cycles_limit": "5_000_000_000_000",
    },
    "module_hash": f"0x{HASH}",
    "memory_size": "65_790",
    "cycles": "10_000_000_000_000",
    "reserved_cycles": "0",
    "idle_cycles_burned_per_day": "672_322",
    "query_stats": {"num_calls_total": "0"},
}
SNAPSHOT = "000000000000000080000000001000000101"


def status(**changes: Any) -> CanisterStatus:
    return icp_output.canister_status(json.dumps(STATUS | changes) + "\n", C)


def test_a_status() -> None:
    assert status() == CanisterStatus(
        state=RunState.RUNNING,
        module_hash=HASH,
        controllers=(ALICE,),
        memory_bytes=65_790,
        cycles=10_000_000_000_000,
        reserved_cycles=0,
        idle_cycles_per_day=672_322,
        freezing_threshold_s=2_592_000,
    )
    assert status(status="Stopping").state is RunState.STOPPING
    assert status(status="Stopped", module_hash=None).module_hash is None
    assert status(name="chat", cycles=7).cycles == 7


def test_what_everybody_may_read_is_no_status() -> None:
    public = {"id": C, "controllers": [ALICE], "module_hash": f"0x{HASH}"}
    with pytest.raises(RejectError) as caught:
        icp_output.canister_status(json.dumps(public), C)
    assert (caught.value.reject_code, caught.value.error_code) == (5, "IC0512")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Resting"},
        {"status": None},
        {"settings": None},
        {"settings": {"controllers": "x"}},
        {"settings": {"controllers": [1]}},
        {"cycles": "1,000"},
        {"cycles": -1},
        {"cycles": True},
        {"cycles": "9" * 101},
        {"memory_size": [65790]},
        {"module_hash": "0x00"},
        {"module_hash": 5},
    ],
)
def test_a_status_that_can_not_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="icp"):
        status(**changes)


def test_snapshots_are_exact_and_the_oldest_comes_first() -> None:
    entries = [
        {"snapshot_id": SNAPSHOT, "taken_at_timestamp": time, "total_size_bytes": 7}
        for time in (1795304951946404109, 1795304951946404108)
    ]
    listed = icp_output.listed_snapshots(json.dumps({"snapshots": entries}))
    assert [each.taken_at_ns for each in listed] == [1795304951946404108, 1795304951946404109]
    assert icp_output.listed_snapshots('{"snapshots":[]}') == ()
    assert icp_output.created_snapshot(json.dumps(entries[0])) == CanisterSnapshot(
        snapshot_id=SnapshotId(SNAPSHOT), taken_at_ns=1795304951946404109, size_bytes=7
    )
    assert icp_output.uploaded_snapshot(f'{{"snapshot_id":"{SNAPSHOT}"}}') == SNAPSHOT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"snapshots": {}}',
        '{"snapshots": [1]}',
        '{"snapshots": [{}]}',
        '{"snapshots": [{"snapshot_id": "0g"}]}',
        '{"snapshots": [{"snapshot_id": "000"}]}',
        '{"snapshots": []}\n00ff\n',
        "[" * 100_000,
    ],
)
def test_lists_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ToolError, match="can't be read"):
        icp_output.listed_snapshots(text)


def test_principals() -> None:
    assert icp_output.principal(ALICE + "\n") == ALICE
    assert icp_output.principal("2vxsx-fae\n") == "2vxsx-fae"
    for text in ("", "alice", f"{ALICE}\n{ALICE}", "A-B"):
        with pytest.raises(ToolError):
            icp_output.principal(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("Running"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*STATUS, "snapshots", "snapshot_id"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(JSON.map(json.dumps) | st.text(max_size=30))
def test_whatever_it_prints_is_an_answer_or_one_error(text: str) -> None:
    def status_of(printed: str) -> object:
        return icp_output.canister_status(printed, C)

    for read in (status_of, icp_output.listed_snapshots, icp_output.created_snapshot):
        try:
            read(text)
        except BackupError as error:
            assert error.exit_code in (40, 50)  # noqa: PT017 # either is fine, nothing else
