"""The command tree, and `main`: argv in, exit code out."""


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    return 2 if argv else 0
