"""Every check of lesson 02: says right to the solution, names the mistake in wrong answers, knows a blank."""

import copy

import pytest
import torch
from answers import assert_wrong, result
from torch import nn
from torchvision import models

import tlhelpers as tl


def network(classes=7):
    torch.manual_seed(0)
    return models.get_model("resnet10", weights=None, num_classes=classes)


def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


def new_head(model, classes):
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model


def sgd(parameters):
    return torch.optim.SGD([p for p in parameters], lr=0.01)


# --- 02.1 a new head


def test_new_head_right():
    assert result("02.1", network(), nn.Linear(512, 5)).state == "right"
    assert result("02.1", network(5), nn.Linear(512, 5)).state == "right"  # the cell is run again after the exercise


def test_new_head_blank():
    assert result("02.1", network(), ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (nn.Linear(5, 512), "the wrong way round"),
        (nn.Linear(7, 5), "the number of source classes"),
        (nn.Linear(2048, 5), "takes 2048 numbers, but 512 arrive"),
        (nn.Linear(512, 102), "gives 102 scores"),
        (5, "make a linear layer"),
        (nn.Sequential(nn.Linear(512, 5)), "make a linear layer"),
    ],
)
def test_new_head_wrong(answer, mistake):
    assert_wrong("02.1", mistake, network(), answer)


# --- 02.2 the freeze that does nothing


def typo(model):
    for parameter in model.parameters():
        parameter.requires_grad_ = False
    return model


def only_convolutions(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "conv" not in name
    return model


def test_freeze_right():
    suspect = new_head(freeze(network()), 5)
    assert result("02.2", suspect).state == "right"
    assert [p.requires_grad for p in suspect.fc.parameters()] == [True, True]


def test_freeze_blank():
    assert result("02.2", ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda: new_head(typo(network()), 5), "never set the flag"),
        (lambda: new_head(only_convolutions(network()), 5), "bn1.weight for one"),
        (lambda: freeze(new_head(network(), 5)), "now the head is frozen too"),
        (lambda: new_head(freeze(network()), 2), "gives 2 scores"),
        (lambda: 3, "the check cannot work with this answer"),
    ],
)
def test_freeze_wrong(answer, mistake):
    assert_wrong("02.2", mistake, answer())


# --- 02.3 a head with LogSoftmax


def head(last=None, classes=102, hidden=256, inputs=512, rate=0.4):
    layers = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(rate), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers, *([] if last is None else [last]))


def test_head_right():
    answer = head(nn.LogSoftmax(dim=1)).train()
    assert result("02.3", 512, answer).state == "right"
    assert answer.training and answer[2].training
    assert result("02.3", 512, head(nn.LogSoftmax(dim=-1))).state == "right"


def test_head_blank():
    assert result("02.3", 512, ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (head(), "raw scores"),
        (head(nn.Softmax(dim=1)), "outputs are probabilities"),
        (head(nn.LogSoftmax(dim=0)), "over the images (dim=0)"),
        (head(nn.LogSoftmax(dim=1), classes=5), "102 classes"),
        (head(nn.LogSoftmax(dim=1), hidden=128), "both should be 256"),
        (head(nn.LogSoftmax(dim=1), inputs=100), "512 features arrive"),
        (head(nn.LogSoftmax(dim=1), rate=0.5), "the task says 0.4"),
        (nn.Sequential(nn.Linear(512, 102), nn.LogSoftmax(dim=1)), "found 1 linear layer"),
        (nn.Sequential(nn.Linear(512, 256), nn.Dropout(0.4), nn.Linear(256, 102), nn.LogSoftmax(dim=1)), "no ReLU"),
        (nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 102), nn.LogSoftmax(dim=1)), "dropout"),
        (
            nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 102), nn.Dropout(0.4), nn.LogSoftmax(dim=1)),
            "switch off whole classes",
        ),
        (
            nn.Sequential(nn.ReLU(), nn.Linear(512, 256), nn.Dropout(0.4), nn.Linear(256, 102), nn.LogSoftmax(dim=1)),
            "between the two linear layers",
        ),
        ([nn.Linear(512, 256), nn.Linear(256, 102)], "nn.Sequential"),
    ],
)
def test_head_wrong(answer, mistake):
    assert_wrong("02.3", mistake, 512, answer)


# --- 02.4 the optimiser that trains nothing


def optimizer_first():
    pupil = network()
    optimizer = sgd(pupil.parameters())
    return new_head(freeze(pupil), 2), optimizer


def everything_held():
    pupil = new_head(freeze(network()), 2)
    return pupil, sgd(pupil.parameters())


def nothing_frozen():
    pupil = new_head(network(), 2)
    return pupil, sgd(pupil.parameters())


def all_frozen():
    pupil = freeze(new_head(network(), 2))
    return pupil, sgd(pupil.parameters())


def bias_forgotten():
    pupil = new_head(freeze(network()), 2)
    return pupil, sgd([pupil.fc.weight])


def old_head_too():
    pupil = freeze(network())
    old = list(pupil.fc.parameters())
    new_head(pupil, 2)
    return pupil, sgd([*old, *pupil.fc.parameters()])


def five_classes():
    pupil = new_head(freeze(network()), 5)
    return pupil, sgd(pupil.fc.parameters())


