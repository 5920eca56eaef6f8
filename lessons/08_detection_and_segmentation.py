# %% [markdown]
# # 08 · Detection and segmentation: what is where
#
# {{badge}}
#
# {{time}}
#
# So far a network gave one answer per image. Now it says *where*: a box around each flower (**detection**), or a class
# for each pixel (**segmentation**). Little is new in the recipe. A backbone that learned from other images, a new head,
# some epochs. What is new are the targets, the losses and the way to count.

# %% [markdown]
# ## What you will be able to do
#
# - **read** boxes, masks and class maps, and **turn** one into another
# - **measure** overlap by hand, and count honestly what a network finds
# - **replace** the heads of Faster R-CNN, SSDLite, DeepLabV3 and LR-ASPP, and **train** them
# - **compare** a frozen with a free backbone, in seconds and in flowers
# - **find** two bugs that raise no error
#
# Before this: lessons 00 to 03. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · A scene and its target
#
# The scenes are drawn by the course's own program, so the masks are exact: the program knows which flower it painted
# where. They are used in both profiles. In a real project people draw such masks, minutes for each image.

# %%
scenes = tl.flower_scenes(course, "train")
image, target = scenes[5]
print(len(scenes), "scenes of the classes", tl.scene_classes)
print("image ", tuple(image.shape), image.dtype)
for name in ("labels", "boxes", "masks"):
    print(f"{name:6}", tuple(target[name].shape), target[name].dtype)

# %% [markdown]
# N flowers, so N labels, N boxes of four numbers and N masks. N differs from scene to scene. Class 0 is the
# **background**: it has no box, but every network of this lesson counts it as a class.
#
# A **mask** says which pixels belong to one flower. A **box** is four numbers, x0, y0, x1, y1, in pixels from the upper
# left corner. **Predict:** which of mask and box can be computed from the other?

# %% tags=["type-along"] say="the box of the first flower, by hand from its mask"
rows, columns = target["masks"][0].nonzero(as_tuple=True)
by_hand = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
print("by hand  ", [int(edge) for edge in by_hand])
print("in target", [int(edge) for edge in target["boxes"][0]])

# %% [markdown]
# A mask gives a box, never the other way round. The + 1 puts the right edge *behind* the last pixel, so that x1 − x0 is
# the width. `torchvision.ops.masks_to_boxes` leaves it out: a difference that nobody sees in a picture.
#
# Drawing is a function of torchvision. `tl.show_boxes` calls it for several scenes and adds names.

# %%
import matplotlib.pyplot as plt
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

with_boxes = draw_bounding_boxes(image, target["boxes"], colors="yellow")
colours = ["yellow", "deepskyblue", "magenta", "orange", "white"][: len(target["masks"])]
with_masks = draw_segmentation_masks(image, target["masks"].bool(), alpha=0.7, colors=colours)
tl.show_images([image, with_boxes, with_masks], ["scene", "boxes", "masks"])
plt.show()

some = [scenes[i] for i in range(8)]
tl.show_boxes([image for image, _ in some], [target for _, target in some], tl.scene_classes)
plt.show()

# %% [markdown]
# *What the figure shows:* one scene, its boxes and its masks; then eight scenes with the true box and class of each
# flower.
#
# Where one flower hides another, its mask ends, and the box shrinks with it: only the visible part counts.
#
# For segmentation we need no single flowers, only a **class map**: one class number per pixel. **Predict:** which share
# of all pixels is meadow?

# %%
import torch

class_map = torch.zeros(image.shape[1:], dtype=torch.int64)
for mask, label in zip(target["masks"], target["labels"]):
    class_map[mask.bool()] = label
print("as tl.semantic_mask:", torch.equal(class_map, tl.semantic_mask(target)))

pixels = torch.cat([tl.semantic_mask(target).flatten() for _, target in scenes])
for number, share in enumerate(pixels.bincount() / len(pixels)):
    print(f"{tl.scene_classes[number]:10} {share:.1%}")

# %% [markdown]
# A network that says "meadow" to every pixel has the first number as its accuracy on these scenes, and has found
# nothing. So pixel accuracy is a bad measure here. We need a better one.

