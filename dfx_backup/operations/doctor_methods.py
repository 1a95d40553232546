"""Findings about a canister's own methods: what anybody, without a key, is given of its memory.

Queries only, with the smallest arguments there are: a query changes nothing. What may change
something is named and never called.
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dfx_backup.errors import NetworkError, RejectError
from dfx_backup.ic import stable_candid
from dfx_backup.ic.candid import NAT8, NAT64, CandidError, Type, Value, decode, encode
from dfx_backup.ic.candid_service import Method, methods
from dfx_backup.ic.candid_types import label_tag
from dfx_backup.ic.public_view import SERVICE
from dfx_backup.model import CanisterId
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    doubt,
    failure,
    fine,
    unknown,
)

KNOWN: Mapping[str, tuple[tuple[Type, Value], ...]] = {
    "stable_mem_read": ((NAT64, 0),),
    "stable_size": (),
    "stable_read": ((NAT64, 0), (NAT64, 0)),
    "db_download": ((NAT64, 0),),
    "controller_stable_memory_size": (),
    "controller_stable_memory_read": ((NAT64, 0), (NAT64, 0)),
    "controller_download_state_snapshot": ((NAT8, 0), (NAT64, 0), (NAT64, 0)),
}
"""Methods of canisters in the wild that hand out memory, with arguments that ask for the least."""

MAX_PROBES = 30
"""Methods that are asked at most."""

_MOST_NAMES, _LONGEST_NAME = 10, 60
_ANY_STREAM = "stable_memory"
_OURS = re.compile(r"backup_(?:info|read|hashes|stage|import_\w+)")
_SUSPECT = re.compile(
    r"(?:^|_)(?:dump|export|backup|download|stable_mem(?:ory)?_read|stable_read|raw_memory"
    r"|state_snapshot|memory_read)(?:_|$)",
    re.IGNORECASE,
)
_REFUSALS = frozenset({"IC0406", "IC0502", "IC0503"})
"""The canister rejected, or trapped."""
_ABSENT = frozenset({"IC0536", "IC0537"})
"""No such method; no code at all."""
_NO = frozenset(
    label_tag(word)
    for each in ("err", "error", "unauthorized", "not_authorized", "forbidden", "denied")
    for word in (each, each.capitalize(), each.title().replace("_", ""))
)
"""Cases of a variant by which canisters say no."""


class View(Protocol):
    """What anybody sees of a canister; `ic.public_view.PublicView` is one."""

    def metadata(self, canister: CanisterId, section: str, /) -> bytes | None:
        """A public metadata section, or None."""

    def query(self, canister: CanisterId, method: str, arg: bytes, /) -> bytes:
        """Ask a query method."""


class Answer(enum.Enum):
    """How a method treats somebody without a key."""

    GIVEN = "answers"
    REFUSED = "refuses"
    ABSENT = "is not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What became of a question."""

    answer: Answer
    reply: bytes = b""


def look(view: View, canister: CanisterId, about: str) -> list[Finding]:
    """What anybody is given of a canister.

    Args:
        view: without a key.
        canister: which one.
        about: its name for the findings.
    """
    return [
        _caught(Topic.KIT, about, lambda: _kit(view, canister, about)),
        _caught(Topic.DUMPS, about, lambda: _dumps(view, canister, about)),
    ]


def _caught(topic: Topic, about: str, part: Callable[[], Finding]) -> Finding:
    try:
        return part()
    except NetworkError as error:
        return unknown(topic, error, about=about)


