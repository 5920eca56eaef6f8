# %% [markdown]
# # 02 · Feature extraction: train only the head
#
# {{badge}}
#
# {{time}}
#
# In lesson 00 a network that had already learned to see beat one that started from nothing. Now you take that result
# apart and build it yourself: open the network, freeze its body, put on a new head, write the training loop by hand.
# After every step there is a number or a figure that tells you whether it worked.

# %% [markdown]
# ## What you will be able to do
#
# - **read** a printed network and point at its head
# - **freeze** the rest, and **prove** that nothing in it moves
# - **build** three kinds of head and pair each with the loss that fits
# - **write** a training loop with honest averages that keeps its best epoch
# - **judge** a result on cached features over several seeds
#
# Before this: lessons 00 and 01. You need no GPU.

# %% tags=["setup"]
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)

# %% [markdown]
# ## 1 · Open a pretrained network
#
# torchvision builds every network it knows by name, and `weights="DEFAULT"` fills it with pretrained numbers. In the
# `mini` profile the name is a small ResNet that comes with this course. In `full` it is an ImageNet network. The call
# is the same.
#
# **Predict:** the printout lists the parts from input to output. Which line will turn an image into class scores?

# %%
from torchvision import models

arch = course.pick(mini="resnet10", full="resnet18")
weights = models.get_model_weights(arch).DEFAULT
network = models.get_model(arch, weights="DEFAULT").eval()
print(network)

# %% [markdown]
# Read it from the left edge inwards. The names with the smallest indent (`conv1`, `bn1`, … `fc`) are the network's
# **children**, its direct parts. What stands deeper belongs to one of them.
#
# The last child, `fc` (for "fully connected"), is the **head**: `in_features` numbers arrive, one **score** per class
# leaves. Everything above it is the **backbone**. A short loop gives the overview:

# %% tags=["type-along"] say="loop over the children: name, type, number of parameters"
for name, child in network.named_children():
    size = sum(parameter.numel() for parameter in child.parameters())
    print(f"{name:8} {type(child).__name__:18} {size:>12,} parameters")

# %% [markdown]
# Most parameters sit in the last `layer`s, few in the head. Now we send one image through, child by child, and print
# the shape after each. `torch.no_grad()` says: no training here, take no notes for gradients.
#
# **Predict:** which part will throw away *where* in the image something was?

# %%
import torch

flowers = tl.five_flowers(course, transform=weights.transforms())
image = flowers[0][0]
x = image.unsqueeze(0)
with torch.no_grad():
    for name, child in network.named_children():
        if name == "fc":
            x = x.flatten(1)
        x = child(x)
        print(f"{name:8} {tuple(x.shape)}")

# %% [markdown]
# Each shape reads (images, channels, height, width). The maps shrink while the channels grow, then `avgpool` averages
# every map down to one number: the place is gone, *what* was seen stays.
#
# We had to add `flatten` ourselves. It is not in the printout, because it is written in the network's `forward`
# function. So `print(model)` shows the parts, not the wiring.

# %% [markdown]
# `tl.stages` is our walk as a helper, for many kinds of network. It returns the parts in the order in which they run,
# with the wiring included, and gives them names: first the **stem** (the layers before `layer1`), last the head.

# %%
# NBVAL_CHECK_OUTPUT
x = image.unsqueeze(0)
with torch.no_grad():
    for stage in tl.stages(network):
        x = stage.forward(x)
        print(f"{stage.name:8} {tuple(x.shape)}")
    print("same scores as network(image):", torch.allclose(x, network(image.unsqueeze(0)), atol=1e-5))

# %% [markdown]
# **Exercise 02.1: A head for five flowers.** Our five-flower images need five scores. Make a linear layer that fits
# `network` in the place of `fc`. Do not type the number of inputs: ask the old head for it, so that your line also
# works for another network.

# %% tags=["exercise"]
from torch import nn

# --- solution
new_head = nn.Linear(network.fc.in_features, 5)
# --- stub
# new_head = ...        # a linear layer: as many inputs as the old head has, five outputs
# --- end
tl.check("02.1", network, new_head)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# A linear layer is `nn.Linear(inputs, outputs)`. The printout above names both numbers of the old one.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The old head is `network.fc`, and it remembers its number of inputs as `network.fc.in_features`.
#
# </details>

# %% [markdown]
# ## 2 · Freeze everything, then add the head
#
# **Freezing** means: training must not change these numbers. PyTorch computes a gradient only for parameters that ask
# for one, so freezing is one flag per parameter. A layer made afterwards asks for gradients by default. Hence the
# order: first freeze all, then add the new head.

# %% tags=["type-along"] say="freeze by hand: switch off the flag of every parameter, then put on a new head"
# NBVAL_CHECK_OUTPUT
for parameter in network.parameters():
    parameter.requires_grad = False
network.fc = nn.Linear(network.fc.in_features, 5)

total = sum(parameter.numel() for parameter in network.parameters())
trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
print(f"{trainable:,} of {total:,} parameters will be trained: {trainable / total:.2%}")

# %% [markdown]
# Far below one per cent. This is why feature extraction can work with few images: there is much less that could be
# learned by heart.
#
# From now on `tl.freeze` and `tl.replace_head` do these two steps, and a table shows the result. **Predict:** which
# rows will say that they train?

