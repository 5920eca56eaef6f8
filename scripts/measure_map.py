"""Measure which strategy suits how many training images, near to the source and far from it (lesson 04).

python scripts/measure_map.py            every run that docs/measured/map.json does not hold yet (about 40 minutes)

Grid: 2, 5, 10, 40 training images per class x a near and a far target x scratch, frozen, gradual, full x four seeds.
Near: twelve look-alike flowers, drawn anew by data/render_flowers.py, none of them a bundled image. Far: the bundled
microscopy set. A seed decides the training images, the new head, the order and (scratch) the first weights.

Every strategy gets STEPS optimiser steps of up to BATCH images without augmentation, with warm-up and decay in one
cycle (for each phase), and its network is read once, after the last step: no epoch is picked. Rates are the best of a
pilot at PILOT_IMAGES images per class, with another seed, scored on images that are used for nothing else.

The runs called "lesson ..." are what the lesson repeats in a minute: LESSON_SIZE images per class, LESSON_STEPS steps,
near on bundled images (training images from the train split of MiniFlowers102, scored on its val split).
"""

import io
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import torch
from measuring import ROOT, Runs, markdown_table, mean_and_spread, t_quantile
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset
from torchvision import models

sys.path[:0] = [str(ROOT), str(ROOT / "data")]
import tlhelpers as tl  # noqa: E402

NAME = "map"
ARCH = "resnet10"
SIZES, TARGETS, SEEDS = (2, 5, 10, 40), ("near", "far"), (0, 1, 2, 3)
STRATEGIES = ("scratch", "frozen", "gradual", "full")
STEPS, BATCH = 100, 16
PILOT_IMAGES, PILOT_SEED = 10, 100
LESSON_SIZE, LESSON_STEPS, LESSON_STRATEGIES = 5, 40, ("frozen", "full", "two phases", "gradual")
# a class's images: those that may be drawn for training, from the first cut on the pilot's, from the second held out
CUTS = {"near": (50, 60), "far": (60, 80), "lesson near": (10, 10), "lesson far": (60, 80)}
DRAWN, HELD_OUT = 100, 40  # images per class: drawn for near; held out near and far
# twelve of the daisy family: alike enough that colour alone does not settle it
NEAR_CLASSES = (
    "mexican aster, oxeye daisy, black-eyed susan, gazania, osteospermum, barbeton daisy, blanket flower, "
    "purple coneflower, sunflower, marigold, english marigold, bishop of llandaff"
).split(", ")
# rates to choose from (scratch: the data card's choice); a phase that trains the head alone takes that of frozen
RATES = {"frozen": [3e-3, 1e-2], "full": [3e-4, 1e-3], "gradual": [3e-4, 1e-3], "scratch": [1e-3]}
DRAWINGS = (
    Path(tempfile.gettempdir()) / "tlhelpers_map_near.pt"
)  # drawing takes minutes, so a resumed script reads this
CLASSES = {"near": 12, "far": 6, "lesson near": 12, "lesson far": 6}
TITLES = {"near": "near: twelve flowers of the daisy family", "far": "far: six kinds of microscopy images"}


@cache
def images(target: str) -> Tensor:
    """All images of a target: (classes, images per class, 3, 64, 64), normalised."""
    preset = models.get_model_weights(ARCH).DEFAULT.transforms()
    if target == "lesson near":
        splits = [tl.MiniFlowers102(split=split, transform=preset) for split in ("train", "val")]
        return torch.stack([torch.cat([of_class(f, f.classes.index(n)) for f in splits]) for n in NEAR_CLASSES])
    if target.endswith("far"):
        microscopy = tl.image_folder(tl.data_dir() / "mini" / "microscopy", preset)
        return torch.stack([of_class(microscopy, label) for label in range(CLASSES[target])])
    if DRAWINGS.exists():
        return torch.load(DRAWINGS, weights_only=True)
    from build_images import generator, jpeg, render_flowers

    def photograph(name: str, number: int) -> Tensor:
        file = io.BytesIO(jpeg(render_flowers.render(name, generator("map of lesson 04", name, number))))
        return preset(Image.open(file).convert("RGB"))

    drawn = torch.stack([torch.stack([photograph(name, k) for k in range(DRAWN)]) for name in NEAR_CLASSES])
    torch.save(drawn, DRAWINGS)
    return drawn


