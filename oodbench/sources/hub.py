"""Files on the Hugging Face hub, `hf://org/name@revision/file`: pinned to a commit, kept in the library's own cache."""

import re
from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError

SCHEME = "hf://"

EXPECTED = f"{SCHEME}org/name@revision/file.safetensors"

_ADDRESS = re.compile(r"hf://(?P<repo>[^/@#]+/[^/@#]+)(?:@(?P<revision>[^/#]+))?/(?P<file>[^#]+)")
COMMIT = re.compile(r"[0-9a-f]{40}")
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
        from huggingface_hub import hf_hub_download  # takes long to import, and few need it
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return Path(hf_hub_download(self.repo, self.file, revision=self.revision))
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise OodbenchError(
                f"cannot fetch {self.file} of {self.repo} at {self.revision[:12]} from the hub "
                f"({first_line(error)}): check the address, the network, and `hf auth login` for what is not public"
            ) from error


def commit_of(repo: str, revision: str | None, kind: str = "model") -> str:
    """The commit that a branch or tag names now; a hint to look it up where the hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=10).sha)
    except (HfHubHTTPError, OSError, ValueError):
        return "COMMIT, the 40 hex digits of a commit in the repository's history"


def first_line(error: Exception) -> str:
    """What went wrong, in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(":. ")