def _kit(view: View, canister: CanisterId, about: str) -> Finding:
    """The kit's methods must refuse whoever has no key."""
    info = _ask(view, canister, "backup_info", encode([], []))
    stream = _first_stream(info.reply) or _ANY_STREAM
    asked = {"stream": stream, "offset": 0, "length": 1}
    read = _ask(view, canister, "backup_read", encode([stable_candid.READ], [asked]))
    told = {"backup_info": info.answer, "backup_read": read.answer}
    open_to_all = [name for name, answer in told.items() if answer is Answer.GIVEN]
    if open_to_all:
        return failure(
            Topic.KIT,
            f"{' and '.join(open_to_all)} answers anonymous callers: anyone can download the"
            " canister's memory",
            "let the guard refuse everybody but controllers and the principals that export"
            " (docs/stable-endpoints.md)",
            about=about,
        )
    if all(answer is Answer.ABSENT for answer in told.values()):
        return fine(Topic.KIT, "it has none", about=about)
    return fine(Topic.KIT, "they refuse anonymous callers", about=about)


def _first_stream(reply: bytes) -> str | None:
    try:
        case, value = decode(reply, [stable_candid.INFO_ANSWER])[0]
    except CandidError:
        return None
    streams = value["streams"] if case == "ok" else []
    return streams[0]["name"] if streams else None


def _dumps(view: View, canister: CanisterId, about: str) -> Finding:
    """Methods that give memory to everybody, known ones and those whose names suggest it."""
    did = view.metadata(canister, SERVICE)
    told = () if did is None else methods(did.decode("utf-8", "replace"))
    probes, unasked = _probes(told)
    given = [
        name
        for name, argument in probes.items()
        if _ask(view, canister, name, _encoded(argument)).answer is Answer.GIVEN
    ]
    known = [name for name in given if name in KNOWN]
    if known:
        return failure(
            Topic.DUMPS,
            f"{', '.join(known)} answers anonymous callers: anyone can download what it gives",
            "let it refuse callers who are not controllers",
            about=about,
        )
    if given:
        return doubt(
            Topic.DUMPS,
            f"{_names(given)} answers anonymous callers",
            "make sure that everybody may have what it gives",
            about=about,
        )
    if unasked:
        return doubt(
            Topic.DUMPS,
            f"not tried, since it is no query or wants more than numbers: {_names(unasked)}",
            "make sure that it looks at its caller",
            about=about,
        )
    where = "; its interface is not public, so that known names alone were tried"
    return fine(Topic.DUMPS, f"none found{where if did is None else ''}", about=about)


def _names(names: Sequence[str]) -> str:
    """Names that a canister chose, as many as one line bears."""
    shown = [name[:_LONGEST_NAME] for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _probes(
    told: tuple[Method, ...],
) -> tuple[dict[str, tuple[tuple[Type, Value], ...]], list[str]]:
    """What is asked with which argument, and what only may be a dump."""
    probes = dict(KNOWN)
    unasked = []
    for method in told:
        named = method.name in KNOWN or _SUSPECT.search(method.name)
        if not named or _OURS.fullmatch(method.name):
            continue
        if method.query and method.harmless is not None and len(probes) < MAX_PROBES:
            probes[method.name] = method.harmless
        else:
            probes.pop(method.name, None)
            unasked.append(method.name)
    return probes, unasked


def _encoded(argument: tuple[tuple[Type, Value], ...]) -> bytes:
    return encode([type_ for type_, _ in argument], [value for _, value in argument])


def _ask(view: View, canister: CanisterId, method: str, arg: bytes) -> _Asked:
    """Ask as anybody.

    Raises:
        NetworkError: it could not be asked: no answer, or the canister is stopped.
    """
    try:
        reply = view.query(canister, method, arg)
    except RejectError as error:
        if error.error_code in _ABSENT:
            return _Asked(answer=Answer.ABSENT)
        if error.error_code in _REFUSALS:
            return _Asked(answer=Answer.REFUSED)
        raise
    return _Asked(answer=Answer.REFUSED if _says_no(reply) else Answer.GIVEN, reply=reply)


def _says_no(reply: bytes) -> bool:
    """Whether a reply is a variant whose case is an error."""
    try:
        values = decode(reply, None)
    except CandidError:
        return False  # whatever it is, it was given
    first = values[0] if values else None
    if not isinstance(first, tuple):
        return False
    return first[0].removeprefix("_") in {str(tag) for tag in _NO}
