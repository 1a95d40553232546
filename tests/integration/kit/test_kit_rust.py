"""The Rust kit: memories, their import mode, and the recipe for a heap."""

import pytest

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from tests.fakes.kit_canister import MIB, KitCanister, KitError, sha
from tests.fakes.kit_stage import HEAP, RUST

PAGE = 65_536


def raw(canister: KitCanister) -> bytes:
    """Stable memory as the replica has it."""
    stable = canister.replica.canister(canister.id).stable
    return bytes(stable.read(0, stable.size))


def test_the_streams_are_the_memories(rust: KitCanister) -> None:
    rust.send("put", 1, "one")
    rust.send("fill", 0, 8, 7)
    kinds = {each["name"]: each["kind"] for each in rust.info()["streams"]}
    assert kinds == {
        "stable_memory": ("stable_memory", None),
        "ballast": ("virtual_memory", 1),
        "motto": ("app", None),
    }
    whole = rust.read("stable_memory")
    assert whole == raw(rust)
    assert rust.size("ballast") == 8 * PAGE
    assert whole.count(rust.read("ballast")) == 1  # eight pages of one bucket


class TestWholeMemory:
    """All that the app knows lies in the memory that is written."""

    @pytest.fixture
    def image(self, rust: KitCanister) -> bytes:
        """Stable memory as it was, before notes were lost and others came."""
        rust.send("put", 1, "one")
        rust.send("put", 2, "two")
        image = rust.read("stable_memory")
        rust.send("put", 1, "lost")
        rust.send("fill", 0, 200, 9)
        return image

    def test_comes_back_with_an_upgrade(self, rust: KitCanister, image: bytes) -> None:
        after = rust.size("stable_memory")
        assert rust.bring("stable_memory", image)
        now = raw(rust)
        assert now[: len(image)] == image
        assert len(now) == after > len(image)
        assert not any(now[len(image) :])
        rust.upgrade(skip_pre_upgrade=True)
        assert [rust.ask("get", key) for key in (1, 2, 3)] == ["one", "two", None]
        assert not rust.ask("is_importing")
        rust.send("put", 3, "three")

    def test_the_mode_holds_until_then(self, rust: KitCanister, image: bytes) -> None:
        def refuses() -> None:
            assert rust.ask("is_importing")
            with pytest.raises(Reject, match="memory is being imported"):
                rust.send("put", 3, "three")
            with pytest.raises(Reject, match="an import of memory is under way"):
                rust.upgrade()

        session = rust.begin("stable_memory", image)
        refuses()
        for at in range(0, len(image), MIB):
            rust.write(session, at, image[at : at + MIB])
            refuses()
        rust.finish(session)
        refuses()
        assert rust.info()["import_session"]["session"] == session
        with pytest.raises(KitError) as closed:
            rust.write(session, 0, b"1")
        assert closed.value.case == "no_such_session"
        other = rust.begin("ballast", b"another one first")  # both before one upgrade
        rust.call("backup_import_abort", session=other)
        refuses()
        rust.upgrade(skip_pre_upgrade=True)
        rust.upgrade()
        assert rust.ask("get", 1) == "one"

    def test_an_abort_undoes_nothing(self, rust: KitCanister, image: bytes) -> None:
        session = rust.begin("stable_memory", image)
        rust.call("backup_import_abort", session=session)
        assert not rust.ask("is_importing")  # nothing was written
        session = rust.begin("stable_memory", image)
        rust.write(session, 0, image[:1])
        rust.call("backup_import_abort", session=session)
        assert rust.ask("is_importing")
        assert rust.info()["import_session"] is None
        rust.bring("stable_memory", image)
        rust.upgrade(skip_pre_upgrade=True)
        assert rust.ask("get", 1) == "one"

    def test_neither_session_nor_guard_is_in_it(self, rust: KitCanister, image: bytes) -> None:
        before = raw(rust)
        rust.send("befriend", b"\x0f" * 29)
        session = rust.begin("stable_memory", before)
        assert raw(rust) == before
        rust.finish(session)
        assert raw(rust) == before
        assert len(image) < len(before)


def test_a_larger_memory_is_grown(rust: KitCanister) -> None:
    rust.send("fill", 0, 1, 7)
    data = b"\1" * (40 * PAGE + 5)
    rust.bring("ballast", data)
    assert rust.size("ballast") == 41 * PAGE
    assert rust.read("ballast") == data + bytes(PAGE - 5)


def test_zeros_overwrite_and_the_tail_is_cleared(rust: KitCanister) -> None:
    rust.send("fill", 0, 80, 7)
    old = rust.read("ballast")
    data = old[: 2 * MIB] + bytes(MIB) + old[3 * MIB : 4 * MIB - 99]
    assert rust.bring("ballast", data) == [2 * MIB, 3 * MIB]
    assert rust.read("ballast") == data + bytes(len(old) - len(data))


