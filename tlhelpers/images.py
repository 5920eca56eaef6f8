"""Read image files of every kind as RGB, and folders of them with one sub-folder per class.

`image_folder` is torchvision's ImageFolder with complaints a person can act on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from .session import CourseError

_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test"}


def load_image(path: str | os.PathLike) -> Image.Image:
    """Read one image file as RGB, upright.

    Greyscale, palette, CMYK and 16-bit images are converted, transparent parts become white, and the EXIF orientation
    that phones write is applied (torchvision's own loader ignores it, so such photos lie on their side).
    Raises CourseError with the path when the file cannot be read as an image.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (3, 2)).save(file)
    >>> load_image(file).mode
    'RGB'
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            return _to_rgb(ImageOps.exif_transpose(image))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise CourseError(f"{path} cannot be opened: {error.strerror}.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise CourseError(f"{path} cannot be read as an image ({reason}). Delete it or save it again.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel: convert("RGB") would turn everything above 255 white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:  # hidden colours under alpha = 0 are arbitrary: show white
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _hidden(name: str) -> bool:
    # .ipynb_checkpoints, .DS_Store, macOS's ._photo.jpg twins and __MACOSX folders hold no pictures of the data set
    return name.startswith(".") or name == "__MACOSX"


class CheckedImageFolder(ImageFolder):
    """torchvision's ImageFolder: hidden files and folders ignored, `load_image` as loader, clear errors."""

    def __init__(self, root: str | os.PathLike, transform: Callable | None = None) -> None:
        super().__init__(str(root), transform=transform, loader=load_image, is_valid_file=self._is_picture)

    def _is_picture(self, path: str) -> bool:
        inside = Path(path).relative_to(self.root).parts
        return path.lower().endswith(IMG_EXTENSIONS) and not any(_hidden(part) for part in inside)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Return the class names (sorted folder names) and the number of each."""
        folder = Path(directory)
        if not folder.is_dir():
            raise CourseError(f"There is no folder {folder}. It should hold one folder of images per class.")
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))
        if not classes:
            raise CourseError(f"{folder} holds no folders. Put the images of each class in a folder named after it.")
        if set(map(str.lower, classes)) <= _SPLIT_NAMES:
            raise CourseError(f"{folder} holds the splits {', '.join(classes)}: give one, {folder / classes[0]}.")
        for name in classes:
            if not any(self._is_picture(str(file)) for file in (folder / name).rglob("*")):
                raise CourseError(f"The class folder {folder / name} holds no images{_instead(folder / name)}.")
        return classes, {name: number for number, name in enumerate(classes)}


def _instead(folder: Path) -> str:
    endings = Counter(file.suffix.lower() or "no ending" for file in folder.rglob("*") if not _hidden(file.name))
    readable = ", ".join(ending[1:] for ending in IMG_EXTENSIONS)
    if not endings:
        return ": it is empty. Add images or remove the folder"
    found = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(3))
    return f", only {found}. Readable are {readable}"


def image_folder(root: str | os.PathLike, transform: Callable[[Image.Image], Any] | None = None) -> CheckedImageFolder:
    """Return the images under `root/<class name>/` as a dataset of (transform(image), class number).

    It has torchvision's `.classes`, `.targets` and `.samples`. Raises CourseError when the folder is missing, holds
    splits instead of classes, or a class folder holds no images. A picture that cannot be decoded is reported with
    its path when it is read. See https://pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()); (folder / "rose").mkdir()
    >>> Image.new("RGB", (4, 4)).save(folder / "rose" / "1.png")
    >>> image_folder(folder).classes
    ['rose']
    """
    return CheckedImageFolder(Path(root).expanduser(), transform)