def of_class(dataset: Dataset, label: int) -> Tensor:
    """The images of one class in the data set's order."""
    return torch.stack([dataset[i][0] for i, target in enumerate(dataset.targets) if target == label])


def part(target: str, which: str, per_class: int | None = None, seed: int = 0) -> TensorDataset:
    """The training images that a seed draws, or all images of the "pilot" or the "held out" part."""
    every, (first, second) = images(target), CUTS[target]
    if which == "train":
        generator = torch.Generator().manual_seed(seed)
        chosen = [torch.randperm(first, generator=generator)[:per_class] for _ in every]
    else:
        chosen = [torch.arange(every.shape[1])[slice(first, second) if which == "pilot" else slice(second, None)]]
        chosen *= len(every)
    rows = torch.cat([of_one[some] for of_one, some in zip(every, chosen, strict=True)])
    return TensorDataset(rows, torch.arange(len(every)).repeat_interleave(len(chosen[0])))


def phases(strategy: str, rates: dict[str, float], steps: int) -> list[tuple[str, int, float]]:
    """(first stage that trains, steps, rate) of each phase: the same number of steps altogether for every strategy."""
    if strategy == "frozen":
        return [("head", steps, rates["frozen"])]
    if strategy == "gradual":
        third, rate = steps // 3, rates["gradual"]
        return [("head", third, rates["frozen"]), ("layer4", third, rate), ("stem", steps - 2 * third, rate)]
    if strategy == "two phases":  # the head first, then everything: lesson 03
        return [("head", steps // 2, rates["frozen"]), ("stem", steps - steps // 2, rates["gradual"])]
    return [("stem", steps, rates[strategy])]


def measure(
    target: str,
    per_class: int,
    strategy: str,
    seed: int,
    rates: dict[str, float],
    scored_on: str = "held out",
    steps: int = STEPS,
) -> dict:
    """Train once; return accuracy and loss on the part `scored_on`, and the seconds of computing."""
    train, scored = part(target, "train", per_class, seed), part(target, scored_on)
    tl.seed_everything(seed)
    model = models.get_model(ARCH, weights=None if strategy == "scratch" else "DEFAULT")
    tl.replace_head(model, CLASSES[target])
    batch, began = min(BATCH, len(train)), time.process_time()
    look = DataLoader(TensorDataset(*train[:batch]), batch)  # fit wants a validation part; nothing is chosen by it
    for start, some_steps, rate in phases(strategy, rates, steps):
        # one epoch of exactly so many steps: the sampler goes through all images in a new order again and again
        sampler = RandomSampler(train, num_samples=some_steps * batch, generator=torch.Generator().manual_seed(seed))
        loader = DataLoader(train, batch, sampler=sampler, generator=torch.Generator().manual_seed(seed))
        tl.fit_gradually(
            model, loader, look, [tl.Phase(start, epochs=1, lr=rate)],
            scheduler=one_cycle, verbose=False,
        )  # fmt: skip
    seconds = time.process_time() - began
    metrics = tl.evaluate(model, DataLoader(scored, 96))
    return {"accuracy": round(metrics.accuracy, 4), "loss": round(metrics.loss, 3), "seconds": round(seconds, 1)}


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    rates = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps, pct_start=0.1)


def best_rate(runs: dict, strategy: str) -> float:
    """The rate whose pilot accuracy, averaged over near and far, is highest."""

    def score(rate: float) -> float:
        return mean(runs[pilot_key(target, strategy, rate)]["accuracy"] for target in TARGETS)

    return max(RATES[strategy], key=score) if len(RATES[strategy]) > 1 else RATES[strategy][0]


def pilot_key(target: str, strategy: str, rate: float) -> str:
    return f"pilot|{target}|{strategy}|{rate:g}"


def cell(runs: dict, target: str, per_class: int, strategy: str, figure: str = "accuracy") -> list[float]:
    """One number per seed that has been run."""
    keys = [f"{target}|{per_class}|{strategy}|{seed}" for seed in SEEDS]
    return [runs[key][figure] for key in keys if key in runs]


def as_good_as_the_best(values: dict[str, list[float]]) -> list[str]:
    """The strategies whose mean lies within noise of the highest mean, the best first.

    A seed gives every strategy the same training images, so the strategies are compared seed by seed. Noise: the mean
    gap to the best is inside its 95 % interval round 0 (Student's t, which is wide for few seeds).

    >>> as_good_as_the_best({"a": [0.5, 0.56, 0.54], "b": [0.53, 0.53, 0.57], "c": [0.1, 0.12, 0.14]})
    ['b', 'a']
    """
    order = sorted(values, key=lambda name: -mean(values[name]))
    best = values[order[0]]

    def is_near(other: list[float]) -> bool:
        gaps = [a - b for a, b in zip(best, other, strict=False)]  # of a stopped script: the seeds that both have
        return mean(gaps) <= t_quantile(len(gaps)) * stdev(gaps) / len(gaps) ** 0.5

    return [name for name in order if is_near(values[name])]


def section(runs: dict) -> str:
    """The markdown of this script's part of docs/results.md."""
    lines = [
        "## How many images, how far from the source: which strategy?",
        "",
        f"`scripts/measure_map.py`, read in lesson 04. `{ARCH}` at 64 pixels; {STEPS} optimiser steps of up to {BATCH} "
        "images for every strategy, no augmentation, the network after the last step. `frozen`: only the head trains. "
        "`gradual`: a third of the steps each for the head, from `layer4` on, everything. `full`: everything from the "
        "first step on. `scratch`: the same from random weights. Seeds draw other training images and another head. "
        f"Accuracy on {HELD_OUT} images per class that nothing was chosen by.",
    ]
    if "settings" in runs:
        chosen = ", ".join(f"{strategy} {rate:g}" for strategy, rate in runs["settings"].items())
        lines += [
            "",
            f"Rates, the best of a pilot at {PILOT_IMAGES} images per class on other images, near and far averaged: "
            f"{chosen}. The head phase of `gradual` takes the rate of `frozen`.",
        ]
    for target in TARGETS:
        done = [n for n in SIZES if all(len(cell(runs, target, n, s)) > 1 for s in STRATEGIES)]
        if not done:
            continue
        rows = [
            [f"{n} ({n * CLASSES[target]})", *(mean_and_spread(cell(runs, target, n, s)) for s in STRATEGIES)]
            for n in done
        ]
        lines += ["", f"### {TITLES[target].capitalize()} (guessing: {100 / CLASSES[target]:.1f})", ""]
        lines += [markdown_table(["training images per class (all)", *STRATEGIES], rows), ""]
        for n in done:
            values = {s: cell(runs, target, n, s) for s in STRATEGIES}
            best, *others = as_good_as_the_best(values)
            within = f"within noise of it: {', '.join(others)}" if others else "no other is within noise of it"
            lines.append(f"- {n} per class: highest mean {best}; {within}.")
        seconds = {s: mean(v for n in done for v in cell(runs, target, n, s, "seconds")) for s in STRATEGIES}
        listed = ", ".join(f"{s} {value:.1f}" for s, value in seconds.items())
        lines += ["", f"Seconds of processor time on one thread, mean over the rows, with caching passes: {listed}."]
    lines += [
        "",
        '"Within noise": compared seed by seed (a seed gives every strategy the same training images), the mean gap to '
        f"the best is inside its 95 % interval round 0. For {len(SEEDS)} seeds that is {t_quantile(len(SEEDS)):.1f} "
        "standard errors, a coarse ruler; the luck of the held-out images, the same for all, is not in it.",
    ]
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    runs = Runs(NAME)
    chosen: dict[str, float] = {}
    for strategy, rates in RATES.items():
        for target in TARGETS:
            for rate in rates if len(rates) > 1 else []:
                setting = (target, PILOT_IMAGES, strategy, PILOT_SEED, {**chosen, strategy: rate}, "pilot")
                runs.once(pilot_key(target, strategy, rate), lambda s=setting: measure(*s))
        chosen[strategy] = best_rate(runs.runs, strategy)
    runs.once("settings", lambda: chosen)
    for seed in SEEDS:  # seed by seed: whatever is done when somebody stops it is a whole map
        for target in ("lesson near", "lesson far"):
            for strategy in LESSON_STRATEGIES:
                setting = (target, LESSON_SIZE, strategy, seed, chosen, "held out", LESSON_STEPS)
                runs.once(f"{target}|{LESSON_SIZE}|{strategy}|{seed}", lambda s=setting: measure(*s))
        for per_class in SIZES:
            for target in TARGETS:
                for strategy in STRATEGIES:
                    setting = (target, per_class, strategy, seed, chosen)
                    runs.once(f"{target}|{per_class}|{strategy}|{seed}", lambda s=setting: measure(*s))


if __name__ == "__main__":
    main()
