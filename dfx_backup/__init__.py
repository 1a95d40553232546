"""Backups of Internet Computer canisters."""

__version__ = "0.1.0"
