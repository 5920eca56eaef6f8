"""`fit` is the loop of lesson 02, and it says what is wrong before or when it goes wrong."""

import math

import pytest
import torch
from tiny_networks import build, changed, images, snapshot
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import tlhelpers as tl
from tlhelpers import training


def rows(n=11, classes=3, seed=0):
    """Points in the plane that a linear layer can tell apart; 11 in batches of 4: the last batch has 3."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    return TensorDataset(2 * F.one_hot(labels, 4).float() + torch.randn(n, 4, generator=generator), labels)


def loader(dataset=None, batch_size=4, **kwargs):
    return DataLoader(rows() if dataset is None else dataset, batch_size=batch_size, **kwargs)


def linear(seed=0, outputs=3):
    torch.manual_seed(seed)
    return nn.Linear(4, outputs)


def sgd(model, lr=0.1, **kwargs):
    return torch.optim.SGD(model.parameters(), lr=lr, **kwargs)


def fit(model, train=None, val=None, epochs=2, optimizer=None, verbose=False, **kwargs):
    train, val = train if train is not None else loader(), val if val is not None else loader(rows(seed=1))
    return tl.fit(model, train, val, epochs=epochs, optimizer=optimizer or sgd(model), verbose=verbose, **kwargs)


# ---- what is measured ---------------------------------------------------------------------------------------------


def test_evaluate_weighs_samples_not_batches():
    model, data = linear(), rows()
    x, y = data.tensors
    scores = model(x)
    metrics = tl.evaluate(model, loader(data))
    right = (scores.argmax(1) == y).float()
    batch_means = torch.stack([part.mean() for part in right.split(4)]).mean()
    assert not torch.isclose(batch_means, right.mean(), atol=1e-3), "the data would not show the mistake"
    assert metrics.accuracy == pytest.approx(right.mean().item())
    assert metrics.loss == pytest.approx(F.cross_entropy(scores, y).item(), rel=1e-5)
    assert metrics.n == 11


def test_mean_class_accuracy_differs_from_accuracy_on_uneven_classes():
    labels = torch.tensor([0] * 8 + [1, 2])  # class 3 does not occur and does not count
    always_zero = nn.Linear(4, 4)
    always_zero.weight.data.zero_()
    always_zero.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    metrics = tl.evaluate(always_zero, loader(TensorDataset(torch.zeros(10, 4), labels)))
    assert metrics.accuracy == pytest.approx(0.8) and metrics.mean_class_accuracy == pytest.approx(1 / 3)


def test_a_head_with_log_softmax_is_measured_by_the_same_loss():
    plain = linear()
    with_log = nn.Sequential(plain, nn.LogSoftmax(1))
    one, other = tl.evaluate(plain, loader()), tl.evaluate(with_log, loader())
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert tl.evaluate(with_log, loader(), nn.NLLLoss()).loss == pytest.approx(one.loss, rel=1e-5)
    torch.testing.assert_close(tl.predict(with_log, loader()).probabilities, tl.predict(plain, loader()).probabilities)


def test_predict_keeps_the_order_and_gives_probabilities():
    model, data = linear(), rows()
    predictions = tl.predict(model, loader(data))
    torch.testing.assert_close(predictions.probabilities, model(data.tensors[0]).softmax(1).detach())
    assert torch.equal(predictions.labels, data.tensors[1])
    assert torch.equal(predictions.predicted, predictions.probabilities.argmax(1))


@pytest.mark.parametrize("measure", [tl.evaluate, tl.predict])
def test_measuring_changes_neither_modes_buffers_nor_random_numbers(measure):
    net = build("resnet")
    net.layer1.eval()
    before, modes = snapshot(net), [m.training for m in net.modules()]
    shuffled = DataLoader(TensorDataset(images(5), torch.arange(5)), shuffle=True)
    state = torch.get_rng_state()
    first, second = measure(net, shuffled), measure(net, shuffled)
    assert str(first) == str(second) and torch.equal(torch.get_rng_state(), state)
    assert not changed(before, net) and [m.training for m in net.modules()] == modes
    assert not any(p.grad is not None for p in net.parameters())


# ---- the loop -----------------------------------------------------------------------------------------------------


def test_fit_equals_the_loop_by_hand():
    by_hand, by_fit = linear(), linear()
    (x, y), (val_x, val_y) = rows().tensors, rows(seed=1).tensors
    optimizer, curves = sgd(by_hand, momentum=0.9), []
    for _ in range(3):
        loss_sum, right = 0.0, 0
        for inputs, labels in zip(x.split(4), y.split(4), strict=True):
            scores = by_hand(inputs)
            loss = F.cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += (scores.argmax(1) == labels).sum().item()
        val = by_hand(val_x)
        curves.append([loss_sum / 11, right / 11, F.cross_entropy(val, val_y).item(),
                       (val.argmax(1) == val_y).float().mean().item()])  # fmt: skip
    history = fit(by_fit, epochs=3, optimizer=sgd(by_fit, momentum=0.9), monitor="val_loss")
    columns = [history.train_loss, history.train_accuracy, history.val_loss, history.val_accuracy]
    torch.testing.assert_close(torch.tensor(columns).T, torch.tensor(curves))
    assert history.best_epoch == 1 + min(range(3), key=history.val_loss.__getitem__)


def test_dropout_and_augmentation_do_not_depend_on_validation():
    def run(val):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        return fit(model, loader(shuffle=True), val, epochs=3).train_loss

    assert run(loader(rows(seed=1))) == run(loader(rows(40, seed=2), batch_size=1, shuffle=True))


def worsening(model, good_epochs):
    """A scheduler that turns the learning rate upside down after some epochs: from then on the model gets worse."""
    optimizer = sgd(model, 0.5)
    return dict(optimizer=optimizer, scheduler=LambdaLR(optimizer, lambda epoch: 1.0 if epoch < good_epochs else -1.0))


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_mean_class_accuracy"])
def test_best_epoch_is_restored_not_the_last(monitor):
    model = linear()
    model.weight.data.mul_(-3)  # starts wrong, learns for two epochs, is then pushed away again
    history = fit(model, epochs=7, monitor=monitor, **worsening(model, 2))
    assert history.stopped == "finished" and 1 <= history.best_epoch < 7 == len(history.val_loss)
    curve = getattr(history, monitor)
    assert curve[-1] != curve[history.best_epoch - 1]
    best = min(curve) if monitor == "val_loss" else max(curve)
    assert curve[history.best_epoch - 1] == best and curve.index(best) == history.best_epoch - 1  # a tie: the earlier
    metrics = tl.evaluate(model, loader(rows(seed=1)))
    assert metrics.loss == pytest.approx(history.val_loss[history.best_epoch - 1], rel=1e-5)
    assert history.best()["val_accuracy"] == history.val_accuracy[history.best_epoch - 1]


def test_no_gradient_is_left_behind():
    model = linear()
    fit(model)
    assert all(p.grad is None for p in model.parameters())


def test_early_stop_restores_too():
    model = linear()
    history = fit(model, epochs=50, patience=2, **worsening(model, 3))
    assert history.stopped == "early stop" and len(history.val_loss) == history.best_epoch + 2 < 50
    assert tl.evaluate(model, loader(rows(seed=1))).loss == pytest.approx(history.best()["val_loss"], rel=1e-5)


class Interrupting(Dataset):
    """Raises what the stop button raises, at the n-th image asked for."""

    def __init__(self, after):
        self.data, self.left = rows(), after

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.data[i]


def test_interrupt_returns_the_history_and_the_best_weights(capsys):
    model = linear()
    history = fit(model, loader(Interrupting(after=11 * 2 + 6)), epochs=9)
    assert history.stopped == "interrupted" and history.problem == "in epoch 3" and len(history.val_loss) == 2
    assert tl.evaluate(model, loader(rows(seed=1))).loss == pytest.approx(history.best()["val_loss"], rel=1e-5)
    assert "Interrupted in epoch 3. The model has the weights from epoch 2." in capsys.readouterr().out


def test_interrupt_in_the_first_epoch_or_in_validation_puts_the_start_back(capsys):
    for loaders in ({"train": loader(Interrupting(after=6))}, {"val": loader(Interrupting(after=6))}):
        model = linear()
        before = snapshot(model)
        history = fit(model, **loaders)
        assert history.stopped == "interrupted" and history.best_epoch == 0 and history.best() == {}
        assert not changed(before, model) and model.training
        assert "The model has the weights from before the training." in capsys.readouterr().out


class TurnsToNan(nn.Module):
    """Cross-entropy that is not a number from the n-th step on."""

    reduction = "mean"

    def __init__(self, step):
        super().__init__()
        self.left = step

    def forward(self, scores, labels):
        self.left -= 1
        return F.cross_entropy(scores, labels) * (math.nan if self.left <= 0 else 1.0)


@pytest.mark.parametrize("at, epoch, step", [(1, 1, 1), (30, 1, 30), (52 + 26, 2, 26), (52 + 52, 2, 52)])
def test_nan_loss_stops_and_names_epoch_and_step(at, epoch, step, capsys):
    model = linear()
    before, steps = snapshot(model), rows(52)
    history = fit(model, loader(steps, batch_size=1), epochs=4, loss_fn=TurnsToNan(at))
    assert history.stopped == "diverged" and len(history.val_loss) == epoch - 1
    assert f"training loss became nan at step {step} in epoch {epoch}" in history.problem
    assert history.best_epoch == epoch - 1 and model.weight.isfinite().all()
    if epoch == 1:
        assert not changed(before, model)
    else:
        assert tl.evaluate(model, loader(rows(seed=1))).loss == pytest.approx(history.best()["val_loss"], rel=1e-5)
    assert "learning rate: try a tenth of it" in capsys.readouterr().out


def test_far_too_high_a_rate_diverges_without_harm():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    history = fit(net, epochs=30, optimizer=sgd(net, lr=1e30))
    assert history.stopped == "diverged" and "learning rate 1e+30" in history.problem
    assert all(p.isfinite().all() for p in net.parameters())


def test_validation_that_is_not_finite_is_divergence_too():
    data = rows(seed=1)
    data.tensors[0][5] = math.nan
    history = fit(linear(), val=loader(data))
    assert history.stopped == "diverged" and "validation loss became nan in epoch 1" in history.problem


def test_losses_are_not_looked_at_in_every_step(monkeypatch):
    """Each `.item()` waits for a GPU; the loop may look only every LOOK_EVERY steps and at the epoch's end."""
    looks = []
    monkeypatch.setattr(training, "_require_finite", lambda losses, step: looks.append((len(losses), step)))
    fit(linear(), loader(rows(60), batch_size=1), epochs=1)
    assert looks == [(25, 25), (25, 50), (10, 60)]


