"""What label smoothing, mixup and CutMix do to fine-tuning on few images: accuracy, loss and calibration over seeds.

python scripts/measure_regularisation.py            every run that docs/measured/regularisation.json does not hold
python scripts/measure_regularisation.py --show     only print the section of docs/results.md

The whole resnet10 is fine-tuned on the 1,020 training images of MiniFlowers102 and measured once, after the last
epoch, on the 1,020 validation images; no epoch is chosen by them, and the test split is not used. All recipes share
images, augmentation (a shift by up to 4 of 72 pixels and a flip), epochs, batches of 32, AdamW with weight decay 0.05,
and one learning rate, 1e-3, that rises for 10 % of the steps and falls after; a seed gives all of them the same head,
order and augmentation. About 40 minutes on one thread for everything.
"""

import argparse
import sys
import time
from statistics import mean, stdev

from measuring import ROOT, Runs, markdown_table, mean_and_spread, t_quantile

sys.path[:0] = [str(ROOT)]

NAME = "regularisation"
SMOOTHING, MIXUP, CUTMIX = 0.1, 0.2, 1.0
# name: (label smoothing in the loss, mixup's alpha, CutMix's alpha)
RECIPES = {
    "plain": (0.0, 0.0, 0.0),
    "label smoothing 0.1": (SMOOTHING, 0.0, 0.0),
    "mixup 0.2": (0.0, MIXUP, 0.0),
    "CutMix 1.0": (0.0, 0.0, CUTMIX),
    "mixup 0.2 + smoothing 0.1": (SMOOTHING, MIXUP, 0.0),
}
EPOCHS, SEEDS = 8, 5
LONG_EPOCHS, LONG_SEEDS, LONG_RECIPES = 20, 3, ("plain", "mixup 0.2")
_SPLITS: dict = {}


def splits() -> dict:
    """The training images as uint8 at 72 pixels, the validation images normalised at 64; each file is opened once."""
    import torch
    from torchvision.transforms import v2

    import tlhelpers as tl

    if not _SPLITS:
        pixels = v2.Compose([v2.Resize(72), v2.CenterCrop(72), v2.PILToTensor()])
        for part in ("train", "val"):
            flowers = tl.MiniFlowers102(split=part, transform=pixels)
            images = torch.stack([flowers[i][0] for i in range(len(flowers))])
            _SPLITS[part] = images, torch.tensor(flowers.targets)
    return _SPLITS


def normalised(images):
    import torch

    import tlhelpers as tl

    _, mean_, std = tl.from_weights(tl.ResNet10_Weights.DEFAULT)
    mean_, std = (torch.tensor(values).view(3, 1, 1) for values in (mean_, std))
    return (images.float() / 255 - mean_) / std


class Views:
    """The training images as a dataset: each look is another shift by up to four pixels and a flip, normalised."""

    def __init__(self, images, labels, seed: int) -> None:
        import torch

        self.images, self.labels = images, labels
        self.generator = torch.Generator().manual_seed(seed)  # its own: a mixing recipe draws from the global one

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        import torch

        top, left, flip = torch.randint(0, 1000, (3,), generator=self.generator).tolist()
        image = self.images[index][:, top % 9 : top % 9 + 64, left % 9 : left % 9 + 64]
        return normalised(image.flip(2) if flip % 2 else image), int(self.labels[index])


def measure(recipe: str, seed: int, epochs: int) -> dict:
    """Train one network by the recipe; return what it does on the validation images and on clean training images."""
    import torch
    from torch import nn
    from torchvision import models

    import tlhelpers as tl
    from tlhelpers.training import train_one_epoch

    smoothing, mixup, cutmix = RECIPES[recipe]
    train, val = splits()["train"], splits()["val"]
    classes = len(tl.FLOWERS102_CLASSES)
    tl.seed_everything(seed)
    model = models.get_model("resnet10", weights="DEFAULT")
    tl.replace_head(model, classes)
    collate = tl.MixingCollate(classes, mixup, cutmix) if mixup or cutmix else None
    loader = tl.make_loader(Views(*train, seed), 32, train=True, seed=seed, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * len(loader)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=smoothing)
    for _ in range(epochs):
        train_loss, train_accuracy = train_one_epoch(model, loader, optimizer, loss_fn, scheduler.step)
    results = {"train_loss": train_loss, "train_accuracy": train_accuracy}
    for part, (images, labels) in {"clean_train": train, "val": val}.items():
        centre = normalised(images[:, :, 4:68, 4:68])
        plain = tl.make_loader(torch.utils.data.TensorDataset(centre, labels), 128)
        answers = tl.predict(model, plain)
        found = tl.calibration_of(answers)
        own = answers.probabilities.gather(1, answers.labels.unsqueeze(1)).clamp(min=1e-12)
        results[f"{part}_accuracy"] = found.accuracy
        results[f"{part}_loss"] = -own.log().mean().item()
        results[f"{part}_ece"] = found.ece
        results[f"{part}_confidence"] = found.mean_confidence
    return {name: round(value, 5) for name, value in results.items()}


