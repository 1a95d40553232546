"""An import compares what it has stored, and not the file once more, with what the folder tells."""

from dataclasses import replace
from pathlib import Path

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.operations.backup_files import write_folder
from dfx_backup.repository.file_writer import FileRecord, FileWriter
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.transfer.folder import open_folder
from tests.fakes.repositories import PAGE, new_repository
from tests.fakes.snapshot_folder import write_folder as make_folder


@pytest.mark.parametrize("page_bytes", [PAGE, 4 * PAGE])
def test_what_was_stored_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    folder = make_folder(tmp_path / "copy", stable={2: b"two", 9: b"nine"}, page_bytes=page_bytes)
    contents = open_folder(folder)
    assert contents.metadata is not None
    with new_repository(MemoryStore()).writer() as writer:
        files, _ = write_folder(writer, contents, contents.metadata)
    (memory,) = (each for each in files if each.name == "stable_memory.bin")
    assert memory.pages is not None
    assert memory.pages.page_bytes == PAGE

    finish = FileWriter.finish

    def spoiled(file: FileWriter) -> FileRecord:
        return replace(finish(file), content_sha256="00" * 32)

    monkeypatch.setattr(FileWriter, "finish", spoiled)
    if page_bytes == PAGE:  # pages of another size can't be compared with those that are stored
        with (
            new_repository(MemoryStore()).writer() as writer,
            pytest.raises(DamageError, match="is not the recorded one"),
        ):
            write_folder(writer, contents, contents.metadata)
