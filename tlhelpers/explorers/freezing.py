"""The freeze slider: let training start at one stage or another, and see what learns, what moves and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..explain import _network
from ..freezing import count_parameters
from ..models import Stage, unwrap
from ..plots import BLUE, GREEN, ORANGE, SKY
from .cost import MakeOptimizer, StepCost, batchnorms, step_costs
from .panel import Panel, Picture, choice, slider
from .paper import bar, fitted, write

RIGHT, PLAIN = "tl.train_mode(model)", "model.train()"
TOP, ROW, BAND = 42, 26, "#DCE6EF"  # pixels, and the colour of the row in use
LEFT, NORM, MEMORY, TIME = 62, 226, 330, 476  # where the columns begin
KINDS = (
    ("kept", "for backward", SKY, ""),
    ("gradients", "gradients", ORANGE, "."),
    ("state", "optimiser", GREEN, "x"),
)
HEADINGS = (
    (LEFT, "Parameters", "of each stage"),
    (NORM, "BatchNorm", "mode, statistics"),
    (MEMORY, "Memory of a step", "training from here on"),
    (TIME, "Time of a step", "from here on"),
)


def explore_freezing(
    model: nn.Module, images: Tensor | None = None, make_optimizer: MakeOptimizer | None = None, seconds: float = 2.0
) -> Panel:
    """Return a panel with a slider over the stages of a network: how many of them train, counted from the head.

    For every place it shows the parameters that learn, what BatchNorm does, and the memory and time of one training
    step. These are measured when the panel opens, which takes a few `seconds`, on a copy: the model, its gradients,
    its modes and the random states stay as they are. `images` is a normalised batch (N, 3, H, W); without one, 16
    made-up images of 64 pixels are used. `make_optimizer` gets the parameters that train (default: AdamW). A module
    that keeps a torchvision network in `.backbone` is looked into. Raises `CourseError` for a network that
    `tl.stages` does not know, or images that do not go through it.

    >>> from torchvision import models
    >>> panel = explore_freezing(models.get_model("resnet10"), torch.zeros(2, 3, 32, 32), seconds=0)
    >>> panel.set(trained=2)
    >>> panel.status.split(":")[0]
    'From layer4 on'
    """
    if images is None:  # a source of its own: nobody else's random numbers move on
        images = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    costs = step_costs(model, images, make_optimizer, seconds)
    parts = [part for part in _network(unwrap(model))[1] if any(True for _ in part.parameters())]
    shape = f"{len(images)} images of {images.shape[2]} x {images.shape[3]} pixels"
    open_now = [place for place, part in enumerate(reversed(parts), start=1) if count_parameters(part)[1]]
    controls = {
        "trained": slider("Stages that train", max(open_now, default=1), 1, len(parts)),
        "mode": choice("Before each epoch", [RIGHT, PLAIN]),
    }
    name = "model" if _network(unwrap(model))[0] is unwrap(model) else "model.backbone"
    return Panel("Freeze slider", controls, lambda trained, mode: _draw(parts, costs, shape, name, trained, mode))


def _draw(parts: Sequence[Stage], costs: Sequence[StepCost], shape: str, name: str, trained: int, mode: str) -> Picture:
    """Return the picture for so many trained stages. `costs` begin at the head, `parts` at the image."""
    cost = costs[trained - 1]
    drifting = cost.drifting if mode == PLAIN else ()
    total, learning = sum(count_parameters(part)[0] for part in parts), sum(cost.trainable.values())
    where = {1: "Only the head trains", len(parts): "Everything trains"}.get(trained, f"From {cost.start} on")
    peak = "" if cost.peak is None else f" ({_megabytes(cost.peak)} at the peak on the GPU)"
    drift = f" The frozen BatchNorm of {', '.join(drifting)} drifts." if drifting else ""
    status = (
        f"{where}: {learning:,} of {total:,} parameters learn ({learning / total:.1%}). A step with {shape} takes "
        f"{_megabytes(cost.bytes)} beside the weights{peak} and {_milliseconds(cost.seconds)}.{drift}"
    )
    states = [_batchnorm(part, cost, drifting) for part in parts]
    rows = [
        f"{part.name}: {cost.trainable[part.name]:,} of {count_parameters(part)[0]:,} parameters learn, BatchNorm {now}"
        for part, now in zip(parts, states, strict=True)
    ]
    bars = [f"from {one.start} on {_megabytes(one.bytes)}, {_milliseconds(one.seconds)}" for one in costs]
    alt = f"A row for each stage. {'; '.join(rows)}. Bars for memory and time of a step: {'; '.join(bars)}."
    code = (
        f'tl.unfreeze_from({name}, "{cost.start}")\n'
        f"parameters = tl.trainable_parameters({name})\n"
        "optimizer = torch.optim.AdamW(parameters, lr=1e-3)\n"
        f"{mode}  # " + ("wrong: say tl.train_mode(model)" if drifting else "in every epoch")
    )
    return Picture(_paint(parts, costs, cost, states), alt, status, code)


def _batchnorm(part: Stage, cost: StepCost, drifting: Sequence[str]) -> str:
    if not batchnorms(part):
        return "none"
    if part.name in drifting:
        return "train, DRIFTS"
    return "train, moves" if part.name in cost.moving else "eval, still"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _paint(parts: Sequence[Stage], costs: Sequence[StepCost], cost: StepCost, states: Sequence[str]) -> Image.Image:
    """A row per stage; in the two charts on the right its bar is the step of a training that starts there."""
    names = [part.name for part in parts]
    page = Image.new("RGB", (588, TOP + ROW * len(names) + 30), "white")
    top = TOP + ROW * names.index(cost.start)
    ImageDraw.Draw(page).rectangle((0, top, page.width, top + ROW - 1), fill=BAND)
    for x, title, below in HEADINGS:
        write(page, (x, 4), title, 13, bold=True)
        write(page, (x, 21), below, 11)
    largest = max(count_parameters(part)[0] for part in parts)
    most, slowest = max(one.bytes for one in costs), max(one.seconds for one in costs)
    for row, (part, words, one) in enumerate(zip(parts, states, reversed(costs), strict=True)):
        y, chosen = TOP + ROW * row + ROW / 2, one is cost
        write(page, (6, y), fitted(part.name, 54), 13, chosen, "lm")
        _parameters(page, y, count_parameters(part)[0], cost.trainable[part.name], largest)
        write(page, (NORM, y), words, 12, "DRIFTS" in words, "lm")
        x = float(MEMORY)
        for kind, _, colour, hatch in KINDS:
            width = 68 * getattr(one, kind) / most
            bar(page, (x, y - 8, x + width, y + 8), colour, hatch, pale=not chosen)
            x += width
        write(page, (x + 4, y), _megabytes(one.bytes), 12, chosen, "lm")
        width = 45 * one.seconds / slowest
        bar(page, (TIME, y - 8, TIME + width, y + 8), BLUE, pale=not chosen)
        write(page, (TIME + 4 + width, y), _milliseconds(one.seconds), 12, chosen, "lm")
    _legend(page)
    return page


def _parameters(page: Image.Image, y: float, count: int, trainable: int, largest: int) -> None:
    width = max(2, 78 * count / largest)
    bar(page, (LEFT, y - 8, LEFT + width, y + 8), BLUE if trainable else "#FFFFFF", "" if trainable else "/")
    write(page, (LEFT + 4 + width, y), f"{count:,}", 12, anchor="lm")


def _legend(page: Image.Image) -> None:
    y, x = page.height - 14, float(LEFT)
    for box_look, words in ((("#0072B2", ""), "learns"), (("#FFFFFF", "/"), "frozen")):
        bar(page, (x, y - 6, x + 16, y + 6), *box_look)
        x = write(page, (x + 20, y), words, 11, anchor="lm") + 14
    x = float(MEMORY) - 20
    for _, words, colour, hatch in KINDS:
        bar(page, (x, y - 6, x + 16, y + 6), colour, hatch)
        x = write(page, (x + 20, y), words, 11, anchor="lm") + 10
