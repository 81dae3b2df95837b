"""What lesson 04 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/mnist.py`. It takes about 15 seconds and exits with 1 where a claim does not hold.
"""
import sys, tempfile
from pathlib import Path

import torch
from PIL import Image
from timing import ROUNDS, Way, compare
from torch import Tensor, nn

from course_lib.base.places import data_home
from course_lib.data.get import get_data
from course_lib.data.sources import locate
from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.data.standins import build_standin
from course_lib.mnist import BasicOptimizer, batches, fit, mnist_loss
from course_lib.pictures.pixels import decode_images, read_images

BATCH_SIZE = 256
EPOCH = 10_000   # pictures that an epoch has at least; a small set is repeated

def find_pictures() -> tuple[str, list[Path]]: # (where they are from, files in order: threes, then sevens)
    "The training pictures of MNIST_SAMPLE, or of its stand-in where the real ones are out of reach"
    real = locate("mnist_sample") is not None
    folder = get_data("mnist_sample") if real else build_standin("mnist_sample", data_home()/".course"/"standins")
    source = "MNIST_SAMPLE" if real else "MNIST_SAMPLE is out of reach, its stand-in is used"
    return source, sorted(folder.glob("train/*/*.png"))

def ways_to_read(
    files:list[Path], # Pictures of one size
    cache:Path,       # Empty folder
) -> list[Way]: # The usual way first
    "From files to one tensor"
    from fastai.torch_core import tensor
    return [("read: [tensor(Image.open(o)) for o in files]",
             lambda: torch.stack([tensor(Image.open(o)) for o in files]), None),
            ("read: decode_images", lambda: decode_images(files), None),
            ("read: read_images, from its cache", lambda: read_images(files, cache), 5.)]

def ways_through_an_epoch(
    xs:Tensor, # Shape (pictures, pixels)
    ys:Tensor, # Shape (pictures, 1)
) -> list[Way]: # The usual way first
    "Train a linear model for one shuffled epoch"
    from fastai.data.load import DataLoader as FastaiLoader
    from torch.utils.data import DataLoader
    pairs = list(zip(xs, ys, strict=True))
    fastai_loader, torch_loader = FastaiLoader(pairs, bs=BATCH_SIZE, shuffle=True), DataLoader(pairs, BATCH_SIZE,
        shuffle=True)
    def epoch_from(make_batches):
        model = nn.Linear(xs.shape[1], 1)
        return lambda: fit(model, BasicOptimizer(model.parameters(), 0.1), mnist_loss, make_batches, epochs=1)
    return [("epoch, shuffled: fastai's DataLoader", epoch_from(lambda: fastai_loader), None),
            ("epoch, shuffled: torch's DataLoader", epoch_from(lambda: torch_loader), None),
            ("epoch, shuffled: batches", epoch_from(lambda: batches(xs, ys, BATCH_SIZE, shuffle=True)), 2.5)]

def main() -> int: # Exit status: 0 where all claims hold
    "Run both comparisons"
    quiet(); seed_everything()
    torch.set_num_threads(1) # these steps are too small to share, and on a busy machine threads wait for each other
    source, files = find_pictures()
    print(f"{source}: {len(files):,} pictures; {device_name()}, one thread; fastest of {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as folder:
        reading = ways_to_read(files, Path(folder))
        pictures = reading[0][1]()
        for name, read, _ in reading:
            if not torch.equal(read(), pictures): sys.exit(f"{name} gives other pixels than the usual way")
        claims = [compare(reading)]
    repeats = -(-EPOCH//len(files))
    xs = (pictures.flatten(1).float()/255).repeat(repeats, 1)
    ys = torch.tensor([[int(file.parent.name == "3")] for file in files]).repeat(repeats, 1)
    claims.append(compare(ways_through_an_epoch(xs, ys)))
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())
