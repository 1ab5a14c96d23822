"""A server of one's own on 127.0.0.1 that answers as the Hugging Face hub does, for one repository."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "c0ffee" * 6 + "c0de"
"""Forty hex digits."""

Files = dict[str, bytes]
Asked = list[tuple[str, str]]


@contextmanager
def local_hub(kind: str, name: str, patch: pytest.MonkeyPatch, cache: Path) -> Iterator[tuple[Files, Asked]]:
    """A hub with one repository.

    Args:
        kind: "models" or "datasets".
        name: of the repository, "org/net".
        patch: lets huggingface_hub ask here.
        cache: where it keeps what it fetched.

    Yields:
        The repository's files by path, to be put in; what was asked, (method, path) each.
    """
    files: Files = {}
    asked: Asked = []
    prefix = "" if kind == "models" else f"/{kind}"
    resolve, about = f"{prefix}/{name}/resolve/{COMMIT}/", f"/api/{kind}/{name}"
    tree = f"{about}/tree/{COMMIT}"

    def listed(below: str) -> list[dict[str, object]]:
        found = [path for path in files if not below or path.startswith(f"{below}/")]
        return [{"type": "file", "path": path, "size": len(files[path]), "oid": "0" * 40} for path in found]

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append((self.command, path))
            if path.startswith(resolve) and path.removeprefix(resolve) in files:
                self.reply(files[path.removeprefix(resolve)], "application/octet-stream", body)
            elif path.startswith(tree) and (found := listed(path.removeprefix(tree).strip("/"))):
                self.reply(json.dumps(found).encode(), "application/json", body)
            elif path.startswith(about) and not path.startswith(tree):
                self.reply(json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode(), "application/json", body)
            else:
                self.missing("Entry" if path.startswith((resolve, tree)) else "Repo")

        def missing(self, what: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", f"{what}NotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def reply(self, content: bytes, content_type: str, body: bool) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr("huggingface_hub.constants.ENDPOINT", address)
    patch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield files, asked
    server.shutdown()
    server.server_close()
