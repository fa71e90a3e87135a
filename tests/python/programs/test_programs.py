"""Course programs run after changing their import lines only, and compute what Keras computes."""

import numpy as np
import pytest

import fastconv
from program_runner import FOLDER, STEPS, run_program

PROGRAMS = sorted(p.name for p in FOLDER.glob("*.py") if p.name[:5] not in ("test_", "conft"))
pytest.importorskip("sklearn", reason="the programs take their data from scikit-learn")


def test_programs_are_found():
    assert len(PROGRAMS) >= 14


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    try:
        keras = request.getfixturevalue("keras")
    except pytest.skip.Exception:  # without Keras, it must run
        assert run_program(name, fastconv, monkeypatch)
        return
    expected = run_program(name, keras, monkeypatch)
    found = run_program(name, fastconv, monkeypatch, [t.weights for t in expected])
    assert len(found) == len(expected) > 0
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        for ours, other in zip(mine.outputs, theirs.outputs, strict=True):
            np.testing.assert_allclose(ours, other, atol=1e-4, err_msg=f"training {number}")
        steps = 2 if theirs.normalized else STEPS
        assert len(mine.losses) == len(theirs.losses)
        np.testing.assert_allclose(
            mine.losses[:steps],
            theirs.losses[:steps],
            rtol=1e-3,
            atol=1e-3,
            err_msg=f"training {number}",
        )
