# %% [markdown]
# # 04 · Gradual unfreezing: from the head downwards
#
# {{badge}}
#
# {{time}}
#
# Lesson 02 trained the head alone, lesson 03 trained everything. Between the two lies a staircase: first the head, then
# the last block, then the rest. You will climb it by hand, meet the traps on the way, take a short cut that changes
# nothing in the result, and read a measured map: which strategy for how many images, near and far?

# %% [markdown]
# ## What you will be able to do
#
# - **unfreeze** a network stage by stage, and check in a table what trains in each phase
# - **avoid** the trap between optimiser, scheduler and newly unfrozen layers
# - **train** the later stages on cached activations, and prove that the result is the same
# - **judge** a rule of thumb about data size by measurements with a spread
#
# Before this: lessons 02 and 03. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · Three phases by hand
#
# Five different flowers would be too easy. We take twelve classes of Flowers102 from the daisy family: thin petals
# around a disc. Training and validation images come from the set's own two parts.
#
# We use no augmentation in this lesson, so every image is opened once and kept as a tensor. `tl.pretrained` is the
# `models.get_model` of lesson 02 with its default weights, put on the device, and with `num_classes` also with a new
# head. It returns the network and the weights entry. If a download fails, it says so and takes the bundled network.

# %%
import torch
from torch.utils.data import TensorDataset

arch = course.pick(mini="resnet10", full="resnet18")
names = ["mexican aster", "oxeye daisy", "black-eyed susan", "gazania", "osteospermum", "barbeton daisy"]
names += ["blanket flower", "purple coneflower", "sunflower", "marigold", "english marigold", "bishop of llandaff"]
network, weights = tl.pretrained(course, arch, num_classes=len(names))
preset = weights.transforms()


def images_of(split):
    flowers = tl.flowers102(course, split, transform=preset)
    labels = [flowers.classes[target] for target in flowers.targets]
    rows = [[i for i, label in enumerate(labels) if label == name] for name in names]
    return torch.stack([torch.stack([flowers[i][0] for i in some]) for some in rows])


train_images, val_images = images_of("train"), images_of("val")
print("classes, images per class, channels, height, width:", tuple(train_images.shape))

# %%
import matplotlib.pyplot as plt

tl.show_images(train_images[:, 0], titles=names, ncols=6, mean=preset.mean, std=preset.std)
plt.show()

# %% [markdown]
# *What the figure shows:* one training image of each of the twelve classes.
#
# Two small functions make the loaders and a new network. The seed fixes the order of the images and the start of the
# new head, so that we can begin again from exactly the same place.

# %%
def dataset(images):
    return TensorDataset(images.flatten(0, 1), torch.arange(len(images)).repeat_interleave(images.shape[1]))


def loaders(seed=0):
    train = tl.make_loader(dataset(train_images), batch_size=32, train=True, seed=seed)
    return train, tl.make_loader(dataset(val_images), batch_size=64)


def new_model(seed=0):
    tl.seed_everything(seed)
    return tl.pretrained(course, arch, num_classes=len(names))[0]


model = new_model()
train_loader, val_loader = loaders()
print("one validation image is worth", f"{1 / len(val_loader.dataset):.1%}")

# %% [markdown]
# **Phase 1: the last layer.** You know this one from lesson 02: freeze all, let the head learn, give the optimiser
# what trains. `requires_grad_` sets the flag for all parameters of a part. The table says what trains.

# %% tags=["type-along"] say="freeze all, open the head, new optimiser at 1e-2, fit for 4 epochs"
model.requires_grad_(False)
model.fc.requires_grad_(True)
optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=1e-2)
print(tl.trainable_table(tl.train_mode(model)))
histories = {"1 last layer": tl.fit(model, train_loader, val_loader, epochs=4, optimizer=optimizer)}

# %% [markdown]
# **Phase 2: the last block.** `tl.fit` left the network with the weights of its best epoch. Now `layer4` may learn as
# well. It gets a *new* optimiser, at a lower rate: these weights are worth keeping, and section 3 shows what the old
# optimiser would do.
#
# **Predict:** how many times more parameters will train than before?

# %% tags=["type-along"] say="open layer4 too, new optimiser at 1e-3, fit for 3 epochs"
model.layer4.requires_grad_(True)
optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=1e-3)
print(tl.trainable_table(tl.train_mode(model)))
histories["2 last block"] = tl.fit(model, train_loader, val_loader, epochs=3, optimizer=optimizer)

# %% [markdown]
# Look at the last column of the table too: `layer4`'s BatchNorm is in train mode now, and everything below it still
# rests in eval mode.
#
# **Phase 3: everything,** once more with a new optimiser and a lower rate.

# %% tags=["type-along"] say="open everything, new optimiser at 3e-4, fit for 2 epochs"
model.requires_grad_(True)
optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=3e-4)
print(tl.trainable_table(tl.train_mode(model)).splitlines()[-1])
histories["3 everything"] = tl.fit(model, train_loader, val_loader, epochs=2, optimizer=optimizer)

