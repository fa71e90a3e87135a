"""The documentation: its navigation is complete, its links lead somewhere, its programs run."""

import ast
import io
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAV = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("not_in_nav")[0]
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "examples/README.md"])
DEPLOYMENT = sorted((DOCS / "deployment").glob("*.md"))


def blocks(page, language):
    """Title (or "") and text of the code blocks."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```', text, re.S | re.M)


def test_navigation_is_complete():
    listed = re.findall(r"(\S+\.md)$", NAV, re.M)
    pages = {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if p.parent != DOCS / "adr"}
    assert pages <= set(listed)
    modules = {path.split("/")[1] for path in listed if path.startswith("api/")}
    assert modules == {f"{name}.md" for name in ("index", "fastconv", *fastconv._SUBMODULES)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        # Pages that docs/hooks/pages.py makes have the name index.md.
        if "://" not in target and not target.endswith("/index.md"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [DOCS / "tutorial.md", *DEPLOYMENT], ids=lambda p: p.stem)
def test_commands_parse(page):
    for _, block in blocks(page, "bash"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "fastconv":
                cli._parser().parse_args(words[1:])


def test_tutorial_runs(tmp_path, monkeypatch):
    for package in ("matplotlib", "onnx", "PIL"):
        pytest.importorskip(package, reason=f"needs {package}")
    monkeypatch.chdir(tmp_path)
    names = {}
    for _, code in blocks("tutorial.md", "python"):
        exec(compile(code, "tutorial.md", "exec"), names)
    assert names["accuracy"] > 0.9
    assert len(names["history"].epoch) == 12
    np.testing.assert_allclose(names["scores"], names["model"].predict(names["x_test"]), atol=1e-5)
    files = {path.name for path in tmp_path.iterdir()}
    assert files >= {"curves.png", "maps.png", "cam.png", "wrong.png", "digits.onnx"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with the programs of the pages on deployment, and a model for them."""
    pytest.importorskip("onnx", reason="needs onnx, which converts the model")
    folder = tmp_path_factory.mktemp("deployment")
    for page in DEPLOYMENT:
        for title, code in blocks(page, "python"):
            assert title, page
            ast.parse(code)
            (folder / title).write_text(code)
    layers = fastconv.layers
    model = fastconv.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, activation="softmax")]
    )
    model.save(folder / "digits.fastconv")
    assert not cli.main(
        ["convert", str(folder / "digits.fastconv"), str(folder / "model.fastconv")]
    )
    return folder


def run(folder, program):
    return subprocess.run(
        [sys.executable, program], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_every_program_is_run_here(programs):
    names = {"serve.py", "ask.py", "workers.py", "app.py", "handler.py", "try_handler.py"}
    assert {path.name for path in programs.glob("*.py")} == names


def array(*shape):
    file = io.BytesIO()
    np.save(file, np.zeros(shape, np.float32))
    return file.getvalue()


def test_server(programs):
    # Port 0 is any free one, which the program then says.
    code = (programs / "serve.py").read_text()
    told = code.replace(
        "    ThreadingHTTPServer(address, Handler).serve_forever()",
        "    server = ThreadingHTTPServer(address, Handler)\n"
        "    print(server.server_address[1], flush=True)\n"
        "    server.serve_forever()",
    )
    assert told != code
    (programs / "told.py").write_text(told)
    server = subprocess.Popen(
        [sys.executable, "told.py"],
        cwd=programs,
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        ask = (programs / "ask.py").read_text()
        assert "http://127.0.0.1:8000" in ask
        (programs / "asks.py").write_text(ask.replace("http://127.0.0.1:8000", url))
        answer = run(programs, "asks.py")
        assert answer.returncode == 0 and answer.stdout.startswith("b'[["), answer
        for bad in (b"", b"no array", array(1, 9, 8, 1)):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(url, data=bad)
            assert error.value.code == 400
        scores = json.load(urllib.request.urlopen(url, data=array(3, 8, 8, 1)))
        assert np.shape(scores) == (3, 10)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    for name in ("told.py", "asks.py"):
        (programs / name).unlink()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_workers(programs):
    result = run(programs, "workers.py")
    assert result.returncode == 0, result.stderr
    classes = json.loads(result.stdout)
    assert len(classes) == 100 and set(classes) <= set(range(10))


def test_wsgi_application(programs, monkeypatch):
    monkeypatch.chdir(programs)
    names = {}
    exec(compile((programs / "app.py").read_text(), "app.py", "exec"), names)

    def post(body):
        status = []
        environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        content = b"".join(names["application"](environ, lambda line, _: status.append(line)))
        return status[0], content

    status, content = post(array(2, 8, 8, 1))
    assert status == "200 OK" and np.shape(json.loads(content)) == (2, 10)
    status, content = post(array(2, 8, 9, 1))
    assert status == "400 Bad Request" and b"(batch, 8, 8, 1)" in content


def test_function(programs):
    result = run(programs, "try_handler.py")
    assert result.returncode == 0, result.stderr
    good, bad = map(ast.literal_eval, result.stdout.splitlines())
    assert good["statusCode"] == 200 and len(json.loads(good["body"])) == 2
    assert bad["statusCode"] == 400
