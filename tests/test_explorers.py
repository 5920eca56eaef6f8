"""The panel behind all explorers, and those of augmentation and mixing: what they show; they change nothing."""

import base64
import gc
import html
import io
import random
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

import tlhelpers as tl
from tlhelpers.explorers import panel as panel_file
from tlhelpers.explorers.augmentation import explore_augmentation
from tlhelpers.explorers.controls import Still
from tlhelpers.explorers.mixing import BY_HAND, DRAWN, cut_box, density, explore_mixing, mix_pair, real_mixtures
from tlhelpers.explorers.panel import VIEW, Panel, Picture, button, choice, number, png, slider, switch
from tlhelpers.explorers.recipes import CONTROLS, STATISTICS, recipe
from tlhelpers.session import CourseError

widgets = pytest.importorskip("ipywidgets", reason="the explorers move with ipywidgets, which is not installed")


def grey_panel(drawn=None, **options):
    """A panel that draws a grey square and refuses 13; `drawn` collects what it was asked for."""

    def draw(**values):
        if drawn is not None:
            drawn.append(values)
        if values["level"] == 13:
            raise RuntimeError("thirteen <is> no level")
        return Picture(Image.new("L", (8, 8), values["level"]), f'a "square" <{values["level"]}>', f"{values['level']}")

    controls = {
        "level": slider("Level", 100, 0, 255, 5),
        "share": number("Share", 0.5, 0.0, 1.0, 0.1),
        "kind": choice("Kind", ["a", "b"]),
        "flip": switch("Flip"),
        "again": button("Again"),
    }
    return Panel("Grey", controls, draw, **options)


def shown(panel):
    """The picture on the screen, and its alt text."""
    source = panel._image.value
    data = source.split("base64,")[1].split('"')[0]
    alt = html.unescape(source.split('alt="')[1].split('"')[0])
    return Image.open(io.BytesIO(base64.b64decode(data))), alt


def all_states():
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def photo(width=96, height=96, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.BICUBIC)


# --- the panel ---------------------------------------------------------------------------------------------------


def test_a_moved_control_draws_once_and_the_page_gets_the_new_picture_and_its_words():
    drawn = []
    panel = grey_panel(drawn)
    assert drawn == [{"level": 100, "share": 0.5, "kind": "a", "flip": False, "again": 0}]
    panel.controls["level"].value = 200  # as the browser does it
    assert len(drawn) == 2 and drawn[-1]["level"] == 200 and panel.values == drawn[-1]
    image, alt = shown(panel)
    assert image.getpixel((0, 0)) == 200 and alt == 'a "square" <200>'
    assert 'role="status"' in panel._status.value and 'aria-live="polite"' in panel._status.value
    assert ">200<" in panel._status.value and repr(panel) == "Grey: 200"


def test_several_controls_are_one_drawing_and_numbers_stop_at_their_end():
    drawn = []
    panel = grey_panel(drawn)
    panel.set(level=999, share=0.3, kind="b", flip=True)
    assert drawn[1:] == [{"level": 255, "share": 0.3, "kind": "b", "flip": True, "again": 0}]


def test_controls_that_move_each_other_draw_no_setting_twice():
    drawn = []
    controls = {"kind": choice("Kind", ["a", "b"]), "page": number("Page", 5, 1, 9)}
    controls["kind"].observe(lambda _: setattr(controls["page"], "value", 1), "value")
    Panel("Pages", controls, lambda **v: drawn.append(v) or Picture(Image.new("L", (2, 2)), "", ""))
    controls["kind"].value = "b"
    assert drawn == [{"kind": "a", "page": 5}, {"kind": "b", "page": 1}]


