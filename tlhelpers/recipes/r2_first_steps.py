"""R2, first steps: ResNet-18 frozen, a new last layer for two classes, then, if you like, fine-tuning.

Given: Linear(in, 2), cross-entropy, Adam 0.001, 10 epochs. The transforms were not given, nor anything about the
fine-tuning: here a flip and a mild crop, and half as many epochs of Adam at 0.0001 for all layers. In mini the network
is resnet10. Two flowers that are easy to mix up, dandelion and sunflower, unless `--data` names a folder.
"""

from __future__ import annotations

import torch
from torch import nn

import tlhelpers as tl

from .common import Setup, loader_for, save_figure, the_one_test, three_parts, val_accuracy


def run(setup: Setup) -> dict[str, float]:
    """Run the recipe; return accuracies in 0..1. Raises CourseError for a folder of `--data` that holds no classes."""
    course, epochs = setup.course, setup.epochs or 10

    # 1. The images: three parts, because a figure on images that were trained on says nothing.
    train, val, test = three_parts(setup, classes=("dandelion", "sunflower"))
    # weights="DEFAULT" is today's word for what pretrained=True was
    model, weights = tl.pretrained(course, course.pick(mini="resnet10", full="resnet18"))
    train_loader = loader_for(setup, train, tl.train_transform_for(weights), train=True)
    val_loader = loader_for(setup, val, weights.transforms())
    test_loader = loader_for(setup, test, weights.transforms())
    classes = val.classes
    print(f"{len(train)} images to train, {len(val)} to choose the epoch, {len(test)} to test: {', '.join(classes)}")
    save_figure(setup, tl.show_batch(train_loader, n=16), "training_batch.png")

    # 2. Freeze, put on a new last layer, train only that.
    tl.freeze(model)
    tl.replace_head(model, len(classes))
    optimizer = torch.optim.Adam(tl.trainable_parameters(model), lr=0.001)
    frozen = tl.fit(model, train_loader, val_loader, epochs=epochs, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss())

    # 3. Fine-tuning: everything learns, at a tenth of the rate, with an optimizer that knows of it.
    print("Now all layers learn.")
    tl.unfreeze(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0001)
    tuned = tl.fit(
        model, train_loader, val_loader, epochs=max(1, epochs // 2), optimizer=optimizer, loss_fn=nn.CrossEntropyLoss()
    )
    save_figure(setup, tl.plot_history({"head": frozen, "all layers": tuned}), "curves.png")

    # 4. The test, and one prediction: in eval mode, without gradients.
    metrics = the_one_test(model, test_loader)
    image, label = test_loader.dataset[0]
    model.eval()
    with torch.no_grad():
        shares = model(image.unsqueeze(0).to(course.device)).softmax(1)[0]
    guess = int(shares.argmax())
    print(f"The first test image: {classes[guess]} ({shares[guess]:.0%}), truly {classes[label]}.")
    return {
        "val_accuracy_frozen": val_accuracy(frozen),
        "val_accuracy": val_accuracy(tuned),
        "test_accuracy": metrics.accuracy,
    }
