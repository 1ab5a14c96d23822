"""Weights on the Hugging Face hub, from a server of one's own that answers as the hub does."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import torch

from oodbench.basics.errors import OodbenchError
from oodbench.networks import build
from oodbench.networks.checkpoints import load, save
from oodbench.sources.trained import checkpoint

COMMIT = "c0ffee" * 6 + "c0de"
"""Forty hex digits."""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the repository org/net, whose files are put into a dict; requests are noted."""
    files, asked = {}, []

    class Hub(BaseHTTPRequestHandler):
        def _answer(self, body):
            asked.append((self.command, self.path))
            start = f"/org/net/resolve/{COMMIT}/"
            name = self.path.removeprefix(start)
            if self.path.startswith("/api/models/org/net"):
                content, kind = (
                    json.dumps({"id": "org/net", "sha": COMMIT, "siblings": []}).encode(),
                    "application/json",
                )
            elif self.path.startswith(start) and name in files:
                content, kind = files[name], "application/octet-stream"
            else:
                self.send_response(404)
                missing = "EntryNotFound" if self.path.startswith(start) else "RepoNotFound"
                self.send_header("X-Error-Code", missing)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self):
            self._answer(body=False)

        def do_GET(self):
            self._answer(body=True)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield files, asked
    server.shutdown()
    server.server_close()


def test_weights_come_from_a_commit_once_and_say_which(hub, tmp_path):
    files, asked = hub
    network = build("small-cnn", 10, seed=3)
    save(network, tmp_path / "own.safetensors", {})
    files["deep/net.safetensors"] = (tmp_path / "own.safetensors").read_bytes()
    address = f"hf://org/net@{COMMIT}/deep/net.safetensors"
    path = checkpoint(address, tmp_path)
    assert path.read_bytes() == files["deep/net.safetensors"]
    assert COMMIT in str(path)
    assert "org--net" in str(path)
    other = build("small-cnn", 10, seed=4)
    load(other, path)
    assert torch.equal(other.fc.weight, network.fc.weight)
    before = len(asked)
    assert checkpoint(address, tmp_path) == path
    assert len(asked) == before  # a commit does not change: nothing is asked again


def test_one_of_several_sets_of_weights_is_named_as_in_files(hub, tmp_path):
    files, _ = hub
    files["both.safetensors"] = safetensors.torch.save({"ema.w": torch.zeros(1), "w": torch.ones(1)})
    path = checkpoint(f"hf://org/net@{COMMIT}/both.safetensors#ema", tmp_path)
    assert path.name == "both.safetensors#ema"


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT[:12]}"])
def test_what_is_not_pinned_is_refused_and_the_commit_named(hub, tmp_path, revision):
    with pytest.raises(OodbenchError, match=f"not pinned.*write hf://org/net@{COMMIT}/net.safetensors"):
        checkpoint(f"hf://org/net{revision}/net.safetensors", tmp_path)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"hf://org/net@{COMMIT}/net.bin", "only safetensors"),
        (f"hf://org/net@{COMMIT}/pytorch_model.pt", "can run code"),
        ("hf://org", "write hf://org/name@revision/file.safetensors"),
        (f"hf://org/net@{COMMIT}/none.safetensors", "cannot fetch none.safetensors of org/net at c0ffee"),
        (f"hf://org/other@{COMMIT}/net.safetensors", "cannot fetch net.safetensors of org/other"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_says_why(hub, tmp_path, address, told):
    with pytest.raises(OodbenchError, match=told):
        checkpoint(address, tmp_path)
