"""A server on 127.0.0.1 that can break in all the ways that the net does."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """What the server gives, and what it was asked.

    Attributes:
        url: where it is.
        files: by path.
        broken: by path, how many times it breaks off halfway.
        answers: by path, what it answers instead, status and content.
        resumes: it understands ranges.
        asked: path and range of every request.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    resumes: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def served():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range", "")
            it.asked.append((self.path, wanted))
            if self.path in it.answers:
                status, content = it.answers[self.path]
                self.reply(status, content, content)
            elif self.path not in it.files:
                self.reply(404, b"not here", b"not here")
            else:
                content = it.files[self.path]
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and it.resumes else 0
                if start >= len(content):
                    self.reply(416, b"", b"")
                    return
                rest = content[start:]
                sent = rest
                if it.broken.get(self.path, 0):
                    it.broken[self.path] -= 1
                    sent = rest[: len(rest) // 2]
                self.reply(206 if start else 200, rest, sent)

        def reply(self, status, content, sent):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Served(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield it
    server.shutdown()
    server.server_close()


@pytest.fixture
def published(monkeypatch) -> Callable:
    """Put a source of one's own in place of the public one of its name."""
    from oodbench.sources import SOURCES

    def publish(name, source):
        monkeypatch.setitem(SOURCES, name, source)

    return publish
