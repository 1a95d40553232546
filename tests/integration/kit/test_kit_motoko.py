"""The Motoko kit: what an app stages, imports into it, and our own SHA-256."""

import hashlib
import random

import pytest

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from tests.fakes.kit_canister import MIB, KitCanister, KitError, sha
from tests.fakes.kit_stage import CHAT

ENDS = (0, 1, 2, 54, 55, 56, 57, 62, 63, 64, 65, 118, 119, 120, 121, 127, 128, 129)


def saved(canister: KitCanister) -> bytes:
    """What the chat makes of its messages now."""
    canister.call("backup_stage", stream="messages")
    return canister.read("messages")


def test_sha256_is_that_of_hashlib_whatever_the_length(chat: KitCanister) -> None:
    chance = random.Random(5)
    data = chance.randbytes(4 * 65_536)
    begin = {"stream": "messages", "chunk_size": 65_536}
    begun = chat.call("backup_import_begin", size=len(data), **begin)
    chat.write(begun["session"], 0, data)
    size = len(data)
    for rest in (*ENDS, *(chance.randrange(4096) for _ in range(20))):
        answer = chat.query(
            "backup_hashes", stream="messages", offset=size - rest, chunk_size=4096, count=1
        )
        assert answer["hashes"] == ([hashlib.sha256(data[size - rest :]).digest()] if rest else [])


def test_staged_once_and_then_read(chat: KitCanister) -> None:
    chat.send("append", "one")
    assert chat.size("messages") == 0
    before = saved(chat)
    chat.send("append", "two")
    assert chat.read("messages") == before
    assert len(saved(chat)) > len(before)
    chat.upgrade(keep=True)
    assert chat.size("messages") > len(before)  # a Region outlives upgrades


def test_the_chat_comes_back_while_it_runs(chat: KitCanister, replica: Replica) -> None:
    for number in range(20):
        chat.send("append", "spam" if number % 5 == 0 else f"message {number}")
    wanted, image = chat.ask("dump"), saved(chat)
    chat.send("remove_spam")
    assert chat.ask("dump") != wanted
    chat.call("backup_stage", stream="messages")
    chat.bring("messages", image, 4096)
    assert chat.ask("dump") == wanted
    assert chat.info()["import_session"] is None
    other = CHAT.install(replica)
    other.bring("messages", image, 4096)
    assert other.ask("dump") == wanted


def test_the_app_changes_in_the_last_message_only(chat: KitCanister) -> None:
    chat.send("append", "kept")
    image = saved(chat)
    chat.send("append", "lost")
    session = chat.begin("messages", image)
    with pytest.raises(Reject, match="messages are being imported"):
        chat.send("append", "in between")
    chat.upgrade(keep=True)  # the session is in stable variables
    with pytest.raises(Reject, match="messages are being imported"):
        chat.send("append", "in between")
    chat.write(session, 0, image)
    assert chat.ask("dump") == ["kept", "lost"]
    chat.finish(session)
    assert chat.ask("dump") == ["kept"]
    chat.send("append", "afterwards")


def test_what_is_no_chat_changes_nothing(chat: KitCanister) -> None:
    chat.send("append", "kept")
    session = chat.begin("messages", b"no Candid")
    chat.write(session, 0, b"no Candid")
    with pytest.raises(Reject):
        chat.call("backup_import_finish", session=session)
    assert chat.ask("dump") == ["kept"]
    chat.call("backup_import_abort", session=session)
    chat.send("append", "more")


def test_nothing_at_all_can_be_imported(chat: KitCanister) -> None:
    chat.send("append", "kept")
    session = chat.begin("messages", b"")
    assert chat.query("backup_read", stream="messages", offset=0, length=0) == b""
    chat.write(session, 0, b"")
    with pytest.raises(Reject) as told:  # no bytes are no Candid
        chat.call("backup_import_finish", session=session)
    assert "Region" not in str(told.value)


def test_nothing_of_an_earlier_copy_shines_through(chat: KitCanister) -> None:
    chat.send("append", "x" * 300_000)
    saved(chat)
    session = chat.begin("messages", b"")
    chat.call("backup_import_abort", session=session)
    zeros = bytes(200_001)
    session = chat.begin("messages", zeros, 4096)
    assert chat.read("messages") == zeros
    assert chat.hashes("messages", 4096) == sha(zeros, 4096)


def test_the_whole_memory_is_no_stream_of_it(chat: KitCanister) -> None:
    with pytest.raises(KitError) as refused:
        chat.query("backup_read", stream="stable_memory", offset=0, length=0)
    assert (refused.value.case, refused.value.value) == ("unknown_stream", "stable_memory")


def fill(chat: KitCanister, count: int) -> None:
    """Stage so many messages of a MiB each."""
    for number in range(count):
        chat.send("append", chr(65 + number % 26) * MIB)
    chat.call("backup_stage", stream="messages")


def test_one_call_hashes_no_more_than_it_may(chat: KitCanister) -> None:
    fill(chat, 21)
    ask = {"stream": "messages", "offset": 0, "chunk_size": MIB, "count": 1000}
    found = chat.query("backup_hashes", **ask)["hashes"]
    # half of five billion instructions; 120 to 250 of them a byte
    assert 2.5e9 / 250 < len(found) * MIB < 2.5e9 / 120
    large = chat.query("backup_hashes", **ask | {"chunk_size": 4 * MIB})["hashes"]
    assert 1 <= len(large) <= 4


@pytest.mark.slow
def test_large_state_in_several_messages(chat: KitCanister) -> None:
    fill(chat, 140)
    image = chat.read("messages")
    session = chat.begin("messages", image)
    assert chat.finish(session) >= 2
    chat.call("backup_stage", stream="messages")
    assert chat.hashes("messages") == sha(image)
