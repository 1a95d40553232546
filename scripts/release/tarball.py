"""Archives as dfx unpacks them: one folder at the top, the same bytes for the same files."""

import gzip
import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path, *, name: str, epoch: int) -> None:
    """Pack a folder.

    Symbolic links become what they point to: dfx takes no folder that is one, and an archive
    without any can't lead anywhere else. Folders and programs get mode 0755, other files 0644.

    Args:
        folder: what is packed.
        archive: the `.tar.gz` to write.
        name: of the folder in the archive.
        epoch: time of every file, seconds since 1970.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        _add(tar, folder, name, epoch)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into a folder with nothing else in it; the one folder that the archive holds.

    Nothing is written elsewhere, where Python knows how: 3.11 learnt it with 3.11.4.
    """
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)  # noqa: S202 - what we built
    (inside,) = folder.iterdir()
    return inside


def _add(tar: tarfile.TarFile, path: Path, name: str, epoch: int) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = epoch
    if path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        for each in sorted(path.iterdir(), key=lambda found: found.name):
            _add(tar, each, f"{name}/{each.name}", epoch)
        return
    info.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    info.size = path.stat().st_size
    with path.open("rb") as content:
        tar.addfile(info, content)