# %%
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
epoch = 0
for name, history in histories.items():
    places = range(epoch + 1, epoch + 1 + len(history.val_loss))
    ax.plot(places, history.train_loss, "o--", color="#E69F00", label="training" if epoch == 0 else None)
    ax.plot(places, history.val_loss, "s-", color="#0072B2", label="validation" if epoch == 0 else None)
    ax.text(epoch + 0.6, 1.02, f"phase {name}", fontsize=9, transform=ax.get_xaxis_transform())
    epoch += len(history.val_loss)
    ax.axvline(epoch + 0.5, color="black", linestyle=":", linewidth=1)
ax.set(xlabel="epoch", ylabel="loss (cross-entropy)")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# *What the figure shows:* training and validation loss over all epochs; dotted lines end the phases.
#
# What did each step of the staircase bring? We print the best epoch of each phase, and the gain in validation images
# rather than in per cent: that is what was counted.

# %%
total, before = len(val_loader.dataset), 0
for name, history in histories.items():
    right = round(history.best()["val_accuracy"] * total)
    print(f"phase {name:13} {right:3} of {total} right ({right - before:+d})   loss {history.best()['val_loss']:.3f}")
    before = right

# %% [markdown]
# A gain or loss of a few images may be luck: another seed would give others. Which phases are worth their time is a
# question for several seeds, and the map below asks it. Note that a phase *can* lose: `tl.fit` picks the best epoch of
# its own phase and knows nothing of the one before. If the loss got worse, keep the earlier network.
#
# The idea was published under this name for texts: Howard and Ruder (2018) unfroze a language model from its last layer
# downwards, so that a new head full of random numbers would not spoil what the layers below had learned.

# %% [markdown]
# ## 2 · Any network: stages
#
# `model.layer4` works for a ResNet only. `tl.stages` gives every network's parts in order, so "from this stage on"
# works for all of them. By hand it is one loop:

# %%
def unfreeze_from_by_hand(model, name):
    parts = tl.stages(model)
    first = [stage.name for stage in parts].index(name)
    for number, stage in enumerate(parts):
        for parameter in stage.parameters():
            parameter.requires_grad = number >= first
    return model


def trainable_names(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

# %% [markdown]
# `tl.unfreeze_from` is this function; it also drops left-over gradients of what it freezes. We compare the two on a
# ResNet and on an EfficientNet, another family of networks (lesson 06). `tl.count_parameters` returns two numbers: all
# parameters, and those that train.
#
# **Predict:** where should the count jump most?

# %%
# NBVAL_CHECK_OUTPUT
for net in (new_model(), tl.pretrained(course, "efficientnet_mini", num_classes=len(names))[0]):
    for stage in tl.stages(net):
        by_hand = trainable_names(unfreeze_from_by_hand(net, stage.name))
        assert trainable_names(tl.unfreeze_from(net, stage.name)) == by_hand
        print(f"{type(net).__name__:12} from {stage.name:7} on: {tl.count_parameters(net)[1]:>9,} parameters train")

# %% [markdown]
# In both networks the late stages hold most of the parameters, so the first two steps of the staircase already
# unfreeze the larger part. `pool` has no parameters: starting there is the same as starting at the head.
#
# Here is the staircase as a slider. Memory and time of a training step were measured on your machine just now.
#
# **Predict:** which step of the slider adds most memory, and which most time?

# %%
tl.explore_freezing(tl.unfreeze_from(new_model(), "head"), train_images[:, 0])

# %% [markdown]
# *What the figure shows:* for each stage its parameters, whether it trains, the mode of its BatchNorm, and what a step
# costs when everything from there on trains. Times of a busy computer jump about: trust the large differences. Choose
# `model.train()` in the list, and frozen stages begin to drift (section 5).
#
# **Exercise 04.1 (bug hunt): the staircase upside down.** `staircase(model)` should list the stages in the order in
# which gradual unfreezing starts its phases: the head first, then one stage more each time, without stages that have
# no parameters. This one begins at the wrong end, so its first phase trains everything.

# %% tags=["exercise"]
def staircase(model):
    # --- solution
    return [stage.name for stage in reversed(tl.stages(model)) if list(stage.parameters())]
    # --- stub
    # return [stage.name for stage in tl.stages(model)]
    # --- end


tl.check("04.1", staircase)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `tl.stages` lists the parts from input to output. Where does the staircase begin?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `reversed(...)` turns a list round. A stage without parameters has an empty `list(stage.parameters())`.
#
# </details>

# %% [markdown]
# ## 3 · The optimiser does not see the change
#
# In section 1 every phase got a new optimiser. What happens without? An optimiser takes its list of parameters once,
# when it is made. We unfreeze `layer4` behind its back and take one step.
#
# **Predict:** will `layer4` get gradients? Will it move?

# %%
import copy

from torch import nn


def one_step(model, optimizer, batch):
    images, labels = (tensor.to(course.device) for tensor in batch)
    loss = nn.functional.cross_entropy(tl.train_mode(model)(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


batch = [tensor[::8] for tensor in dataset(train_images).tensors]
model = tl.unfreeze_from(new_model(), "head")
optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=1e-2)
model = tl.unfreeze_from(model, "layer4")  # the optimiser is not told

# %%
before = copy.deepcopy(model)
one_step(model, optimizer, batch)
for name in ("layer4", "fc"):
    now, old = (list(getattr(net, name).parameters()) for net in (model, before))
    moved = sum(not torch.equal(p, q) for p, q in zip(now, old))
    print(f"{name:7} has gradients: {now[0].grad is not None}   moved: {moved} of {len(now)} tensors")

# %% [markdown]
# `layer4` is unfrozen, its gradients are computed, time is spent, and nothing moves. Worse, the gradients pile up from
# step to step, because `zero_grad` clears only what the optimiser holds. No error, no warning. (`tl.fit` prints a note
# when trainable tensors are not in the optimiser.)

# %%
tl.doctor(tl.train_mode(model), *loaders(), optimizer)

# %% [markdown]
# The doctor of lesson 02 names it, and the tensors. It is worth its seconds at the start of every phase, because every
# phase changes what trains.

# %% [markdown]
# ## 4 · The trap: a new group under a running scheduler
#
# An optimiser *can* take in new parameters later: `add_param_group` is made for that. But in lesson 03 a **scheduler**
# moved the learning rates, and it noted how many groups there were when it was made. Besides OneCycle there are others:
# `LambdaLR` takes the rate from a function of the step, `CosineAnnealingLR` lets it fall along half a cosine wave,
# `ExponentialLR` multiplies it by the same number each time. We add a group under each of the four while it runs, and
# print what is left of both rates ten steps later.
#
# **Predict:** both groups should have shrunk by the same factor. Will they?

# %%
from torch.optim import lr_scheduler

schedulers = {
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=20),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 20),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=20),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
}


