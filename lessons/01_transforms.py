# %% [markdown]
# # 01 · Transforms: from a picture to numbers
#
# {{badge}}
#
# {{time}}
#
# A network never sees your picture. It sees a block of numbers, and a chain of *transforms* decides which numbers. Most
# transfer learning that "does not work" is broken right here, quietly, without an error message. After this lesson you
# will notice.

# %% [markdown]
# ## What you will be able to do
#
# - Turn an image file into a tensor and say what happened to shape, type and range.
# - Choose random transforms for training, and see what each one does to a picture.
# - Normalise with the right statistics, and undo it for the eye.
# - Build training and validation parts so that only the training part is random.
# - Measure what a forgotten `Normalize` costs.
#
# Before this: lesson 00. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · A folder of images, split before anything else
#
# The simplest way to store labelled images: one folder per class. `ImageFolder` from torchvision reads that. The folder
# names become the class names, in alphabetical order, and each image gets the number of its class.

# %% tags=["type-along"] say="read the folder five-flowers with ImageFolder and print the class names"
# NBVAL_CHECK_OUTPUT
from torchvision import datasets

raw = datasets.ImageFolder(course.data / "mini" / "five-flowers")
print(raw.classes)
print(len(raw), "images; the last one has label", raw.targets[-1])

# %% [markdown]
# Nothing has been opened yet: `raw.targets` comes from the folder names alone. An image is read from disk when you ask
# for it, `raw[0]` for the first. Look at one image of each class.

# %%
import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 5, figsize=(9, 2.2))
for label, ax in enumerate(axes):
    image, _ = raw[raw.targets.index(label) + 1]
    ax.imshow(image)
    ax.set_title(raw.classes[label])
    ax.axis("off")
plt.show()

# %% [markdown]
# *What the figure shows:* one image of each of the five classes, with the name of its folder as title.
#
# You just wrote an image grid by hand. From here on `tl.show_images` does the same: pictures in, titles in, one grid
# out.
#
# Now the split, **before** anything is computed from the images. It should be *stratified*: every class gives the same
# share to each part. Only the labels are needed, no image is opened.

# %%
import torch

generator = torch.Generator().manual_seed(0)
by_hand = {"train": [], "val": [], "test": []}
for label in range(len(raw.classes)):
    members = [index for index, target in enumerate(raw.targets) if target == label]
    members = [members[i] for i in torch.randperm(len(members), generator=generator)]
    a, b = round(0.6 * len(members)), round(0.8 * len(members))
    by_hand["train"] += members[:a]
    by_hand["val"] += members[a:b]
    by_hand["test"] += members[b:]

# %% [markdown]
# Two things to check on any split: each class has the same share in each part, and no image is in two parts. The helper
# `tl.stratified_split` does the same, so we use its lists from now on.

# %%
# NBVAL_CHECK_OUTPUT
train_index, val_index, test_index = tl.stratified_split(raw.targets, (0.6, 0.2, 0.2), seed=0)
for name, part in {"train": train_index, "val": val_index, "test": test_index}.items():
    counts = [sum(raw.targets[i] == label for i in part) for label in range(len(raw.classes))]
    print(f"{name:5} {len(part):4} images, per class {counts}, by hand {len(by_hand[name])}")
print("shared by train and val:", len(set(train_index) & set(val_index)))

# %% [markdown]
# ## 2 · From a file to a tensor
#
# An opened image is a PIL image. Its numbers are bytes, and their order is rows, columns, colours. We take one flower
# and keep it for the whole lesson.

# %%
# NBVAL_CHECK_OUTPUT
import numpy as np

flower, label = raw[train_index[219]]
pixels = np.array(flower)
print(raw.classes[label], flower.mode, "width x height", flower.size)
print("as an array:", pixels.shape, pixels.dtype)

# %% [markdown]
# A network wants something else: floats instead of bytes, values from 0 to 1, and the colours **first**. So three
# things must happen: move the last dimension to the front, convert, divide by the largest byte. By hand:

# %% tags=["type-along"] say="from PIL's bytes to floats by hand: colours first, divide by 255"
# NBVAL_CHECK_OUTPUT
x = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
print(tuple(x.shape), x.dtype, "values within 0 and 1:", bool(x.min() >= 0 and x.max() <= 1))

# %% [markdown]
# torchvision has this ready, in two spellings. Older code says `ToTensor()`. The newer `v2` transforms split it in two
# honest steps: `ToImage` (make it a tensor, colours first) and `ToDtype` (make it float, and with `scale=True` divide
# by the largest byte).

# %%
# NBVAL_CHECK_OUTPUT
from torchvision import transforms
from torchvision.transforms import v2

old = transforms.ToTensor()(flower)
to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
print("ToTensor as by hand:", torch.allclose(old, x))
print("v2 as by hand:      ", torch.allclose(to_float(flower), x))

# %% [markdown]
# `scale=True` is easy to forget, because it is not the default.
#
# **Predict:** what is the largest value without it? Would an error tell you?

# %% tags=["type-along"] say="the same pipeline without scale=True; print both largest values"
forgotten = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)])(flower)
print("with scale=True:   ", f"{to_float(flower).max():.2f}")
print("without scale=True:", f"{forgotten.max():.2f}", forgotten.dtype)

# %% [markdown]
# No error. Same shape, same type, numbers of another size. Remember this one, we will measure its price in section 8.
#
# ## 3 · Choosing the frame
#
# Images come in all sizes; a batch needs one. Two transforms without any randomness do the job. We try them on a cut
# that is wider than high, like most photographs.

# %%
wide = flower.crop((0, 14, 96, 78))
frames = {
    "original": wide,
    "Resize(48)": v2.Resize(48)(wide),
    "Resize((64, 64))": v2.Resize((64, 64))(wide),
    "CenterCrop(64)": v2.CenterCrop(64)(wide),
}
titles = [f"{name}\n{picture.width} x {picture.height}" for name, picture in frames.items()]
tl.show_images(list(frames.values()), titles, ncols=4)
plt.show()

# %% [markdown]
# *What the figure shows:* one wide picture and three ways to fit it; under each name stand width and height.
#
# `Resize` with **one** number sets the shorter side and keeps the proportions. With **two** numbers it squeezes the
# flower into that shape. `CenterCrop` cuts the middle out and changes no pixel. The usual recipe for evaluation is
# `Resize(one number)`, then `CenterCrop`.

# %% [markdown]
# ### Random frames
#
# For training, chance is welcome: if the flower is never twice in the same place, the network cannot learn the place.
# This little function draws several results per transform, one row each.

