"""Measure every strategy of the course on one task: the Flowers102 project of lesson 06.

python scripts/measure_project.py        every run that docs/measured/project.json does not hold yet (about 30 minutes)

The bundled EfficientNet with dropout and a new head, MiniFlowers102's train part (10 images per class), judged on its
validation part. The test part is not read: it belongs to one cell of lesson 06.

Every strategy gets EPOCHS passes over the same augmented looks at the training images, in batches of BATCH, and the
epoch with the lowest validation loss is kept. A seed decides the new head (scratch and random: the whole network), the
order and the augmentation. Where a rate has to be chosen, seed 0 tries the OPTIONS and the best on the validation part
is used for the other seeds. Seconds are processor time of one thread, without decoding and augmenting, which all share.
"""

import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from measuring import ROOT, Runs, markdown_table, mean_and_spread
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from torchvision import models
from torchvision.transforms import v2

sys.path[:0] = [str(ROOT)]
import tlhelpers as tl  # noqa: E402
from tlhelpers.groups import parameter_groups  # noqa: E402

NAME = "project"
ARCH, CLASSES = "efficientnet_mini", 102
EPOCHS, BATCH, SEEDS = 6, 32, (0, 1, 2)
PROBE_EPOCHS, PHASE_EPOCHS, PHASE_STARTS = 2, (2, 2, 2), ("head", "block6", "stem")
HEAD_RATES = [0.0003, 0.001, 0.003, 0.01]
# what each strategy chooses from; a pair is (rate of the head, factor from stage to stage) or one rate per phase
OPTIONS: dict[str, list[Any]] = {
    "scratch": [0.001, 0.003],
    "random frozen, linear head": HEAD_RATES,
    "frozen, linear head": HEAD_RATES,
    "frozen, MLP head": [0.001, 0.003, 0.01],
    "fine-tuned, one rate": [0.0001, 0.0003, 0.001, 0.003],
    "rates by depth, OneCycle": [(0.003, 0.8), (0.01, 0.8)],
    "linear probe, then fine-tuned": [0.0003, 0.001],
    "gradual unfreezing": [(0.001, 0.0003), (0.003, 0.001)],
}
SMOOTHED, MIXED = "fine-tuned, label smoothing 0.1", "fine-tuned, mixup 0.2"
STRATEGIES = [*OPTIONS, SMOOTHED, MIXED]  # the last two train at the rate that "fine-tuned, one rate" chose


class Looks(Dataset):
    """Stored looks at each sample, (looks, N, ...): sample i gives its next look each time it is asked for."""

    def __init__(self, looks: Tensor, labels: Tensor) -> None:
        self.looks, self.labels, self.asked = looks, labels, [0] * len(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        look = self.asked[i] % len(self.looks)
        self.asked[i] += 1
        return as_input(self.looks[look, i]), self.labels[i]


@cache
def preset() -> Any:
    return models.get_model_weights(ARCH).DEFAULT.transforms()


def as_input(images: Tensor) -> Tensor:
    """Bytes 0..255 become normalised floats; features stay as they are."""
    if images.dtype != torch.uint8:
        return images
    mean, std = statistics()
    return (images / 255 - mean) / std


@cache
def statistics() -> tuple[Tensor, Tensor]:
    return torch.tensor(preset().mean).view(3, 1, 1), torch.tensor(preset().std).view(3, 1, 1)


@cache
def training_looks(seed: int) -> tuple[Tensor, Tensor]:
    """(EPOCHS, 1020, 3, 64, 64) bytes: the project's augmentation, one look per epoch; and the labels."""
    mean = [round(255 * value) for value in preset().mean]
    augmentation = v2.Compose(
        [
            v2.RandomAffine(15, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR, fill=mean),
            v2.RandomResizedCrop(64, scale=(0.8, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
            v2.ToImage(),
        ]
    )
    flowers = tl.MiniFlowers102(split="train")
    tl.seed_everything(1000 + seed)
    pictures = [flowers[i][0] for i in range(len(flowers))]
    looks = [torch.stack([augmentation(picture) for picture in pictures]) for _ in range(EPOCHS)]
    return torch.stack(looks).as_subclass(Tensor), torch.tensor(flowers.targets)


@cache
def plain(split: str) -> TensorDataset:
    flowers = tl.MiniFlowers102(split=split, transform=preset())
    return TensorDataset(torch.stack([flowers[i][0] for i in range(len(flowers))]), torch.tensor(flowers.targets))


def new_network(pretrained: bool = True) -> nn.Module:
    model = models.get_model(ARCH, weights="DEFAULT" if pretrained else None)
    model.classifier = new_head()
    return model


def new_head() -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.3), nn.Linear(640, CLASSES))


def new_mlp() -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(640, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, CLASSES))


