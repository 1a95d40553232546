"""A canister as anybody sees it, and the time as HTTP tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from dfx_backup.errors import NetworkError
from dfx_backup.ic.http_errors import HttpStatusError
from dfx_backup.ic.identity import AnonymousIdentity
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.public_view import SERVICE, PublicView
from dfx_backup.ic.session import Session
from dfx_backup.ic.transport import Answer
from dfx_backup.model import CanisterId

CANISTER = CanisterId("rdmx6-jaaaa-aaaaa-aaadq-cai")
RAW = Principal.from_text(CANISTER).raw


@dataclass
class Tree:
    """A part of the state."""

    leaves: dict[tuple[bytes, ...], bytes]

    def value(self, path: Sequence[bytes]) -> bytes | None:
        return self.leaves.get(tuple(path))


@dataclass
class Found:
    """A certificate that was verified."""

    tree: Tree


class Reader:
    """A session that reads only."""

    def __init__(self, leaves: dict[tuple[bytes, ...], bytes] | HttpStatusError) -> None:
        self._leaves = leaves

    def read_state(self, paths: Sequence[Sequence[bytes]], effective: Principal) -> Any:
        assert effective.to_text() == CANISTER
        assert len(paths) == 1
        if isinstance(self._leaves, HttpStatusError):
            raise self._leaves
        return Found(Tree(self._leaves))

    def query(self, *_args: object) -> bytes:
        raise AssertionError("nothing was asked")


def test_the_interface_is_read_where_it_is_public() -> None:
    path = (b"canister", RAW, b"metadata", b"candid:service")

    assert (
        PublicView(Reader({path: b"service : {}"})).metadata(CANISTER, SERVICE) == b"service : {}"
    )
    assert PublicView(Reader({})).metadata(CANISTER, SERVICE) is None


@pytest.mark.parametrize("status", [403, 404])
def test_a_private_or_missing_section_is_none(status: int) -> None:
    view = PublicView(Reader(HttpStatusError("no", status=status)))

    assert view.metadata(CANISTER, SERVICE) is None


def test_a_server_in_trouble_is_no_answer() -> None:
    view = PublicView(Reader(HttpStatusError("busy", status=503)))

    with pytest.raises(NetworkError, match="busy"):
        view.metadata(CANISTER, SERVICE)


def test_time_is_in_seconds() -> None:
    leb = bytes([0x80, 0xA8, 0xD6, 0xB9, 0x07])  # 2,000,000,000 nanoseconds

    assert PublicView(Reader({(b"time",): leb})).time_s(CANISTER) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("Tue, 15 Nov 1994 08:12:31 GMT", 784_887_151.0),
        ("soon", None),
        ("Tue, 99 Nov 1994 08:12:31 GMT", None),
        (None, None),
    ],
)
def test_what_http_tells_of_the_time(
    monkeypatch: pytest.MonkeyPatch, told: str | None, seconds: float | None
) -> None:
    session = Session("http://127.0.0.1:1", AnonymousIdentity())
    answer = Answer(status=200, body=b"", date=told)
    monkeypatch.setattr(session.transport, "get", lambda _path, **_: answer)

    assert session.server_time() == seconds