def test_validation_is_plain_cross_entropy_whatever_is_trained_with():
    model = linear()
    history = fit(model, epochs=1, loss_fn=nn.CrossEntropyLoss(label_smoothing=0.4, weight=torch.tensor([9.0, 1, 1])))
    x, y = rows(seed=1).tensors
    assert history.val_loss[0] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)
    assert history.train_loss[0] > history.val_loss[0]


def test_soft_labels_are_accepted_and_scored_by_their_larger_share():
    x, y = rows().tensors
    soft = 0.7 * F.one_hot(y, 3).float() + 0.3 * F.one_hot((y + 1) % 3, 3).float()
    hard_model, soft_model = linear(), linear()
    history = fit(soft_model, loader(TensorDataset(x, soft)), epochs=1, optimizer=sgd(soft_model, 1e-9))
    plain = fit(hard_model, epochs=1, optimizer=sgd(hard_model, 1e-9))
    assert history.train_accuracy == plain.train_accuracy
    assert history.train_loss[0] == pytest.approx(F.cross_entropy(linear()(x), soft).item(), rel=1e-5)


def test_learning_rates_of_every_group_and_both_scheduler_rhythms():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.2}]
    optimizer = torch.optim.SGD(groups)
    history = fit(model, epochs=3, optimizer=optimizer, scheduler=LambdaLR(optimizer, lambda epoch: 0.5**epoch))
    torch.testing.assert_close(
        torch.tensor(history.learning_rates), torch.tensor([[0.1, 0.2], [0.05, 0.1], [0.025, 0.05]])
    )

    optimizer = torch.optim.SGD([{"params": m.parameters()} for m in model], lr=0.1)
    cycle = OneCycleLR(optimizer, max_lr=[0.1, 0.4], total_steps=2 * 3)
    history = fit(model, epochs=2, optimizer=optimizer, scheduler=cycle, step_scheduler_every="batch")
    assert cycle.last_epoch == 6 and history.learning_rates[0][1] == pytest.approx(4 * history.learning_rates[0][0])

    optimizer = sgd(model, 0.0001)
    plateau = ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
    assert fit(model, epochs=3, optimizer=optimizer, scheduler=plateau).learning_rates[-1][0] < 0.0001