def add_group_under(make_scheduler):
    optimizer = torch.optim.AdamW(nn.Linear(4, 2).parameters(), lr=1e-2)
    scheduler = make_scheduler(optimizer)
    for step in range(15):
        if step == 5:
            at_start = optimizer.param_groups[0]["lr"]
            optimizer.add_param_group({"params": nn.Linear(4, 4).parameters(), "lr": 1e-3})
        optimizer.step()
        scheduler.step()
    old, new = (group["lr"] for group in optimizer.param_groups)
    return round(old / at_start, 2), round(new / 1e-3, 2)

# %%
for name, make_scheduler in schedulers.items():
    try:
        old, new = add_group_under(make_scheduler)
        print(f"{name:18} left of the old rate {old:.2f}, of the new {new:.2f}", "" if old == new else "OUT OF STEP")
    except Exception as error:
        print(f"{name:18} {type(error).__name__}: {error}")

# %% [markdown]
# How to read your own output:
#
# - An **error** is the kind answer. `OneCycleLR` looks for notes the new group does not have. `LambdaLR` holds one
#   function per group and counts.
# - **Out of step** would be the unkind one: training runs, at a rate that nobody chose. Recent PyTorch versions may
#   show you none here. Older ones did for `LambdaLR`: they skipped the new group in silence, and its rate stayed.
# - Schedulers that only multiply the present rate by a factor take the new group along.
#
# There are two right ways.
#
# ### Right way 1: all groups from the start
#
# Make the optimiser with a group for `layer4` while it is still frozen. A frozen parameter has no gradient, and the
# optimiser skips it. Later `requires_grad` opens the gate. The scheduler knows both groups from its first step.

# %%
model = tl.unfreeze_from(new_model(), "head")
parts = {stage.name: stage for stage in tl.stages(model)}
groups = [{"params": list(parts[name].parameters())} for name in ("layer4", "head")]
optimizer = torch.optim.AdamW(groups, lr=1e-3)
scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=[1e-3, 1e-2], total_steps=20, pct_start=0.1)

rates = []
for step in range(20):
    if step == 10:
        tl.unfreeze_from(model, "layer4")  # the gate opens
    rates.append([group["lr"] for group in optimizer.param_groups])
    one_step(model, optimizer, batch)
    scheduler.step()

# %%
tl.plot_learning_rates(rates, ["layer4", "head"])
plt.gca().axvline(10.5, color="black", linestyle=":", zorder=0)
plt.show()
for name in ("layer4", "head"):
    print(f"{name:7} steps that AdamW counted:", {int(optimizer.state[p]["step"]) for p in parts[name].parameters()})
print(f"layer4's first step was taken at {rates[10][0] / max(rate for rate, _ in rates):.0%} of its highest rate")

# %% [markdown]
# *What the figure shows:* the learning rates of both groups; at the dotted line `layer4` begins to learn.
#
# AdamW counted steps for `layer4` only from the gate on, so it began there with a clean memory. But the *schedule* did
# not wait: warm-up and the higher half had passed while the group was frozen. That is the price of way 1.
#
# ### Right way 2: a fresh optimiser and a fresh scheduler per phase
#
# Every phase gets its own warm-up, and nothing can be out of step. The price: the optimiser's memory of the parameters
# that trained before is lost. AdamW remembers two running averages per weight, of the gradient and of its square, and
# divides one by the root of the other.
#
# **Predict:** how long is the first step without memory, counted in learning rates? And a step with memory?

