"""The extension in other interpreters, in threads, and beside other extensions of the process."""

import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastconv import _core


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("nm") is None,
    reason="lists symbols with nm, of Linux's binutils",
)
def test_only_the_init_function_is_exported():
    command = ["nm", "--dynamic", "--defined-only", "--extern-only", _core.__file__]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in out.stdout.splitlines()] == ["PyInit__core"]


def test_subinterpreters_are_refused():
    # In a process of its own: a failed import must leave the main interpreter's module as it is.
    code = """
import sys
import fastconv
if sys.version_info >= (3, 14):
    from concurrent import interpreters
    def run(code): interpreters.create().exec(code)
elif sys.version_info >= (3, 13):
    import _interpreters
    def run(code): _interpreters.exec(_interpreters.create(), code)
else:
    import _xxsubinterpreters
    def run(code): _xxsubinterpreters.run_string(_xxsubinterpreters.create(), code)
run('''
try:
    import fastconv
except ImportError as error:
    print("refused:", error, flush=True)
''')
assert fastconv.functional.relu(fastconv.ops.convert_to_tensor([-1.0, 2.0])).tolist() == [0, 2]
print("main goes on")
"""
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "refused: module fastconv._core does not support" in out.stdout
    assert out.stdout.endswith("main goes on\n")


@pytest.mark.skipif(
    not hasattr(sys, "_is_gil_enabled"), reason="only Python 3.13 and newer can be without a GIL"
)
def test_import_leaves_the_gil_off():
    code = "import sys, fastconv._core; print(sys._is_gil_enabled())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(not sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_threads_share_a_graph():
    graph = _core.Graph()
    x = graph.input("x", (4,))

    def add(seed):
        values = [graph.add("relu", [x], {}, f"relu {seed} {i}")[0] for i in range(200)]
        shapes = {graph.shape(value) for value in values}
        plan = _core.Plan(graph, values[-1:])
        return values, shapes, plan.run([np.array([-1, 0, 1, 2], np.float32)])[0]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(add, range(8)))
    values = [value for found, _, _ in results for value in found]
    assert sorted(values) == list(range(x + 1, x + 1 + 1600))
    for _, shapes, y in results:
        assert shapes == {(4,)}
        np.testing.assert_array_equal(y, [0, 0, 1, 2])