def test_modes_are_put_back_and_the_model_is_where_it_was():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)).eval()
    model[2].train()
    fit(model)
    assert [m.training for m in model.modules()] == [False, False, False, True, False]


def test_wrapped_models_train():
    model = linear()
    before = snapshot(model)
    assert fit(nn.DataParallel(model)).stopped == "finished"
    assert changed(before, model) == {"weight", "bias"}


# ---- what it prints and keeps -------------------------------------------------------------------------------------


def test_one_plain_line_per_epoch_without_times(capsys):
    history = fit(linear(), epochs=2, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0] == (
        f"epoch 1/2  train loss {history.train_loss[0]:.3f} acc {history.train_accuracy[0]:.3f}  "
        f"val loss {history.val_loss[0]:.3f} acc {history.val_accuracy[0]:.3f}  best"
    )
    fit(linear(), epochs=2, verbose=False)
    assert capsys.readouterr().out == ""
    assert len(history.seconds) == 2 and all(s > 0 for s in history.seconds)


def test_history_table_and_plain_dict():
    history = fit(linear(), epochs=2)
    lines = history.table().splitlines()
    assert len(lines) == 4 and lines[history.best_epoch].endswith("best") and lines[-1] == "finished"
    plain = history.to_dict()
    assert tl.History.from_dict(plain) == history
    assert all(isinstance(value, (list, str, int)) for value in plain.values())


