"""Figures say what they should in words, undo normalisation, refuse what they cannot show, and leave no trace."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

import tlhelpers as tl
from tlhelpers import plots

CLASSES = ["daisy", "hard-leaved pocket orchid", "tulip"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


class Pictures(torch.utils.data.Dataset):
    """Nine flat images, class i % 3, normalised; the pixel value tells which image it is."""

    transform = tl.eval_transform(8)
    classes = CLASSES

    def __init__(self):
        self.targets = [index % 3 for index in range(9)]

    def __len__(self):
        return 9

    def __getitem__(self, index):
        torch.rand(1)  # as a random transform would
        return self.transform(Image.new("RGB", (8, 8), (index * 10, 100, 200))), self.targets[index]


def guesses(predicted, labels=None):
    predicted = torch.as_tensor(predicted)
    labels = torch.tensor([index % 3 for index in range(len(predicted))]) if labels is None else torch.tensor(labels)
    return SimpleNamespace(probabilities=torch.eye(3)[predicted] * 0.7 + 0.1, labels=labels, predicted=predicted)


def run(best=2, epochs=3):
    curve = [1.0 / (epoch + 1) for epoch in range(epochs)]
    return SimpleNamespace(train_loss=curve, val_loss=curve, train_accuracy=curve, val_accuracy=curve, best_epoch=best)


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def shown(figure):
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


def test_show_images_takes_batches_lists_pil_and_arrays():
    batch = torch.rand(3, 3, 8, 8)
    for images in (batch, list(batch), [Image.new("RGB", (8, 8))] * 3, [np.zeros((8, 8, 3))] * 3, [batch[0][:1]] * 3):
        assert len(shown(tl.show_images(images, ["a", "b", "c"]))) == 3
    assert len(shown(tl.show_images(torch.rand(11, 3, 4, 4), ncols=4))) == 11


def test_show_images_undoes_normalize():
    image = Pictures()[3][0]
    picture = shown(tl.show_images([image], mean=tl.IMAGENET_MEAN, std=tl.IMAGENET_STD))[0]
    assert (picture[4, 4] * 255).tolist() == pytest.approx([30, 100, 200], abs=0.5)


def test_show_images_refuses_what_it_cannot_show():
    with pytest.raises(tl.CourseError, match="mean= and std="):
        tl.show_images([Pictures()[0][0]])
    with pytest.raises(tl.CourseError, match="3 images but 2 titles"):
        tl.show_images(torch.rand(3, 3, 4, 4), ["a", "b"])
    with pytest.raises(tl.CourseError, match="no images"):
        tl.show_images([])
    with pytest.raises(tl.CourseError, match="shape"):
        tl.show_images(torch.rand(2, 4, 4, 3))


def test_show_batch_finds_names_and_normalisation_by_itself():
    figure = tl.show_batch(Subset(Pictures(), [4, 5]))
    assert titles(figure) == ["hard-leaved\npocket orchid", "tulip"]
    assert (shown(figure)[0][4, 4] * 255).tolist() == pytest.approx([40, 100, 200], abs=0.5)


def test_folder_names_wrap_at_their_words():
    figure = tl.show_images(torch.rand(1, 3, 4, 4), ["branching_filaments"])
    assert titles(figure) == ["branching\nfilaments"]


def test_show_batch_spreads_over_a_dataset():
    values = [round(float(picture[4, 4, 0]) * 255) for picture in shown(tl.show_batch(Pictures(), n=3))]
    assert values == [0, 40, 80]


def test_show_batch_of_a_loader_changes_neither_its_order_nor_random_numbers():
    def order(loader):
        return torch.cat([labels for _, labels in loader]).tolist() + [torch.rand(1).item()]

    torch.manual_seed(0)
    expected = order(tl.make_loader(Pictures(), 4, train=True))
    torch.manual_seed(0)
    loader = tl.make_loader(Pictures(), 4, train=True)
    figure = tl.show_batch(loader, n=3)
    assert len(shown(figure)) == 3
    assert order(loader) == expected


def test_show_batch_writes_mixed_labels_as_shares():
    figure = tl.show_batch([(torch.rand(3, 4, 4), torch.tensor([0.7, 0.0, 0.3]))], CLASSES)
    assert titles(figure) == ["70% daisy\n30% tulip"]


def test_history_shows_loss_above_accuracy_and_marks_the_best_epoch():
    figure = tl.plot_history(run(best=2))
    above, below = figure.axes
    assert above.get_ylabel().startswith("loss") and below.get_ylabel() == "accuracy"
    assert above.get_position().y0 > below.get_position().y0
    lines = {line.get_label(): line for line in above.lines}
    assert set(lines) == {"training", "validation", "best epoch (2)"}
    assert list(lines["best epoch (2)"].get_xdata()) == [2]
    assert lines["training"].get_linestyle() != lines["validation"].get_linestyle(), "not by colour alone"


def test_history_of_several_runs_differs_by_name_colour_and_marker():
    figure = tl.plot_history({"frozen": run(), "scratch": run(best=3)})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert "frozen: validation" in lines and "scratch: best epoch (3)" in lines
    frozen, scratch = lines["frozen: validation"], lines["scratch: validation"]
    assert frozen.get_color() != scratch.get_color() and frozen.get_marker() != scratch.get_marker()


def test_history_of_one_epoch_and_of_none():
    tl.plot_history(run(best=1, epochs=1))
    with pytest.raises(tl.CourseError, match="no epoch"):
        tl.plot_history(run(best=0, epochs=0))
    with pytest.raises(tl.CourseError, match="no epoch"):
        tl.plot_history({})


def test_predictions_say_predicted_true_and_wrong_in_words():
    figure = tl.show_predictions(guesses([0, 0, 2]), Subset(Pictures(), range(3)), CLASSES)
    first, second, _ = (" ".join(title.split()) for title in titles(figure))
    assert first == "predicted: daisy 80% true: daisy"
    assert second == "WRONG predicted: daisy 80% true: hard-leaved pocket orchid"


def test_predictions_can_be_narrowed_to_one_kind():
    predictions = guesses([0, 0, 2, 0, 1, 1])
    data = Subset(Pictures(), range(6))
    assert all(
        title.startswith("WRONG") for title in titles(tl.show_predictions(predictions, data, CLASSES, only="wrong"))
    )
    assert len(shown(tl.show_predictions(predictions, data, CLASSES, only="right"))) == 4
    with pytest.raises(tl.CourseError, match="nothing to show"):
        tl.show_predictions(guesses([0, 1, 2]), Subset(Pictures(), range(3)), CLASSES, only="wrong")
    with pytest.raises(tl.CourseError, match="choose"):
        tl.show_predictions(predictions, data, CLASSES, only="bad")


def test_predictions_of_another_dataset_or_order_are_refused():
    with pytest.raises(tl.CourseError, match="does not shuffle"):
        tl.show_predictions(guesses([0, 1, 2], labels=[2, 1, 0]), Subset(Pictures(), range(3)), CLASSES)
    with pytest.raises(tl.CourseError, match="3 predictions"):
        tl.show_predictions(guesses([0, 1, 2]), Pictures(), CLASSES)
    with pytest.raises(tl.CourseError, match="reach class 2"):
        tl.most_confused(guesses([0, 1, 2]), CLASSES[:2])
    with pytest.raises(tl.CourseError, match="empty"):
        tl.most_confused(guesses(torch.zeros(0, dtype=torch.long)), CLASSES)


def test_most_confused_counts_directed_pairs_in_a_stable_order():
    # true:                       0  1  2  0  1  2  0  1  2
    predictions = guesses(predicted=[1, 0, 2, 1, 1, 0, 2, 0, 2])
    orchid = CLASSES[1]
    expected = [("daisy", orchid, 2), (orchid, "daisy", 2), ("daisy", "tulip", 1), ("tulip", "daisy", 1)]
    assert tl.most_confused(predictions, CLASSES, k=9) == expected
    assert tl.most_confused(predictions, CLASSES, k=1) == expected[:1]
    assert tl.most_confused(guesses([0, 1, 2]), CLASSES) == []


def test_confused_pairs_show_the_mistaken_images_and_one_to_compare():
    figure = tl.plot_confused(guesses([1, 0, 2, 1, 1, 0, 2, 0, 2]), Pictures(), CLASSES, k=1)
    values = [round(float(picture[4, 4, 0]) * 255) for picture in shown(figure)]
    assert values == [0, 30, 10], "images 0 and 3 are daisies taken for orchids, image 1 is an orchid"
    said = [" ".join(title.split()) for title in titles(figure) if title]
    assert said[0] == "true: daisy predicted: hard-leaved pocket orchid (2 of 3 images)"
    assert said[-1] == "for comparison, truly hard-leaved pocket orchid"
    with pytest.raises(tl.CourseError, match="all 9 predictions are right"):
        tl.plot_confused(guesses([0, 1, 2] * 3), Pictures(), CLASSES)


def test_bars_write_their_value_and_show_every_seed():
    ax = tl.compare_bars({"scratch": 0.2, "frozen": [0.5, 0.6]}, title="test", chance=0.01).axes[0]
    assert [text.get_text() for text in ax.texts] == ["20.0%", "55.0%"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["scratch", "frozen"]
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.6]
    assert "guessing, 1.0%" in ax.get_xlabel()
    with pytest.raises(tl.CourseError, match="nothing to compare"):
        tl.compare_bars({})


def test_plots_return_figures_and_leave_the_settings_alone():
    before = dict(plt.rcParams)
    for figure in (tl.plot_history(run()), tl.compare_bars({"a": 0.5}), tl.show_images(torch.rand(1, 3, 4, 4))):
        assert isinstance(figure, plots.Figure)
    assert dict(plt.rcParams) == before
    assert len(plots.COLOURS) == len(set(plots.COLOURS)) == 7
