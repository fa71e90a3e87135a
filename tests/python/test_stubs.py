"""The extension's stubs name its classes, functions and parameters."""

import ast
import re
from pathlib import Path

import fastconv
from fastconv import _core

STUBS = ast.parse((Path(fastconv.__file__).parent / "_core.pyi").read_text())


def described(thing):
    """Return the parameters' names in the signature that pybind11 writes; None if it has none."""
    found = re.match(
        r"\w+\((.*)\) -> ", (thing.__doc__ or "").splitlines()[0] if thing.__doc__ else ""
    )
    if not found:
        return None
    names, depth, start = [], 0, True
    for token in re.findall(r"\w+|.", found[1]):
        if start and token.isidentifier():
            names.append(token)
            start = False
        depth += (token in "[({") - (token in "])}")
        start = start or (token == "," and depth == 0)
    return names


def test_signatures():
    checked = 0
    for node in STUBS.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        owner = getattr(_core, node.name)
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if not isinstance(member, ast.FunctionDef):
                continue
            thing = owner if member is node else getattr(owner, member.name)
            names = None if isinstance(thing, property) else described(thing)
            if names and not any(re.fullmatch(r"arg\d+", name) for name in names):
                checked += 1
                assert names == [a.arg for a in member.args.args], f"{node.name}.{member.name}"
    assert checked > 10


def test_nothing_is_missing():
    stubs = {
        node.name: node for node in STUBS.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert public == set(stubs)
    for name, node in stubs.items():
        if isinstance(node, ast.ClassDef):
            members = {m for m in vars(getattr(_core, name)) if not m.startswith("_")}
            assert members == {
                m.name for m in node.body if isinstance(m, ast.FunctionDef) if m.name[0] != "_"
            }
