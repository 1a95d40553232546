"""docs/estimates.md is the one documented place of the formulas: its numbers are the code's."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dfx_backup.cli.transfer import WINDOW
from dfx_backup.operations import cycles, durations
from dfx_backup.operations.durations import Span
from dfx_backup.transfer.terms import DEFAULT_WINDOW

GIB = 1 << 30
CALLS = durations.slices(GIB)
TEXT = (Path(__file__).parents[3] / "docs" / "estimates.md").read_text(encoding="utf-8")


def row(label: str) -> list[float]:
    """The numbers in the second column of the row with this label."""
    found = re.search(rf"^\| {re.escape(label)} \| (.+) \|$", TEXT, re.MULTILINE)
    assert found is not None, label
    return [float(each.replace(",", "")) for each in re.findall(r"[\d,.]*\d", found.group(1))]


COSTS: dict[str, list[int]] = {
    "take": [cycles.take_cost(GIB)],
    "load, wasm32": [cycles.load_cost(GIB, wasm64=False)],
    "load, wasm64": [cycles.load_cost(GIB)],
    "download": [cycles.download_cost(GIB, CALLS)],
    "upload, without a zero page": [cycles.upload_cost(GIB, sent=GIB, calls=CALLS)],
}


@pytest.mark.parametrize("label", COSTS)
def test_the_cycles_of_a_gib(label: str) -> None:
    assert row(label) == COSTS[label]


def test_what_keeping_a_gib_costs() -> None:
    found = re.search(r"^\| keep for 30 days \| ([\d,]+) to ([\d,]+) \|$", TEXT, re.MULTILINE)
    assert found is not None

    told = tuple(int(each.replace(",", "")) for each in found.groups())
    assert told == cycles.storage_per_month(GIB)


TIMES: dict[str, Span] = {
    "download": durations.download_time(CALLS, DEFAULT_WINDOW),
    "upload": durations.upload_time(GIB, CALLS, DEFAULT_WINDOW),
    "outage of a take": durations.take_outage(GIB),
    "outage of a load": durations.load_outage(GIB),
}


@pytest.mark.parametrize("label", TIMES)
def test_the_seconds_of_a_gib(label: str) -> None:
    times = TEXT[TEXT.index("| 1 GiB | seconds |") :]
    found = re.search(rf"^\| {label} \| ([\d.]+) to ([\d.]+) \|$", times, re.MULTILINE)
    assert found is not None

    span = TIMES[label]
    assert found.groups() == (f"{span.low:.1f}", f"{span.high:.1f}")


CONSTANTS: dict[str, Callable[[], object]] = {
    "5,000,000 + *i*": lambda: cycles.execution(0) == 5_000_000,
    "1,200,000 + 2,000 for each byte": lambda: cycles.ingress(1) - cycles.ingress() == 2_000,
    "a call without data costs 2,160,000": lambda: cycles.ingress() == 2_160_000,
    "480 bytes beside the data": lambda: cycles.ENVELOPE_BYTES == 480,
    "127,000 to 317,500 cycles a GiB and second": lambda: (
        cycles.STORAGE_RATES == (127_000, 317_500)
    ),
    "takes 1.35 s (median on an application subnet) to 1.75 s": lambda: (
        durations.CALL_S == (1.35, 1.75)
    ),
    "and 50 are in flight": lambda: DEFAULT_WINDOW == WINDOW == 50,
    "at 6,000,000 to 3,000,000 a second": lambda: durations.INGRESS_RATES == (3_000_000, 6_000_000),
    "some 280 times": lambda: (
        round(COSTS["upload, without a zero page"][0] / COSTS["download"][0], -1) == 280
    ),
}


@pytest.mark.parametrize("words", CONSTANTS)
def test_the_constants_in_the_text(words: str) -> None:
    assert words in " ".join(TEXT.split())
    assert CONSTANTS[words]()


def test_an_envelope_is_no_larger_than_estimated() -> None:
    """Of a secp256k1 key, whose public key is the longest."""
    from dfx_backup.ic import management_types as types  # noqa: PLC0415 # this test alone
    from dfx_backup.ic.candid import encode  # noqa: PLC0415 # the same
    from dfx_backup.ic.envelope import call_content, sign  # noqa: PLC0415 # the same
    from dfx_backup.ic.principal import MANAGEMENT, Principal  # noqa: PLC0415 # the same
    from tests.contract.replica_bench import identity  # noqa: PLC0415 # the same

    data = bytes(2_000_000)
    record = {
        "canister_id": Principal.from_text("rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        "snapshot_id": bytes(18),
        "kind": ("stable_memory", {"offset": 1 << 38}),
        "chunk": data,
    }
    arg = encode([types.UPLOAD_DATA_ARGS], [record])
    content = call_content(MANAGEMENT, "upload_canister_snapshot_data", arg, nonce=bytes(16))
    request = sign(identity("alice"), content, now=1_700_000_000.0, expiry_s=240)

    beside = len(request.body) - len(data)
    assert cycles.ENVELOPE_BYTES - 20 <= beside <= cycles.ENVELOPE_BYTES


@pytest.mark.parametrize("nodes", [13, 34, 40])
def test_other_subnets(nodes: int) -> None:
    assert cycles.on_nodes(13_000, nodes) == 1_000 * nodes


def test_zeros_are_not_paid() -> None:
    whole = cycles.upload_cost(GIB, sent=GIB, calls=CALLS)
    half = cycles.upload_cost(GIB, sent=GIB // 2, calls=CALLS // 2 + 1)

    assert half < whole * 0.51


def test_chunks_count_as_a_mebibyte() -> None:
    without = cycles.upload_cost(GIB, sent=5, calls=1)

    assert cycles.upload_cost(GIB, sent=5, calls=1, chunks=1) - without == 1 << 20


def test_slices_are_counted_by_section() -> None:
    assert durations.slices(0, 1, 2_000_000, 2_000_001) == 0 + 1 + 1 + 2
