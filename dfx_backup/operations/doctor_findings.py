"""What `doctor` tells: findings, how bad they are, and how a question becomes one."""

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dfx_backup.errors import (
    BackupError,
    CanisterDownError,
    InterruptedRunError,
    NetworkError,
    RefusedError,
)

T = TypeVar("T")

ANSWER_S = 15.0
"""Seconds in which a question that goes over a network is answered, or given up."""


class Verdict(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Topic(enum.StrEnum):
    """What a check looks at; docs/doctor.md has a row for each."""

    PROGRAM = "program"
    EXTRAS = "extras"
    DFX = "dfx"
    ICP = "icp"
    MANIFESTS = "extension manifests"
    EXTENSION = "extension"
    DRIVER = "driver"
    IDENTITY = "identity"
    PLAINTEXT = "plaintext identity"
    SECRETS = "secret files"
    NETWORK = "network"
    ROOT_KEY = "root key"
    CLOCK = "clock"
    STATE = "state directory"
    DISK = "disk"
    RECOVERY = "recovery"
    UNFINISHED = "unfinished backups"
    UPLOADS = "unfinished uploads"
    REPOSITORY = "repository"
    PASSWORD = "repository password"  # noqa: S105 - the name of a check, not a password
    LOCKS = "repository locks"
    VERIFIED = "last verification"
    CANISTERS = "canisters"
    CONTROLLER = "controller"
    STATUS = "status"
    VISIBILITY = "snapshot visibility"
    CYCLES = "cycles"
    SLOTS = "free slots"
    ORPHANS = "orphan snapshots"
    KIT = "backup methods"
    DUMPS = "public dump methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check.

    Attributes:
        topic: what was looked at.
        about: of which canister, or None.
        state: how it ended.
        detail: what was found, one line.
        advice: what to do, or None.
        exit_code: what a command that needs this would exit with; 0 unless `state` is fail.
    """

    topic: Topic
    about: str | None = None
    state: Verdict
    detail: str
    advice: str | None = None
    exit_code: int = 0

    @property
    def name(self) -> str:
        """What was looked at, such as `driver` or `chat: free slots`."""
        return self.topic.value if self.about is None else f"{self.about}: {self.topic}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult:
    """All findings; the exit code is 4 when a canister is down, that of the first failure, or 0."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 when nothing failed."""
        codes = [found.exit_code for found in self.findings if found.exit_code]
        urgent = CanisterDownError.exit_code
        return urgent if urgent in codes else next(iter(codes), 0)


def fine(topic: Topic, detail: str, *, about: str | None = None) -> Finding:
    """Nothing is to be done."""
    return Finding(topic=topic, about=about, state=Verdict.OK, detail=detail)


def doubt(topic: Topic, detail: str, advice: str | None, *, about: str | None = None) -> Finding:
    """Commands work, and somebody should look at it."""
    return Finding(topic=topic, about=about, state=Verdict.WARN, detail=detail, advice=advice)


def failure(
    topic: Topic,
    detail: str,
    advice: str | None,
    *,
    about: str | None = None,
    exit_code: int = RefusedError.exit_code,
) -> Finding:
    """A command that needs this ends with the exit code."""
    return Finding(
        topic=topic,
        about=about,
        state=Verdict.FAIL,
        detail=detail,
        advice=advice,
        exit_code=exit_code,
    )


def failed(topic: Topic, error: BackupError, *, about: str | None = None) -> Finding:
    """The finding that an error is."""
    return failure(topic, error.message, error.hint, about=about, exit_code=error.exit_code)


def unknown(topic: Topic, error: BackupError, *, about: str | None = None) -> Finding:
    """A question that is not answered, and that nothing else depends on."""
    return doubt(topic, f"could not be looked at: {error.message}", error.hint, about=about)


def catch(part: Callable[[], T]) -> tuple[T | None, BackupError | None]:
    """What a part gives, or the error that it raises.

    Raises:
        InterruptedRunError: the user stopped it.
    """
    try:
        return part(), None
    except InterruptedRunError:
        raise
    except BackupError as error:
        return None, error


def ask(topic: Topic, part: Callable[[], str]) -> Finding:
    """The finding of a part that gives a line, or raises."""
    detail, trouble = catch(part)
    return failed(topic, trouble) if trouble is not None else fine(topic, detail or "")


def once(part: Callable[[], T]) -> Callable[[], T]:
    """The part, run at the first call; later calls get the same answer, or the same error."""
    answer: list[T] = []
    trouble: list[BackupError] = []

    def asked() -> T:
        if trouble:
            raise trouble[0]
        if not answer:
            try:
                answer.append(part())
            except BackupError as error:
                trouble.append(error)
                raise
        return answer[0]

    return asked


def within(part: Callable[[], T], what: str, *, seconds: float = ANSWER_S) -> T:
    """Run a part that may hang where no time-out of ours reaches: name servers, network disks.

    Args:
        part: what is run, in a thread that is left behind when it is late.
        what: names it in the error.
        seconds: how long it may take.

    Raises:
        NetworkError: it took longer.
        BackupError: what the part raises.
    """
    asked = _Asked(part)
    asked.start()
    asked.join(seconds)
    if asked.is_alive():
        raise NetworkError(
            f"{what} does not answer within {seconds:g} s", hint="try again when it does"
        )
    return asked.result()


class _Asked(threading.Thread, Generic[T]):
    """A part that is run aside; a bug in it is told by the thread's own hook, and by `result`."""

    def __init__(self, part: Callable[[], T]) -> None:
        super().__init__(name="doctor", daemon=True)
        self._part = part
        self._answer: tuple[T] | None = None
        self._trouble: BackupError | None = None

    def run(self) -> None:
        """Run the part."""
        try:
            self._answer = (self._part(),)
        except BackupError as error:
            self._trouble = error

    def result(self) -> T:
        """What the part gave."""
        if self._trouble is not None:
            raise self._trouble
        assert self._answer is not None, "the part ended without an answer: see above"
        return self._answer[0]
