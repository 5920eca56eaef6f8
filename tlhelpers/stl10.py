"""STL-10: ten everyday classes at 96 x 96 pixels, bundled as drawings or downloaded as photographs, in one layout.

The layout is the original's: `stl10_binary/train_X.bin` and `test_X.bin` hold one unsigned byte per value, image
after image, colour plane after plane, and within a plane column after column; `train_y.bin` and `test_y.bin` hold one
byte per image, 1 to 10. Source: A. Coates, H. Lee, A. Y. Ng, An analysis of single-layer networks in unsupervised
feature learning, AISTATS 2011, and https://pytorch.org/vision/stable/generated/torchvision.datasets.STL10.html.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torchvision.datasets import STL10

from .downloads import DOWNLOAD_ERRORS, TIMEOUT_SECONDS, folder_for_download, no_endless_wait, why_download_failed
from .session import Course, CourseError, data_dir

# the ten classes in the order of their labels 0..9
STL10_CLASSES: tuple[str, ...] = tuple("airplane bird car cat deer dog horse monkey ship truck".split())

IMAGE_BYTES = 3 * 96 * 96
DOWNLOAD_BYTES = 2_640_397_119  # the one archive of the real set
UNPACKED_BYTES = 3_200_000_000  # what lies beside it for a moment; then 0.36 GB stay


class LabelledSTL10(STL10):
    """torchvision's STL10 without its 100,000 unlabeled images, which the course does not use and does not keep.

    Splits "train" (5,000 images) and "test" (8,000); torchvision's checksums. `root` holds stl10_binary/.
    """

    train_list = [entry for entry in STL10.train_list if not entry[0].startswith("unlabeled")]
    splits = ("train", "test")

    @property
    def targets(self) -> list[int]:
        """The label of every image, 0..9, without decoding one."""
        return self.labels.tolist()


class MiniSTL10(LabelledSTL10):
    """The bundled stand-in for STL10: the same files, splits and ten classes, drawn images of 96 x 96 pixels.

    400 images in "train", 200 in "test", equally many per class. `root` is the folder that holds stl10_binary/
    (default: the bundled one). `folds` (0..9) picks one of ten balanced parts of 80 training images, as the original's
    fold_indices.txt does with 1,000. `download` is accepted and ignored.

    >>> things = MiniSTL10(split="test")
    >>> len(things), things.classes[:2], things[0][0].size
    (200, ['airplane', 'bird'], (96, 96))
    """

    # the files are checked against data/manifest.json by the tests, not by an md5 here
    train_list = [[name, None] for name, _ in LabelledSTL10.train_list]
    test_list = [[name, None] for name, _ in STL10.test_list]

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        folds: int | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        _known_split(split)
        root = Path(root) if root is not None else data_dir() / "mini"
        _look_at_files(root / self.base_folder, split)
        super().__init__(root, split, folds, transform, target_transform, download=False)


def _known_split(split: str) -> None:
    if split not in LabelledSTL10.splits:
        raise CourseError(f"split={split!r} of STL-10 is not in the course: choose 'train' or 'test'.")


def _look_at_files(folder: Path, split: str) -> None:
    names = [f"{part}_{kind}.bin" for part in LabelledSTL10.splits for kind in "Xy"] + ["class_names.txt"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CourseError(f"{folder} lacks {', '.join(missing)}. Get the bundled ones back: git checkout -- data")
    images, rest = divmod((folder / f"{split}_X.bin").stat().st_size, IMAGE_BYTES)
    labels = np.fromfile(folder / f"{split}_y.bin", dtype=np.uint8)
    if rest or images != len(labels) or not images or labels.min() < 1 or labels.max() > len(STL10_CLASSES):
        raise CourseError(
            f"{folder}: {split}_X.bin and {split}_y.bin must hold {IMAGE_BYTES} bytes and one label from 1 to 10 per "
            f"image, found {images} images and {rest} bytes more, {len(labels)} labels. "
            "Get the bundled ones back: git checkout -- data"
        )


def stl10(course: Course, split: str = "train", transform: Callable | None = None) -> LabelledSTL10:
    """Return one split ("train" or "test") of STL-10: bundled drawings in mini, the real photographs in full.

    The dataset yields (transform(PIL image of 96 x 96), class number 0..9) and has `.targets` and `.classes`. There
    is no validation split: take it from "train" with `stratified_split(dataset.targets)`.

    The real set is one archive of 2.6 GB, fetched once into `course.downloads` and checked; it needs 6 GB of room
    while it is unpacked, and 0.4 GB stay. When that fails, what had arrived is removed, a message says why, and this
    and every later call with the same `course` gives the bundled set. Raises CourseError for another split.

    >>> import torch
    >>> course = Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused"))
    >>> len(stl10(course)), len(stl10(course, "test"))
    (400, 200)
    """
    _known_split(split)
    if course.profile == "full" and "stl10" not in course.fallen_back:
        try:
            return _real_stl10(course.downloads, split, transform)
        except DOWNLOAD_ERRORS as error:
            course.fallen_back.add("stl10")  # one split real and the next one bundled would be a silent disaster
            print(f"STL-10 could not be downloaded: {why_download_failed(error)}. Nothing incomplete was kept.")
            print("Using the bundled mini STL-10 instead; to try again, run tl.start() and then this cell.")
    return MiniSTL10(course.data / "mini", split, transform=transform)


def _real_stl10(downloads: Path, split: str, transform: Callable | None) -> LabelledSTL10:
    final = downloads / STL10.base_folder
    if not _complete(downloads):
        print(f"STL-10: downloading {DOWNLOAD_BYTES / 1e9:.1f} GB to {downloads}, once. This takes minutes to hours.")
        with folder_for_download(final) as folder, no_endless_wait(TIMEOUT_SECONDS):
            if shutil.disk_usage(folder).free < DOWNLOAD_BYTES + UNPACKED_BYTES:
                raise OSError(errno.ENOSPC, "STL-10 needs 6 GB for a moment", str(folder))
            LabelledSTL10(folder, download=True)  # reads the labels and images: what cannot be read fails here
            if not _complete(folder):  # torchvision checks the archive, and ignores what it finds after unpacking
                raise EOFError  # named "cut short or damaged" below
            (folder / final.name / "unlabeled_X.bin").unlink(missing_ok=True)  # 2.8 GB that no lesson reads
    return LabelledSTL10(downloads, split, transform=transform)


def _complete(downloads: Path) -> bool:
    try:
        LabelledSTL10(downloads, "test")  # compares the md5 of all four files with torchvision's
    except DOWNLOAD_ERRORS:
        return False
    return True
