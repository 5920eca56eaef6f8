"""R0, feature extraction: ResNet-50 frozen, a new head that ends in LogSoftmax, NLLLoss, SGD.

Given: the transforms below, the head below, NLLLoss, SGD 0.01 with momentum 0.9, the best model by validation loss
saved to a file. The epochs and the batch size were not given: 10 and 32. In mini the network is resnet10, and 256 and
224 pixels become 73 and 64.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.transforms import v2

import tlhelpers as tl

from .common import Setup, loader_for, save_figure, the_one_test, three_parts, val_accuracy


def run(setup: Setup) -> dict[str, float]:
    """Run the recipe; return accuracies in 0..1. Raises CourseError for a folder of `--data` that holds no classes."""
    course, epochs = setup.course, setup.epochs or 10

    # 1. The images. scale is a range of area: a crop of 0.8 of the area has 0.89 of the side.
    train, val, test = three_parts(setup)
    model, weights = tl.pretrained(course, course.pick(mini="resnet10", full="resnet50"))
    size, mean, std = tl.from_weights(weights)
    larger = round(size * 256 / 224)
    mean_colour = [round(255 * value) for value in mean]  # fills the corners that a turn opens; 0 after Normalize
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(larger, scale=(0.8, 1.0)),
            v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR, fill=mean_colour),
            v2.RandomHorizontalFlip(),
            v2.CenterCrop(size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    train_loader = loader_for(setup, train, augment, train=True)
    val_loader = loader_for(setup, val, weights.transforms())
    test_loader = loader_for(setup, test, weights.transforms())
    classes = val.classes
    print(f"{len(train)} images to train, {len(val)} to choose the epoch, {len(test)} to test: {', '.join(classes)}")
    save_figure(setup, tl.show_batch(train_loader, n=16), "training_batch.png")

    # 2. The network: frozen, and looked at to see that it is. The head is a module of its own, moved by replace_head.
    tl.freeze(model)
    head = nn.Sequential(
        nn.Linear(tl.head_in_features(model), 256),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(256, len(classes)),
        nn.LogSoftmax(dim=1),
    )
    tl.replace_head(model, len(classes), head)
    (setup.out / "model.txt").write_text(f"{model}\n", encoding="utf-8")  # what print(model) shows
    print(tl.trainable_table(tl.train_mode(model)))
    print(f"head: {head}")

    # 3. The training: sums over samples, validation after each epoch, the epoch with the lowest loss is kept.
    optimizer = torch.optim.SGD(tl.trainable_parameters(model), lr=0.01, momentum=0.9)
    history = tl.fit(model, train_loader, val_loader, epochs=epochs, optimizer=optimizer, loss_fn=nn.NLLLoss())
    file = tl.save_checkpoint(setup.out / "best.pt", model, classes=classes, epoch=history.best_epoch)
    print(f"The weights of epoch {history.best_epoch} are in {file.as_posix()}")
    save_figure(setup, tl.plot_history(history), "curves.png")

    # 4. The test, once, with the weights from the file.
    tl.load_checkpoint(file, model, classes=classes)
    metrics = the_one_test(model, test_loader)
    return {"val_accuracy": val_accuracy(history), "test_accuracy": metrics.accuracy}
