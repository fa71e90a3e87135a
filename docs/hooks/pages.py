"""What the documentation site takes from outside of docs/: these pages are made at each build.

They are the repository's own pages, the examples, a list of the decisions in docs/adr, and one page
of the API for each public module. Links are rewritten to where their targets are on the site.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# Files of the repository and their pages.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "examples/README.md": "examples/index.md",
    "docs/adr": "adr/index.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
# Where more than the module's own names is shown.
OPTIONS = {
    "fastconv": "members: [InferenceSession, SessionOptions, Variable, KerasTensor,"
    " get_num_threads, set_num_threads, show_config]",
    "models": "inherited_members: true",
    "datasets": "show_submodules: true",
    "preprocessing": "show_submodules: true",
}


def page_of(source: str) -> str | None:
    """The page that shows a file of the repository."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/"):
        return source[len("docs/") :]
    if re.fullmatch(r"examples/\w+\.py", source):
        return source[: -len(".py")] + ".md"
    return None


def relink(text: str, source: str, page: str) -> str:
    """The Markdown of a file of the repository with its links as the page needs them."""

    def replaced(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = page_of(path)
        if found is None:
            return label  # a file that the site does not show
        return f"[{label}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)", replaced, text)


def public_modules() -> list[str]:
    tree = ast.parse((ROOT / "python/fastconv/__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SUBMODULES":
            return list(ast.literal_eval(node.value))
    raise ValueError("python/fastconv/__init__.py does not say what _SUBMODULES is")


def summary(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")


def on_files(files: Files, config: Any, **kwargs: Any) -> None:
    made = {}
    for source, page in PAGES.items():
        if (ROOT / source).is_file():
            made[page] = relink((ROOT / source).read_text(encoding="utf-8"), source, page)
    for script in sorted((ROOT / "examples").glob("*.py")):
        code = script.read_text(encoding="utf-8")
        made[f"examples/{script.stem}.md"] = f"# {script.name}\n\n```python\n{code}```\n"

    decisions = sorted((ROOT / "docs/adr").glob("*.md"))
    titles = [re.match("# (.*)", p.read_text(encoding="utf-8"))[1] for p in decisions]
    made["adr/index.md"] = "# Decisions\n\nOne page each, with its measurements.\n\n" + "\n".join(
        f"- [{title}]({p.name})" for p, title in zip(decisions, titles, strict=True)
    )

    rows = ["| module of `fastconv` | |", "|---|---|"]
    for name in ["fastconv", *public_modules()]:
        path = "fastconv" if name == "fastconv" else f"fastconv.{name}"
        extra = f"\n    options:\n      {OPTIONS[name]}" if name in OPTIONS else ""
        made[f"api/{name}.md"] = f"# {path}\n\n::: {path}{extra}\n"
        if name == "optimizers":
            made[f"api/{name}.md"] += (
                f"\n## schedules\n\n::: {path}.schedules\n    options:\n      heading_level: 3\n"
            )
        file = ROOT / "python" / path.replace(".", "/")
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        rows.append(f"| [`{name}`]({name}.md) | {summary(file)} |")
    made["api/index.md"] = "# API\n\n" + "\n".join(rows) + "\n"

    for page, text in made.items():
        files.append(File.generated(config, page, content=text))


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    uri = page.file.src_uri
    is_made = uri in SOURCES or uri.startswith(("api/", "examples/"))
    return markdown if is_made else relink(markdown, f"docs/{uri}", uri)