# %%
pairs = {"with its memory": copy.deepcopy((model, optimizer))}
fresh_model = copy.deepcopy(model)
pairs["fresh"] = (fresh_model, torch.optim.AdamW(tl.trainable_parameters(fresh_model), lr=1e-3))

for name, (net, held) in pairs.items():
    for group in held.param_groups:
        group["lr"], group["weight_decay"] = 1e-3, 0.0
    before = net.fc.weight.detach().clone()
    one_step(net, held, batch)
    change = (net.fc.weight.detach() - before).abs().median().item() / 1e-3
    print(f"AdamW {name:16} the head's weights move by {change:.2f} learning rates (median)")

# %% [markdown]
# Without memory both averages come from a single gradient, so their ratio is one: every weight takes a full step,
# however small its gradient. With memory, gradients that disagree have partly cancelled.
#
# So a fresh optimiser makes its most careless steps first. This is what the **warm-up** at the start of each phase is
# good for. In practice way 2 is simple and safe, and `tl.fit_gradually` uses it.
#
# **Exercise 04.2 (bug hunt): the phase that breaks its scheduler.** `next_phase` should unfreeze the network from the
# stage `name` on and return an optimiser and a OneCycle scheduler for `steps` steps that belong together. This version
# does things in the order in which somebody thought of them. Repair it.

# %% tags=["exercise"]
def next_phase(model, name, lr, steps):
    # --- solution
    tl.unfreeze_from(model, name)
    optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=lr)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    # --- stub
    # optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=lr)
    # scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    # old = {id(p) for p in tl.trainable_parameters(model)}
    # tl.unfreeze_from(model, name)
    # new = [p for p in tl.trainable_parameters(model) if id(p) not in old]
    # optimizer.add_param_group({"params": new, "lr": lr})
    # --- end
    return optimizer, scheduler


tl.check("04.2", next_phase)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The scheduler must see all groups when it is made. So what has to be finished before the scheduler, and what before
# the optimiser?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Unfreeze, then the optimiser over `tl.trainable_parameters(model)`, then the scheduler. No `add_param_group`.
#
# </details>

# %% [markdown]
# ## 5 · Frozen BatchNorm, in every phase
#
# Lesson 02 showed a frozen body that drifts in train mode. On the staircase this danger returns in every phase, each
# time for another part. We send one batch through, once after `model.train()` and once after `tl.train_mode`, and
# count the buffers of *frozen* stages that moved.

# %%
# NBVAL_CHECK_OUTPUT
for start in ("head", "layer4", "stem"):
    for name, to_train_mode in {"model.train()": nn.Module.train, "tl.train_mode": tl.train_mode}.items():
        twin = tl.unfreeze_from(copy.deepcopy(model), start)
        frozen = [s for s in tl.stages(twin) if not any(p.requires_grad for p in s.parameters())]
        buffers = [buffer for stage in frozen for module in stage.modules for buffer in module.buffers()]
        before = [buffer.clone() for buffer in buffers]
        with torch.no_grad():
            to_train_mode(twin)(batch[0].to(course.device))
        moved = sum(not torch.equal(old, now) for old, now in zip(before, buffers))
        print(f"from {start:7} {name:14} moved {moved:2} of {len(buffers):2} buffers of frozen stages")

# %% [markdown]
# Only in the last phase, where nothing is frozen, is plain `model.train()` harmless in this respect. So call
# `tl.train_mode` at the start of every epoch of every phase; `tl.fit` does. What the *unfrozen* BatchNorm layers should
# do with small batches was lesson 03's question, and `batchnorm="eval"` is as available here.
#
# **Exercise 04.3 (bug hunt): the drifting phase.** `phase_step` takes one training step in whatever phase the network
# is in. Frozen stages must not change in any way, neither weights nor buffers. Repair it.

# %% tags=["exercise"]
def phase_step(model, optimizer, images, labels):
    # --- solution
    tl.train_mode(model)
    # --- stub
    # model.train()
    # --- end
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


tl.check("04.3", phase_step)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# The optimiser cannot move what has no gradient. What else does a forward pass in train mode change?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# BatchNorm's running statistics. One helper puts frozen parts into eval mode and the rest into train mode. Plain
# `model.eval()` would be wrong too: the unfrozen BatchNorm layers should go on learning their statistics.
#
# </details>

# %% [markdown]
# ## 6 · Cached prefixes: the same result, sooner
#
# In phases 1 and 2 most of the network is frozen, in eval mode, and sees the same images in every epoch. So it computes
# the same numbers again and again. Lesson 02 cached the features before the head. Nothing stops us from cutting
# *earlier*: keep what arrives at `layer4`, and train from there on. Such numbers on their way through the network are
# called **activations**; the features of lesson 02 are the last ones before the head.
#
# How large would such a cache be? Images × channels × height × width × 4 bytes.

# %%
x, images = train_images[0, :1].to(course.device), len(train_loader.dataset)
with torch.no_grad():
    for stage in tl.stages(model.eval()):
        print(f"before {stage.name:7} {str(tuple(x.shape[1:])):14} {images * x.numel() * 4 / 1e6:7.2f} MB")
        x = stage.forward(x)
print(f"tl.cache_bytes, before layer4: {tl.cache_bytes(model, train_loader, at='layer4') / 1e6:.2f} MB")

