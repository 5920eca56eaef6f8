"""Checks of lesson 08: overlap of two boxes, boxes that flip along, the background as a class, overlap per class."""

from __future__ import annotations

import torch
from torch import nn

from . import attempted, exercise, require

_EMPTY = "the function returns nothing yet: fill it in and run the cell again"


def _near(a: float, b: float) -> bool:
    return abs(float(a) - b) < 1e-4


@exercise("08.1", expects="a function of two boxes, each a tensor x0, y0, x1, y1, that returns one number")
def check_overlap(overlap):
    attempted(overlap)
    require(callable(overlap), "give the function itself, overlap, not what it returns")
    # intersection 10 x 20 = 200; areas 800 and 600; union 1,200
    a, b = torch.tensor([0.0, 0.0, 20.0, 40.0]), torch.tensor([10.0, 20.0, 40.0, 40.0])
    given = overlap(a.clone(), b.clone())
    attempted(given, todo=_EMPTY)
    require(not torch.is_tensor(given) or given.numel() == 1, "return one number: the areas are numbers, not rows")
    require(not _near(given, 200), "that is the shared area in pixels: divide it by the area that either box covers")
    require(
        not _near(given, 200 / 1400),
        "the shared area is counted twice in the union: the two areas minus the intersection",
    )
    require(
        not _near(given, 200 / 800) and not _near(given, 200 / 600),
        "that divides by the area of one box only, so a box around the whole image would be perfect: take the union",
    )
    require(
        not _near(given, (11 * 21) / (21 * 41 + 31 * 21 - 11 * 21)),
        "the boxes of this lesson end behind their last pixel: a width is x1 - x0, without + 1",
    )
    require(_near(given, 200 / 1200), f"for two boxes that share 200 of 1,200 pixels it gives {float(given):.4f}")
    apart = torch.tensor([30.0, 60.0, 50.0, 90.0])  # right of a and below it: both differences are negative
    beside = torch.tensor([30.0, 0.0, 50.0, 40.0])  # only the width is negative
    below = torch.tensor([0.0, 60.0, 20.0, 90.0])  # only the height is
    for where, box in (("right of it and below", apart), ("right of it", beside), ("below it", below)):
        gap = float(overlap(a.clone(), box))
        require(
            _near(gap, 0),
            f"two boxes that do not touch must give 0, yours gives {gap:.2f} for a box {where}: a negative width or "
            "height is none, clamp it at 0, each by itself",
        )
    require(_near(overlap(a, a), 1), f"a box and itself must give 1, yours gives {float(overlap(a, a)):.4f}")
    require(_near(overlap(b, a), 200 / 1200), "it must not matter which box comes first")
    return "shared area by covered area: 0 for boxes apart, 1 for the same box, whatever their size"


@exercise("08.2", expects="a function of an image (3, H, W) and boxes (N, 4) that returns both, flipped")
def check_flip_scene(flip_scene):
    attempted(flip_scene)
    require(callable(flip_scene), "give the function itself, flip_scene, not what it returns")
    image = torch.arange(3 * 20 * 30).reshape(3, 20, 30).float()
    boxes = torch.tensor([[2.0, 5.0, 8.0, 12.0], [0.0, 0.0, 30.0, 20.0]])
    image_in, boxes_in = image.clone(), boxes.clone()
    given = flip_scene(image_in, boxes_in)
    attempted(given, todo=_EMPTY)
    require(isinstance(given, (tuple, list)) and len(given) == 2, "return two things: the image and the boxes")
    attempted(*given, todo=_EMPTY)
    flipped, moved = (torch.as_tensor(part).float() for part in given)  # whole numbers are as good
    require(
        torch.equal(boxes_in, boxes) and torch.equal(image_in, image),
        "the boxes you were given have changed as well: work on boxes.clone(), or the next epoch gets moved boxes",
    )
    require(tuple(flipped.shape) == (3, 20, 30), f"the image has the shape {tuple(flipped.shape)}, not (3, 20, 30)")
    require(not torch.equal(flipped, image), "the image is not flipped any more: only the boxes were to be repaired")
    require(
        torch.equal(flipped, image.flip(-1)), "the image was to be flipped left to right, as before: image.flip(-1)"
    )
    require(tuple(moved.shape) == (2, 4), f"the boxes have the shape {tuple(moved.shape)}, not (2, 4)")
    require(not torch.equal(moved, boxes), "the boxes still lie where the flowers were before the flip")
    right = torch.tensor([[22.0, 5.0, 28.0, 12.0], [0.0, 0.0, 30.0, 20.0]])
    require(
        bool((moved[:, 2] > moved[:, 0]).all()),
        "x0 is larger than x1 now: the right edge becomes the left one, so x0 = width - x1 and x1 = width - x0",
    )
    require(
        not torch.allclose(moved, right - torch.tensor([1.0, 0, 1, 0])),
        "all boxes lie one pixel too far left: edges lie between the pixels, so it is width - x, not width - 1 - x",
    )
    require(
        not torch.equal(moved[:, [1, 3]], 20 - boxes[:, [3, 1]]) or torch.equal(moved, right),
        "the boxes are flipped top to bottom: a flip left to right changes x, columns 0 and 2",
    )
    require(
        torch.allclose(moved, right),
        f"the box 2, 5, 8, 12 in an image 30 wide should become 22, 5, 28, 12; yours is {moved[0].tolist()}",
    )
    return "the boxes move with their flowers, left edge and right edge swapped"


