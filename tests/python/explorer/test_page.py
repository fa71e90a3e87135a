"""The page in a browser: it shows what the analysis computes and asks nobody else for anything.

By hand: ``pip install '.[explore]' playwright``, Debian's package ``chromium``, and then
``pytest tests/python/explorer``; the last page looked at lies in the test's temporary folder as
``page.png`` (``pytest --basetemp=FOLDER``).
"""

import socket
import urllib.request

import numpy as np
import pytest

import graph_files
from fastconv import cli
from small_networks import digits_like, image

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
pytest.importorskip("matplotlib", reason="pictures need matplotlib")
pytest.importorskip("gradio", reason="needs gradio")

WAIT = 60_000  # milliseconds; the machine may be busy


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """serve(*arguments) -> address of `fastconv explore`; Python reaches this machine only."""
    from fastconv.cli._explore import open_analysis
    from fastconv.explorer import build_page, launch

    uploads = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    asked, pages = [], []
    connect, find = socket.socket.connect, socket.getaddrinfo

    def spied_connect(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            asked.append(address)
            raise OSError("no network in this test")
        return connect(self, address)

    def spied_find(host, *arguments, **options):
        if host not in ("127.0.0.1", "localhost", None):
            asked.append(host)
            raise OSError("no network in this test")
        return find(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", spied_connect)
    monkeypatch.setattr(socket, "getaddrinfo", spied_find)

    def start(*arguments):
        parsed = cli._parser().parse_args(["explore", *map(str, arguments), "--no-browser"])
        page = build_page(*open_analysis(parsed), parsed.model.name)
        pages.append(page)
        return launch(page, parsed.host, parsed.port, browser=False)

    yield start
    for page in pages:
        page.close(verbose=False)
    assert asked == []
    assert not [path for path in uploads.rglob("*") if path.is_file()]  # deleted at the end


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.rint(255 * image()).astype(np.uint8)).save(path)
    return path


def pixels(page, label):
    """Width and height of the picture in the block of that label, once it is there."""
    shown = page.locator(f".block:has-text('{label}') img").last
    shown.wait_for(timeout=WAIT)
    page.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=shown.element_handle())
    return shown.evaluate("e => [e.naturalWidth, e.naturalHeight]"), shown.get_attribute("src")


def test_layer_model(serve, open_page, picture, tmp_path):
    model = tmp_path / "model.fastconv"
    digits_like().save(model)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nbird\nfish\n")
    address = serve(model, "--labels", labels, "--invert", "no")
    assert address.startswith("http://127.0.0.1:")
    page, outside, errors = open_page(address)
    page.locator("input[type=file][accept^=image]").set_input_files(picture)
    page.get_by_text("GlobalAveragePooling2D").last.wait_for(timeout=WAIT)
    likely = ["cat", "dog", "bird", "fish"][
        digits_like().predict(image()[None], verbose=0)[0].argmax()
    ]
    assert page.locator("h2").inner_text() == likely
    maps, first = pixels(page, "Feature maps")
    assert maps[0] / maps[1] == pytest.approx(26 / 21)
    cam, before = pixels(page, "Grad-CAM")
    assert cam == [10 * 54, 12 * 54]

    # Another layer and another class give other pictures.
    page.get_by_label("Layer").first.click()
    page.get_by_role("option", name="second").click()
    page.wait_for_function(
        "old => ![...document.querySelectorAll('img')].some(e => e.src === old)",
        arg=first,
        timeout=WAIT,
    )
    maps, _ = pixels(page, "Feature maps")
    assert maps[0] / maps[1] == pytest.approx((3 * 4 + 2) / (2 * 5 + 1))
    page.get_by_label("Class").click()
    page.get_by_role("option", name="fish" if likely != "fish" else "cat").click()
    page.wait_for_function(
        "old => ![...document.querySelectorAll('img')].some(e => e.src === old)",
        arg=before,
        timeout=WAIT,
    )
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (outside, errors) == ([], [])


def test_onnx_model(serve, open_page, picture, tmp_path):
    pytest.importorskip("onnx", reason="needs the onnx package")
    model = tmp_path / "model.onnx"
    graph_files.classifier(model)
    page, outside, errors = open_page(serve(model, "--scale", "0.01"))
    page.locator("input[type=file][accept^=image]").set_input_files(picture)
    page.locator("h2", has_text="class ").wait_for(timeout=WAIT)
    page.get_by_text("conv2d", exact=False).first.wait_for(timeout=WAIT)
    assert page.get_by_text("Time a step").count() > 0
    assert page.get_by_text("Grad-CAM").count() == 0
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (outside, errors) == ([], [])


def test_errors_are_told(serve, open_page, tmp_path):
    model = tmp_path / "model.fastconv"
    digits_like().save(model)
    page, _, _ = open_page(serve(model))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.locator("input[type=file][accept^=image]").set_input_files(broken)
    page.get_by_text("is not an image that can be read").first.wait_for(timeout=WAIT)
    assert page.get_by_text("is not an image that can be read").count() == 1
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_pages_keep_browsers_on_this_server(serve, tmp_path):
    model = tmp_path / "model.fastconv"
    digits_like().save(model)
    with urllib.request.urlopen(serve(model)) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "http" not in policy
