"""What the user has on disk: projects, networks, canister ids, identities."""
