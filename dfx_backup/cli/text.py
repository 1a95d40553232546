"""Words and numbers as people read them. Nothing here prints."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating-system commands: titles, links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # control sequences: colours, cursor
    r"|\x1b[@-Z\\-_]?"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_FIRST_WORD = re.compile(r"[a-z]+(?=[ ,;]|: |'[a-z])")
_NAMES = frozenset({"dfx", "icp", "restic"})
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def clean(text: str) -> str:
    r"""Strip what could steer a terminal: escape sequences, control and direction characters.

    Newlines stay, tabs become spaces, and a lone surrogate is written as `\udc80`.
    """
    visible = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
    return visible.replace("\t", " ").encode("utf-8", "backslashreplace").decode("utf-8")


def sentence(text: str) -> str:
    """A message or hint as a sentence: a capital letter first and a full stop last.

    What begins with a name keeps its letters: a tool, or anything that is no plain word.
    """
    visible = clean(text)
    first = _FIRST_WORD.match(visible)
    if first and first[0] not in _NAMES:
        visible = visible[0].upper() + visible[1:]
    closed = not visible or visible.endswith((".", "?", "!", "\u2026")) or "\n" in visible
    return visible if closed else f"{visible}."


def size(count: int | None) -> str:
    """Bytes in the largest unit that keeps the number readable, such as `1.5 MiB`."""
    if count is None:
        return "-"
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def seconds(amount: float) -> str:
    """Seconds of an outage: `2.31 s`, and from ten on `12.3 s`."""
    return f"{amount:.2f} s" if amount < 9.995 else f"{amount:.1f} s"


def counted(number: int, what: str) -> str:
    """A number of things, such as `1 call` or `2 calls`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def rate(amount: float) -> str:
    """Bytes a second in the unit of networks, such as `33.2 MB/s`."""
    return f"{amount / 1e6:.1f} MB/s"


def duration(amount: float) -> str:
    """Seconds as people say them: `18 s`, `4 min`, `2.5 h`."""
    if amount < 100:
        return f"{math.ceil(amount)} s"
    if amount < 5400:
        return f"{round(amount / 60)} min"
    return f"{amount / 3600:.1f} h"


def cycles(amount: int) -> str:
    """Cycles with the usual unit: `1.234 T`, `56.700 B`, or the plain number below a million."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if abs(amount) >= scale:
            return f"{amount / scale:.3f} {unit}"
    return str(amount)


def moment(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as a UTC time to the second: `2026-01-02T03:04:05Z`."""
    whole, _ = divmod(nanoseconds, 10**9)
    return datetime.fromtimestamp(whole, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC, with the fraction that there is."""
    fraction = nanoseconds % 10**9
    text = moment(nanoseconds)
    return text if not fraction else f"{text[:-1]}.{f'{fraction:09d}'.rstrip('0')}Z"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Lines of a table with left-aligned columns, two spaces apart."""
    lines = [tuple(head), *(tuple(clean(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def facts(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Lines `label  value`, the values one below the other."""
    known = [(label, clean(value)) for label, value in pairs]
    width = max((len(label) for label, _ in known), default=0)
    return tuple(f"{label.ljust(width)}  {value}" for label, value in known)


def place(name: str | None, canister_id: str, network: str) -> str:
    """A canister and where it lives: `chat (bkyz2-fmaaa-aaaaa-qaaaq-cai) on local`."""
    named = f"{name} ({canister_id})" if name else canister_id
    return clean(f"{named} on {network}")