@exercise("08.3", expects="a function of the width of the head and of kinds, class numbers 0, 1, 2")
def check_head_and_labels(head_and_labels):
    attempted(head_and_labels)
    require(callable(head_and_labels), "give the function itself, head_and_labels, not what it returns")
    kinds = torch.tensor([0, 2, 1, 0])
    given = head_and_labels(8, kinds.clone())
    attempted(given, todo=_EMPTY)
    require(isinstance(given, (tuple, list)) and len(given) == 2, "return two things: the head and the labels")
    head, labels = given
    attempted(head, labels, todo=_EMPTY)
    require(
        isinstance(head, nn.Module) and hasattr(head, "cls_score"),
        f"the head is a {type(head).__name__}: it should be a FastRCNNPredictor",
    )
    require(torch.is_tensor(labels), f"the labels are a {type(labels).__name__}: a tensor was asked for")
    scores, shifted = head.cls_score.out_features, torch.equal(labels.long(), kinds + 1)
    same = torch.equal(labels.long(), kinds)
    require(
        not (scores == 3 and same),
        "daisies are still number 0, and 0 says: nothing is here. Every daisy is trained to be background",
    )
    require(
        not (scores == 4 and same),
        "the head is large enough now, but daisies are still number 0, the background: labels from 1",
    )
    require(
        not (scores == 3 and shifted),
        "labels 1, 2, 3 and a head with three scores, numbered 0, 1, 2: the tulips (3) raise an error. The background "
        "is a class of its own, so three kinds of flowers need four scores",
    )
    require(shifted, f"kinds 0, 2, 1, 0 should become labels 1, 3, 2, 1; yours are {labels.tolist()}")
    require(scores == 4, f"the head gives {scores} scores: three kinds of flowers and the background make four")
    require(not labels.is_floating_point(), "labels are class numbers: whole numbers, int64")
    boxes = getattr(getattr(head, "bbox_pred", None), "out_features", 16)
    require(boxes == 16, "the part of the head that corrects boxes gives four numbers per class, so sixteen here")
    return "0 is the background, flowers count from 1, and the head has one score more than there are kinds"


@exercise("08.4", expects="a function of two maps of class numbers and the number of classes")
def check_iou_per_class(iou_per_class):
    attempted(iou_per_class)
    require(callable(iou_per_class), "give the function itself, iou_per_class, not what it returns")
    true = torch.tensor([[[0, 0, 0, 1], [0, 1, 1, 1]], [[0, 0, 2, 2], [0, 0, 0, 0]]])
    said = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]], [[0, 2, 2, 0], [0, 0, 0, 1]]])
    try:
        given = iou_per_class(said.clone(), true.clone(), 3)
    except (RuntimeError, TypeError) as error:  # torch.tensor refuses the blank itself
        attempted(... if "ellipsis" in str(error).lower() else 1)
        raise
    attempted(given, todo=_EMPTY)
    given = torch.as_tensor(given, dtype=torch.float64).flatten()
    require(len(given) == 3, f"it returns {len(given)} numbers for three classes: one for each, background included")

    def by(share):
        return torch.tensor([share((said == c), (true == c)) for c in range(3)], dtype=torch.float64)

    def is_it(wrong):
        return torch.allclose(given, wrong, atol=1e-4, equal_nan=True)

    both = lambda s, t: (s & t).sum().item()  # noqa: E731
    require(
        not is_it(by(lambda s, t: both(s, t) / t.sum().item())),
        "that divides by the true pixels only: a network that says tulip everywhere would get 1 for tulips. Divide by "
        "the pixels where either says so, said | is_so",
    )
    require(
        not is_it(by(lambda s, t: both(s, t) / s.sum().item())),
        "that divides by the answered pixels only: flowers that were overlooked cost nothing. Divide by said | is_so",
    )
    require(
        not is_it(by(lambda s, t: both(s, t) / (s.sum() + t.sum()).item())),
        "the shared pixels are counted twice below the line: use said | is_so, which counts each pixel once",
    )
    require(
        not is_it(by(lambda s, t: 2 * both(s, t) / (s.sum() + t.sum()).item())),
        "that is Dice, twice the shared pixels by the sum of both: a measure of its own, kinder to small overlaps. For "
        "IoU divide the shared pixels by those of said | is_so",
    )
    require(
        not is_it(by(lambda s, t: (s == t).float().mean().item())),
        "that counts the pixels where both say 'not this class' as right, and those are nearly all: use said & is_so",
    )
    # the mean over the images, nan where neither map of an image has the class: left so, left out, or counted as 0 or 1
    images = [
        [both(s == c, t == c) / n if (n := ((s == c) | (t == c)).sum().item()) else float("nan") for c in range(3)]
        for s, t in zip(said, true, strict=True)
    ]
    each = torch.tensor(images, dtype=torch.float64)
    require(
        not any(is_it(mean) for mean in (each.mean(0), each.nanmean(0), *(each.nan_to_num(n).mean(0) for n in (0, 1)))),
        "that is the mean over the images, in which a single pixel may weigh as much as a whole flower: sum the pixels "
        "of all images first",
    )
    right = by(lambda s, t: both(s, t) / (s | t).sum().item())
    shown = ", ".join(f"{value:.2f}" for value in given.tolist())
    require(
        is_it(right), f"on the example it gives {shown}; it should be {right[0]:.2f}, {right[1]:.2f}, {right[2]:.2f}"
    )
    return "the same IoU as for boxes, pixel by pixel, and a rare class counts as much as the background"
