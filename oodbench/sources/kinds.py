"""The kind of a file, by its first bytes and never by its name."""

import gzip
import lzma
import zipfile
import zlib
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.sources.archives import is_tar

READ = (
    "a folder, tar or zip archive of image files; .npy, .npz or safetensors of uint8 (N, H, W, 3); a tensor of such in "
    "a torch.save file; HDF5 or Matlab's .mat with such images; MNIST's idx files; one pickled batch of CIFAR's"
)
"""The kinds that `oodbench data pack` takes, for people."""

IDX, IDX_LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"
"""First bytes of MNIST's files of images and of labels."""

GZIPPED = b"\x1f\x8b"
TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a file that torch.save wrote before its version 1.6: a number."""

MARKS = {
    b"\x93NUMPY": "npy",
    b"MATLAB 5.0 MAT-file": "mat",
    b"MATLAB 7.3 MAT-file": "hdf5",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    IDX: "idx",
    TORCH: "torch",
    b"\x80": "pickle",
}
"""First bytes of kinds that are read, and a word for each; the longer ones first where two agree."""

OTHERS = {
    b"PK": "a zip archive, but is not whole: get it again from where it came",
    b"PAR1": "a Parquet file: write its images as files into class folders, or as .npz",
    b"ARROW1": "an Arrow file: write its images as files into class folders, or as .npz",
    b"7z\xbc\xaf'\x1c": "a 7z archive: unpack it and give the folder",
    b"Rar!": "a RAR archive: unpack it and give the folder",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard: unpack it and give the folder",
    b"\x04\x22\x4d\x18": "compressed by LZ4: unpack it and give the folder",
    b"\x1f\x9d": "compressed by `compress`: unpack it and give the folder",
    b"BZh": "one file compressed by bzip2, or the beginning of one: unpack it and give what comes out",
    b"\xfd7zXZ": "one file compressed by xz, or the beginning of one: unpack it and give what comes out",
    b"SQLite format 3": "an SQLite database: write its images as files into class folders",
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself: get that with `git lfs pull`",
    b"\xff\xd8\xff": "one image: give the folder that it is in",
    b"\x89PNG": "one image: give the folder that it is in",
    b"GIF8": "one image: give the folder that it is in",
    b"II*\0": "one image: give the folder that it is in",
    b"MM\0*": "one image: give the folder that it is in",
    b"%PDF": "a PDF document",
    IDX_LABELS: "an idx file of labels: give the one of images, labels are found beside it",
    b"\0\0\x08": "an idx file, but not of grey images (N, H, W): save them as .npy",
    b"\0\0\x0d": "an idx file of floats, and not of 8-bit grey images: save those as .npy",
}
"""First bytes of kinds that are not read, and what to say."""


def kind_of(path: Path) -> str:
    """Return a word for the kind of a file: "folder", "archive", "npz", "torch", "safetensors" or one of `MARKS`.

    Raises:
        OodbenchError: it is of no kind that is read; the message says what it looks to be.
    """
    if path.is_dir():
        return "folder"
    head = _head(path)
    if not head:
        raise OodbenchError(f"{path} is empty: get it again from where it came")
    if head.startswith(GZIPPED) and not is_tar(path):
        head = _unzipped_head(path)
        if not head.startswith((IDX, IDX_LABELS)):
            raise OodbenchError(f"{path} is one file compressed by gzip: unpack it and give what comes out")
    # The length of its header comes first, which may begin with the byte that a pickle does.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    for mark, kind in MARKS.items():
        if head.startswith(mark):
            return kind
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    if is_tar(path):
        return "archive"
    raise OodbenchError(f"{path} {_unread_kind_text(head)}; `oodbench data pack` reads {READ}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise OodbenchError(f"{path} cannot be read ({error.strerror}): allow that, or give another file") from error


def _unzipped_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read(512)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise OodbenchError(f"{path} is not a whole gzip file ({error}): get it again from where it came") from error


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, UnicodeError, NotImplementedError) as error:
        raise OodbenchError(f"{path} is not a whole archive ({error}): get it again from where it came") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise OodbenchError(f"{path} is a TorchScript archive, which holds code and no images; pack reads {READ}")
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "archive"


def _unread_kind_text(head: bytes) -> str:
    """Say what a file looks to be that is not read."""
    for mark, text in OTHERS.items():
        if head.startswith(mark):
            return f"looks to be {text}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "is a web page and not the file: the address that it came from wants a login or a click"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "looks to be one image: give the folder that it is in"
    try:
        head[:500].decode()
    except UnicodeError:
        return f"is of a kind that is not known (it begins with {head[:8].hex(' ')}), or a damaged archive"
    return "looks to be text" if b"\0" not in head else "is of a kind that is not known, or a damaged archive"
