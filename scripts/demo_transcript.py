"""Keep what the demo prints: as a page of docs/, or as a recording for `asciinema play`."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_FOLDER = re.compile(r"/\S*/dfx-backup-demo-\w+")
"""The folder of the demo, which is another one each time."""
_COLUMNS, _ROWS = 120, 40
_HEAD = """# What the demo prints

<!-- Written by `python scripts/demo.py --transcript docs/demo-transcript.md`. -->

`make demo` runs this: a canister's data is lost twice, and comes back, on the replica that is
part of this project. `--transcript demo.cast` records it for `asciinema play` instead.

```console
"""


class Recorder:
    """A stream that passes on what is written, and keeps it with the time.

    Args:
        stream: where it goes.
        clock: seconds of a clock that nobody sets.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self.events: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        """Pass it on, and keep it."""
        self.events.append((self._clock() - self._began, text))
        return self._stream.write(text)

    def flush(self) -> None:
        """Pass it on."""
        self._stream.flush()

    def page(self) -> str:
        """A Markdown page."""
        text = _FOLDER.sub("/home/me/demo", "".join(told for _, told in self.events))
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        return f"{_HEAD}{lines}\n```\n"

    def cast(self, when: int) -> str:
        """An asciicast, version 2.

        Args:
            when: seconds since the epoch at which it was recorded.
        """
        title = "dfx-backup: a canister's data is lost, and comes back"
        head = {"version": 2, "width": _COLUMNS, "height": _ROWS, "timestamp": when, "title": title}
        told = [
            json.dumps(
                [round(at, 3), "o", _FOLDER.sub("/home/me/demo", text).replace("\n", "\r\n")]
            )
            for at, text in self.events
        ]
        return "\n".join([json.dumps(head), *told]) + "\n"


@contextmanager
def recording(file: str | None) -> Iterator[None]:
    """Keep what is printed in a file, when one is named and all goes well.

    Args:
        file: its name; `.cast` makes it a recording, anything else a page.
    """
    if file is None:
        yield
        return
    before, when = sys.stdout, int(time.time())
    recorder = Recorder(before, time.monotonic)
    sys.stdout = recorder  # type: ignore[assignment] # the demo prints, and nothing else
    try:
        yield
    finally:
        sys.stdout = before
    content = recorder.cast(when) if file.endswith(".cast") else recorder.page()
    Path(file).write_text(content, encoding="utf-8")