# %% tags=["type-along"] say="a fresh network, frozen and with a new head by the two helpers; print the table"
model = models.get_model(arch, weights="DEFAULT")
tl.freeze(model)
tl.replace_head(model, num_classes=5)
print(tl.trainable_table(model))

# %% [markdown]
# Only the head trains. Print this table whenever you freeze something: it costs a second, and a freezing mistake
# raises no error. The next exercise has such a mistake. (The last column, `BatchNorm`, is what section 3 is about.)

# %% [markdown]
# **Exercise 02.2 (bug hunt): the freeze that does nothing.** This cell comes from a real tutorial, in spirit. It
# runs, nobody complains, and the whole network is trained. Find the reason and repair it.

# %% tags=["exercise"]
suspect = models.get_model(arch, weights="DEFAULT")
# --- solution
for parameter in suspect.parameters():
    parameter.requires_grad = False
# --- stub
# for parameter in suspect.parameters():
#     parameter.requires_grad_ = False
# --- end
suspect.fc = nn.Linear(suspect.fc.in_features, 5)
tl.check("02.2", suspect)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Python lets you attach any new attribute to an object. A wrong name is no error. Compare the name with the loop
# above, letter by letter.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `requires_grad` is the flag. `requires_grad_`, with an underscore at the end, is a *method* that sets the flag. You
# can assign to the first or call the second; assigning to the second only hides the method.
#
# </details>

# %% [markdown]
# ## 3 · Frozen, and still moving: BatchNorm
#
# A **BatchNorm** layer brings its channels to mean zero and spread one. While in train mode it uses the batch at hand
# and also keeps a running average of what it saw. These running statistics are **buffers**: stored with the network,
# but not parameters, so they have no `requires_grad` at all.
#
# **Predict:** everything is frozen, there is no optimiser. We only send images through in train mode. Will the answer
# for one fixed image change?

# %%
def statistics(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def moved(before, model):
    after = statistics(model)
    return sum(not torch.equal(before[name], after[name]) for name in before)


batch = torch.stack([flowers[i][0] for i in range(0, len(flowers), 25)])
print("batch:", tuple(batch.shape), " buffers in the network:", len(statistics(network)))

# %%
before = statistics(network)
with torch.no_grad():
    answer_before = network.eval()(image.unsqueeze(0))
    network.train()
    for _ in range(5):
        network(batch)
    answer_after = network.eval()(image.unsqueeze(0))
print("buffers that moved:", moved(before, network), "of", len(before))
print("first three scores before:", [round(v, 3) for v in answer_before[0, :3].tolist()])
print("first three scores after: ", [round(v, 3) for v in answer_after[0, :3].tolist()])

# %% [markdown]
# Every buffer moved, and the scores with them, although not one parameter was trained. `requires_grad = False` stops
# the optimiser. It does not stop BatchNorm.
#
# The cure is to keep frozen layers in eval mode. Calling `model.eval()` once is not enough, because the next
# `model.train()` undoes it. So we write our own version of `train()`:

# %%
# NBVAL_CHECK_OUTPUT
def train_mode_by_hand(model):
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


ways = {"model.train()": nn.Module.train, "by hand": train_mode_by_hand, "tl.train_mode": tl.train_mode}
for name, to_train_mode in ways.items():
    before = statistics(model)
    to_train_mode(model)
    with torch.no_grad():
        model(batch)
    print(f"{name:14} buffers that moved: {moved(before, model)}")

# %% [markdown]
# With the frozen layers in eval mode, every buffer stays the same to the last bit. `tl.train_mode` is our function
# with one addition: it also switches off dropout (section 4) inside a frozen part. Call it at the start of **every**
# training epoch.

# %% [markdown]
# ## 4 · Three heads, two losses
#
# The head is yours to design. Tutorials use three kinds:
#
# 1. **linear**: one layer;
# 2. **MLP** (multi-layer perceptron): two layers with a ReLU between them, and **dropout**, which sets random values
#    to zero while training so that no single one becomes indispensable;
# 3. **MLP + LogSoftmax**: the same, but it returns the logarithm of each class's probability.

# %%
inputs = tl.head_in_features(model)


def make_heads(classes):
    def mlp():
        return [nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, classes)]

    return {
        "linear": nn.Linear(inputs, classes),
        "MLP": nn.Sequential(*mlp()),
        "MLP + LogSoftmax": nn.Sequential(*mlp(), nn.LogSoftmax(dim=1)),
    }


for name, head in make_heads(classes=5).items():
    size = sum(parameter.numel() for parameter in head.parameters())
    outputs = head.eval()(torch.zeros(1, inputs))
    print(f"{name:17} {size:>8,} parameters, exp(outputs) add up to {outputs.exp().sum().item():.2f}")

# %% [markdown]
# Only the third head returns log-probabilities: undo the logarithm, and they add up to one. The other two return raw
# scores, which may be any numbers.
#
# The loss has to know which of the two it gets. `cross_entropy` expects scores. `nll_loss` ("negative
# log-likelihood") expects log-probabilities. **Predict:** for the same scores, will the two disagree?

# %%
import torch.nn.functional as F

scores = torch.tensor([[4.0, 1.0, 0.0], [0.5, 2.0, 3.0]])
labels = torch.tensor([0, 1])
log_probabilities = F.log_softmax(scores, dim=1)
picked = log_probabilities[torch.arange(2), labels]
print("log-probability of the true class:", [round(v, 4) for v in picked.tolist()])
print(f"minus their mean, by hand:         {-picked.mean().item():.6f}")
print(f"nll_loss(log_probabilities):       {F.nll_loss(log_probabilities, labels).item():.6f}")
print(f"cross_entropy(scores):             {F.cross_entropy(scores, labels).item():.6f}")

