"""Every complaint that the package can make, read from its source: what docs/troubleshooting.md has to explain."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

PLACEHOLDER = "…"


def complaints(source: str) -> dict[str, int]:
    """Return {text as a reader sees it, with … for what is filled in: line} of every complaint with words of its own.

    That is what is raised, what a function returns to be raised, a `note: ` of the checks before a training, and a line
    of the environment check that is marked !!.

    >>> complaints('if n < 1:\\n    raise ValueError(f"n={n!r} must be at least {least}.")')
    {'n=… must be at least ….': 2}
    >>> complaints('return SetupError("Disk %s is full: %.1f GB" % (disk, free) + "\\\\nDelete.")')
    {'Disk … is full: … GB Delete.': 1}
    >>> complaints('def f(x):\\n    what = f"{x} is odd"\\n    raise ValueError(f"{what}: take 2")')
    {'… is odd: take 2': 3}
    >>> complaints('HINT = "Try again."\\nnotes.append("look.")\\ndef f():\\n    return False, "Disk", f"full. {HINT}"')
    {'note: look.': 2, 'full. Try again.': 4}
    >>> complaints("raise error")
    {}
    """
    tree, found = ast.parse(source), {}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    constants = _sentences(tree.body)
    for node in ast.walk(tree):
        said = _said(node)
        if said is None:
            continue
        # the innermost function around it, whose variables may hold parts of the sentence
        around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
        inside = ast.walk(max(around, key=lambda f: f.lineno)) if around else []
        text = tidy(_text(said, constants | _sentences(inside)))
        if re.search(r"\w", text):
            found[("note: " if isinstance(node, ast.Call) else "") + text] = node.lineno
    return found


def _said(node: ast.AST) -> ast.expr | None:
    """The expression of a complaint's text, None for anything else."""
    if isinstance(node, ast.Raise | ast.Return):
        value = node.exc if isinstance(node, ast.Raise) else node.value
        if isinstance(value, ast.Tuple) and len(value.elts) == 3 and ast.unparse(value.elts[0]) == "False":
            return value.elts[2]  # (fine, what was looked at, what was found and what to do)
        named = isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute) and value.args
        if named and ast.unparse(value.func) in ("CannotTell", "Failed"):
            return None  # never leaves the doctor: its report prints it behind "Not looked at: "
        if named and (isinstance(node, ast.Raise) or ast.unparse(value.func).endswith("Error")):
            return value.args[0]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "notes.append":
        return node.args[0]
    return None


def all_texts(source: str) -> list[str]:
    """Every text in a file, those of f-strings with … for what is filled in."""
    kinds = (ast.JoinedStr, ast.Constant, ast.BinOp)
    return [tidy(_text(node, {})) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def texts_of(folder: Path) -> dict[str, str]:
    """Return {text: "file.py:line"} for every Python file in a folder, or for one file."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    places = {}
    for file in files:
        for text, line in complaints(file.read_text(encoding="utf-8")).items():
            places.setdefault(text, f"{file.relative_to(folder.parent).as_posix()}:{line}")
    return places


def tidy(text: str) -> str:
    """One line, one … in a row, and none for a hint that only sometimes follows the full stop.

    >>> tidy("a ……  b …. Python ….…, or.…")
    'a … b …. Python …, or.'
    """
    text = re.sub(f"{PLACEHOLDER}(?:{PLACEHOLDER})+", PLACEHOLDER, " ".join(text.split()))
    text = re.sub(rf"([.!?]) ?{PLACEHOLDER}$", r"\1", text)
    return re.sub(rf"{PLACEHOLDER}(?:\.{PLACEHOLDER})+", PLACEHOLDER, text)


def _sentences(nodes: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """The variables that are assigned once, and then a text."""
    assigned: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, []).append(node.value)
    kinds = (ast.JoinedStr, ast.Constant, ast.BinOp)
    return {name: values[0] for name, values in assigned.items() if len(values) == 1 and isinstance(values[0], kinds)}


def _text(node: ast.expr, known: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name) and node.id in known:
        return _text(known[node.id], {name: value for name, value in known.items() if name != node.id})
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, known) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, known) if isinstance(node.value, ast.Name) else PLACEHOLDER
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, known) + _text(node.right, known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return re.sub(r"%[.\d]*[sdfg]", PLACEHOLDER, _text(node.left, known))
    return PLACEHOLDER