def test_pythons_clean_up_waits_for_the_picture_and_is_on_again_afterwards():
    seen = []

    def draw(level):
        seen.append(gc.isenabled())
        if level == 2:
            raise RuntimeError("no")
        return Picture(Image.new("L", (2, 2)), "", "")

    panel = Panel("Clean", {"level": number("Level", 1, 0, 2)}, draw)
    panel.set(level=2)
    assert seen == [False, False] and gc.isenabled()
    gc.disable()  # whoever switched it off keeps it off
    try:
        panel.set(level=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_button_counts_how_often_it_was_pressed():
    drawn = []
    panel = grey_panel(drawn)
    panel.controls["again"].click()
    panel.press("again")
    assert [values["again"] for values in drawn] == [0, 1, 2]


def test_every_control_is_of_a_kind_that_has_a_name_for_screen_readers():
    panel = grey_panel()
    native = (widgets.BoundedIntText, widgets.BoundedFloatText, widgets.Dropdown, widgets.Checkbox, widgets.Button)
    assert all(isinstance(control, native) and control.description for control in panel.controls.values())


def test_a_slider_is_a_number_field_with_a_track_that_follows_it():
    panel = grey_panel()
    field, track = panel._rows["level"].children
    assert field is panel.controls["level"] and isinstance(track, widgets.IntSlider)
    assert (track.value, track.min, track.max, track.step, track.readout) == (100, 0, 255, 5, False)
    link = panel._rows["level"].link
    assert link.source == (field, "value") and link.target == (track, "value")
    assert panel_file.STYLE in panel.widget.children[0].children[0].value  # hides the handle that has no name
    assert panel._rows["share"] is panel.controls["share"]  # a plain number has none


def test_what_went_wrong_stands_in_the_panel_and_the_next_setting_works_again():
    panel = grey_panel()
    panel.set(level=13)
    assert panel.status == "Not drawn: RuntimeError: thirteen <is> no level"
    assert "thirteen &lt;is&gt; no level" in panel._status.value
    assert panel.picture.status == "100"  # the last picture stays
    panel.set(level=50)
    assert panel.status == "50" and panel.error == ""


def test_a_course_error_is_shown_without_the_name_of_its_class():
    def draw(level):
        raise CourseError("level must be 1.")

    panel = Panel("Never", {"level": number("Level", 1, 0, 2)}, draw)
    assert repr(panel) == "Never: Not drawn: level must be 1."
    assert "image/png" not in panel._repr_mimebundle_()


def test_only_the_controls_that_matter_are_seen():
    panel = grey_panel(visible=lambda **values: [n for n in values if n != "flip" or values["kind"] == "b"])
    assert panel._rows["flip"].layout.display == "none" and panel._rows["level"].layout.display is None
    panel.set(kind="b")
    assert panel._rows["flip"].layout.display is None


def test_random_numbers_are_put_back_even_when_a_drawing_fails():
    def draw(level):
        torch.rand(3), random.random(), np.random.rand()
        if level == 2:
            raise RuntimeError("no")
        return Picture(Image.new("L", (2, 2)), "nothing", "nothing")

    tl.seed_everything(5)
    before = all_states()
    panel = Panel("Random", {"level": number("Level", 1, 0, 2)}, draw)
    panel.set(level=2)
    assert panel.error and all_states() == before


def test_an_unknown_control_is_named():
    with pytest.raises(CourseError, match="no control 'speed'.*level, share"):
        grey_panel().set(speed=1)


def test_the_bundle_has_the_widget_the_first_picture_and_text():
    panel = grey_panel()
    panel.set(level=200)
    bundle = panel._repr_mimebundle_()
    assert bundle[VIEW] == {"version_major": 2, "version_minor": 0, "model_id": panel.widget.model_id}
    assert bundle["text/plain"] == "Grey: 200"
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L")
    assert still.getpixel((2, 2)) == 100  # of the starting state, whatever was moved since
    assert still.height > 8  # and words below it
    assert np.asarray(still)[10:].min() < 100


def test_on_colab_the_picture_is_left_out_because_it_would_stand_there_twice(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert set(grey_panel()._repr_mimebundle_()) == {VIEW, "text/plain"}


def test_without_ipywidgets_there_is_a_picture_and_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    panel = grey_panel()
    assert panel.widget is None and all(isinstance(control, Still) for control in panel.controls.values())
    assert set(panel._repr_mimebundle_()) == {"image/png", "text/plain"}
    panel.set(level=7)
    panel.press("again")
    assert panel.values["level"] == 7 and panel.values["again"] == 1 and repr(panel) == "Grey: 7"
    assert explore_augmentation(photo()).status.startswith("RandomResizedCrop")
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert "image/png" in grey_panel()._repr_mimebundle_()  # nothing else would be seen there


def test_code_to_copy_is_shown_as_text():
    panel = Panel("Code", {}, lambda: Picture(Image.new("L", (2, 2)), "", "", code="a < b\nc"))
    assert panel._code.value == "<pre>a &lt; b\nc</pre>"


def test_a_matplotlib_figure_is_a_picture_too():
    from matplotlib.figure import Figure

    assert Image.open(io.BytesIO(png(Figure(figsize=(2, 1), dpi=50)))).size == (100, 50)


# --- augmentation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
def test_the_code_below_the_picture_makes_the_transform_that_is_shown(name):
    panel = explore_augmentation(photo(), name)
    assert panel.error == ""
    values = {key: panel.values[key] for key in CONTROLS[name]}
    make, code, _ = recipe(name, **values)
    copied = eval(code, {"v2": v2, "tl": tl, "torch": torch})
    results = []
    for transform in (make, copied):
        torch.manual_seed(3)
        results.append(v2.functional.to_image(transform(photo())))
    assert panel.picture.code == code and torch.equal(*results)


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_of_a_transform_changes_its_picture(name):
    panel = explore_augmentation(photo(120, 96), name)
    other = {"square": True, "mean_colour": True, "statistics": "0.5 for all", "largest": 0.85, "shear": 20}
    for control in CONTROLS[name]:
        before, value = png(panel.picture.image), panel.values[control]
        panel.set(**{control: other[control] if control in other else value * 0.5})
        assert panel.error == "" and png(panel.picture.image) != before, control
        assert panel._rows[control].layout.display is None
        panel.set(**{control: value})
    hidden = [key for key in panel.controls if panel._rows[key].layout.display == "none"]
    assert not set(hidden) & {"transform", "index", *CONTROLS[name]} and hidden


def test_looks_differ_where_there_is_chance_and_draw_again_draws_others():
    panel = explore_augmentation(photo(), "RandomResizedCrop")
    assert "12 different results in 12 looks" in panel.status
    first = png(panel.picture.image)
    panel.press("again")
    assert png(panel.picture.image) != first
    panel.set(again=0)
    assert png(panel.picture.image) == first  # the same dice, the same picture
    panel.set(transform="Resize")
    assert "all 12 looks are equal" in panel.status
    panel.set(transform="RandomHorizontalFlip", probability=1.0)
    assert "1 different result" in panel.status  # every picture is mirrored: no chance left


def test_the_status_tells_the_range_that_normalize_makes():
    panel = explore_augmentation(Image.new("RGB", (32, 32), "white"), "Normalize")
    assert "from 2.2 to 2.6" in panel.status  # (1 - mean) / std of red and of blue
    panel.set(statistics="without scale=True")
    assert "from 1111.4 to 1136.4" in panel.status
    codes = []
    for statistics in STATISTICS:
        panel.set(statistics=statistics)
        codes.append(panel.picture.code)
    assert codes[2].count("Normalize") == 2 and len(set(codes)) == 4


def test_a_number_from_the_browser_is_copied_as_a_person_would_write_it():
    panel = explore_augmentation(photo(), "RandomResizedCrop")
    panel.set(smallest=0.15000000000000002)
    assert panel.picture.code == "v2.RandomResizedCrop(64, scale=(0.15, 1.0))"
    panel.set(smallest=1.0, largest=0.5)  # the wrong way round is no error
    assert panel.picture.code == "v2.RandomResizedCrop(64, scale=(0.5, 1.0))"


def test_a_crop_that_cannot_be_cut_says_so():
    panel = explore_augmentation([photo(), photo(32, 32)], "RandomCrop")
    panel.set(index=1)
    assert panel.status.startswith("Not drawn: ValueError")
    panel.set(index=0)
    assert panel.error == ""


@pytest.mark.parametrize(
    "kind", ["image", "list", "tensor", "bytes", "array", "folder", "normalised", "subset", "grey", "soft labels"]
)
def test_sources(kind):
    folder = datasets.ImageFolder(tl.data_dir() / "mini" / "five-flowers")
    flower = folder[3][0]
    tensor = v2.functional.to_dtype(v2.functional.to_image(flower), torch.float32, scale=True)
    normalised = datasets.ImageFolder(folder.root, transform=tl.eval_transform(96))
    source = {
        "image": flower,
        "list": [photo(), photo(), photo(), flower],
        "tensor": tensor,
        "bytes": v2.functional.to_image(flower),
        "array": np.array(flower),
        "folder": folder,
        "normalised": normalised,
        "subset": torch.utils.data.Subset(normalised, [0, 1, 2, 3]),
        "grey": flower.convert("L"),
        "soft labels": [(flower, torch.tensor([0.5, 0.5]))] * 4,
    }[kind]
    many = kind in ("list", "folder", "normalised", "subset", "soft labels")
    panel = explore_augmentation(source, "CenterCrop", index=3 if many else 0)
    expected = explore_augmentation(flower.convert("L") if kind == "grey" else flower, "CenterCrop")
    a, b = (np.asarray(p.picture.image, dtype=float) for p in (panel, expected))
    assert np.abs(a - b).max() <= 2  # rounding to bytes, once
    named = kind in ("folder", "normalised", "subset")
    assert panel.picture.alt.startswith("picture 3, daisy: before" if named else f"picture {3 if many else 0}: before")


def test_large_photographs_are_reduced_first():
    panel = explore_augmentation(photo(640, 480), "Resize")
    assert "before, 128 x 96 pixels" in panel.picture.alt and panel.controls["size"].max == 96


def test_a_source_that_draws_random_numbers_keeps_them():
    class Restless:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Image.new("RGB", (32, 32), (int(255 * torch.rand(())), random.randrange(255), 0)), 0

    before = all_states()
    explore_augmentation(Restless()).set(index=1)
    assert all_states() == before


def test_a_picture_of_a_few_pixels_is_refused():
    with pytest.raises(CourseError, match="picture 0 has 5 x 40 pixels"):
        explore_augmentation(Image.new("RGB", (5, 40)))


def test_looking_at_augmentation_changes_nothing():
    tl.seed_everything(1)
    before = all_states()
    panel = explore_augmentation(photo())
    for name in CONTROLS:
        panel.set(transform=name)
    panel.press("again")
    assert all_states() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "not empty"),
        ((3,), "needs an image"),
        ((photo(), "Blur"), "transform='Blur' is not in the list: Resize"),
        ((photo(), "Resize", 1), "index=1 does not exist: the source has the images 0 to 0"),
        ((photo(), "Resize", 0, 4), "side=4 must lie between"),
        ((["flower.jpg"],), "picture 0 is a str, not an image"),
        (([torch.randn(3, 8, 8) * 3],), "pass mean= and std="),
    ],
)
def test_augmentation_refuses_by_name(arguments, message):
    with pytest.raises(CourseError, match=message):
        explore_augmentation(*arguments)


