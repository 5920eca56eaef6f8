"""The training doctor on set-ups that cannot even start, and on calls with the arguments mixed up."""

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

import tlhelpers as tl


def rows(labels=None, **attributes):
    labels = torch.arange(24) % 3 if labels is None else labels
    dataset = TensorDataset(torch.randn(24, 6, generator=torch.Generator().manual_seed(0)), labels)
    vars(dataset).update(attributes)
    return dataset


def loader(dataset=None, **options):
    return DataLoader(rows() if dataset is None else dataset, batch_size=8, shuffle=True, **options)


def head():
    tl.seed_everything(0)
    return nn.Linear(6, 3)


class Pictures(Dataset):
    """PIL images of two sizes, or of one."""

    def __init__(self, transform, sizes=(20, 20)):
        self.transform, self.sizes, self.targets = transform, sizes, [i % 3 for i in range(12)]

    def __len__(self):
        return 12

    def __getitem__(self, index):
        size = self.sizes[index % 2]
        return self.transform(Image.new("RGB", (size, size), (index, 99, 9))), self.targets[index]


def net():
    tl.seed_everything(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


FLOAT = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


@pytest.mark.parametrize(
    ("dataset", "words", "fix"),
    [
        (Pictures(v2.Compose(FLOAT), (20, 24)), "equal size", "v2.Resize"),
        (Pictures(v2.Resize(20)), "PIL", "v2.ToImage()"),
        (Pictures(v2.Compose([v2.Normalize([0.5] * 3, [0.5] * 3), *FLOAT])), "PIL", "v2.ToImage()"),
    ],
    ids=["sizes", "no tensor", "Normalize first"],
)
def test_a_transform_that_makes_no_batch(dataset, words, fix):
    report = tl.doctor(net(), loader(dataset))
    assert report.codes == ["loader-fails"] and report.worst == "error"
    assert words in report["loader-fails"].seen and fix in report["loader-fails"].fix
    assert "loader-fails" not in tl.doctor(net(), loader(Pictures(v2.Compose(FLOAT))))


def test_a_loader_that_throws_its_only_batch_away():
    empty = DataLoader(rows(), batch_size=32, shuffle=True, drop_last=True)
    report = tl.doctor(head(), empty)
    assert report.codes == ["loader-fails"] and "drop_last=False" in report["loader-fails"].fix
    report = tl.doctor(head(), loader(), DataLoader(rows(), batch_size=32, drop_last=True))
    assert report.codes == ["loader-fails"] and "validation loader" in report["loader-fails"].seen


def test_batches_that_are_dicts():
    def as_dict(samples):
        inputs, labels = torch.utils.data.default_collate(samples)
        return {"inputs": inputs, "labels": labels}

    report = tl.doctor(head(), loader(collate_fn=as_dict))
    assert report.codes == ["loader-fails"] and "pairs of tensors" in report["loader-fails"].seen


@pytest.mark.parametrize("val", [["Bees", "ants", "wasps"], ["ants", "bees"], [".ipynb", "ants", "bees", "wasps"]])
def test_other_classes_on_the_other_side(val):
    names = ["ants", "bees", "wasps"]
    train = loader(rows(classes=names))
    report = tl.doctor(head(), train, DataLoader(rows(torch.arange(24) % 2, classes=val), batch_size=8))
    assert "classes-differ" in report and val[0] in report["classes-differ"].seen
    assert "classes-differ" not in tl.doctor(head(), train, DataLoader(rows(classes=names), batch_size=8))


def test_labels_in_a_column_and_labels_with_a_point():
    column = tl.doctor(head(), loader(rows((torch.arange(24) % 3).unsqueeze(1))))
    assert column.codes == ["loss-fails"] and "squeeze(1)" in column["loss-fails"].fix
    floats = tl.doctor(head(), loader(rows((torch.arange(24) % 3).float())))
    assert "loss-fails" in floats and "labels.long()" in floats["loss-fails"].fix
    assert "loss-fails" not in tl.doctor(head(), loader(rows((torch.arange(24) % 3).int())))  # fit converts these


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), lambda scores, labels: F.nll_loss(scores, labels[:5])])
def test_a_loss_that_does_not_take_the_labels(loss):
    report = tl.doctor(head(), loader(), loss_fn=loss)
    assert "loss-fails" in report and "Error" in report["loss-fails"].seen


def test_losses_that_take_them():
    binary = nn.Linear(6, 1)
    one_score = tl.doctor(
        binary,
        loader(rows(torch.arange(24) % 2)),
        loss_fn=lambda scores, labels: F.binary_cross_entropy_with_logits(scores.squeeze(1), labels.float()),
    )
    many = tl.doctor(head(), loader(rows((torch.rand(24, 3) > 0.5).float())), loss_fn=nn.BCEWithLogitsLoss())
    ignored = torch.where(torch.arange(24) % 5 == 0, -100, torch.arange(24) % 3)
    some = tl.doctor(head(), loader(rows(ignored)))
    assert [report.codes for report in (one_score, many, some)] == [[], [], []]


def test_the_loss_is_not_called_with_labels_that_would_end_a_gpu_process():
    called = []

    def spy(scores, labels):
        called.append(labels.max().item())
        return F.cross_entropy(scores, labels)

    report = tl.doctor(head(), loader(rows(torch.arange(24) % 9)), loss_fn=spy)
    assert "labels-out-of-range" in report and "loss-fails" not in report and called == []


def test_arguments_in_the_wrong_place_are_named():
    model = head()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for arguments, words in [
        ((model, {"train": loader(), "val": loader()}), "train_loader is a dict with 'train', 'val'"),
        ((model, loader(), None, optimizer, nn.CrossEntropyLoss), r"write CrossEntropyLoss\(\), with brackets"),
        ((model, loader(), None, nn.CrossEntropyLoss(), optimizer), "the order is model, train_loader, val_loader"),
    ]:
        with pytest.raises(tl.CourseError, match=words):
            tl.doctor(*arguments)


def test_gradients_that_are_switched_off():
    model = head()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with torch.no_grad():
        report = tl.doctor(model, loader(), optimizer=optimizer)
        assert not torch.is_grad_enabled()
    assert "dead-gradients" in report and report["dead-gradients"].fix == "torch.set_grad_enabled(True)"
    assert "dead-gradients" not in tl.doctor(model, loader(), optimizer=optimizer)
