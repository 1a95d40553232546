"""Unmodified Motoko modules: wasm64 with enhanced persistence, wasm32 with classic persistence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Limits, Replica

USER = b"\x04"
NOTHING = b"DIDL\0\0"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "motoko"
SECOND = 1_000_000_000


def text(value: str) -> bytes:
    return b"DIDL\0\1\x71" + bytes([len(value)]) + value.encode()


def nat(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return b"DIDL\0\1\x7d" + bytes([*out, value])


class Notes:
    def __init__(self, kind: str, state_dir: Path) -> None:
        self.kind = kind
        self.wasm = (FIXTURES / f"notes_{kind}.wasm").read_bytes()
        self.clock = 1_700_000_000 * SECOND
        self.state_dir = state_dir
        self.replica = self.opened()
        self.id = self.replica.create_canister(controllers=[USER])
        self.replica.install(self.id, self.wasm, NOTHING)

    def opened(self) -> Replica:
        return Replica(
            state_dir=self.state_dir / "state",
            cache_dir=self.state_dir.parent / "modules",
            now_ns=lambda: self.clock,
            limits=Limits(update=50_000_000),
        )

    def send(self, method: str, arg: bytes = NOTHING) -> bytes:
        return self.replica.ingress(USER, self.id, method, arg).get()

    def ask(self, method: str) -> bytes:
        return self.replica.query(USER, self.id, method, NOTHING)


@pytest.fixture(params=["enhanced", "classic"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Notes]:
    made = Notes(request.param, tmp_path)
    yield made
    made.replica.close()


def test_messages_calls_and_traps(notes: Notes) -> None:
    assert notes.send("append", text("one")) == nat(1)
    with pytest.raises(Reject, match="assertion failed") as caught:
        notes.send("lose_and_trap")
    assert caught.value.error_code == "IC0503"
    assert notes.send("append_by_call") == nat(3)
    assert notes.send("catch_trap") == b"DIDL\0\1\x7e\1"
    assert notes.ask("get") == b"DIDL\1\x6d\x71\1\0\2\3one\6called"
    assert notes.ask("size_plus_100") == nat(102)


def test_inspection_and_limits(notes: Notes) -> None:
    notes.replica.accepts_ingress(USER, notes.id, "append", text("ham"))
    with pytest.raises(Reject, match="refused message"):
        notes.replica.accepts_ingress(USER, notes.id, "append", text("spam"))
    assert notes.send("count_to", nat(1000)) == nat(1000)
    with pytest.raises(Reject, match="50000000 instructions"):
        notes.send("count_to", nat(100_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("notes", ["enhanced"], indirect=True)
def test_a_message_ends_at_forty_billion_instructions(notes: Notes) -> None:
    notes.replica.close()
    notes.replica = Replica(state_dir=notes.state_dir / "state")
    assert notes.send("count_to", nat(100_000_000)) == nat(100_000_000)
    with pytest.raises(Reject, match="limit of 40000000000 instructions") as caught:
        notes.send("count_to", nat(10**11))
    assert caught.value.error_code == "IC0522"


def test_timers(notes: Notes) -> None:
    notes.replica.tick()
    assert notes.ask("fires") == nat(1)
    notes.replica.tick()
    assert notes.ask("fires") == nat(1)
    notes.clock += 2 * SECOND
    notes.replica.tick()
    assert notes.ask("fires") == nat(2)


def test_upgrades_keep_the_notes(notes: Notes) -> None:
    notes.send("append", text("kept"))
    if notes.kind == "enhanced":
        with pytest.raises(Reject, match="Missing upgrade option"):
            notes.replica.install(notes.id, notes.wasm, NOTHING, "upgrade")
        notes.replica.install(
            notes.id, notes.wasm, NOTHING, "upgrade", wasm_memory_persistence="keep"
        )
    else:
        notes.replica.install(notes.id, notes.wasm, NOTHING, "upgrade")
    assert notes.ask("get") == b"DIDL\1\x6d\x71\1\0\1\4kept"
    assert notes.send("append", text("x")) == nat(2)


def test_the_notes_outlive_the_process(notes: Notes) -> None:
    notes.send("append", text("kept"))
    notes.replica.close()
    notes.replica = notes.opened()
    assert notes.ask("get") == b"DIDL\1\x6d\x71\1\0\1\4kept"
    assert notes.send("append_by_call") == nat(3)


def test_a_copied_state_runs_in_another_canister(notes: Notes) -> None:
    notes.send("append", text("kept"))
    source = notes.replica.canisters[notes.id]
    other = notes.replica.create_canister(controllers=[USER])
    notes.replica.replace_state(
        other,
        module=notes.wasm,
        heap=source.heap.clone(),
        stable=source.stable.clone(),
        globals_=source.globals,
        certified_data=b"",
        chunks={},
    )
    notes.id = other
    assert notes.send("append", text("more")) == nat(2)
    assert notes.ask("get") == b"DIDL\1\x6d\x71\1\0\2\4kept\4more"
