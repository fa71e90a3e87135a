"""Lists of convolutions: the files in bench/shapes."""

HEADER = (
    "# batch height width in_channels out_channels kernel stride padding groups [times]  # name\n"
)


def parse(text):
    """Return [(name, nine numbers, how often the layer occurs)] of a list's text.

    Raises:
        ValueError: a line has other than nine or ten integers.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        values, _, name = line.partition("#")
        values = values.split()
        if not values:
            continue
        if len(values) not in (9, 10) or not all(v.isdecimal() for v in values):
            raise ValueError(f"line {number}: expected nine or ten integers, got {line!r}")
        *shape, times = [int(v) for v in values] + [1] * (len(values) == 9)
        found.append((name.strip(), shape, times))
    return found


def of_model(path):
    """Return the text of the list of an ONNX model's convolutions, for a batch of one.

    Raises:
        ValueError: a convolution that the list's columns cannot tell.
    """
    import onnx

    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    sizes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.value_info]
    }
    weights = {t.name: t.dims for t in model.graph.initializer}
    aliases = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity"}
    found = {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        weight = weights[aliases.get(node.input[1], node.input[1])]
        row = row_of(node.name, sizes[node.input[0]], weight, attributes)
        found.setdefault(tuple(row), []).append(layer_name(node.name))
    lines = [HEADER]
    for row, names in found.items():
        values = " ".join(str(v) for v in (*row, len(names)))
        lines.append(f"{values:36}  # {names[0]}\n")
    return "".join(lines)


def layer_name(node):
    """Return layer1.0.conv1 for /layer1/layer1.0/conv1/Conv, as the exporter names its nodes."""
    parts = node.strip("/").removesuffix("/Conv").split("/")
    following = [*parts[1:], ""]
    return ".".join(a for a, b in zip(parts, following, strict=True) if not b.startswith(a + "."))


def row_of(name, size, weight, attributes):
    batch, channels, height, width = size
    kernels, strides = weight[2:], attributes.get("strides", [1, 1])
    pads, dilations = attributes.get("pads", [0] * 4), attributes.get("dilations", [1, 1])
    if any(len(set(a)) != 1 for a in (kernels, strides, pads)) or set(dilations) != {1}:
        raise ValueError(f"{name}: kernel, stride or padding differ by axis, or it is dilated")
    groups = attributes.get("group", 1)
    return [batch, height, width, channels, weight[0], kernels[0], strides[0], pads[0], groups]
