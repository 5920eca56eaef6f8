"""Mixed batches: images and labels share one λ, a seed repeats them, and what cannot be mixed is refused by name."""

import pickle

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers.mixing import MixingCollate, loss_floor, mix_shares

CLASSES = 5


def samples(n=6, size=16):
    """Image i is flat with value i + 1 and of class i % 5, so a mixture tells what it was made of."""
    return [(torch.full((3, size, size), float(i + 1)), i % CLASSES) for i in range(n)]


def dataset(n=24, size=8):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 3, size, size, generator=generator), torch.arange(n) % CLASSES)


def test_mixup_mixes_images_and_labels_by_the_same_share():
    torch.manual_seed(0)
    images, labels = MixingCollate(CLASSES, mixup_alpha=1.0)(samples())
    assert images.shape == (6, 3, 16, 16) and labels.shape == (6, CLASSES)
    assert labels.sum(dim=1).tolist() == pytest.approx([1] * 6)
    own = labels[1, 1].item()  # image 1 (value 2) is mixed with image 0 (value 1)
    assert 0 < own < 1 and labels[1, 0].item() == pytest.approx(1 - own)
    assert images[1].unique().item() == pytest.approx(own * 2 + (1 - own) * 1)
    assert images[0].unique().item() == pytest.approx(own * 1 + (1 - own) * 6)  # the first takes the last


def test_cutmix_share_is_the_share_of_pixels_even_where_the_box_is_clipped():
    torch.manual_seed(0)
    seen = set()
    for _ in range(50):
        images, labels = MixingCollate(CLASSES, mixup_alpha=0, cutmix_alpha=1.0)(samples())
        own = (images[1, 0] == 2).float().mean().item()
        assert labels[1, 1].item() == pytest.approx(own, abs=1e-6)
        assert set(images[1].unique().tolist()) <= {1.0, 2.0}
        seen.add(round(own, 3))
    assert len(seen) > 10


def test_is_what_torchvision_does_by_hand():
    mix = v2.MixUp(alpha=0.2, num_classes=CLASSES)
    torch.manual_seed(3)
    by_hand = mix(*torch.utils.data.default_collate(samples()))
    torch.manual_seed(3)
    ours = MixingCollate(CLASSES, mixup_alpha=0.2)(samples())
    assert all(torch.equal(a, b) for a, b in zip(by_hand, ours, strict=True))


def test_both_alphas_alternate_and_probability_leaves_batches_alone():
    torch.manual_seed(0)
    both = MixingCollate(CLASSES, mixup_alpha=1.0, cutmix_alpha=1.0)
    kinds = {len(both(samples())[0][1].unique()) for _ in range(30)}
    assert kinds >= {1, 2}  # mixup leaves a flat image flat, CutMix puts a box in it
    half = MixingCollate(CLASSES, mixup_alpha=1.0, probability=0.5)
    plain = sum(bool((half(samples())[1].amax(dim=1) == 1).all()) for _ in range(200))
    assert 70 < plain < 130


def test_one_image_passes_unmixed():
    images, labels = MixingCollate(CLASSES)(samples(1))
    assert images.unique().tolist() == [1.0] and labels.tolist() == [[1.0, 0, 0, 0, 0]]
    assert labels.dtype == torch.float32


@pytest.mark.parametrize("workers", [0, 2])
def test_same_seed_same_mixtures(workers):
    def epoch():
        tl.seed_everything(0)
        collate = MixingCollate(CLASSES, mixup_alpha=0.4, cutmix_alpha=1.0)
        loader = tl.make_loader(dataset(), 8, train=True, seed=1, num_workers=workers, collate_fn=collate)
        return [*loader, *loader]  # two epochs

    first, second = epoch(), epoch()
    assert all(torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    assert len({mix_shares(labels)[0].item() for _, labels in first}) > 1


def test_can_be_sent_to_a_worker_process():
    collate = pickle.loads(pickle.dumps(MixingCollate(CLASSES, 0.2, 1.0)))
    assert collate(samples())[1].shape == (6, CLASSES)
    assert "MixUp" in repr(collate) and "CutMix" in repr(collate)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 2.5}, "whole number"),
        ({"num_classes": 5, "mixup_alpha": -0.1}, "mixup_alpha=-0.1"),
        ({"num_classes": 5, "cutmix_alpha": float("nan")}, "cutmix_alpha=nan"),
        ({"num_classes": 5, "mixup_alpha": 0}, "both 0"),
        ({"num_classes": 5, "probability": 0}, "probability=0"),
        ({"num_classes": 5, "probability": 1.5}, "probability=1.5"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(tl.CourseError, match=message):
        MixingCollate(**settings)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([(Image.new("RGB", (8, 8)), 0)] * 2, "the images are Image"),
        ([(torch.zeros(3, 8, 8, dtype=torch.uint8), 0)] * 2, "the images are uint8"),
        ([(torch.zeros(8, 8), 0)] * 2, "shape"),
        ([(torch.zeros(3, 8, 8), 5)] * 2, "label 5 is out of range 0 .. 4"),
        ([(torch.zeros(3, 8, 8), -1)] * 2, "label -1"),
        ([(torch.zeros(3, 8, 8), torch.full((5,), 0.2))] * 2, "mixed already"),
        ([(torch.zeros(3, 8, 8), "rose")] * 2, "class number"),
        ([(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 9, 8), 0)], "differ in size"),
        ([torch.zeros(3, 8, 8)] * 2, "labels"),
    ],
)
def test_batches_that_cannot_be_mixed(batch, message):
    with pytest.raises(tl.CourseError, match=message):
        MixingCollate(CLASSES)(batch)


