"""The bundled flower scenes: boxes hug masks, labels fit, transforms move all of it, damage is named."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

import tlhelpers as tl

ROOT = tl.data_dir() / "mini" / "meadow"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "data"))

import build_images  # noqa: E402
import render_meadow  # noqa: E402


@pytest.fixture(scope="module")
def course():
    return tl.Course("mini", torch.device("cpu"), 0, tl.data_dir(), Path("unused"))


@pytest.fixture(scope="module")
def val(course):
    dataset = tl.flower_scenes(course, "val")
    return [dataset[index] for index in range(len(dataset))]


@pytest.fixture
def planted(tmp_path):
    """Two scenes of 8 x 6 pixels in the layout on disk; the mask of the first one has a flower of a single pixel."""
    owners = np.zeros((2, 6, 8), np.uint8)
    owners[0, 1:4, 2:7], owners[0, 5, 7] = 1, 2
    owners[1, :, 0] = 1
    for folder in ("images", "masks"):
        (tmp_path / "train" / folder).mkdir(parents=True)
    for number, owner in enumerate(owners, start=1):
        Image.new("RGB", (8, 6), "green").save(tmp_path / "train" / "images" / f"{number:04d}.jpg")
        Image.fromarray(owner).save(tmp_path / "train" / "masks" / f"{number:04d}.png")
    flowers = {"train": {"0001": ["tulip", "daisy"], "0002": ["sunflower"]}, "val": {}}
    annotations = {"classes": ["daisy", "sunflower", "tulip"], "flowers": flowers}
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    return tmp_path


def test_an_item_is_what_detection_networks_of_torchvision_expect(val):
    for number, (image, target) in enumerate(val):
        count = len(target["labels"])
        assert isinstance(image, tv_tensors.Image) and image.shape == (3, 128, 128) and image.dtype == torch.uint8
        assert isinstance(target["boxes"], tv_tensors.BoundingBoxes) and isinstance(target["masks"], tv_tensors.Mask)
        assert target["boxes"].shape == (count, 4) and target["boxes"].dtype == torch.float32
        assert target["boxes"].format.value == "XYXY" and tuple(target["boxes"].canvas_size) == (128, 128)
        assert target["masks"].shape == (count, 128, 128) and target["masks"].dtype == torch.uint8
        assert target["labels"].dtype == torch.int64 and target["image_id"] == number
        assert 1 <= count <= 5 and 1 <= target["labels"].min() and target["labels"].max() <= 3


def test_boxes_hug_the_masks(val):
    for _, target in val:
        for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
            left, top, right, bottom = box
            assert mask[top:bottom, left:right].sum() == mask.sum(), "the box holds the whole flower"
            edges = [mask[top], mask[bottom - 1], mask[:, left], mask[:, right - 1]]
            assert all(edge.any() for edge in edges), "and no row or column more"


def test_a_box_ends_behind_the_last_pixel(planted):
    _, target = tl.FlowerScenes(planted)[0]
    assert target["boxes"].tolist() == [[2, 1, 7, 4], [7, 5, 8, 6]]
    assert target["labels"].tolist() == [3, 1]
    _, thin = tl.FlowerScenes(planted)[-1]
    assert thin["boxes"].tolist() == [[0, 0, 1, 6]] and thin["image_id"] == 1


def test_masks_do_not_overlap_and_make_the_class_map(val):
    for _, target in val:
        assert target["masks"].sum(0).max() == 1
        classes = tl.semantic_mask(target)
        assert classes.dtype == torch.int64 and classes.shape == (128, 128)
        for label in range(4):
            owned = target["masks"][target["labels"] == label].sum(0) if label else 1 - target["masks"].sum(0)
            assert torch.equal((classes == label).int(), owned.int())


def test_the_splits_have_their_sizes_every_class_and_scenes_of_their_own(course):
    seen = {}
    for split, count in (("train", 80), ("val", 30)):
        scenes = tl.flower_scenes(course, split)
        assert len(scenes) == count
        shares = torch.bincount(torch.tensor(sum(scenes.labels, [])), minlength=4)[1:] / sum(map(len, scenes.labels))
        assert shares.min() > 0.2, "no class is rare"
        assert {len(labels) for labels in scenes.labels} == {1, 2, 3, 4, 5}
        seen[split] = {(ROOT / split / "images" / f"{name}.jpg").read_bytes() for name in scenes.names}
        assert len(seen[split]) == count
    assert not seen["train"] & seen["val"]


def test_the_flower_is_where_its_mask_is(course):
    """Petals inside the masks, meadow outside: outside, green is the stronger."""
    greener = {"inside": [], "outside": []}
    for image, target in [tl.flower_scenes(course, "val")[index] for index in range(12)]:
        pixels, flower = image.float(), tl.semantic_mask(target) > 0
        excess = pixels[1] - torch.maximum(pixels[0], pixels[2])
        greener["inside"].append(excess[flower].mean())
        greener["outside"].append(excess[~flower].mean())
    assert sum(a < b for a, b in zip(greener["inside"], greener["outside"], strict=True)) >= 11


def test_flips_and_crops_move_image_boxes_and_masks_together(course):
    image, target = tl.flower_scenes(course, "val")[0]
    flipped, moved = tl.flower_scenes(course, "val", v2.RandomHorizontalFlip(p=1.0))[0]
    assert torch.equal(flipped, image.flip(-1)) and torch.equal(moved["masks"], target["masks"].flip(-1))
    mirrored = target["boxes"].clone()
    mirrored[:, [0, 2]] = 128 - target["boxes"][:, [2, 0]]
    assert torch.equal(moved["boxes"], mirrored)
    assert torch.equal(moved["labels"], target["labels"])
    steps = v2.Compose([v2.Resize(64), v2.ToDtype(torch.float32, scale=True)])
    small, target = tl.flower_scenes(course, "val", steps)[0]
    assert small.shape == (3, 64, 64) and small.max() <= 1 and target["masks"].shape[1:] == (64, 64)
    assert target["boxes"].max() <= 64
    torch.manual_seed(0)
    crop = v2.Compose([v2.RandomCrop(48), v2.SanitizeBoundingBoxes(min_size=1)])
    kept = 0
    for image, target in [tl.flower_scenes(course, "val", crop)[index] for index in range(6)]:
        count = len(target["labels"])
        assert image.shape == (3, 48, 48) and target["masks"].shape == (count, 48, 48) and len(target["boxes"]) == count
        kept += count
    everything = sum(map(len, tl.flower_scenes(course, "val").labels[:6]))
    assert 0 < kept < everything, "some flowers are outside such a crop, and they are taken out everywhere"


def test_a_training_step_of_torchvisions_detector_takes_them(val):
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=len(tl.scene_classes))
    images, targets = zip(*val[:2], strict=True)
    losses = model([image / 255 for image in images], list(targets))
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_semantic_mask_says_what_it_needs():
    masks = torch.zeros(2, 3, 4, dtype=torch.uint8)
    masks[0, 0], masks[1, 0, :2] = 1, 1
    assert tl.semantic_mask({"labels": torch.tensor([1, 2]), "masks": masks})[0].tolist() == [2, 2, 1, 1]
    for target in ({"labels": torch.tensor([1])}, {"labels": torch.tensor([1]), "masks": masks}):
        with pytest.raises(tl.CourseError, match="of the same N"):
            tl.semantic_mask(target)


def test_semantic_mask_of_a_whole_item_says_to_take_it_apart(val):
    with pytest.raises(tl.CourseError, match=r"a dictionary, not tuple: image, target = scenes\[0\]"):
        tl.semantic_mask(val[0])


@pytest.mark.parametrize("index", [slice(0, 2), [0, 1], "0001", 1.0])
def test_what_is_no_number_of_a_scene_is_refused(planted, index):
    with pytest.raises(tl.CourseError, match="is no single scene: take one number"):
        tl.FlowerScenes(planted)[index]


def test_other_whole_numbers_are_numbers_too_and_a_loop_ends(planted):
    scenes = tl.FlowerScenes(planted)
    for index in (np.int64(1), torch.tensor(1), -1):
        assert scenes[index][1]["image_id"] == 1
    assert [target["image_id"] for _, target in scenes] == [0, 1]


def test_an_unknown_split_is_refused(course):
    with pytest.raises(tl.CourseError, match='take "train" or "val"'):
        tl.flower_scenes(course, "test")


def test_missing_or_damaged_files_are_named(planted):
    whole = (planted / "train" / "masks" / "0002.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"text"):
        (planted / "train" / "masks" / "0002.png").write_bytes(content)
        with pytest.raises(tl.CourseError, match=r"0002\.png cannot be read as a mask.*git checkout"):
            tl.FlowerScenes(planted)[1]
    (planted / "train" / "masks" / "0002.png").unlink()
    with pytest.raises(tl.CourseError, match=r"0002\.png cannot be read as a mask"):
        tl.FlowerScenes(planted)[1]
    (planted / "train" / "images" / "0001.jpg").unlink()
    with pytest.raises(tl.CourseError, match=r"0001\.jpg"):
        tl.FlowerScenes(planted)[0]


def swapped(mask):
    return np.where(mask == 1, 3, mask).astype(np.uint8)


@pytest.mark.parametrize("change", [swapped, np.zeros_like, lambda mask: mask[:5]], ids=["numbers", "empty", "size"])
def test_a_mask_that_does_not_belong_to_its_scene_is_refused(planted, change):
    file = planted / "train" / "masks" / "0001.png"
    with Image.open(file) as image:
        mask = np.array(image)
    Image.fromarray(change(mask)).save(file)
    with pytest.raises(tl.CourseError, match=r"0001\.png does not belong .* 0 to 2"):
        tl.FlowerScenes(planted)[0]


def test_a_coloured_mask_is_refused(planted):
    Image.new("RGB", (8, 6)).save(planted / "train" / "masks" / "0001.png")
    with pytest.raises(tl.CourseError, match="colour image"):
        tl.FlowerScenes(planted)[0]


@pytest.mark.parametrize(
    "text, complaint",
    [
        (None, "is missing"),
        ('{"classes": ["daisy"', "cannot be read"),
        ("[]", "cannot be read"),
        ('{"classes": ["daisy", "sunflower", "tulip"]}', "cannot be read"),
        ('{"classes": ["rose"], "flowers": {"train": {"0001": ["rose"]}}}', "other classes"),
        ('{"classes": ["daisy", "sunflower", "tulip"], "flowers": {"train": {"0001": ["rose"]}}}', "other classes"),
        ('{"classes": ["daisy", "sunflower", "tulip"], "flowers": {"train": {}}}', "other classes"),
    ],
)
def test_damaged_annotations_are_named(planted, text, complaint):
    file = planted / "annotations.json"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(tl.CourseError, match=rf"annotations\.json.*{complaint}"):
        tl.FlowerScenes(planted)


def test_a_scene_is_drawn_again_from_its_number(course):
    image, owner, kinds = render_meadow.drawn("val", 3)
    kept, target = tl.flower_scenes(course, "val")[2]
    assert [render_meadow.CLASSES[kind - 1] for kind in kinds] == [tl.scene_classes[k] for k in target["labels"]]
    again = np.asarray(Image.open(io.BytesIO(build_images.jpeg(image))), float)
    # another JPEG library or processor may round differently; the picture must be the same
    assert np.abs(again - kept.permute(1, 2, 0).numpy()).mean() < 1.0
    known = (target["masks"] * torch.arange(1, len(kinds) + 1)[:, None, None]).sum(0)
    assert (torch.from_numpy(owner).int() != known).float().mean() < 0.002


def test_halving_gives_a_pixel_to_the_flower_that_holds_half_of_it():
    owner = np.array([[1, 0, 0, 0, 2, 2], [1, 0, 0, 1, 1, 1]])
    assert render_meadow.halve(owner).tolist() == [[1, 0, 1]]


def test_the_scenes_are_small_and_nothing_else_lies_there():
    files = [file for file in ROOT.rglob("*") if file.is_file()]
    names = {file.relative_to(ROOT).as_posix() for file in files}
    assert names == {path.removeprefix("meadow/") for path in render_meadow.paths()}
    assert sum(file.stat().st_size for file in files) <= 1_500_000


def test_the_data_card_counts_what_lies_there(course):
    card = (Path(render_meadow.__file__).parent / "README.md").read_text(encoding="utf-8")
    columns = {}
    for split in render_meadow.COUNTS:
        scenes = tl.flower_scenes(course, split)
        labels = sum(scenes.labels, [])
        pixels = sorted(torch.cat([scenes[index][1]["masks"].sum((1, 2)) for index in range(len(scenes))]).tolist())
        columns[split] = [
            str(len(scenes)),
            " / ".join(str(labels.count(label)) for label in (1, 2, 3)),
            " / ".join(str([len(flowers) for flowers in scenes.labels].count(n)) for n in range(1, 6)),
            f"{pixels[0]}, {pixels[len(pixels) // 2]}, {pixels[-1]}",
        ]
    for train, val in zip(*columns.values(), strict=True):
        assert f"| {train} | {val} |" in card
