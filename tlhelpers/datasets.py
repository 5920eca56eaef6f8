"""The course's data sets by profile, a split that keeps the class shares, and loaders with a reproducible order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.datasets import Flowers102

from .downloads import DOWNLOAD_ERRORS, TIMEOUT_SECONDS, folder_for_download, no_endless_wait, why_download_failed
from .images import CheckedImageFolder, image_folder, load_image
from .pipeline import CachedImages, automatic_workers, innermost
from .session import Course, CourseError, data_dir

# the 102 Oxford categories in the order of their labels 0..101, spelled as torchvision spells them
FLOWERS102_CLASSES: tuple[str, ...] = tuple(
    (
        "pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily, moon "
        "orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea, spear thistle, "
        "yellow iris, globe-flower, purple coneflower, peruvian lily, balloon flower, giant white arum lily, fire "
        "lily, pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers, "
        "stemless gentian, artichoke, sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine "
        "sea holly, ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, "
        "daffodil, sword lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common "
        "dandelion, petunia, wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium, orange "
        "dahlia, pink-yellow dahlia?, cautleya spicata, japanese anemone, black-eyed susan, silverbush, californian "
        "poppy, osteospermum, spring crocus, bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose, "
        "thorn apple, morning glory, passion flower, lotus, toad lily, anthurium, frangipani, clematis, hibiscus, "
        "columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress, canna lily, hippeastrum, bee balm, ball "
        "moss, foxglove, bougainvillea, camellia, mallow, mexican petunia, bromelia, blanket flower, trumpet creeper, "
        "blackberry lily"
    ).split(", ")
)


class MiniFlowers102(Flowers102):
    """The bundled stand-in for Flowers102: same folders, splits and 102 classes, drawn images of 96 x 96 pixels.

    `root` is the folder that holds flowers-102/ (default: the bundled one). `download` is accepted and ignored.

    >>> flowers = MiniFlowers102(split="val")
    >>> len(flowers), flowers.classes[flowers[0][1]]
    (1020, 'pink primrose')
    """

    # the label files are checked against data/manifest.json by the tests, not by an md5 here
    _file_dict = {"image": ("", None), "label": ("imagelabels.mat", None), "setid": ("setid.mat", None)}
    classes = list(FLOWERS102_CLASSES)

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        root = Path(root) if root is not None else data_dir() / "mini"
        try:
            super().__init__(root, split, transform, target_transform, download=False, loader=load_image)
        except RuntimeError as error:
            missing = f"{root / 'flowers-102'} must hold jpg/, imagelabels.mat and setid.mat"
            raise CourseError(f"{missing}. Get the bundled ones back: git checkout -- data") from error
        _check_labels(self)

    @property
    def targets(self) -> list[int]:
        """The label of every image, 0..101, without opening one."""
        return self._labels


def _check_labels(dataset: Flowers102) -> None:
    # the label file counts from 1; a torchvision of 2022 forgot to subtract it, which loses class 0 and adds a 103rd
    low, high = min(dataset._labels), max(dataset._labels)
    if low < 0 or high >= len(FLOWERS102_CLASSES):
        raise CourseError(
            f"the flower labels run from {low} to {high}, expected 0..101: install torchvision 0.22 or newer."
        )


def flowers102(course: Course, split: str = "train", transform: Callable | None = None) -> Flowers102:
    """Return one split ("train", "val" or "test") of Flowers102: bundled in mini, the real photographs in full.

    The real set (345 MB) is downloaded once into `course.downloads` and checked. When that fails, what had arrived
    is removed, a message says why, and this and every later call with the same `course` gives the bundled set.

    >>> course = Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused"))
    >>> len(flowers102(course, "test"))
    1020
    """
    if course.profile == "full" and "flowers102" not in course.fallen_back:
        try:
            return _real_flowers102(course.downloads, split, transform)
        except DOWNLOAD_ERRORS as error:
            course.fallen_back.add("flowers102")  # one split real and the next one bundled would be a silent disaster
            print(f"Flowers102 could not be downloaded: {why_download_failed(error)}. Nothing incomplete was kept.")
            print("Using the bundled mini flowers instead; to try again, run tl.start() and then this cell.")
    return MiniFlowers102(course.data / "mini", split, transform)


def _real_flowers102(downloads: Path, split: str, transform: Callable | None) -> Flowers102:
    final = downloads / "flowers-102"
    if not _complete(downloads):
        with folder_for_download(final) as folder, no_endless_wait(TIMEOUT_SECONDS):
            Flowers102(folder, download=True)
            (folder / final.name / Flowers102._file_dict["image"][0]).unlink(missing_ok=True)  # unpacked: free 345 MB
    dataset = Flowers102(downloads, split, transform, loader=load_image)
    dataset.classes, dataset.targets = list(FLOWERS102_CLASSES), dataset._labels
    _check_labels(dataset)
    return dataset


def _complete(downloads: Path) -> bool:
    # torchvision asks only for a folder jpg/; an unpacking that was interrupted leaves one with images missing
    try:
        splits = [Flowers102(downloads, split) for split in Flowers102._splits_map]
        return all(Path(file).is_file() for split in splits for file in split._image_files)
    except DOWNLOAD_ERRORS:
        return False


def five_flowers(course: Course, transform: Callable | None = None) -> CheckedImageFolder:
    """Return the five bundled classes daisy, dandelion, rose, sunflower and tulip, 120 images each, not yet split.

    >>> course = Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused"))
    >>> five_flowers(course).classes
    ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
    """
    return image_folder(course.data / "mini" / "five-flowers", transform)


def microscopy(course: Course, transform: Callable | None = None) -> CheckedImageFolder:
    """Return the bundled microscopy-like set, 6 classes of 120 images, not yet split: far from any flower.

    >>> course = Course("mini", torch.device("cpu"), 0, data_dir(), Path("unused"))
    >>> len(microscopy(course).classes)
    6
    """
    return image_folder(course.data / "mini" / "microscopy", transform)


def stratified_split(
    targets: Sequence[int], fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
) -> list[list[int]]:
    """Split 0 .. len(targets)-1 into disjoint index lists, each with the class shares of the whole. Opens no image.

    `targets` are class numbers (`dataset.targets`). Every class gives every part at least one image. The same seed
    gives the same split. Use the lists with torch.utils.data.Subset.

    >>> train, val = stratified_split([0] * 8 + [1] * 4, (0.75, 0.25))
    >>> len(train), len(val), sum(index < 8 for index in val)
    (9, 3, 2)
    """
    if hasattr(targets, "targets") or isinstance(targets, Dataset):
        raise CourseError("stratified_split takes the class numbers, not the dataset: give it dataset.targets.")
    labels = np.asarray(targets)
    if labels.ndim != 1 or not len(labels):
        raise CourseError(f"targets of shape {labels.shape} cannot be split: give one class number per image.")
    shares = np.asarray(fractions, dtype=float)
    if not len(shares) or shares.min() <= 0 or abs(shares.sum() - 1) > 1e-6:
        raise CourseError(f"fractions={tuple(fractions)} must be above 0 and sum to 1, for example (0.6, 0.2, 0.2).")
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in shares]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < len(shares):
            raise CourseError(f"class {label} has {len(members)} images, too few for {len(shares)} parts.")
        start = 0
        for part, count in zip(parts, _share_out(len(members), shares), strict=True):
            part.extend(members[start : start + count].tolist())
            start += count
    return [sorted(part) for part in parts]


def _share_out(total: int, shares: np.ndarray) -> list[int]:
    # one image to each part first, then always to the part that lacks most: counts add up and no part stays empty
    counts = np.ones(len(shares), dtype=int)
    for _ in range(total - len(shares)):
        counts[np.argmax(np.round(shares * total - counts, 9))] += 1
    return counts.tolist()


def make_loader(
    dataset: Dataset[Any],
    batch_size: int = 32,
    train: bool = False,
    seed: int = 0,
    num_workers: int | None = 0,
    collate_fn: Callable | None = None,
) -> DataLoader:
    """Return a DataLoader: shuffled for training, in order otherwise.

    The order of the images depends on `seed` and the epoch alone, not on `num_workers`; random augmentation does
    depend on it, as each worker draws its own numbers. That is why the default is 0 and not None, the number that
    `automatic_workers` finds best here. Workers start anew for each epoch, with new seeds from the loader's generator:
    a run that is continued from a checkpoint then draws the numbers it would have drawn. Starting two takes
    0.1 to 0.2 seconds, or seconds where each is a new program, so they pay off only for epochs that read much longer.

    A last training batch of a single image is left out, because BatchNorm cannot train on one. `collate_fn` makes a
    batch out of a list of samples (default: PyTorch's). Raises CourseError for an empty dataset, and for workers with
    images that are cached for a GPU, which only the process that owns the GPU can use.

    >>> loader = make_loader(list(range(10)), batch_size=4)
    >>> [len(batch) for batch in loader]
    [4, 4, 2]
    """
    count = len(dataset)
    if count == 0:
        raise CourseError("the dataset is empty: check the folder, the split and the indices it was made from.")
    if num_workers is None:
        num_workers = automatic_workers(dataset)
    if batch_size < 1 or num_workers < 0:
        raise CourseError(f"batch_size={batch_size} must be at least 1 and num_workers={num_workers} at least 0.")
    inside = innermost(dataset)
    on_device = isinstance(inside, CachedImages) and inside.device.type != "cpu"
    if on_device and num_workers > 0:
        raise CourseError(
            f"num_workers={num_workers}, but the batches of these cached images are finished on a GPU, which worker "
            'processes cannot share: use num_workers=0, or cache_images(..., device="cpu").'
        )
    # the order has a generator of its own: the loader draws worker seeds from the other one, at times that depend
    # on the number of workers. Workers seed Python, NumPy and torch from those, so no worker_init_fn is needed.
    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(seed)) if train else None
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        generator=torch.Generator().manual_seed(seed + 1),
        num_workers=num_workers,
        collate_fn=collate_fn,
        drop_last=train and count > batch_size and count % batch_size == 1,
        pin_memory=torch.cuda.is_available() and not on_device,
    )
