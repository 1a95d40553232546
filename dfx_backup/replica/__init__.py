"""An embedded single-node replica that runs unmodified canister Wasm, for development and tests."""
