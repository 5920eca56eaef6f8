"""The values of the images: 0 to 255 or 0 to 1 instead of normalised ones, normalised twice or by odd numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..transforms import IMAGENET_MEAN, IMAGENET_STD
from .case import Case, Part
from .report import Diagnosis, Finding
from .samples import holds_rows, images_of, normalizes_of

NOT_NORMALIZED = Diagnosis(
    "not-normalized",
    "warning",
    "the images are not normalised",
    "A pretrained network has only ever seen numbers around zero with a spread around one; on others its features are "
    "worse, and no error says so.",
    "v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]) as the last step, or weights.transforms()",
    "lesson 01, sections 6 and 8; lesson 03, exercise 03.1",
)
NORMALIZED_TWICE = Diagnosis(
    "normalized-twice",
    "error",
    "the images are normalised twice",
    "The second Normalize takes numbers around zero for pixels: the mean ends below zero and the spread is over four "
    "times what the network knows.",
    "keep one v2.Normalize, the last step of the transform; weights.transforms() has one already",
    "lesson 01, section 8",
)
WRONG_STATISTICS = Diagnosis(
    "wrong-statistics",
    "warning",
    "the images are normalised by numbers that do not fit",
    "Normalize should bring each colour near mean 0 and spread 1, in training and validation by the same numbers: "
    "those of the weights, or those measured on your training images.",
    "v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), after scaling the pixels to 0..1, everywhere",
    "lesson 01, section 6",
)
PIXELS_0_255 = Diagnosis(
    "pixels-0-255",
    "error",
    "the pixels run up to 255 and not up to 1",
    "Numbers hundreds of times too large ruin even a well trained network, and no error says so.",
    "v2.ToDtype(torch.float32, scale=True)  # before Normalize; it scales whole numbers: divide float images by 255",
    "lesson 01, sections 2 and 8",
)
IMAGES = 24  # looked at per side
JUST_BEGUN = 20  # training steps, after which an eighth of the first BatchNorm statistics is left
_MEAN, _STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


@dataclass
class _Values:
    """The values of some images: (colours, all pixels) as the network gets them."""

    pixels: Tensor
    whole: bool  # whole numbers, not floats
    seen: str

    def undone(self, mean: Tensor, std: Tensor) -> _Values:
        return _Values(self.pixels * std.flatten(1) + mean.flatten(1), self.whole, self.seen)

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value but for the 1 in 200 outermost: erased patches and overshoots do not decide."""
        thinned = self.pixels.flatten()[:: max(1, self.pixels.numel() // 50_000)].sort().values
        return thinned[len(thinned) // 200].item(), thinned[-1 - len(thinned) // 200].item()

    @property
    def between_0_and_1(self) -> bool:
        low, high = self.ends
        return low >= -0.03 and high <= 1.03

    @property
    def spread(self) -> float:
        return self.pixels.std(1).mean().item()


def _values(part: Part) -> _Values:
    images = images_of(part, IMAGES)
    pixels = torch.cat([image.flatten(1).float() for image in images], dim=1)
    low, high = pixels.min().item(), pixels.max().item()
    means = ", ".join(f"{value:.2f}" for value in pixels.mean(1).tolist())
    seen = f"{len(images)} {part.name} images run from {low:.2f} to {high:.2f}, mean of each colour {means}"
    return _Values(pixels, not images[0].is_floating_point(), seen)


def examine_values(case: Case) -> Iterator[Finding]:
    """0..255 or 0..1 instead of normalised values, normalised twice or by odd numbers, not alike on both sides."""
    if holds_rows(case.train):
        return
    by_part = [(part, _values(part), normalizes_of(part)) for part in case.parts]
    # what the network starts with: from scratch, values from 0 to 1 are no mistake, but on one side only they are
    bare = [not steps and values.between_0_and_1 for _, values, steps in by_part]
    takes_all = _normalizes_itself(case.net)
    expected = (looks_pretrained(case.net) or not all(bare)) and not takes_all
    for place, (_, values, steps) in enumerate(by_part):
        finding = _judged(values, steps) if steps else _judged_unseen(values, expected, takes_all)
        if finding is not None and finding.diagnosis is NOT_NORMALIZED:
            part, others, other_steps = by_part[1 - place] if len(by_part) == 2 else (None, values, [])
            wrong = _judged(others, other_steps) if other_steps else _judged_unseen(others, True, False)
            finding = _without_normalize(values, part if wrong is None else None, other_steps)
        if finding is not None:
            yield finding
            return  # the other side has the same fault, or one that this one explains
    last = [steps[-1] for _, _, steps in by_part if steps]
    if len(last) == 2 and max((a - b).abs().max().item() for a, b in zip(*last, strict=True)) > 0.02:
        train, val = (f"mean {_row(mean)} and std {_row(std)}" for mean, std in last)
        yield WRONG_STATISTICS.found(f"training is normalised by {train}, validation by {val}")


def _without_normalize(values: _Values, other: Part | None, steps: list[tuple[Tensor, Tensor]]) -> Finding:
    """Values from 0 to 1, and the line that normalises them: like the other side, if that one is normalised."""
    seen = values.seen if other is None else f"{values.seen}; the {other.name} images differ: they are normalised"
    if other is not None and steps:
        mean, std = (numbers.flatten().tolist() for numbers in steps[-1])
    elif len(values.pixels) == 3:
        return NOT_NORMALIZED.found(seen)
    else:  # ImageNet's numbers are for three colours
        mean, std = values.pixels.mean(1).tolist(), values.pixels.std(1).tolist()
    mean, std = ([round(number, 4) for number in numbers] for numbers in (mean, std))
    return NOT_NORMALIZED.found(seen, f"v2.Normalize(mean={mean}, std={std}) as the last step, on both sides")


def _judged_unseen(values: _Values, expected: bool, takes_all: bool) -> Finding | None:
    """No Normalize is known, it may still have run before: only the values can tell."""
    low, high = values.ends
    if takes_all:
        return None  # a first BatchNorm brings any values to mean 0 and spread 1
    if low < -10 and high - low > 60:  # Normalize leaves unscaled pixels above -3
        return WRONG_STATISTICS.found(f"{values.seen}: no pixels from 0 to 255, and not normalised")
    if values.whole or high - low > 60:
        return PIXELS_0_255.found(values.seen)
    if values.between_0_and_1:
        if high < 0.02:
            return WRONG_STATISTICS.found(f"{values.seen}: divided by 255 twice?", "scale the pixels to 0..1 only once")
        return NOT_NORMALIZED.found(values.seen) if expected else None
    if values.spread > 2.3:  # ImageNet's numbers cannot spread pixels so far, your own bring them to 1
        if len(values.pixels) == 3 and values.undone(_MEAN, _STD).undone(_MEAN, _STD).between_0_and_1:
            return NORMALIZED_TWICE.found(f"{values.seen}, spread {values.spread:.1f}: as after two Normalize")
        return WRONG_STATISTICS.found(f"{values.seen}, spread {values.spread:.1f}")
    return None


def _judged(values: _Values, steps: list[tuple[Tensor, Tensor]]) -> Finding | None:
    """Undo the Normalize steps that are known, the last one first, and look at what they were given."""
    mean, std = steps[-1]
    given = values.undone(mean, std)
    low, high = given.ends
    by = f"Normalize(mean={_row(mean)}, std={_row(std)})"
    if given.between_0_and_1:
        if mean.max() > 2 or std.max() > 2:
            return WRONG_STATISTICS.found(f"{by}: for pixels from 0 to 255, but these run from 0 to 1")
        if high < 0.02:
            return WRONG_STATISTICS.found(f"{values.seen}: divided by 255 twice?", "scale the pixels to 0..1 only once")
        reason = _odd(mean.flatten(), std.flatten(), given)
        return WRONG_STATISTICS.found(f"{by}: {reason}") if reason else None
    if high > 60:
        is_for_255 = mean.max() > 2  # the same statistics times 255 do the same, and scaling was left out on purpose
        return None if is_for_255 else PIXELS_0_255.found(f"{by} is given values up to {high:.0f}; {values.seen}")
    before = steps[-2] if len(steps) > 1 else (_MEAN, _STD)
    looks_normalized = len(values.pixels) == len(before[0]) and given.undone(*before).between_0_and_1
    if looks_normalized and (len(steps) > 1 or values.spread > 2.3):
        where = f"{len(steps)} Normalize steps" if len(steps) > 1 else f"{by} is given normalised values"
        return NORMALIZED_TWICE.found(f"{where}; {values.seen}")
    return None


def _odd(mean: Tensor, std: Tensor, pixels: _Values) -> str:
    """What is odd about statistics for these pixels (0..1); nothing is, about ImageNet's, 0.5, or the pixels' own."""
    imagenet_mean, imagenet_std = _MEAN.flatten(), _STD.flatten()
    own_mean, own_std = pixels.pixels.mean(1), pixels.pixels.std(1)
    if len(mean) == 3:
        if _near(mean, imagenet_mean.flip(0), 0.004) and _near(std, imagenet_std.flip(0), 0.004):
            return "ImageNet's numbers in the order blue, green, red"
        is_swapped = _near(mean, imagenet_std, 0.01) and _near(std, imagenet_mean, 0.01)
        likes = _near(mean, own_std, 0.05) and _near(std, own_mean, 0.08)
        if is_swapped or likes and (own_mean - own_std).abs().min() > 0.1:
            return "mean and std are exchanged"
        if _near(mean, imagenet_mean, 0.12) and _near(std, imagenet_std, 0.06):
            return ""
    if (mean == 0.5).all() and (std == 0.5).all():  # to -1..1, as some weights want it
        return ""
    far, spread = ((own_mean - mean) / std).abs().max().item(), own_std / std
    if far > 1 or spread.min() < 0.5 or spread.max() > 2:
        return f"afterwards the means are up to {far:.1f} from 0, the spreads {spread.min():.2f} to {spread.max():.2f}"
    return ""


def _near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool(((a - b).abs() <= tolerance).all())


def _row(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values.flatten().tolist()) + ")"


def looks_pretrained(net: nn.Module) -> bool:
    """Whether somebody else has trained it: a trained network of a known library, or one that is partly frozen.

    An own network that was trained from 0..1 on has learned to live with it.
    """
    frozen = any(not parameter.requires_grad for parameter in net.parameters())
    return looks_trained(net) and (frozen or is_from_library(net) and not has_just_begun(net))


def has_just_begun(net: nn.Module) -> bool:
    """Whether its BatchNorm statistics can be those of a random start after a few training steps.

    They start at 1, and each step leaves 1 - momentum of what was there; a trained network has far smaller ones.
    """
    norms = [norm for norm in net.modules() if isinstance(norm, _BatchNorm) and norm.running_var is not None]
    if not norms or norms[0].momentum is None:
        return False
    steps = int(norms[0].num_batches_tracked)
    least = (1 - norms[0].momentum) ** steps * 0.999
    return 1 <= steps <= JUST_BEGUN and all(norm.running_var.min().item() >= least for norm in norms)


def is_from_library(net: nn.Module) -> bool:
    """Whether it is, or holds, a network of torchvision or timm."""
    return any(type(module).__module__.startswith(("torchvision.models.", "timm.")) for module in net.modules())


def looks_trained(net: nn.Module) -> bool:
    """Whether the weights have been trained before: by what training leaves in them and no random start has."""
    for module in net.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            return bool(module.running_mean.abs().max() > 0)
        if isinstance(module, nn.LayerNorm) and module.weight is not None:
            return bool((module.weight != 1).any())
    conv = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None or conv.bias is None:
        return any(not parameter.requires_grad for parameter in net.parameters())
    largest_at_start = conv.weight[0].numel() ** -0.5  # PyTorch's own start; VGG and SqueezeNet start with biases of 0
    return bool(conv.bias.abs().max() > 0 and conv.weight.abs().max() > 1.01 * largest_at_start)


def _normalizes_itself(net: nn.Module) -> bool:
    first = next((module for module in net.modules() if next(module.parameters(recurse=False), None) is not None), None)
    has_own = any(hasattr(module, "mean") and hasattr(module, "std") for module in net.modules())
    return has_own or isinstance(first, nn.BatchNorm2d)