# %% [markdown]
# The row before the stem is the images themselves. Early caches are the largest of all, larger than the images, and
# they save the least work. Late caches are small and save nearly everything. `tl.cache_bytes` gives the same numbers
# without filling a cache.
#
# **Exercise 04.4: Will it fit?** Write `cache_gb(images, shape, views)`: the size in GB (10⁹ bytes) of a cache of
# float32 activations of the given shape (channels, height, width), when `views` looks at each image are stored. Then
# you can answer: 20,000 images, 4 views, before `layer1`?

# %% tags=["exercise"]
def cache_gb(images, shape, views=1):
    # --- solution
    channels, height, width = shape
    return images * views * channels * height * width * 4 / 1e9
    # --- stub
    # return ...        # images, views, the three sizes, bytes per number
    # --- end


tl.check("04.4", cache_gb)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# A float32 takes 4 bytes. How many numbers does one look at one image have?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Multiply everything: images, views, channels, height, width, 4. Divide by 1e9 at the end.
#
# </details>

# %% [markdown]
# By hand: cut the list of stages, run the front part (the **prefix**) once, train the back part (the **tail**) on what
# it gave. Both hold the network's own modules, so whoever trains the tail trains the network.
#
# **Predict:** will the tail give the same scores for the kept activations as the whole network for the images?

# %%
parts = tl.stages(model.eval())
cut = [stage.name for stage in parts].index("layer4")
prefix = nn.Sequential(*[module for stage in parts[:cut] for module in stage.modules])
tail = nn.Sequential(*[module for stage in parts[cut:] for module in stage.modules])

with torch.no_grad():
    kept = prefix(batch[0].to(course.device))
    same = torch.allclose(tail(kept), model(batch[0].to(course.device)), atol=1e-3)
print("kept per image:", tuple(kept.shape[1:]), "  same scores:", same)
print("the tail's first weight is the network's own:", next(tail.parameters()) is next(model.layer4.parameters()))

# %% [markdown]
# `tl.split_model` is this cut, and `tl.cache_features(model, loader, at="layer4")` fills the cache for a whole loader.
#
# `tl.fit_gradually` puts the lesson together. For each `tl.Phase` it unfreezes, makes a fresh optimiser, caches the
# frozen prefix, trains the tail with `tl.fit` on the same batches in the same order, and hands its best epoch to the
# next phase.

# %% tags=["type-along"] say="the three phases as a plan for tl.fit_gradually"
plan = [("head", 5, 1e-2), ("layer4", 3, 1e-3), ("stem", 1, 3e-4)]
phases = [tl.Phase(start, epochs=epochs, lr=rate) for start, epochs, rate in plan]
model = new_model()
cached = tl.fit_gradually(model, *loaders(), phases)
cached_scores = tl.predict(model, val_loader).probabilities

# %% [markdown]
# The sizes printed are for both parts together, training and validation. Now the same phases the plain way, with
# `cached=False`: every image runs through the whole network in every epoch.
#
# **Predict:** which phase gains most from the cache? Which gains nothing?

# %%
model = new_model()
plain = tl.fit_gradually(model, *loaders(), phases, cached=False, verbose=False)
difference = (tl.predict(model, val_loader).probabilities - cached_scores).abs().max().item()
print(f"largest difference between the two networks' probabilities: {difference:.6f}")
# on a GPU even two equal runs may differ a little, so the strict test is for the CPU
assert course.device.type != "cpu" or difference < 1e-3

# %% [markdown]
# The cache changed the time and not the result. That holds only because the prefix is frozen *and* in eval mode: with
# a drifting BatchNorm there would be no fixed activation to keep.
#
# The seconds below include the caching pass, which counts in the first epoch of its phase.

# %%
seconds = [[sum(history.seconds) for history in way] for way in (plain, cached)]
print(f"{'phase':15} {'plain':>8} {'cached':>8}   speed-up")
for phase, slow, fast in zip(phases, *seconds):
    print(f"from {phase.start:10} {slow:6.1f} s {fast:6.1f} s   {slow / fast:5.1f} x")
slow, fast = (sum(way) for way in seconds)
print(f"{'all phases':15} {slow:6.1f} s {fast:6.1f} s   {slow / fast:5.1f} x")

# %% [markdown]
# One pass over the images, in the first phase, serves all phases with a frozen prefix, and each of their epochs saves
# one. So a cache pays from the second epoch on, and more with every further one. The last phase has no frozen prefix,
# nothing to cache, and its share of the time limits the speed-up of the whole.
#
# As in lesson 02, a cache keeps one look at each image. With augmentation use `cached=False`, or `views=k` for k looks
# that the epochs of all phases take by turns.

# %% [markdown]
# **Exercise 04.5 (bug hunt): the phase that starts from the wrong place.** A phase has recorded a pair (validation
# loss, copy of the weights) after every epoch. `handed_over` should return the weights with which the next phase
# starts. A learner found that a bad last epoch of phase 1 spoiled phase 2. Repair it.

