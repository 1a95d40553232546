"""What `kit` wrote, as text and as the fields of `data`."""

from dfx_backup.cli import text
from dfx_backup.cli.output import Report
from dfx_backup.operations.kit import FileState, KitResult


def written(result: KitResult, *, typed: str) -> Report:
    """`kit rust` and `kit motoko`."""
    new = sum(each.state is FileState.WRITTEN for each in result.files)
    head = f"{typed}: {new} files written, {len(result.files) - new} were there already."
    lines = [text.clean(head)]
    for addition in result.additions:
        lines += ["", f"Add to {text.clean(addition.place)}:", ""]
        lines += [f"    {text.clean(line)}".rstrip() for line in addition.text.splitlines()]
    return Report(
        data={
            "language": result.language.value,
            "folder": text.clean(str(result.folder)),
            "files": [{"name": each.name, "state": each.state.value} for each in result.files],
            "additions": [
                {"place": text.clean(each.place), "text": each.text} for each in result.additions
            ],
        },
        lines=tuple(lines),
    )