def test_memory_that_the_app_takes_up_needs_no_upgrade(rust: KitCanister) -> None:
    rust.send("fill", 0, 16, 7)
    session = rust.begin("ballast", b"\1" * MIB)
    rust.write(session, 0, b"\1" * MIB)
    assert rust.ask("is_importing")
    rust.finish(session)
    assert not rust.ask("is_importing")
    assert rust.info()["import_session"] is None
    assert rust.call("backup_import_finish", session=session) == ("done", None)
    rust.send("fill", 16, 1, 7)
    assert rust.size("ballast") == 17 * PAGE
    rust.upgrade()


class TestApp:
    """A stream that the app makes of its heap."""

    def test_is_made_once_and_then_read(self, rust: KitCanister) -> None:
        rust.send("set_motto", "slow and steady")
        assert rust.size("motto") == 0
        assert rust.call("backup_stage", stream="motto")["streams"][2]["size"] == 15
        rust.send("set_motto", "fast")
        assert rust.read("motto") == b"slow and steady"
        assert rust.hashes("motto") == sha(b"slow and steady")
        rust.upgrade()
        assert rust.size("motto") == 0

    def test_comes_back_at_once(self, rust: KitCanister) -> None:
        rust.send("set_motto", "fast")
        rust.bring("motto", b"slow and steady")
        assert rust.ask("motto") == "slow and steady"
        assert not rust.ask("is_importing")
        rust.bring("motto", b"")
        assert rust.ask("motto") == ""

    def test_that_the_app_can_not_read_changes_nothing(self, rust: KitCanister) -> None:
        rust.send("set_motto", "fast")
        session = rust.begin("motto", b"\xff")
        rust.write(session, 0, b"\xff")
        with pytest.raises(Reject, match="a motto is UTF-8"):
            rust.call("backup_import_finish", session=session)
        assert rust.ask("motto") == "fast"
        rust.call("backup_import_abort", session=session)
        assert not rust.ask("is_importing")
        rust.upgrade()


def test_one_call_hashes_no_more_than_it_may(rust: KitCanister) -> None:
    rust.send("fill", 0, 48 * 16, 7)
    ask = {"stream": "ballast", "offset": 0, "chunk_size": MIB, "count": 1000}
    first = rust.query("backup_hashes", **ask)["hashes"]
    # half of five billion instructions; 50 to 80 of them a byte
    assert 2.5e9 / 80 < len(first) * MIB < 2.5e9 / 50
    large = rust.query("backup_hashes", **ask | {"chunk_size": 16 * MIB})["hashes"]
    assert 1 <= len(large) <= 3
    assert rust.hashes("ballast") == sha(rust.read("ballast"))


@pytest.mark.slow
def test_a_large_memory_in_several_messages(replica: Replica) -> None:
    rust = RUST.install(replica)
    size = 320 * MIB
    rust.send("fill", 0, size // PAGE, 7)
    data = rust.read("ballast")
    assert rust.hashes("ballast") == sha(data)
    session = rust.begin("ballast", data[: size - MIB])
    assert rust.finish(session) >= 2
    assert rust.read("ballast", size - MIB) == bytes(MIB)
    session = rust.begin("ballast", data)
    with pytest.raises(KitError) as found:
        rust.finish(session)
    assert found.value.value == {"offset": size - MIB}


class TestHeap:
    """The recipe: a forced upgrade serialises the heap, one without pre_upgrade reads it."""

    def test_round_trip(self, heap: KitCanister, replica: Replica) -> None:
        for number in range(100):
            heap.send("put", f"number {number}", number)
        assert heap.size("stable_memory") == 0
        heap.upgrade()
        image = heap.read("stable_memory")
        assert b"number 99" in image
        heap.send("put", "number 99", 0)
        heap.bring("stable_memory", image)
        with pytest.raises(Reject, match="an import of memory is under way"):
            heap.upgrade()
        assert raw(heap) == image
        heap.upgrade(skip_pre_upgrade=True)
        assert heap.ask("get", "number 99") == 99
        other = HEAP.install(replica)
        other.bring("stable_memory", image)
        other.upgrade(skip_pre_upgrade=True)
        assert [other.ask("get", f"number {number}") for number in range(100)] == list(range(100))
        other.upgrade()  # from here on as ever
        assert other.ask("get", "number 7") == 7

    def test_an_upgrade_in_between_is_refused(self, heap: KitCanister) -> None:
        heap.send("put", "one", 1)
        heap.upgrade()
        image = heap.read("stable_memory")
        session = heap.begin("stable_memory", image)
        heap.write(session, 0, image)
        with pytest.raises(Reject, match="an import of memory is under way"):
            heap.upgrade()
        heap.finish(session)
        heap.upgrade(skip_pre_upgrade=True)
        assert heap.ask("get", "one") == 1