def test_shares_and_floor():
    labels = torch.tensor([[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]])
    assert mix_shares(labels).tolist() == pytest.approx([0.7, 1.0])
    entropy = -(0.3 * torch.tensor(0.3).log() + 0.7 * torch.tensor(0.7).log()).item()
    assert loss_floor(labels) == pytest.approx(entropy / 2)
    assert loss_floor(F.one_hot(torch.arange(3)).float()) == 0
    assert F.cross_entropy(labels.clamp(min=1e-12).log(), labels).item() == pytest.approx(loss_floor(labels), abs=1e-5)
    for wrong in (torch.tensor([0, 1]), torch.randn(4, 3), torch.zeros(0, 3), [[1.0, 0.0]]):
        with pytest.raises(tl.CourseError):
            loss_floor(wrong)
        with pytest.raises(tl.CourseError):
            mix_shares(wrong)


def test_fit_trains_on_mixed_batches_and_validates_with_plain_cross_entropy():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    train_loader = tl.make_loader(dataset(25), 8, train=True, collate_fn=MixingCollate(CLASSES, 1.0))
    val_loader = tl.make_loader(dataset(), 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    history = tl.fit(model, train_loader, val_loader, epochs=2, optimizer=optimizer, loss_fn=loss_fn, verbose=False)
    assert history.stopped == "finished" and len(history.train_loss) == 2
    images, labels = dataset().tensors
    with torch.no_grad():
        assert history.best()["val_loss"] == pytest.approx(F.cross_entropy(model(images), labels).item(), abs=1e-5)


def test_show_batch_titles_a_mixed_batch_with_its_shares():
    torch.manual_seed(0)
    data = dataset()
    collate = MixingCollate(CLASSES, mixup_alpha=1.0)
    loader = tl.make_loader(data, 8, train=True, collate_fn=collate)
    figure = tl.show_batch(loader, list("abcde"), n=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    titles = [ax.get_title() for ax in figure.axes]
    plt.close(figure)
    assert any("\n" in title and "%" in title for title in titles)


def fake_runs(script, gain):
    """Five seeds per recipe whose accuracy differs from plain by gain[recipe], plus a little that is not constant."""
    runs = {}
    for recipe in script.RECIPES:
        for seed in range(5):
            accuracy = 0.6 + 0.02 * seed + gain.get(recipe, 0) + 0.001 * (seed % 2) * (recipe != "plain")
            result = {"val_accuracy": accuracy, "val_loss": 1.0 + 0.01 * seed, "val_ece": 0.1, "val_confidence": 0.5}
            runs[script.key(recipe, script.EPOCHS, seed)] = result | {"clean_train_accuracy": 1.0}
    return runs


def test_the_measured_section_computes_its_verdicts():
    import measure_regularisation as script

    runs = fake_runs(script, {"mixup 0.2": -0.03, "label smoothing 0.1": 0.05})
    runs[script.key("CutMix 1.0", script.EPOCHS, 2)]["val_accuracy"] -= 0.04
    text = script.section(runs)
    assert text.startswith("## ") and f"### {script.EPOCHS} epochs" in text
    assert f"### {script.LONG_EPOCHS} epochs" not in text
    rows = {line.split(" | ")[0].strip("| "): line for line in text.split("paired by seed")[1].splitlines()}
    assert "-3.0" in rows["mixup 0.2"].split(" | ")[2] and "(n)" not in rows["mixup 0.2"].split(" | ")[2]
    assert "+5.0" in rows["label smoothing 0.1"] and "(n)" in rows["CutMix 1.0"].split(" | ")[2]
    assert "within noise: CutMix 1.0" in text
    one_seed = {key: run for key, run in runs.items() if key.endswith("seed 0")}
    assert "Too few seeds" in script.section(one_seed)


def test_fit_says_when_the_validation_images_are_mixed(capsys):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, CLASSES))
    mixed, plain = (tl.make_loader(dataset(), 8, collate_fn=c) for c in (MixingCollate(CLASSES), None))
    for val_loader, warned in ((mixed, True), (plain, False)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        tl.fit(model, mixed, val_loader, epochs=1, optimizer=optimizer)
        assert ("mixing belongs into the training loader only" in capsys.readouterr().out) == warned