def key(recipe: str, epochs: int, seed: int) -> str:
    return f"{recipe}, {epochs} epochs, seed {seed}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="run nothing, print the section")
    runs = Runs(NAME)
    if not parser.parse_args(arguments).show:
        start = time.perf_counter()
        # seeds in the outer loop: whenever it is stopped, the recipes have about the same number of runs
        plan = [(recipe, EPOCHS, seed) for seed in range(SEEDS) for recipe in RECIPES]
        plan += [(recipe, LONG_EPOCHS, seed) for seed in range(LONG_SEEDS) for recipe in LONG_RECIPES]
        for recipe, epochs, seed in plan:
            runs.once(
                key(recipe, epochs, seed),
                lambda recipe=recipe, epochs=epochs, seed=seed: measure(recipe, seed, epochs),
            )
        print(f"done in {time.perf_counter() - start:.0f} s", flush=True)
    print(section(runs.runs))
    return 0


def values(runs: dict, recipe: str, epochs: int, what: str) -> dict[int, float]:
    """{seed: value} of the runs that exist."""
    found = {seed: runs.get(key(recipe, epochs, seed)) for seed in range(SEEDS)}
    return {seed: run[what] for seed, run in found.items() if run is not None}


def paired(runs: dict, recipe: str, epochs: int, what: str) -> tuple[float, float, int] | None:
    """Mean difference to plain over the seeds both have, the standard error of that mean, and how many seeds."""
    own, plain = values(runs, recipe, epochs, what), values(runs, "plain", epochs, what)
    differences = [own[seed] - plain[seed] for seed in own if seed in plain]
    if len(differences) < 3:  # two equal differences by chance would look like certainty
        return None
    return mean(differences), stdev(differences) / len(differences) ** 0.5, len(differences)


def clear(difference: tuple[float, float, int]) -> bool:
    """Whether the 95 % interval of a paired difference (Student's t) leaves out zero."""
    middle, error, count = difference
    return abs(middle) > t_quantile(count) * error


def section(runs: dict) -> str:
    """The section of docs/results.md."""
    parts = [
        "## Label smoothing, mixup and CutMix",
        "",
        "resnet10, all layers fine-tuned on the 1,020 training images of MiniFlowers102, measured after the last epoch "
        "on its 1,020 validation images; the same images, augmentation, steps and learning rate for every recipe. "
        "ECE: expected calibration error, ten bins, in points; a negative confidence gap says that the model is less "
        "sure than it is right. Training accuracy is measured on the training images without mixing or augmentation.",
    ]
    for epochs in (EPOCHS, LONG_EPOCHS):
        recipes = [recipe for recipe in RECIPES if values(runs, recipe, epochs, "val_accuracy")]
        if recipes:
            parts += [
                "",
                f"### {epochs} epochs",
                "",
                _table(runs, recipes, epochs),
                "",
                _differences(runs, recipes, epochs),
            ]
    return "\n".join(parts) + "\n"


def _table(runs: dict, recipes: list[str], epochs: int) -> str:
    header = ["recipe", "seeds", "top-1", "cross-entropy", "ECE", "confidence gap", "training top-1"]
    rows = []
    for recipe in recipes:
        per_seed = {what: list(values(runs, recipe, epochs, what).values()) for what in _COLUMNS}
        gap = [a - b for a, b in zip(per_seed["val_confidence"], per_seed["val_accuracy"], strict=True)]
        loss = per_seed["val_loss"]
        spread = f" ± {stdev(loss):.3f}" if len(loss) > 1 else ""
        rows.append(
            [
                recipe,
                str(len(loss)),
                mean_and_spread(per_seed["val_accuracy"]),
                f"{mean(loss):.3f}{spread}",
                mean_and_spread(per_seed["val_ece"]),
                f"{100 * mean(gap):+.1f}",
                mean_and_spread(per_seed["clean_train_accuracy"]),
            ]
        )
    return markdown_table(header, rows)


_COLUMNS = ("val_accuracy", "val_loss", "val_ece", "val_confidence", "clean_train_accuracy")


def _differences(runs: dict, recipes: list[str], epochs: int) -> str:
    """Every recipe against plain, paired by seed, with a verdict that is computed."""
    header = ["against plain, paired by seed", "seeds", "top-1", "cross-entropy", "ECE"]
    rows, doubtful = [], []
    for recipe in recipes:
        found = {what: paired(runs, recipe, epochs, what) for what in ("val_accuracy", "val_loss", "val_ece")}
        if recipe == "plain" or None in found.values():
            continue
        cells = []
        for what, difference in found.items():
            middle, error, count = difference
            scale, digits = (1, 3) if what == "val_loss" else (100, 1)
            cells.append(
                f"{scale * middle:+.{digits}f} ± {scale * error:.{digits}f}" + ("" if clear(difference) else " (n)")
            )
        if not clear(found["val_accuracy"]):
            doubtful.append(recipe)
        rows.append([recipe, str(count), *cells])
    if not rows:
        return "Too few seeds so far for differences."
    verdict = f"In top-1 within noise: {', '.join(doubtful)}." if doubtful else "No top-1 difference is within noise."
    note = "± is the standard error of the mean difference; (n) marks what is within noise: its 95 % interval holds 0. "
    return f"{markdown_table(header, rows)}\n\n{note}{verdict}"


if __name__ == "__main__":
    sys.exit(main())
