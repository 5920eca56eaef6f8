"""What the five recipes of docs/recipes.md give in mini, over three seeds, and what their quirks cost where that can be
measured.

python scripts/measure_recipes.py                    every run that docs/measured/recipes.json does not hold
python scripts/measure_recipes.py --only R3          only runs whose name begins so (quirk: the quirks)
python scripts/measure_recipes.py --show             run nothing, write the tables of docs/recipes.md
python scripts/measure_recipes.py --check            write nothing; fail when the page does not belong to the runs

Every recipe runs as its command does, with the epochs it has in mini. The seconds are computing time on one thread, so
that a busy machine does not lengthen them. About half an hour on one thread for everything.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from measuring import ROOT, Runs, markdown_table, mean_and_spread

sys.path[:0] = [str(ROOT)]

NAME = "recipes"
PAGE = ROOT / "docs" / "recipes.md"
SEEDS = 3
RECIPES = ("R0", "R1", "R2", "R3", "R4")


def setup(seed: int, folder: str):
    from tlhelpers.recipes import Setup
    from tlhelpers.session import start

    with contextlib.redirect_stdout(io.StringIO()):
        return Setup(start(seed, "mini", "cpu"), Path(folder))


def measure(name: str, seed: int) -> dict:
    """Run one recipe; return what it returns and the computing seconds."""
    from tlhelpers.recipes import run

    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        results = run(name, setup(seed, folder))
    return rounded(results | {"seconds": time.process_time() - begin})


def rounded(results: dict) -> dict:
    return {name: round(value, 4) for name, value in results.items()}


def corners(seed: int) -> dict:
    """R0: the share of black pixels that turns by up to 15 degrees leave in the final crop of 224 out of 256 pixels."""
    import torch
    from torchvision.transforms import v2

    torch.manual_seed(seed)
    turn = v2.Compose([v2.RandomRotation(15), v2.CenterCrop(224)])
    white = torch.ones(1, 256, 256)
    shares = [(turn(white) == 0).float().mean().item() for _ in range(200)]
    return rounded({"mean": mean(shares), "largest": max(shares), "images": mean(share > 0 for share in shares)})


def held_out(seed: int) -> dict:
    """R3 and R2: one network, 120 images it was not trained on, and the figures that three ways of measuring give.

    Half of the 120 chose the epoch. That does not matter here: the ways are compared with each other.
    """
    import torch
    from torch.nn import functional as F
    from torchvision.transforms import v2

    import tlhelpers as tl
    from tlhelpers.recipes.common import loader_for, three_parts

    made = setup(seed, "unused")
    train, val, test = three_parts(made)
    pixels, targets = val.images + test.images, val.targets + test.targets
    both = tl.CachedImages(pixels, targets, classes=val.classes)
    model, weights = tl.pretrained(made.course, "resnet10")
    size, *statistics = tl.from_weights(weights)
    normalised = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*statistics)]
    augment = v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), *normalised])
    tl.freeze(model)
    tl.replace_head(model, 5)
    optimizer = torch.optim.SGD(tl.trainable_parameters(model), lr=0.001, momentum=0.9)
    loaders = loader_for(made, train, augment, train=True), loader_for(made, val, weights.transforms())
    tl.fit(model, *loaders, epochs=10, optimizer=optimizer, verbose=False)
    plain = loader_for(made, both, weights.transforms())
    clean = tl.evaluate(model, plain)
    looks = []
    for look in range(5):  # tl.evaluate puts the random numbers back: a new seed for every look
        torch.manual_seed(5 * seed + look)
        looks.append(tl.evaluate(model, loader_for(made, both, augment)).accuracy)
    model.eval()
    with torch.no_grad():
        means = [(F.cross_entropy(model(images), labels).item(), len(labels)) for images, labels in plain]
    batches, losses = len(means), [loss for loss, _ in means]
    return rounded(
        {
            "clean": clean.accuracy,
            "augmented": mean(looks),
            "augmented, lowest": min(looks),
            "augmented, highest": max(looks),
            "loss": clean.loss,
            "loss, mean of batch means": mean(losses),
            "loss, times the nominal batch": sum(losses) * 32 / clean.n,
            "batches": batches,
        }
    )


def list_splitting(seed: int) -> dict:
    """R3: how many images are decoded when a function for lists splits the dataset, and when it splits the numbers."""
    from sklearn.model_selection import train_test_split

    import tlhelpers as tl
    from tlhelpers import images

    flowers = tl.five_flowers(setup(seed, "unused").course)
    opened = []
    flowers.loader = lambda path: opened.append(path) or images.load_image(path)
    train_test_split(flowers, test_size=0.2, random_state=seed)
    of_the_dataset = len(opened)
    tl.stratified_split(flowers.targets, (0.8, 0.2), seed)
    return {"images": len(flowers), "by a list function": of_the_dataset, "by numbers": len(opened) - of_the_dataset}


def test_chooses(seed: int) -> dict:
    """R4: the test accuracy at the epoch that validation chooses, and at the epoch that the test itself chooses."""
    import torch

    import tlhelpers as tl
    from tlhelpers.recipes import r4_vgg_on_stl10 as recipe

    made = setup(seed, "unused")
    everything, test = (tl.cache_images(tl.stl10(made.course, split)) for split in ("train", "test"))
    parts = tl.stratified_split(everything.targets, (0.8, 0.2), seed)
    statistics = tl.from_weights(tl.VGG9_BN_Weights.DEFAULT)[1:]
    train_loader, val_loader, test_loader = recipe.loaders(made, everything, parts, test, *statistics)
    model, optimizer = recipe.network(made, len(everything.classes), whole=False)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    options = dict(epochs=1, optimizer=optimizer, scheduler=scheduler, verbose=False)
    on_val, on_test = [], []
    for _ in range(20):  # one training, measured on both after every epoch
        on_val.append(tl.fit(model, train_loader, val_loader, **options).val_accuracy[0])
        on_test.append(tl.evaluate(model, test_loader).accuracy)
    return rounded(chosen_by_both(on_val, on_test))


def chosen_by_both(on_val: list[float], on_test: list[float]) -> dict:
    """The test accuracy at the first of the epochs that are best in validation, and at the best epoch of the test."""
    return {"honest": on_test[on_val.index(max(on_val))], "chosen by test": max(on_test)}


QUIRKS = {"corners": corners, "held out": held_out, "list splitting": list_splitting, "test chooses": test_chooses}


def plan() -> dict:
    """{key: function that measures it}, seeds in the outer loop; what does not depend on chance runs once."""
    runs = {}
    for seed in range(SEEDS):
        for name in RECIPES:
            runs[f"{name}, seed {seed}"] = lambda name=name, seed=seed: measure(name, seed)
        for name, function in QUIRKS.items():
            if seed == 0 or name in ("held out", "test chooses"):
                runs[f"quirk {name}, seed {seed}"] = lambda function=function, seed=seed: function(seed)
    return runs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only runs whose name begins so")
    parser.add_argument("--show", action="store_true", help="run nothing, write the tables")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    asked, runs = parser.parse_args(arguments), Runs(NAME)
    if not (asked.show or asked.check):
        import torch

        torch.set_num_threads(1)
        for key, function in plan().items():
            if key.startswith(asked.only):
                runs.once(key, function)
    present = PAGE.read_text(encoding="utf-8")
    wanted = filled(present, tables(runs.runs, runs.content["machine"]))
    if asked.check:
        if wanted != present:
            print("docs/recipes.md does not belong to the runs: python scripts/measure_recipes.py --show")
        return int(wanted != present)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def of(runs: dict, start: str, what: str) -> list[float]:
    """The values of `what` in the runs whose key begins with `start`."""
    return [run[what] for key, run in sorted(runs.items()) if key.startswith(f"{start}, seed ") and what in run]


def tables(runs: dict, machine: str) -> dict[str, str]:
    """{marker: text}; a table whose runs are not there yet says so."""
    parts = {"recipes": recipes_table(runs, machine), "R1": strategies_table(runs), "R4": statistics_table(runs)}
    for name, sentence in SENTENCES.items():
        parts[name] = sentence(runs) if of(runs, f"quirk {name}", FIRST[name]) else "Not measured yet."
    return parts


def recipes_table(runs: dict, machine: str) -> str:
    rows = []
    for name in RECIPES:
        first = next((run for key, run in sorted(runs.items()) if key.startswith(f"{name}, ")), {})
        tested = "test_accuracy" if "test_accuracy" in first else "test_accuracy, new layer only"
        accuracies, seconds = of(runs, name, tested), of(runs, name, "seconds")
        if accuracies:
            spread = mean_and_spread(accuracies)
            rows.append([f"{name}: {NOTES[name]}", spread, len(accuracies), f"{mean(seconds):.0f} s"])
    header = ["recipe, in mini", "test accuracy, %", "seeds", "computing, one thread"]
    return f"{markdown_table(header, rows)}\n\nMeasured on: {machine}." if rows else "Not measured yet."


NOTES = {
    "R0": "resnet10, five flowers, 10 epochs",
    "R1": "26 of the 102 flowers, 7 strategies of 5 epochs; tested: the one that validation chose",
    "R2": "resnet10, dandelion or sunflower, 10 + 5 epochs",
    "R3": "resnet10, five flowers, 20 epochs",
    "R4": "vgg9_bn, bundled set in STL-10's layout, 3 trainings of 6 epochs; tested: new layer only",
}


def strategies_table(runs: dict) -> str:
    first = next((run for key, run in sorted(runs.items()) if key.startswith("R1, ")), None)
    if first is None:
        return "Not measured yet."
    names = [name for name in first if name.startswith("val_accuracy, ")]
    rows = [[name.split(", ", 1)[1], mean_and_spread(of(runs, "R1", name))] for name in names]
    return markdown_table(["strategy", "validation accuracy, %"], rows)


def statistics_table(runs: dict) -> str:
    first = next((run for key, run in sorted(runs.items()) if key.startswith("R4, ")), None)
    if first is None:
        return "Not measured yet."
    names = [name.split(", ", 1)[1] for name in first if name.startswith("test_accuracy, ")]
    rows = []
    for name in names:
        found = [mean_and_spread(of(runs, "R4", f"{part}_accuracy, {name}")) for part in ("val", "test")]
        rows.append([name, *found])
    table = markdown_table(["training", "validation accuracy, %", "test accuracy, %"], rows)
    pairs = [of(runs, "R4", f"test_accuracy, {name}") for name in ("new layer only, own statistics", "new layer only")]
    differences = ", ".join(f"{100 * (own - imagenet):+.1f}" for own, imagenet in zip(*pairs, strict=True))
    return (
        f"{table}\n\nOwn statistics against ImageNet's, new layer only, points of test accuracy by seed: {differences}."
    )


def _seeds(values: list[float]) -> str:
    return "one seed" if len(values) == 1 else f"{len(values)} seeds"


def _corners(runs: dict) -> str:
    run = runs["quirk corners, seed 0"]
    return (
        f"Measured on 200 turns: {run['images']:.0%} of the images show black, {run['mean']:.1%} of all pixels on "
        f"average, {run['largest']:.1%} in the worst."
    )


def _held_out(runs: dict) -> str:
    clean, looks = of(runs, "quirk held out", "clean"), of(runs, "quirk held out", "augmented")
    low, high = of(runs, "quirk held out", "augmented, lowest"), of(runs, "quirk held out", "augmented, highest")
    losses = [
        mean(of(runs, "quirk held out", name))
        for name in ("loss", "loss, mean of batch means", "loss, times the nominal batch")
    ]
    spread = 100 * max(b - a for a, b in zip(low, high, strict=True))
    lines = [
        "Measured, one network per seed after 10 epochs, on 120 images it was not trained on",
        f"(half of them chose the epoch), {_seeds(clean)}.",
        f"Accuracy on the images as they are: {mean_and_spread(clean)} %. On augmented ones:",
        f"{mean_and_spread(looks)} %, and five looks with the same weights differ by up to {spread:.1f} points.",
        f"The loss over samples: {losses[0]:.4f}. The mean of batch means: {losses[1]:.4f}. The batch",
        f"means times the nominal 32, over 120: {losses[2]:.4f}, which is {losses[2] / losses[0] - 1:+.1%}.",
    ]
    return "\n".join(lines)


def _list_splitting(runs: dict) -> str:
    run = runs["quirk list splitting, seed 0"]
    return (
        f"Counted: of {run['images']} images the list function decoded {run['by a list function']}, the split by "
        f"numbers {run['by numbers']}."
    )


def _test_chooses(runs: dict) -> str:
    honest, chosen = (of(runs, "quirk test chooses", name) for name in ("honest", "chosen by test"))
    gap = [100 * (b - a) for a, b in zip(honest, chosen, strict=True)]
    lines = [
        f"Measured, new layer only, 20 epochs, {_seeds(gap)}: test accuracy {mean_and_spread(honest)} % at the",
        f"epoch of the best validation accuracy, {mean_and_spread(chosen)} % at the epoch of the best test accuracy.",
        f"The gain of {mean(gap):.1f} points is no skill.",
    ]
    return "\n".join(lines)


SENTENCES = {
    "corners": _corners,
    "held out": _held_out,
    "list splitting": _list_splitting,
    "test chooses": _test_chooses,
}
FIRST = {"corners": "mean", "held out": "clean", "list splitting": "images", "test chooses": "honest"}


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with every part between its markers; ValueError when one of them is missing."""
    for name, text in parts.items():
        before, found, rest = page.partition(f"<!-- measured: {name} -->")
        _, closed, after = rest.partition("<!-- measured: end -->")
        if not found or not closed:
            raise ValueError(f"docs/recipes.md lacks the markers of {name}")
        page = f"{before}{found}\n{text}\n{closed}{after}"
    return page


if __name__ == "__main__":
    sys.exit(main())
