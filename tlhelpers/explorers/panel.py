"""What all explorers share: controls on one side, a picture that follows them on the other.

Works with ipywidgets 7.7 and 8. Where ipywidgets is missing, or a page shows a saved notebook, the first picture stands
there as a plain image.
"""

from __future__ import annotations

import base64
import gc
import html
import io
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..session import CourseError, random_state_kept
from .controls import BOX, STYLE, Still, button, choice, ipywidgets_module, number, row, slider, switch
from .paper import write

__all__ = ["Panel", "Picture", "button", "choice", "number", "slider", "switch"]
VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Picture:
    """What a drawing function returns.

    `image` is a PIL image or a matplotlib Figure, `alt` says what can be seen in it, `status` is the result in one
    short line of words, `code` (may be empty) is Python that a learner can copy.
    """

    image: Any
    alt: str
    status: str
    code: str = ""


class Panel:
    """Controls, and a picture that is drawn anew when one of them changes. The last value of a cell shows it.

    `controls` is {argument name: control}, in the order of the Tab key; `draw(**values)` returns a `Picture`.
    `visible(**values)`, if given, returns the names of the controls that matter now; the others are hidden.
    Random numbers are put back after each drawing. An exception in `draw` is shown as its message.

    >>> panel = Panel("Grey", {"level": number("Level", 128, 0, 255)},
    ...               lambda level: Picture(Image.new("L", (8, 8), level), "a grey square", f"level {level}"))
    >>> panel.set(level=200)
    >>> panel
    Grey: level 200
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Any],
        draw: Callable[..., Picture],
        visible: Callable[..., Sequence[str]] | None = None,
    ) -> None:
        self.title, self.controls, self.error = title, dict(controls), ""
        self.picture: Picture | None = None
        self._drawn: dict[str, Any] | None = None  # the values of the picture that is shown
        self._draw, self._visible, self._pressed, self._paused = draw, visible, {}, False
        self._widgets = None if any(isinstance(c, Still) for c in self.controls.values()) else ipywidgets_module()
        for name, control in self.controls.items():
            if not hasattr(control, "value"):
                self._pressed[name] = 0
                control.on_click(lambda _, name=name: self.press(name))
            elif self._widgets is not None:
                control.observe(lambda _: self._redraw(), "value")
        self.widget = self._build() if self._widgets is not None else None
        self._redraw()
        self._first = self.picture

    @property
    def values(self) -> dict[str, Any]:
        """What each control says now; for a button, how often it was pressed."""
        return {name: self._pressed.get(name, getattr(c, "value", None)) for name, c in self.controls.items()}

    def set(self, **values: Any) -> None:
        """Move controls as a hand would, then draw once. Numbers beyond a control's end stop at the end."""
        for name in values:
            if name not in self.controls:
                raise CourseError(f"the panel has no control {name!r}. It has: {', '.join(self.controls)}.")
        self._paused = True  # one picture for all changes
        try:
            for name, value in values.items():
                if name in self._pressed:
                    self._pressed[name] = value
                else:
                    self.controls[name].value = value
        finally:
            self._paused = False
        self._redraw()

    def press(self, name: str) -> None:
        """Press a button."""
        self.set(**{name: self.values[name] + 1})

    def _redraw(self) -> None:
        values = self.values
        if self._paused or values == self._drawn:  # controls that move each other would draw the same twice
            return
        # with torch loaded, Python's search for unused objects takes longer than a drawing: it waits for the picture
        collecting = gc.isenabled()
        gc.disable()
        try:
            with random_state_kept():
                self.picture = self._draw(**values)
            self.error, self._drawn = "", values
        except Exception as error:  # behind a control nobody sees a traceback: the panel would just seem stuck
            self.error, self._drawn = f"{type(error).__name__}: {error}", None
            if isinstance(error, CourseError):
                self.error = str(error)
        try:
            if self.widget is not None:
                self._show()
        finally:
            if collecting:
                gc.enable()

    def _show(self) -> None:
        if self._visible is not None:
            shown = self._visible(**self.values)
            for name, control in self._rows.items():
                control.layout.display = None if name in shown else "none"
        if self.picture is not None:
            source = base64.b64encode(png(self.picture.image)).decode()
            alt = html.escape(self.picture.alt, quote=True)
            self._image.value = f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{source}">'
        # a live region: screen readers say its new text without being asked
        code = "" if self.picture is None or not self.picture.code else f"<pre>{html.escape(self.picture.code)}</pre>"
        line = 'role="status" aria-live="polite" style="line-height:1.5"'
        self._status.value = f"<div {line}>{html.escape(self.status)}</div>"
        self._code.value = code

    @property
    def status(self) -> str:
        """The line below the picture."""
        if self.error:
            return f"Not drawn: {self.error}"
        return self.picture.status if self.picture is not None else ""

    def _build(self) -> Any:
        widgets = self._widgets
        self._image, self._status, self._code = widgets.HTML(), widgets.HTML(), widgets.HTML()
        title = widgets.HTML(f"{STYLE}<strong>{html.escape(self.title)}</strong>")
        self._rows = {name: row(control) for name, control in self.controls.items()}
        left = widgets.VBox([title, *self._rows.values()], layout={"margin": "0 16px 8px 0"})
        right = widgets.VBox([self._image, self._status, self._code], layout={"flex": "1 1 320px"})
        box = widgets.Box([left, right], layout={"display": "flex", "flex_flow": "row wrap", "width": "100%"})
        box.add_class(BOX)
        return box

    def __repr__(self) -> str:
        return f"{self.title}: {self.status}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The live widget, the first picture for pages that cannot move, and plain text."""
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        # Colab shows every kind it is given, so the picture would stand there twice
        if self._first is not None and not (self.widget is not None and "google.colab" in sys.modules):
            bundle["image/png"] = base64.b64encode(png(_captioned(self._first, self.title), small=True)).decode()
        if self.widget is not None:
            bundle[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return bundle


def png(image: Any, small: bool = False) -> bytes:
    """Return a PIL image or matplotlib Figure as the bytes of a PNG: written quickly, or `small` for a file."""
    buffer, level = io.BytesIO(), 9 if small else 1
    if hasattr(image, "savefig"):
        image.savefig(buffer, format="png", dpi=image.dpi, pil_kwargs={"compress_level": level})
    else:
        image.save(buffer, format="png", compress_level=level)
    return buffer.getvalue()


def _captioned(picture: Picture, title: str) -> Image.Image:
    """Return the picture with its status in words below it: a page without widgets shows nothing else."""
    image = Image.open(io.BytesIO(png(picture.image))).convert("RGB")
    width = max(image.width, 480)
    lines = textwrap.wrap(f"{title}. {picture.status}", int(width / 7.6))
    lines.append("(A still picture. Run the cell to get the controls.)")
    page = Image.new("RGB", (width, image.height + 10 + 19 * len(lines)), "white")
    page.paste(image, (0, 0))
    for row_number, line in enumerate(lines):
        write(page, (8, image.height + 6 + 19 * row_number), line)
    # 256 colours: fewer bytes in a notebook that everybody clones; the other methods lose the colours of thin lines
    return page.quantize(256, method=Image.Quantize.MAXCOVERAGE)