def loaders(seed: int, **options: Any) -> tuple[Any, Any]:
    train = Looks(*training_looks(seed))
    return tl.make_loader(train, BATCH, train=True, seed=seed, **options), tl.make_loader(plain("val"), 256)


@torch.no_grad()
def features(model: nn.Module, looks: Tensor) -> Tensor:
    body = nn.Sequential(model.features, model.avgpool, nn.Flatten(1)).eval()
    chunks = [as_input(chunk).contiguous(memory_format=torch.channels_last) for chunk in looks.split(256)]
    return torch.cat([body(chunk) for chunk in chunks])


def cached_loaders(model: nn.Module, seed: int, epochs: int = EPOCHS) -> tuple[Any, Any]:
    looks, labels = training_looks(seed)
    rows = torch.stack([features(model, look) for look in looks[:epochs]])
    val = TensorDataset(features(model, plain("val").tensors[0]), plain("val").tensors[1])
    return tl.make_loader(Looks(rows, labels), BATCH, train=True, seed=seed), tl.make_loader(val, 256)


class Standardise(nn.Module):
    """Bring every feature to mean 0 and deviation 1 over the training images: a random network's are tiny."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        mean, std = features.double().mean(0), features.double().std(0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", torch.where(std > 0, std, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) / self.std).float()


def adamw(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(tl.trainable_parameters(model), lr=rate)


def fit(model: nn.Module, loaders: tuple, optimizer: torch.optim.Optimizer, epochs: int = EPOCHS, **options: Any):
    return tl.fit(model, *loaders, epochs=epochs, optimizer=optimizer, verbose=False, **options)


def train_head(model: nn.Module, seed: int, rate: float, epochs: int = EPOCHS) -> None:
    tl.freeze(model.features)
    fit(model.classifier, cached_loaders(model, seed, epochs), adamw(model.classifier, rate), epochs)


def train(strategy: str, option: Any, seed: int, rates: dict[str, Any]) -> nn.Module:
    """Return the network that a strategy trains."""
    tl.seed_everything(seed)
    model = new_network(pretrained=strategy not in ("scratch", "random frozen, linear head"))
    if strategy == "random frozen, linear head":
        model.classifier.insert(0, Standardise(features(model, plain("train").tensors[0])))
    if strategy == "frozen, MLP head":
        model.classifier = new_mlp()
    if "frozen" in strategy:
        train_head(model, seed, option)
    elif strategy in ("scratch", "fine-tuned, one rate"):
        fit(model, loaders(seed), adamw(model, option))
    elif strategy == "rates by depth, OneCycle":
        groups = parameter_groups(model, lr=option[0], factor=option[1], weight_decay=0.01)
        optimizer, (batches, val) = torch.optim.AdamW(groups), loaders(seed)
        highest = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, EPOCHS * len(batches), pct_start=0.1)
        fit(model, (batches, val), optimizer, scheduler=schedule, step_scheduler_every="batch")
    elif strategy == "linear probe, then fine-tuned":
        train_head(model, seed, rates["frozen, linear head"], PROBE_EPOCHS)
        tl.unfreeze(model)
        fit(model, loaders(seed), adamw(model, option), EPOCHS - PROBE_EPOCHS)
    elif strategy == "gradual unfreezing":
        phases = zip(PHASE_STARTS, PHASE_EPOCHS, (rates["frozen, linear head"], *option), strict=True)
        tl.fit_gradually(
            model, *loaders(seed), [tl.Phase(*phase) for phase in phases], views=sum(PHASE_EPOCHS[:2]), verbose=False
        )
    elif strategy == SMOOTHED:
        fit(model, loaders(seed), adamw(model, option), loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1))
    elif strategy == MIXED:
        mixing = tl.MixingCollate(CLASSES, mixup_alpha=0.2)
        fit(model, loaders(seed, collate_fn=mixing), adamw(model, option))
    return model


def run(strategy: str, option: Any, seed: int, rates: dict[str, Any]) -> dict[str, float]:
    training_looks(seed), plain("train"), plain("val")  # shared by all strategies: not on the clock
    start = time.process_time()
    model = train(strategy, option, seed, rates)
    seconds = time.process_time() - start
    measured = tl.evaluate(model, tl.make_loader(plain("val"), 256))
    result = {"top1": measured.accuracy, "mean_class": measured.mean_class_accuracy, "loss": measured.loss}
    return {name: round(value, 5) for name, value in result.items()} | {"seconds": round(seconds, 1)}


def key(strategy: str, option: Any, seed: int) -> str:
    return f"{strategy} | {option} | seed {seed}"


def chosen(runs: dict[str, Any], strategy: str, measure: Callable | None = None) -> Any:
    """Return the option that did best on the validation part with seed 0; measure what is missing if told how."""
    if strategy in (SMOOTHED, MIXED):
        return chosen(runs, "fine-tuned, one rate")
    if measure:
        for option in OPTIONS[strategy]:
            measure(strategy, option, 0)
    return max(OPTIONS[strategy], key=lambda option: runs[key(strategy, option, 0)]["top1"])


def of(runs: dict[str, Any], strategy: str) -> list[dict[str, float]]:
    """The finished runs of a strategy at its chosen option, one per seed."""
    option = chosen(runs, strategy)
    return [runs[key(strategy, option, seed)] for seed in SEEDS]


def text(option: Any) -> str:
    return " / ".join(f"{part:g}" for part in option) if isinstance(option, Iterable) else f"{option:g}"


def section(runs: dict[str, Any]) -> str:
    rows = []
    for strategy in STRATEGIES:
        done = of(runs, strategy)
        top1, mean_class = (mean_and_spread([one[name] for one in done]) for name in ("top1", "mean_class"))
        seconds = sum(one["seconds"] for one in done) / len(done)
        rows.append([strategy, top1, mean_class, f"{seconds:.0f}", text(chosen(runs, strategy))])
    table = markdown_table(["strategy", "top-1", "mean per class", "seconds", "rate"], rows)
    sweep = [[text(rate), mean_and_spread([runs[key("fine-tuned, one rate", rate, 0)]["top1"]])] for rate in
             OPTIONS["fine-tuned, one rate"]]  # fmt: skip
    phases, starts = ", ".join(map(str, PHASE_EPOCHS)), ", ".join(PHASE_STARTS)
    return f"""## The Flowers102 project (lesson 06)

