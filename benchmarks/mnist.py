"""What lesson 04 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/mnist.py`. It takes about half a minute and exits with 1 where a claim does not hold.
"""
import sys, tempfile, time
from collections.abc import Callable
from pathlib import Path

import torch
from fastai.data.load import DataLoader as FastaiDataLoader
from fastai.torch_core import tensor
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_lib.data import data_home, get_data, locate
from course_lib.env import device_name, seed_everything
from course_lib.mnist import BasicOptimizer, batches, decode_images, fit, mnist_loss, read_images
from course_lib.standins import build_standin

ROUNDS = 5       # the fastest of them counts: other programs can only add to a time
BATCH_SIZE = 256

Way = tuple[str, Callable, float|None] # what it is, how to do it, how many times as fast as the first way it must be

def find_pictures() -> tuple[str, list[Path]]: # (where they are from, files in order: threes, then sevens)
    "The training pictures of MNIST_SAMPLE, or of its stand-in where the real ones are out of reach"
    real = locate("mnist_sample") is not None
    folder = get_data("mnist_sample") if real else build_standin("mnist_sample", data_home()/".course"/"standins")
    return ("MNIST_SAMPLE" if real else "stand-in"), sorted(folder.glob("train/*/*.png"))

def ways_to_read(
    files:list[Path], # Pictures of one size
    cache:Path,       # Empty folder
) -> list[Way]:
    "From files to one tensor"
    return [("read: [tensor(Image.open(o)) for o in files]", lambda: torch.stack([tensor(Image.open(o)) for o in files]), None),
            ("read: decode_images", lambda: decode_images(files), None),
            ("read: read_images, from its cache", lambda: read_images(files, cache), 5.)]

def ways_through_an_epoch(
    xs:Tensor, # Shape (pictures, pixels)
    ys:Tensor, # Shape (pictures, 1)
) -> list[Way]:
    "Train a linear model for one shuffled epoch"
    pairs = list(zip(xs, ys))
    torch_batches = DataLoader(pairs, BATCH_SIZE, shuffle=True)
    fastai_batches = FastaiDataLoader(pairs, bs=BATCH_SIZE, shuffle=True)
    def epoch_from(make_batches):
        model = nn.Linear(xs.shape[1], 1)
        return lambda: fit(model, BasicOptimizer(model.parameters(), 0.1), mnist_loss, make_batches, epochs=1)
    return [("epoch: torch's DataLoader, shuffled", epoch_from(lambda: torch_batches), None),
            ("epoch: fastai's DataLoader, shuffled", epoch_from(lambda: fastai_batches), None),
            ("epoch: batches, shuffled", epoch_from(lambda: batches(xs, ys, BATCH_SIZE, shuffle=True)), 2.5)]

def seconds_of(
    ways:list[Way], # Ways to do the same
) -> list[float]: # The fastest time of each
    "Time all ways in turn, a few rounds, after one round that does not count"
    times = [[] for _ in ways]
    for _ in range(ROUNDS+1):
        for (_, run, _), kept in zip(ways, times):
            start = time.perf_counter()
            run()
            kept.append(time.perf_counter() - start)
    return [min(kept[1:]) for kept in times]

def compare(
    ways:list[Way], # Ways to do the same, the usual one first
) -> bool: # Whether every claim holds
    "Print one line for each way"
    seconds = seconds_of(ways)
    ratios = [seconds[0]/taken for taken in seconds]
    for (name, _, least), taken, ratio in zip(ways, seconds, ratios):
        claim = "" if least is None else f"  claim: at least {least:g}x, {'holds' if ratio >= least else 'DOES NOT HOLD'}"
        print(f"{name:46}{taken*1000:9.1f} ms{ratio:8.1f}x{claim}")
    return all(least is None or ratio >= least for (_, _, least), ratio in zip(ways, ratios))

def main() -> int: # Exit status: 0 where all claims hold
    "Run both comparisons"
    seed_everything()
    source, files = find_pictures()
    print(f"{source}, {len(files):,} pictures, {device_name()}, {torch.get_num_threads()} threads, fastest of {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as cache:
        reading = ways_to_read(files, Path(cache))
        pictures = reading[0][1]()
        for name, read, _ in reading: assert torch.equal(read(), pictures), f"{name} gives other pixels than the usual way"
        holds = compare(reading)
    xs = pictures.flatten(1).float()/255
    ys = torch.tensor([[file.parent.name == "3"] for file in files]).long()
    return 0 if compare(ways_through_an_epoch(xs, ys)) and holds else 1

if __name__ == "__main__": sys.exit(main())
