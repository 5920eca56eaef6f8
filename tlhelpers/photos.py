"""Ask a trained model about the photos in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from .evaluation import to_device
from .freezing import preserved_modes
from .images import load_image
from .models import device_of
from .session import CourseError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_PIXELS = 256  # a phone's photo has ten million pixels, a grid of them needs a few thousand each


@dataclass(frozen=True)
class PhotoPredictions:
    """What `predict_photos` found, in the order of the file names.

    >>> found = PhotoPredictions([("a.jpg", [("rose", 0.9), ("tulip", 0.1)])], [("b.txt", "not an image")], [])
    >>> print(found.table())
    a.jpg  rose 90.0%, tulip 10.0%
    skipped:
    b.txt  not an image
    """

    rows: list[tuple[str, list[tuple[str, float]]]]  # file name, and its most probable classes, the first one first
    skipped: list[tuple[str, str]]  # file name, and why it was not asked about
    thumbnails: list[Image.Image]  # one per row, as small pictures

    def table(self) -> str:
        """Return one line per photo with its classes and their probabilities, then the files that were skipped."""
        width = max(len(name) for name, _ in [*self.rows, *self.skipped])
        guesses = ((name, ", ".join(f"{label} {share:.1%}" for label, share in top)) for name, top in self.rows)
        lines = [f"{name:{width}}  {text}" for name, text in guesses]
        if self.skipped:
            lines += ["skipped:", *(f"{name:{width}}  {reason}" for name, reason in self.skipped)]
        return "\n".join(lines)

    def show(self, ncols: int = 5) -> Figure:
        """Show every photo with its file name, the predicted class and the probability."""
        from .plots import show_images

        titles = [f"{name}\npredicted: {top[0][0]} {top[0][1]:.0%}" for name, top in self.rows]
        return show_images(self.thumbnails, titles, ncols=ncols)


def predict_photos(
    model: nn.Module,
    folder: str | Path,
    transform: Callable[[Image.Image], Tensor],
    classes: Sequence[str],
    top: int = 3,
) -> PhotoPredictions:
    """Return the `top` most probable classes of every picture in a folder (not in folders below it).

    Pictures of any kind Pillow reads (JPEG, PNG, WebP, ...) are turned upright and into RGB, see `load_image`, then
    go through `transform`, the one used for validation. Files that are no pictures are skipped and listed with the
    reason; hidden ones are ignored. The model is asked in eval mode and its modes are put back. Raises `CourseError`
    for a folder that is missing or holds no picture, and when the model does not give one score per class.

    >>> import tempfile; folder = Path(tempfile.mkdtemp()); Image.new("RGB", (8, 8)).save(folder / "my.png")
    >>> predict_photos(nn.Flatten(), folder, lambda image: torch.tensor([[0.0, 9.0]]), ["rose", "tulip"], top=1).rows
    [('my.png', [('tulip', 0.99...)])]
    """
    files = _files(Path(folder).expanduser())
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise CourseError(f"top={top!r} must be a whole number of at least 1.")
    rows, skipped, thumbnails = [], [], []
    with preserved_modes(model), torch.no_grad():
        model.eval()
        for file in files:
            try:
                image = load_image(file)
            except CourseError as problem:
                skipped.append((file.name, _why(file, problem)))
                continue
            shares, numbers = _probabilities(model, transform(image), classes).topk(min(top, len(classes)))
            rows.append((file.name, [(classes[i], p) for i, p in zip(numbers.tolist(), shares.tolist(), strict=True)]))
            image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
            thumbnails.append(image)
    if not rows:
        names = ", ".join(f"{name} ({reason})" for name, reason in skipped[:3])
        raise CourseError(f"{folder} holds no readable picture, only {names}: put JPEG or PNG files there.")
    return PhotoPredictions(rows, skipped, thumbnails)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CourseError(f"There is no folder {folder}: create it, put your photos into it, or correct the name.")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.is_file()]
    if not files:
        inside = [entry.name for entry in entries if entry.is_dir()]
        hint = f" It holds the folders {', '.join(inside[:3])}: name one of them." if inside else ""
        raise CourseError(f"The folder {folder} holds no files: put photos into it (JPEG, PNG, WebP).{hint}")
    return files


def _why(file: Path, problem: CourseError) -> str:
    if file.suffix.lower() in (".heic", ".heif"):
        return "HEIC, the format of iPhones, cannot be read: save the photo as JPEG"
    # load_image names the whole path; the name alone is in the list already
    return str(problem).removeprefix(f"{file} ").removesuffix(" Delete it or save it again.")


def _probabilities(model: nn.Module, picture: Any, classes: Sequence[str]) -> Tensor:
    """Return (C,) probabilities of one transformed picture."""
    if not isinstance(picture, Tensor) or not picture.is_floating_point():
        raise CourseError(
            f"The transform gives {type(picture).__name__}, not a float tensor: use the transform the model was "
            "validated with, such as weights.transforms()."
        )
    scores = model(to_device(picture.unsqueeze(0), device_of(model)))
    if not isinstance(scores, Tensor) or scores.shape != (1, len(classes)):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise CourseError(f"For one photo the model gives {shape}, not (1, {len(classes)}): one score per class name.")
    return scores.float().softmax(dim=1)[0].cpu()
