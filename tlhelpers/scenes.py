"""Drawn meadows with one to five flowers: images with a box, a class and a mask for every flower.

The files lie as in the Penn-Fudan set of torchvision's detection tutorial: `images/0001.jpg`, and `masks/0001.png`, in
which pixel value 0 is the meadow and k the k-th flower. https://pytorch.org/tutorials/intermediate/torchvision_tutorial.html
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes

from .images import load_image
from .session import Course, CourseError

# label 0 is what is no flower: detection and segmentation networks of torchvision count the background as a class
scene_classes: tuple[str, ...] = ("background", "daisy", "sunflower", "tulip")

SPLITS = ("train", "val")


class FlowerScenes(Dataset):
    """One split of the scenes under `root`: `(image, target)` by number, as torchvision's detection networks want them.

    The image is a `tv_tensors.Image`, uint8 (3, H, W). The target is a dictionary for the N flowers in it:

    - `boxes`: `tv_tensors.BoundingBoxes`, float32 (N, 4), x1 y1 x2 y2 in pixels, right and lower edge exclusive
    - `labels`: int64 (N,), places in `scene_classes`, from 1
    - `masks`: `tv_tensors.Mask`, uint8 (N, H, W), 1 where this flower is seen; a part behind another one is not in it
    - `image_id`: the number of the scene, from 0

    `transforms(image, target)` changes both: any of `torchvision.transforms.v2`, which move boxes and masks along.
    A crop may leave a flower without a pixel; `v2.SanitizeBoundingBoxes` takes such boxes out.
    Raises CourseError for files that are missing, damaged or do not belong together.

    >>> from tlhelpers.session import data_dir
    >>> scenes = FlowerScenes(data_dir() / "mini" / "meadow", "val")
    >>> len(scenes), tuple(scenes[0][0].shape), sorted(scenes[0][1])
    (30, (3, 128, 128), ['boxes', 'image_id', 'labels', 'masks'])
    """

    classes = list(scene_classes)

    def __init__(self, root: str | Path, split: str = "train", transforms: Callable | None = None) -> None:
        if split not in SPLITS:
            raise CourseError(f'split={split!r} of the flower scenes is unknown: take "train" or "val".')
        self.folder, self.split, self.transforms = Path(root) / split, split, transforms
        flowers = _annotations(Path(root) / "annotations.json", split)
        self.names = sorted(flowers)
        # the class numbers of every scene, known without opening an image
        self.labels = [[scene_classes.index(name) for name in flowers[scene]] for scene in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        try:
            index = operator.index(index)
        except TypeError as error:
            raise CourseError(
                f"scenes[{index!r}] is no single scene: take one number, scenes[0], or several: "
                "[scenes[i] for i in range(2)]."
            ) from error
        name, labels = self.names[index], self.labels[index]
        image = tv_tensors.Image(load_image(self.folder / "images" / f"{name}.jpg"))
        file = self.folder / "masks" / f"{name}.png"
        owner = _owner_map(file)
        if owner.shape != image.shape[1:] or owner.unique().tolist() != list(range(len(labels) + 1)):
            raise CourseError(
                f"{file} does not belong to its image and to annotations.json: it must have the size of the image and "
                f"hold the numbers 0 to {len(labels)}, one for each flower. {_GET_BACK}"
            )
        masks = owner == torch.arange(1, len(labels) + 1)[:, None, None]
        boxes = masks_to_boxes(masks)
        # masks_to_boxes gives the last row and column inside the mask; a box ends behind them, so that its width is
        # the number of columns and a flower of one column has a width of 1
        boxes[:, 2:] += 1
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(owner.shape)),
            "labels": torch.tensor(labels),
            "masks": tv_tensors.Mask(masks.to(torch.uint8)),
            "image_id": index % len(self),
        }
        return self.transforms(image, target) if self.transforms else (image, target)


_GET_BACK = "Get the bundled scenes back: git checkout -- data/mini/meadow"


def _annotations(file: Path, split: str) -> dict[str, list[str]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        flowers = content["flowers"][split]
        fine = content["classes"] == list(scene_classes[1:])
        fine = fine and all(set(names) <= set(scene_classes[1:]) and names for names in flowers.values())
    except FileNotFoundError as error:
        raise CourseError(f"{file} is missing: it names the flowers of every scene. {_GET_BACK}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"{file} cannot be read ({type(error).__name__}: {error}). {_GET_BACK}") from error
    if not fine or not flowers:
        raise CourseError(f"{file} names other classes than {', '.join(scene_classes[1:])}, or none. {_GET_BACK}")
    return flowers


def _owner_map(file: Path) -> torch.Tensor:
    """The mask file as int64 (H, W): load_image would make colours of the numbers."""
    try:
        with Image.open(file) as image:
            numbers = np.array(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise CourseError(f"{file} cannot be read as a mask ({error}). {_GET_BACK}") from error
    if numbers.ndim != 2:
        raise CourseError(f"{file} is a colour image: a mask holds one number per pixel (Pillow's mode L). {_GET_BACK}")
    return torch.from_numpy(numbers.astype(np.int64))


def flower_scenes(course: Course, split: str = "train", transforms: Callable | None = None) -> FlowerScenes:
    """Return the bundled scenes of one split, "train" (80) or "val" (30), in both profiles: see `FlowerScenes`.

    128 x 128 pixels, one to five flowers of three classes, partly hiding each other. The DataLoader needs a
    `collate_fn`, as every scene has another number of flowers.

    >>> course = Course("mini", torch.device("cpu"), 0, Path(__file__).parent.parent / "data", Path("unused"))
    >>> scene_classes[flower_scenes(course)[0][1]["labels"][0]] in ("daisy", "sunflower", "tulip")
    True
    """
    return FlowerScenes(course.data / "mini" / "meadow", split, transforms)


def semantic_mask(target: dict[str, Any]) -> torch.Tensor:
    """Return the class of every pixel, int64 (H, W), 0 for the background: what a segmentation network learns from.

    `target` holds `labels` (N,) and `masks` (N, H, W) as `FlowerScenes` gives them. Where masks overlap, the later one
    counts. Raises CourseError when the two are missing or their numbers differ, or for a whole item.

    >>> target = {"labels": torch.tensor([3, 1]), "masks": torch.tensor([[[1, 1, 0]], [[0, 1, 0]]])}
    >>> semantic_mask(target).tolist()
    [[3, 1, 0]]
    """
    if not isinstance(target, dict):
        raise CourseError(
            f"semantic_mask needs the target, a dictionary, not {type(target).__name__}: "
            "image, target = scenes[0], then tl.semantic_mask(target)."
        )
    labels, masks = target.get("labels"), target.get("masks")
    if labels is None or masks is None or masks.ndim != 3 or len(labels) != len(masks):
        raise CourseError("semantic_mask needs target['labels'] (N,) and target['masks'] (N, H, W) of the same N.")
    classes = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for label, mask in zip(labels.tolist(), masks, strict=True):
        classes[mask.bool()] = label
    return classes