# %% tags=["exercise"]
def handed_over(epochs):
    # --- solution
    loss, weights = min(epochs, key=lambda epoch: epoch[0])
    # --- stub
    # loss, weights = epochs[-1]
    # --- end
    return weights


tl.check("04.5", handed_over)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Which epoch would you keep if the training ended here? Why should it be another one when it goes on?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `min(epochs, key=lambda epoch: epoch[0])` finds the pair with the lowest loss. Without `key`, Python would compare
# the weights too whenever two losses are equal.
#
# </details>

# %% [markdown]
# ## 7 · The map: how many images, how far away?
#
# A rule of thumb that some tutorials teach, with these or similar numbers: below 1,000 images extract features (train
# the head only), from 1,000 to 10,000 unfreeze gradually, above 10,000 fine-tune everything. Does it hold?
#
# `scripts/measure_map.py` measured a map: four numbers of training images per class, two targets, four strategies,
# several seeds. **Near** are the twelve flowers, drawn anew so that there are enough of them; **far** is the microscopy
# set: six kinds of stained cells, which share little with the shapes the network was trained on.
#
# `scratch` starts with random weights, `frozen` trains the head only, `gradual` is this lesson's staircase in three
# phases, `full` trains all layers at once. (Here `full` is a strategy, not the profile.)

# %%
import json

file = Path(tl.__file__).parent.parent / "docs" / "measured" / "map.json"
stored = json.loads(file.read_text(encoding="utf-8"))
runs, rates = stored["runs"], stored["runs"]["settings"]
sizes, strategies = (2, 5, 10, 40), ("scratch", "frozen", "gradual", "full")
classes = {"near": 12, "far": 6}


def accuracies(target, size, strategy):
    return [run["accuracy"] for key, run in runs.items() if key.startswith(f"{target}|{size}|{strategy}|")]


print("measured on:", stored["machine"])
print("highest learning rates, chosen in a pilot:", rates)

# %% [markdown]
# To be fair, every strategy takes 100 optimiser steps of up to 16 images; `gradual` spends a third of them in each
# phase. The network is read once, after its last step, on images used for nothing else. Each seed draws other
# training images and another head.
#
# **Predict:** where will `frozen` win, where `full`? Where will `scratch` catch up?

# %%
from statistics import mean, stdev

for target in classes:
    print(f"{target} (guessing: {1 / classes[target]:4.1%})" + "".join(f"{name:>13}" for name in strategies))
    for size in sizes:
        cells = [accuracies(target, size, strategy) for strategy in strategies]
        print(f"{size:12} per class" + "".join(f"{100 * mean(c):8.1f} ± {100 * stdev(c):3.1f}" for c in cells))

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
for ax, target in zip(axes, classes):
    grid = [[mean(accuracies(target, size, strategy)) for size in sizes] for strategy in strategies]
    picture = ax.imshow(grid, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for row in range(len(strategies)):
        for column in range(len(sizes)):
            value = grid[row][column]
            best = value == max(line[column] for line in grid)
            text = f"{100 * value:.0f} *" if best else f"{100 * value:.0f}"
            ax.text(column, row, text, ha="center", va="center", color="black" if value > 0.5 else "white")
    ax.set(title=f"{target} (guessing: {1 / classes[target]:.0%})", xlabel="training images per class")
    ax.set(xticks=range(len(sizes)), xticklabels=sizes, yticks=range(len(strategies)), yticklabels=strategies)
figure.colorbar(picture, ax=axes, label="accuracy")
plt.show()

# %% [markdown]
# *What the figure shows:* mean accuracy in per cent for each strategy (rows) and number of training images per class
# (columns), near and far; a star marks the highest mean of its column.
#
# A star alone says little. A seed gives all strategies the same images, so we look at the gap to the star seed by seed.
# Its mean has a **standard error**: the spread divided by the root of the number of seeds. Go a few standard errors to
# either side of the mean, and you have its **95 % interval**: made like this, it misses the true mean in one case of
# twenty. With so few seeds "a few" is three to four (a table called Student's t says how many). If the interval
# reaches zero, we call the gap **within noise**.

# %%
from scipy.stats import t as student_t


def within_noise(values):
    best = max(values.values(), key=mean)
    gaps = {name: [a - b for a, b in zip(best, some)] for name, some in values.items()}
    errors = student_t.ppf(0.975, len(best) - 1)
    return [name for name, gap in gaps.items() if mean(gap) <= errors * stdev(gap) / len(gap) ** 0.5]


for target in classes:
    for size in sizes:
        good = within_noise({strategy: accuracies(target, size, strategy) for strategy in strategies})
        rule = "" if "frozen" in good else "frozen, the rule's choice, is not among them"
        print(f"{target:4} {size:3} per class, {size * classes[target]:3} images: {', '.join(good):29} {rule}")

# %% [markdown]
# All cells of this map lie **below 1,000 images**, where the rule says: extract features. Each line names what is best
# or within noise of it, and says where `frozen` is missing. Compare near with far: if the lists differ, a number of
# images cannot be the whole rule. (Of twenty such verdicts about one is wrong by chance.)

# %%
for target in classes:
    for name, baseline in (("full", "frozen"), ("gradual", "full"), ("frozen", "scratch")):
        gaps = [mean(accuracies(target, n, name)) - mean(accuracies(target, n, baseline)) for n in sizes]
        print(f"{target:4} {name:7} minus {baseline:7}:", "  ".join(f"{100 * gap:+6.1f}" for gap in gaps), " points")

# %% [markdown]
# Read each line from left (2 images per class) to right (40):
#
# - *full minus frozen:* how much training the body brings. Where it is negative, more trained weights made it worse.
# - *gradual minus full:* whether the staircase was worth climbing. Compare it with the ± above.
# - *frozen minus scratch:* what pretraining is worth.
#
# Above 1,000 images this map has no cell. The data card, `data/README.md`, has one point there: all 102 flowers with
# 1,020 images, frozen and fine-tuned.
#
# How far to trust it: one small network, drawn images, 100 steps, rates chosen at a single size. A longer training
# could move the borders, and a larger network would have more to lose. What carries over is the way to ask: same steps,
# several seeds, held-out images, and no winner named within noise.

# %% [markdown]
# ## Compare
#
# The strategies of lessons 02, 03 and 04 in one table, and now *you* measure: a part of the map, shortened to 5 images
# per class, 40 steps, and two seeds near, one far. The script made the same short runs with both seeds, and "two
# phases" as well: lesson 03's head first, then everything.

# %%
microscopy = tl.microscopy(course, transform=preset)
rows = [[i for i, label in enumerate(microscopy.targets) if label == c] for c in range(classes["far"])]
far_images = torch.stack([torch.stack([microscopy[i][0] for i in some[:60] + some[-40:]]) for some in rows])
pools = {"near": (train_images, val_images), "far": (far_images[:, :60], far_images[:, 60:])}
plans = {
    "frozen": [("head", 40, rates["frozen"])],
    "full": [("stem", 40, rates["full"])],
    "gradual": [("head", 13, rates["frozen"]), ("layer4", 13, rates["gradual"]), ("stem", 14, rates["gradual"])],
}


def draw(images, size, seed):
    generator = torch.Generator().manual_seed(seed)
    chosen = [torch.randperm(images.shape[1], generator=generator)[:size] for _ in images]
    return dataset(torch.stack([of_class[some] for of_class, some in zip(images, chosen)]))

# %% [markdown]
# A phase is now counted in steps: the sampler below goes through the few images again and again, so that one "epoch"
# has exactly the steps we want. With one epoch per phase there is no best epoch to pick, and the validation loader
# that `tl.fit` asks for decides nothing; it gets a few training images.

# %%
from torch.utils.data import DataLoader, RandomSampler


def one_cycle(optimizer, steps):
    rate = optimizer.param_groups[0]["lr"]
    return lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)


