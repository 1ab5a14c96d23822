"""The Hugging Face hub: files of a repository at one commit, kept in the library's own cache."""

import re
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import printable

COMMIT = re.compile(r"[0-9a-f]{40}")
"""The revision that pins an address: a branch or a tag may name something else tomorrow."""


def fetch_file(repo: str, revision: str, file: str, kind: str = "model") -> Path:
    """Fetch a file, unless it is there already, into a folder named after its repository and commit.

    Args:
        repo: org/name.
        revision: a commit.
        file: its path in the repository.
        kind: "model" or "dataset".

    Raises:
        OodbenchError: it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download  # takes long to import, and few need it

    try:
        return Path(hf_hub_download(repo, file, revision=revision, repo_type=kind))
    except hub_errors() as error:
        raise unreachable_error(repo, revision, file, error) from error


def fetch_file_if_there(repo: str, revision: str, file: str) -> Path | None:
    """Fetch a file of a model, as `fetch_file` does; None where the repository has no such file.

    Raises:
        OodbenchError: it cannot be fetched.
    """
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return fetch_file(repo, revision, file)
    except OodbenchError as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            return None
        raise


def hub_errors() -> tuple[type[Exception], ...]:
    """The exceptions of the library where the hub, or the network on the way there, does not give something."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        from httpx import HTTPError  # which the library takes from its version 1 on; before, its errors were OSErrors
    except ImportError:
        return HfHubHTTPError, OSError, ValueError
    return HfHubHTTPError, OSError, ValueError, HTTPError


def unreachable_error(repo: str, revision: str, what: str, error: Exception) -> OodbenchError:
    """The error where the hub does not give something; `what` names it."""
    return OodbenchError(
        f"cannot fetch {printable(what)} of {repo} at {revision[:12]} from the hub ({first_line(error)}): check the "
        "address, the network, and `hf auth login` for what is not public; what has come stays, and the same command "
        "goes on"
    )


def commit_of(repo: str, revision: str | None, kind: str = "model") -> str:
    """The commit that a branch or tag names now; a hint to look it up where the hub does not say."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=10).sha)
    except hub_errors():
        return "COMMIT, the 40 hex digits of a commit in the repository's history"


def first_line(error: Exception) -> str:
    """The error in one line: its type and what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(":. ")