# %% [markdown]
# ## 2 · How much two boxes overlap
#
# The measure of detection is **intersection over union** (IoU): the area that two boxes share, divided by the area that
# either of them covers. It is 0 for boxes apart and 1 for the same box. One can simply count pixels:

# %%
def as_mask(x0, y0, x1, y1):
    mask = torch.zeros(128, 128, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


first = as_mask(20, 20, 60, 60)
for shift in (0, 5, 10, 20, 40):
    second = as_mask(20 + shift, 20, 60 + shift, 60)
    print(f"{shift:2} pixels to the right: IoU {(first & second).sum() / (first | second).sum():.2f}")

# %% [markdown]
# IoU is strict: a box of 40 pixels that is a quarter of its width beside the flower has only 0.6. Usually an answer
# counts as right from **0.5** on.
#
# **Exercise 08.1: IoU without pixels.** Write it for two boxes, each a tensor x0, y0, x1, y1. The boxes may lie
# apart.

# %% tags=["exercise"]
def overlap(a, b):
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    # --- solution
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
    shared = width * height
    return shared / (area_a + area_b - shared)
    # --- stub
    # width = ...          # of the shared part: from the larger x0 to the smaller x1
    # height = ...
    # shared = ...
    # return ...           # shared by covered
    # --- end


tl.check("08.1", overlap)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The shared part begins at the larger of both left edges and ends at the smaller of both right edges. What if it ends
# before it begins?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])`, then `.clamp(min=0)`. In the sum of both areas the shared
# part is counted twice.
#
# </details>

# %% [markdown]
# `torchvision.ops.box_iou` does the same for many boxes at once: N against M, a table of N × M.
#
# One more trap before we train. An augmentation that moves the image has to move the boxes. The v2 transforms of lesson
# 01 do it, because the target's tensors carry their meaning as a type:

# %% tags=["type-along"] say="the scene flipped with its target, and what became of the first box"
from torchvision.transforms import v2

print([type(part).__name__ for part in (image, target["boxes"], target["masks"])])
flipped, moved = v2.RandomHorizontalFlip(p=1)(image, target)
box, new_box = (t["boxes"][0].int().tolist() for t in (target, moved))
print("before", box, "after", new_box, "canvas", moved["boxes"].canvas_size)

# %% [markdown]
# **Exercise 08.2 (bug hunt): boxes that stay.** A learner flips by hand, with plain tensors. Training runs without
# an error, and half of the flowers lie beside their boxes. `image` is (3, H, W), `boxes` (N, 4). Repair the flip.

# %% tags=["exercise"]
def flip_scene(image, boxes):
    width = image.shape[-1]
    # --- solution
    moved = boxes.clone()
    moved[:, [0, 2]] = width - boxes[:, [2, 0]]
    return image.flip(-1), moved
    # --- stub
    # return image.flip(-1), boxes.clone()
    # --- end


tl.check("08.2", flip_scene)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Where is a point after the flip that lay x pixels from the left edge?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# At `width - x`. Left and right edge change their roles: the new x0 is `width - x1`.
#
# </details>

# %% [markdown]
# ## 3 · A detector out of parts
#
# **Faster R-CNN** is a classifier's backbone with three additions. We build it with torchvision's own classes around
# the bundled network, in both profiles. First the **feature pyramid**: maps of several stages, coarse and fine, with
# the same number of channels.

# %% tags=["type-along"] say="a feature pyramid round resnet10, and the shapes of its maps"
from torchvision.models.detection.backbone_utils import BackboneWithFPN

body = tl.resnet10(weights="DEFAULT")
pyramid = BackboneWithFPN(body, {"layer2": "0", "layer3": "1", "layer4": "2"}, [128, 256, 512], 64)
for name, maps in pyramid(torch.rand(1, 3, 128, 128)).items():
    print(f"map {name:4} {tuple(maps.shape)}: one cell for {128 // maps.shape[-1]} x {128 // maps.shape[-1]} pixels")

# %% [markdown]
# At every cell the **region proposal network** looks at some boxes of fixed size, the **anchors**: is there anything,
# and how should the box be moved? The best proposals are cut out of the maps, and the **head** names each one and
# corrects its box.
#
# `tl.detector` puts this together. In `mini` it is the pyramid above, in `full` torchvision's Faster R-CNN with
# ResNet-50 and the weights from COCO, photographs with 80 kinds of things. Their numbers run to 90, since ten of them
# are not used, and 0 is the background: 91 scores. Below, a head of that size stands in for the one from COCO, with
# random weights in `mini`. Ours replaces it:

# %%
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

tl.seed_everything(0)
model = tl.detector(course, num_classes=91)
width = model.roi_heads.box_predictor.cls_score.in_features
model.roi_heads.box_predictor = FastRCNNPredictor(width, len(tl.scene_classes)).to(course.device)
print(model.roi_heads.box_predictor)

# %% [markdown]
# That is head replacement, as in lesson 02; `tl.replace_box_head` does it. Four scores: three flowers and the
# background. And sixteen numbers: the head corrects a box for each class in its own way.
#
# **Exercise 08.3 (bug hunt): the flower that is never found.** A learner's data number the kinds of flowers 0, 1, 2.
# Head and labels fit together, training runs, sunflowers and tulips are found. Daisies never.

# %% tags=["exercise"]
def head_and_labels(width, kinds):
    # --- solution
    head = FastRCNNPredictor(width, 4)
    labels = kinds + 1
    # --- stub
    # head = FastRCNNPredictor(width, 3)
    # labels = kinds
    # --- end
    return head, labels


tl.check("08.3", head_and_labels)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Which number do these networks give to "nothing here"?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# 0 is the background. The kinds have to begin at 1, and the head needs a score for each kind and one more.
#
# </details>

# %% [markdown]
# A detector speaks two languages. **Predict:** what will it return in train mode, what in eval mode?

# %%
# NBVAL_CHECK_OUTPUT
to_float = v2.ToDtype(torch.float32, scale=True)  # detectors want pixels in 0..1 and normalise them by themselves
augment = v2.Compose([v2.RandomHorizontalFlip(), to_float])
train_scenes, val_scenes = tl.flower_scenes(course, "train", augment), tl.flower_scenes(course, "val", to_float)


def loaders(batch_size=8):
    train_loader = tl.make_loader(train_scenes, batch_size, train=True, collate_fn=tl.collate_scenes)
    return train_loader, tl.make_loader(val_scenes, batch_size, collate_fn=tl.collate_scenes)


train_loader, val_loader = loaders()
images, targets = next(iter(train_loader))
print(type(images).__name__, "of", len(images), "images,", type(targets).__name__, "of", len(targets), "targets")

# %% [markdown]
# A batch is two lists: images may differ in size, and scenes do differ in the number of boxes, so nothing can be
# stacked. That is all `tl.collate_scenes` does.

# %%
# NBVAL_CHECK_OUTPUT
def to_device(images, targets):
    targets = [{name: target[name].to(course.device) for name in ("boxes", "labels")} for target in targets]
    return [image.to(course.device) for image in images], targets


images, targets = to_device(images, targets)
losses = model.train()(images, targets)
print("train mode:", sorted(losses))
with torch.no_grad():
    answers = model.eval()(images)
print("eval mode: ", sorted(answers[0]))

# %% [markdown]
# In train mode you hand over the targets and get **losses**, ready made: class and box of the head, and the same two of
# the proposals. In eval mode you get **boxes, labels, scores**. There is no validation loss; we count boxes instead.
#
# One training step is the step of lesson 02, with the sum of the losses. **Predict:** will five steps on the same eight
# scenes lower it?

# %%
optimizer = torch.optim.SGD(tl.trainable_parameters(model), lr=0.005, momentum=0.9)
model.train()
for step in range(5):
    losses = model(images, targets)
    loss = sum(losses.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step + 1}: loss {loss.item():.2f}")

# %% [markdown]
# It falls, if not at every step: each time the losses look at a few boxes drawn by chance, so they jump a little.

# %% [markdown]
# ## 4 · Training, and an honest count
#
# `tl.train_detector` is this step in a loop over the epochs; it keeps frozen parts in eval mode and returns the mean of
# each loss. We start afresh, and first look at what the new head answers before any training.

# %%
def new_detector():
    tl.seed_everything(0)
    return tl.detector(course, len(tl.scene_classes))


model = new_detector()
before, truth = tl.detect(model, val_loader)
scores = torch.cat([answer["scores"] for answer in before])
print(f"{len(scores)} answers for {len(before)} scenes, highest score {scores.max().item():.2f}")
print("with a score of at least 0.5:", (scores >= 0.5).sum().item())

# %%
import time

epochs, rate = course.pick(mini=6, full=10), course.pick(mini=1e-3, full=1e-4)


def train(model):
    optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=rate)
    loader, _ = loaders(4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * len(loader), pct_start=0.2)
    started = time.perf_counter()
    history = tl.train_detector(model, loader, optimizer, epochs, schedule)
    return history, time.perf_counter() - started


