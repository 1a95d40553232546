"""One run of the program: what a command is given, and how it is put into the tree."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, get_type_hints

import typer

from dfx_backup.cli import confirm, context, progress_view, verbose
from dfx_backup.cli.context import Surroundings
from dfx_backup.cli.options import Shared
from dfx_backup.cli.output import Report
from dfx_backup.errors import UsageError
from dfx_backup.model import Places
from dfx_backup.operations.target import Runtime, Target

if TYPE_CHECKING:
    from dfx_backup.operations.doctor import Checks
    from dfx_backup.operations.pending import Pending

P = ParamSpec("P")


@dataclass(slots=True, kw_only=True)
class Session:
    """The run as `main` sees it.

    Attributes:
        surroundings: what is around the process.
        connector: reaches canisters; None means the real one, which is loaded when it is needed.
        verbose: the command asked for tracebacks.
        view: where the command tells its progress; it keeps the warnings.
        secrets: passwords that were read, to be kept out of every report.
        exits: what is closed at the end of the run.
    """

    surroundings: Surroundings
    connector: "Connector | None" = None
    verbose: bool = False
    view: progress_view.ProgressView | None = None
    secrets: list[str] = field(default_factory=list, repr=False)
    exits: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a command works with.

    Attributes:
        session: the run of the program.
        shared: the options that every command has.
        view: progress and warnings.
        places: the user's directories.
    """

    session: Session
    shared: Shared
    view: progress_view.ProgressView
    places: Places

    @property
    def surroundings(self) -> Surroundings:
        """What is around the process."""
        return self.session.surroundings

    @property
    def connector(self) -> "Connector":
        """What reaches canisters; the real one brings the wire's libraries: loaded late."""
        if self.session.connector is None:
            from dfx_backup.cli.connect import RealConnector

            self.session.connector = RealConnector()
        return self.session.connector

    @property
    def runtime(self) -> Runtime:
        """What operations are told about this run."""
        shared = self.shared
        given = (
            ("--identity", shared.identity or self.surroundings.swallowed_identity),
            ("--identity-password-file", shared.identity_password_file),
            ("--driver", shared.driver),
            ("--root-key", shared.root_key),
        )
        return Runtime(
            state=Path(self.places.state),
            clock=self.surroundings.clock,
            progress=self.view,
            program=self.surroundings.program,
            options=tuple(word for pair in given if pair[1] for word in pair if word),
        )

    def confirm(
        self, *, yes: bool, losses: tuple[str, ...], question: str, notes: tuple[str, ...] = ()
    ) -> None:
        """Ask before something is lost, unless `yes` was said on the command line.

        Args:
            yes: it was said.
            losses: full sentences that name what will be lost.
            question: what is asked, without a question mark.
            notes: warnings to think of before the answer; they are not told a second time.
        """
        self.view.pause()
        if not yes:
            confirm.confirm(self.surroundings, losses=losses, question=question, notes=notes)
            self.view.warnings.extend(notes)


class Connector(Protocol):
    """Turns words into targets; `changes` says that the command will change the canister."""

    def canister(self, run: Run, name: str, *, changes: bool, restores: bool = False) -> Target:
        """The canister of that name or principal.

        Args:
            run: the command's run, with its options.
            name: as the user typed it.
            changes: the command changes a canister, so a guessed identity is not good enough.
            restores: the command overwrites state, so DFX_NETWORK may not decide where.
        """

    def canisters(self, run: Run, names: Sequence[str], *, changes: bool) -> tuple[Target, ...]:
        """The canisters of these names or principals, reached as one identity.

        Args:
            run: the command's run, with its options.
            names: as the user typed them.
            changes: as for `canister`.
        """

    def project_canisters(self, run: Run) -> tuple[Target, ...]:
        """Every canister that the project knows on the chosen network."""

    def journaled(self, run: Run, entry: "Pending") -> Target:
        """The canister of an interrupted run, on the network on which that run found it."""

    def checks(self, run: Run, canister: str | None) -> "Checks":
        """What `doctor` looks at."""


def require_command(typer_context: typer.Context) -> None:
    """Callback of a group: it does nothing alone."""
    if typer_context.invoked_subcommand is None:
        raise UsageError("No command was given", hint=f"See `{typer_context.command_path} --help`.")


def command(
    group: typer.Typer, name: str, *, tells_pending: bool = True
) -> Callable[[Callable[Concatenate[Run, P], Report]], Callable[Concatenate[Run, P], Report]]:
    """Put a function into the tree; it takes a `Run`, then its own arguments and options.

    The options of `Shared` are added to those in the function's signature. The docstring's first
    line is the help text.
    """

    def register(
        function: Callable[Concatenate[Run, P], Report],
    ) -> Callable[Concatenate[Run, P], Report]:
        group.command(name)(_with_shared_options(function, tells_pending=tells_pending))
        return function

    return register


def _with_shared_options(
    function: Callable[Concatenate[Run, P], Report], *, tells_pending: bool
) -> Callable[..., Report]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    hints = get_type_hints(Shared, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=hints[each.name])
        for each in fields(Shared)
    ]
    first = inspect.Parameter("typer_context", keyword, annotation=typer.Context)

    def wrapper(typer_context: typer.Context, **values: object) -> Report:
        chosen = {each.name: values.pop(each.name) for each in fields(Shared)}
        session = typer_context.find_object(Session)
        assert session is not None  # `main` put it there
        run = _begin(session, Shared(**chosen))  # type: ignore[arg-type] # Typer converted them
        if tells_pending:
            _tell_pending(run)
        return function(run, **values)  # type: ignore[call-arg,arg-type] # Typer saw `own`

    wrapper.__name__ = function.__name__
    wrapper.__doc__ = (function.__doc__ or "").partition("\n")[0]
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # `inspect` reads it
        [first, *(each.replace(kind=keyword) for each in own), *shared]
    )
    return wrapper


def _begin(session: Session, shared: Shared) -> Run:
    """Open the command's run: how it tells, and where the user's files are."""
    surroundings = session.surroundings
    if shared.verbose:
        session.verbose = True
        session.exits.enter_context(verbose.logging_to(surroundings.stderr, session.secrets))
    session.view = progress_view.make_view(
        surroundings.stderr,
        environment=surroundings.variable,
        quiet=shared.quiet,
        warnings_aloud=not shared.json,
        on_terminal=surroundings.stderr.isatty(),
    )
    return Run(
        session=session,
        shared=shared,
        view=session.view,
        places=context.find_places(surroundings),
    )


def _tell_pending(run: Run) -> None:
    from dfx_backup.operations.pending import pending

    for entry in pending(Path(run.places.state)):
        run.view.warn(f"{entry.summary} {recover_hint(run.surroundings.program, entry)}")


def recover_hint(program: str, entry: "Pending") -> str:
    """The sentence that names the command to run for an interrupted run.

    A network on this machine may have been reset since, and only asking it would tell.
    """
    from dfx_backup.project.address import is_loopback

    if entry.canister is None or entry.network is None:
        file = entry.path.name
        return f"If its canister runs, drop it: `{program} recover {file} --discard`."
    name = f"{entry.canister.canister_id} --network {entry.network.name}"
    if not is_loopback(entry.network.url):
        return f"Run `{program} recover {name}`."
    return (
        f"Run `{program} recover {name}`; when that network was reset since, its canisters are"
        f" gone: `{program} recover {entry.path.name} --discard`."
    )
