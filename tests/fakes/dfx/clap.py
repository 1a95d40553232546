"""Parses a command line as clap 4 does: the part of its parser that dfx's commands come to.

It follows `parser.rs` of clap_builder 4.6.0 step by step, because what reaches an extension hangs
on its corners: a value that begins with a hyphen, what comes after it, and `--`. The table in
`tests/fakes/dfx/rows.py` is put to clap itself too, by `tests/e2e/test_dfx_core.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """An option, a flag (`most` is 0) or, without `long` and `short`, a positional.

    Attributes:
        name: clap's id.
        shown: the placeholder of its value; the name when empty.
        least: fewest values.
        most: most values; None without a limit.
        hyphens: a value may begin with a hyphen.
        is_global: commands below have it too.
        counts: it may be repeated.
        choices: the only values that it takes.
        required: it must be there.
        is_version: it ends the program with its version.
    """

    name: str
    about: str = ""
    long: str | None = None
    short: str | None = None
    shown: str = ""
    least: int = 1
    most: int | None = 1
    hyphens: bool = False
    is_global: bool = False
    counts: bool = False
    choices: tuple[str, ...] = ()
    required: bool = False
    is_version: bool = False

    @property
    def is_positional(self) -> bool:
        return self.long is None and self.short is None

    @property
    def is_endless(self) -> bool:
        return self.most is None or self.most > 1

    def __str__(self) -> str:
        """As messages name it."""
        value = self.shown or self.name
        placeholder = (
            "[{}]" if self.is_positional and not (self.least and self.required) else "<{}>"
        )
        values = " ".join([placeholder.format(value)] * max(self.least, 1))
        if self.most is None or max(self.least, 1) < self.most:
            values += "..."
        if self.is_positional:
            return values
        name = f"--{self.long}" if self.long else f"-{self.short}"
        if self.most == 0:
            return f"{name}..." if self.counts else name
        return f"{name} {values}" if self.least else f"{name} [{values}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command and those below it.

    Attributes:
        needs_words: without a single word after it, it shows its help.
        needs_command: the same, and one of those below it must be named.
        is_opaque: what follows it is not looked at.
    """

    name: str
    about: str = ""
    args: tuple[Arg, ...] = ()
    subcommands: tuple["Command", ...] = ()
    needs_words: bool = False
    needs_command: bool = False
    is_opaque: bool = False

    def find(self, name: str) -> "Command | None":
        return next((each for each in self.subcommands if each.name == name), None)


@dataclass(slots=True)
class Matches:
    """What was found: values by name, and the command below."""

    values: dict[str, list[str]] = field(default_factory=dict)
    command: str | None = None
    below: "Matches | None" = None

    def path(self) -> Iterator["Matches"]:
        """This one and all below it."""
        here: Matches | None = self
        while here is not None:
            yield here
            here = here.below

    def deepest(self, name: str) -> str | None:
        """The value of a global option: the one that was typed furthest to the right counts."""
        told = [each.values[name][-1] for each in self.path() if name in each.values]
        return told[-1] if told else None


class UsageError(Exception):
    """Ends with code 2; the text is the first line of what clap says, or more."""


class HelpError(Exception):
    """Ends with code 0, after the help of a command; 2 when the help is a reproach."""

    def __init__(self, words: tuple[str, ...], command: Command, *, code: int = 0) -> None:
        super().__init__(" ".join(words))
        self.words = words
        self.command = command
        self.code = code

    def text(self) -> str:
        """The parts of the help by which tests know it."""
        lines = [self.command.about, ""] if self.command.about else []
        lines.append(f"Usage: {' '.join(self.words)} [OPTIONS]")
        if self.command.subcommands:
            lines += ["", "Commands:"]
            lines += [f"  {each.name}  {each.about}" for each in self.command.subcommands]
        return "\n".join(lines) + "\n"


class VersionError(Exception):
    """Ends with code 0, after the version."""


