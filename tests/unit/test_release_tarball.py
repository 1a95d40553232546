"""Archives: what dfx asks of them, and the same bytes each time."""

import os
import stat
import tarfile
from pathlib import Path

from scripts.release import glibc, layout, tarball

EPOCH = 1_700_000_000


def made(folder: Path) -> Path:
    """A program with its manifest, with a link and modes of all kinds."""
    inside = folder / "inside"
    inside.mkdir(parents=True)
    (folder / "backup").write_text("#!/bin/sh\n")
    (folder / "backup").chmod(0o700)
    (folder / "extension.json").write_text("{}")
    (folder / "extension.json").chmod(0o600)
    (inside / "lib.so.1").write_bytes(b"library")
    (inside / "lib.so").symlink_to("lib.so.1")
    (inside / "linked").symlink_to(inside / "deeper")
    (inside / "deeper").mkdir()
    (inside / "deeper" / "file").write_bytes(b"deep")
    return folder


def test_an_archive_is_one_folder_of_plain_files(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    tarball.pack(made(tmp_path / "made"), archive, name="top", epoch=EPOCH)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert members[0].name == "top"
    assert members[0].isdir()
    assert {each.name.partition("/")[0] for each in members} == {"top"}
    assert all(each.isfile() or each.isdir() for each in members)
    modes = {each.name: each.mode for each in members}
    assert modes["top"] == modes["top/backup"] == modes["top/inside"] == 0o755
    assert modes["top/extension.json"] == modes["top/inside/lib.so"] == 0o644
    assert {(each.uid, each.gid, each.uname, each.mtime) for each in members} == {(0, 0, "", EPOCH)}


def test_what_links_point_to_is_in_the_archive(tmp_path: Path) -> None:
    archive, back = tmp_path / "a.tar.gz", tmp_path / "back"
    tarball.pack(made(tmp_path / "made"), archive, name="top", epoch=EPOCH)
    assert tarball.unpack(archive, back) == back / "top"
    assert (back / "top" / "inside" / "lib.so").read_bytes() == b"library"
    assert (back / "top" / "inside" / "linked" / "file").read_bytes() == b"deep"
    assert (back / "top" / "backup").stat().st_mode & stat.S_IXUSR


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    made(tmp_path / "one")
    made(tmp_path / "elsewhere" / "two")
    os.utime(tmp_path / "one" / "backup", (1, 1))
    for folder, name in ((tmp_path / "one", "1"), (tmp_path / "elsewhere" / "two", "2")):
        tarball.pack(folder, tmp_path / f"{name}.tar.gz", name="top", epoch=EPOCH)
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()


def test_names_are_those_that_dfx_asks_for() -> None:
    release = layout.Release(folder=Path("release"), version="1.2.3")
    told = "release/backup-v1.2.3/backup-aarch64-apple-darwin.tar.gz"
    assert str(release.archive("aarch64-apple-darwin")) == told


def test_the_checksum_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    digest = layout.write_sha256(file)
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / "file.sha256").read_text() == f"{digest}  file\n"


def test_only_compiled_files_need_a_glibc(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("GLIBC_9.99")
    assert glibc.needed(tmp_path) == (0, 0)
