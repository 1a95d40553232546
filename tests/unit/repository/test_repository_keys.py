"""Opening a repository: passwords, keys, and what is no repository."""

import hashlib
import json

import pytest

from dfx_backup.errors import DamageError, NoRepositoryError, RefusedError, WrongKeyError
from dfx_backup.repository.config import encode_config, new_config
from dfx_backup.repository.keys import Password, new_master, write_key
from dfx_backup.repository.layout import CONFIG_NAME, ObjectKind, list_objects, object_name
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.repository import Repository, is_repository
from tests.fakes.repositories import (
    PASSWORD,
    FixedMachine,
    back_up,
    contents,
    new_repository,
    reopened,
    this_machine,
)

OTHER = Password("another one")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def key_names(store: MemoryStore) -> list[str]:
    return [info.name for _, info in list_objects(store, ObjectKind.KEY)]


def test_there_is_none(store: MemoryStore) -> None:
    assert not is_repository(store)
    with pytest.raises(NoRepositoryError, match="no repository in memory"):
        reopened(store)


def test_init_and_open(store: MemoryStore) -> None:
    made = Repository.init(store, Password(PASSWORD), this_machine())

    assert is_repository(store)
    assert reopened(store).config == made.config
    assert reopened(store).id == made.id
    document = json.loads(store.get(key_names(store)[0]))
    assert document["N"] >= 32768
    assert {info.name for info in store.list("")} == {CONFIG_NAME, *key_names(store)}


def test_nothing_secret_lies_open_in_the_store(store: MemoryStore) -> None:
    repository = new_repository(store)
    back_up(repository, {"a.bin": b"very secret " * 1000})

    everything = b"".join(data for data, _ in store.objects.values())

    assert b"secret" not in everything
    assert PASSWORD.encode() not in everything


def test_a_wrong_password_opens_nothing(store: MemoryStore) -> None:
    new_repository(store)

    with pytest.raises(WrongKeyError, match="the password does not open memory") as caught:
        Repository.open(store, OTHER, this_machine())
    assert caught.value.exit_code == 12


def test_there_is_one_already(store: MemoryStore) -> None:
    new_repository(store)

    with pytest.raises(RefusedError, match="already"):
        new_repository(store)


def test_a_repository_that_lost_its_config_is_not_written_over(store: MemoryStore) -> None:
    back_up(new_repository(store), {"a.bin": b"x"})
    store.delete(CONFIG_NAME)

    with pytest.raises(RefusedError, match="lost its config"):
        new_repository(store)


def test_what_a_killed_init_left_is_no_hindrance(store: MemoryStore) -> None:
    machine = this_machine()
    write_key(store, Password(PASSWORD), new_master(machine.random), machine)

    made = new_repository(store)

    assert len(key_names(store)) == 1
    assert reopened(store).id == made.id


def test_blob_sizes(store: MemoryStore) -> None:
    made = Repository.init(store, OTHER, this_machine(), blob_size=262144)

    assert made.config.blob_size == 262144
    assert Repository.open(store, OTHER, this_machine()).config.blob_size == 262144
    with pytest.raises(ValueError, match="5 bytes"):
        Repository.init(MemoryStore(), OTHER, this_machine(), blob_size=5)


def test_several_passwords(store: MemoryStore) -> None:
    repository = new_repository(store)

    added = repository.keys.add(OTHER)

    second = Repository.open(store, OTHER, this_machine())
    assert second.keys.current == added
    listed = second.keys.list()
    assert [key.current for key in listed] == [key.key_id == added for key in listed]
    assert {key.username for key in listed} == {"tester"}
    with pytest.raises(RefusedError, match="opened the repository"):
        second.keys.remove(added)
    second.keys.remove(repository.keys.current)
    with pytest.raises(WrongKeyError):
        reopened(store)
    for key_id in ("ab" * 32, "../config"):
        with pytest.raises(RefusedError, match="no key"):
            second.keys.remove(key_id)


def test_a_changed_password(store: MemoryStore) -> None:
    repository = new_repository(store)
    commit = back_up(repository, {"a.bin": b"x"})

    repository.keys.change(OTHER)

    with pytest.raises(WrongKeyError):
        reopened(store)
    assert contents(Repository.open(store, OTHER, this_machine()), commit.snapshot_id)
    assert len(key_names(store)) == 1


def test_a_damaged_key_is_named_unless_another_opens(store: MemoryStore) -> None:
    repository = new_repository(store)
    first = object_name(ObjectKind.KEY, repository.keys.current)
    repository.keys.add(OTHER)
    data = store.get(first)
    store.put(first, data[:-3] + b"xyz")

    assert Repository.open(store, OTHER, this_machine()).id == repository.id
    with pytest.raises(DamageError, match=first):
        reopened(store)


@pytest.mark.parametrize(
    "change",
    [
        {"N": 1 << 40},
        {"N": 3},
        {"N": "many"},
        {"r": 1 << 20},
        {"p": 1 << 20},
        {"p": 0},
        {"kdf": "none"},
        {"salt": "!"},
        {"data": None},
        {"created": "soon"},
    ],
)
def test_a_key_that_nobody_made_costs_nothing(store: MemoryStore, change: dict) -> None:
    name = object_name(ObjectKind.KEY, new_repository(store).keys.current)
    text = json.dumps(json.loads(store.get(name)) | change).encode()
    store.delete(name)
    strange = object_name(ObjectKind.KEY, hashlib.sha256(text).hexdigest())
    store.put(strange, text)

    with pytest.raises(DamageError, match=f"{strange} in memory can't be understood"):
        reopened(store)


def test_a_repository_without_keys(store: MemoryStore) -> None:
    store.delete(object_name(ObjectKind.KEY, new_repository(store).keys.current))

    with pytest.raises(DamageError, match="no keys"):
        reopened(store)


def test_a_damaged_config_is_not_a_wrong_password(store: MemoryStore) -> None:
    new_repository(store)
    data = store.get(CONFIG_NAME)
    store.put(CONFIG_NAME, data[:40] + b"?" + data[41:])

    with pytest.raises(DamageError, match="config of memory does not fit"):
        reopened(store)


def test_a_newer_version_is_told(store: MemoryStore) -> None:
    repository = new_repository(store)
    text = encode_config(repository.config).replace(b'"version":2', b'"version":3')
    store.put(CONFIG_NAME, repository.sealer.seal(text))

    with pytest.raises(RefusedError, match="version 3"):
        reopened(store)


def test_the_same_randomness_and_time_make_the_same_bytes() -> None:
    def made() -> dict[str, tuple[bytes, float]]:
        store = MemoryStore(clock=lambda: 0.0)
        machine = FixedMachine(7).machine()
        repository = Repository.init(store, Password(PASSWORD), machine)
        with repository.writer(workers=1) as writer:
            writer.add("a.bin", bytes(70_000) + b"abc")
        return store.objects

    assert made() == made()
    assert new_config(FixedMachine(7).machine().random, blob_size=65536).id
