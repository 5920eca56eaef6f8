"""A linear probe on every bundled backbone and every bundled target, over several splits: the leaderboard of lesson 07.

python scripts/measure_leaderboard.py            every run that docs/measured/leaderboard.json does not hold
python scripts/measure_leaderboard.py --show     only print the section of docs/results.md

All images of a target but its test split are used. Each of five splits fits a logistic regression on 60 % of them,
chooses C on 20 % and judges on 20 %; a split's images are the same for every backbone. One row more shows a resnet10
whose weights are random, another one for each split. A run is kept as [accuracy of each split] under
"backbone on target". When weights or images have changed, delete the lines that belong to them. Four minutes on two
cores for everything.
"""

import argparse
import sys
import time

from measuring import ROOT, Runs, markdown_table, mean_and_spread

sys.path[:0] = [str(ROOT)]

NAME = "leaderboard"
BACKBONES = ("resnet10", "efficientnet_mini", "vgg9_bn")
RANDOM = "random resnet10"
TARGETS = ("Flowers102", "five flowers", "microscopy", "STL-10")
SEEDS = 5


def measure(backbone: str, target: str) -> list[float]:
    """The accuracy of the probe on the images that chose nothing, for each split."""
    import torch
    from torchvision import models

    import tlhelpers as tl

    course = tl.Course("mini", torch.device("cpu"), 0, tl.data_dir(), tl.data_dir())
    if backbone != RANDOM:
        found = tl.leaderboard(course, [backbone], {target: tl.targets(course)[target]}, range(SEEDS))[target][backbone]
        return [round(accuracy, 4) for accuracy in found]
    dataset = tl.targets(course)[target](tl.ResNet10_Weights.DEFAULT.transforms())
    accuracies = []
    for seed in range(SEEDS):
        tl.seed_everything(seed)
        [(_, accuracy)] = tl.probe_parts(models.get_model("resnet10", weights=None), dataset, [seed])
        accuracies.append(round(accuracy, 4))
    return accuracies


def key(backbone: str, target: str) -> str:
    return f"{backbone} on {target}"


def section(runs: dict) -> str:
    """The section of docs/results.md."""
    rows = []
    for backbone in (*BACKBONES, RANDOM):
        cells = [runs.get(key(backbone, target)) for target in TARGETS]
        if any(cells):
            rows.append([backbone, *(mean_and_spread(cell) if cell else "" for cell in cells)])
    return "\n".join(
        [
            "## Linear probes: every bundled backbone on every target",
            "",
            "A logistic regression on frozen features; accuracy in per cent on images that neither fitted it nor chose "
            f"C, mean and standard deviation over {SEEDS} splits that all backbones share. No test split is used.",
            "",
            markdown_table(["frozen backbone", *TARGETS], rows),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="run nothing, print the section")
    runs = Runs(NAME)
    if not parser.parse_args(arguments).show:
        start = time.perf_counter()
        for backbone in (*BACKBONES, RANDOM):
            for target in TARGETS:
                runs.once(key(backbone, target), lambda backbone=backbone, target=target: measure(backbone, target))
        print(f"done in {time.perf_counter() - start:.0f} s", flush=True)
    print(section(runs.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
