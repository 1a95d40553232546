"""The stores, each through the suite of all stores."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.s3 import S3ObjectStore
from dfx_backup.repository.s3_access import S3Access, S3Location
from dfx_backup.repository.store import ObjectStore
from tests.contract.store_suite import StoreSuite
from tests.fakes.faulty_store import Fault, FaultyStore
from tests.fakes.moto_s3 import moto_s3
from tests.fakes.sloppy_s3 import SloppyS3

ACCESS = S3Access(access_key="key", secret_key="secret", region="us-east-1")


def s3_store(url: str, prefix: str | None = None) -> S3ObjectStore:
    where = f"s3:{url}/bucket/{prefix or uuid.uuid4().hex}"
    return S3ObjectStore(S3Location.parse(where), ACCESS, first_pause=timedelta(milliseconds=5))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_s3("bucket") as url:
        yield url


@pytest.fixture(scope="module")
def sloppy() -> Iterator[SloppyS3]:
    with SloppyS3("bucket") as server:
        yield server


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()


class TestLocal(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return LocalStore(tmp_path / "repository")


class TestS3OnMoto(StoreSuite):
    @pytest.fixture
    def store(self, moto: str) -> ObjectStore:
        return s3_store(moto)


class TestS3OnSloppy(StoreSuite):
    @pytest.fixture
    def store(self, sloppy: SloppyS3) -> ObjectStore:
        return s3_store(sloppy.url)


class TestS3AtTheRootOfABucket(StoreSuite):
    many = 20

    @pytest.fixture
    def store(self) -> Iterator[ObjectStore]:
        with SloppyS3("bucket") as server:
            where = S3Location.parse(f"s3:{server.url}/bucket")
            yield S3ObjectStore(where, ACCESS)


class TestS3OnABusyServer(StoreSuite):
    """Each third request is refused, and pages are short: nobody notices."""

    many = 120

    @pytest.fixture
    def store(self) -> Iterator[ObjectStore]:
        with SloppyS3("bucket") as server:
            server.moods.every = 3
            server.moods.page = 7
            yield s3_store(server.url)


class TestFaultyButCalm(StoreSuite):
    """The wrapper that tests use to make faults changes nothing without a switch."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        return FaultyStore(MemoryStore())


class TestFaultyAndSlow(StoreSuite):
    many = 50

    @pytest.fixture
    def store(self) -> ObjectStore:
        store = FaultyStore(MemoryStore(), pause=0.001)
        store.add("any", Fault.SLOW, times=10_000)
        return store
