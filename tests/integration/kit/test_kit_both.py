"""What the kits of both languages promise alike, on the modules that are committed."""

import random
import re
from typing import Any

import pytest

from dfx_backup.replica.candid import parse_did
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from tests.fakes.kit_canister import (
    ANONYMOUS,
    EXAMPLES,
    FRIEND,
    KIT,
    MIB,
    STRANGER,
    KitCanister,
    KitError,
    sha,
)
from tests.fakes.kit_stage import CHAT, HEAP, RUST, Example

METHODS: dict[str, dict[str, Any]] = {
    "backup_info": {},
    "backup_read": {"stream": "ballast", "offset": 0, "length": 1},
    "backup_hashes": {"stream": "ballast", "offset": 0, "chunk_size": MIB, "count": 1},
    "backup_stage": {"stream": "ballast"},
    "backup_import_begin": {"stream": "ballast", "size": 1, "chunk_size": MIB},
    "backup_import_hashes": {"session": 1, "first": 0, "hashes": []},
    "backup_import_write": {"session": 1, "offset": 0, "data": b"1"},
    "backup_import_finish": {"session": 1},
    "backup_import_abort": {"session": 1},
}
QUERIES = ("backup_info", "backup_read", "backup_hashes")


@pytest.fixture(scope="module", params=[RUST, CHAT], ids=["rust", "motoko"])
def example(request: pytest.FixtureRequest) -> Example:
    chosen: Example = request.param
    return chosen


@pytest.fixture(scope="module")
def shared(replica: Replica, example: Example) -> KitCanister:
    """For tests that change nothing."""
    canister = example.install(replica)
    example.fill(canister)
    return canister


@pytest.fixture
def filled(replica: Replica, example: Example) -> KitCanister:
    canister = example.install(replica)
    example.fill(canister)
    return canister


def test_every_method_is_known_here() -> None:
    interface = parse_did((KIT / "backup.did").read_text(encoding="utf-8"))
    assert set(interface.methods) == set(METHODS)


@pytest.mark.parametrize("example", [RUST, HEAP], ids=["rust", "heap"])
def test_an_example_tells_the_interface_of_the_kit(example: Example) -> None:
    kit = (KIT / "backup.did").read_text(encoding="utf-8")
    types_and_methods = kit[kit.index("type Stream") :].rstrip().removesuffix("}")
    assert types_and_methods in example.app
    module = (EXAMPLES / example.module).read_bytes()
    assert module.count(b"icp:public candid:service" + example.app.encode()) == 1


@pytest.mark.parametrize("who", [ANONYMOUS, STRANGER], ids=["anonymous", "stranger"])
@pytest.mark.parametrize("method", METHODS)
def test_others_are_refused_in_every_method(
    shared: KitCanister, monkeypatch: pytest.MonkeyPatch, method: str, who: bytes
) -> None:
    monkeypatch.setattr(shared, "caller", who)
    calls = (shared.call, shared.query) if method in QUERIES else (shared.call,)
    for call in calls:
        with pytest.raises(KitError) as refused:
            call(method, **METHODS[method])
        assert refused.value.case == "unauthorized"


def test_the_anonymous_controller_is_refused_too(replica: Replica, example: Example) -> None:
    canister = example.install(replica)
    replica.canister(canister.id).controllers.append(ANONYMOUS)
    canister.caller = ANONYMOUS
    with pytest.raises(KitError) as refused:
        canister.info()
    assert refused.value.case == "unauthorized"


def test_info_tells_what_there_is(shared: KitCanister, example: Example) -> None:
    info = shared.info()
    assert info["protocol"] == 1
    assert re.fullmatch(r"(rust|motoko) \d+\.\d+\.\d+", info["kit"])
    assert info["canister_version"] == shared.replica.canister(shared.id).version
    assert info["import_session"] is None
    assert shared.size(example.stream) >= 3 * MIB
    assert shared.call("backup_info")["streams"] == info["streams"]


