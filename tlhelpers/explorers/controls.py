"""The controls of a panel: each has its label beside it, and works with the Tab and arrow keys.

Where ipywidgets is missing they are `Still`: a label and a value, nothing to move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# A slider of ipywidgets has no name that a screen reader could say (tried with 7.7.1 in JupyterLab 3.6 and 8.1 in
# JupyterLab 4.6, read from Chromium's accessibility tree); a number field, a list, a box to tick and a button have. So
# a slider here is a number field with a track for the mouse beside it. The handle is hidden, which takes it out of the
# Tab order and of what is read aloud, and only its knob (::before) is drawn: it can still be dragged.
TRACK = "tlhelpers-track"
SLIDES = "tlhelpers-slides"
BOX = "tlhelpers-panel"
STYLE = f"""<style>
.{TRACK} {{ margin-left: 8px; }}
.{TRACK} .noUi-handle, .{TRACK} .ui-slider-handle {{ visibility: hidden !important; }}
.{TRACK} .noUi-handle::after {{ display: none; }}
.{TRACK} .noUi-handle::before, .{TRACK} .ui-slider-handle::before {{
  visibility: visible; content: ""; display: block; position: absolute; box-sizing: border-box; left: 0; top: 0;
  width: 100%; height: 100%; border: 2px solid #0072B2; border-radius: 50%; background: white; cursor: grab;
}}
.{BOX} input:focus-visible, .{BOX} select:focus-visible, .{BOX} button:focus-visible {{
  outline: 2px solid #0072B2 !important; outline-offset: 1px;
}}
.{TRACK} .noUi-handle:hover::before, .{TRACK} .ui-slider-handle:hover::before {{ background: #0072B2; }}
</style>"""


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
    kind = "BoundedIntText" if isinstance(value, int) and isinstance(step, int) else "BoundedFloatText"
    return _control(kind, label, value, min=low, max=high, step=step)


def slider(label: str, value: float, low: float, high: float, step: float = 1) -> Any:
    """Return a number field that a panel shows with a track beside it, to be dragged with the mouse.

    >>> slider("Share", 0.5, 0.0, 1.0, 0.05).value
    0.5
    """
    field = number(label, value, low, high, step)
    if not isinstance(field, Still):
        field.add_class(SLIDES)
    return field


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
    return Still(label, 0) if widgets is None else widgets.Button(description=label, layout={"width": "auto"})


def ipywidgets_module() -> Any:
    """Return ipywidgets, or None where it is missing; imported here, so that `import tlhelpers` stays quick."""
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets


def _control(kind: str, label: str, value: Any, **more: Any) -> Any:
    widgets = ipywidgets_module()
    if widgets is None:
        return Still(label, value)
    if kind != "Checkbox":  # its label stands to the right of the box
        more["style"] = {"description_width": "125px"}
    width = "330px" if kind in ("Dropdown", "Checkbox") else "210px"  # a number leaves room for its track
    return getattr(widgets, kind)(description=label, value=value, layout={"width": width}, **more)


def row(control: Any) -> Any:
    """Return what a panel shows for a control: itself, or for a slider the field and its track side by side."""
    if SLIDES not in getattr(control, "_dom_classes", ()):
        return control
    widgets = ipywidgets_module()
    kind = widgets.IntSlider if isinstance(control, widgets.BoundedIntText) else widgets.FloatSlider
    ends = {"min": control.min, "max": control.max, "step": control.step}
    track = kind(value=control.value, readout=False, layout={"width": "120px"}, **ends)
    track.add_class(TRACK)
    pair = widgets.HBox([control, track])
    # linked in the browser: the number follows the hand at once, while the picture is still being drawn
    pair.link = widgets.jslink((control, "value"), (track, "value"))
    return pair
