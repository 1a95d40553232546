"""One replica with a cache of compiled modules for all tests of the kits."""

from collections.abc import Iterator

import pytest

from dfx_backup.replica.replica import Replica
from tests.fakes.kit_canister import KitCanister
from tests.fakes.kit_stage import CHAT, HEAP, RUST


@pytest.fixture(scope="session")
def replica() -> Iterator[Replica]:
    made = Replica()
    yield made
    made.close()


@pytest.fixture
def rust(replica: Replica) -> KitCanister:
    return RUST.install(replica)


@pytest.fixture
def heap(replica: Replica) -> KitCanister:
    return HEAP.install(replica)


@pytest.fixture
def chat(replica: Replica) -> KitCanister:
    return CHAT.install(replica)
