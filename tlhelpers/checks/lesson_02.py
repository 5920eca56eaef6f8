"""Checks of lesson 02: the new head, freezing, heads and losses, the optimiser, averages, best epoch, eval mode."""

from __future__ import annotations

import torch
from torch import nn

from . import attempted, exercise, require


@exercise("02.1", expects="the network and your nn.Linear, in this order")
def check_new_head(network, new_head):
    attempted(new_head)
    require(
        isinstance(new_head, nn.Linear),
        f"that is a {type(new_head).__name__}: make a linear layer, nn.Linear(inputs, outputs)",
    )
    inputs, sources, given = network.fc.in_features, network.fc.out_features, new_head.in_features
    require(
        (given, new_head.out_features) != (5, inputs),
        "inputs and outputs are the wrong way round: the features go in, the five scores come out",
    )
    require(
        given != sources or sources == inputs,
        f"{given} is the number of source classes, what the old head puts out: take what goes into it, fc.in_features",
    )
    require(given == inputs, f"your layer takes {given} numbers, but {inputs} arrive: ask the old head, fc.in_features")
    require(
        new_head.out_features == 5,
        f"your layer gives {new_head.out_features} scores per image: five flowers need five",
    )
    return f"{inputs} features go in, one score per flower comes out, and the line works for any network with an fc"


@exercise("02.2", expects="a network with a new head in fc")
def check_freeze(suspect):
    attempted(suspect)
    body = [(name, p) for name, p in suspect.named_parameters() if not name.startswith("fc.")]
    training = [name for name, p in body if p.requires_grad]
    example = training[0] if training else ""
    head = list(suspect.fc.parameters())
    require(
        len(training) < len(body),
        f"all {len(body)} parameters of the body still ask for a gradient: the loop ran, but it never set the flag. "
        "Print parameter.requires_grad inside it",
    )
    require(
        not training,
        f"{len(training)} of {len(body)} parameters of the body still ask for a gradient, {example} for one: "
        "loop over all of suspect.parameters()",
    )
    require(
        all(p.requires_grad for p in head),
        "now the head is frozen too, so nothing would be trained: freeze first, put the new head on afterwards",
    )
    require(suspect.fc.out_features == 5, f"the head gives {suspect.fc.out_features} scores, five flowers need five")
    return f"{len(body)} parameters of the body are frozen, and only the head's {len(head)} will be trained"


@exercise("02.3", expects="the number of features and an nn.Sequential of five layers, in this order")
def check_flower_head(inputs, head):
    attempted(head)
    require(isinstance(head, nn.Module), f"that is a {type(head).__name__}: put the layers into nn.Sequential(...)")
    linear = [part for part in head.modules() if isinstance(part, nn.Linear)]
    require(len(linear) == 2, f"found {len(linear)} linear layer(s): one to 256 and one from 256 to the classes")
    require(
        linear[0].out_features == linear[1].in_features == 256,
        f"the first layer gives {linear[0].out_features} numbers, the second takes {linear[1].in_features}: "
        "both should be 256",
    )
    given = linear[0].in_features
    require(given == inputs, f"the first layer takes {given} numbers, but {inputs} features arrive: use inputs")
    classes = linear[1].out_features
    require(classes == 102, f"the head gives {classes} numbers per image: the set has 102 classes")
    kinds = [type(part) for part in head.modules()]
    last_linear = len(kinds) - 1 - kinds[::-1].index(nn.Linear)
    require(nn.ReLU in kinds, "no ReLU between the linear layers: two linear layers in a row can do no more than one")
    require(
        kinds.index(nn.Linear) < kinds.index(nn.ReLU) < last_linear,
        "the ReLU belongs between the two linear layers",
    )
    dropout = [part for part in head.modules() if isinstance(part, nn.Dropout)]
    require(dropout, "the dropout is missing: nn.Dropout(0.4) between the linear layers")
    require(
        kinds.index(nn.Dropout) < last_linear,
        "the dropout comes after the last linear layer and would switch off whole classes: put it before",
    )
    require(abs(dropout[0].p - 0.4) < 1e-6, f"the dropout rate is {dropout[0].p:g}: the task says 0.4")
    _check_log_probabilities(head, linear[0])
    return "each row holds the logarithms of 102 probabilities that add up to one, which is what NLLLoss expects"


def _check_log_probabilities(head: nn.Module, first: nn.Linear) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, first.in_features, generator=generator).to(first.weight.device)
    with torch.no_grad():
        out = head.eval()(rows)
    require(
        not torch.allclose(out.sum(dim=1), torch.ones(7).to(out), atol=1e-3),
        "the outputs are probabilities (Softmax): NLLLoss needs their logarithm, so end with nn.LogSoftmax(dim=1)",
    )
    require((out <= 1e-6).all(), "the outputs are raw scores: the last layer, nn.LogSoftmax(dim=1), is missing")
    require(
        not torch.allclose(out.exp().sum(dim=0), torch.ones(102).to(out), atol=1e-3),
        "the probabilities add up to one over the images (dim=0): each image needs its own sum, so use dim=1",
    )
    require(
        torch.allclose(out.exp().sum(dim=1), torch.ones(7).to(out), atol=1e-3),
        "exp(outputs) of one image do not add up to one: LogSoftmax(dim=1) has to be the last layer",
    )


