"""Start the program: `python -m dfx_backup`, and the console script."""

import sys

from dfx_backup.cli.app import main


def run() -> None:
    """Run the command line and exit with its code."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
