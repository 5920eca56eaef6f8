"""The five recipes: each runs by its command on small planted data, in both profiles, and corrects what it says."""

import re
from pathlib import Path

import measure_recipes
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch import nn
from torchvision import models
from torchvision.datasets import Flowers102

import tlhelpers as tl
from tlhelpers.recipes import RECIPES, Setup, common, r1_strategies, r4_vgg_on_stl10, run
from tlhelpers.recipes.__main__ import main
from tlhelpers.session import Course
from tlhelpers.stl10 import LabelledSTL10

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipes.md"
COLOURS = [(220, 60, 60), (60, 200, 60), (60, 60, 220), (200, 200, 60), (180, 60, 200)]


def picture(colour, seed, size=(32, 32)):
    noise = np.random.default_rng(seed).integers(-40, 40, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def plant_folder(root, classes, count):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(COLOURS[number], i).save(root / name / f"{i}.png")
    return root


def plant_flowers(root, labels, splits):
    """Flowers102's layout below `root`: labels count from 1, splits are lists of image numbers from 1."""
    (root / "flowers-102" / "jpg").mkdir(parents=True)
    for number, label in enumerate(labels, start=1):
        picture(COLOURS[label % 5], number).save(root / "flowers-102" / "jpg" / f"image_{number:05d}.jpg")
    savemat(root / "flowers-102" / "imagelabels.mat", {"labels": np.array([labels])})
    ids = {name: np.array([numbers]) for name, numbers in zip(("trnid", "valid", "tstid"), splits, strict=True)}
    savemat(root / "flowers-102" / "setid.mat", ids)


def plant_stl10(root, train=30, test=10):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 10 + 1
        pixels = np.random.default_rng(count).integers(0, 50, (count, 3, 96, 96)) + 20 * labels[:, None, None, None]
        pixels.astype(np.uint8).tofile(folder / f"{split}_X.bin")
        labels.astype(np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(tl.MiniSTL10(split="test").classes) + "\n")
    folds = "\n".join(" ".join(str(i) for i in range(fold, train, 10)) for fold in range(10))
    (folder / "fold_indices.txt").write_text(folds)


def plant_weights(folder, arch):
    """torchvision's file for `arch`, a few kilobytes: each tensor is one number that stands for all."""
    with torch.device("meta"):
        shapes = {name: (t.shape, t.dtype) for name, t in models.get_model(arch, weights=None).state_dict().items()}
    state = {name: torch.zeros((), dtype=kind).expand(shape) for name, (shape, kind) in shapes.items()}
    torch.save(state, folder / models.get_model_weights(arch).DEFAULT.url.rpartition("/")[2])


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def mini(tmp_path):
    return Course("mini", torch.device("cpu"), 0, tl.data_dir(), tmp_path / "downloads")


@pytest.fixture
def full(tmp_path, monkeypatch):
    # the planted label files have no published checksum
    monkeypatch.setattr(
        Flowers102, "_file_dict", {key: (name, None) for key, (name, _) in Flowers102._file_dict.items()}
    )
    monkeypatch.setattr(common, "make_loader", lambda *a, **o: tl.make_loader(*a, **o | {"num_workers": 0}))
    return Course("full", torch.device("cpu"), 0, tl.data_dir(), tmp_path / "downloads")


def is_picture(file):
    with Image.open(file) as image:
        return min(image.size) > 100 and np.asarray(image).std() > 5


# The command


def test_without_a_name_the_recipes_are_listed(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert [line[:2] for line in said.splitlines()[:5]] == list(RECIPES) and "docs/recipes.md" in said


def test_an_unknown_recipe_and_a_folder_that_is_none_end_with_a_sentence(capsys, tmp_path):
    assert main(["R7"]) == 1
    assert "R0, R1, R2, R3, R4" in capsys.readouterr().out
    assert main(["R3", "--profile", "mini", "--data", str(tmp_path / "gone"), "--out", str(tmp_path)]) == 1
    assert "There is no folder" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["R3", "--epochs", "0"])


@pytest.mark.parametrize("name", ["R1", "R4"])
def test_recipes_about_one_data_set_take_no_other(name, tmp_path, capsys):
    assert main([name, "--profile", "mini", "--data", str(tmp_path)]) == 1
    assert f"{name} is about" in capsys.readouterr().out


def test_an_out_that_is_a_file_is_named(mini, tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(tl.CourseError, match="--out .*taken"):
        common.save_figure(Setup(mini, tmp_path / "taken"), None, "curves.png")


# The images: where they come from, how they are split


def test_the_parts_share_no_image_and_keep_the_class_shares(mini, tmp_path):
    parts = common.three_parts(Setup(mini, tmp_path))
    assert [len(part) for part in parts] == [480, 60, 60]
    assert [np.bincount(part.targets).tolist() for part in parts] == [[96] * 5, [12] * 5, [12] * 5]
    again = common.three_parts(Setup(mini, tmp_path))
    assert torch.equal(parts[1].images[7], again[1].images[7])
    seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_splitting_opens_no_image(full, tmp_path, monkeypatch):
    data = plant_folder(tmp_path / "data", ["ant", "bee"], 10)
    monkeypatch.setattr(common, "load_image", lambda path: pytest.fail(f"opened {path}"))
    assert [len(part) for part in common.three_parts(Setup(full, tmp_path, data))] == [16, 2, 2]


def test_a_folder_with_train_and_val_is_taken_as_it_is_split(mini, tmp_path):
    for split, count in (("train", 7), ("val", 4)):
        plant_folder(tmp_path / "insects" / split, ["ants", "bees"], count)
    train, val, test = common.three_parts(Setup(mini, tmp_path, tmp_path / "insects"))
    assert (len(train), len(val), len(test)) == (14, 4, 4) and val.classes == ["ants", "bees"]
    (tmp_path / "insects" / "val" / "bees").rename(tmp_path / "insects" / "val" / "wasps")
    with pytest.raises(tl.CourseError, match="ants, wasps"):
        common.three_parts(Setup(mini, tmp_path, tmp_path / "insects"))


def test_a_folder_with_one_class_is_refused(tmp_path, capsys):
    data = plant_folder(tmp_path / "data", ["ants"], 10)
    assert main(["R3", "--profile", "mini", "--data", str(data), "--epochs", "1", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert f"--data {data} holds one class only, ants: add a folder" in said and "Test accuracy" not in said


def test_too_few_images_are_named_by_folder_and_class(mini, tmp_path):
    data = plant_folder(tmp_path / "data", ["ants", "bees"], 3)
    assert [len(part) for part in common.three_parts(Setup(mini, tmp_path, data))] == [2, 2, 2]
    (data / "bees" / "2.png").unlink()
    with pytest.raises(tl.CourseError, match=rf"--data {re.escape(str(data))}: the class bees has 2 .* at least 3"):
        common.three_parts(Setup(mini, tmp_path, data))
    for split in ("train", "val"):
        plant_folder(tmp_path / "split" / split, ["ants", "bees"], 1)
    with pytest.raises(tl.CourseError, match=r"--data .*val: the class ants has 1 .* at least 2"):
        common.three_parts(Setup(mini, tmp_path, tmp_path / "split"))


def test_validation_is_never_augmented_by_the_training_transform(mini, tmp_path):
    from torchvision.transforms import v2

    setup = Setup(mini, tmp_path, plant_folder(tmp_path / "data", ["ant", "bee"], 10))
    train, val, _ = common.three_parts(setup)
    flip = v2.Compose([v2.RandomHorizontalFlip(1.0), tl.eval_transform(8)])
    turned, plain = (common.loader_for(setup, train, how).dataset[0][0] for how in (flip, tl.eval_transform(8)))
    assert torch.allclose(turned.flip(2), plain, atol=0.1) and not torch.equal(turned, plain)
    assert train.transform is None, "a loader is a view, the part itself keeps no transform"


def test_the_five_flowers_of_the_real_set_are_pooled_and_renamed(full, tmp_path):
    five = [tl.FLOWERS102_CLASSES.index(name) + 1 for name in common.FIVE_OF_102.values()]
    labels = five * 10 + [1] * 6
    numbers = list(range(1, len(labels) + 1))
    plant_flowers(full.downloads, labels, (numbers[:20], numbers[20:30], numbers[30:]))
    train, val, test = common.three_parts(Setup(full, tmp_path))
    assert train.classes == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    assert [np.bincount(part.targets).tolist() for part in (train, val, test)] == [[8] * 5, [1] * 5, [1] * 5]
    label = five[val.targets[0]]
    assert labels[int(re.search(r"(\d+)\.jpg", str(val.files[0]))[1]) - 1] == label


def test_flowers_that_cannot_be_had_leave_the_bundled_five(full, tmp_path, capsys):
    parts = common.three_parts(Setup(full, tmp_path))  # the unit tests have no network
    assert "could not be downloaded" in capsys.readouterr().out
    assert [len(part) for part in parts] == [480, 60, 60]


# The recipes in mini


def test_r0_keeps_the_network_still_and_the_best_weights_in_a_file(mini, tmp_path, capsys):
    data = plant_folder(tmp_path / "data", ["ant", "bee", "wasp"], 20)
    out = tmp_path / "out"
    results = run("R0", Setup(mini, out, data, epochs=2))
    said = capsys.readouterr().out
    assert len(re.findall(r"^epoch \d/2 ", said, re.MULTILINE)) == 2 and "LogSoftmax" in said
    assert results["test_accuracy"] > 0.6, "three colours are easy"
    fresh, _ = tl.pretrained(mini, "resnet10")
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    layers = [nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 3), nn.LogSoftmax(dim=1)]
    tl.replace_head(fresh, 3, nn.Sequential(*layers))
    tl.load_checkpoint(out / "best.pt", fresh, classes=["ant", "bee", "wasp"])
    after = fresh.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("fc."))
    assert torch.allclose(fresh.eval()(torch.rand(2, 3, 64, 64)).exp().sum(1), torch.ones(2), atol=1e-5)
    assert "LogSoftmax" in (out / "model.txt").read_text()
    assert all(is_picture(out / name) for name in ("training_batch.png", "curves.png"))


def test_r0_turns_uncover_no_black(mini, tmp_path, monkeypatch):
    """White images, turned and cropped: with a black filling the corners would be far below all other values."""
    seen = {}

    class Enough(Exception):
        pass

    def stop_here(model, train, *others, **options):
        seen["train"] = train
        raise Enough

    monkeypatch.setattr(tl, "fit", stop_here)
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (96, 96), "white").save(tmp_path / "data" / name / f"{i}.png")
    with pytest.raises(Enough):
        run("R0", Setup(mini, tmp_path, tmp_path / "data"))
    tl.seed_everything(0)
    images = torch.cat([images for images, _ in seen["train"]])
    assert images.shape[1:] == (3, 64, 64) and images.min() > -0.1, "0 is the mean colour, black is near -2"
    assert (images < 1).any(), "corners do come into view"


def test_r2_trains_a_head_and_then_everything(mini, tmp_path, capsys, monkeypatch):
    data = plant_folder(tmp_path / "data", ["ants", "bees"], 20)
    learning, fit = [], tl.fit

    def noted(model, *loaders, optimizer, **options):
        held = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
        learning.append((*tl.count_parameters(model), held))
        return fit(model, *loaders, optimizer=optimizer, **options)

    monkeypatch.setattr(tl, "fit", noted)
    results = run("R2", Setup(mini, tmp_path / "out", data, epochs=2))
    said = capsys.readouterr().out
    assert learning == [(4_906_818, 1026, 1026), (4_906_818, 4_906_818, 4_906_818)]
    assert said.index("epoch 2/2") < said.index("all layers learn") < said.index("epoch 1/1")
    assert re.search(r"The first test image: (ants|bees) \(\d+%\), truly ants\.", said)
    assert set(results) == {"val_accuracy_frozen", "val_accuracy", "test_accuracy"}
    assert is_picture(tmp_path / "out" / "curves.png")


def test_r3_by_its_command(tmp_path, capsys):
    data = plant_folder(tmp_path / "data", ["ant", "bee", "wasp"], 20)
    out = tmp_path / "out"
    assert main(["r3", "--profile", "mini", "--data", str(data), "--epochs", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "48 images to train, 6 to choose the epoch, 6 to test: ant, bee, wasp" in said
    assert re.search(r"head +1,539 +1,539", said) and re.search(r"total +[\d,]+ +1,539", said), "only the head trains"
    assert "95 % interval" in said and "R3 took" in said
    assert all(is_picture(out / name) for name in ("training_batch.png", "curves.png", "predictions.png"))


def test_r1_runs_every_strategy_and_tests_the_chosen_one_once(tmp_path, capsys, monkeypatch):
    chosen = range(1, 103, 4)  # one image of each of the 26 classes in every split
    labels = [label for _ in range(3) for label in chosen]
    splits = [list(range(1 + 26 * part, 27 + 26 * part)) for part in range(3)]
    plant_flowers(tmp_path / "planted" / "mini", labels, splits)
    course = Course("mini", torch.device("cpu"), 0, tmp_path / "planted", tmp_path / "downloads")
    optimizers = []
    fit = tl.fit

    def noted(model, *loaders, optimizer, **options):
        optimizers.append(optimizer)
        return fit(model, *loaders, optimizer=optimizer, **options)

    monkeypatch.setattr(tl, "fit", noted)
    results = run("R1", Setup(course, tmp_path / "out", epochs=1))
    said = capsys.readouterr().out
    assert "26 images to train, 26 to choose by, 26 to test, 26 classes" in said
    assert said.count("The test split is used here, once") == 1 and said.count("Test accuracy") == 1
    assert sorted(results) == sorted([f"val_accuracy, {name}" for name in r1_strategies.STRATEGIES] + ["test_accuracy"])
    assert said.count("phase ") == 3 and "3 here, where the other strategies have 1." in said
    per_layer = optimizers[2]  # fit_gradually calls its own fit
    assert [group["max_lr"] for group in per_layer.param_groups] == list(r1_strategies.RATES.values())
    assert is_picture(tmp_path / "out" / "strategies.png")


@pytest.fixture
def random_vgg(monkeypatch):
    """vgg9_bn at a random start: this test is about the recipe, not about the bundled file."""
    from tlhelpers import backbones

    monkeypatch.setattr(backbones.VGG9_BN_Weights, "get_state_dict", lambda *a, **o: start)
    classes = len(models.get_model_weights("vgg9_bn").DEFAULT.meta["categories"])
    torch.manual_seed(0)
    start = tl.vgg9_bn(num_classes=classes).state_dict()


def test_r4_trains_classifier_6_or_all_layers(tmp_path, random_vgg, capsys):
    plant_stl10(tmp_path / "planted" / "mini")
    course = Course("mini", torch.device("cpu"), 0, tmp_path / "planted", tmp_path / "downloads")
    setup = Setup(course, tmp_path / "out", epochs=1)
    results = run("R4", setup)
    said = capsys.readouterr().out
    assert "(6): Linear(in_features=512, out_features=10" in said
    own = re.search(r"own: mean ([\d.]+), ", said)
    assert 0.3 < float(own[1]) < 0.7, "the planted images are brighter the higher their class"
    assert len(results) == 6 and said.count("chosen") == 1 and "flatter" not in said
    assert all(is_picture(tmp_path / "out" / name) for name in ("padded_crops.png", "curves.png"))
    model, optimizer = r4_vgg_on_stl10.network(setup, 10, whole=False)
    held = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
    assert held == 512 * 10 + 10 == tl.count_parameters(model)[1]
    tl.train_mode(model)  # as the page says: between frozen layers no dropout, before the new one
    assert [layer.training for layer in model.classifier if isinstance(layer, nn.Dropout)] == [False, True]
    model, optimizer = r4_vgg_on_stl10.network(setup, 10, whole=True)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len({id(parameter) for parameter in held}) == len(held) == len(list(model.parameters()))
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.001]


# The recipes in full: planted weights under torchvision's names, planted images, no network


@pytest.mark.parametrize(("name", "arch"), [("R0", "resnet50"), ("R2", "resnet18"), ("R3", "resnet18")])
def test_the_full_profile_uses_the_real_networks(name, arch, full, tmp_path, torch_home, capsys):
    plant_weights(torch_home, arch)
    five = [tl.FLOWERS102_CLASSES.index(each) + 1 for each in common.FIVE_OF_102.values()]
    if name == "R2":
        five = five[1:4:2]  # dandelion and sunflower
    labels = five * 4
    numbers = list(range(1, len(labels) + 1))
    plant_flowers(full.downloads, labels, (numbers[:4], numbers[4:6], numbers[6:]))
    out = tmp_path / "out"
    results = run(name, Setup(full, out, epochs=1))
    said = capsys.readouterr().out
    assert "could not" not in said and "epoch 1/1" in said
    assert 0 <= results["test_accuracy"] <= 1
    if name == "R0":
        assert "(layer4)" in (out / "model.txt").read_text() and "in_features=2048" in said


def test_r1_in_full_uses_resnet50_and_efficientnet_b0(full, tmp_path, torch_home, monkeypatch, capsys):
    for arch in ("resnet50", "efficientnet_b0"):
        plant_weights(torch_home, arch)
    plant_flowers(full.downloads, [1, 102, 3, 4, 5, 6], ([1, 2], [3, 4], [5, 6]))
    some = {name: r1_strategies.STRATEGIES[name] for name in ("head only", "project, mixup")}
    monkeypatch.setattr(r1_strategies, "STRATEGIES", some)
    results = run("R1", Setup(full, tmp_path / "out", epochs=1))
    said = capsys.readouterr().out
    assert "2 images to train, 2 to choose by, 2 to test, 102 classes" in said and "could not" not in said
    assert len(results) == 3


def test_r4_in_full_uses_vgg16_on_the_real_layout(full, tmp_path, torch_home, monkeypatch, capsys):
    plant_weights(torch_home, "vgg16")
    plant_stl10(full.downloads, train=20)
    for name in ("train_list", "test_list"):  # the planted files have no published checksum
        monkeypatch.setattr(LabelledSTL10, name, [[file, None] for file, _ in getattr(LabelledSTL10, name)])
    monkeypatch.setattr(r4_vgg_on_stl10, "RUNS", {"new layer only": ("ImageNet", False)})
    run("R4", Setup(full, tmp_path / "out", epochs=1))
    said = capsys.readouterr().out
    assert "(6): Linear(in_features=4096, out_features=10" in said and "could not" not in said
    assert "from ImageNet" in said, "the overlap is said"


# The page


def test_the_page_belongs_to_what_was_measured():
    assert measure_recipes.main(["--check"]) == 0, "python scripts/measure_recipes.py --show"


def test_a_page_without_its_markers_and_a_stale_one_are_noticed(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="markers of recipes"):
        measure_recipes.filled("no marker", {"recipes": "table"})
    stale = re.sub(r"(<!-- measured: R1 -->).*?(<!-- measured: end -->)", r"\1old\2", PAGE.read_text(), flags=re.DOTALL)
    monkeypatch.setattr(measure_recipes, "PAGE", tmp_path / "recipes.md")
    (tmp_path / "recipes.md").write_text(stale)
    assert measure_recipes.main(["--check"]) == 1
    assert measure_recipes.main(["--show"]) == 0
    assert (tmp_path / "recipes.md").read_text() == PAGE.read_text()


def test_the_tables_come_from_the_runs():
    def run_of(accuracy):
        return {"test_accuracy": accuracy, "val_accuracy, head only": accuracy / 2, "seconds": 20.0}

    runs = {f"R1, seed {seed}": run_of(0.2 + 0.1 * seed) for seed in range(3)}
    texts = measure_recipes.tables(runs, "a machine")
    assert re.search(r"\| R1: .*\| 30\.0 ± 10\.0 \| 3 \| 20 s \|", texts["recipes"])
    assert "| R0: " not in texts["recipes"] and "| head only | 15.0 ± 5.0 |" in texts["R1"]
    assert texts["R4"] == texts["held out"] == "Not measured yet."
    both = {f"{part}_accuracy, {name}": 0.5 for part in ("val", "test") for name in ("new layer only", "all layers")}
    both |= {f"{part}_accuracy, new layer only, own statistics": 0.48 for part in ("val", "test")} | {"seconds": 9.0}
    assert "by seed: -2.0." in measure_recipes.tables({"R4, seed 0": both}, "")["R4"]


def test_both_choices_are_made_by_accuracy_on_the_curves_of_one_training():
    curves = [0.3, 0.5, 0.5, 0.4], [0.2, 0.3, 0.6, 0.7]
    assert measure_recipes.chosen_by_both(*curves) == {"honest": 0.3, "chosen by test": 0.7}
    assert measure_recipes.chosen_by_both([0.1, 0.9], [0.4, 0.8]) == {"honest": 0.8, "chosen by test": 0.8}


def test_the_sentence_about_the_choosing_test_gives_means_over_seeds():
    runs = {f"quirk test chooses, seed {i}": {"honest": 0.4, "chosen by test": 0.42 + 0.02 * i} for i in range(2)}
    said = " ".join(measure_recipes.tables(runs, "")["test chooses"].split())
    assert "2 seeds: test accuracy 40.0 ± 0.0 %" in said and "43.0 ± 1.4 %" in said and "gain of 3.0 points" in said


def test_the_page_names_every_recipe_and_links_to_files_that_exist():
    text = PAGE.read_text(encoding="utf-8")
    for name, (file, _) in RECIPES.items():
        assert f"({file}.py)" in text.replace("../tlhelpers/recipes/", "") and f"\n## {name}: " in text
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "notebooks/0" not in target:  # the lessons' own tests look after those
            assert (PAGE.parent / target).exists(), target
