"""Mutations of ONNX models: of bytes, of protobuf messages, of nodes."""

from __future__ import annotations

import random

import onnx
from corpus import files
from onnx import AttributeProto, ModelProto, NodeProto

_INTEGERS = [0, 1, -1, 2, 3, 5, 8, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32]
_INTEGERS += [2**40, 2**48, 2**62, 2**63 - 1, -2, -8, -(2**31), -(2**62), -(2**63)]
_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 3e38, float("nan"), float("inf"), float("-inf")]
_TEXTS = ["", "..", "x", "y", "ai.onnx", "ai.onnx.ml", "own", "a" * 1000, "\u00fc", "VALID", "edge"]
_TEXTS += ["SAME_LOWER", "wrap", "cubic", "asymmetric", "tf_crop_and_resize", "floor"]


def mutate_bytes(data: bytes, random_: random.Random, files: list[bytes]) -> bytes:
    """Return a file with one place changed, or with a piece of another file."""
    if not data:
        return random_.randbytes(random_.randrange(20))
    at = random_.randrange(len(data))
    end = min(len(data), at + random_.choice([1, 1, 2, 4, 8, 30, 200]))
    way = random_.randrange(7)
    if way == 0:
        return data[:at] + bytes([data[at] ^ (1 << random_.randrange(8))]) + data[at + 1 :]
    if way == 1:
        return data[:at] + random_.randbytes(end - at) + data[end:]
    if way == 2:
        return data[:at] + data[end:]
    if way == 3:
        return data[:end] + data[at:end] * random_.choice([1, 1, 2, 50]) + data[end:]
    if way == 4:
        return data[:at]
    if way == 5:
        filler = random_.choice([b"\0", b"\xff", b"\x80", b"\x7f", b"0", b"9", b'"', b"["])
        return data[:at] + filler * (end - at) + data[end:]
    other = random_.choice(files)
    start = random_.randrange(len(other))
    return data[:at] + other[start : start + (end - at)] + data[end:]


class Mutator:
    """Makes damaged models from sound ones.

    Args:
        seed: numbers the sequence of models.
    """

    def __init__(self, seed: int):
        self._seed = seed
        self._files = list(files().values())
        self._schemas = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == ""}
        self._operators = sorted(self._schemas)
        self._messages = [m for data in self._files for m in _walk(_parsed(data))]

    def case(self, index: int) -> bytes:
        """Return the model of a number."""
        random_ = random.Random(f"{self._seed}/{index}")
        return self.mutate(random_.choice(self._files), random_)

    def mutate(self, data: bytes, random_: random.Random) -> bytes:
        """Return a file with one to a few mutations."""
        way = random_.random()
        if way < 0.65:
            proto = _parsed(data)
            if proto.ByteSize():
                for _ in range(few(random_)):
                    self._mutate_message(proto, random_)
                data = proto.SerializeToString()
        if way > 0.55:
            for _ in range(few(random_)):
                data = mutate_bytes(data, random_, self._files)
        return data

    def _mutate_message(self, proto: ModelProto, random_: random.Random) -> None:
        messages = list(_walk(proto))
        if random_.random() < 0.3:
            nodes = [m for m in messages if isinstance(m, NodeProto)]
            if nodes:
                self._mutate_node(random_.choice(nodes), proto, random_)
                return
        message = random_.choice(messages)
        fields = [field for field, _ in message.ListFields()]
        if not fields or random_.random() < 0.15:
            fields = list(message.DESCRIPTOR.fields)
        if not fields:
            return
        field = random_.choice(fields)
        try:
            if field.is_repeated:
                self._mutate_repeated(getattr(message, field.name), field, proto, random_)
            elif random_.random() < 0.1:
                message.ClearField(field.name)
            elif field.type == field.TYPE_MESSAGE:
                self._replace(getattr(message, field.name), random_)
            else:
                old = getattr(message, field.name)
                setattr(message, field.name, self._value(field, old, proto, random_))
        except (ValueError, TypeError):
            pass  # out of the field's range

    def _mutate_repeated(self, values, field, proto, random_: random.Random) -> None:
        way = random_.randrange(5)
        at = random_.randrange(len(values)) if len(values) else None
        if at is None or way == 0:
            if field.type == field.TYPE_MESSAGE:
                self._replace(values.add(), random_)
            else:
                values.append(self._value(field, None, proto, random_))
        elif way == 1:
            del values[at]
        elif way == 2 and field.type == field.TYPE_MESSAGE:
            values.add().CopyFrom(values[at])
        elif way == 2:
            values.extend([values[at]] * random_.choice([1, 3, 40]))
        elif field.type == field.TYPE_MESSAGE:
            other = random_.randrange(len(values))
            kept = type(values[at])()
            kept.CopyFrom(values[at])
            values[at].CopyFrom(values[other])
            values[other].CopyFrom(kept)
        else:
            values[at] = self._value(field, values[at], proto, random_)

    def _replace(self, message, random_: random.Random) -> None:
        same = [m for m in self._messages if m.DESCRIPTOR is message.DESCRIPTOR]
        if same:
            message.CopyFrom(random_.choice(same))

    def _mutate_node(self, node, proto, random_: random.Random) -> None:
        """Change the operator, or set one of the attributes that it has."""
        schema = self._schemas.get(node.op_type)
        if schema is None or not schema.attributes or random_.random() < 0.3:
            node.op_type = random_.choice(self._operators)
            return
        name = random_.choice(sorted(schema.attributes))
        kind = int(schema.attributes[name].type)
        attribute = next((a for a in node.attribute if a.name == name), None)
        if attribute is None:
            attribute = node.attribute.add(name=name)
        attribute.type = kind
        count = random_.choice([0, 1, 2, 2, 3, 4, 4, 8])
        small = [-2, -1, 0, 1, 1, 2, 3, 4]
        pool = small if random_.random() < 0.7 else _INTEGERS
        if kind == AttributeProto.INT:
            attribute.i = random_.choice(pool)
        elif kind == AttributeProto.INTS:
            attribute.ints[:] = random_.choices(pool, k=count)
        elif kind == AttributeProto.FLOAT:
            attribute.f = random_.choice(_FLOATS)
        elif kind == AttributeProto.FLOATS:
            attribute.floats[:] = random_.choices(_FLOATS, k=count)
        elif kind == AttributeProto.STRING:
            attribute.s = random_.choice(_TEXTS).encode()
        elif kind == AttributeProto.TENSOR:
            self._replace(attribute.t, random_)

    def _value(self, field, old, proto, random_: random.Random):
        if field.type == field.TYPE_STRING:
            names = [n for node in proto.graph.node for n in (*node.input, *node.output)]
            return random_.choice(names if names and random_.random() < 0.7 else _TEXTS)
        if field.type == field.TYPE_BYTES:
            return mutate_bytes(old or b"", random_, self._files)
        if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
            return random_.choice(_FLOATS)
        if field.type == field.TYPE_ENUM:
            return random_.choice(field.enum_type.values).number
        if old is not None and random_.random() < 0.5:
            return old + random_.choice([-2, -1, 1, 2])
        return random_.choice(_INTEGERS)


def few(random_: random.Random) -> int:
    """Return how many mutations one file gets."""
    return random_.choice([1, 1, 1, 2, 3, 5])


def _parsed(data: bytes) -> ModelProto:
    """Return a file's message, an empty one if it is no ONNX model."""
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception:
        return ModelProto()
    return proto


def _walk(message):
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _walk(inner)