# %%
def show_draws(rows, picture, n=7):
    """Draw n random results of each transform; rows is {name: transform}."""
    torch.manual_seed(0)
    pictures = [transform(picture) for transform in rows.values() for _ in range(n)]
    figure = tl.show_images(pictures, ncols=n)
    for row, name in enumerate(rows):
        figure.axes[row * n + n // 2].set_title(name, fontsize=9)  # over the middle of its row
    plt.show()

# %%
small = v2.Resize(64)(flower)
show_draws(
    {
        "RandomCrop(64, padding=4)": v2.RandomCrop(64, padding=4),
        "RandomResizedCrop(64, scale=(0.8, 1.0))": v2.RandomResizedCrop(64, scale=(0.8, 1.0)),
        "RandomResizedCrop(64), default scale (0.08, 1.0)": v2.RandomResizedCrop(64),
    },
    small,
)

# %% [markdown]
# *What the figure shows:* seven random results of each of three crops of the same flower.
#
# `RandomCrop(64, padding=4)` first adds a black margin of four pixels, then cuts the old size at a random place: the
# flower shifts a little. `RandomResizedCrop` cuts a random part and zooms it to the wanted size. Its default goes down
# to a very small part, made for a million photographs. With few images, gentle settings lose less.

# %% [markdown]
# ### `scale` is an area
#
# Many tutorials explain `scale=(0.8, 1.0)` as "between 80 and 100 % of the width". Let us ask torchvision itself: a
# thousand random boxes, squares only, and the share of area and of side that each keeps.

# %%
torch.manual_seed(0)
draw = v2.RandomResizedCrop.get_params
boxes = [draw(flower, scale=[0.8, 1.0], ratio=[1.0, 1.0]) for _ in range(1000)]
side = np.array([width / flower.width for top, left, height, width in boxes])
print(f"side: {side.min():.2f} to {side.max():.2f} of the full side")
print(f"area: {(side**2).min():.2f} to {(side**2).max():.2f} of the full area")

# %% [markdown]
# It is the **area** that runs between the two numbers. The side never gets as small as they suggest. Now use that.
#
# **Exercise 01.1** A picture is 200 by 200 pixels. `RandomResizedCrop(64, scale=(0.8, 1.0), ratio=(1.0, 1.0))` cuts
# squares from it. How long is the shortest side it can cut, in pixels?

# %% tags=["exercise"]
# --- solution
shortest = 200 * 0.8**0.5
# --- stub
# shortest = ...  # in pixels
# --- end
tl.check("01.1", shortest)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The smallest area is 0.8 times the area of the picture. What is the area of the picture?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Side times side is the area, so the side is the square root of the area. In Python: `area ** 0.5`.
#
# </details>

# %% [markdown]
# ## 4 · Mirrors, turns and shifts
#
# A daisy seen in a mirror is still a daisy, and so is a tilted one. Such transforms change the numbers and keep the
# label: they show the network variety that your few images lack.

# %%
show_draws(
    {
        "RandomHorizontalFlip()": v2.RandomHorizontalFlip(),
        "RandomRotation(15)": v2.RandomRotation(15),
        "RandomAffine(0, translate=(0.1, 0.1))": v2.RandomAffine(0, translate=(0.1, 0.1)),
    },
    small,
)

# %% [markdown]
# *What the figure shows:* seven random results each of mirroring, turning by at most 15 degrees, and shifting by at
# most a tenth of the width and height.
#
# Ask of each: **would a person still give the same label?** A mirrored flower, yes. A mirrored letter or a photograph
# of a left hand, no. Upside down suits cells under a microscope better than houses.

# %% [markdown]
# ### The black corners
#
# Turning leaves corners with nothing in them, and torchvision paints them black. A well-known recipe crops, turns and
# cuts the middle out, hoping the corners fall off. On a sheet of grey paper every painted pixel shows.
#
# **Predict:** do they fall off?

# %%
crop = v2.RandomResizedCrop(73, scale=(0.8, 1.0))
recipe = v2.Compose([crop, v2.RandomRotation(15), v2.CenterCrop(64)])
paper = v2.functional.to_pil_image(torch.full((3, 96, 96), 0.8))  # plain grey
show_draws({"the recipe on a flower": recipe}, flower)
show_draws({"the same recipe on grey paper": recipe}, paper)

# %% [markdown]
# *What the figure shows:* the recipe on a flower and on grey paper; small black triangles remain in some corners.
#
# How often does that happen? Count over many draws on the grey paper:

# %% tags=["type-along"] say="draw 300 times on the grey paper; how often is the smallest pixel 0?"
spoiled = [np.array(recipe(paper)).min() == 0 for _ in range(300)]
print(f"pictures with a black corner: {np.mean(spoiled):.0%}")

# %% [markdown]
# The triangles are small, and not in every picture. Yet they never occur at prediction time, and nobody asked for them.
# The cause is geometry: a square that is turned needs a margin, and the margin here is a little too narrow.

# %% [markdown]
# **Exercise 01.2 (bug hunt)** The cell below is that recipe. Change it so that no black corner is ever left, and keep
# all three steps, the 15 degrees and the final 64 by 64 pixels.

# %% tags=["exercise"]
# --- solution
hunted = v2.Compose([
    v2.RandomResizedCrop(80, scale=(0.8, 1.0)),
    v2.RandomRotation(15),
    v2.CenterCrop(64),
])
# --- stub
# hunted = v2.Compose([
#     v2.RandomResizedCrop(73, scale=(0.8, 1.0)),
#     v2.RandomRotation(15),
#     v2.CenterCrop(64),
# ])
# --- end
tl.check("01.2", hunted)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The picture that is turned must be larger than the piece that is cut out of its middle. How much larger?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A turned square of side `s` holds an upright square of side `s / (cos 15° + sin 15°)`. For 64 pixels in the end, `s`
# must be at least `64 * (0.966 + 0.259)`.
#
# </details>

# %% [markdown]
# ## 5 · Colour
#
# `ColorJitter(brightness, contrast, saturation, hue)` imitates other light and other cameras. The first three numbers
# say how much may be added or taken away, the fourth turns the colour wheel. Colour is also a *clue* to the class, so
# too much of it destroys what you want to learn.

# %%
show_draws(
    {
        "ColorJitter(0.2, 0.2, 0.2, 0.1)": v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        "ColorJitter(hue=0.5)": v2.ColorJitter(hue=0.5),
    },
    small,
)

# %% [markdown]
# *What the figure shows:* a gentle colour change in the upper row, the full turn of the colour wheel in the lower one.
#
# The upper row could be the same flower in another hour of the day. The lower row has colours that no sunflower has. If
# colour tells your classes apart, that is no longer the same label. Always look at such a grid before you train: if
# *you* can no longer name the class, the network learns noise.

# %% [markdown]
# ## 6 · Normalize
#
# Networks train best on numbers around zero with a spread around one. `Normalize` takes each colour channel, subtracts
# a mean and divides by a standard deviation. The same numbers for every image:

# %%
mean = torch.tensor(tl.IMAGENET_MEAN).view(3, 1, 1)
std = torch.tensor(tl.IMAGENET_STD).view(3, 1, 1)
by_hand = (x - mean) / std
normalize = v2.Normalize(tl.IMAGENET_MEAN, tl.IMAGENET_STD)
print("mean", tl.IMAGENET_MEAN, "std", tl.IMAGENET_STD)
print("Normalize as by hand:", torch.allclose(normalize(x), by_hand))
print(f"range before: {x.min():.2f} to {x.max():.2f}")
print(f"range after:  {by_hand.min():.2f} to {by_hand.max():.2f}")

# %% [markdown]
# Those six numbers were measured on ImageNet, a collection of more than a million photographs, and nearly every
# pretrained backbone expects them.
#
# A normalised image is not for the eye: it has negative values. To look at it, go back: times the deviation, plus the
# mean. `tl.denormalize` does exactly that.

# %%
back = by_hand * std + mean
print("as the helper does:", torch.allclose(back, tl.denormalize(by_hand), atol=1e-5))
titles = ["0 to 1", "normalised,\nshown as it is", "denormalised"]
tl.show_images([x, by_hand.clamp(0, 1), back], titles, ncols=3)
plt.show()

# %% [markdown]
# *What the figure shows:* the flower before, the normalised flower drawn as if it were a picture, and the way back.
#
# If your own plots look like the middle one, nothing is wrong with the training. Somebody forgot to denormalise.

# %% [markdown]
# Every transform you have met is in the list below. Move its numbers, look at the twelve results, and ask of each
# setting: could you still name the class? (By keyboard: Tab goes on, Space opens a list, arrows and Enter choose.
# Letters typed on a closed list go to JupyterLab, which takes them for commands.)

# %%
tl.explore_augmentation(raw, index=train_index[219])

# %% [markdown]
# *What the figure shows:* the flower before and after one transform, and twelve looks at it. The line below the picture
# makes the same transform; copy it into your own pipeline.

# %% [markdown]
# ### Whose statistics?
#
# Two answers are common. **The backbone's**: the numbers it was pretrained with. **Your own**: measured on your
# training images. For a pretrained backbone the first is right, since it has only ever seen such numbers. From scratch,
# your own are fine. Here is the block of training images to measure on.

# %%
# NBVAL_CHECK_OUTPUT
plain = v2.Compose([v2.Resize(64), v2.CenterCrop(64), to_float])
pictures = torch.stack([plain(raw[index][0]) for index in train_index])
print("images, colours, rows, columns:", tuple(pictures.shape))

# %% [markdown]
# **Exercise 01.3** Compute the mean and the standard deviation of `pictures`, one number per colour: over all images,
# all rows, all columns. (Only training images! Validation must not influence any number that you train with.)

# %% tags=["exercise"]
# --- solution
own_mean = pictures.mean(dim=(0, 2, 3))
own_std = pictures.std(dim=(0, 2, 3))
# --- stub
# own_mean = ...  # three numbers
# own_std = ...  # three numbers
# --- end
tl.check("01.3", own_mean, own_std, pictures)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `pictures.mean(dim=...)` takes the dimensions that should *disappear*. Three of the four should.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The dimensions are 0 images, 1 colours, 2 rows, 3 columns. The colours stay: `dim=(0, 2, 3)`. The same for `.std`.
#
# </details>

# %% [markdown]
# The helper `tl.dataset_statistics` computes the same for a whole dataset without holding it in memory. Next to
# ImageNet's numbers:

# %%
from torch.utils.data import Subset

training_part = Subset(datasets.ImageFolder(raw.root, transform=plain), train_index)
flower_mean, flower_std = tl.dataset_statistics(training_part)
print("mean (red, green, blue): own", np.round(flower_mean, 3), "ImageNet", tl.IMAGENET_MEAN)
print("std  (red, green, blue): own", np.round(flower_std, 3), "ImageNet", tl.IMAGENET_STD)

# %% [markdown]
# Your flowers have their own colours, so the rows differ. By how much it matters to a pretrained backbone is measured
# in section 8.
#
# ## 7 · Two pipelines, two datasets
#
# Weights know how their images were prepared. Print it, and read it like a recipe.

# %%
from torchvision import models

arch = course.pick(mini="resnet10", full="resnet18")
weights = models.get_model_weights(arch).DEFAULT
preset = weights.transforms()
print(preset)

# %% [markdown]
# From top to bottom: cut the central square of `crop_size`, after the shorter side was resized to `resize_size`;
# subtract `mean`, divide by `std`; `interpolation` says how pixels are blended when the size changes. The conversion to
# floats between 0 and 1 happens too, without a line of its own.
#
# **Exercise 01.4** Write that preset yourself, as a `v2.Compose` of five steps. Take all numbers from `preset`, for
# example `preset.resize_size`.

# %% tags=["exercise"]
# --- solution
my_preset = v2.Compose([
    v2.Resize(preset.resize_size),
    v2.CenterCrop(preset.crop_size),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(preset.mean, preset.std),
])
# --- stub
# my_preset = ...  # v2.Compose([...]) with five steps
# --- end
tl.check("01.4", my_preset, preset)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The order: resize, cut the middle, make it a tensor, make it float, normalise.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `v2.Resize`, `v2.CenterCrop`, `v2.ToImage`, `v2.ToDtype(torch.float32, scale=True)`, `v2.Normalize`. Nothing random.
#
# </details>

# %% [markdown]
# That was the **evaluation pipeline**: no chance in it, the same numbers every time. The **training pipeline** has
# random steps in front and ends in the same `Normalize`. The turn comes first, on the largest picture, and its corners
# are filled with the mean colour, which `Normalize` then turns into zero.

# %%
size, mean, std = preset.crop_size[0], preset.mean, preset.std
mean_colour = [round(255 * value) for value in mean]
train_pipeline = v2.Compose([
    v2.RandomRotation(15, v2.InterpolationMode.BILINEAR, fill=mean_colour),
    v2.RandomResizedCrop(size, scale=(0.8, 1.0)),
    v2.RandomHorizontalFlip(),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean, std),
])
eval_pipeline = weights.transforms()

