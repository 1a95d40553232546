"""What a child program prints and asks: bounded output, masked secrets, a terminal to answer at."""

import re
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pexpect
from pexpect import fdpexpect

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
"""Of each stream the last so many bytes are kept; what we drive prints kilobytes."""

_SHORTEST_SECRET = 4  # masking shorter ones would riddle every message with stars
_ECHO_S = 1.0  # how long a program may take from its prompt to turning the echo off
_WINDOW = 4096  # bytes of the current line in which a prompt is looked for
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_Pattern = (
    re.Pattern[str] | re.Pattern[bytes] | str | bytes | type[pexpect.EOF] | type[pexpect.TIMEOUT]
)


def without_escapes(text: str) -> str:
    """The text without colours and cursor movements; what a spinner overwrites is a line."""
    return _ESCAPES.sub("", text).replace("\r", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question that a program may put at its terminal.

    Attributes:
        pattern: regular expression that finds the prompt.
        answer: called when it appears, at most once; the result is a secret.
    """

    pattern: str
    answer: Callable[[], str] = field(repr=False)


class Mask:
    """Replaces secrets by stars in whatever goes into a message or a log."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def add(self, secret: str) -> None:
        """From now on hide this too."""
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets.append(secret)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def all(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The texts without secrets."""
        return tuple(self.text(text) for text in texts)


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add what was read, and drop what is too old to be kept."""
        self._parts.append(data)
        self._size += len(data)
        while self._size - len(self._parts[0]) >= MAX_OUTPUT_BYTES:
            self._size -= len(self._parts.popleft())

    def flush(self) -> None:
        """Nothing is buffered; pexpect asks for this method."""

    def text(self) -> str:
        """What was kept; bytes that are not UTF-8 are replaced."""
        return b"".join(self._parts).decode(errors="replace").replace("\r\n", "\n")


class Terminal:
    """Our end of a pseudo-terminal at which a program puts a question.

    Attributes:
        settled: the program does not wait for an answer of ours.
    """

    def __init__(self, master: int, question: Question, sink: Tail, mask: Mask) -> None:
        self._master = master
        self._question = question
        prompt = re.compile(question.pattern.encode())
        # Lines are consumed one by one, so that the buffer stays as small as a line.
        self._found: list[_Pattern] = [prompt, re.compile(rb"[\r\n]"), pexpect.EOF, pexpect.TIMEOUT]
        self._mask = mask
        self._spawn = fdpexpect.fdspawn(master, searchwindowsize=_WINDOW)
        self._spawn.logfile_read = sink
        self._answered = False
        self._mute = False
        self.settled = True

    def read(self) -> bool:
        """Read what is there, and answer; False at the end.

        Raises:
            AskedAgain: the question came back.
        """
        while True:
            index = self._spawn.expect(self._found, timeout=0)
            if index >= 2:
                return index == 3  # more may come
            if index == 0:
                self._answer()

    def mute(self) -> None:
        """From now on only read: the program is about to be killed."""
        self._mute = True

    def _answer(self) -> None:
        if self._mute:
            return
        if self._answered:
            raise AskedAgain
        self._answered = True
        self.settled = False  # without an answer it waits for ever
        answer = self._question.answer()
        self._mask.add(answer)
        # The program empties its input when it turns the echo off: an answer sent before that
        # moment would be lost.
        deadline = time.monotonic() + _ECHO_S
        while termios.tcgetattr(self._master)[3] & termios.ECHO and time.monotonic() < deadline:
            time.sleep(0.005)
        self._spawn.sendline(answer)
        self.settled = True


class AskedAgain(Exception):  # noqa: N818 # a signal between two modules here, not an error
    """The answer was not accepted."""
