"""An honest count of what a detector found, at one threshold of overlap and one of certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision.ops import box_iou

from .session import CourseError


@dataclass(frozen=True)
class Found:
    """A count of boxes: how many of the true ones were `found`, out of how many, and how many answers were `wrong`."""

    found: int
    of: int
    wrong: int

    @property
    def recall(self) -> float:
        """The share of the true boxes that was found."""
        return self.found / self.of if self.of else float("nan")

    @property
    def precision(self) -> float:
        """The share of the answers that is right."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else float("nan")

    def __str__(self) -> str:
        return f"{self.found} of {self.of} found ({self.recall:.0%}), {self.wrong} wrong"


def count_found(predictions: Sequence[dict], targets: Sequence[dict], iou: float = 0.5, score: float = 0.5) -> Found:
    """Count the true boxes that got an answer of their class overlapping by at least `iou`, each answer used once.

    `iou` lies above 0 (at 0 boxes that do not touch would count) and is at most 1. Answers with less than `score` are
    left out. The best answers choose first; a second answer on the same flower is wrong. (A share at one threshold:
    COCO's average precision goes over many, arXiv 1405.0312.) Raises CourseError for another `iou`, and for lists of
    different lengths.

    >>> box, one = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([1])
    >>> twice = {"boxes": box.repeat(2, 1), "labels": one.repeat(2), "scores": torch.tensor([0.9, 0.8])}
    >>> print(count_found([twice], [{"boxes": box, "labels": one}]))
    1 of 1 found (100%), 1 wrong
    """
    if not 0 < iou <= 1:
        raise CourseError(f"iou={iou!r} must be above 0 and at most 1; usual is 0.5.")
    if len(predictions) != len(targets):
        raise CourseError(f"{len(predictions)} predictions but {len(targets)} targets: one each for every scene.")
    found = wrong = of = 0
    for prediction, target in zip(predictions, targets, strict=True):
        of += len(target["labels"])
        free = torch.ones(len(target["labels"]), dtype=torch.bool)
        for row in prediction["scores"].argsort(descending=True).tolist():
            if prediction["scores"][row] < score:
                continue
            overlap = box_iou(prediction["boxes"][row : row + 1].float(), target["boxes"].float())[0]
            overlap = overlap * (free & (target["labels"] == prediction["labels"][row]))
            if len(overlap) and overlap.max() >= iou:
                free[overlap.argmax()] = False
                found += 1
            else:
                wrong += 1
    return Found(found, of, wrong)