def fused_adamw(model, phase):  # as in lesson 03: the same steps, sooner
    return torch.optim.AdamW(tl.trainable_parameters(model), lr=phase.lr, fused=True)


def train_by(plan, train, classes, seed):
    tl.seed_everything(seed)
    model = tl.pretrained(course, arch, num_classes=classes)[0]
    look = DataLoader(TensorDataset(*train[:16]), batch_size=16)
    for start, steps, rate in plan:
        order = RandomSampler(train, num_samples=16 * steps, generator=torch.Generator().manual_seed(seed))
        loader = DataLoader(train, batch_size=16, sampler=order, generator=torch.Generator().manual_seed(seed))
        phase = tl.Phase(start, epochs=1, lr=rate)
        tl.fit_gradually(model, loader, look, [phase], optimizer=fused_adamw, scheduler=one_cycle, verbose=False)
    return model

# %%
import time

live, seconds = {}, dict.fromkeys(plans, 0.0)
for target, seeds in {"near": (0, 1), "far": (0,)}.items():
    pool, held_out = pools[target]
    for name, plan in plans.items():
        for seed in seeds:
            start = time.perf_counter()
            model = train_by(plan, draw(pool, 5, seed), classes[target], seed)
            seconds[name] += (time.perf_counter() - start) / 3  # the mean of three runs
            accuracy = tl.evaluate(model, DataLoader(dataset(held_out), batch_size=64)).accuracy
            live.setdefault((target, name), []).append(accuracy)

# %% [markdown]
# **Predict:** with 40 steps and 5 images per class, which strategy will be ahead near, and which far?

# %%
print(f"{'lesson and strategy':23} {'now, seeds 0 (and 1)':>20} {'stored, seeds 0 and 1':>22}   seconds now")
for target in pools:
    for name, lesson in {"frozen": "02", "full": "03", "two phases": "03", "gradual": "04"}.items():
        known = [runs[f"lesson {target}|5|{name}|{seed}"]["accuracy"] for seed in (0, 1)]
        now, then = (" and ".join(f"{v:.1%}" for v in some) for some in (live.get((target, name), []), known))
        print(f"{lesson} {target:5} {name:14} {now or 'not run':>20} {then:>22}   {seconds.get(name, 0):11.1f}")

# %%
tl.compare_bars({f"{target}: {name}": values for (target, name), values in live.items()})
plt.show()

