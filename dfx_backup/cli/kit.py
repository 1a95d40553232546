"""`kit rust` and `kit motoko`: the canister's side of `stable`, for the user's project."""

from typing import Annotated

import typer

from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command, require_command

group = typer.Typer(
    rich_markup_mode=None,
    help="Write the canister's side of `stable` into a project.",
    callback=require_command,
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    """Put the group into the tree."""
    app.add_typer(group, name="kit")


FolderOption = Annotated[
    str, typer.Option("--dir", metavar="DIR", help="Folder for the kit's files alone.")
]


@command(group, "rust")
def rust(run: Run, *, folder: FolderOption = "canister-backup-kit") -> Report:
    """Write the Rust crate into the project, and tell what to add."""
    return _write(run, "rust", folder)


@command(group, "motoko")
def motoko(run: Run, *, folder: FolderOption = "backup-kit") -> Report:
    """Write the Motoko mixin into the project, and tell what to add."""
    return _write(run, "motoko", folder)


def _write(run: Run, language: str, folder: str) -> Report:
    from dfx_backup.cli import kit_view as view
    from dfx_backup.operations.kit import Language, write_kit

    path = run.surroundings.path(folder)
    return view.written(write_kit(Language(language), path, typed=folder), typed=folder)
