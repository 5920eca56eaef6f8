"""Every check of lesson 06: says right to the solution, names the mistake in wrong answers, knows a blank."""

import math

import pytest
import torch
from answers import assert_wrong, result


@pytest.mark.parametrize("number", ["06.1", "06.2", "06.3", "06.4", "06.5", "06.6"])
def test_blank(number):
    assert result(number, ...).state == "not attempted"
    assert result(number, lambda *given: None).state == "not attempted"
    assert result(number, lambda *given: ...).state == "not attempted"
    assert_wrong(number, "give the function itself", 3)


# --- 06.1 the test part chooses the epoch


def report(val, test):
    best = max(range(len(val)), key=lambda i: val[i])
    return best + 1, test[best]


def test_report_right():
    assert result("06.1", report).state == "right"
    assert result("06.1", lambda val, test: [2, torch.tensor(0.62)]).state == "right"  # float32 dust


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda val, test: (test.index(max(test)) + 1, max(test)), "the test part has chosen"),
        (lambda val, test: (val.index(max(val)) + 1, max(val)), "its validation accuracy"),
        (lambda val, test: (val.index(max(val)) + 1, max(test)), "the best test accuracy of any epoch"),
        (lambda val, test: (val.index(max(val)), test[val.index(max(val))]), "counted from 0"),
        (lambda val, test: (len(val), test[-1]), "the test part has chosen"),
        (lambda val, test: (3, test[2]), "it chooses epoch 3"),
        (lambda val, test: max(val), "return two things"),
        (lambda val, test: (2, 0.5), "the test accuracy of the chosen epoch is 0.62"),
    ],
)
def test_report_wrong(answer, mistake):
    assert_wrong("06.1", mistake, answer)


# --- 06.2 mean per class


def mean_per_class(labels, predicted):
    right = (labels == predicted).float()
    return torch.stack([right[labels == c].mean() for c in labels.unique()]).mean().item()


def by_prediction(labels, predicted):
    right = (labels == predicted).float()
    return torch.stack([right[predicted == c].mean() for c in predicted.unique()]).mean().item()


def over_all_numbers(labels, predicted, classes=6):
    right = (labels == predicted).float()
    return sum(right[labels == c].mean().item() for c in labels.unique()) / classes


def test_mean_per_class_right():
    assert result("06.2", mean_per_class).state == "right"
    assert result("06.2", lambda a, b: torch.tensor(mean_per_class(a, b))).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda labels, predicted: (labels == predicted).float().mean().item(), "that is top-1"),
        (by_prediction, "grouped by what was predicted"),
        (over_all_numbers, "classes that do not occur"),
        (lambda *given: over_all_numbers(*given, classes=102), "classes that do not occur"),
        (lambda *given: 100 * mean_per_class(*given), "in per cent"),
        (lambda *given: float("nan"), "the answer is nan"),
        (lambda *given: 0.5, "the classes have 6/8, 1/4 and 2/2"),
    ],
)
def test_mean_per_class_wrong(answer, mistake):
    assert_wrong("06.2", mistake, answer)


# --- 06.3 how many test images


def images_needed(p, half):
    return math.ceil(1.96**2 * p * (1 - p) / half**2)


def test_images_needed_right():
    assert result("06.3", images_needed).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda p, h: math.ceil(p * (1 - p) / h**2), "the factor 1.96 is missing"),
        (lambda p, h: math.ceil(1.96 * p * (1 - p) / h**2), "outside the square"),
        (lambda p, h: math.ceil(1.96**2 * p * (1 - p) / h), "half width is not squared"),
        (lambda p, h: math.ceil(1.96 * math.sqrt(p * (1 - p)) / h), "that is the root"),
        (lambda p, h: math.ceil(1.96**2 * p / h**2), "accuracy * (1 - accuracy)"),
        (lambda p, h: math.ceil(4 * 1.96**2 * p * (1 - p) / h**2), "do not halve it again"),
        (lambda p, h: 1.96**2 * p * (1 - p) / h**2, "round up"),
        (lambda p, h: 100, "it gives 100"),
        (lambda p, h: 3458, "about 385 images"),
    ],
)
def test_images_needed_wrong(answer, mistake):
    assert_wrong("06.3", mistake, answer)


# --- 06.4 the title


def title(guess, truth, classes):
    return f"predicted: {classes[guess]}\ntrue: {classes[truth]}"


