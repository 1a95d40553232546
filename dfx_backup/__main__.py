"""Start the program: `python -m dfx_backup`, and the console script."""

import gc
import signal
import sys


def run() -> None:
    """Run the command line and exit with its code, which no late signal changes."""
    # Loading makes many objects that stay, and nothing that has to be collected.
    gc.disable()
    try:
        from dfx_backup.cli.app import main  # noqa: PLC0415 - loading it takes a while

        gc.freeze()
        gc.enable()
        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # before `main` could take care of signals
        code = 130
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Else the interpreter looks through all objects once more before it ends.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
