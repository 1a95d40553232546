"""Refuse modules and functions that have grown too long to read in one go."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 50
PACKAGE = Path(__file__).parent.parent / "dfx_backup"


def too_long(source: str, name: str) -> Iterator[str]:
    """One message for each thing in a module's source that is too long."""
    count = len(source.splitlines())
    if count > MODULE_LINES:
        yield f"{name}: {count} lines; a module has at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield (
                f"{name}:{node.lineno}: {node.name} has {lines} lines; "
                f"a function has at most {FUNCTION_LINES}"
            )


def main() -> int:
    """Check the package; 1 when something is too long."""
    messages = [
        message
        for path in sorted(PACKAGE.rglob("*.py"))
        for message in too_long(
            path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE.parent))
        )
    ]
    for message in messages:
        print(message)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
