"""A file that is larger than any disk here: `python -m benchmarks.huge_file REPOSITORY GIB`.

Written to a repository from pages that are made on the way, one in every 64 MiB, and read back in
parts. Prints the number of pages that are no zeros.
"""

import sys
from pathlib import Path

from benchmarks.memories import PAGE, distinct_page
from dfx_backup.repository.keys import Password
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.machine import Machine
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import BackupMeta

_EVERY = 1024
"""Of so many pages the first holds data."""
_NAME = "stable_memory.bin"


def main(argv: list[str]) -> int:
    """Write, open anew, read and compare; 1 when something else comes back."""
    store = LocalStore(Path(argv[0]))
    pages = int(argv[1]) * 16_384
    machine = Machine(hostname="benchmark", username="", pid=1)
    password = Password("benchmark")
    repository = Repository.init(store, password, machine)
    with repository.writer() as writer:
        file = writer.file(_NAME, pages * PAGE, whole_hash=False)
        for number in range(0, pages, _EVERY):
            file.write(number * PAGE, distinct_page(number))
            file.skip((number + 1) * PAGE, (_EVERY - 1) * PAGE)
        file.finish()
        commit = writer.commit(BackupMeta(hostname="benchmark", paths=("/x",), time=1.0))
    repository = Repository.open(store, password, machine)
    node = repository.tree(commit.tree).find(_NAME)
    assert node is not None
    reader = repository.reader()
    ranges = list(reader.data_ranges(node))
    if ranges != [(at * PAGE, (at + 1) * PAGE) for at in range(0, pages, _EVERY)]:
        return 1
    for begin, _ in ranges[:: max(1, len(ranges) // 256)]:
        found = reader.read_range(node, begin, 2 * PAGE)
        if found != distinct_page(begin // PAGE) + bytes(PAGE):
            return 1
    print(len(ranges))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
