"""What lesson 5 claims about time, as ratios measured in one run.

Frozen features against fine-tuning, reading photographs in full against reading them small, and a
class activation map against a plain prediction. Run `python benchmarks/pets.py`, with `pets` or its part in reach. It
takes some five minutes on two cores, most of them fine-tuning, and exits with 1 where a claim does not hold.
"""
import sys, tempfile, time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm, torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, ImageDataLoaders, PILImage, RandomResizedCrop,
                               Resize, aug_transforms, error_rate, get_image_files, vision_learner)
from images import write_photos
from PIL import Image
from sklearn.linear_model import LogisticRegression
from timing import Way, compare

from course_lib.base.env import device_name, quiet, seed_everything, usable_cores
from course_lib.data.get import get_data
from course_lib.data.weights import NETWORK, pretrained
from course_lib.dives.where_it_looks import grad_cam, votes

SIZE = 128            # Pixels on each side of a photograph
EPOCHS = 3            # Of fine-tuning after its frozen one
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

def tuned_way(dls) -> tuple[float, float]: # (lowest error of any epoch, seconds)
    "fastai's `fine_tune` as it comes"
    seed_everything(42)
    learn = vision_learner(dls, pretrained(NETWORK), metrics=error_rate)
    began = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(EPOCHS)
    return min(values[-1] for values in learn.recorder.values), time.perf_counter() - began

def compare_training() -> bool: # Whether the claim holds
    "Frozen features and a linear model against fine-tuning"
    files = sorted(get_image_files(get_data("pets")/"images"))
    dls = ImageDataLoaders.from_name_func(".", files, lambda name: name.rsplit("_", 1)[0], item_tfms=Resize(SIZE),
                                          bs=32, seed=42, num_workers=0)
    vision_learner(dls, pretrained(NETWORK)) # adds the network's own normalisation to the loaders
    error, seconds = linear_way(dls, files)
    print(f"{len(files)} photographs of {SIZE} pixels, linear model on frozen features: error {error:.3f} "
          f"in {seconds:.1f} s")
    tuned, longer = tuned_way(dls)
    holds = longer >= LEAST*seconds or tuned > error # who never comes as far takes longer than any number of times
    print(f"fine_tune({EPOCHS}): error {tuned:.3f} in {longer:.0f} s, {longer/seconds:.1f}x as long   "
          f"claim: at least {LEAST:g}x or never as good, {'holds' if holds else 'DOES NOT HOLD'}")
    return holds

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

def main() -> int: # Exit status: 0 where all claims hold
    "Run all comparisons"
    quiet()
    print(f"{NETWORK}, {device_name()}, {usable_cores()} cores, torch {torch.__version__}")
    claims = [compare(ways_to_look())]
    with tempfile.TemporaryDirectory() as folder:
        claims.append(compare(ways_to_read(write_photos(Path(folder)/"photos", PHOTO, PHOTOS))))
    claims.append(compare_training())
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())