@exercise("02.4", expects="the network and its optimiser, in this order")
def check_optimizer(pupil, optimizer):
    attempted(pupil, optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    own = {id(p): name for name, p in pupil.named_parameters()}
    training = {id(p) for p in pupil.parameters() if p.requires_grad}
    require(training, "nothing in the network asks for a gradient: the new head has to come after the freezing")
    require(
        len(training) < len(own),
        "the whole network would be trained: freeze it before the new head comes on",
    )
    require(
        training & held,
        "the optimiser does not hold the new head: its steps train a head that is no longer there. When did it get "
        "its list?",
    )
    strangers = held - set(own)
    require(
        not strangers,
        f"{len(strangers)} parameters in the optimiser no longer belong to the network: make the optimiser last",
    )
    frozen = held - training
    require(
        not frozen,
        f"the optimiser holds the head, but also {len(frozen)} frozen parameters, {own.get(next(iter(frozen), 0))} for "
        "one: give it only those whose requires_grad is true",
    )
    require(
        held == training,
        f"the optimiser holds {len(held)} of the {len(training)} parameters that train: give it all of them",
    )
    outputs = pupil.fc.out_features
    require(outputs == 2, f"the head gives {outputs} scores: this task has two classes")
    return f"freeze, new head, then the optimiser: it holds the {len(held)} parameters that train and nothing else"


@exercise("02.5", expects="a function that takes a list of pairs (right answers, batch size)")
def check_accuracy(accuracy):
    attempted(accuracy)
    require(callable(accuracy), "give the function itself, accuracy, not what it returns")
    even, ragged = [(16, 32), (24, 32)], [(32, 32), (32, 32), (1, 10)]
    got_even, got = accuracy(list(even)), accuracy(list(ragged))
    attempted(got_even, got, todo="the function returns nothing yet: fill it in and run the cell again")
    got_even, got, right = float(got_even), float(got), 65 / 74
    require(
        abs(got - 70 / 3) > 1e-6 and abs(got - 65 / 3) > 1e-6,
        "that is right answers per batch: divide by the number of images, not of batches",
    )
    require(
        abs(got - 2.1 / 3) > 1e-6,
        "each batch still counts the same, so the ten images of the short one weigh as much as a full batch",
    )
    require(
        abs(got - 65 / 96) > 1e-6,
        "that counts the short batch as a full one: add up the real sizes, not batches times the nominal size",
    )
    require(abs(got - 100 * right) > 1e-3, "that is in per cent: return a share between 0 and 1")
    require(
        abs(got_even - 40 / 64) < 1e-6 and abs(got - right) < 1e-6,
        f"for {ragged} it gives {got:.4f}, but 65 of 74 images are right: add up the right answers, add up the "
        "sizes, divide once",
    )
    return "sums first, one division last: now every image weighs the same, whatever batch it was in"


@exercise("02.6", expects="a function that takes a model and returns a dictionary of tensors")
def check_snapshot(snapshot):
    attempted(snapshot)
    require(callable(snapshot), "give the function itself, snapshot, not what it returns")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = snapshot(model)
    attempted(kept, todo="the function returns nothing yet: fill it in and run the cell again")
    require(hasattr(kept, "keys"), f"it returns a {type(kept).__name__}: return a dictionary from name to tensor")
    missing = sorted(set(before) - set(kept))
    require(
        not any("running" in name or "num_batches" in name for name in missing),
        f"{missing[:1]} is missing: BatchNorm's statistics are buffers, so copy all of state_dict()",
    )
    require(not missing, f"{missing[:1]} is missing: copy all of model.state_dict()")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    require(
        all(torch.equal(kept[name].cpu(), before[name]) for name in before),
        "the snapshot changed while the model went on training: it holds the model's own tensors, and a new "
        "dictionary around them does not help",
    )
    model.load_state_dict(kept)
    return "each tensor is a copy, BatchNorm's statistics too, so the best epoch can really be put back"


class _Moody(nn.Module):
    """A tiny network whose answer in train mode depends on dropout: which class wins is a matter of luck."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.with_gradient = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.with_gradient |= torch.is_grad_enabled()
        scores = torch.tensor([[1.0, 1.2, 1.4, 1.6]]).expand(len(images), 4)
        return self.drop(scores) + 0 * self.norm(images).mean()


@exercise("02.7", expects="a function that takes a model and one image of shape (3, height, width)")
def check_predicted_class(predicted_class):
    attempted(predicted_class)
    require(callable(predicted_class), "give the function itself, predicted_class, not what it returns")
    torch.manual_seed(0)
    model, image = _Moody().train(), torch.rand(3, 8, 8)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    answers = []
    for _ in range(30):
        model.train()  # as a training epoch would leave it
        answers.append(predicted_class(model, image))
    attempted(*answers, todo="the function returns nothing yet: fill it in and run the cell again")
    require(
        not any(torch.is_tensor(answer) and answer.numel() > 1 for answer in answers),
        "it returns a tensor of several numbers: take argmax(dim=1).item(), one class number",
    )
    found = {int(answer) for answer in answers}
    drifted = any(not torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    require(
        len(found) == 1,
        f"the same image got {len(found)} different answers: the model is in train mode, where dropout rolls dice",
    )
    require(
        not drifted,
        "the answers agree, but BatchNorm learned from the image: the model is still in train mode, call eval()",
    )
    require(found == {3}, f"the highest score belongs to class 3, the function says {found.pop()}: use argmax(dim=1)")
    reason = "eval mode stops dropout and BatchNorm, so the same image gets the same answer every time"
    return reason + (" (under torch.no_grad() it would also need less memory)" if model.with_gradient else "")
