"""The options of every command that works on a repository, and the way to it that they mean."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Concatenate, ParamSpec, get_type_hints

import typer

from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command

P = ParamSpec("P")

REPOSITORY_VARIABLE = "DFX_BACKUP_REPO"

BackupArgument = Annotated[
    str,
    typer.Argument(
        metavar="BACKUP",
        help="Beginning of its id, CANISTER@latest, or latest.",
        show_default=False,
    ),
]

TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Word for it; may be given several times."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryChoice:
    """Which repository, and how it is opened."""

    repo: Annotated[
        str | None,
        typer.Option("--repo", metavar="PATH|URL", help="The repository: a folder, or s3:URL."),
    ] = None
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="File whose first line opens the repository.",
        ),
    ] = None
    password_command: Annotated[
        str | None,
        typer.Option(
            "--password-command",
            metavar="COMMAND",
            help="Program that prints what opens the repository.",
        ),
    ] = None


def repository_command(
    group: typer.Typer, name: str
) -> Callable[
    [Callable[Concatenate[Run, RepositoryChoice, P], Report]],
    Callable[Concatenate[Run, RepositoryChoice, P], Report],
]:
    """As `session.command`, for a function that also takes a `RepositoryChoice`, the second."""

    def register(
        function: Callable[Concatenate[Run, RepositoryChoice, P], Report],
    ) -> Callable[Concatenate[Run, RepositoryChoice, P], Report]:
        command(group, name)(_with_choice(function))
        return function

    return register


def _with_choice(
    function: Callable[Concatenate[Run, RepositoryChoice, P], Report],
) -> Callable[Concatenate[Run, ...], Report]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    hints = get_type_hints(RepositoryChoice, include_extras=True)
    run, _choice, *own = inspect.signature(function).parameters.values()
    chosen = [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=hints[each.name])
        for each in fields(RepositoryChoice)
    ]

    def wrapper(run: Run, **values: object) -> Report:
        told = {each.name: values.pop(each.name) for each in fields(RepositoryChoice)}
        choice = RepositoryChoice(**told)  # type: ignore[arg-type] # Typer converted them
        return function(run, choice, **values)  # type: ignore[call-arg,arg-type] # Typer saw `own`

    wrapper.__name__ = function.__name__
    wrapper.__doc__ = function.__doc__
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # `inspect` reads it
        [run, *(each.replace(kind=keyword) for each in own), *chosen]
    )
    return wrapper
