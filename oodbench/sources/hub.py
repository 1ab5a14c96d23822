"""Weights on the Hugging Face hub, `hf://org/name@revision/file.safetensors`: pinned to a commit."""

import re
from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hub import COMMIT, commit_of, fetched

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
        """The file that an address names.

        Raises:
            OodbenchError: it is no address, of weights in another format, or not pinned to a commit.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise OodbenchError(f"{address!r} is no file on the hub: write {EXPECTED}")
        repo, revision, file = found["repo"], found["revision"], found["file"]
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

    def fetched(self) -> Path:
        """Where it lies, in a folder named after its repository and commit; fetched if it is not there yet.

        Raises:
            OodbenchError: it cannot be fetched.
        """
        return fetched(self.repo, self.revision, self.file)
