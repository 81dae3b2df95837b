"""What lesson 5 claims about time, as ratios measured in one run.

Frozen features against fine-tuning, reading photographs in full against reading them small, and a
class activation map against a plain prediction. Run `python benchmarks/pets.py`, with `pets` or its part in reach, or
one comparison by its name: `python benchmarks/pets.py training`. All take some seven minutes on two cores, most of them
fine-tuning, and exit with 1 where a claim does not hold.
"""
import argparse, sys, tempfile, time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm, torch
from fastai.vision.all import (Callback, CategoryBlock, DataBlock, ImageBlock, ImageDataLoaders, PILImage,
                               RandomResizedCrop, Resize, aug_transforms, error_rate, get_image_files, vision_learner)
from images import write_photos
from PIL import Image
from sklearn.linear_model import LogisticRegression
from timing import Way, compare

from course_lib.base.env import device_name, quiet, seed_everything, usable_cores
from course_lib.data.get import get_data
from course_lib.data.weights import NETWORK, pretrained
from course_lib.dives.where_it_looks import grad_cam, votes
from course_lib.pets import HoldNorms

SIZE = 128            # Pixels on each side of a photograph
EPOCHS = 6            # Of fine-tuning after its frozen one: longer than the claim needs
PHOTO = (1600, 1200)  # Pixels of a photograph that is read: a telephone's, sent by a messenger
PHOTOS = 32           # Of them
LEAST = 10.           # How many times as fast frozen features must be

def breed_of(file:Path) -> str: return file.name.rsplit("_", 1)[0]

def linear_way(dls, files:list) -> tuple[float, float]: # (error, seconds)
    "Features once, and a linear model on them"
    began = time.perf_counter()
    body = timm.create_model(pretrained(NETWORK), pretrained=True, num_classes=0).eval()
    with torch.inference_mode(): feats = torch.cat([body(xb.as_subclass(torch.Tensor)) for xb, in dls.test_dl(files)])
    breeds, judges = np.array([breed_of(file) for file in files]), set(dls.valid.items)
    valid = np.array([file in judges for file in files])
    model = LogisticRegression(max_iter=2000).fit(feats[~valid], breeds[~valid])
    return 1 - model.score(feats[valid], breeds[valid]), time.perf_counter() - began

class Clock(Callback):
    "Error after each epoch, and seconds since the training began"
    def __init__(self): self.began, self.seen = time.perf_counter(), []
    def after_epoch(self):
        self.seen.append((float(self.recorder.values[-1][-1]), time.perf_counter() - self.began))

Clock.order = 60 # after fastai's recorder, whose figures it reads

def tuned_way(dls, rate:float, held:bool) -> list[tuple[float, float]]: # (error, seconds so far) after each epoch
    "`fine_tune`, as it comes or with the norms held"
    seed_everything(42)
    norms = dict(train_bn=False, cbs=HoldNorms()) if held else {}
    learn = vision_learner(dls, pretrained(NETWORK), metrics=error_rate, **norms)
    clock = Clock()
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(EPOCHS, rate, cbs=clock)
    return clock.seen

def time_to_error(
    seen:list,   # (error, seconds so far) after each epoch
    wanted:float # Error to come down to
) -> tuple[float, bool]: # Seconds; whether it was reached, or else the seconds are only a lower bound
    "When a training was first as good as that"
    for error, seconds in seen:
        if error <= wanted: return seconds, True
    return seen[-1][1], False

def verdict(ratio:float, reached:bool) -> tuple[str, bool]: # (words, whether the claim stands)
    "What one ratio says of the claim: a lower bound below it decides nothing, so the claim is not kept either"
    claim = f"claim: at least {LEAST:g}x, "
    if ratio >= LEAST: return claim + ("holds" if reached else "holds, and this is a lower bound: never as good"), True
    if reached: return claim + "DOES NOT HOLD", False
    return claim + "OPEN: never as good, but stopped too early to tell", False

