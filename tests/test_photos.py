"""Predictions for a folder of photos: every kind of file a learner may drop into it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tlhelpers as tl
from tlhelpers import CourseError, predict_photos

CLASSES = ["red", "green", "blue"]
TRANSFORM = tl.eval_transform(8, mean=(0.5,) * 3, std=(0.5,) * 3)


class MeanColour(nn.Module):
    """Scores are the mean of each channel; dropout gives train mode away, BatchNorm would learn from the photo."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.9)

    def forward(self, x):
        return 10 * self.drop(self.norm(x)).mean(dim=(2, 3))


def picture(colour, size=(12, 10), mode="RGB"):
    return Image.new("RGB", size, colour).convert(mode)


def predict(folder, **options):
    return predict_photos(MeanColour(), folder, TRANSFORM, CLASSES, **options)


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "bmp", "tif", "gif"])
def test_the_usual_formats(tmp_path, ending):
    picture("red").save(tmp_path / f"photo.{ending}")
    found = predict(tmp_path)
    assert [name for name, _ in found.rows] == [f"photo.{ending}"] and found.skipped == []
    top = found.rows[0][1]
    assert [label for label, _ in top][0] == "red" and len(top) == 3
    assert sum(share for _, share in top) == pytest.approx(1) and top[0][1] > top[1][1]


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA", "I;16"])
def test_every_kind_of_pixel(tmp_path, mode):
    image = Image.fromarray(np.full((9, 9), 40000, np.uint16)) if mode == "I;16" else picture("grey", mode=mode)
    image.save(tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png"))
    assert len(predict(tmp_path).rows) == 1


def test_a_photo_taken_with_the_phone_on_its_side_is_turned_upright(tmp_path):
    image = Image.fromarray(np.uint8([[[255, 0, 0]] * 8 + [[0, 0, 255]] * 8] * 8))  # left half red, right half blue
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it upright: red goes to the top
    image.save(tmp_path / "photo.png", exif=exif)
    seen = []
    predict_photos(MeanColour(), tmp_path, lambda im: seen.append(im) or TRANSFORM(im), CLASSES)
    assert seen[0].size == (8, 16) and seen[0].getpixel((4, 1)) == (255, 0, 0)


def test_what_is_no_picture_is_named_and_skipped(tmp_path):
    picture("blue").save(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("my notes")
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (tmp_path / "d.HEIC").write_bytes(b"....ftypheic")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "deeper").mkdir()
    found = predict(tmp_path)
    assert [name for name, _ in found.rows] == ["b.png"]
    reasons = dict(found.skipped)
    assert sorted(reasons) == ["a.txt", "c.jpg", "d.HEIC"]
    assert "not an image" in reasons["a.txt"] and "save the photo as JPEG" in reasons["d.HEIC"]
    assert str(tmp_path) not in "".join(reasons.values())
    assert "b.png   blue" in found.table() and "a.txt   cannot be read" in found.table()


def test_rows_are_in_the_order_of_names_and_top_is_kept(tmp_path):
    for name, colour in (("2.png", "red"), ("1.png", "blue"), ("10.png", "lime")):
        picture(colour).save(tmp_path / name)
    found = predict(tmp_path, top=1)
    assert [(name, top[0][0]) for name, top in found.rows] == [("1.png", "blue"), ("10.png", "green"), ("2.png", "red")]
    assert all(len(top) == 1 for _, top in found.rows)
    assert len(predict(tmp_path, top=99).rows[0][1]) == 3


def test_the_model_is_asked_in_eval_mode_and_left_as_it_was(tmp_path):
    picture("red").save(tmp_path / "photo.png")
    model = MeanColour().train()
    model.drop.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    answers = {str(predict_photos(model, tmp_path, TRANSFORM, CLASSES).rows) for _ in range(3)}
    assert len(answers) == 1
    assert model.training and model.norm.training and not model.drop.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_figure_names_file_class_and_probability(tmp_path):
    picture("red", (900, 700)).save(tmp_path / "photo.png")
    found = predict(tmp_path)
    assert max(found.thumbnails[0].size) == 256
    title = found.show().axes[0].get_title()
    assert title.startswith("photo.png\npredicted: red 100%")


def test_no_folder_no_file_no_picture(tmp_path):
    with pytest.raises(CourseError, match="There is no folder .*nowhere: create it"):
        predict(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="holds no files: put photos into it"):
        predict(tmp_path)
    (tmp_path / "roses").mkdir()
    with pytest.raises(CourseError, match="holds the folders roses: name one of them"):
        predict(tmp_path)
    (tmp_path / "a.txt").write_text("notes")
    with pytest.raises(CourseError, match=r"no readable picture, only a.txt \(cannot be read as an image"):
        predict(tmp_path)


def test_a_model_or_transform_that_does_not_fit_is_refused(tmp_path):
    picture("red").save(tmp_path / "photo.png")
    with pytest.raises(CourseError, match=r"gives \(1, 3\), not \(1, 2\)"):
        predict_photos(MeanColour(), tmp_path, TRANSFORM, ["red", "green"])
    with pytest.raises(CourseError, match="The transform gives Image, not a float tensor"):
        predict_photos(MeanColour(), tmp_path, lambda image: image, CLASSES)
    with pytest.raises(CourseError, match="top=0"):
        predict(tmp_path, top=0)
