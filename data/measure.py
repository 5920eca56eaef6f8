"""Measure what the bundled backbones are worth, and write the tables of data/README.md.

    python data/measure.py                          # everything that data/results.json does not hold yet
    python data/measure.py --only flowers-102 --arch resnet10 --strategy frozen
    python data/measure.py --table                  # only rewrite the tables

Strategies, three seeds each:

    scratch        the whole network from random weights: 4 epochs, and also 1 and 8
    random frozen  a linear head on a random network's features; the better of two readings of its BatchNorm
                   (untouched statistics, or statistics measured on the training images) counts
    frozen         a linear head on the bundled backbone's features
    fine-tuned     a linear head first, then everything trained at a low rate

Scratch and fine-tuned get the same images, epochs (4), batches and augmentation; each gets the learning rate that is
best for it on the validation split, found with seed 0. Heads are logistic regressions whose C is chosen on the
validation split. The test split is read once per run.
"""

import argparse
import copy
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "data")]

from pretrain import ARCHS, MEAN, META, STD, body, features  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from tlhelpers import MiniFlowers102, backbones  # noqa: E402

RESULTS = ROOT / "data" / "results.json"
CARD = ROOT / "data" / "README.md"
STRATEGIES = ["scratch, 1 epoch", "scratch", "scratch, 8 epochs", "random frozen", "frozen", "fine-tuned"]
# 4 epochs are what a lesson spends; 1 costs about as much computing as a frozen head (features of two views per image)
EPOCHS = {"scratch, 1 epoch": 1, "scratch": 4, "scratch, 8 epochs": 8, "fine-tuned": 4}
RATES = (3e-3, 1e-3)
SEEDS = (0, 1, 2)
PIXELS = v2.Compose([v2.Resize(72), v2.CenterCrop(72), v2.PILToTensor()])

Split = tuple[Tensor, Tensor]  # images N×3×72×72 uint8, labels N


def stack(dataset, indices=None) -> Split:
    """Decode a dataset once: uint8 images and labels."""
    items = [dataset[i] for i in (range(len(dataset)) if indices is None else indices)]
    return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])


def load(name: str) -> dict[str, Split]:
    """The train, validation and test parts of a bundled set (microscopy: 60/20/20 of every class, seed 0)."""
    root = ROOT / "data" / "mini"
    if name == "flowers-102":
        parts = {part: MiniFlowers102(root, split=part, transform=PIXELS) for part in ("train", "val", "test")}
        return {part: stack(dataset) for part, dataset in parts.items()}
    dataset = ImageFolder(str(root / name), transform=PIXELS)
    targets, picked = np.array(dataset.targets), {"train": [], "val": [], "test": []}
    rng = np.random.default_rng(0)
    for label in range(len(dataset.classes)):
        order = rng.permutation(np.flatnonzero(targets == label))
        a, b = int(0.6 * len(order)), int(0.8 * len(order))
        for part, some in zip(picked, (order[:a], order[a:b], order[b:]), strict=True):
            picked[part] += some.tolist()
    return {part: stack(dataset, indices) for part, indices in picked.items()}