def test_title_right():
    assert result("06.4", title).state == "right"
    assert result("06.4", lambda g, t, c: f"True: {c[t]}, predicted {c[g]}").state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda g, t, c: f"predicted: {c[t]}\ntrue: {c[g]}", "the names are swapped"),
        (lambda g, t, c: f"true: {c[g]}\npredicted: {c[t]}", "the names are swapped"),
        (lambda g, t, c: f"predicted: {c[g]}", "must name both classes"),
        (lambda g, t, c: f"predicted: {g}\ntrue: {t}", "must name both classes"),
        (lambda g, t, c: (c[g], c[t]), "return one string"),
        (lambda g, t, c: f"predicted: {c[g]}\ntrue: {c[t]} {c[1]}", "a class nobody asked about"),
    ],
)
def test_title_wrong(answer, mistake):
    assert_wrong("06.4", mistake, answer)


# --- 06.5 Grad-CAM of a frozen network


def with_hook(place, hook, model, images, label):
    handle = place.register_forward_hook(hook)
    try:
        return model(images)[:, label].sum()
    finally:
        handle.remove()


def gradient_at(model, place, images, label, copy=lambda maps: maps.clone(), start=lambda m: m.detach()):
    kept = []

    def keep(module, inputs, output):
        kept.append(start(output).requires_grad_())
        return copy(kept[0])

    return torch.autograd.grad(with_hook(place, keep, model, images, label), kept[0])[0]


def no_gradient(model, place, images, label):
    kept = []
    score = with_hook(place, lambda module, inputs, output: kept.append(output), model, images, label)
    return torch.autograd.grad(score, kept[0])[0]


def not_handed_on(model, place, images, label):
    kept = []
    images.requires_grad_()  # or torch complains about the scores first

    def keep(module, inputs, output):
        kept.append(output.detach().clone().requires_grad_())

    return torch.autograd.grad(with_hook(place, keep, model, images, label), kept[0])[0]


def unfreezes(model, place, images, label):
    model.requires_grad_(True)
    return gradient_at(model, place, images, label)


def hook_stays(model, place, images, label):
    place.register_forward_hook(lambda module, inputs, output: None)
    return gradient_at(model, place, images, label)


def at_the_image(model, place, images, label):
    images.requires_grad_()
    return torch.autograd.grad(model(images)[:, label].sum(), images)[0]


def test_gradient_at_right():
    assert result("06.5", gradient_at).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (no_gradient, "ask for no gradient"),
        (lambda *given: gradient_at(*given, copy=lambda maps: maps), "hand the network a .clone()"),
        (not_handed_on, "the hook must return it"),
        (unfreezes, "not frozen any more"),
        (hook_stays, "handle.remove()"),
        (at_the_image, "the gradient at the output of the module"),
        (lambda *given: 2 * gradient_at(*given), "the numbers differ"),
        (lambda *given: "nothing", "return the gradient, a tensor"),
    ],
)
def test_gradient_at_wrong(answer, mistake):
    assert_wrong("06.5", mistake, answer)


# --- 06.6 one's own photo


def ask(model, photo, transform):
    model.eval()
    with torch.no_grad():
        return model(transform(photo).unsqueeze(0)).softmax(dim=1)[0]


def answer_with(last, mode="eval"):
    def answer(model, photo, transform):
        getattr(model, mode)()
        return last(model(transform(photo).unsqueeze(0)))

    return answer


def test_ask_right():
    assert result("06.6", ask).state == "right"
    assert result("06.6", answer_with(lambda scores: scores.softmax(1))).state == "right"  # still one row of a batch


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (answer_with(lambda scores: scores.sigmoid()[0]), "sigmoid asks each class alone"),
        (answer_with(lambda scores: scores[0]), "these are the raw scores"),
        (answer_with(lambda scores: scores.softmax(0)[0]), "every class gets 100 %"),
        (answer_with(lambda scores: scores.softmax(1)[0], mode="train"), "in train mode"),
        (answer_with(lambda scores: scores.softmax(1).max()), "it returns 1 numbers"),
        (answer_with(lambda scores: scores.softmax(1)[0] / 2), "not softmax of the model's scores"),
        (answer_with(lambda scores: "rose"), "return the tensor of probabilities"),
        (lambda model, photo, transform: model(photo).softmax(0), "in train mode"),
    ],
)
def test_ask_wrong(answer, mistake):
    assert_wrong("06.6", mistake, answer)