_HELP = Arg(name="help", long="help", short="h", most=0, least=0)


def parse(command: Command, argv: list[str]) -> Matches:
    """Parse the words after the program's name.

    Raises:
        UsageError: clap would refuse them.
        HelpError: clap would print a help.
    """
    return _Parser(command, (command.name,), ()).parse(list(argv))


@dataclass(slots=True)
class _Pending:
    arg: Arg
    values: list[str]


class _Parser:
    """One command's turn; `state` is the argument that takes the next words, as in clap."""

    def __init__(self, command: Command, words: tuple[str, ...], above: tuple[Arg, ...]) -> None:
        names = {arg.name for arg in command.args}
        inherited = tuple(arg for arg in above if arg.name not in names)
        self.command = command
        self.words = words
        self.args = (*command.args, *inherited)
        self.has_own_help = "help" in names
        if not self.has_own_help:
            self.args = (*self.args, _HELP)
        self.positionals = [arg for arg in self.args if arg.is_positional]
        self.found = Matches()
        self.pending: _Pending | None = None
        self.state: Arg | None = None
        self.next_positional = 0
        self.is_trailing = False

    def parse(self, rest: list[str]) -> Matches:
        if self.command.is_opaque:
            return self.found
        if not rest and (self.command.needs_words or self.command.needs_command):
            raise HelpError(self.words, self.command, code=2)
        while rest:
            word = rest.pop(0)
            if self._subcommand(word, rest):
                return self._close()
            if not self.is_trailing and self._option(word):
                continue
            self._positional(word)
        return self._close()

    def _close(self) -> Matches:
        self._resolve()
        if self.command.needs_command and self.found.command is None:
            words = " ".join(self.words)
            raise UsageError(f"error: '{words}' requires a subcommand but one was not provided")
        missing = [arg for arg in self.args if arg.required and arg.name not in self.found.values]
        if missing:
            raise UsageError(
                "error: the following required arguments were not provided:\n"
                + "\n".join(f"  {arg}" for arg in missing)
            )
        return self.found

    # -- what a word may be -----------------------------------------------------------------------

    def _subcommand(self, word: str, rest: list[str]) -> bool:
        if self.is_trailing or self.state is not None:
            return False
        below = self.command.find(word)
        if below is not None:
            inherited = tuple(arg for arg in self.args if arg.is_global)
            self.found.command = word
            self.found.below = _Parser(below, (*self.words, word), inherited).parse(rest)
            rest.clear()
            return True
        if word == "help" and self.command.subcommands:
            self._help_command(rest)
        return False

    def _help_command(self, rest: list[str]) -> None:
        words, command = self.words, self.command
        for word in rest:
            below = command.find(word)
            if word == "help" and command.subcommands:
                below = Command(name="help", about="Print this message or the help")
            if below is None:
                raise UsageError(f"error: unrecognized subcommand '{word}'")
            words, command = (*words, word), below
        raise HelpError(words, command)

    def _option(self, word: str) -> bool:
        """Take an option, `--`, or an option's value; False for what may be a positional."""
        takes_hyphens = self.state is not None and self.state.hyphens
        if word == "--":
            if not takes_hyphens:
                self.is_trailing = True
                return True
        elif word.startswith("-") and len(word) > 1 and not takes_hyphens:
            taken = self._long(word) if word.startswith("--") else self._shorts(word)
            if taken:
                return True
        if self.state is not None and not self.state.is_positional:
            assert self.pending is not None
            self.pending.values.append(word)
            if not self._wants_more(self.pending):
                self.state = None
            return True
        return False

    def _long(self, word: str) -> bool:
        name, equals, value = word[2:].partition("=")
        arg = next((each for each in self.args if each.long == name), None)
        if arg is None:
            if self._positional_takes_hyphens():
                return False
            raise UsageError(f"error: unexpected argument '--{name}' found")
        if arg.most == 0:
            if equals:
                raise UsageError(
                    f"error: unexpected value '{value}' for '{arg}' found; no more were expected"
                )
            self._react(arg, [])
            self.state = None
        else:
            self._begin(arg, value if equals else None)
        return True

    def _shorts(self, word: str) -> bool:
        known = {each.short: each for each in reversed(self.args) if each.short}
        letters = word[1:]
        if self._positional_takes_hyphens() and any(each not in known for each in letters):
            return False
        for index, letter in enumerate(letters):
            arg = known.get(letter)
            if arg is None:
                raise UsageError(f"error: unexpected argument '-{letter}' found")
            if arg.most != 0:
                attached = letters[index + 1 :]
                self._begin(arg, attached.removeprefix("=") if attached else None)
                return True
            self._react(arg, [])
        self.state = None
        return True

    def _positional(self, word: str) -> None:
        arg = self._here()
        if arg is None:
            is_command = word == "help" or self.command.find(word) is not None
            if self.command.subcommands and not (self.is_trailing and is_command):
                raise UsageError(f"error: unrecognized subcommand '{word}'")
            raise UsageError(f"error: unexpected argument '{word}' found")
        if self.pending is None or self.pending.arg is not arg or not arg.is_endless:
            self._resolve()
        if self.pending is None:
            self.pending = _Pending(arg, [])
        self.pending.values.append(word)
        if arg.is_endless:
            self.state = arg
        else:
            self.next_positional += 1
            self.state = None

    # -- values -----------------------------------------------------------------------------------

    def _here(self) -> Arg | None:
        rest = self.positionals[self.next_positional :]
        return rest[0] if rest else None

    def _positional_takes_hyphens(self) -> bool:
        arg = self._here()
        return arg is not None and arg.hyphens

    def _begin(self, arg: Arg, attached: str | None) -> None:
        if attached is not None:
            self._react(arg, [attached])
            self.state = None
            return
        self._resolve()
        self.pending = _Pending(arg, [])
        self.state = arg

    def _wants_more(self, pending: _Pending) -> bool:
        return pending.arg.most is None or len(pending.values) < pending.arg.most

    def _resolve(self) -> None:
        if self.pending is not None:
            pending, self.pending = self.pending, None
            self._react(pending.arg, pending.values)

    def _react(self, arg: Arg, values: list[str]) -> None:
        self._resolve()
        self._count(arg, values)
        if arg is _HELP:
            raise HelpError(self.words, self.command)
        if arg.is_version:
            raise VersionError
        repeats = arg.counts or (arg.is_positional and arg.most is None)
        if arg.name in self.found.values and not repeats:
            raise UsageError(f"error: the argument '{arg}' cannot be used multiple times")
        for value in values:
            if arg.choices and not value:
                raise UsageError(f"error: a value is required for '{arg}' but none was supplied")
            if arg.choices and value not in arg.choices:
                listed = ", ".join(arg.choices)
                raise UsageError(
                    f"error: invalid value '{value}' for '{arg}'\n  [possible values: {listed}]"
                )
        self.found.values.setdefault(arg.name, []).extend(values or [""])

    def _count(self, arg: Arg, values: list[str]) -> None:
        given = len(values)
        if arg.least > 0 and given == 0:
            raise UsageError(f"error: a value is required for '{arg}' but none was supplied")
        if arg.least == arg.most and given != arg.least:
            was = "was" if given == 1 else "were"
            raise UsageError(
                f"error: {arg.least} values required for '{arg}' but {given} {was} provided"
            )
        if given < arg.least:
            was = "was" if given == 1 else "were"
            raise UsageError(
                f"error: {arg.least} values required by '{arg}'; only {given} {was} provided"
            )
        if arg.most is not None and given > arg.most:
            raise UsageError(
                f"error: unexpected value '{values[-1]}' for '{arg}' found; no more were expected"
            )
