"""How the findings put numbers, lists of names and places in the model into words."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "parameter"), counted(2, "parameter")
    ('1 parameter', '2 parameters')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def few(names: list[str], most: int = 3) -> str:
    """Return the first names, and how many more there are.

    >>> few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) or "the model" for name in names[:most]) + more


def place(name: str) -> str:
    """The expression for a module of the model by its dotted name.

    >>> place("layer4"), place("classifier.1"), place("")
    ('model.layer4', "model.get_submodule('classifier.1')", 'model')
    """
    if not name:
        return "model"
    return f"model.{name}" if all(map(str.isidentifier, name.split("."))) else f"model.get_submodule({name!r})"
