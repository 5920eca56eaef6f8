"""R3, five flowers: ResNet-18 frozen, a new last layer, SGD over the parameters that require gradients.

Given: RandomResizedCrop(224) and a flip, Linear(in, 5), cross-entropy, SGD 0.001 with momentum 0.9, batches of 32, 20
epochs. In mini the network is resnet10 and the images have 64 pixels; nothing else differs.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.transforms import v2

import tlhelpers as tl

from .common import Setup, loader_for, save_figure, the_one_test, three_parts, val_accuracy


def run(setup: Setup) -> dict[str, float]:
    """Run the recipe; return accuracies in 0..1. Raises CourseError for a folder of `--data` that holds no classes."""
    course, epochs = setup.course, setup.epochs or 20

    # 1. The images: split by numbers, no image opened for it, and one transform for each purpose.
    train, val, test = three_parts(setup)
    model, weights = tl.pretrained(course, course.pick(mini="resnet10", full="resnet18"))
    size, mean, std = tl.from_weights(weights)
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(size),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    train_loader = loader_for(setup, train, augment, train=True, batch_size=32)
    val_loader = loader_for(setup, val, weights.transforms(), batch_size=32)
    test_loader = loader_for(setup, test, weights.transforms(), batch_size=32)
    print(
        f"{len(train)} images to train, {len(val)} to choose the epoch, {len(test)} to test: {', '.join(val.classes)}"
    )
    save_figure(setup, tl.show_batch(train_loader, n=32), "training_batch.png")

    # 2. The network: everything frozen, then a new last layer, which trains.
    tl.freeze(model)
    tl.replace_head(model, num_classes=len(val.classes))  # fc = Linear(512, 5)
    print(tl.trainable_table(tl.train_mode(model)))

    # 3. The training: only what requires gradients goes to the optimizer.
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.001, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()
    history = tl.fit(model, train_loader, val_loader, epochs=epochs, optimizer=optimizer, loss_fn=loss_fn)
    save_figure(setup, tl.plot_history(history), "curves.png")

    # 4. The test, once, and a look at single answers.
    metrics = the_one_test(model, test_loader)
    answers = tl.predict(model, test_loader)
    save_figure(setup, tl.show_predictions(answers, test_loader.dataset, val.classes, n=24), "predictions.png")
    return {"val_accuracy": val_accuracy(history), "test_accuracy": metrics.accuracy}
