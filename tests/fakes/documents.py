"""The documents as tests read them: their blocks of code, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"(?:^|(?<=[\s=/(`@]))(?:dfx-backup|dfx backup)[ \n]+(?=\S)(.*)", re.DOTALL)
_ENDS = set("();<>|&")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines between fences.

    Attributes:
        kind: the word after the opening fence, or nothing.
        text: the lines.
    """

    kind: str
    text: str


def blocks(page: Path) -> tuple[Block, ...]:
    """All fenced blocks of a page."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return tuple(Block(kind=kind, text=text) for kind, text in found)


def block(page: Path, kind: str, holding: str) -> str:
    """The one block of that kind in which a text stands."""
    [found] = [each.text for each in blocks(page) if each.kind == kind and holding in each.text]
    return found


def typed(text: str) -> Iterator[str]:
    """The commands of a console block, without their output."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith("$ "):
            yield line.removeprefix("$ ")


def fenced_lines(page: Path) -> Iterator[tuple[str, ...]]:
    """The words after the program's name, of every line of a block that calls it."""
    for each in blocks(page):
        if each.kind == "text":  # a form, not a line
            continue
        for line in re.sub(r"\\\n\s*", "", each.text).splitlines():
            yield from _calls(line)


def inline_lines(page: Path) -> Iterator[tuple[str, ...]]:
    """The same of code inside sentences, where the program's name may be left out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([^`]+)`", text):
        found = tuple(_calls(code))
        yield from found or ((tuple(_words(code)),) if "--" in code else ())


def inline_calls(page: Path) -> Iterator[tuple[str, ...]]:
    """Those of them that name the program."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([^`]+)`", text):
        yield from _calls(code)


def _calls(line: str) -> Iterator[tuple[str, ...]]:
    found = _PROGRAM.search(line)
    while found is not None:
        words = tuple(_words(found[1]))
        if words:
            yield words
        found = _PROGRAM.search(found[1])


def _words(text: str) -> Iterator[str]:
    """The words up to the end of the command, as a shell parts them."""
    lexer = shlex.shlex(text.partition("`")[0], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        for word in lexer:
            if set(word) <= _ENDS:
                return
            yield word
    except ValueError:  # a quotation that ends beyond this line
        return
