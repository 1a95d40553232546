"""What every store of objects promises. A test class inherits it and provides `store`."""

import concurrent.futures
import os
import time

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.repository.store import MissingObjectError, ObjectStore

A = "data/ab/" + "ab" * 32
B = "data/cd/" + "cd" * 32
KEY = "keys/" + "0f" * 32


class StoreSuite:
    """The promises; `store` is an empty one.

    Attributes:
        many: how many objects the test of long listings writes.
    """

    many = 1_050

    def test_an_object_is_read_as_it_was_written(self, store: ObjectStore) -> None:
        data = os.urandom(100_000)
        store.put(A, data)
        assert store.get(A) == data
        assert isinstance(store.get(A), bytes)
        assert store.size(A) == len(data)
        assert store.exists(A)

    def test_an_object_comes_in_pieces_of_any_kind(self, store: ObjectStore) -> None:
        whole = os.urandom(5_000)
        view = memoryview(whole)
        pieces = [view[:1], bytearray(whole[1:100]), b"", whole[100:]]
        pieces += [memoryview(b"x")] * 1_500
        store.put(A, pieces)
        assert store.get(A) == whole + b"x" * 1_500
        store.put(B, view[10:20])
        assert store.get(B) == whole[10:20]

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put(A, b"")
        assert store.exists(A)
        assert store.get(A) == b""
        assert store.size(A) == 0

    def test_sixteen_mebibytes(self, store: ObjectStore) -> None:
        data = os.urandom(1 << 20) * 16
        store.put(A, data)
        assert store.size(A) == len(data)
        assert store.get_range(A, 12_345_678, 1_000) == data[12_345_678:12_346_678]
        assert store.get(A) == data

    def test_parts_are_read_exactly(self, store: ObjectStore) -> None:
        data = bytes(range(256)) * 4
        store.put(A, data)
        for offset, length in ((0, 1), (0, 1024), (1, 10), (1023, 1), (1000, 24)):
            assert store.get_range(A, offset, length) == data[offset : offset + length]

    def test_a_part_beyond_the_end_is_damage(self, store: ObjectStore) -> None:
        store.put(A, bytes(100))
        for offset, length in ((0, 101), (99, 2), (100, 1), (1_000, 5)):
            with pytest.raises(DamageError) as caught:
                store.get_range(A, offset, length)
            assert not isinstance(caught.value, MissingObjectError)

    def test_what_is_missing_is_named(self, store: ObjectStore) -> None:
        for read in (
            store.get,
            store.size,
            lambda name: store.get_range(name, 0, 1),
        ):
            with pytest.raises(MissingObjectError) as caught:
                read(A)
            assert caught.value.name == A
        assert not store.exists(A)

    def test_a_deleted_object_is_gone_and_may_be_deleted_again(self, store: ObjectStore) -> None:
        store.put(A, b"1")
        store.put(B, b"2")
        store.delete(A)
        assert not store.exists(A)
        store.delete(A)
        assert [info.name for info in store.list("data/")] == [B]

    def test_a_write_may_be_repeated(self, store: ObjectStore) -> None:
        store.put(A, b"same")
        store.put(A, b"same")
        assert store.get(A) == b"same"
        assert len(list(store.list(""))) == 1

    def test_listings_tell_names_sizes_and_times(self, store: ObjectStore) -> None:
        before = time.time()
        store.put(A, b"12345")
        store.put(KEY, b"1")
        store.put("config", b"123")
        after = time.time()
        found = {info.name: info for info in store.list("")}
        assert {name: info.size for name, info in found.items()} == {A: 5, KEY: 1, "config": 3}
        for info in found.values():
            assert before - 2 <= info.modified <= after + 2  # S3 tells whole seconds

    def test_listings_are_of_one_folder(self, store: ObjectStore) -> None:
        for name in (A, B, KEY, "config"):
            store.put(name, b"x")
        assert {info.name for info in store.list("data/")} == {A, B}
        assert {info.name for info in store.list("data/ab/")} == {A}
        assert {info.name for info in store.list("keys/")} == {KEY}
        assert list(store.list("locks/")) == []

    def test_a_folder_is_not_the_beginning_of_a_name(self, store: ObjectStore) -> None:
        store.put("data-old/x", b"x")
        store.put(A, b"x")
        assert [info.name for info in store.list("data/")] == [A]

    def test_long_listings_are_complete(self, store: ObjectStore) -> None:
        names = {f"data/{number % 256:02x}/{number:064x}" for number in range(self.many)}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, name.encode()), sorted(names)))
        found = [info.name for info in store.list("data/")]
        assert len(found) == len(names)
        assert set(found) == names

    def test_threads_may_share_it(self, store: ObjectStore) -> None:
        def work(number: int) -> bool:
            name = f"data/00/{number:064x}"
            data = bytes([number]) * 10_000
            store.put(name, data)
            return store.get(name) == data and store.get_range(name, 5, 5) == data[5:10]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(40)))

    @pytest.mark.parametrize(
        "name",
        ["", "/etc/passwd", "../x", "data/../../x", "a//b", "a/", "A", "ä", "a b", "a\n", ".x"],
    )
    def test_names_that_lead_elsewhere_are_refused(self, store: ObjectStore, name: str) -> None:
        for use in (
            store.get,
            store.size,
            store.delete,
            store.exists,
            lambda name: store.put(name, b""),
            lambda name: store.get_range(name, 0, 1),
        ):
            with pytest.raises(ValueError, match="no name"):
                use(name)

    @pytest.mark.parametrize("prefix", ["data", "/", "../", "data/../", "/data/"])
    def test_prefixes_that_lead_elsewhere_are_refused(
        self, store: ObjectStore, prefix: str
    ) -> None:
        with pytest.raises(ValueError, match="no prefix"):
            list(store.list(prefix))

    def test_it_says_where_it_is(self, store: ObjectStore) -> None:
        assert store.describe()
        assert "secret" not in store.describe()