# %% [markdown]
# The course's short forms for these two are `tl.train_transform_for(weights)` and `tl.eval_transform(...)`.
#
# A dataset has **one** transform. So two pipelines mean **two datasets** over the same files, and the lists of indices
# decide which images each part may use.

# %%
train_set = Subset(datasets.ImageFolder(raw.root, transform=train_pipeline), train_index)
val_set = Subset(datasets.ImageFolder(raw.root, transform=eval_pipeline), val_index)
images = [train_set[3][0] for _ in range(6)] + [val_set[3][0] for _ in range(6)]
titles = [f"{part}, look {i}" for part in ["training", "validation"] for i in range(1, 7)]
tl.show_images(images, titles, ncols=6, mean=mean, std=std)
plt.show()

# %% [markdown]
# *What the figure shows:* one training image and one validation image, each read six times.
#
# The training image is new at every look. The validation image stands still, so two evaluations agree, and a change in
# the score comes from the network and not from the dice.
#
# **Exercise 01.5 (bug hunt)** This cell follows a pattern from many tutorials. It runs, and the validation score it
# leads to is wrong. Repair it.

# %% tags=["exercise"]
# --- solution
train_part = Subset(datasets.ImageFolder(raw.root, transform=train_pipeline), train_index)
val_part = Subset(datasets.ImageFolder(raw.root, transform=eval_pipeline), val_index)
# --- stub
# both = datasets.ImageFolder(raw.root, transform=train_pipeline)
# train_part = Subset(both, train_index)
# val_part = Subset(both, val_index)
# --- end
tl.check("01.5", train_part, val_part)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Read `val_part[0]` twice. Do you get the same numbers? Where does its transform come from?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A `Subset` borrows the transform of the dataset below it. Setting another transform on `both` changes both parts. You
# need a second `ImageFolder`.
#
# </details>