def test_checkpoint_holds_the_best_epoch_while_training_goes_on(tmp_path):
    model = linear()
    data = rows(seed=1)
    data.classes = ["ant", "bee", "wasp"]
    history = fit(model, val=loader(data), epochs=6, checkpoint=tmp_path / "run" / "best.pt", **worsening(model, 2))
    twin = linear(seed=9)
    content = tl.load_checkpoint(tmp_path / "run" / "best.pt", twin, classes=["ant", "bee", "wasp"])
    assert not changed(snapshot(model), twin)
    assert content["history"]["best_epoch"] == history.best_epoch < len(content["history"]["val_loss"]) == 6


def test_checkpoint_in_an_impossible_place_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    model = linear()
    before = snapshot(model)
    with pytest.raises(tl.CourseError, match="No checkpoint can be saved"):
        fit(model, checkpoint=tmp_path / "file" / "best.pt")
    assert not changed(before, model)


def test_disk_that_fills_up_costs_the_file_not_the_training(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise tl.CourseError("best.pt was not saved: the disk is full.")

    monkeypatch.setattr(training, "save_run", full)
    history = fit(linear(), epochs=2, checkpoint=tmp_path / "best.pt")
    assert history.stopped == "finished" and len(history.val_loss) == 2 and "the disk is full" in history.problem
    assert "Training goes on" in capsys.readouterr().out


# ---- bad input: refused before anything is trained ---------------------------------------------------------------


class Photos(Dataset):
    """Like an ImageFolder: knows its labels and class names without opening an image."""

    def __init__(self, targets, classes=("ant", "bee", "wasp")):
        self.targets, self.classes = list(targets), list(classes)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return torch.ones(4), self.targets[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


def uint8():
    return TensorDataset(torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))


BAD_LOADERS = {
    "empty dataset": (
        lambda: loader(TensorDataset(torch.zeros(0, 4), torch.zeros(0).long())),
        "_loader yields nothing",
    ),
    "all dropped": (lambda: loader(rows(3), drop_last=True), "drop_last=True threw away"),
    "empty list": (lambda: [], "_loader yields nothing"),
    "empty stream": (lambda: DataLoader(Stream()), "yields nothing"),
    "label too high": (lambda: loader(Photos([0, 1, 2, 0, 3])), "Label 3 is out of range: .* 3 scores .* 0 to 2"),
    "labels from 1": (lambda: loader(rows(9, classes=4)), "Label 3 is out of range.*counted from 1"),
    "negative label": (lambda: loader(TensorDataset(torch.ones(3, 4), torch.tensor([0, -1, 2]))), "Label -1"),
    "in a subset": (lambda: loader(Subset(Photos([0, 7, 1]), [0, 1])), "Label 7 is out of range"),
    "more classes": (
        lambda: loader(Photos([0, 1], classes="abcde")),
        "3 scores, the data have 5 classes: replace_head",
    ),
    "no labels": (lambda: loader(TensorDataset(torch.zeros(4, 4))), "pairs of tensors"),
    "bytes": (lambda: loader(uint8()), r"uint8, not float: the transform lacks"),
    "float labels": (lambda: loader(TensorDataset(torch.zeros(4, 4), torch.zeros(4))), "whole class numbers"),
    "soft labels": (
        lambda: loader(TensorDataset(torch.zeros(4, 4), torch.ones(4, 7) / 7)),
        "soft labels have 7 classes",
    ),
}


@pytest.mark.parametrize("which", ["train", "val"])
@pytest.mark.parametrize("case", BAD_LOADERS)
def test_bad_loader_is_refused_and_nothing_is_trained(case, which):
    make, message = BAD_LOADERS[case]
    model = linear()
    before = snapshot(model)
    with pytest.raises(tl.CourseError, match=message):
        fit(model, **{which: make()})
    assert not changed(before, model) and model.training
    with pytest.raises(tl.CourseError, match=message.removeprefix("_loader ")):
        tl.evaluate(model, make())


def test_forgotten_new_head_is_noticed():
    model = linear(outputs=1000)
    with pytest.raises(tl.CourseError, match=r"gives 1000 scores, the data have 3 classes: replace_head\(model, 3\)"):
        fit(model, val=loader(Photos([0, 1, 2])))


def test_labels_renamed_on_the_way_out_are_not_held_against_the_stored_ones():
    photos = Photos([0, 1, 1, 0], classes=("ant", "bee"))
    photos.targets, photos.target_transform = [3, 3], {3: 0}.get  # stored labels, and what comes out below
    photos.__class__ = type("Renamed", (Photos,), {"__getitem__": lambda self, i: (torch.ones(4), i % 2)})
    assert fit(linear(), loader(photos), loader(photos), epochs=1).stopped == "finished"


def test_scores_of_a_wrong_shape_are_refused():
    with pytest.raises(tl.CourseError, match=r"one row of class scores per sample, \(N, C\), but gives \(1, 3, 1\)"):
        fit(nn.Sequential(linear(), nn.Unflatten(1, (3, 1))))


def test_everything_frozen():
    model = linear()
    optimizer = sgd(model)
    tl.freeze(model)
    with pytest.raises(tl.CourseError, match="Everything is frozen"):
        fit(model, optimizer=optimizer)


def test_optimizer_that_holds_none_of_the_trainable_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    optimizer = sgd(model[1])
    model[1] = nn.Linear(4, 3)  # a new head after the optimizer was built
    tl.freeze(model[0])
    with pytest.raises(tl.CourseError, match="none of the model's trainable parameters. Build it after replace_head"):
        fit(model, optimizer=optimizer)
    with pytest.raises(tl.CourseError, match="none of the model's trainable parameters"):
        fit(model, optimizer=sgd(model[0]))


def test_equal_parameters_are_told_apart():
    """Two BatchNorms start with equal numbers; comparing values would take one for the other."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    twin = nn.BatchNorm1d(3)
    tl.freeze(model[0])
    with pytest.raises(tl.CourseError, match="none of the model's trainable parameters"):
        fit(model, optimizer=sgd(twin))


def test_optimizer_notes_say_what_was_probably_not_meant(capsys):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    optimizer = sgd(nn.ModuleList([model[0], model[1], nn.Linear(2, 2)]), momentum=0.9)
    tl.freeze(model[0])
    model[0].weight.grad = torch.zeros_like(model[0].weight)  # by hand: momentum would move it
    before = snapshot(model)
    fit(model, optimizer=optimizer, verbose=True)
    out = capsys.readouterr().out
    assert "note: the optimizer also holds 2 frozen tensors; they stay as they are." in out
    assert "note: 2 trainable tensors are not in the optimizer and will not learn: 2.weight, 2.bias." in out
    assert "note: the optimizer holds 2 tensors that are not in this model; was the head replaced later?" in out
    assert changed(before, model) == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"patience": 0}, "patience=0"),
        ({"monitor": "accuracy"}, "one of val_loss, val_accuracy"),
        ({"step_scheduler_every": "step"}, '"epoch" or "batch"'),
        ({"loss_fn": nn.CrossEntropyLoss(reduction="sum")}, 'reduction="sum"'),
    ],
)
def test_settings_that_cannot_work(wrong, message):
    with pytest.raises(tl.CourseError, match=message):
        fit(linear(), **wrong)


def test_scheduler_that_is_too_short_or_of_another_optimizer():
    model = linear()
    optimizer = sgd(model)
    cycle = OneCycleLR(optimizer, max_lr=0.1, total_steps=5)
    with pytest.raises(tl.CourseError, match="planned for 5 steps, this run takes 6"):
        fit(model, optimizer=optimizer, scheduler=cycle, step_scheduler_every="batch")
    with pytest.raises(tl.CourseError, match="belongs to another optimizer"):
        fit(model, scheduler=cycle)


def test_last_batch_of_a_single_image():
    def net():
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    model, data = net(), rows(9)  # 4 + 4 + 1
    before = snapshot(model)
    with pytest.raises(tl.CourseError, match=r"single image: BatchNorm cannot work with it. Use make_loader"):
        fit(model, loader(data))
    assert not changed(before, model)
    assert fit(net(), tl.make_loader(data, batch_size=4, train=True)).stopped == "finished"
    model = net()
    tl.freeze(model[1])  # a frozen BatchNorm is in eval mode and takes any batch
    assert fit(model, loader(data), val=loader(data), optimizer=sgd(model)).stopped == "finished"


def test_batchnorm_policy_reaches_the_layers():
    images_and_labels = TensorDataset(images(8), torch.arange(8) % 10)
    for policy, moving in (("train", True), ("eval", False)):
        net = build("resnet")
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        batches = loader(images_and_labels)
        fit(net, batches, batches, epochs=1, optimizer=sgd(net, 1e-4), batchnorm=policy)
        assert any(not torch.equal(before[name], buffer) for name, buffer in net.named_buffers()) == moving
    with pytest.raises(tl.CourseError, match="batchnorm='frozen' must be one of train, eval"):
        fit(net, batches, batches, optimizer=sgd(net), batchnorm="frozen")
