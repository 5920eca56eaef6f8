"""Train a bundled backbone on the procedural source task (data/source.py) and export it to data/weights.

    python data/pretrain.py                               # all three, one after the other
    python data/pretrain.py resnet10 --views 300000       # one of them: about an hour on one core
    python data/pretrain.py resnet10 --export             # write the weights as they are now

Kill it at any time and start it again with the same arguments: it goes on from data/.cache, on the very same batches,
because batch number ``step`` depends on ``(seed, step)`` only. With a GPU it uses the GPU.

Recipe: AdamW, one cosine cycle with warm-up, images growing from 48 to 64 px, the source growing harder over the first
half, and an exponential moving average of the weights, which is what gets exported (as float16).
"""

import argparse
import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "data")]

from source import Source, class_names, load_bank  # noqa: E402

from tlhelpers import backbones  # noqa: E402

CACHE = ROOT / "data" / ".cache"
META = ROOT / "tlhelpers" / "backbones.json"
ARCHS = ["resnet10", "efficientnet_mini", "vgg9_bn"]
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def plan(progress: float, smallest: int = 48) -> tuple[float, int, float]:
    """Share of the peak learning rate, image side in pixels and hardness at ``progress`` in 0..1."""
    warm = 0.05
    rate = progress / warm if progress < warm else 0.5 + 0.5 * math.cos(math.pi * (progress - warm) / (1 - warm))
    side = 48 if progress < 0.42 else 56 if progress < 0.68 else 64
    return max(rate, 1e-3), max(side, smallest), min(1.0, 0.3 + 1.4 * progress)


def body(model: nn.Module) -> nn.Module:
    """The network without its last layer: N×3×H×W in, N×features out (changes ``model``)."""
    if hasattr(model, "fc"):
        model.fc = nn.Identity()
    else:
        model.classifier[-1] = nn.Identity()
    return model.eval()


@torch.inference_mode()
def features(model: nn.Module, images: Tensor) -> np.ndarray:
    """Features of normalised images, 128 at a time."""
    return torch.cat([model(part) for part in images.split(128)]).float().numpy()


def probe_photographs(model: nn.Module) -> str:
    """Monitor only: cross-validated probe on the *training* folder of real ants and bees, where there is one."""
    real = os.environ.get("TLHELPERS_REAL_DATA")
    if not real:
        return ""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from torchvision.datasets import ImageFolder

    preset = backbones.ResNet10_Weights.DEFAULT.transforms()
    data = ImageFolder(str(Path(real) / "hymenoptera" / "train"), transform=preset)
    images, labels = torch.stack([image for image, _ in data]), np.array(data.targets)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    scores = cross_val_score(probe, features(model, images), labels, cv=folds)
    return f"  photographs (train folder, 5-fold) {scores.mean():.3f}"


def export(arch: str, state: dict[str, Tensor], facts: dict) -> None:
    """Write data/weights/<arch>.pth (float16) and its entry in tlhelpers/backbones.json."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    path = ROOT / "data" / "weights" / f"{arch}.pth"
    path.parent.mkdir(exist_ok=True)
    torch.save({k: v.contiguous().clone() for k, v in half.items()}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
    meta = json.loads(META.read_text())
    meta[arch] = {
        "num_params": sum(p.numel() for p in getattr(backbones, arch)(num_classes=len(class_names())).parameters()),
        "min_size": [32, 32],
        "recipe": "data/pretrain.py",
        **facts,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "_metrics": meta[arch].get("_metrics", {}),
        "categories": class_names(),
    }
    META.with_suffix(".tmp").write_text(json.dumps(meta, indent=1) + "\n")
    os.replace(META.with_suffix(".tmp"), META)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", nargs="?", choices=ARCHS, help="without it: all of them")
    parser.add_argument("--views", type=int, default=300_000, help="images to train on in all")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop (resumable) after so many minutes")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch decides)")
    parser.add_argument("--export", action="store_true", help="only export the weights of the last checkpoint")
    args = parser.parse_args()
    for arch in [args.arch] if args.arch else ARCHS:
        train(arch, args)


def train(arch: str, args: argparse.Namespace) -> None:
    """Train one backbone up to ``args.views`` images, from its checkpoint where there is one, and export it."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    CACHE.mkdir(exist_ok=True)
    checkpoint = CACHE / f"{arch}.ckpt"

    build = getattr(backbones, arch)
    model = build(num_classes=len(class_names())).to(device, memory_format=torch.channels_last)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]  # no weight decay on BatchNorm and biases
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    step, seconds, right = 0, 0.0, 0.0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"].cpu())
        average, step, seconds, right = saved["average"], saved["step"], saved["seconds"], saved["right"]
        print(f"resumed at {step * args.batch} views", flush=True)
    source = Source(load_bank(CACHE))

    def judged() -> tuple[nn.Module, float]:
        """The averaged network and its accuracy on 1,920 source images that are never trained on."""
        judge = build(num_classes=len(class_names()))
        judge.load_state_dict({k: v.cpu() for k, v in average.items()})
        judge.eval()
        hits = 0
        with torch.inference_mode():
            for i in range(20):
                images, labels = source.batch(args.seed + 1, i, n=96, size=64)
                hits += int((judge((images - MEAN) / STD).argmax(1) == labels).sum())
        return judge, hits / 1920

    def write() -> None:
        _, accuracy = judged()
        facts = {
            "source_accuracy": round(accuracy, 4),
            "source_views": step * args.batch,
            "training": f"AdamW lr {args.lr} batch {args.batch} seed {args.seed}",
            "torch": torch.__version__,
        }
        export(arch, {k: v.cpu() for k, v in average.items()}, facts)
        print(f"exported {arch}: source accuracy {accuracy:.3f} after {step * args.batch} views", flush=True)

    def save() -> None:
        saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step}
        saved |= {"seconds": seconds, "right": right, "rng": torch.get_rng_state()}
        torch.save(saved, checkpoint.with_suffix(".tmp"))
        os.replace(checkpoint.with_suffix(".tmp"), checkpoint)

    if args.export:
        return write()
    steps, began, saved_at, probed_at = args.views // args.batch, time.time(), time.time(), time.time()
    mean, std = MEAN.to(device), STD.to(device)
    model.train()
    while step < steps and time.time() - began < 60 * args.minutes:
        tick = time.time()
        # a VGG halves the image five times: below 64 px a single cell would be left of it
        share, side, hard = plan(step / steps, smallest=64 if arch == "vgg9_bn" else 48)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * share
        images, labels = source.batch(args.seed, step, args.batch, side, hard)
        images = ((images.to(device) - mean) / std).contiguous(memory_format=torch.channels_last)
        labels = labels.to(device)
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step += 1
        keep = min(0.995, (step + 1) / (step + 20))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - keep)
                else:
                    average[name].copy_(value)
        right = 0.98 * right + 0.02 * (logits.argmax(1) == labels).float().mean().item()
        seconds += time.time() - tick
        if step % 50 == 0:
            rate = step * args.batch / seconds
            print(
                f"{step * args.batch:7d} views {side} px loss {loss.item():.3f} acc {right:.3f} {rate:.0f}/s",
                flush=True,
            )
        if time.time() - saved_at > 120:
            save()
            saved_at = time.time()
        if time.time() - probed_at > 360:
            judge, accuracy = judged()
            print(f"== source accuracy (average weights) {accuracy:.3f}{probe_photographs(body(judge))}", flush=True)
            probed_at = time.time()
    save()
    write()
    judge, _ = judged()
    print(f"end {probe_photographs(body(judge))}  {seconds / 60:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
