import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.cli import text


@pytest.mark.parametrize(
    ("dirty", "plain"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("a\rb", "ab"),
        ("two\nlines\tand a tab", "two\nlines and a tab"),
        ("windows\r\nlines", "windows\nlines"),
        ("bell\x07 null\x00", "bell null"),
        ("\u202ereversed\u2069", "reversed"),
        ("lone \udc80", "lone \\udc80"),
        ("\x1b", ""),
        ("héllo ✓", "héllo ✓"),
    ],
)
def test_clean_leaves_only_what_can_be_read(dirty: str, plain: str) -> None:
    assert text.clean(dirty) == plain


@given(st.text())
def test_clean_is_safe_and_stable(dirty: str) -> None:
    once = text.clean(dirty)

    assert text.clean(once) == once
    assert not [char for char in once if (char < " " and char != "\n") or "\x7f" <= char <= "\x9f"]
    once.encode("utf-8")


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (1024**3 - 1, "1.0 GiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3072.0 TiB"),
    ],
)
def test_sizes_use_binary_units(count: int | None, told: str) -> None:
    assert text.size(count) == told


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0.0, "0.00 s"), (2.345, "2.35 s"), (9.994, "9.99 s"), (9.996, "10.0 s"), (61.25, "61.2 s")],
)
def test_short_outages_have_two_decimals(amount: float, told: str) -> None:
    assert text.seconds(amount) == told


@pytest.mark.parametrize(
    ("amount", "told"),
    [(999, "999"), (1_500_000, "1.500 M"), (2 * 10**9, "2.000 B"), (3_456 * 10**9, "3.456 T")],
)
def test_cycles_have_a_unit(amount: int, told: str) -> None:
    assert text.cycles(amount) == told


def test_times_are_utc() -> None:
    nanoseconds = 1_767_323_045_120_000_000

    assert text.moment(nanoseconds) == "2026-01-02T03:04:05Z"
    assert text.rfc3339(nanoseconds) == "2026-01-02T03:04:05.12Z"
    assert text.rfc3339(1_767_323_045_000_000_000) == "2026-01-02T03:04:05Z"


def test_tables_align_and_cells_are_cleaned() -> None:
    lines = text.table(("NAME", "SIZE"), [("a\x1b[1mb", "1 B"), ("longer", "2 B")])

    assert lines == ("NAME    SIZE", "ab      1 B", "longer  2 B")


def test_facts_stand_below_one_another() -> None:
    assert text.facts([("A", "1"), ("Long", "2\x07")]) == ("A     1", "Long  2")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("canister chat is empty", "Canister chat is empty."),
        ("it's over", "It's over."),
        ("http://x does not answer", "http://x does not answer."),
        ("network: it is down", "Network: it is down."),
        ("run `dfx-backup recover chat`", "Run `dfx-backup recover chat`."),
        ("Is the network running?", "Is the network running?"),
        ("dfx has no identity 'x'", "dfx has no identity 'x'."),
        ("take_canister_snapshot was refused", "take_canister_snapshot was refused."),
        ("dfx.json can't be read", "dfx.json can't be read."),
        ("`zz` is no id", "`zz` is no id."),
        ("dfx failed:\nno such canister", "dfx failed:\nno such canister"),
        ("", ""),
    ],
)
def test_messages_become_sentences(written: str, told: str) -> None:
    assert text.sentence(written) == told