# %% [markdown]
# All three agree. `nll_loss` just picks out the true class's log-probability and flips the sign, and `cross_entropy`
# is log-softmax and `nll_loss` in one step. So LogSoftmax with NLLLoss *is* cross-entropy. (`nn.CrossEntropyLoss()`
# and `nn.NLLLoss()` are the same two, packed as modules.)
#
# What if head and loss are mixed up? We try all pairings on one answer that is right and very sure. Its loss should
# be almost zero.

# %%
sure, truth = torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([0])
pairings = {
    "scores      -> cross_entropy": F.cross_entropy(sure, truth),
    "LogSoftmax  -> nll_loss": F.nll_loss(F.log_softmax(sure, dim=1), truth),
    "LogSoftmax  -> cross_entropy": F.cross_entropy(F.log_softmax(sure, dim=1), truth),
    "Softmax     -> cross_entropy": F.cross_entropy(F.softmax(sure, dim=1), truth),
    "scores      -> nll_loss": F.nll_loss(sure, truth),
}
for name, loss in pairings.items():
    print(f"{name:30} {loss.item():8.4f}")

# %% [markdown]
# - The first two are the right pairs.
# - LogSoftmax with `cross_entropy` takes the log-softmax twice. The second time changes nothing, so it is wasted
#   work, not a wrong number.
# - Softmax with `cross_entropy` is wrong: even a perfect answer keeps a loss, and training crawls.
# - Raw scores with `nll_loss` is the worst: the loss falls below zero without end by making scores larger. It looks
#   like wonderful progress.

# %% [markdown]
# For **two** classes you may meet a head with a *single* output and `BCEWithLogitsLoss` (binary cross-entropy). It is
# the same thing again, with the difference of the two scores as its only input:

# %%
two_scores, labels = torch.tensor([[0.3, 1.5], [2.0, -1.0]]), torch.tensor([1, 0])
difference = two_scores[:, 1] - two_scores[:, 0]
print(f"two outputs, cross_entropy:  {F.cross_entropy(two_scores, labels).item():.6f}")
print(f"one output,  BCE:            {F.binary_cross_entropy_with_logits(difference, labels.float()).item():.6f}")

# %% [markdown]
# We keep one output per class everywhere. Then two classes and a hundred classes use the same code.
#
# **Exercise 02.3: The third head for all flowers.** Build an MLP head for `inputs` features and 102 classes: linear
# to 256, ReLU, dropout of 0.4, linear, LogSoftmax. Mind along which dimension the probabilities have to add up.

# %% tags=["exercise"]
# --- solution
flower_head = nn.Sequential(
    nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 102), nn.LogSoftmax(dim=1)
)
# --- stub
# flower_head = ...        # nn.Sequential(...) of five layers
# --- end
tl.check("02.3", inputs, flower_head)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `nn.Sequential(first, second, …)` runs its layers in the order given. What one linear layer puts out, the next one
# must take in.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The output has the shape (images, classes). The probabilities of *one image* add up to one, so the sum runs over the
# classes: dimension 1.
#
# </details>

# %% [markdown]
# ## 5 · A training loop by hand: rose or tulip?
#
# A small **binary** task first: two of the five flowers. Their labels in the folder are not 0 and 1, but a loss for
# two classes needs exactly these, so a `target_transform` renames them. As in lesson 01, training images are
# augmented, validation images are not, and both use the same split.

# %%
# NBVAL_CHECK_OUTPUT
from torch.utils.data import Subset, TensorDataset

pair = ["rose", "tulip"]
augmented = tl.five_flowers(course, transform=tl.train_transform_for(weights))
plain = tl.five_flowers(course, transform=weights.transforms())
new_label = {plain.class_to_idx[name]: number for number, name in enumerate(pair)}
for dataset in (augmented, plain):
    dataset.target_transform, dataset.classes = new_label.get, pair

rows = [row for row, target in enumerate(plain.targets) if target in new_label]
parts = tl.stratified_split([plain.targets[row] for row in rows], fractions=(0.6, 0.2, 0.2), seed=0)
train_rows, val_rows, test_rows = ([rows[i] for i in part] for part in parts)
print(len(train_rows), "train,", len(val_rows), "validation,", len(test_rows), "test")

# %% [markdown]
# The test part stays in its box until lesson 06. Everything we decide on the way, we decide on the validation part.
#
# Model and loaders are made by a small function with a fixed seed. Later we want to start again from exactly the same
# place.

# %%
# NBVAL_CHECK_OUTPUT
def fresh_start(seed=0):
    tl.seed_everything(seed)
    model = models.get_model(arch, weights="DEFAULT")
    tl.freeze(model)
    tl.replace_head(model, num_classes=2)
    train_loader = tl.make_loader(Subset(augmented, train_rows), batch_size=32, train=True, seed=seed)
    val_loader = tl.make_loader(Subset(plain, val_rows), batch_size=32)
    return model.to(course.device), train_loader, val_loader


model, train_loader, val_loader = fresh_start()
print("sizes of the training batches:", [len(labels) for _, labels in train_loader])

