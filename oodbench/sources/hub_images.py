"""Images on the Hugging Face hub, `hf://datasets/org/name@revision/path`: pinned to a commit, no code run."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hub import COMMIT, commit_of, fetch_file, hub_errors, unreachable_error
from oodbench.basics.listeners import Say
from oodbench.basics.progress import progress
from oodbench.basics.words import counted, printable
from oodbench.images.decoding import SUFFIXES
from oodbench.images.packs import address_of
from oodbench.sources.folders import UNREAD, few_names
from oodbench.sources.kinds import kind_of
from oodbench.sources.own import PackRequest, pack

SCHEME = "hf://datasets/"

EXPECTED = f"{SCHEME}org/name@COMMIT/folder, or a zip, tar or safetensors file in place of the folder"

SINGLE = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".safetensors")
"""Suffixes of files that hold many images."""

TAKEN = ("archive", "safetensors")
"""Kinds of such files: of what else `oodbench data pack` reads some is pickled, and that can run code."""

AT_ONCE = 8
"""Files that are fetched side by side."""

_ADDRESS = re.compile(r"hf://datasets/(?P<repo>[^/@#]+/[^/@#]+)(?:@(?P<revision>[^/#]+))?(?:/(?P<path>[^#]*))?")


@dataclass(frozen=True)
class HubImages:
    """A folder or a file of a data set's repository, at one commit.

    Attributes:
        repo: org/name.
        revision: a commit, 40 hex digits.
        path: in the repository; "" for all of it.
    """

    repo: str
    revision: str
    path: str

    @classmethod
    def parse(cls, address: str) -> "HubImages":
        """Parse an address.

        Raises:
            OodbenchError: it is no address, or not pinned to a commit.
        """
        parts = _ADDRESS.fullmatch(address)
        path = (parts["path"] or "").strip("/") if parts else ""
        if parts is None or ".." in path.split("/"):
            raise OodbenchError(f"{address!r} is not the address of a data set on the hub: write {EXPECTED}")
        repo, revision = parts["repo"], parts["revision"]
        if revision is None or not COMMIT.fullmatch(revision):
            raise OodbenchError(
                f"{address!r} is not pinned: what a branch or a tag names may change, and the images with it; write "
                f"{SCHEME}{repo}@{commit_of(repo, revision, 'dataset')}{'/' * bool(path)}{path}"
            )
        return cls(repo, revision, path)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}@{self.revision}{'/' * bool(self.path)}{self.path}"

    @property
    def single(self) -> bool:
        """Whether it names a file that holds many images."""
        return self.path.lower().endswith(SINGLE)

    @property
    def pack_name(self) -> str:
        """A name for the pack: that of the folder or file, or of the repository."""
        last = PurePosixPath(self.path or self.repo).name
        suffix = next((end for end in SINGLE if last.lower().endswith(end)), "") if self.single else ""
        return re.sub(r"[^a-z0-9._-]+", "-", last[: len(last) - len(suffix)].lower()).strip("-._")


def pack_unless_there(address: HubImages, request: PackRequest, say: Say) -> Path:
    """Return the pack of what an address names, made unless it is there already; see `pack_address`.

    Raises:
        OodbenchError: another pack is called so, or it cannot be fetched.
    """
    if not request.target.is_file():
        return pack_address(address, request, say)
    if address_of(request.target) != str(address):
        raise OodbenchError(
            f"{request.target} is there already and of other images: give these another name with --as NAME"
        )
    say(f"{request.name}: {request.target} is there already")
    return request.target


def pack_address(address: HubImages, request: PackRequest, say: Say) -> Path:
    """Pack a data set's images, whole or not at all; the files stay in the library's own cache.

    Args:
        address: of the images, which the pack notes as its origin.
        request: how they become a pack.
        say: told what was packed and what was left out, a line at a time.

    Raises:
        OodbenchError: it cannot be fetched, or is nothing that is taken from the hub.
    """
    if address.single:
        path = _file(address, address.path)
        if (kind := kind_of(path)) not in TAKEN:
            raise OodbenchError(
                f"{address} holds {kind!r}: from the hub only image files, archives of them and safetensors are taken, "
                "since other files can run code when they are read"
            )
    else:
        path = _folder(address, say)
    return pack(path, replace(request, origin=str(address)), say)


def _folder(address: HubImages, say: Say) -> Path:
    """Fetch all image files of a folder, and return where it is in the cache."""
    files = _list_files(address)
    images = [file for file in files if _is_image(file.path)]
    others = [file.path for file in files if not _is_image(file.path)]
    if not images:
        others_text = f"; it holds {few_names(others)}" if others else ""
        raise OodbenchError(
            f"there are no image files in {address}{others_text}: give a folder that has some, or a file that ends in "
            f"{', '.join(SINGLE)}; Parquet is not read: write its images as files, and `oodbench data pack` those"
        )
    size = sum(file.size or 0 for file in images)
    say(f"{address}: {counted(len(images), 'image file')}, {size / 1e6:,.1f} MB")
    if others:
        skipped = counted(len(others), "file")
        say(f"  not fetched, since their names are not those of images: {skipped}: {few_names(others)}")
    paths: list[Path] = []
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        with progress(f"fetching {address.repo}", len(images)) as advance:
            for path in pool.map(lambda file: _file(address, file.path), images):
                paths.append(path)
                advance(1)
    finally:
        pool.shutdown(cancel_futures=True)  # after a mistake or Ctrl-C the rest is not waited for
    snapshot = paths[0].parents[len(PurePosixPath(images[0].path).parts) - 1]
    return snapshot / address.path


def _is_image(path: str) -> bool:
    """Whether a file is an image by its name, also of the kinds that `oodbench.sources.folders` names as unread."""
    return PurePosixPath(path).suffix.lower() in {*SUFFIXES, *UNREAD}


def _list_files(address: HubImages) -> Sequence[Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        tree = HfApi().list_repo_tree(
            address.repo, address.path or None, recursive=True, revision=address.revision, repo_type="dataset"
        )
        files = [entry for entry in tree if isinstance(entry, RepoFile)]
    except EntryNotFoundError as error:
        raise OodbenchError(
            f"there is no folder {printable(address.path)!r} in {address.repo} at {address.revision[:12]}: write "
            f"{EXPECTED}"
        ) from error
    except hub_errors() as error:
        raise unreachable_error(
            address.repo, address.revision, address.path or "the list of its files", error
        ) from error
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in file.path.split("/"):
            raise OodbenchError(f"{address}: a file is called {printable(file.path)!r}, which leads out of its folder")
    return files


def _file(address: HubImages, file: str) -> Path:
    return fetch_file(address.repo, address.revision, file, "dataset")
