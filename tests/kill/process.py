"""Commands in processes of their own, forked from this one, so that each starts at once."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 120
"""Seconds after which a process counts as one that hangs."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code; minus the signal that ended it.
        out: what it printed.
        err: what it said.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Running:
    """A command at work in a process group of its own."""

    pid: int
    out: Path
    err: Path
    since: float

    def kill(self) -> None:
        """As the system does when memory runs out."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)  # it has not made its group yet

    def wait(self) -> Ended:
        """Until it ends; one that hangs is killed, and its code says so."""
        while time.monotonic() - self.since < PATIENCE:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                seconds = time.monotonic() - self.since
                return Ended(code, self.out.read_text(errors="replace"), self.err.read_text(errors="replace"), seconds)
            time.sleep(0.002)
        self.kill()
        os.waitpid(self.pid, 0)
        return Ended(-signal.SIGKILL, "", f"still running after {PATIENCE} seconds", PATIENCE)


def start(arguments: tuple[str, ...], folder: Path, said: Path, limit: int | None = None) -> Running:
    """`oodbench ARGUMENTS` in `folder`.

    Args:
        arguments: of the command.
        folder: where it works.
        said: in front of the names of two files for what it prints.
        limit: bytes that a file may have, as where a quota ends.
    """
    out, err = Path(f"{said}.out"), Path(f"{said}.err")
    out.touch()
    err.touch()
    since = time.monotonic()
    pid = os.fork()
    if pid:
        return Running(pid, out, err, since)
    os.setpgid(0, 0)
    os.chdir(folder)
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_TRUNC), stream)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    call(lambda: _command(arguments))
    raise AssertionError("a forked process leaves through call")


def call(work: Callable[[], None]) -> None:
    """Do `work` and end this process, whatever comes of it."""
    import sys
    import traceback

    code = 70
    try:
        work()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 70
        os._exit(code)


def _command(arguments: tuple[str, ...]) -> None:
    import sys

    from oodbench import cli

    sys.argv = ["oodbench", *arguments]
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    cli.main()


def serve(content: bytes) -> tuple[str, int]:
    """A server of one file on this machine in a process of its own, slow enough to be interrupted: address and pid."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(content):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            piece = len(content) // 40
            for place in range(start, len(content), piece):
                self.wfile.write(content[place : place + piece])
                time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # whoever asked was killed

    server = Server(("127.0.0.1", 0), Handler)
    pid = os.fork()
    if not pid:
        call(server.serve_forever)
    server.socket.close()
    return f"http://127.0.0.1:{server.server_port}/photos.tar", pid
