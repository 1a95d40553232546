"""The log on stderr that `--verbose` asks for."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from dfx_backup.cli import output, text


@contextmanager
def logging_to(stream: TextIO, secrets: Sequence[str]) -> Iterator[None]:
    """Write what the package logs to a stream, until the context is left.

    Args:
        stream: stderr.
        secrets: passwords to mask; the list may grow while the log is written.
    """
    logger = logging.getLogger("dfx_backup")
    handler = _Lines(stream, secrets)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class _Lines(logging.Handler):
    def __init__(self, stream: TextIO, secrets: Sequence[str]) -> None:
        super().__init__()
        self._stream = stream
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.name.removeprefix('dfx_backup.')}: {record.getMessage()}"
        for secret in self._secrets:
            line = line.replace(secret, "***")
        output.write(self._stream, [text.clean(line)])
