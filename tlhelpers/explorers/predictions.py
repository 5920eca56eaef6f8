"""The prediction browser: filter what a model predicted, page through the images, look at one with Grad-CAM."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import nn

from ..evaluation import class_names, known_labels, predict
from ..explain import grad_cam
from ..mistakes import _arrays, _images
from ..plots import BLUE, VERMILLION, _picture, _statistics
from ..session import CourseError
from ..transforms import Statistics
from .panel import Panel, Picture, choice, number
from .paper import bar, fitted, write

COLUMNS, ROWS, CELL, THUMB = 4, 3, 87, 76  # of the page with small images; pixels
TALL = THUMB + 34  # of a cell, with two lines of words
LARGE, RIGHT, WIDTH = 122, 354, 604  # pixels: the chosen image, and where it stands
ORDERS = ("as in the data set", "surest first", "least sure first", "largest loss first")
KINDS = ("all", "right", "wrong")
ASKED = ("the predicted class", "the true class")


def explore_predictions(
    model: nn.Module,
    dataset: Any,
    classes: Sequence[str] | None = None,
    predictions: Any = None,
    only: str | None = None,
    at: str | nn.Module | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
) -> Panel:
    """Return a panel that pages through a model's predictions: small images, and one large with Grad-CAM beside it.

    `dataset` gives normalised images (3, H, W) and labels. `predictions` is what `tl.predict` returned for it, with a
    loader that does not shuffle; without them they are made now. Filter by true class, right or wrong and confidence
    (the probability of the predicted class, in per cent). `only` ("right", "wrong") is the filter at the start, `at`
    the stage for Grad-CAM as in `tl.grad_cam`. Class names and normalisation come from the dataset when not given.
    The model stays as it is. Raises `CourseError` when the predictions do not belong to this dataset in this order.

    >>> from torchvision import models
    >>> images, model = [(torch.rand(3, 32, 32), 0)] * 3, models.get_model("resnet10", num_classes=2)
    >>> panel = explore_predictions(model, images, ["daisy", "rose"])
    >>> panel.set(true=1)
    >>> panel.status
    'None of the 3 predictions fits: true class rose. Change a filter.'
    """
    classes = classes if classes is not None else class_names(dataset)
    if classes is None:
        raise CourseError("classes: the dataset does not know the names of its classes, so hand over a list of them.")
    if only not in (None, "right", "wrong"):
        raise CourseError(f"only={only!r} is unknown: choose 'wrong', 'right' or None for both.")
    if predictions is None:
        predictions = predict(model, torch.utils.data.DataLoader(dataset, batch_size=64))
    browser = _Browser(model, dataset, list(classes), predictions, at, _statistics(dataset, mean, std))
    pages = -(-browser.count // (COLUMNS * ROWS))
    controls = {
        "true": choice("True class", [("all", -1), *((str(name), place) for place, name in enumerate(classes))], -1),
        "kind": choice("Predictions", KINDS, only or "all"),
        "low": number("Sure from (%)", 0, 0, 100, 5),
        "high": number("Sure up to (%)", 100, 0, 100, 5),
        "order": choice("Order", ORDERS, ORDERS[1] if only else ORDERS[0]),
        "page": number("Page", 1, 1, pages),
        "image": number("Image on the page", 1, 1, COLUMNS * ROWS),
        "asked": choice("Grad-CAM asks for", ASKED),
    }

    def begin_anew(_: Any) -> None:
        controls["page"].value = controls["image"].value = 1

    for name in ("true", "kind", "low", "high", "order"):
        if hasattr(controls[name], "observe"):  # before the panel looks, so that it finds page 1
            controls[name].observe(begin_anew, "value")
    return Panel("Prediction browser", controls, browser.draw)


class _Browser:
    """What the panel looks at: the predictions as arrays, and the pictures that were opened already."""

    def __init__(self, model, dataset, classes, predictions, at, statistics) -> None:
        self.labels, self.predicted = _arrays(predictions, classes)
        self.model, self.dataset, self.classes, self.at = model, dataset, classes, at
        self.predictions, self.statistics, self.count = predictions, statistics, len(self.labels)
        shape = tuple(predictions.probabilities.shape)
        if shape != (self.count, len(classes)):
            raise CourseError(
                f"the predictions have probabilities of shape {shape}, but {self.count} labels and {len(classes)} "
                "class names were given: take predictions and names of the same model."
            )
        known = known_labels(dataset)
        if known is not None and known.shape == self.labels.shape:
            differ = np.flatnonzero(np.asarray(known) != self.labels)
            _images(predictions, dataset, differ[:1])  # another order is refused here, whatever page is open
        self.shares = np.asarray(predictions.probabilities, dtype=float)
        self.sure = self.shares[np.arange(self.count), self.predicted]
        # pictures of the size they are shown in: a thousand of them are 1000 x 122 x 122 x 3 bytes, 45 MB
        self.opened = functools.lru_cache(maxsize=1000)(self._open)
        self.heat = functools.lru_cache(maxsize=1000)(self._heat)
        self.opened(0)  # images that cannot be shown say so here, not behind a control

    def _open(self, index: int) -> Image.Image:
        (image,) = _images(self.predictions, self.dataset, [index])
        return ImageOps.contain(_pil(_picture(image, *self.statistics)), (LARGE, LARGE))

    def _heat(self, index: int, asked: int) -> Image.Image | str:
        """Return the image in grey under the map of Grad-CAM, or why there is none."""
        import matplotlib

        (image,) = _images(self.predictions, self.dataset, [index])
        try:
            heat = grad_cam(self.model, torch.as_tensor(image)[None], asked, self.at)[0].numpy()
        except CourseError as error:  # a network without feature maps has predictions all the same
            return str(error)
        grey = _picture(image, *self.statistics).mean(axis=2, keepdims=True)
        shade = matplotlib.colormaps["inferno"](heat)[:, :, :3]
        return ImageOps.contain(_pil(0.4 * grey + 0.6 * shade), (LARGE, LARGE))  # as tl.show_grad_cam draws it

    def fitting(self, true: int, kind: str, low: float, high: float, order: str) -> np.ndarray:
        """Return the numbers of the predictions that pass the filters, in the order asked for."""
        right = self.labels == self.predicted
        keep = {"all": np.ones(self.count, dtype=bool), "right": right, "wrong": ~right}[kind]
        # in whole per cent, as it is written at the images
        keep = keep & (np.round(100 * self.sure) >= low) & (np.round(100 * self.sure) <= high)
        if true >= 0:
            keep = keep & (self.labels == true)
        truth = self.shares[np.arange(self.count), self.labels]  # small where the loss, minus its logarithm, is large
        key = {ORDERS[0]: np.arange(self.count), ORDERS[1]: -self.sure, ORDERS[2]: self.sure, ORDERS[3]: truth}[order]
        found = np.flatnonzero(keep)
        return found[np.argsort(key[found], kind="stable")]

    def words(self, index: int) -> str:
        """Return a prediction in words."""
        guess, truth = self.predicted[index], self.labels[index]
        verdict = "right" if guess == truth else f"WRONG, truly {self.classes[truth]}"
        return f"predicted {self.classes[guess]} {self.sure[index]:.0%}, {verdict}"

    def draw(self, true: int, kind: str, low: float, high: float, order: str, page: int, image: int, asked: str):
        """Return the picture for these filters. Pages and images beyond the last one give the last one."""
        found = self.fitting(true, kind, low, high, order)
        filters = [f"true class {self.classes[true]}"] * (true >= 0) + [kind] * (kind != "all")
        filters += [f"{low} to {high} % sure"] * ((low, high) != (0, 100))
        named = f": {', '.join(filters)}" if filters else ""
        if not len(found):
            empty = Image.new("RGB", (WIDTH, 60), "white")
            write(empty, (12, 30), "No prediction passes these filters.", anchor="lm")
            none = f"None of the {self.count} predictions fits{named}. Change a filter."
            return Picture(empty, "An empty page", none)
        pages = -(-len(found) // (COLUMNS * ROWS))
        page = min(page, pages)
        shown = [int(index) for index in found[(page - 1) * COLUMNS * ROWS : page * COLUMNS * ROWS]]
        place = min(image, len(shown)) - 1
        index = shown[place]
        target = int(self.predicted[index] if asked == ASKED[0] else self.labels[index])
        rows = [f"{nth} (number {one}): {self.words(one)}" for nth, one in enumerate(shown, start=1)]
        status = (
            f"{len(found)} of {self.count} predictions fit{named}. Page {page} of {pages}, image {place + 1}, number "
            f"{index} of the data set: {self.words(index)}."
        )
        alt = (
            f"A page of {len(shown)} small images. {'. '.join(rows)}. Image {place + 1} is shown large, beside it its "
            f"Grad-CAM map for {self.classes[target]}, below bars: {', '.join(self._top(index))}."
        )
        code = f"image, label = dataset[{index}]\ntl.grad_cam(model, image.unsqueeze(0), classes={target}"
        code += f", at={self.at!r})" if isinstance(self.at, str) else ")"
        code += f"  # {asked}"  # of a right prediction both are the same class, and the same map
        return Picture(self._paint(shown, place, target), alt, status, code)

    def _top(self, index: int) -> dict[str, int]:
        """Return the three most probable classes, and the true one where it is not among them."""
        best = [int(one) for one in np.argsort(-self.shares[index], kind="stable")[:3]]
        best += [int(self.labels[index])] * (int(self.labels[index]) not in best)
        return {f"{self.classes[one]} {self.shares[index, one]:.0%}": one for one in best}

    def _paint(self, shown: Sequence[int], place: int, target: int) -> Image.Image:
        page = Image.new("RGB", (WIDTH, 4 + TALL * ROWS), "white")
        for at_number, index in enumerate(shown):
            x, y = CELL * (at_number % COLUMNS), 4 + TALL * (at_number // COLUMNS)
            self._small(page, x, y, index, at_number + 1, at_number == place)
        index = shown[place]
        wrong = bool(self.predicted[index] != self.labels[index])
        write(page, (RIGHT, 6), f"Image {place + 1} (number {index})", 13, bold=True)
        write(page, (RIGHT, 25), fitted(f"predicted: {self.classes[self.predicted[index]]}", 250, 12), 12)
        write(
            page,
            (RIGHT, 42),
            fitted(f"{'WRONG, ' * wrong}true: {self.classes[self.labels[index]]}", 250, 12, wrong),
            12,
            wrong,
        )
        page.paste(self.opened(index), (RIGHT, 62))
        heat = self.heat(index, target)
        if isinstance(heat, str):
            for line, words in enumerate(textwrap.wrap(heat, 24)[:9]):
                write(page, (RIGHT + LARGE + 6, 62 + 15 * line), words, 10)
        else:
            page.paste(heat, (RIGHT + LARGE + 6, 62))
        write(page, (RIGHT, 66 + LARGE), fitted(f"Grad-CAM for {self.classes[target]}", 250, 11), 11)
        for row, (words, one) in enumerate(self._top(index).items()):
            y = 112 + LARGE + 26 * row
            true_one = bool(one == self.labels[index])
            write(page, (RIGHT, y), fitted(str(self.classes[one]), 112, 12, true_one), 12, true_one, "lm")
            width = max(1, 80 * self.shares[index, one])
            bar(
                page,
                (RIGHT + 116, y - 8, RIGHT + 116 + width, y + 8),
                BLUE if true_one else VERMILLION,
                "" if true_one else "/",
            )
            write(page, (RIGHT + 120 + width, y), words.rsplit(" ", 1)[1] + " true" * true_one, 12, true_one, "lm")
        return page

    def _small(self, page: Image.Image, x: int, y: int, index: int, at_number: int, chosen: bool) -> None:
        """Paint one image of the page with its number, the predicted class, and the word WRONG where it is."""
        guess, truth = self.predicted[index], self.labels[index]
        draw, size = ImageDraw.Draw(page), (THUMB, THUMB)
        if chosen:
            draw.rectangle((x, y - 4, x + CELL - 4, y + TALL - 6), fill="#DCE6EF", outline="black", width=2)
        picture = ImageOps.contain(self.opened(index), size)
        page.paste(picture, (x + 5, y))
        if guess != truth:
            draw.rectangle((x + 5, y, x + 4 + picture.width, y + picture.height - 1), outline=VERMILLION, width=3)
        write(page, (x + 5, y + THUMB + 2), fitted(f"{at_number}: {self.classes[guess]}", THUMB, 11), 11)
        verdict = f"{self.sure[index]:.0%} " + ("right" if guess == truth else "WRONG")
        write(page, (x + 5, y + THUMB + 15), verdict, 11, bold=bool(guess != truth))


def _pil(picture: np.ndarray) -> Image.Image:
    """Return an array (H, W, 3), 0..1 or 0..255, as an image."""
    if picture.dtype != np.uint8:
        picture = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(picture).convert("RGB")