# %% [markdown]
# Note the short last batch. If you averaged the batch means, its images would count more than the others. So we add
# up over **samples** (loss times batch size, number of right answers) and divide once, at the end.
#
# First, one training epoch:

# %%
def train_one_epoch(model, loader, loss_fn, optimizer):
    loss_sum, right, seen = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(course.device), labels.to(course.device)
        scores = model(images)
        loss = loss_fn(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        right += (scores.argmax(dim=1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, right / seen

# %% [markdown]
# Five steps make the learning: scores, loss, old gradients away, new gradients, one optimiser step. The rest is
# bookkeeping.
#
# Validation is the same without learning: eval mode, no gradients, no optimiser.

# %%
def validate(model, loader, loss_fn):
    model.eval()
    loss_sum, right, seen = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(course.device), labels.to(course.device)
            scores = model(images)
            loss_sum += loss_fn(scores, labels).item() * len(labels)
            right += (scores.argmax(dim=1) == labels).sum().item()
            seen += len(labels)
    return loss_sum / seen, right / seen

# %% [markdown]
# The **optimiser** gets only the parameters that train. Frozen ones would mostly be skipped, but "mostly" is a poor
# plan: a gradient left over from before the freezing is enough to move them. Build it *after* freezing and after the
# new head, or it will hold the wrong list. (SGD is the plainest optimiser, `momentum` smooths its steps. Lesson 03
# compares it with AdamW.)

# %% tags=["type-along"] say="collect what trains and give only that to SGD"
trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.SGD(trainable, lr=0.01, momentum=0.9)
print("the optimiser holds", [tuple(parameter.shape) for parameter in trainable])

# %% [markdown]
# A weight and a bias: the head, nothing else.
#
# Now the loop over epochs. It keeps a **copy** of the best epoch, where "best" means the lowest validation loss, and
# puts it back at the end. **Predict:** will the last epoch be the best?

# %%
epochs = course.pick(mini=5, full=8)
loss_fn = nn.CrossEntropyLoss()
best_loss, best_epoch, by_hand = float("inf"), None, []
model, train_loader, val_loader = fresh_start()
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)

for epoch in range(1, epochs + 1):
    tl.train_mode(model)
    train_loss, train_accuracy = train_one_epoch(model, train_loader, loss_fn, optimizer)
    val_loss, val_accuracy = validate(model, val_loader, loss_fn)
    by_hand.append((train_loss, train_accuracy, val_loss, val_accuracy))
    if val_loss < best_loss:
        best_loss, best_epoch = val_loss, epoch
        best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    print(f"epoch {epoch}  train {train_loss:.3f} {train_accuracy:.1%}   validation {val_loss:.3f} {val_accuracy:.1%}")

model.load_state_dict(best_state)
print("best epoch:", best_epoch, " one validation image is worth", f"{1 / len(val_rows):.1%}")

# %% [markdown]
# Look at the last line before you compare epochs: with so few validation images a single one moves the accuracy
# visibly. The loss is the steadier guide, so the loop watches that.
#
# Why `clone()`? `state_dict()` hands out the live tensors, and training overwrites them. To keep the result for
# tomorrow, write it to a file; `weights_only=True` refuses anything but plain data when reading it back.

# %%
from tempfile import TemporaryDirectory

with TemporaryDirectory() as folder:
    file = Path(folder) / "rose_or_tulip.pth"
    torch.save(best_state, file)
    print(model.load_state_dict(torch.load(file, weights_only=True, map_location=course.device)))

# %% [markdown]
# **Exercise 02.4 (bug hunt): the optimiser that trains nothing.** This cell runs, the loop runs, and the accuracy
# never moves. Everything needed is there, but in the wrong order. Repair it so that the optimiser holds the
# parameters that train, and only those.

# %% tags=["exercise"]
pupil = models.get_model(arch, weights="DEFAULT")
# --- solution
tl.freeze(pupil)
tl.replace_head(pupil, num_classes=2)
pupil_optimizer = torch.optim.SGD([p for p in pupil.parameters() if p.requires_grad], lr=0.01)
# --- stub
# pupil_optimizer = torch.optim.SGD(pupil.parameters(), lr=0.01)
# tl.freeze(pupil)
# tl.replace_head(pupil, num_classes=2)
# --- end
tl.check("02.4", pupil, pupil_optimizer)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# An optimiser takes its list of parameters once, when it is made. What happens to the model later, it does not see.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Freeze, then replace the head, then make the optimiser. And give it only parameters whose `requires_grad` is true,
# as in the cell above the loop.
#
# </details>

# %% [markdown]
# **Exercise 02.5 (bug hunt): the unfair average.** `batches` is a list of pairs (right answers, batch size). The
# function should return the accuracy over all images. With equal batches it does. With a short last batch it does
# not.

# %% tags=["exercise"]
def accuracy(batches):
    # --- solution
    return sum(right for right, size in batches) / sum(size for right, size in batches)
    # --- stub
    # return sum(right / size for right, size in batches) / len(batches)
    # --- end


print(f"{accuracy([(32, 32), (32, 32), (0, 4)]):.1%}")
tl.check("02.5", accuracy)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# In the printed example nearly all images are right. How many are there together, and how many of them are right?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Add up the right answers. Add up the sizes. Divide once.
#
# </details>

# %% [markdown]
# **Exercise 02.6 (bug hunt): the best epoch that was not kept.** `snapshot(model)` should return the model's numbers
# as they are now. A learner found that after training the "best" snapshot was always equal to the last epoch. Repair
# it.

# %% tags=["exercise"]
def snapshot(model):
    # --- solution
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # --- stub
    # return dict(model.state_dict())
    # --- end


tl.check("02.6", snapshot)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# `dict(...)` makes a new dictionary, with the *same* tensors in it. Training changes those tensors in place.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Copy each tensor with `.clone()`. Keep all of `state_dict()`, because the BatchNorm statistics are in there too.
#
# </details>

# %% [markdown]
# ## 6 · `tl.fit` is the same loop
#
# You will need this loop in every lesson, so it lives in `tl.fit`: train mode with frozen parts in eval, sums over
# samples, best epoch put back. To prove that there is no magic, we start again from the same seed and compare with
# the numbers of our loop. (On a graphics card `tl.fit` computes with shorter, faster numbers, which round differently.
# `precision="float32"` asks for the same as ours.)

# %%
model, train_loader, val_loader = fresh_start()
optimizer = torch.optim.SGD(tl.trainable_parameters(model), lr=0.01, momentum=0.9)
options = {"epochs": epochs, "precision": "float32"}
history = tl.fit(model, train_loader, val_loader, optimizer=optimizer, **options)

columns = [history.train_loss, history.train_accuracy, history.val_loss, history.val_accuracy]
assert torch.allclose(torch.tensor(by_hand), torch.tensor(columns).T, atol=1e-3)
assert history.best_epoch == best_epoch
print("our loop and tl.fit give the same numbers")

# %%
import matplotlib.pyplot as plt

tl.plot_history(history)
plt.show()

# %% [markdown]
# *What the figure shows:* loss (above) and accuracy (below) of rose-or-tulip by epoch, for training and validation,
# with the best epoch marked.
#
# A validation curve that is *better* than the training curve is nothing to worry about here: only training images are
# augmented, and the training figures are collected while the head is still improving.

# %% [markdown]
# ### A check-up before the training
#
# The mistakes of this lesson have one thing in common: no error message. So look *before* you train. Here is a set-up
# with two of them. We ask two of the questions by hand: does the optimiser hold frozen tensors? Is a frozen BatchNorm
# in train mode?

# %%
patient, its_train_loader, its_val_loader = fresh_start()
its_optimizer = torch.optim.SGD(patient.parameters(), lr=0.01, momentum=0.9)
held = {id(parameter) for parameter in its_optimizer.param_groups[0]["params"]}
frozen_held = [p for p in patient.parameters() if id(p) in held and not p.requires_grad]
norms = [module for module in patient.modules() if isinstance(module, nn.BatchNorm2d)]
drifting = [norm for norm in norms if norm.training and not norm.weight.requires_grad]
print(len(frozen_held), "frozen tensors in the optimiser,", len(drifting), "frozen BatchNorm layers in train mode")

# %% [markdown]
# `tl.doctor` asks these two and about forty more, of images, labels, network, loss and optimiser. It reads a few
# batches, takes a few steps on a **copy**, and changes nothing. The list is sorted, the worst first.
#
# **Predict:** which names will it give the two?

# %% tags=["type-along"] say="ask the doctor about the patient"
tl.doctor(patient, its_train_loader, its_val_loader, its_optimizer, loss_fn)

# %% [markdown]
# Each row says what was seen, why it hurts, and the repair. (`tl.fit` would call `tl.train_mode` by itself; a loop of
# your own has to.) With both repairs:

# %%
tl.train_mode(patient)
its_optimizer = torch.optim.SGD(tl.trainable_parameters(patient), lr=0.01, momentum=0.9)
print(tl.doctor(patient, its_train_loader, its_val_loader, its_optimizer, loss_fn))

# %% [markdown]
# "Nothing wrong" means: none of the mistakes it knows. It does not know your data, and it cannot promise a good result.
# If a line begins with *Not looked at*, that question is still open. What each name means stands in [the
# troubleshooting page](../docs/troubleshooting.md#what-tldoctor-can-find).

# %% [markdown]
# ## 7 · Many classes, and images seen only once
#
# Now **multi-class**: the flowers of the Flowers102 set, with its own train and validation split. Several networks will
# look at them, always without augmentation. So each file is opened once, and the tensors stay in memory.

# %%
# NBVAL_CHECK_OUTPUT
train_flowers = tl.flowers102(course, "train", transform=weights.transforms())
val_flowers = tl.flowers102(course, "val", transform=weights.transforms())
print(len(train_flowers), "train,", len(val_flowers), "validation,", len(train_flowers.classes), "classes")

# %%
def in_memory(flowers):
    images, labels = zip(*[flowers[i] for i in range(len(flowers))])
    return tl.make_loader(TensorDataset(torch.stack(images), torch.tensor(labels)), batch_size=64)


train_loader, val_loader = in_memory(train_flowers), in_memory(val_flowers)

# %% [markdown]
# That saves the files. The larger saving: the frozen body gives the same *features* for the same image in every epoch.
# Then why compute them every epoch? We run it once, keep the features and train the head on those. Such a store is a
# **cache**.
#
# By hand it takes four lines: the body is every child but the last, with the missing `flatten` added. Two batches are
# enough to see it work.
#
# **Predict:** how many numbers will be kept per image?

# %%
from itertools import islice

network = models.get_model(arch, weights="DEFAULT").to(course.device)

body = nn.Sequential(*list(network.children())[:-1], nn.Flatten()).eval()
with torch.no_grad():
    two_batches = [body(images.to(course.device)).cpu() for images, _ in islice(train_loader, 2)]
by_hand_features = torch.cat(two_batches)
print("features:", tuple(by_hand_features.shape))

# %% [markdown]
# One row per image, one column per channel of the last layer. `tl.cache_features` does this for a whole loader, keeps
# the labels beside the features, and refuses what would spoil a cache: a shuffled loader, or a body that still
# trains. We take the time of the pass over the training images.

# %%
import time

tl.freeze(network)
start = time.perf_counter()
train_cache = tl.cache_features(network, train_loader)
body_seconds = time.perf_counter() - start
val_cache = tl.cache_features(network, val_loader)
same = torch.allclose(train_cache.features[: len(by_hand_features)], by_hand_features, atol=1e-4)
print(len(train_cache), "rows for training,", len(val_cache), "for validation; same as by hand:", same)

# %% [markdown]
# Now the heads. Each trains on the cached rows with the same optimiser, the same seed and the same number of epochs;
# only the loss follows the head. **Predict:** will the larger heads win?

# %%
def train_head(head, train_cache, val_cache, seed=0, epochs=20):
    train_rows = tl.make_loader(train_cache, batch_size=64, train=True, seed=seed)
    val_rows = tl.make_loader(val_cache, batch_size=256)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    log_probabilities = isinstance(list(head.modules())[-1], nn.LogSoftmax)
    loss_fn = nn.NLLLoss() if log_probabilities else nn.CrossEntropyLoss()
    return tl.fit(head, train_rows, val_rows, epochs=epochs, optimizer=optimizer, loss_fn=loss_fn, verbose=False)


tl.seed_everything(0)
heads = {name: head.to(course.device) for name, head in make_heads(classes=102).items()}
start = time.perf_counter()
histories = {name: train_head(head, train_cache, val_cache) for name, head in heads.items()}
head_seconds = (time.perf_counter() - start) / sum(len(h.train_loss) for h in histories.values())

# %%
tl.plot_history(histories)
plt.show()

# %% [markdown]
# *What the figure shows:* loss (above) and accuracy (below) of the three heads on Flowers102 by epoch; training
# dashed, validation solid.
#
# The gap between dashed and solid is what the heads learned by heart: a handful of images per class is little. The
# linear head is a serious opponent. The two MLP curves differ, although both minimise cross-entropy: they started
# from different random numbers. That is a first taste of how far to trust one run.

# %%
print(f"one pass of the body over the training images: {body_seconds:7.2f} s")
print(f"one epoch of a head on the cache:              {head_seconds:7.2f} s")
print(f"the cache makes an epoch about {(body_seconds + head_seconds) / head_seconds:.0f} times faster")

# %% [markdown]
# The first pass has to be paid once. From the second epoch on, the cache wins.
#
# ### What a cache cannot do
#
# A cache keeps *one* look at every image. Augmentation wants a new look in every epoch. Put an augmenting transform
# before a cache, and its first random crop is frozen for good. The honest middle way is to store **k views**: k
# random looks per image, at k times the price. (The *pixels* may be kept, as by hand in lesson 01: `tl.cache_images`
# opens each file once, and the random transform runs anew at every look.)

# %%
views = 2
flower_files, shorter_side = tl.flowers102(course, "train"), course.pick(mini=None, full=256)
augmented_flowers = tl.cache_images(flower_files, transform=tl.train_transform_for(weights), size=shorter_side)
tl.seed_everything(0)
views_cache = tl.cache_features(network, tl.make_loader(augmented_flowers, batch_size=64), views=views)
history = train_head(nn.Linear(inputs, 102).to(course.device), views_cache, val_cache, epochs=20 // views)
print("rows in the cache:", len(views_cache))
print(f"linear head, plain cache:  {histories['linear'].best()['val_accuracy']:.1%}")
print(f"linear head, {views} views:      {history.best()['val_accuracy']:.1%}")

# %% [markdown]
# Both heads took the same number of steps. One validation image is worth about a tenth of a per cent here, and the
# seed alone moves results by more, as you will see below. So do not read a small gap as a victory for either side.

# %% [markdown]
# ## 8 · The linear probe
#
# If the head is linear and the features are fixed, there is an older tool: **logistic regression**. It solves the
# same problem to the end instead of in small steps. Trained on cached features it is called a **linear probe**, the
# usual way to ask how good a backbone's features are.
#
# Its one knob is `C`. A small C keeps the weights small, a large C lets them fit the training rows. The scaler first
# brings every feature to the same spread, so that C means the same for all of them.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X_train, y_train = (tensor.numpy() for tensor in train_cache.tensors)
X_val, y_val = (tensor.numpy() for tensor in val_cache.tensors)
probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(X_train, y_train)
print(f"C = 0.01: train {probe.score(X_train, y_train):.1%}, validation {probe.score(X_val, y_val):.1%}")

# %% [markdown]
# One value says little about a knob. `tl.linear_probe` tries several and keeps the one that is best on the
# **validation** part.
#
# **Predict:** what happens at both ends, with far too small and far too large a C?

# %% tags=["type-along"] say="try five values of C with tl.linear_probe, from 0.0001 to 1"
probe = tl.linear_probe(train_cache, val_cache, Cs=(0.0001, 0.001, 0.01, 0.1, 1.0))
print(probe.table)
print(f"chosen: C = {probe.C:g}, validation accuracy {probe.val_accuracy:.1%}")

# %% [markdown]
# Far too small a C cannot even learn the training rows. At the other end all training rows are right, and more
# freedom brings little or nothing. Published probes of one and the same network needed values that differ by powers
# of ten from one data set to the next (Ericsson and others, see Further reading), so a default is never safe.
#
# A warning: we *chose* C by the validation accuracy, so this number is a little flattering. That is what the
# untouched test split is for.

# %% [markdown]
# ## 9 · Look at the answers
#
# A number hides what went wrong. We put the trained linear head back on its body and have one ordinary model from
# image to scores. For the answers on the whole validation part its body need not run again: the head on the cache
# gives the same scores. One batch shows it.

# %%
network.fc = heads["linear"]
images, _ = next(iter(val_loader))
with torch.no_grad():
    whole_model = network.eval()(images.to(course.device))
    head_on_cache = network.fc(val_cache.features[: len(images)].to(course.device))
print("same scores:", torch.allclose(whole_model, head_on_cache, atol=1e-3))

# %% tags=["type-along"] say="predict from the cache and show twelve answers"
predictions = tl.predict(network.fc, tl.make_loader(val_cache, batch_size=256))
tl.show_predictions(predictions, val_flowers, val_flowers.classes, n=12)
plt.show()

# %% [markdown]
# *What the figure shows:* validation images, each with the predicted and the true class; wrong answers are marked in
# words.
#
# Look at the wrong ones. Would you have known better, at this size?

# %%
from collections import Counter

answers = zip(predictions.labels.tolist(), predictions.predicted.tolist())
pairs = Counter((true, predicted) for true, predicted in answers if true != predicted)
for (true, predicted), count in pairs.most_common(5):
    print(f"{count} x  {val_flowers.classes[true]}  was taken for  {val_flowers.classes[predicted]}")

# %%
tl.plot_confused(predictions, val_flowers, val_flowers.classes, k=2)
plt.show()

# %% [markdown]
# *What the figure shows:* examples of the most confused pairs of classes.
#
# With few images per class a pair rarely collects many mistakes, so read this as a hint about look-alikes, not as a
# ranking.

# %% [markdown]
# **Exercise 02.7 (bug hunt): the answer that changes its mind.** Called twice with the same image, this function may
# give two different answers. It returns the class number for one image of shape (channels, height, width). Repair it.

# %% tags=["exercise"]
def predicted_class(model, image):
    # --- solution
    model.eval()
    with torch.no_grad():
        return model(image.unsqueeze(0)).argmax(dim=1).item()
    # --- stub
    # model.train()
    # return model(image.unsqueeze(0)).argmax(dim=1).item()
    # --- end


tl.check("02.7", predicted_class)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# Which layers behave differently in training, and roll dice or look at the other images of the batch?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Dropout and BatchNorm. A prediction needs `model.eval()` first, and `torch.no_grad()` saves the memory for
# gradients.
#
# </details>

# %% [markdown]
# ## Compare
#
# How much of the result comes from *pretraining*? An honest opponent is the same network with **random** weights,
# frozen as well. Both get the same kind of head, the same epochs, the same optimiser, and features of the same
# spread, because random weights give much smaller numbers and would learn more slowly for that reason alone.
#
# Each seed means another start of the head and another order of the images, and on one side another random body. Each
# of those has to look at all images, so there are two of them, against three seeds for the pretrained one.

# %%
def accuracy_on(train_cache, val_cache, seed):
    mean, spread = train_cache.features.mean(dim=0), train_cache.features.std(dim=0) + 1e-6
    caches = [TensorDataset((c.features - mean) / spread, c.labels) for c in (train_cache, val_cache)]
    tl.seed_everything(seed)
    head = nn.Linear(inputs, 102).to(course.device)
    return train_head(head, *caches, seed=seed, epochs=12).best()["val_accuracy"]


results = {"random body, frozen": [], "pretrained body, frozen": []}
for seed in (0, 1):
    tl.seed_everything(seed)
    random_body = models.get_model(arch, weights=None).to(course.device)
    tl.freeze(random_body)
    caches = [tl.cache_features(random_body, loader) for loader in (train_loader, val_loader)]
    results["random body, frozen"].append(accuracy_on(*caches, seed))
for seed in (0, 1, 2):
    results["pretrained body, frozen"].append(accuracy_on(train_cache, val_cache, seed))

# %% [markdown]
# **Predict:** will random features be as bad as guessing?

# %%
print(f"{'validation accuracy':26} {'mean':>7} {'lowest':>8} {'highest':>8}")
for name, values in results.items():
    print(f"{name:26} {sum(values) / len(values):7.1%} {min(values):8.1%} {max(values):8.1%}")
tl.compare_bars(results, chance=1 / 102)
plt.show()

# %% [markdown]
# *What the figure shows:* mean validation accuracy on Flowers102 of a linear head on random and on pretrained
# features.
#
# Random features beat guessing clearly: colour survives a random network, and colour says much about a flower.
# Pretraining adds the rest. Compare that gap with the spread of the dots before you believe it. Training from scratch
# is missing here because it takes longer; the data card, `data/README.md`, has its measured figure.

# %% [markdown]
# ## Common mistakes
#
# - **Freezing after the new head is on:** the head is frozen too, nothing trains.
# - **A typo in `requires_grad`:** no error, no freezing. Print the table.
# - **`model.train()` on a frozen body:** BatchNorm drifts. Use `tl.train_mode`.
# - **Softmax before `CrossEntropyLoss`,** or raw scores into `NLLLoss`.
# - **The optimiser made before the head:** it trains a head that is no longer there.
# - **`best = model.state_dict()` without copies:** you keep the last epoch.
# - **Augmentation before a cache:** one crop, for ever.
# - **Choosing by the test split:** then no honest number is left.

# %% [markdown]
# ## Take-aways
#
# - Feature extraction trains a tiny part of the network: freeze all, add a head, give only the head to the optimiser.
# - `requires_grad = False` stops gradients, eval mode stops BatchNorm statistics. A frozen part needs both.
# - LogSoftmax with NLLLoss is cross-entropy; what matters is that head and loss agree.
# - Sum over samples, divide once, keep a copy of the best epoch.
# - A frozen body needs to run only once. Compare over seeds, on the validation split.

# %% [markdown]
# ## Quiz
#
# Choose an answer: each one says why it is right or not. You may choose again, and nothing is kept.

# %%
tl.quiz("02")

# %% [markdown] tags=["quiz"]
# **1. All parameters of a ResNet are frozen and you call `model.train()`. After one epoch without an optimiser, what
# has changed in the saved network?**
#
# <details><summary>Nothing, it is frozen</summary>
#
# No. The parameters are the same, but BatchNorm's running statistics are buffers and follow the batches.
#
# </details>
#
# <details><summary>The running means and variances of BatchNorm</summary>
#
# Right. They are saved with the network and used in eval mode, so its answers change too.
#
# </details>
#
# <details><summary>The weights of the head</summary>
#
# No. Without an optimiser step no parameter moves.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. A head ends with LogSoftmax. Which loss belongs to it?**
#
# <details><summary>NLLLoss</summary>
#
# Right. It expects log-probabilities, and the two together are cross-entropy.
#
# </details>
#
# <details><summary>CrossEntropyLoss, anything else is wrong</summary>
#
# Not quite. The number comes out right, because a second log-softmax changes nothing. But it is wasted work and tells
# the reader of your code something false.
#
# </details>
#
# <details><summary>BCEWithLogitsLoss</summary>
#
# No. That one is for a single raw score per yes-or-no question.
#
# </details>

# %% [markdown] tags=["quiz"]
# **3. You want fresh random crops in every epoch *and* cached features. What is true?**
#
# <details><summary>Put the augmenting transform into the dataset, then cache</summary>
#
# No. The cache stores one random crop per image and repeats it in every epoch.
#
# </details>
#
# <details><summary>It cannot be had fully; store several views per image</summary>
#
# Right. k views cost k passes of the body and give the head k looks at each image.
#
# </details>
#
# <details><summary>Augment the cached features with the same transforms</summary>
#
# No. A row of features has no left, right or corner any more, so it cannot be cropped or flipped.
#
# </details>

# %% [markdown] tags=["quiz"]
# **4. Two heads differ by two correct answers on a validation part of a hundred images. What do you conclude?**
#
# <details><summary>The better one is better, numbers do not lie</summary>
#
# No. Another seed or another hundred images could turn the order round.
#
# </details>
#
# <details><summary>Nothing yet; repeat over seeds and look at the spread</summary>
#
# Right. A gap means something when it is clearly larger than the spread.
#
# </details>
#
# <details><summary>Ask the test split to decide</summary>
#
# No. Once it decides something, it is a second validation split, and there is no untouched one left.
#
# </details>

# %% [markdown] tags=["quiz"]
# **5. `optimizer = SGD(model.parameters())` stands before `model.fc = nn.Linear(...)`. What will you see?**
#
# <details><summary>An error in the first step</summary>
#
# No. That would be kind. The old parameters still exist, so the optimiser is content.
#
# </details>
#
# <details><summary>Training that never gets better than guessing, if the body is frozen</summary>
#
# Right. The optimiser holds the old head. The new one receives gradients that nobody uses.
#
# </details>
#
# <details><summary>Normal training, the optimiser follows the model</summary>
#
# No. It took its list once, when it was made.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - PyTorch tutorial [Transfer learning for computer
#   vision](https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html): the classic ants-and-bees recipe,
#   frozen and fine-tuned.
# - torchvision, [Models and pre-trained weights](https://pytorch.org/vision/stable/models.html): every name that
#   `get_model` knows, and what `.transforms()` does.
# - Kornblith, Shlens and Le (2019), [Do Better ImageNet Models Transfer Better?](https://arxiv.org/abs/1805.08974):
#   linear probes and fine-tuning over many networks and sets.
# - Ericsson, Gouk and Hospedales (2021), [How Well Do Self-Supervised Models
#   Transfer?](https://arxiv.org/abs/2011.13377): linear probes on many data sets, with C chosen for each.
# - Nilsback and Zisserman (2008), [102 Category Flower Dataset](https://www.robots.ox.ac.uk/~vgg/data/flowers/102/).

# %% [markdown]
# *Next: lesson 03 lets the body move too, slowly.*
#
# Text: CC BY 4.0. Code: MIT.
