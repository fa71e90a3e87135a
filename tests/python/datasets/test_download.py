"""The download, against a server on this machine's loopback address."""

import dataclasses
import functools
import hashlib
import http.server
import pickle
import subprocess
import sys
import threading

import pytest

from fastconv.datasets import _store, fashion_mnist, mnist


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def published(server, write_idx, monkeypatch, idx_names):
    """mnist's description, changed to the small files that the local server has."""
    root, url = server
    write_idx(root)
    files = []
    for name in idx_names:
        data = (root / f"{name}.gz").read_bytes()
        files.append(_store.RemoteFile(f"{name}.gz", len(data), hashlib.sha256(data).hexdigest()))
    source = dataclasses.replace(mnist.SOURCE, base_url=url, files=tuple(files))
    monkeypatch.setattr(mnist, "SOURCE", source)
    return root


def leftovers(folder):
    return [p.name for p in folder.rglob("*") if p.name.startswith(".")]


def test_download_fills_the_cache(published, bare_machine, assert_loaded, idx_names):
    assert_loaded(mnist.load_data())
    assert sorted(p.name for p in (bare_machine / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in idx_names
    )
    for path in published.iterdir():
        path.unlink()
    assert_loaded(mnist.load_data())


def test_only_what_is_missing_is_fetched(published, bare_machine, assert_loaded, idx_names):
    mnist.load_data()
    (bare_machine / "mnist" / f"{idx_names[1]}.gz").unlink()
    for name in (idx_names[0], idx_names[2], idx_names[3]):
        (published / f"{name}.gz").unlink()
    assert_loaded(mnist.load_data())


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: d[:-1] + b"x"])
def test_other_content_is_refused(published, bare_machine, change, idx_names):
    path = published / f"{idx_names[2]}.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"t10k-images.* is not the published file.*nothing was"):
        mnist.load_data()
    assert not (bare_machine / "mnist" / f"{idx_names[2]}.gz").exists()
    assert leftovers(bare_machine) == []


def test_missing_on_the_server(published, bare_machine, idx_names):
    (published / f"{idx_names[0]}.gz").unlink()
    with pytest.raises(
        OSError, match=r"train-images.*404.*Put it at .*train-images.*FASTCONV_DATA"
    ):
        mnist.load_data()
    assert leftovers(bare_machine) == []


def test_no_server(bare_machine, monkeypatch):
    source = dataclasses.replace(fashion_mnist.SOURCE, base_url="http://127.0.0.1:9/")
    monkeypatch.setattr(fashion_mnist, "SOURCE", source)
    with pytest.raises(OSError, match=r"could not be brought from http://127\.0\.0\.1:9/train"):
        fashion_mnist.load_data()


def test_unwritable_cache(published, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setattr(_store, "cache_folder", lambda: blocked)
    with pytest.raises(OSError, match="Put it at"):
        mnist.load_data()


def test_connection_that_breaks_off(published, bare_machine, monkeypatch, idx_names):
    # The server announces more than it sends.
    path = published / f"{idx_names[0]}.gz"

    class Liar(QuietHandler):
        def do_GET(self):
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{httpd.server_port}/"
        monkeypatch.setattr(mnist, "SOURCE", dataclasses.replace(mnist.SOURCE, base_url=url))
        try:
            with pytest.raises((OSError, ValueError), match="train-images"):
                mnist.load_data()
        finally:
            httpd.shutdown()
            thread.join()
    assert leftovers(bare_machine) == []


def test_interrupt_leaves_nothing(published, bare_machine, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_store.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mnist.load_data()
    assert [p for p in bare_machine.rglob("*") if p.is_file()] == []


LOAD = """
import pickle, sys
from fastconv.datasets import _store, mnist
mnist.SOURCE, cache = pickle.load(sys.stdin.buffer)
_store.cache_folder = lambda: cache
_store.system_folders = list
sys.stdout.buffer.write(mnist.load_data()[0][0].tobytes())
"""


def test_processes_at_once(bare_machine, published, arrays):
    given = pickle.dumps((mnist.SOURCE, bare_machine))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for worker in workers:  # all of them before any is waited for
        worker.stdin.write(given)
        worker.stdin.flush()
    for worker in workers:
        out, error = worker.communicate(timeout=60)
        assert worker.returncode == 0, error.decode()
        assert out == arrays[0].tobytes()
    assert leftovers(bare_machine) == []