model = new_detector()
free_history, free_seconds = train(model)

# %% [markdown]
# The rate climbs first and then falls to nothing (OneCycle, lesson 03), since a new head sends rough gradients at the
# start. Batches of four scenes: more steps per epoch for the same work.

# %%
after, truth = tl.detect(model, val_loader)
tl.plot_losses(free_history)
plt.show()

# %% [markdown]
# *What the figure shows:* the four training losses and their sum, epoch by epoch.
#
# First the network learns where anything is at all; the loss of the boxes may even rise, since at the start hardly any
# proposal lies on a flower, and what is not there costs nothing.
#
# **Predict:** of the flowers in unseen scenes, how many will it find?

# %%
look = [0, 1, 2, 3]
pictures = [val_scenes[i][0] for i in look]
tl.show_boxes(pictures, [before[i] for i in look], tl.scene_classes, ["before"] * 4, score=scores.quantile(0.98).item())
found_and_true = [after[i] for i in look] + [truth[i] for i in look]
tl.show_boxes(pictures * 2, found_and_true, tl.scene_classes, ["after"] * 4 + ["true"] * 4)
plt.show()

# %% [markdown]
# *What the figure shows:* four unseen scenes: some answers of the untrained head, if it has any there, those of the
# trained one with a score of at least 0.5, and the true boxes. The number is the score.
#
# Pictures persuade, numbers decide. For one scene the table of overlaps, true boxes by answers, is quickly read:

# %%
from torchvision.ops import box_iou

answer, true = after[0], truth[0]
sure = answer["scores"] >= 0.5
print("true:   ", [tl.scene_classes[n] for n in true["labels"]])
print("answers:", [tl.scene_classes[n] for n in answer["labels"][sure]])
print(box_iou(true["boxes"], answer["boxes"][sure]).numpy().round(2))

# %% [markdown]
# An answer is **right** if its class is that of a true box with IoU at least 0.5 that nobody has taken yet. A second
# box on the same flower is wrong. The share of true boxes found is the **recall**, the share of answers that are right
# the **precision**. `tl.count_found` goes through all scenes like that. **Predict:** what happens to both when you ask
# for a score of 0.9, or for an IoU of 0.75?

# %%
print("before, score 0.5:          ", tl.count_found(before, truth))
for score, iou in ((0.1, 0.5), (0.5, 0.5), (0.9, 0.5), (0.5, 0.75)):
    found = tl.count_found(after, truth, iou=iou, score=score)
    print(f"after,  score {score}, IoU {iou:<4}: {found}, precision {found.precision:.0%}")

# %% [markdown]
# A higher score trades flowers for certainty, a stricter IoU asks for better boxes. A figure without both thresholds
# says nothing. Published figures are **mAP**, an average over ten IoU thresholds and all scores, so never compare ours
# with them.
#
# And mind the small number: the thirty scenes hold a hundred flowers, so one flower is one point.