@pytest.mark.parametrize("chunk_size", [4096, 65_536, MIB, 4 * MIB])
def test_hashes_are_those_of_the_bytes(
    shared: KitCanister, example: Example, chunk_size: int
) -> None:
    data = shared.read(example.stream)
    assert shared.hashes(example.stream, chunk_size) == sha(data, chunk_size)


def test_hashes_from_anywhere_and_no_more_than_wanted(
    shared: KitCanister, example: Example
) -> None:
    data = shared.read(example.stream)
    ask = {"stream": example.stream, "offset": 12_345, "chunk_size": 54_321, "count": 3}
    answer = shared.call("backup_hashes", **ask)
    assert answer["hashes"] == sha(data[12_345 : 12_345 + 3 * 54_321], 54_321)
    assert answer["size"] == len(data)
    assert answer["canister_version"] == shared.replica.canister(shared.id).version - 1
    assert shared.query("backup_hashes", **ask | {"count": 0})["hashes"] == []
    assert shared.query("backup_hashes", **ask | {"offset": len(data)})["hashes"] == []


def test_reads_up_to_the_limit_of_the_reply(shared: KitCanister, example: Example) -> None:
    stream, most = example.stream, shared.info()["max_read"]
    assert most > 3 * MIB - 4096
    assert len(shared.query("backup_read", stream=stream, offset=0, length=most)) == most
    with pytest.raises(KitError) as refused:
        shared.query("backup_read", stream=stream, offset=0, length=most + 1)
    assert (refused.value.case, refused.value.value) == ("too_large", {"max": most})
    with pytest.raises(KitError) as refused:
        shared.call("backup_read", stream=stream, offset=0, length=most)
    less = refused.value.value["max"]
    assert refused.value.case == "too_large"
    assert len(shared.call("backup_read", stream=stream, offset=0, length=less)) == less


@pytest.mark.parametrize(
    ("method", "fields", "case"),
    [
        ("backup_read", {"stream": "nothing", "offset": 0, "length": 1}, "unknown_stream"),
        ("backup_read", {"offset": 2**64 - 1, "length": 2}, "out_of_range"),
        ("backup_read", {"offset": 0, "length": 2**32 - 1}, "too_large"),
        ("backup_hashes", {"stream": "nothing"}, "unknown_stream"),
        ("backup_hashes", {"offset": 2**64 - 1}, "out_of_range"),
        ("backup_hashes", {"chunk_size": 0}, "not_supported"),
        ("backup_hashes", {"chunk_size": 4095}, "not_supported"),
        ("backup_hashes", {"chunk_size": 2**32 - 1}, "too_large"),
        ("backup_stage", {"stream": "nothing"}, "unknown_stream"),
        ("backup_import_begin", {"stream": "nothing"}, "unknown_stream"),
        ("backup_import_begin", {"chunk_size": 4095}, "not_supported"),
        ("backup_import_begin", {"chunk_size": 2**32 - 1}, "too_large"),
        ("backup_import_begin", {"size": 2**64 - 1}, "too_large"),
        ("backup_import_begin", {"size": 2**40}, "cannot_grow"),
        ("backup_import_hashes", {}, "no_such_session"),
        ("backup_import_write", {}, "no_such_session"),
        ("backup_import_finish", {}, "no_such_session"),
        ("backup_import_abort", {}, "no_such_session"),
    ],
)
def test_what_can_not_be_done_is_told_with_its_reason(
    shared: KitCanister, example: Example, method: str, fields: dict[str, Any], case: str
) -> None:
    wanted = dict(METHODS[method])
    if "stream" in wanted:
        wanted["stream"] = example.stream
    with pytest.raises(KitError) as refused:
        shared.call(method, **wanted | fields)
    assert refused.value.case == case
    assert shared.info()["import_session"] is None


def test_out_of_range_tells_the_size(shared: KitCanister, example: Example) -> None:
    size = shared.size(example.stream)
    with pytest.raises(KitError) as refused:
        shared.query("backup_read", stream=example.stream, offset=size, length=1)
    assert refused.value.value == {"size": size}


