"""Ways to control a canister: dfx and icp as child programs, agent directly; one contract."""
