"""What the recipes share: where the images come from, how they are split, where figures go, and the one test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..datasets import FLOWERS102_CLASSES, five_flowers, flowers102, make_loader, stratified_split
from ..evaluation import Metrics, accuracy_interval, evaluate
from ..history import History
from ..images import image_folder, load_image
from ..pipeline import CachedImages, cache_images
from ..session import Course, CourseError

# what the five bundled classes are called among the 102 Oxford categories
FIVE_OF_102 = {
    "daisy": "oxeye daisy",
    "dandelion": "common dandelion",
    "rose": "rose",
    "sunflower": "sunflower",
    "tulip": "siam tulip",
}


@dataclass(frozen=True)
class Setup:
    """What the command line decided: the course (profile, device, seed), where files go, and the two options.

    >>> Setup(course=None, out=Path("build"), epochs=3).epochs
    3
    """

    course: Course
    out: Path
    data: Path | None = None  # a folder of images instead of the recipe's own
    epochs: int | None = None  # None: the recipe's number


class Pictures(Dataset):
    """Image files with class numbers: a dataset of (transform(image), class number).

    The transform belongs to the view, not to the files: `with_transform` gives another view of the same files, so that
    validation images are never augmented because training images are.

    >>> rows = Pictures(["a.jpg", "b.jpg"], [0, 1], ["ant", "bee"])
    >>> rows.part([1]).targets, len(rows)
    ([1], 2)
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        targets: Sequence[int],
        classes: Sequence[str],
        transform: Callable | None = None,
    ) -> None:
        self.files, self.targets = list(files), list(targets)
        self.classes, self.transform = list(classes), transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = load_image(self.files[index])
        return (self.transform(image) if self.transform else image), self.targets[index]

    def part(self, indices: Sequence[int]) -> Pictures:
        """Return the images with these numbers."""
        chosen = [self.files[i] for i in indices], [self.targets[i] for i in indices]
        return Pictures(*chosen, self.classes, self.transform)

    def with_transform(self, transform: Callable | None) -> Pictures:
        """Return the same files with another transform."""
        return Pictures(self.files, self.targets, self.classes, transform)

    def only(self, names: Sequence[str]) -> Pictures:
        """Return the images of the classes named, numbered 0, 1, ... in that order."""
        number = {self.classes.index(name): new for new, name in enumerate(names)}
        chosen = self.part([i for i, label in enumerate(self.targets) if label in number])
        return Pictures(chosen.files, [number[label] for label in chosen.targets], names, self.transform)


Images = Pictures | CachedImages


def three_parts(setup: Setup, classes: Sequence[str] | None = None) -> list[Images]:
    """Return (training, validation, test) images: 80, 10 and 10 per cent of every class, the same for the same seed.

    They come from the folder of `--data`; by default the five bundled flowers (mini), or the same five out of the real
    Flowers102, all its splits pooled (full). `classes` keeps some of the five. A folder that holds train/ and val/ is
    taken as it is, and val/ is halved: one half chooses the epoch, the other is the test.

    >>> import torch
    >>> from tlhelpers.session import data_dir
    >>> mini = Setup(Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused")), Path("unused"))
    >>> [len(part) for part in three_parts(mini, classes=("dandelion", "sunflower"))]
    [192, 24, 24]
    """
    seed = setup.course.seed
    if setup.data is not None and all((setup.data / name).is_dir() for name in ("train", "val")):
        train, held_out = folder_of_pictures(setup.data / "train"), folder_of_pictures(setup.data / "val", least=2)
        if train.classes != held_out.classes:
            raise CourseError(
                f"--data {setup.data}: train/ holds the classes {', '.join(train.classes)}, val/ holds "
                f"{', '.join(held_out.classes)}. Both need the same folders."
            )
        halves = stratified_split(held_out.targets, (0.5, 0.5), seed)
        parts = [train, *(held_out.part(half) for half in halves)]
    else:
        everything = folder_of_pictures(setup.data, least=3) if setup.data is not None else _five(setup.course)
        if classes is not None and setup.data is None:
            everything = everything.only(classes)
        parts = [everything.part(part) for part in stratified_split(everything.targets, (0.8, 0.1, 0.1), seed)]
    return [kept_in_memory(setup.course, part) for part in parts]


