"""The repository: restic's format version 2 with blobs of a fixed size, written and read by us."""