def test_optimizer_right():
    pupil = new_head(freeze(network()), 2)
    before = copy.deepcopy(pupil.state_dict())
    assert result("02.4", pupil, sgd(p for p in pupil.parameters() if p.requires_grad)).state == "right"
    assert result("02.4", pupil, sgd(tl.trainable_parameters(pupil))).state == "right"
    assert all(torch.equal(before[name], tensor) for name, tensor in pupil.state_dict().items())


def test_optimizer_blank():
    assert result("02.4", network(), ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (optimizer_first, "does not hold the new head"),
        (everything_held, "also 12 frozen parameters"),
        (nothing_frozen, "the whole network would be trained"),
        (all_frozen, "nothing in the network asks for a gradient"),
        (bias_forgotten, "holds 1 of the 2"),
        (old_head_too, "no longer belong to the network"),
        (five_classes, "gives 5 scores"),
    ],
)
def test_optimizer_wrong(answer, mistake):
    pupil, optimizer = answer()
    if "12" in mistake:
        mistake = mistake.replace("12", str(len(list(pupil.parameters())) - 2))
    assert_wrong("02.4", mistake, pupil, optimizer)


# --- 02.5 the unfair average


def test_accuracy_right():
    assert result("02.5", lambda b: sum(r for r, n in b) / sum(n for r, n in b)).state == "right"


@pytest.mark.parametrize("answer", [..., None, lambda batches: None, lambda batches: ...])
def test_accuracy_blank(answer):
    assert result("02.5", answer).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda b: sum(r / n for r, n in b) / len(b), "each batch still counts the same"),
        (lambda b: sum(r for r, n in b) / (len(b) * b[0][1]), "counts the short batch as a full one"),
        (lambda b: sum(r for r, n in b) / len(b), "right answers per batch"),
        (lambda b: 100 * sum(r for r, n in b) / sum(n for r, n in b), "in per cent"),
        (lambda b: 0.5, "65 of 74 images"),
        (0.878, "give the function itself"),
        (lambda b: b[0]["right"], "the check cannot work with this answer"),
    ],
)
def test_accuracy_wrong(answer, mistake):
    assert_wrong("02.5", mistake, answer)


# --- 02.6 the best epoch that was not kept


@pytest.mark.parametrize(
    "answer",
    [
        lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()},
        lambda model: copy.deepcopy(model.state_dict()),
        lambda model: {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()},
    ],
)
def test_snapshot_right(answer):
    assert result("02.6", answer).state == "right"


@pytest.mark.parametrize("answer", [..., None, lambda model: None])
def test_snapshot_blank(answer):
    assert result("02.6", answer).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda model: model.state_dict(), "the snapshot changed"),
        (lambda model: dict(model.state_dict()), "the snapshot changed"),
        (lambda model: model.state_dict().copy(), "the snapshot changed"),
        (lambda model: {name: tensor.cpu() for name, tensor in model.state_dict().items()}, "the snapshot changed"),
        (lambda model: {name: p.detach().clone() for name, p in model.named_parameters()}, "buffers"),
        (lambda model: [p.clone() for p in model.parameters()], "return a dictionary"),
        (lambda model: {name: b.clone() for name, b in model.named_buffers()}, "copy all of model.state_dict()"),
        ({}, "give the function itself"),
    ],
)
def test_snapshot_wrong(answer, mistake):
    assert_wrong("02.6", mistake, answer)


# --- 02.7 the answer that changes its mind


def predicted(model, image):
    model.eval()
    with torch.no_grad():
        return model(image.unsqueeze(0)).argmax(dim=1).item()


def without_no_grad(model, image):
    return model.eval()(image.unsqueeze(0)).argmax(dim=1).item()


def in_train_mode(model, image):
    model.train()
    return model(image.unsqueeze(0)).argmax(dim=1).item()


def mode_left_alone(model, image):
    with torch.no_grad():
        return model(image.unsqueeze(0)).argmax(dim=1).item()


def only_dropout_stopped(model, image):
    model.drop.eval()
    return mode_left_alone(model, image)


def scores_returned(model, image):
    return model.eval()(image.unsqueeze(0))


def score_instead_of_class(model, image):
    return int(model.eval()(image.unsqueeze(0)).max().item())


def batch_forgotten(model, image):
    return model.eval()(image).argmax(dim=1).item()


def test_predicted_class_right():
    assert "less memory" not in result("02.7", predicted).message
    assert result("02.7", predicted).state == "right"
    plain = result("02.7", without_no_grad)
    assert plain.state == "right" and "less memory" in plain.message


@pytest.mark.parametrize("answer", [..., lambda model, image: None, lambda model, image: ...])
def test_predicted_class_blank(answer):
    assert result("02.7", answer).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (in_train_mode, "different answers"),
        (mode_left_alone, "different answers"),
        (only_dropout_stopped, "BatchNorm learned from the image"),
        (scores_returned, "a tensor of several numbers"),
        (score_instead_of_class, "use argmax(dim=1)"),
        (batch_forgotten, "the check cannot work with this answer"),
        (3, "give the function itself"),
    ],
)
def test_predicted_class_wrong(answer, mistake):
    assert_wrong("02.7", mistake, answer)