def folder_of_pictures(folder: Path, least: int = 1) -> Pictures:
    """Return the images of a folder that holds a folder per class: at least two, each with `least` images.

    >>> from tlhelpers.session import data_dir
    >>> len(folder_of_pictures(data_dir() / "mini" / "microscopy"))
    720
    """
    found = image_folder(folder)
    if len(found.classes) < 2:
        raise CourseError(
            f"--data {folder} holds one class only, {found.classes[0]}: add a folder with the images of a second class."
        )
    for number, name in enumerate(found.classes):
        if (count := found.targets.count(number)) < least:
            raise CourseError(
                f"--data {folder}: the class {name} has {count} images, too few to split: it needs at least {least}."
            )
    return Pictures([file for file, _ in found.samples], found.targets, found.classes)


def flowers102_split(course: Course, split: str) -> Images:
    """Return one official split of Flowers102 (mini: the bundled one).

    >>> import torch
    >>> from tlhelpers.session import data_dir
    >>> len(flowers102_split(Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused")), "val"))
    1020
    """
    return kept_in_memory(course, _flowers102(course, split))


def _flowers102(course: Course, split: str) -> Pictures:
    found = flowers102(course, split)
    return Pictures(found._image_files, found.targets, FLOWERS102_CLASSES)


def _five(course: Course) -> Pictures:
    if course.profile == "full":
        splits = [_flowers102(course, split) for split in ("train", "val", "test")]
        if "flowers102" not in course.fallen_back:
            files, targets = ([item for one in splits for item in getattr(one, name)] for name in ("files", "targets"))
            pooled = Pictures(files, targets, FLOWERS102_CLASSES).only(list(FIVE_OF_102.values()))
            return Pictures(pooled.files, pooled.targets, list(FIVE_OF_102))
    found = five_flowers(course)
    return Pictures([file for file, _ in found.samples], found.targets, found.classes)


def kept_in_memory(course: Course, images: Any) -> Any:
    """In mini, decode every image once, at 96 pixels (as the bundled ones have); in full, leave the files on disk.

    >>> import torch
    >>> full = Course("full", torch.device("cpu"), 0, Path("data"), Path("unused"))
    >>> kept_in_memory(full, ["as it was"])
    ['as it was']
    """
    return cache_images(images, size=96) if course.profile == "mini" else images


def loader_for(setup: Setup, images: Images, transform: Callable, train: bool = False, **options: Any) -> DataLoader:
    """Return a loader of this view of the images; worker processes read where files are read.

    Two loaders of one part are two views: training augments, validation does not. `options` go to `make_loader`.

    >>> import torch
    >>> setup = Setup(Course("mini", torch.device("cpu"), 0, Path("data"), Path("unused")), Path("unused"))
    >>> len(loader_for(setup, Pictures(["a.jpg"] * 40, [0] * 40, ["ant"]), None))
    2
    """
    workers = 0 if setup.course.profile == "mini" else None
    options = {"seed": setup.course.seed, "num_workers": workers} | options
    return make_loader(images.with_transform(transform), train=train, **options)


def save_figure(setup: Setup, figure: Any, name: str) -> Path:
    """Write a figure as PNG into the folder of `--out`, say where, and forget it.

    >>> import matplotlib.pyplot as plt
    >>> import tempfile
    >>> save_figure(Setup(None, Path(tempfile.mkdtemp())), plt.figure(), "empty.png").name
    Figure: .../empty.png
    'empty.png'
    """
    import matplotlib.pyplot as plt

    file = _room_in(setup.out) / name
    figure.savefig(file, dpi=110)
    plt.close(figure)
    print(f"Figure: {file.as_posix()}")
    return file


def _room_in(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"--out {folder} cannot be a folder ({error.strerror}): name another one.") from error
    return folder


def the_one_test(model: nn.Module, loader: DataLoader) -> Metrics:
    """Measure on images that chose nothing, print the accuracy with its 95 % interval, and return both.

    >>> import torch
    >>> rows = [(torch.eye(2)[i % 2], i % 2) for i in range(50)]
    >>> the_one_test(nn.Identity(), DataLoader(rows, 10)).n
    Test accuracy 1.000 on 50 images that chose nothing (95 % interval 0.929 to 1.000).
    50
    """
    metrics = evaluate(model, loader)
    low, high = accuracy_interval(round(metrics.accuracy * metrics.n), metrics.n)
    print(
        f"Test accuracy {metrics.accuracy:.3f} on {metrics.n} images that chose nothing "
        f"(95 % interval {low:.3f} to {high:.3f})."
    )
    return metrics


def val_accuracy(history: History) -> float:
    """Return the validation accuracy of the best epoch, in 0..1; 0 for a run that finished no epoch.

    >>> val_accuracy(History())
    0.0
    """
    return history.best().get("val_accuracy", 0.0)
