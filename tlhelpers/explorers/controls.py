"""The controls of a panel: each has its label beside it, and works with the Tab and arrow keys.

Where ipywidgets is missing they are `Still`: a label and a value, nothing to move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Still:
    """Takes a control's place where ipywidgets is missing: a label and a value, nothing to move."""

    description: str
    value: Any


def number(label: str, value: float, low: float, high: float, step: float = 1) -> Any:
    """Return a field for a number between `low` and `high`: type it, or press the up and down keys for one `step`.

    Whole numbers when `value` and `step` are whole (int), decimal ones otherwise.

    >>> number("Rotation (degrees)", 15, 0, 180, 5).value
    15
    """
    return _control("BoundedIntText" if _whole(value, step) else "BoundedFloatText", label, value, low, high, step)


def slider(label: str, value: float, low: float, high: float, step: float = 1) -> Any:
    """Return a slider from `low` to `high` in steps of `step`: whole numbers when `value` and `step` are whole.

    >>> slider("Share", 0.5, 0.0, 1.0, 0.05).value
    0.5
    """
    return _control("IntSlider" if _whole(value, step) else "FloatSlider", label, value, low, high, step)


def choice(label: str, options: Sequence[Any], value: Any = None) -> Any:
    """Return a list to choose from: texts, or pairs (text, value). The first is chosen unless `value` names another.

    >>> choice("Method", ["mixup", "CutMix"]).value
    'mixup'
    """
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    return _control("Dropdown", label, values[0] if value is None else value, options=list(options))


def switch(label: str, value: bool = False) -> Any:
    """Return a box to tick.

    >>> switch("Padding", True).value
    True
    """
    return _control("Checkbox", label, value, indent=False)


def button(label: str) -> Any:
    """Return a button; in a panel its value is how often it was pressed."""
    widgets = ipywidgets_module()
    if widgets is None:
        return Still(label, 0)
    return widgets.Button(description=label, layout={"width": "auto"})


def _whole(value: float, step: float) -> bool:
    return isinstance(value, int) and isinstance(step, int)


def ipywidgets_module() -> Any:
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets


def _control(
    kind: str, label: str, value: Any, low: Any = None, high: Any = None, step: Any = None, **more: Any
) -> Any:
    widgets = ipywidgets_module()
    if widgets is None:
        return Still(label, value)
    if low is not None:
        more |= {"min": low, "max": high, "step": step}
    if kind != "Checkbox":  # there the label stands to the right of the box and has room
        more["style"] = {"description_width": "150px"}
    return getattr(widgets, kind)(description=label, value=value, layout={"width": "300px"}, **more)