# %% [markdown]
# ### A batch
#
# A `DataLoader` collects single images to batches, in random order for training. `tl.make_loader` is this call with a
# seed of its own, so that the order can be repeated.

# %% tags=["type-along"] say="a DataLoader over train_set, batches of 32, shuffled; print the shapes of one batch"
from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
images, labels = next(iter(train_loader))
print("images", tuple(images.shape), images.dtype, "| labels", tuple(labels.shape), labels.dtype)
print("batches in one epoch:", len(train_loader), "| images in the last one:", len(train_set) % 32)

# %% [markdown]
# Thirty-two images, three colours, then rows and columns. The last batch is smaller than the others. Keep that in mind
# for lesson 02: a plain average over batches would give its few images too much weight.
#
# ## 8 · What does a forgotten Normalize cost?
#
# Now the measurement. A pretrained backbone stays frozen and turns every image into features. A linear classifier
# learns flowers from the features of the training part and is scored on the validation part. (`eval()` and `no_grad()`
# say: we only look, nothing is trained. Lesson 02 explains both.)

# %%
backbone = models.get_model(arch, weights=weights)
backbone.fc = torch.nn.Identity()  # take the head off: what comes out now are the features
backbone.eval().to(course.device, memory_format=torch.channels_last)  # another order in memory, for speed only

