"""How fast snapshots move, side by side with other programs: `python -m benchmarks`."""
