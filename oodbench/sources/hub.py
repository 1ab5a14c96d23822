"""Weights on the Hugging Face hub, `hf://org/name@revision/file.safetensors`: pinned to a commit."""

import re
from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hub import COMMIT, commit_of, fetch_file

SCHEME = "hf://"

EXPECTED = f"{SCHEME}org/name@revision/file.safetensors"

_ADDRESS = re.compile(r"hf://(?P<repo>[^/@#]+/[^/@#]+)(?:@(?P<revision>[^/#]+))?/(?P<file>[^#]+)")
_SAFE = ".safetensors"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit.

    Attributes:
        repo: org/name.
        revision: a commit, 40 hex digits.
        file: its path in the repository.
    """

    repo: str
    revision: str
    file: str

    @classmethod
    def parse(cls, address: str) -> "HubFile":
        """Parse the address of a file.

        Raises:
            OodbenchError: it is no address, of weights in another format, or not pinned to a commit.
        """
        parts = _ADDRESS.fullmatch(address)
        if parts is None:
            raise OodbenchError(f"{address!r} is not the address of a file on the hub: write {EXPECTED}")
        repo, revision, file = parts["repo"], parts["revision"], parts["file"]
        if not file.endswith(_SAFE):
            raise OodbenchError(
                f"{address!r}: only safetensors are taken from the hub, since other files can run code when they are "
                f"read; choose a file that ends in {_SAFE}"
            )
        if revision is None or not COMMIT.fullmatch(revision):
            raise OodbenchError(
                f"{address!r} is not pinned: what a branch or a tag names may change, and the result with it; write "
                f"{SCHEME}{repo}@{commit_of(repo, revision)}/{file}"
            )
        return cls(repo, revision, file)

    def fetch(self) -> Path:
        """Fetch it, unless it is there already, into a folder named after its repository and commit.

        Raises:
            OodbenchError: it cannot be fetched.
        """
        return fetch_file(self.repo, self.revision, self.file)
