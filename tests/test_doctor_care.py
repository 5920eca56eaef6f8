"""The training doctor leaves no trace: not through losses, hooks, labels out of range, models that cannot be copied."""

import copy
import threading
from unittest import mock

import pytest
import torch
from test_doctor_training import CLASSES, adamw, features, fresh, images, loader, mlp, on_schedule, on_steps, one_cycle
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset, TensorDataset

import tlhelpers as tl
from tlhelpers import diagnosis
from tlhelpers.diagnosis.case import MOST, MOST_ROWS, Case, Part


def rows(batch_size=20):
    return loader(features(), batch_size)


# --- what the loss and the hooks hold


def test_a_loss_over_the_models_own_weights_gives_them_no_gradient():
    head = mlp()
    start = [p.detach().clone() for p in head.parameters()]

    def towards_the_start(scores, labels):
        pull = sum((p - q).square().sum() for p, q in zip(head.parameters(), start, strict=True))
        return F.cross_entropy(scores, labels) + 0.01 * pull

    report = on_steps(head, rows(), None, adamw(head, 2e-3), towards_the_start)
    assert report.codes == [] and report.skipped == ()
    assert all(p.grad is None for p in head.parameters())


class Counting:
    """A loss that is no module and no function."""

    def __init__(self):
        self.calls, self.mean = 0, torch.zeros(())

    def __call__(self, scores, labels):
        self.calls += 1
        loss = F.cross_entropy(scores, labels)
        self.mean.mul_(0.9).add_(loss.detach(), alpha=0.1)
        return loss


SEEN = []


def test_what_a_loss_counts_is_not_counted_by_the_doctor():
    head, loss, calls = mlp(), Counting(), [0]
    assert tl.doctor(head, rows(), None, adamw(head, 2e-3), loss).codes == []
    assert loss.calls == 0 and loss.mean == 0

    def counting(scores, labels):
        calls[0] += 1
        SEEN.append(len(labels))
        return F.cross_entropy(scores, labels)

    assert tl.doctor(head, rows(), None, adamw(head, 2e-3), counting).codes == []
    assert calls == [0] and SEEN == []


def test_hooks_write_into_nothing_of_the_learner():
    head, activations = mlp(), []
    head[0].register_forward_hook(lambda module, inputs, output: activations.append(output))
    head[3].register_forward_hook(lambda module, inputs, output: SEEN.append(output))
    report = tl.doctor(head, rows(), None, adamw(head, 2e-3))
    assert report.codes == [] and activations == SEEN == []
    head(features().features[:2])  # the learner's own hooks go on working
    assert len(activations) == 1 and len(SEEN) == 1
    SEEN.clear()


# --- labels that no score belongs to


@pytest.mark.parametrize("wrong", [CLASSES, -1])
def test_labels_out_of_range_never_reach_the_loss(wrong):
    given = []

    class Recording(nn.CrossEntropyLoss):
        def forward(self, scores, labels):
            given.extend(labels.tolist())
            return super().forward(scores, labels)

    labels = features().labels.clone()
    labels[3:] = wrong
    head = mlp()
    report = tl.doctor(head, DataLoader(TensorDataset(features().features, labels), 10), None, adamw(head), Recording())
    assert "labels-out-of-range" in report and wrong not in given and len(given) > 0  # the loss itself was tried
    assert f"label {wrong}, and the model gives {CLASSES} scores" in str(report.skipped)


def test_labels_that_the_loss_leaves_out_are_no_obstacle():
    labels = features().labels.clone()
    labels[::4] = -100
    head = mlp()
    batches = DataLoader(TensorDataset(features().features, labels), 20, shuffle=True)
    report = on_steps(head, batches, None, adamw(head, 2e-3))
    assert report.codes == [] and report.skipped == ()
    labels[::4] = 255
    batches = DataLoader(TensorDataset(features().features, labels), 20, shuffle=True)
    assert on_steps(head, batches, None, adamw(head, 2e-3), nn.CrossEntropyLoss(ignore_index=255)).skipped == ()
    assert "label 255" in str(on_steps(head, batches, None, adamw(head, 2e-3)).skipped)


def test_what_was_found_before_an_examination_fails_is_kept():
    late = diagnosis.Diagnosis("late", "note", "it is late", "Sleep helps.", "sleep()", "lesson 00")

    def trips(case):
        yield late.found("23:50")
        raise ZeroDivisionError("a stone")

    with mock.patch.object(diagnosis.images, "EXAMINATIONS", (("hours", trips),)):
        report = tl.doctor(mlp(), rows())
    assert "late" in report and "hours: ZeroDivisionError: a stone" in report.skipped


# --- heads


def test_one_score_for_two_classes_and_a_subset_of_the_classes():
    pictures, labels = images().tensors
    binary = TensorDataset(pictures, (labels > 1).long())
    binary.classes = ["left", "right"]
    report = tl.doctor(fresh(classes=1), loader(binary))
    assert "head-size" not in report and "a single score may stand for two classes" in str(report.skipped)
    named = TensorDataset(pictures, labels)
    named.classes, named.targets = list("abcdefghij"), labels.tolist()  # ten names, five occur
    assert "head-size" not in tl.doctor(fresh(classes=5), loader(Subset(named, range(len(labels)))))
    assert "head-size" in tl.doctor(fresh(classes=6), loader(Subset(named, range(len(labels)))))
    later = TensorDataset(pictures, labels + 5)  # five of ten occur, and the five scores belong to the other five
    later.classes, later.targets = named.classes, later.tensors[1].tolist()
    assert "head-size" in tl.doctor(fresh(classes=5), loader(Subset(later, range(len(labels)))))