# --- mixing ------------------------------------------------------------------------------------------------------


def pair(size=32):
    images = torch.stack([torch.zeros(3, size, size), torch.ones(3, size, size), torch.full((3, size, size), 0.5)])
    return images, torch.tensor([0, 1, 0]), ["daisy", "rose"]


def test_the_mixture_is_what_torchvision_makes():
    images = torch.rand(2, 3, 24, 40)
    labels = torch.tensor([1, 0])
    for method in (v2.MixUp, v2.CutMix):
        for seed in range(20):
            torch.manual_seed(seed)
            theirs, soft = method(alpha=1.0, num_classes=2)(images, labels)
            torch.manual_seed(seed)  # the same draws once more
            lam = torch.distributions.Beta(torch.tensor([1.0]), torch.tensor([1.0])).sample(()).item()
            box = None
            if method is v2.CutMix:
                x, y = torch.randint(40, (1,)).item(), torch.randint(24, (1,)).item()
                box = cut_box(lam, (x + 0.5) / 40, (y + 0.5) / 24, 24, 40)
            mixture, share = mix_pair(images[1], images[0], lam, box)
            assert torch.allclose(mixture, theirs[1], atol=1e-6)
            assert share == pytest.approx(soft[1, 0].item(), abs=1e-6)


def test_a_share_set_by_hand_is_in_picture_label_and_words():
    panel = explore_mixing(*pair())
    panel.set(lam=0.25)
    assert panel.status == "mixup with λ = 0.25. Label: 25% daisy, 75% rose."
    assert panel.picture.code == "mixed = 0.25 * images[0] + 0.75 * images[1]"
    mixture = np.asarray(panel.picture.image)[60, 360]  # inside the third image
    assert np.abs(mixture.astype(int) - 191).max() <= 1  # a quarter of black, three of white
    row = np.asarray(panel.picture.image).astype(int)[193, 44:]  # through the label's bar
    blue = (row[:, 2] - row[:, 0] > 100).mean()
    assert blue == pytest.approx(0.25, abs=0.02)


