"""Everything public has a docstring, which names every parameter or the place that tells it."""

import functools
import inspect
import re
import sys
import types

import pytest

import fastconv


def public(module):
    names = getattr(module, "__all__", None)
    if names is not None:
        return {name: getattr(module, name) for name in names}
    return {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", None) == module.__name__
    }


@functools.cache
def everything():
    """Path and object of all that is public, each object once."""
    found, seen, todo = {}, set(), [("fastconv", fastconv)]
    while todo:
        path, thing = todo.pop(0)
        if id(thing) in seen or not (callable(thing) or isinstance(thing, types.ModuleType)):
            continue
        seen.add(id(thing))
        found[path] = thing
        if isinstance(thing, types.ModuleType):
            todo += [(f"{path}.{name}", value) for name, value in public(thing).items()]
    return found


def within(name):
    """What is public in a module, or directly in the package."""
    for path, thing in everything().items():
        if path.split(".")[1:2] == [name] or (name == "" and path.count(".") < 2):
            yield path, thing


def lineage(cls):
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] == "fastconv"]


def docstrings(cls, member):
    """Those of a member, in the base classes too."""
    found = [vars(base).get(member) for base in lineage(cls)]
    return "\n".join(thing.__doc__ or "" for thing in found if thing is not None)


def class_text(cls):
    return "\n".join([base.__doc__ or "" for base in lineage(cls)] + [docstrings(cls, "__init__")])


def methods(cls):
    """Methods and properties that the package defines."""
    kinds = (types.FunctionType, classmethod, staticmethod, property)
    for base in lineage(cls):
        for name, value in vars(base).items():
            if name[0] != "_" and isinstance(value, kinds):
                yield name, value


def with_references(text, scopes):
    """The text, and the docstrings of the functions and classes that it names in backticks."""
    texts, todo = [], [text]
    while todo:
        text = todo.pop()
        texts.append(text)
        for name in re.findall(r"`([A-Za-z][\w.]*)`", text):
            for scope in scopes:
                thing = scope
                for part in name.split("."):
                    thing = getattr(thing, part, None)
                if inspect.isclass(thing):
                    more = class_text(thing)
                else:
                    more = thing.__doc__ if inspect.isroutine(thing) else None
                if more and more not in texts and more not in todo:
                    todo.append(more)
    return "\n".join(texts)


def unnamed(function, text, *scopes):
    text = with_references(text, [*scopes, fastconv])
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self", "cls")
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and not re.search(rf"\b{p.name}\b", text)
    ]


def gaps(path, thing):
    """What is not documented of a function, class or module."""
    if not (thing.__doc__ or "").strip():
        yield f"{path} has no docstring"
    if isinstance(thing, types.ModuleType):
        return
    module = sys.modules.get(thing.__module__)
    if not inspect.isclass(thing):
        for name in unnamed(thing, thing.__doc__ or "", module):
            yield f"{path}: parameter {name}"
        return
    if not vars(thing).get("__doc__"):
        yield f"{path} has only the docstring of its base"
    for name in unnamed(thing, class_text(thing), module):
        yield f"{path}: parameter {name}"
    for method, value in methods(thing):
        if not docstrings(thing, method).strip():
            yield f"{path}.{method} has no docstring"
        if not isinstance(value, property):
            text = docstrings(thing, method) + class_text(thing)
            for name in unnamed(getattr(thing, method), text, thing, module):
                yield f"{path}.{method}: parameter {name}"


def test_the_whole_interface_is_seen():
    things = everything()
    assert len(things) > 500
    for path in ("layers.Conv2D", "functional.conv2d", "onnx.export", "datasets.digits.load_data"):
        assert f"fastconv.{path}" in things
    assert {"fit", "summary"} <= {name for name, _ in methods(fastconv.Model)}


def test_gaps_are_found():
    def described(x, y):
        """The sum of x and `other`."""

    assert list(gaps("f", described)) == ["f: parameter y"]
    described.__doc__ = "As `functional.linear`, of x and y."
    assert not list(gaps("f", described))
    described.__doc__ = None
    assert list(gaps("f", described)) == ["f has no docstring", "f: parameter x", "f: parameter y"]


@pytest.mark.parametrize("name", ["", *fastconv._SUBMODULES])
def test_all_is_documented(name):
    checked = list(within(name))
    assert checked
    missing = sorted({gap for path, thing in checked for gap in gaps(path, thing)})
    assert not missing, "\n".join(missing)