@torch.no_grad()
def features(pixels, steps):
    """Features of all images: the steps prepare batch after batch, the backbone answers."""
    prepare = v2.Compose(steps)
    return torch.cat([backbone(prepare(batch).to(course.device)).cpu() for batch in pixels.split(100)]).numpy()

# %% [markdown]
# Five ways to prepare the same images. They share the frame and differ in the numbers only. So each file is opened and
# cut **once**; we keep the pixels as `uint8`, one byte per value, and only what differs runs five times. From `ToImage`
# on a transform takes a whole batch as well.

# %%
frame = [v2.Resize(preset.resize_size), v2.CenterCrop(preset.crop_size), v2.ToImage()]
cut = datasets.ImageFolder(raw.root, transform=v2.Compose(frame))
pixels = torch.stack([image for image, _ in cut])
print("kept:", tuple(pixels.shape), pixels.dtype, f"{pixels.nbytes / 1e6:.1f} MB")

# %%
floats, bytes_as_floats = v2.ToDtype(torch.float32, scale=True), v2.ToDtype(torch.float32)
imagenet, own = v2.Normalize(mean, std), v2.Normalize(flower_mean, flower_std)
ways = {
    "as pretrained": [floats, imagenet],
    "own statistics": [floats, own],
    "no Normalize": [floats],
    "normalised twice": [floats, imagenet, imagenet],
    "no scale=True": [bytes_as_floats, imagenet],
}
prepared = {name: features(pixels, steps) for name, steps in ways.items()}