# %% [markdown]
# ## 5 · The same with a frozen backbone
#
# Freezing works as ever: `model.backbone.body` is the classifier's part, and all the rest goes on learning. In `mini`
# that rest is new: pyramid, proposals and head. In `full` it comes from COCO as well, and only the last layer of the
# head is new. (torchvision hands that network over with its stem and first stage frozen. `tl.detector` frees them, so
# "all layers" means all.) **Predict:** how much time does freezing save, and how many flowers does it cost?

# %% tags=["type-along"] say="a new detector, its body frozen, and its training"
frozen_model = new_detector()
tl.freeze(frozen_model.backbone.body)
print("trained parameters: {1:,} of {0:,}".format(*tl.count_parameters(frozen_model)))
frozen_history, frozen_seconds = train(frozen_model)

# %%
frozen_after, _ = tl.detect(frozen_model, val_loader)
tl.plot_losses({
    "all layers": [row["loss"] for row in free_history],
    "frozen backbone": [row["loss"] for row in frozen_history],
})
plt.show()
print(f"all layers:      {free_seconds:5.1f} s, {tl.count_found(after, truth)}")
print(f"frozen backbone: {frozen_seconds:5.1f} s, {tl.count_found(frozen_after, truth)}")

# %% [markdown]
# *What the figure shows:* the sum of the training losses of both runs, epoch by epoch.
#
# Freezing saves the backward pass through the body. Forward it still runs, and pyramid and head cost the same as
# before: expect a part of the time, not nearly all of it as with a small head. And the flowers? If the two counts are a
# few flowers apart, in whichever direction, call it a draw: eighty scenes are not much to improve a whole body with.

# %% [markdown]
# ## 6 · A detector for small computers
#
# **SSDLite** has no proposals: each cell of six maps names its anchors directly. With a MobileNetV3 and COCO's classes
# it has 3.4 million parameters. Its head is one branch per map, so replacing it by hand is a small loop;
# `tl.replace_box_head` has it.
#
# In `full` it comes with weights from COCO. In `mini` nothing is downloaded and its weights are random: we only see
# that the head fits and that the loss falls.

# %%
tl.seed_everything(0)
ssd = tl.detector(course, len(tl.scene_classes), "ssdlite320_mobilenet_v3_large")
branch = ssd.head.classification_head.module_list[0]
print(f"{tl.count_parameters(ssd)[0]:,} parameters, {len(ssd.head.classification_head.module_list)} branches")
print(branch[1])

# %% [markdown]
# Twenty-four channels: six anchors at each cell of the first map, four scores for each. Eight steps on the same four
# scenes:

