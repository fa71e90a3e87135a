import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastconv.visualize import learning_curves

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

HISTORY = {
    "accuracy": [0.5, 0.7, 0.8],
    "loss": [1.0, 0.7, 0.5],
    "val_accuracy": [0.4, 0.6, 0.7],
    "val_loss": [1.1, 0.9, np.float32(0.8)],
    "learning_rate": [0.1, 0.1, 0.01],
}
CSV = """epoch,accuracy,learning_rate,loss,val_accuracy,val_loss
0,0.5,0.1,1.0,0.4,1.1
1,0.7,0.1,0.7,0.6,0.9
2,0.8,0.01,0.5,0.7,0.8
"""


def curves(figure):
    return {
        (axes.get_ylabel(), line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.get_lines()
    }


def test_history_dictionary_and_csv_draw_the_same(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(CSV)
    figures = [learning_curves(s) for s in (HISTORY, SimpleNamespace(history=HISTORY), str(log))]
    expected = curves(figures[0])
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["loss", "accuracy"]
    assert expected["loss", "training"] == ([1, 2, 3], [1.0, 0.7, 0.5])
    assert expected["accuracy", "validation"] == ([1, 2, 3], [0.4, 0.6, 0.7])
    for figure in figures[1:]:
        got = curves(figure)
        assert got.keys() == expected.keys()
        for key in got:
            np.testing.assert_allclose(got[key], expected[key])


@pytest.mark.parametrize(
    "name, start", [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a", b"\x89PNG")]
)
def test_saves_a_picture(tmp_path, name, start):
    learning_curves({"loss": [1.0]}, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_failing_save_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "a.nonsense"
    path.write_text("before")
    with pytest.raises(ValueError, match="nonsense"):
        learning_curves(HISTORY, path)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_log_of_a_run_without_validation(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,val_loss\n0,1.0,NA\n1,0.5,NA\n")
    assert curves(learning_curves(log)) == {("loss", "training"): ([1, 2], [1.0, 0.5])}


def test_nothing_to_draw(tmp_path):
    empty = tmp_path / "empty.csv"
    for text in ("", "epoch,loss\n"):
        empty.write_text(text)
        with pytest.raises(ValueError, match=r"empty\.csv holds no epoch"):
            learning_curves(empty)
    with pytest.raises(ValueError, match="no epoch"):
        learning_curves({})
    with pytest.raises(TypeError, match="list"):
        learning_curves([1, 2])
    other = tmp_path / "other.csv"
    for text in ("a,b\n1,x\n", "a,b\n1\n"):
        other.write_text(text)
        with pytest.raises(ValueError, match=r"other\.csv is not a log"):
            learning_curves(other)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        learning_curves(tmp_path / "nowhere.csv")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"fastconv\[plot\]"):
        learning_curves(HISTORY)


def test_ticks_of_one_epoch_are_whole():
    axes = learning_curves({"loss": [1.0]}).axes[0]
    assert axes.get_xlim() == (0.5, 1.5)
    low, high = axes.get_xlim()
    assert [t for t in axes.get_xticks() if low <= t <= high] == [1]


def test_curves_without_a_finite_value_are_told():
    figure = learning_curves({"loss": [np.nan, np.inf], "mae": [1.0, np.nan]})
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [
        ["no finite values"],
        [],
    ]
