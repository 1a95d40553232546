"""The command line: words in, words out; the only layer that knows Typer."""