`{ARCH}` on MiniFlowers102: 1,020 training images, judged on the 1,020 of the **validation** part (the test part is read
in one cell of lesson 06 and nowhere else). {EPOCHS} passes over the training images for every strategy, batches of
{BATCH}, the same augmented looks, {len(SEEDS)} seeds. Kept is the epoch with the lowest validation loss, and rates are
the best of a few with seed 0 on the same part, so every line is a little flattering. With ten images in every class,
top-1 and mean per class are the same number here; on the real test part they are not. Seconds: one thread's processor
time.

{table}

*rate*: of AdamW; for rates by depth the head's rate and the factor from stage to stage; for gradual unfreezing the
rates of its second and third phase. The linear probe has {PROBE_EPOCHS} of the {EPOCHS} passes; the phases of gradual
unfreezing have {phases} (everything from {starts} on).

One rate for all layers, seed 0:

{markdown_table(["rate", "top-1"], sweep)}
"""


def main() -> None:
    torch.set_num_threads(1)
    runs = Runs(NAME)
    rates: dict[str, Any] = {}

    def measure(strategy: str, option: Any, seed: int) -> None:
        runs.once(key(strategy, option, seed), lambda: run(strategy, option, seed, rates))

    for strategy in OPTIONS:  # all choices first, then all strategies seed by seed
        rates[strategy] = chosen(runs.runs, strategy, measure)
    for seed in SEEDS:
        for strategy in STRATEGIES:
            measure(strategy, chosen(runs.runs, strategy), seed)


if __name__ == "__main__":
    main()