def test_cutmix_counts_the_pixels_of_a_clipped_box():
    panel = explore_mixing(*pair(), method="CutMix")
    panel.set(lam=0.75)
    assert panel.status == "CutMix with λ = 0.75. Label: 75% daisy, 25% rose."
    panel.set(across=0.0, down=0.0)
    assert panel.status.startswith("CutMix with λ = 0.75 asked for, 0.94 counted. Label: 94% daisy, 6% rose")
    assert panel.picture.code.endswith("mixed[:, 0:8, 0:8] = images[1][:, 0:8, 0:8]")


def test_one_class_stays_a_hard_label():
    panel = explore_mixing(*pair())
    panel.set(second=2)
    assert panel.status.endswith("Label: 100% daisy, as both images are of this class.")


def test_drawn_shares_follow_beta():
    panel = explore_mixing(*pair())
    panel.set(origin=DRAWN, alpha=0.2)
    assert "At α = 0.2, 33% of the draws lie between 0.1 and 0.9." in panel.status
    assert panel.picture.code == "tl.MixingCollate(2, mixup_alpha=0.2)"
    shares = set()
    for again in range(8):
        panel.set(again=again)
        shares.add(panel.status.split(".  ")[0].split("Label")[0])
    assert len(shares) > 3
    panel.set(method="CutMix", alpha=1.0)
    assert panel.picture.code == "tl.MixingCollate(2, mixup_alpha=0, cutmix_alpha=1.0)"
    shown = {name for name in panel.controls if panel._rows[name].layout.display is None}
    assert shown == {"method", "first", "second", "origin", "alpha", "again"}
    panel.set(origin=BY_HAND)
    assert panel._rows["across"].layout.display is None and panel._rows["again"].layout.display == "none"


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 2.0])
def test_the_density_is_that_of_torch_and_its_middle_is_counted(alpha):
    x = torch.tensor([0.05, 0.3, 0.5, 0.9], dtype=torch.double)
    expected = torch.distributions.Beta(alpha, alpha).log_prob(x).exp()
    assert density(alpha, x.numpy()) == pytest.approx(expected.numpy(), rel=1e-5)
    generator = np.random.default_rng(0)
    drawn = generator.beta(alpha, alpha, 40_000)
    assert real_mixtures(alpha) == pytest.approx(((drawn > 0.1) & (drawn < 0.9)).mean(), abs=0.01)