# %% [markdown]
# *What the figure shows:* accuracy of your runs with 5 training images per class and 40 steps; near, a bar is the mean
# and the dots are the two seeds, far, it is the one run. Guessing would give a twelfth near and a sixth far.
#
# In profile `mini` the stored column should agree with yours up to a few images: the last digits depend on the machine,
# and 40 steps can enlarge them. In profile `full` you trained another network on photographs, so only the
# pattern is comparable. One or two runs, and two stored ones, separate what is far apart, nothing finer.

# %% [markdown]
# ## Common mistakes
#
# - **The optimiser made before the unfreezing:** new layers get gradients and never move.
# - **`add_param_group` under a scheduler:** an error at best, a rate that nobody chose at worst.
# - **The staircase upside down:** `stages` starts at the input; the phases start at the head.
# - **`model.train()` in a phase:** what is still frozen drifts.
# - **The next phase from the last epoch:** take the best one.
# - **A cache behind an augmenting transform,** or kept although its prefix was trained in between.
# - **A rule of thumb instead of a measurement:** size is not the only thing that counts.

# %% [markdown]
# ## Take-aways
#
# - Gradual unfreezing: last layer, last block, everything; each phase from the best epoch of the one before.
# - Each phase gets a fresh optimiser and scheduler, or all groups exist from the start, gated by `requires_grad`.
# - Frozen stages in eval mode give fixed activations: cache them, and the same network comes out sooner.
# - Whether the staircase beats plain fine-tuning is an empirical question with a spread. Ask it with your own data.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("04")

# %% [markdown] tags=["quiz"]
# **1. Phase 1 trained the head. For phase 2 you set `requires_grad = True` in `layer4` and go on with the same
# optimiser. What happens?**
#
# <details><summary><code>layer4</code> gets gradients and stays as it is</summary>
#
# Right. Gradients are computed and pile up, and nobody uses them.
#
# </details>
#
# <details><summary><code>layer4</code> trains at the head's rate</summary>
#
# No. The optimiser does not hold `layer4`, so no rate reaches it.
#
# </details>
#
# <details><summary>PyTorch raises an error</summary>
#
# No. Everything is legal. `tl.fit` prints a note, plain PyTorch says nothing.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. Why is `add_param_group` dangerous while a scheduler runs?**
#
# <details><summary>It resets the rates of the old groups</summary>
#
# No. The old groups are not touched.
#
# </details>
#
# <details><summary>The scheduler was made for fewer groups than there are now</summary>
#
# Right. Depending on scheduler and version it stops with an error, leaves the new rate alone, or moves it in a way that
# nobody planned.
#
# </details>
#
# <details><summary>The new parameters are added twice</summary>
#
# No. An optimiser refuses a parameter that it already holds.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. When does training on cached activations give the same network as training on the images?**
#
# <details><summary>Always, a cache is only a copy</summary>
#
# No. If the prefix trains, drifts, or sees augmented images, the copy is out of date or one-sided.
#
# </details>
#
# <details><summary>Only before the head</summary>
#
# No. Any stage can be the cut. Earlier cuts need more memory and save less.
#
# </details>
#
# <details><summary>When the prefix is frozen, in eval mode, and sees the same images in every epoch</summary>
#
# Right. Then it would compute the same numbers every time. The batches must also come in the same order.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. Phase 3 trains everything and takes most of the time. You make phases 1 and 2 ten times faster by a cache. How
# much faster is the whole?**
#
# <details><summary>Ten times</summary>
#
# No. Phase 3 takes as long as before.
#
# </details>
#
# <details><summary>Not at all</summary>
#
# Not quite. The time that phases 1 and 2 save is saved, it is only the smaller part.
#
# </details>
#
# <details><summary>Less than twice</summary>
#
# Right. If phase 3 is more than half of the time, even phases 1 and 2 for nothing could not halve it.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. In your map `gradual` is one point above `full`, and both have a spread of two points over three seeds. What do
# you report?**
#
# <details><summary>Gradual unfreezing is better</summary>
#
# No. A gap smaller than the noise may turn round with the next seeds.
#
# </details>
#
# <details><summary>No difference was found at this number of seeds</summary>
#
# Right. It may exist and be small; more seeds would tell. Until then choose by cost or convenience.
#
# </details>
#
# <details><summary>The two are equal</summary>
#
# Not quite. "Not found" is not "not there": three seeds see only large differences.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - Howard and Ruder (2018), [Universal Language Model Fine-tuning for Text
#   Classification](https://arxiv.org/abs/1801.06146): gradual unfreezing and discriminative rates under these names,
#   measured on six text classification tasks; no images.
# - Chollet (2020), [Transfer learning and fine-tuning](https://keras.io/guides/transfer_learning/): the two-phase
#   recipe, BatchNorm in eval mode, cached features.
# - PyTorch, [torch.optim](https://pytorch.org/docs/stable/optim.html): parameter groups, schedulers and their order.
# - Kumar et al. (2022), [Fine-Tuning can Distort Pretrained Features and Underperform
#   Out-of-Distribution](https://arxiv.org/abs/2202.10054): why the head should learn first.

# %% [markdown]
# *Next: lesson 05 changes the labels and mixes the images.*
#
# Text: CC BY 4.0. Code: MIT.