def compare_training() -> bool: # Whether the claim holds
    "Frozen features and a linear model against fine-tuning to the same error"
    files = sorted(get_image_files(get_data("pets")/"images"))
    dls = ImageDataLoaders.from_name_func(".", files, lambda name: name.rsplit("_", 1)[0], item_tfms=Resize(SIZE),
                                          bs=32, seed=42, num_workers=0)
    vision_learner(dls, pretrained(NETWORK)) # adds the network's own normalisation to the loaders
    error, seconds = linear_way(dls, files)
    print(f"{len(files)} photographs of {SIZE} pixels, linear model on frozen features: error {error:.3f} "
          f"in {seconds:.1f} s")
    ways = ("as it comes", 2e-3, False, True), ("norms held, a tenth of the rate", 2e-4, True, False)
    kept = []
    for words, rate, held, claimed in ways:
        seen = tuned_way(dls, rate, held)
        longer, reached = time_to_error(seen, error)
        said, holds = verdict(longer/seconds, reached)
        came = (f"as good after {longer:.0f} s, {longer/seconds:.1f}x" if reached else
                f"lowest error {min(e for e, _ in seen):.3f} in {longer:.0f} s, more than {longer/seconds:.1f}x")
        print(f"fine_tune({EPOCHS}), {words}: {came} as long   {said if claimed else 'no claim'}")
        if claimed: kept.append(holds)
    return all(kept)

class SmallImage(PILImage):
    "A photograph that the decoder makes smaller by a whole factor while it reads, where that leaves enough pixels"
    @classmethod
    def create(cls, file, **kwargs):
        with Image.open(file) as image:
            image.draft("RGB", (2*SIZE, 2*SIZE))
            return cls(image.convert("RGB"))

def reader(folder:Path, cls, workers:int=0, batch:bool=True) -> Callable: # Function without arguments
    "One epoch through a DataBlock"
    changes = aug_transforms()
    block = DataBlock((ImageBlock(cls), CategoryBlock), get_items=get_image_files, get_y=lambda file: "photo",
                      splitter=lambda items: (range(len(items)), [0]), item_tfms=RandomResizedCrop(SIZE, min_scale=0.5),
                      batch_tfms=changes if batch else None)
    dl = block.dataloaders(folder, bs=PHOTOS, num_workers=workers).train
    if batch: return lambda: [None for _ in dl]
    return lambda: [change_one_by_one(xb, changes) for xb, _ in dl]

def change_one_by_one(xb, changes:list) -> None:
    "The same augmentation, on one picture after the other"
    for x in xb.split(1):
        for change in changes: x = change(x, split_idx=0)

def ways_to_read(folder:Path) -> list[Way]: # The usual way first
    "Decode and augment photographs"
    return [("DataBlock, decoded in full", reader(folder, PILImage), None),
            ("augmented one by one", reader(folder, PILImage, batch=False), None),
            ("decoded at reduced size", reader(folder, SmallImage), 1.5),
            ("reduced, two workers", reader(folder, SmallImage, workers=2), None)]

def ways_to_look() -> list[Way]: # The plain prediction first
    "What a map costs beside the answer"
    torch.manual_seed(42)
    body = timm.create_model(pretrained(NETWORK), pretrained=True, num_classes=0, global_pool="").eval()
    head, x = torch.nn.Linear(1280, 37), torch.randn(1, 3, 224, 224)
    network = torch.nn.Sequential(body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head).eval()

    @torch.no_grad()
    def mapped():
        maps = body(x)
        return head(maps.mean((2, 3))), votes(maps[0], head.weight)
    return [("plain prediction", torch.no_grad()(partial(network, x)), None),
            ("with a class activation map", mapped, 0.7),
            ("with Grad-CAM", lambda: grad_cam(network, body, x.clone(), 3), None)]

def compare_reading() -> bool: # Whether the claim holds
    with tempfile.TemporaryDirectory() as folder:
        return compare(ways_to_read(write_photos(Path(folder)/"photos", PHOTO, PHOTOS)))

COMPARISONS = {"looking": lambda: compare(ways_to_look()), "reading": compare_reading, "training": compare_training}

def main(
    chosen:list, # Names of comparisons; none for all
) -> int: # Exit status: 0 where all claims hold
    "Run comparisons"
    quiet()
    print(f"{NETWORK}, {device_name()}, {usable_cores()} cores, torch {torch.__version__}")
    return 0 if all([COMPARISONS[name]() for name in chosen or COMPARISONS]) else 1

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("comparisons", nargs="*", help=", ".join(COMPARISONS))
    asked = parser.parse_args().comparisons
    for name in asked:
        if name not in COMPARISONS: parser.error(f"no comparison {name!r}; known: {', '.join(COMPARISONS)}")
    sys.exit(main(asked))
