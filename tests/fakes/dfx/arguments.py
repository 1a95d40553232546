"""Reads the command line as clap does, as far as dfx needs it; refuses everything else."""

from dataclasses import dataclass, field

from tests.fakes.dfx.shell import ArgumentsError, Shell, version_key

EVERYWHERE = {
    "--identity": "IDENTITY",
    "--log": "LOG",
    "--logfile": "LOGFILE",
    "--provisional-create-canister-effective-canister-id": "PRINCIPAL",
    "--verbose": "",
    "--quiet": "",
    "-v": "",
    "-q": "",
}
NETWORK = {"--network": "NETWORK", "--ic": "", "--playground": ""}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A command: its positionals, how many of them are needed, its options, its first version."""

    positionals: tuple[str, ...] = ()
    needed: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    since: str = "0.0.0"

    @property
    def least(self) -> int:
        return len(self.positionals) if self.needed is None else self.needed


_TRANSFER = {"--dir": "DIR", "--concurrency": "CONCURRENCY"}
_ONE = ("CANISTER",)
_TWO = ("CANISTER", "SNAPSHOT")

TREE: dict[tuple[str, ...], Leaf] = {
    ("cache", "show"): Leaf(),
    ("cache", "install"): Leaf(),
    ("ping",): Leaf(("NETWORK",), needed=0),
    ("identity", "whoami"): Leaf(),
    ("identity", "get-principal"): Leaf(),
    ("identity", "list"): Leaf(),
    ("canister", "id"): Leaf(_ONE),
    ("canister", "status"): Leaf(_ONE),
    ("canister", "stop"): Leaf(_ONE),
    ("canister", "start"): Leaf(_ONE),
    ("canister", "snapshot", "create"): Leaf(
        _ONE, options={"--replace": "REPLACE"}, since="0.23.0"
    ),
    ("canister", "snapshot", "list"): Leaf(_ONE, since="0.23.0"),
    ("canister", "snapshot", "load"): Leaf(_TWO, since="0.23.0"),
    ("canister", "snapshot", "delete"): Leaf(_TWO, since="0.23.0"),
    ("canister", "snapshot", "download"): Leaf(
        _TWO, options={**_TRANSFER, "--resume": "", "-r": ""}, since="0.30.1"
    ),
    ("canister", "snapshot", "upload"): Leaf(
        _ONE,
        options={**_TRANSFER, "--replace": "REPLACE", "--resume": "RESUME", "-r": "RESUME"},
        since="0.30.1",
    ),
}


@dataclass(slots=True)
class Parsed:
    words: tuple[str, ...]
    positionals: list[str]
    options: dict[str, list[str]]
    once: set[str] = field(default_factory=set)
    """Options since the last word of the command: only among these a repetition is refused."""

    def option(self, name: str) -> str | None:
        return self.options[name][-1] if name in self.options else None


def parse(shell: Shell, argv: list[str]) -> Parsed:
    """Split argv into command, positionals and options.

    Raises:
        ArgumentsError: dfx of this version would not take it, or the stand-in does not know it.
    """
    known = {
        words: leaf
        for words, leaf in TREE.items()
        if version_key(leaf.since) <= version_key(shell.version)
    }
    parsed = Parsed((), [], {})
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if token.startswith("-") and token != "-":
            _option(parsed, _allowed(parsed, known), token, rest)
        elif parsed.words in known:
            if len(parsed.positionals) >= len(known[parsed.words].positionals):
                raise ArgumentsError(f"error: unexpected argument '{token}' found")
            parsed.positionals.append(token)
        else:
            _subcommand(parsed, known, token)
    _check(parsed, known)
    return parsed


def _allowed(parsed: Parsed, known: dict[tuple[str, ...], Leaf]) -> dict[str, str]:
    allowed = dict(EVERYWHERE)
    if parsed.words[:1] in {("canister",), ("identity",)}:
        allowed |= NETWORK
    if parsed.words in known:
        allowed |= known[parsed.words].options
    return allowed


def _option(parsed: Parsed, allowed: dict[str, str], token: str, rest: list[str]) -> None:
    name, equals, value = token.partition("=")
    if not name.startswith("--") and len(name) > 2 and set(name[1:]) <= {"v", "q"}:
        for letter in name[1:]:
            parsed.options.setdefault(f"-{letter}", []).append("")
        return
    if name not in allowed:
        raise ArgumentsError(f"error: unexpected argument '{name}' found")
    metavar = allowed[name]
    if not metavar:
        if equals:
            raise ArgumentsError(f"error: unexpected value '{value}' for '{name}' found")
        parsed.options.setdefault(name, []).append("")
        return
    if not equals:
        if not rest or rest[0].startswith("-"):
            raise ArgumentsError(
                f"error: a value is required for '{name} <{metavar}>' but none was supplied"
            )
        value = rest.pop(0)
    if name == "--identity" and name in parsed.once:
        raise ArgumentsError(
            "error: the argument '--identity <IDENTITY>' cannot be used multiple times"
        )
    if name == "--log" and value not in {"stderr", "tee", "file"}:
        raise ArgumentsError(f"error: invalid value '{value}' for '--log <LOG>'")
    parsed.once.add(name)
    parsed.options.setdefault(name, []).append(value)


def _subcommand(parsed: Parsed, known: dict[tuple[str, ...], Leaf], token: str) -> None:
    words = (*parsed.words, token)
    if not any(each[: len(words)] == words for each in known):
        raise ArgumentsError(f"error: unrecognized subcommand '{token}'")
    parsed.words = words
    parsed.once.clear()


def _check(parsed: Parsed, known: dict[tuple[str, ...], Leaf]) -> None:
    leaf = known.get(parsed.words)
    if leaf is None:
        raise ArgumentsError(f"error: '{' '.join(('dfx', *parsed.words))}' requires a subcommand")
    missing = leaf.positionals[len(parsed.positionals) : leaf.least]
    if missing:
        raise ArgumentsError(
            "error: the following required arguments were not provided:\n"
            + "\n".join(f"  <{name}>" for name in missing)
        )
    values = dict(zip(leaf.positionals, parsed.positionals, strict=False))
    ids = [
        ("<SNAPSHOT>", values.get("SNAPSHOT")),
        ("--replace <REPLACE>", parsed.option("--replace")),
    ]
    for name, value in ids:
        if value is not None:
            _check_hex(name, value)


def _check_hex(name: str, value: str) -> None:
    why = None
    if len(value) % 2:
        why = "Odd number of digits"
    elif not all(digit in "0123456789abcdefABCDEF" for digit in value):
        why = "Invalid character"
    if why is not None:
        raise ArgumentsError(f"error: invalid value '{value}' for '{name}': {why}")


def settle_globals(shell: Shell, parsed: Parsed) -> None:
    """Take verbosity, identity and network from the options and the environment."""
    loud = [name for name in ("-v", "--verbose") if name in parsed.options]
    quiet = [name for name in ("-q", "--quiet") if name in parsed.options]
    shell.verbosity = sum(len(parsed.options[name]) for name in loud) - sum(
        len(parsed.options[name]) for name in quiet
    )
    shell.identity = parsed.option("--identity") or shell.environ.get("DFX_IDENTITY")
    shell.words = parsed.words
    given = parsed.option("--network")
    from_environment = shell.environ.get("DFX_NETWORK")
    for flag, name in (("--ic", "ic"), ("--playground", "playground")):
        if flag in parsed.options:
            if given is not None or from_environment is not None:
                raise ArgumentsError(
                    f"error: the argument '{flag}' cannot be used with '--network <NETWORK>'"
                )
            given = name
    shell.network = given if given is not None else from_environment
    shell.playground = shell.network == "playground"