def test_normalised_images_are_shown_denormalised_and_nothing_changes():
    images, labels, classes = pair()
    normalised = v2.functional.normalize(images, tl.IMAGENET_MEAN, tl.IMAGENET_STD)
    kept = normalised.clone()
    tl.seed_everything(2)
    before = all_states()
    plain = explore_mixing(images, labels, classes)
    panel = explore_mixing(normalised, labels, classes, tl.IMAGENET_MEAN, tl.IMAGENET_STD)
    for settings in ({"lam": 0.3}, {"method": "CutMix"}, {"origin": DRAWN, "again": 4}):
        panel.set(**settings), plain.set(**settings)
        a, b = (np.asarray(p.picture.image, dtype=float) for p in (panel, plain))
        assert np.abs(a - b).max() <= 2
    assert all_states() == before and torch.equal(normalised, kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(1, 3, 8, 8)}, "at least two images"),
        ({"images": torch.rand(3, 8, 8)}, "float batch"),
        ({"images": torch.zeros(3, 3, 8, 8, dtype=torch.uint8)}, "float batch"),
        ({"images": torch.randn(3, 3, 8, 8) * 3}, "pass mean= and std="),
        ({"labels": torch.tensor([0, 1])}, "one whole class number for each of the 3 images"),
        ({"labels": torch.rand(3, 2)}, "not mixed yet"),
        ({"labels": torch.tensor([0, 1, 2])}, "label 2 has no name"),
        ({"labels": torch.tensor([0, -1, 1])}, "label -1"),
        ({"method": "cutout"}, "method='cutout' must be 'mixup' or 'CutMix'"),
    ],
)
def test_mixing_refuses_by_name(change, message):
    images, labels, classes = pair()
    with pytest.raises(CourseError, match=message):
        explore_mixing(**{"images": images, "labels": labels, "classes": classes} | change)