class TestImport:
    """One session, step by step."""

    @pytest.fixture
    def data(self, filled: KitCanister, example: Example) -> bytes:
        return filled.read(example.stream)

    def test_one_at_a_time(self, filled: KitCanister, example: Example, data: bytes) -> None:
        session = filled.begin(example.stream, data)
        told = filled.info()["import_session"]
        assert told == {
            "session": session,
            "stream": example.stream,
            "size": len(data),
            "chunk_size": MIB,
            "hashes_known": len(sha(data)),
        }
        for method in ("backup_import_begin", "backup_stage"):
            with pytest.raises(KitError) as refused:
                filled.call(method, **METHODS[method] | {"stream": example.stream})
            assert (refused.value.case, refused.value.value) == ("import_in_progress", told)
        with pytest.raises(KitError) as wrong:
            filled.write(session + 1, 0, b"1")
        assert wrong.value.case == "no_such_session"

    def test_hashes_come_in_order_and_may_come_again(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        chunk, hashes = 65_536, sha(data, 65_536)
        begun = filled.call(
            "backup_import_begin", stream=example.stream, size=len(data), chunk_size=chunk
        )
        session = begun["session"]
        put = {"session": session, "first": 0, "hashes": hashes[:10]}
        filled.call("backup_import_hashes", **put)
        filled.call("backup_import_hashes", **put | {"first": 5, "hashes": hashes[5:12]})
        assert filled.info()["import_session"]["hashes_known"] == 12
        with pytest.raises(KitError) as gap:
            filled.call("backup_import_hashes", **put | {"first": 13})
        assert (gap.value.case, gap.value.value) == ("incomplete", {"first_missing_hash": 12})
        with pytest.raises(KitError) as early:
            filled.call("backup_import_finish", session=session)
        assert (early.value.case, early.value.value) == ("incomplete", {"first_missing_hash": 12})
        with pytest.raises(KitError) as beyond:
            filled.call("backup_import_hashes", **put | {"first": 12, "hashes": hashes})
        assert (beyond.value.case, beyond.value.value) == ("out_of_range", {"size": len(hashes)})
        with pytest.raises(KitError) as short:
            filled.call("backup_import_hashes", **put | {"first": 12, "hashes": [b"short"]})
        assert short.value.case == "not_supported"
        filled.call("backup_import_hashes", **put | {"first": 12, "hashes": hashes[12:]})
        filled.finish(session)

    def test_a_flipped_byte_is_named_and_can_be_mended(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        session = filled.begin(example.stream, data)
        bad = bytearray(data[2 * MIB : 3 * MIB])
        bad[77] ^= 0x10
        filled.write(session, 2 * MIB, bytes(bad))
        for _ in range(2):
            with pytest.raises(KitError) as found:
                filled.call("backup_import_finish", session=session)
            assert (found.value.case, found.value.value) == ("hash_mismatch", {"offset": 2 * MIB})
        filled.write(session, 2 * MIB + 77, data[2 * MIB + 77 : 2 * MIB + 78])
        filled.finish(session)
        assert filled.call("backup_import_finish", session=session) == ("done", None)  # once more

    def test_a_write_after_the_check_is_checked_again(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        session = filled.begin(example.stream, data)
        filled.write(session, 3 * MIB, b"wrong")
        with pytest.raises(KitError):  # the first three chunks are right
            filled.call("backup_import_finish", session=session)
        filled.write(session, 3 * MIB, data[3 * MIB : 3 * MIB + 5])
        filled.write(session, 0, b"wrong as well")
        with pytest.raises(KitError) as found:
            filled.call("backup_import_finish", session=session)
        assert found.value.value == {"offset": 0}

    def test_a_hash_that_comes_after_the_check_counts(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        session = filled.begin(example.stream, data)
        filled.write(session, 3 * MIB, b"wrong")
        with pytest.raises(KitError):  # the first three chunks are right
            filled.call("backup_import_finish", session=session)
        filled.call("backup_import_hashes", session=session, first=1, hashes=[bytes(32)])
        with pytest.raises(KitError) as found:
            filled.call("backup_import_finish", session=session)
        assert found.value.value == {"offset": MIB}

    def test_writes_stay_inside(self, filled: KitCanister, example: Example, data: bytes) -> None:
        session, most = filled.begin(example.stream, data), filled.info()["max_write"]
        for offset, size in ((len(data) - 1, 2), (2**64 - 1, 1)):
            with pytest.raises(KitError) as refused:
                filled.write(session, offset, bytes(size))
            assert (refused.value.case, refused.value.value) == (
                "out_of_range",
                {"size": len(data)},
            )
        with pytest.raises(KitError) as refused:
            filled.write(session, 0, bytes(most + 1))
        assert (refused.value.case, refused.value.value) == ("too_large", {"max": most})
        filled.write(session, 0, data[:most])

    def test_only_what_differs_is_sent_and_zeros_count(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        session = filled.begin(example.stream, data)
        filled.write(session, MIB, bytes(MIB))
        with pytest.raises(KitError) as found:
            filled.call("backup_import_finish", session=session)
        assert found.value.value == {"offset": MIB}
        assert filled.read(example.stream)[MIB : 2 * MIB] == bytes(MIB)

    def test_an_abort_ends_the_session(
        self, filled: KitCanister, example: Example, data: bytes
    ) -> None:
        session = filled.begin(example.stream, data)
        filled.call("backup_import_abort", session=session)
        assert filled.info()["import_session"] is None
        with pytest.raises(KitError):
            filled.write(session, 0, b"1")
        assert filled.begin(example.stream, data) != session


@pytest.mark.parametrize("seed", range(4))
def test_finish_is_right_whatever_was_written(
    replica: Replica, example: Example, seed: int
) -> None:
    chance = random.Random(seed)
    chunk = 4096
    wanted = chance.randbytes(9 * chunk + chance.randrange(chunk))
    there = bytearray(len(wanted))
    canister = example.install(replica)
    session = canister.begin(example.stream, wanted, chunk)
    for _ in range(40):
        start = chance.randrange(len(wanted))
        end = min(len(wanted), start + chance.choice((1, 100, chunk, 3 * chunk)))
        data = bytes(end - start) if chance.random() < 0.2 else wanted[start:end]
        canister.write(session, start, data)
        there[start:end] = data
        bad = next(
            at for at in range(0, len(wanted), chunk) if there[at:][:chunk] != wanted[at:][:chunk]
        )
        with pytest.raises(KitError) as found:
            canister.call("backup_import_finish", session=session)
        assert (found.value.case, found.value.value) == ("hash_mismatch", {"offset": bad})


def test_a_named_principal_may_call_unless_it_is_the_anonymous_one(heap: KitCanister) -> None:
    heap.caller = FRIEND
    assert heap.bring("stable_memory", bytes(10)) == [0]
    for who in (ANONYMOUS, STRANGER):
        heap.caller = who
        with pytest.raises(KitError) as refused:
            heap.info()
        assert refused.value.case == "unauthorized"


def test_a_friend_of_the_rust_example_may_do_it_all(rust: KitCanister) -> None:
    rust.send("befriend", FRIEND)
    rust.send("befriend", ANONYMOUS)
    rust.caller = FRIEND
    RUST.fill(rust)
    assert rust.bring("ballast", b"friend" * 1_000_000) == [at * MIB for at in range(6)]
    rust.caller = ANONYMOUS
    with pytest.raises(KitError) as refused:
        rust.info()
    assert refused.value.case == "unauthorized"


def test_inspection_lets_nobody_else_in(rust: KitCanister) -> None:
    arg = rust.arg("backup_info")
    rust.replica.accepts_ingress(rust.caller, rust.id, "backup_info", arg)
    rust.replica.accepts_ingress(STRANGER, rust.id, "get", rust.app.encode_args("get", 1))
    for who in (STRANGER, ANONYMOUS):
        with pytest.raises(Reject, match="rejected the message"):
            rust.replica.accepts_ingress(who, rust.id, "backup_info", arg)