# %%
four_images, four_targets = to_device(*next(iter(loaders(4)[0])))
optimizer = torch.optim.AdamW(ssd.parameters(), lr=1e-3)
ssd.train()
for step in range(8):
    losses = ssd(four_images, four_targets)
    loss = sum(losses.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step in (0, 7):
        print(f"step {step + 1}:", {name: round(part.item(), 2) for name, part in losses.items()})

# %% [markdown]
# A falling loss on four scenes is a test of the plumbing, not a result. Do it with every new network before you start
# a long training. If it cannot learn four scenes by heart, something is connected wrongly.

# %% [markdown]
# ## 7 · A class for every pixel
#
# **DeepLabV3** keeps the maps of its backbone fine: it takes the stride out of the last stages and sets their filters
# apart instead, with the same weights (*dilated*, or *atrous* filters). `tl.dilate` does that to a stage in five lines.
# **Predict:** the shape of the map with a dilated third stage?

# %% tags=["type-along"] say="a stage as it is and dilated: the shapes of its maps"
body = tl.resnet10(weights="DEFAULT").eval()
early = torch.nn.Sequential(body.conv1, body.bn1, body.relu, body.maxpool, body.layer1, body.layer2)
with torch.no_grad():
    features = early(torch.rand(1, 3, 128, 128))
    print("third stage as it is:", tuple(body.layer3(features).shape))
    print("dilated:             ", tuple(tl.dilate(body.layer3, 2)(features).shape))

# %% [markdown]
# Four times the cells, without one new weight. On top sits a head that looks at several distances at once; its last
# layer gives a score per class for each cell, enlarged to the size of the image.
#
# The target is the class map, the loss is **cross-entropy, once for each pixel**. Images are stacked and normalised as
# for a classifier; unlike detectors, these networks do not do it by themselves.

# %%
# NBVAL_CHECK_OUTPUT
enlarge = v2.Resize(course.pick(mini=128, full=256))
flip, normalize = v2.RandomHorizontalFlip(), v2.Normalize(tl.IMAGENET_MEAN, tl.IMAGENET_STD)


def with_map(image, target):
    image, target = enlarge(image, target)
    return normalize(to_float(image)), tl.semantic_mask(target)


def flipped_with_map(image, target):
    return with_map(*flip(image, target))


map_train = tl.make_loader(tl.flower_scenes(course, "train", flipped_with_map), 8, train=True)
map_val = tl.make_loader(tl.flower_scenes(course, "val", with_map), 8)
map_images, maps = next(iter(map_val))
print("images", tuple(map_images.shape), " maps", tuple(maps.shape), maps.dtype)

# %%
# NBVAL_CHECK_OUTPUT
import torch.nn.functional as F

tl.seed_everything(0)
segmenter = tl.segmenter(course, len(tl.scene_classes))
pixel_scores = segmenter(map_images.to(course.device))["out"]
print("scores", tuple(pixel_scores.shape))
print("one loss per pixel:", tuple(F.cross_entropy(pixel_scores, maps.to(course.device), reduction="none").shape))

# %% [markdown]
# `cross_entropy` takes scores (N, K, H, W) and maps (N, H, W) as they are. `tl.train_segmenter` is the loop with this
# loss. In `full`, torchvision's DeepLabV3 has a second head, `aux`, on an earlier stage: it gets half the weight in
# the loss and is ignored in eval mode. Both heads are new there, `tl.replace_mask_head` sees to it.

# %%
def train_maps(segmenter, rate=course.pick(mini=1e-3, full=1e-4)):
    epochs = course.pick(mini=5, full=10)
    optimizer = torch.optim.AdamW(tl.trainable_parameters(segmenter), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * len(map_train), pct_start=0.2)
    started = time.perf_counter()
    losses = tl.train_segmenter(segmenter, map_train, optimizer, epochs, schedule)
    return losses, time.perf_counter() - started


tl.seed_everything(0)
segmenter = tl.segmenter(course, len(tl.scene_classes))
untrained, true_maps = tl.segment(segmenter, map_val)
deeplab_losses, deeplab_seconds = train_maps(segmenter)
found_maps, _ = tl.segment(segmenter, map_val)

# %%
pictures = [tl.flower_scenes(course, "val", enlarge)[i][0] for i in look]
some_maps = [maps[i] for maps in (untrained, found_maps, true_maps) for i in look]
tl.show_masks(pictures * 3, some_maps, tl.scene_classes, [name for name in ("before", "after", "true") for _ in look])
plt.show()

# %% [markdown]
# *What the figure shows:* four unseen scenes with the classes of their pixels in colour: before training, after it, and
# the true ones.
#
# The borders are soft: one cell stands for 8 × 8 pixels of what the network sees. In `mini` that is the scene itself,
# in `full` the scene enlarged to 256 pixels, so 4 × 4 of its own. And two flowers of one kind that touch are one patch.
# To tell them apart needs a mask per box, which is what Mask R-CNN adds to Faster R-CNN.
#
# **Exercise 08.4: IoU per class.** The same measure for class maps: for each class the pixels where both say it, by the
# pixels where either says it, summed over all images. Return a tensor with one number per class.

# %% tags=["exercise"]
def iou_per_class(predicted, true, classes):
    ious = []
    for number in range(classes):
        said, is_so = predicted == number, true == number
        # --- solution
        ious.append((said & is_so).sum() / (said | is_so).sum())
        # --- stub
        # ious.append(...)
        # --- end
    return torch.tensor(ious)


tl.check("08.4", iou_per_class)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `said` and `is_so` are masks of True and False. `&` is true where both are, `|` where at least one is.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `.sum()` counts the True ones: `(said & is_so).sum()` divided by `(said | is_so).sum()`.
#
# </details>

# %% [markdown]
# The mean over the classes is **mIoU**, the usual figure for segmentation. **Predict:** what is it for a network that
# says "meadow" to every pixel? Its accuracy on the training scenes you saw in section 1; the unseen ones hold a little
# less meadow.

# %%
def table(name, maps):
    ious = tl.class_iou(maps, true_maps, len(tl.scene_classes))
    accuracy = (maps == true_maps).float().mean().item()
    parts = "  ".join(f"{kind} {value:.2f}" for kind, value in zip(tl.scene_classes, ious.tolist()))
    print(f"{name:15} accuracy {accuracy:.1%}  mIoU {tl.mean_iou(ious):.2f}   {parts}")
    return tl.mean_iou(ious)


table("all meadow", torch.zeros_like(true_maps))
table("before", untrained)
deeplab_miou = table("DeepLabV3", found_maps)

# %% [markdown]
# **LR-ASPP** is to DeepLabV3 what SSDLite is to Faster R-CNN: a small head that adds an early, fine map to a coarse
# one. In `mini` it sits on the same backbone, in `full` on MobileNetV3.
#
# We train it with the backbone frozen, the cheapest of all. **Predict:** what does it cost?

# %%
tl.seed_everything(0)
light = tl.segmenter(course, len(tl.scene_classes), course.pick(mini="lraspp_resnet10", full="lraspp_mobilenet_v3_large"))
tl.freeze(light.backbone)
light_losses, light_seconds = train_maps(light)
light_maps, _ = tl.segment(light, map_val)
light_miou = table("LR-ASPP, frozen", light_maps)

# %%
tl.plot_losses({"DeepLabV3, all layers": deeplab_losses, "LR-ASPP, frozen backbone": light_losses})
plt.show()

# %% [markdown]
# *What the figure shows:* the mean loss per pixel of both segmentation networks, epoch by epoch.
#
# If DeepLabV3 has the higher loss and the better maps all the same: its head drops half of its channels while it trains
# (dropout), and all of them work when it answers. Training losses of two networks are two rulers. Compare on unseen
# scenes.

# %% [markdown]
# ## Compare
#
# **Predict:** which of the four would you take for a phone, and which if nothing counts but the result?

# %%
print(f"{'network':32} {'trained parameters':>18} {'seconds':>8}   result on unseen scenes")
for name, network, seconds, result in (
    ("Faster R-CNN, all layers", model, free_seconds, f"{tl.count_found(after, truth).recall:.0%} found"),
    ("Faster R-CNN, frozen backbone", frozen_model, frozen_seconds,
     f"{tl.count_found(frozen_after, truth).recall:.0%} found"),
    ("DeepLabV3, all layers", segmenter, deeplab_seconds, f"mIoU {deeplab_miou:.2f}"),
    ("LR-ASPP, frozen backbone", light, light_seconds, f"mIoU {light_miou:.2f}"),
):
    print(f"{name:32} {tl.count_parameters(network)[1]:18,} {seconds:8.1f}   {result}")

# %% [markdown]
# One run each, one seed, thirty scenes to judge: enough to see what works at all, not to rank neighbours. The two
# kinds of result cannot be compared with each other, and between the last two lines *two* things differ, head and
# freezing, so they do not say which of them counts. As ever since lesson 02, a frozen backbone is the cheap first try,
# and freeing it the next step.

# %% [markdown]
# ## Common mistakes
#
# - **Labels from 0:** class 0 is the background, so one kind is never found.
# - **Head with too few classes:** count the background too.
# - **Boxes that do not move** with the augmented image, or in the format x, y, width, height.
# - **Normalising twice:** detectors normalise by themselves, segmentation networks do not.
# - **Asking for losses in eval mode,** or for boxes in train mode.
# - **Judging by pixel accuracy:** the background wins.
# - **A recall without a precision,** or either without its thresholds.
# - **BatchNorm on two images per batch:** torchvision's detectors freeze it for a reason.

# %% [markdown]
# ## Take-aways
#
# - Detection and segmentation are transfer learning with other heads: backbone, new head, some epochs.
# - Masks give boxes and class maps; the v2 transforms move all of them with the image.
# - A detector returns losses in train mode and boxes in eval mode; its sum of losses is trained like any other loss.
# - A segmentation network is a classifier of pixels: the same cross-entropy, once for each.
# - IoU is the measure of both. Say the thresholds, count each flower once, and give every class its own number.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("08")

# %% [markdown] tags=["quiz"]
# **1. A true box is 40 × 40 pixels. The answer is the same box, but 80 pixels wide: all of the flower and as much
# meadow. What is the IoU?**
#
# <details><summary>1, since the whole flower is inside</summary>
#
# No. Then a box around the whole image would be a perfect answer to everything.
#
# </details>
#
# <details><summary>0.5</summary>
#
# Right. They share 1,600 pixels and together cover 3,200: at the usual threshold this answer just passes.
#
# </details>
#
# <details><summary>0.25</summary>
#
# No. That would be twice the width and twice the height.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. Your data have five kinds of fruit, numbered 0 to 4. What does Faster R-CNN need?**
#
# <details><summary>Labels 0 to 4 and num_classes=5</summary>
#
# No. This runs without an error, and kind 0 is trained to be background.
#
# </details>
#
# <details><summary>Labels 1 to 5 and num_classes=5</summary>
#
# No. Five scores are numbered 0 to 4, and label 5 has none: an error, the better kind of mistake.
#
# </details>
#
# <details><summary>Labels 1 to 5 and num_classes=6</summary>
#
# Right. Class 0 is the background, and it counts.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. You want a validation loss of a detector and write `model.eval()`, then `model(images, targets)`. What do you
# get?**
#
# <details><summary>Boxes, labels and scores, and no loss</summary>
#
# Right. In eval mode the targets are ignored. Count the boxes found, that is what you want to know anyway.
#
# </details>
#
# <details><summary>The same losses as in train mode</summary>
#
# No. The losses exist in train mode only.
#
# </details>
#
# <details><summary>An error</summary>
#
# No, and that is the trap: it runs, and returns something else than you think.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. In your road images 2 % of the pixels belong to signs. The network has a pixel accuracy of 98 %. Is it good?**
#
# <details><summary>Yes, only 2 % of the pixels are wrong</summary>
#
# No. They may be exactly the signs.
#
# </details>
#
# <details><summary>You cannot tell: look at the IoU of the signs</summary>
#
# Right. A network that never says "sign" has the same accuracy, and an IoU of 0 for signs.
#
# </details>
#
# <details><summary>Yes, if the loss is low as well</summary>
#
# No. The loss is a mean over the pixels too, and the background is nearly all of them.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. You freeze the backbone of a detector. Training takes only somewhat less time. Why?**
#
# <details><summary>Freezing did not work</summary>
#
# No. Count the trainable parameters if you doubt it, but time is no proof.
#
# </details>
#
# <details><summary>A frozen network keeps its gradients</summary>
#
# No. There are none.
#
# </details>
#
# <details><summary>The forward pass, the pyramid, the proposals and the head cost as much as before</summary>
#
# Right. Only the backward pass through the body is saved. In a classifier with a small head that was nearly all.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - Ren and others (2015), [Faster R-CNN](https://arxiv.org/abs/1506.01497), and Lin and others (2016),
#   [Feature Pyramid Networks](https://arxiv.org/abs/1612.03144).
# - Chen and others (2017), [DeepLabV3](https://arxiv.org/abs/1706.05587).
# - Howard and others (2019), [MobileNetV3](https://arxiv.org/abs/1905.02244): where LR-ASPP comes from; Sandler and
#   others (2018), [MobileNetV2](https://arxiv.org/abs/1801.04381), for SSDLite.
# - Lin and others (2014), [COCO](https://arxiv.org/abs/1405.0312): the data, and the measure mAP.
# - [torchvision's detection tutorial](https://pytorch.org/tutorials/intermediate/torchvision_tutorial.html): Mask R-CNN
#   on photographs of pedestrians, laid out on disk like our scenes.
#
# *This is the last lesson. Take your own images now.*
#
# Text: CC BY 4.0. Code: MIT.