# %% [markdown]
# A mistake can be made in two places. Either **everywhere**, in training and in prediction alike. Or **only at
# prediction**: the training was right, and the small script that uses the model forgets a step.
#
# As in lesson 00 we pretend to have about ten training images per class; the rest, apart from the test part, is for
# validation. Five random choices of the ten show how far a result wobbles. The lines below train the linear classifier
# with scikit-learn; lesson 02 looks inside.
#
# **Predict:** which hurts more? And which of the five ways is worst?

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

targets = np.array(raw.targets)
everywhere, only_prediction = {name: [] for name in ways}, {name: [] for name in ways}
rest = [i for i in range(len(raw)) if i not in set(test_index)]  # the test images stay out of this
for seed in range(5):
    train, val = tl.stratified_split(targets[rest], fractions=(0.1, 0.9), seed=seed)
    train, val = np.array(rest)[train], np.array(rest)[val]
    for way, numbers in prepared.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        probe.fit(numbers[train], targets[train])
        everywhere[way].append(probe.score(numbers[val], targets[val]))
        if way == "as pretrained":
            for other in ways:
                only_prediction[other].append(probe.score(prepared[other][val], targets[val]))

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, result in zip(axes, [everywhere, only_prediction]):
    for row, scores in enumerate(result.values()):
        ax.plot(scores, [row] * len(scores), "o", alpha=0.6)
        ax.plot(np.mean(scores), row, "k|", markersize=16)
    ax.set(xlabel="validation accuracy", xlim=(0, 1))
    ax.set_yticks(range(len(ways)), list(ways))
axes[0].set_title("prepared like this everywhere")
axes[1].set_title("like this only at prediction")
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# *What the figure shows:* each dot is the validation accuracy of one choice, the black stroke is the mean of the five;
# left, training and prediction made the same mistake, right, only the prediction made it.

# %% [markdown]
# ## Compare

# %%
print(f"{'':18}{'everywhere':>14}{'only at prediction':>22}")
for way in ways:
    pair = everywhere[way], only_prediction[way]
    left, right = [f"{np.mean(scores):.0%} ± {np.std(scores):.0%}" for scores in pair]
    print(f"{way:18}{left:>14}{right:>22}")

# %% [markdown]
# The ± is the spread over the five choices. A gap smaller than that is no gap.
#
# Compare the columns (seen in `mini`). **Everywhere**, a mistake costs something, yet the classifier learns on the same
# odd numbers that it will meet later. **Only at prediction** it costs more, because now the numbers are strange. Worst
# by far are numbers of another size, without `scale=True`: they ruin a network that was trained well. Own statistics
# hardly matter here.
#
# How much a missing `Normalize` costs depends on the backbone, and you have seen only one. So measure, or better, do
# not forget it.

# %% [markdown]
# None of these mistakes raised an error or printed a warning. A score that is merely disappointing is all you get. So
# make it a habit to print shape, type and range of one batch **at the exact point where it enters the network**, both
# in training and in the script that predicts.

# %% tags=["type-along"] say="shape, type and range of one batch, as it enters the network"
images, labels = next(iter(DataLoader(val_set, batch_size=32)))
print(tuple(images.shape), images.dtype)
print(f"range {images.min():.1f} to {images.max():.1f}, mean {images.mean():.1f}")