def views(images: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Normalised 64-pixel views: the centre, or (with ``rng``) a random crop of the 72 pixels and a random flip."""
    n = len(images)
    if rng is None:
        crop = images[:, :, 4:68, 4:68]
    else:
        top, left = torch.randint(0, 9, (2, n), generator=rng)
        steps = torch.arange(64)
        rows, columns = top[:, None, None] + steps[:, None], left[:, None, None] + steps
        crop = images.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows, columns].permute(0, 3, 1, 2)
        flip = torch.rand(n, generator=rng) < 0.5
        crop = torch.where(flip[:, None, None, None], crop.flip(3), crop)
    return (crop.float() / 255 - MEAN) / STD


def make(arch: str, seed: int, bundled: bool, classes: int) -> nn.Module:
    """A network with a fresh head of ``classes`` outputs, on random or bundled weights."""
    torch.manual_seed(seed)
    build = getattr(backbones, arch)
    if not bundled:
        return build(num_classes=classes)
    model = build(weights="DEFAULT")
    if hasattr(model, "fc"):
        model.fc = nn.Linear(model.fc.in_features, classes)
    else:
        model.classifier[-1] = nn.Linear(model.classifier[-1].in_features, classes)
    return model


def measure_batchnorm(model: nn.Module, images: Tensor) -> nn.Module:
    """Set every BatchNorm's statistics to plain averages over ``images``; a better random baseline than 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    model.train()
    with torch.no_grad():
        for part in images.split(128):
            model(part)
    return model.eval()


def scaled(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    # A random network's features can be tiny: no constant is added to their deviation, it would drown them.
    mean, std = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    std[std == 0] = 1
    return [(part - mean) / std for part in (train, *others)]


def head(train, val, test, labels, Cs=(1e-3, 1e-2, 1e-1)) -> dict:
    """Logistic regression on standardised features; C chosen on the validation split."""
    from sklearn.linear_model import LogisticRegression

    x_train, x_val, x_test = scaled(train, val, test)
    best = None
    for C in Cs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 100 steps are enough for an accuracy
            probe = LogisticRegression(C=C, max_iter=100, tol=1e-3).fit(x_train, labels[0])
        score = probe.score(x_val, labels[1])
        if best is None or score > best["val"]:
            best = {"C": C, "val": score, "probe": probe}
    best["test"] = best["probe"].score(x_test, labels[2])
    best["mean"], best["std"] = train.mean(0), np.maximum(train.std(0), 1e-6)
    return best


def frozen(arch: str, data: dict[str, Split], seed: int, bundled: bool, statistics: bool = False) -> dict:
    """A linear head on frozen features: the training images once as they are and once augmented (that is the seed)."""
    rng = torch.Generator().manual_seed(seed)
    extractor = body(make(arch, seed, bundled, 2))
    plain, shaken = views(data["train"][0]), views(data["train"][0], rng)
    if statistics:
        measure_batchnorm(extractor, plain)
    train = np.concatenate([features(extractor, plain), features(extractor, shaken)])
    val, test = (features(extractor, views(data[part][0])) for part in ("val", "test"))
    labels = [np.tile(data["train"][1], 2), data["val"][1].numpy(), data["test"][1].numpy()]
    return head(train, val, test, labels)


def accuracy(model: nn.Module, split: Split) -> float:
    model.eval()
    with torch.inference_mode():
        hits = sum(
            int((model(views(x)).argmax(1) == y).sum()) for x, y in zip(*(t.split(128) for t in split), strict=True)
        )
    return hits / len(split[1])


def train_all(arch: str, data: dict[str, Split], seed: int, bundled: bool, rate: float, epochs: int) -> dict:
    """Train every layer for ``epochs`` (AdamW, warm-up and cosine); fine-tuning starts from the frozen linear head."""
    images, labels = data["train"]
    model = make(arch, seed, bundled, int(labels.max()) + 1)
    if bundled:
        start = frozen(arch, data, seed, bundled=True)
        last = model.fc if hasattr(model, "fc") else model.classifier[-1]
        weight = torch.tensor(start["probe"].coef_ / start["std"], dtype=torch.float32)
        bias = torch.tensor(start["probe"].intercept_, dtype=torch.float32)
        with torch.no_grad():
            last.weight.copy_(weight)
            last.bias.copy_(bias - weight @ torch.tensor(start["mean"], dtype=torch.float32))
    model = model.to(memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    steps = epochs * (len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    rng, best, kept = torch.Generator().manual_seed(seed), -1.0, None
    for epoch in range(epochs):
        model.train()
        for some in torch.randperm(len(images), generator=rng)[: len(images) // 32 * 32].split(32):
            x = views(images[some], rng).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(x), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch >= epochs - 4:  # the best of the last epochs on the validation split is kept
            score = accuracy(model, data["val"])
            if score > best:
                best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return {"val": best, "test": accuracy(model, data["test"]), "rate": rate}


def run(name: str, arch: str, strategy: str, seed: int, data: dict[str, Split], results: dict) -> dict:
    """One row of results.json: validation and test accuracy of one strategy."""
    if strategy == "frozen":
        found = frozen(arch, data, seed, bundled=True)
    elif strategy == "random frozen":
        readings = [frozen(arch, data, seed, bundled=False, statistics=s) for s in (False, True)]
        found = max(readings, key=lambda r: r["val"])
        found["readings"] = [round(r["test"], 4) for r in readings]
    else:
        bundled, rates = strategy == "fine-tuned", RATES
        if seed != SEEDS[0]:
            rates = (results[f"{name}|{arch}|{strategy}|{SEEDS[0]}"]["rate"],)
        runs = [train_all(arch, data, seed, bundled, rate, EPOCHS[strategy]) for rate in rates]
        found = max(runs, key=lambda r: r["val"])
    plain = {"val", "test", "C", "rate", "readings"}
    return {k: round(v, 4) if isinstance(v, float) and k != "rate" else v for k, v in found.items() if k in plain}


def photographs(arch: str, bundled: bool, seed: int) -> dict:
    """Linear probe on real ants and bees at 64 px, C chosen by 5-fold inside whatever part it is fitted on.

    ``test``: fitted on the train folder, scored on the val folder (153 photographs). ``all``: 5-fold over both.
    """
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    root = Path(os.environ["TLHELPERS_REAL_DATA"]) / "hymenoptera"
    preset = backbones.ResNet10_Weights.DEFAULT.transforms()
    splits = [stack(ImageFolder(str(root / part), transform=preset)) for part in ("train", "val")]
    found = None
    for statistics in (False,) if bundled else (False, True):
        extractor = body(make(arch, seed, bundled, 2))
        if statistics:
            measure_batchnorm(extractor, splits[0][0])
        (train, y_train), (val, y_val) = ((features(extractor, x), y.numpy()) for x, y in splits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            C = LogisticRegressionCV(Cs=(1e-4, 1e-3, 1e-2, 1e-1), cv=5, max_iter=1000)
            probe = make_pipeline(StandardScaler(), C).fit(train, y_train)
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            pooled = cross_val_score(probe, np.concatenate([train, val]), np.concatenate([y_train, y_val]), cv=folds)
        here = {
            "cv": round(float(probe[-1].scores_[1].mean(0).max()), 4),
            "test": round(probe.score(val, y_val), 4),
            "all": round(float(pooled.mean()), 4),
        }
        if found is None or here["cv"] > found["cv"]:
            found = here
    return found


def summary(results: dict, key: str, figure: str = "test") -> tuple[float, float, int]:
    """Mean and standard deviation over seeds, in per cent, and how many seeds."""
    values = [100 * row[figure] for k, row in results.items() if k.rsplit("|", 1)[0] == key and figure in row]
    return float(np.mean(values or [0])), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, len(values)


def named(strategy: str) -> str:
    """The heading of a column."""
    return "scratch, 4 epochs" if strategy == "scratch" else strategy


def table(results: dict) -> str:
    """The Markdown tables of the data card."""
    lines = []
    for name, figure, title in (
        ("flowers-102", "test", "MiniFlowers102 test, accuracy in %"),
        ("microscopy", "test", "microscopy test, accuracy in %"),
        ("photographs", "test", "real ants and bees, val folder, accuracy in %"),
        ("photographs", "all", "real ants and bees, 5-fold over all, accuracy in %"),
    ):
        columns = [s for s in STRATEGIES if any(k.split("|")[0] == name and k.split("|")[2] == s for k in results)]
        if not columns:
            continue
        lines += ["", f"| {title} | {' | '.join(map(named, columns))} |", "|---|" + "---|" * len(columns)]
        for arch in ARCHS:
            cells = []
            for strategy in columns:
                key = f"{name}|{arch}|{strategy}"
                if not any(k.startswith(key + "|") for k in results):
                    cells.append("–")
                    continue
                mean, spread, seeds = summary(results, key, figure)
                cells.append(f"{mean:.1f} ± {spread:.1f}" if seeds > 1 else f"{mean:.1f}")
            lines.append(f"| `{arch}` | {' | '.join(cells)} |")
    lines += ["", "In other words:"]
    for arch in ARCHS:
        flowers = {s: summary(results, f"flowers-102|{arch}|{s}")[0] for s in STRATEGIES}
        frozen_flowers = flowers["frozen"]
        times = {s: f"{frozen_flowers / flowers[s]:.1f} × {named(s)}" for s in STRATEGIES[:4] if flowers[s]}
        photo = [summary(results, f"photographs|{arch}|frozen", f)[0] for f in ("test", "all")]
        chance = [summary(results, f"photographs|{arch}|random frozen", f)[0] for f in ("test", "all")]
        gain = flowers["fine-tuned"] - frozen_flowers
        lines += [
            f"- `{arch}`, flowers: frozen is {'; '.join(times.values())}. Fine-tuning adds {gain:.1f} points. "
            f"Photographs: {photo[0] - chance[0]:+.1f} points over random features on the val folder, "
            f"{photo[1] - chance[1]:+.1f} over all."
        ]
    cores, version = results["machine"]["cores"], results["machine"]["torch"]
    lines += ["", "Mean ± standard deviation over seeds 0, 1, 2 (a figure without ± is of one seed)."]
    lines += [f"Machine: {cores} CPU cores, torch {version}."]
    return "\n".join(lines[1:])


def publish(results: dict) -> None:
    """Write the tables into the data card and the accuracies into the weights' meta."""
    start, end = "<!-- measured by data/measure.py: start -->", "<!-- measured by data/measure.py: end -->"
    rows = {k: v for k, v in results.items() if "|" in k}
    text = CARD.read_text(encoding="utf-8")
    before, after = text.split(start)[0], text.split(end)[1]
    CARD.write_text(f"{before}{start}\n{table(results)}\n{end}{after}", encoding="utf-8")
    meta = json.loads(META.read_text())
    for arch in ARCHS:
        metrics: dict[str, dict[str, float]] = {}
        for key in rows:
            name, found_arch, strategy, _ = key.split("|")
            if found_arch == arch and strategy in ("frozen", "fine-tuned"):
                metrics.setdefault(name, {})[strategy] = round(summary(rows, key.rsplit("|", 1)[0])[0], 2)
        meta[arch]["_metrics"] = metrics
    META.write_text(json.dumps(meta, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["flowers-102", "microscopy", "photographs"])
    parser.add_argument("--arch", choices=ARCHS)
    parser.add_argument("--strategy", choices=STRATEGIES)
    parser.add_argument("--again", action="store_true", help="measure even what results.json already holds")
    parser.add_argument("--table", action="store_true", help="measure nothing, only write the tables")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    def read() -> dict:
        return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}

    for name in [] if args.table else [args.only] if args.only else ["flowers-102", "microscopy", "photographs"]:
        if name == "photographs" and not os.environ.get("TLHELPERS_REAL_DATA"):
            print("photographs: TLHELPERS_REAL_DATA is not set, left as they are")
            continue
        data = load(name) if name != "photographs" else {}
        for arch in [args.arch] if args.arch else ARCHS:
            for strategy in [args.strategy] if args.strategy else STRATEGIES:
                if name == "photographs" and strategy not in ("frozen", "random frozen"):
                    continue
                for seed in SEEDS[:1] if name == "photographs" and strategy == "frozen" else SEEDS:
                    key = f"{name}|{arch}|{strategy}|{seed}"
                    if key in read() and not args.again:
                        continue
                    began = time.time()
                    if name == "photographs":
                        row = photographs(arch, strategy == "frozen", seed)
                    else:
                        row = run(name, arch, strategy, seed, data, read())
                    print(f"{key}: {row}  {time.time() - began:.0f} s", flush=True)
                    results = read()  # another process may have written meanwhile
                    results[key] = row
                    results["machine"] = {"cores": len(os.sched_getaffinity(0)), "torch": torch.__version__}
                    RESULTS.with_suffix(".tmp").write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
                    os.replace(RESULTS.with_suffix(".tmp"), RESULTS)
    publish(read())


if __name__ == "__main__":
    main()
