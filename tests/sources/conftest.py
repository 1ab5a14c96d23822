"""A server on 127.0.0.1 that can break in all the ways that the net does."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PIECE = 100


@dataclass
class Served:
    """What the server gives, and what it was asked.

    Attributes:
        url: where it is.
        files: by path.
        broken: by path, how many times it breaks off halfway.
        manner: of breaking off: "close", "reset" (without a goodbye), or "stall" (nothing more comes).
        pace: seconds between pieces of `PIECE` bytes, for a server that trickles.
        answers: by path, what it answers instead, status and content.
        resumes: it understands ranges.
        asked: path and range of every request.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    manner: str = "close"
    pace: float = 0.0
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
                if len(sent) < len(rest):
                    self.break_off()

        def reply(self, status, content, sent):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            size = PIECE if it.pace else len(sent) or 1
            for place in range(0, len(sent), size):
                self.wfile.write(sent[place : place + size])
                time.sleep(it.pace)

        def break_off(self):
            if it.manner == "stall":
                stopped.wait(5)
            if it.manner == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, *_):
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Served(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield it
    stopped.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def published(monkeypatch) -> Callable:
    """Put a source of one's own in place of the public one of its name."""
    from oodbench.sources.catalogue import SOURCES

    def publish(name, source):
        monkeypatch.setitem(SOURCES, name, source)

    return publish
