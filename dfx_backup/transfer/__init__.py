"""Canister snapshots between a network and a folder: in slices, checked, resumable."""