# %% [markdown]
# Around zero, a few units wide: normalised, once.
#
# ## Common mistakes
#
# - `scale=` of `RandomResizedCrop` read as a share of the side. It is a share of the area.
# - `ToDtype(torch.float32)` without `scale=True`. The numbers run up to 255.
# - `Normalize` in training, forgotten in the script that predicts.
# - Normalising twice: `weights.transforms()` already normalises, the training loop must not do it again.
# - Validation images augmented, because both parts share one dataset.
# - Statistics computed on all images, validation and test included.
# - Transforms that change the label: mirrored letters, a colour turned when colour is the clue.

# %% [markdown]
# ## Take-aways
#
# - A transform chain turns PIL bytes (height, width, colours) into floats (colours, height, width) around zero.
# - Pretrained backbone: its own statistics, read from `weights.transforms()`.
# - Training may be random, evaluation never. Two pipelines, two datasets, one split.
# - Look at a grid of your augmented images. Can you still name the class?
# - Wrong numbers give no error. Print the range of a batch.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("01")

# %% [markdown] tags=["quiz"]
# **1. `ToTensor()` turned a picture of 80 rows and 60 columns into a tensor. Its shape?**
#
# <details><summary>(80, 60, 3)</summary>
# Not quite: that is the array before. ToTensor moves the colours to the front.
# </details>
# <details><summary>(3, 80, 60)</summary>
# Right: colours first, then rows, then columns.
# </details>
# <details><summary>(3, 60, 80)</summary>
# Not quite: PIL's size says width first, a tensor says height (rows) first.
# </details>

# %% [markdown] tags=["quiz"]
# **2. Your validation accuracy changes a little each time you evaluate the same network. First suspect?**
#
# <details><summary>The network keeps learning</summary>
# No: evaluating takes no optimiser step.
# </details>
# <details><summary>A random transform in the validation pipeline</summary>
# Right: other pixels at each look, other score.
# </details>
# <details><summary>The batches are too small</summary>
# No: with the network in eval mode, an image's score does not depend on its batch.
# </details>

# %% [markdown] tags=["quiz"]
# **3. You fine-tune an ImageNet backbone on X-ray pictures. Which mean and std?**
#
# <details><summary>Those of weights.transforms()</summary>
# Right: the safe start. The first layers were trained on numbers of that size.
# </details>
# <details><summary>Those of the X-rays, always</summary>
# Not as a rule: it may help a little or hurt a little. Measure it, as in section 8.
# </details>
# <details><summary>None, X-rays are grey</summary>
# No: grey or not, the backbone expects numbers around zero.
# </details>

# %% [markdown] tags=["quiz"]
# **4. Which random transform is a bad idea for photographs of house numbers?**
#
# <details><summary>RandomHorizontalFlip</summary>
# Right: a mirrored 2 is no digit any more.
# </details>
# <details><summary>RandomAffine with a small shift</summary>
# Harmless: a shifted 7 is still a 7.
# </details>
# <details><summary>ColorJitter with small numbers</summary>
# Harmless: the digit stays what it is in other light.
# </details>

# %% [markdown] tags=["quiz"]
# **5. A picture on your screen has neon colours and black holes. What now?**
#
# <details><summary>Throw the picture away</summary>
# Wait: the file is probably fine. The plot shows a normalised image as it is.
# </details>
# <details><summary>Denormalise it before plotting</summary>
# Right: times std, plus mean, and it looks natural again.
# </details>
# <details><summary>Remove Normalize from the pipeline</summary>
# No: the network needs it. Only the plot must undo it.
# </details>

# %% [markdown]
# ## Further reading
#
# - torchvision, [Transforming images, videos, boxes and more](https://pytorch.org/vision/stable/transforms.html): the
#   list of all transforms, with pictures.
# - torchvision, [Models and pre-trained weights](https://pytorch.org/vision/stable/models.html): which weights exist
#   and how each wants its images.
# - Next: **lesson 02**, where the features of section 8 get a head, a loop and a proper training.

# %% [markdown]
# *Text: CC BY 4.0. Code: MIT. Images drawn for this course.*
