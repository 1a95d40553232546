"""The wire: principals, Candid of the few types we use, envelopes, certificates, calls."""
