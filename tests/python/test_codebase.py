"""Rules of the architecture that a machine can check (docs/architecture.md)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    p
    for folder in ("cpp", "python", "tests", "bench", "examples")
    for p in (ROOT / folder).rglob("*")
    if p.suffix in {".py", ".pyi", ".cpp", ".hpp", ".h", ".inc"}
]


def relative(paths):
    return [str(p.relative_to(ROOT)) for p in paths]


def test_sources_are_found():
    assert len(SOURCES) > 50


def test_no_file_over_600_lines():
    assert not relative(p for p in SOURCES if len(p.read_text().splitlines()) > 600)


@pytest.mark.parametrize(
    "pattern, home",
    [
        (r"immintrin\.h|xmmintrin\.h|\b_mm\d*_|\basm\b", "cpp/kernels/simd/"),
        (r"omp\.h|#pragma omp", "cpp/core/parallel."),
        (r"pybind11", "cpp/bindings/"),
    ],
)
def test_everything_has_its_room(pattern, home):
    cpp = [p for p in SOURCES if p.is_relative_to(ROOT / "cpp")]
    strangers = [p for p in cpp if re.search(pattern, p.read_text())]
    assert not [name for name in relative(strangers) if not name.startswith(home)]


def test_kernels_do_not_include_the_standard_library():
    # Its inline functions, compiled for one instruction set, could be linked into code for another.
    allowed = {"cstdint", "cstddef", "cmath"}
    for p in ROOT.glob("cpp/kernels/*.isa.cpp"):
        assert set(re.findall(r"#include <(\w+)>", p.read_text())) <= allowed, p.name


def test_tools_have_one_version():
    pins = {}
    for file in (".ci/run", ".pre-commit-config.yaml", "noxfile.py"):
        for tool, version in re.findall(
            r"\b(ruff|clang-format|codespell|mypy)==([\d.]+\d)", (ROOT / file).read_text()
        ):
            pins.setdefault(tool, {}).setdefault(version, []).append(file)
    assert sorted(pins) == ["clang-format", "codespell", "mypy", "ruff"]
    for tool, versions in pins.items():
        assert len(versions) == 1, (tool, versions)
        assert len(set(*versions.values())) == 3, (tool, versions)


def test_citation_has_the_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "read_pickle"}


def unsafe(source):
    """Return the parts of a module by which a file could run code (docs/security.md)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in UNSAFE_CALLS or called.endswith(".read_pickle"):
                found.append(ast.unparse(node))
            if called in ("np.load", "numpy.load", "torch.load"):
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if keywords.get("allow_pickle") != "False" or called == "torch.load":
                    found.append(ast.unparse(node))
        found += [name for name in names if name.split(".")[0] in UNSAFE_MODULES]
    return found


def test_nothing_in_a_file_can_be_run():
    package = [p for p in SOURCES if p.is_relative_to(ROOT / "python") and p.suffix == ".py"]
    assert len(package) > 100
    assert not {str(p.relative_to(ROOT)): f for p in package if (f := unsafe(p.read_text()))}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "eval(text)",
    ],
)
def test_what_could_run_code_is_found(source):
    assert unsafe(source)


@pytest.mark.parametrize("page", ["security.md", "quality.md"])
def test_tests_that_pages_name_exist(page):
    text = (ROOT / "docs" / page).read_text()
    named = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", text))
    assert len(named) > 8
    assert not [name for name in named if not (ROOT / "tests" / "python" / name).is_file()]
