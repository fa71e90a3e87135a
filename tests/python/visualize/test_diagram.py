"""The layered layout, and the boxes and lines of diagrams."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv import layers, models, utils
from fastconv.visualize import network_diagram
from fastconv.visualize._layout import layered_layout
from small_networks import digits_like, residual

L = layers


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    edges = set()
    for head in range(1, count):
        tails = draw(st.sets(st.integers(0, head - 1), max_size=3))
        edges |= {(tail, head) for tail in tails}
    widths = draw(st.lists(st.floats(0.5, 3), min_size=count, max_size=count))
    return widths, sorted(edges)


@given(graphs())
def test_layout_of_any_graph(graph):
    widths, edges = graph
    layout = layered_layout(widths, edges, gap=0.4)
    assert all(np.isfinite(layout.x))
    rows = {}
    for vertex, (x, rank) in enumerate(zip(layout.x, layout.rank, strict=True)):
        rows.setdefault(rank, []).append((x, widths[vertex]))
    for (tail, head), bends in zip(edges, layout.bends, strict=True):
        assert layout.rank[tail] < layout.rank[head]
        assert len(bends) == layout.rank[head] - layout.rank[tail] - 1
        for rank, x in enumerate(bends, layout.rank[tail] + 1):
            rows.setdefault(rank, []).append((x, 0.0))
    # Boxes and the lines that pass them keep their distance.
    for row in rows.values():
        for (a, wide), (b, other) in itertools.pairwise(sorted(row)):
            assert b - a >= (wide + other) / 2 + 0.4 - 1e-9


def test_chain_is_a_straight_line():
    layout = layered_layout([1, 3, 2, 1], [(0, 1), (1, 2), (2, 3)])
    assert layout.rank == [0, 1, 2, 3]
    assert layout.x == pytest.approx([layout.x[0]] * 4)


def test_shortcut_passes_beside_its_block():
    chain = [(i, i + 1) for i in range(5)]
    layout = layered_layout([2.0] * 6, [*chain, (1, 4)], gap=0.5)
    assert len(layout.bends[-1]) == 2
    for rank, x in zip((2, 3), layout.bends[-1], strict=True):
        assert abs(x - layout.x[rank]) >= 1.5 - 1e-9
    assert layout.x[2] == pytest.approx(layout.x[3])
    assert layout.bends[-1][0] == pytest.approx(layout.bends[-1][1])


def test_branches_do_not_cross():
    # Two chains whose vertices alternate: the order by number would cross at each rank.
    edges = [(0, 1), (0, 2), (1, 4), (2, 3), (3, 6), (4, 5), (5, 7), (6, 7)]
    layout = layered_layout([1.0] * 8, edges)
    sides = [np.sign(layout.x[a] - layout.x[b]) for a, b in ((1, 2), (4, 3), (5, 6))]
    assert len(set(sides)) == 1


def test_inputs_stand_right_above_what_they_feed():
    layout = layered_layout([1.0] * 5, [(0, 2), (2, 3), (1, 4), (3, 4)])
    assert layout.rank == [0, 2, 1, 2, 3]


def texts(figure):
    return [t.get_text() for t in figure.axes[0].texts]


@pytest.fixture(autouse=True)
def _needs_matplotlib():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def test_boxes_tell_type_name_shape_and_parameters(tmp_path):
    figure = network_diagram(digits_like(), tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_bytes().startswith(b"<?xml")
    found = texts(figure)
    at = found.index("first")
    assert found[at - 1 : at + 3] == ["Conv2D", "first", "(?, 10, 8, 6)", "60 parameters"]
    assert found[0] == "InputLayer"
    assert "5 parameters" not in found
    plain = network_diagram(
        digits_like(), show_shapes=False, show_layer_names=False, show_parameters=False
    )
    assert texts(plain)[1:] == [
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "BatchNormalization",
        "Activation",
        "GlobalAveragePooling2D",
        "Dense",
    ]


def boxes_and_lines(figure):
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    patches = figure.axes[0].patches
    boxes = [p.get_window_extent() for p in patches if isinstance(p, FancyBboxPatch)]
    return boxes, [p for p in patches if isinstance(p, FancyArrowPatch)]


@pytest.mark.parametrize("horizontal", [False, True])
@pytest.mark.parametrize("expand", [False, True])
def test_branched_network(horizontal, expand, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = tmp_path / "net.png"
    figure = network_diagram(residual(), path, horizontal=horizontal, expand_nested=expand)
    found = texts(figure)
    assert ("inside" in found) == expand and ("inner" in found) != expand
    assert "ops.multiply" in found and "ops.add" in found
    boxes, lines = boxes_and_lines(figure)
    assert (len(boxes), len(lines)) == (14, 16)
    for a, b in itertools.combinations(boxes, 2):
        assert not (a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1)
    inside = figure.bbox
    for box in boxes:
        assert inside.x0 < box.x0 and box.x1 < inside.x1
        assert inside.y0 < box.y0 and box.y1 < inside.y1
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in figure.axes[0].texts:
        extent = text.get_window_extent(renderer)
        assert any(b.x0 <= extent.x0 and extent.x1 <= b.x1 for b in boxes), text.get_text()


def test_two_inputs_and_two_outputs():
    a, b = L.Input((4,), name="a"), L.Input((4,), name="b")
    y = L.Add()([a, L.Dense(4)(b)])
    model = models.Model([a, b], [L.Dense(1)(y), L.Dense(2)(y)])
    boxes, lines = boxes_and_lines(network_diagram(model))
    assert (len(boxes), len(lines)) == (6, 5)


def test_shared_layer_is_drawn_at_each_call():
    x = L.Input((4,))
    dense = L.Dense(4, name="shared")
    assert texts(network_diagram(models.Model(x, dense(dense(x))))).count("shared") == 2


def test_plot_model_has_keras_arguments(tmp_path):
    figure = utils.plot_model(digits_like(), tmp_path / "model.png", show_shapes=True, dpi=50)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    assert "(?, 10, 8, 6)" in texts(figure) and "first" not in texts(figure)
    wide = utils.plot_model(digits_like(), None, rankdir="LR", show_layer_names=True)
    width, height = wide.get_size_inches()
    assert width > 3 * height
    with pytest.raises(ValueError, match="rankdir is 'BT', expected 'TB' or 'LR'"):
        utils.plot_model(digits_like(), None, rankdir="BT")
    with pytest.raises(ValueError, match=r"not recognized: \['colour'\]"):
        utils.plot_model(digits_like(), None, colour="red")


def test_deep_network_is_saved(tmp_path):
    model = models.Sequential([L.Input((2,)), *(L.Dense(2) for _ in range(150))])
    network_diagram(model, tmp_path / "deep.png")
    assert (tmp_path / "deep.png").stat().st_size > 1000


def test_models_without_a_graph():
    class Own(models.Model):
        def call(self, inputs):
            return inputs

    for model in (Own(name="own"), models.Sequential([L.Dense(2)], name="own")):
        with pytest.raises(ValueError, match="'own' has no graph to draw: it has not been built"):
            network_diagram(model)