# --- what cannot be copied


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_model_that_cannot_be_copied_is_still_looked_at():
    head = mlp()
    head[0] = nn.utils.weight_norm(head[0])
    head.insert(1, nn.BatchNorm1d(64))
    head(features().features)  # leaves a tensor with a history
    head.train()
    optimizer = adamw(head, 2e-3)
    before = copy.deepcopy(head.state_dict())
    report = tl.doctor(head, rows(), None, optimizer)
    assert report.codes == [] and {"forward pass", "size of the head", "head and loss"} <= set(report.looked_at)
    assert report.skipped == ()  # a look at the original has left a fresh weight, which can be copied
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert head.training and head[1].training
    locked = mlp()
    locked.lock = threading.Lock()
    broken = tl.doctor(locked, loader(), None, adamw(locked))  # images into a head
    assert "model-fails" in broken
    before = copy.deepcopy(locked.state_dict())
    report = tl.doctor(locked, rows(), None, adamw(locked, 2e-3))
    assert report.codes == [] and {"forward pass", "size of the head", "head and loss"} <= set(report.looked_at)
    (reason,) = report.skipped
    assert reason.startswith("gradients, learning rate: the model or its optimizer cannot be copied: cannot pickle")
    assert str(report).startswith("The doctor found nothing wrong in what it could look at; 2 examinations could not")
    assert all(torch.equal(value, before[name]) for name, value in locked.state_dict().items())


class Lookahead(torch.optim.SGD):
    """An optimizer of one's own, with an attribute that its step needs, and one of its own lists."""

    def __init__(self, params, lr, every):
        super().__init__(params, lr=lr)
        self.every, self.count = every, [0]

    def step(self, closure=None):
        self.count[0] += 1
        if self.count[0] % self.every == 0:
            super().step(closure)


def test_optimizers_of_ones_own_and_those_that_need_a_closure():
    head = mlp()
    own = Lookahead(head.parameters(), 0.05, every=2)
    scheduler = lr_scheduler.StepLR(own, 50)  # it replaces optimizer.step by a function that steps the original
    before = [p.detach().clone() for p in head.parameters()]
    report = on_steps(head, rows(), None, own, None, scheduler)
    assert report.codes == [] and report.skipped == () and own.count == [0]
    assert all(torch.equal(old, p) for old, p in zip(before, head.parameters(), strict=True))
    assert on_steps(head, rows(), None, torch.optim.LBFGS(head.parameters(), lr=0.1)).skipped == ()


def test_a_dead_part_is_seen_where_the_optimizer_cannot_be_stepped():
    class Stubborn(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("call second_step")

    net = Unused()
    report = on_steps(net, rows(), None, Stubborn(net.parameters(), lr=0.01))
    assert report.codes == ["dead-gradients"] and "unused" in report["dead-gradients"].seen
    assert report.skipped == ("learning rate: a training step is not possible (RuntimeError: call second_step).",)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.unused = nn.Linear(512, CLASSES), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(x)


# --- schedulers in a chain


def test_the_first_end_of_chained_schedulers_counts():
    def chained(steps):
        return lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o), one_cycle(o, steps)])

    assert on_schedule(chained(5), 10, "batch").codes == ["scheduler-too-short"]
    assert on_schedule(chained(40), 10, "batch").codes == []
    cyclic = lambda up: lambda o: lr_scheduler.CyclicLR(o, 1e-4, 2e-3, step_size_up=up, cycle_momentum=False)  # noqa: E731
    assert on_schedule(cyclic(20), 10, "batch").codes == on_schedule(cyclic(4), 10, "batch").codes == []
    report = on_schedule(cyclic(200), 10, "batch")
    assert report.codes == ["scheduler-too-long"] and "needs 400 steps" in report["scheduler-too-long"].seen


# --- what is read, and random numbers


class Counted(TensorDataset):
    read = 0

    def __getitem__(self, index):
        type(self).read += 1
        return super().__getitem__(index)

    __getitems__ = None


@pytest.mark.parametrize("shape, most", [((3, 8, 8), MOST), ((12,), MOST_ROWS)])
def test_large_batches_are_not_read_whole_and_none_twice(shape, most):
    Counted.read = 0
    dataset = Counted(torch.randn(1000, *shape), torch.arange(1000) % 3)
    part = Part("training", tl.make_loader(dataset, batch_size=256, train=True))
    sizes = [len(part.batches(count)[-1][1]) for count in (1, 2, 3, 2)]
    assert sizes == [most] * 4 and Counted.read <= 3 * (most + 1)  # one more to see how large a sample is
    real = next(iter(part.loader))
    assert torch.equal(part.batch[0], real[0][:most])


def test_the_network_sees_few_images_of_a_large_batch():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    model.register_forward_pre_hook(lambda module, inputs: inputs[0].mean((2, 3)))
    batch = (torch.zeros(64, 3, 160, 160), torch.arange(64) % 2)
    assert Case(model, Part("training", [batch])).scores.shape == (16, 2)
    batch = (torch.zeros(64, 3, 64, 64), torch.arange(64) % 2)
    assert Case(model, Part("training", [batch])).scores.shape == (32, 2)


def test_a_seed_that_waits_for_cuda_goes_on_waiting():
    if torch.cuda.is_initialized():
        pytest.skip("CUDA is awake, its states are put back as the others")
    torch.manual_seed(42)
    waiting = torch.cuda._lazy_seed_tracker
    before = dict(vars(waiting))
    with tl.session.random_state_kept():
        torch.manual_seed(0)
    assert vars(waiting) == before
    head = mlp()
    torch.manual_seed(42)
    before = dict(vars(waiting))
    tl.doctor(head, rows(), None, adamw(head, 2e-3))
    assert vars(waiting) == before
