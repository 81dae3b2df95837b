"""What lesson 06 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/tabular.py`. It takes about a minute and exits with 1 where a claim does not hold; with `--rows
1000000` the last table goes to a million rows, which takes some minutes.
"""
import argparse, sys, time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from fastai.tabular.all import (Categorify, CategoryBlock, FillMissing, Normalize, RandomSplitter, TabularPandas,
                                range_of)
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from timing import ROUNDS, Way, compare

from course_lib.base.env import device_name, quiet, seed_everything, usable_cores

BATCH = 64
PATIENCE = 20. # seconds: what takes longer is not tried on more rows

def people(
    rows:int, # How many
) -> pd.DataFrame: # Four columns of numbers, two of words, and an answer
    "A made-up census"
    rng = np.random.default_rng(42)
    table = pd.DataFrame(rng.normal(size=(rows, 4)), columns=["age", "years", "hours", "gain"])
    table["work"], table["home"] = (rng.choice([f"{name}{n}" for n in range(9)], rows) for name in ("job", "town"))
    table["high"] = (table["age"] + table["years"]*table["hours"] + rng.normal(size=rows) > 0).astype(int)
    return table

def ways_to_batch(
    rows:int=20_000, # Of the table
) -> list[Way]: # fastai's loader first
    "One pass over a table in shuffled batches"
    table = people(rows)
    to = TabularPandas(table, procs=[Categorify, FillMissing, Normalize], cat_names=["work", "home"],
                       cont_names=["age", "years", "hours", "gain"], y_names="high", y_block=CategoryBlock(),
                       splits=RandomSplitter(seed=42)(range_of(table)))
    loader = to.dataloaders(bs=BATCH).train
    cats, conts = torch.tensor(to.train.cats.values).long(), torch.tensor(to.train.conts.values).float()
    targs = torch.tensor(to.train.ys.values).long()
    def from_tensors():
        order = torch.randperm(len(cats))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start:start + BATCH]
            yield cats[rows], conts[rows], targs[rows]
    for (xb, *_), (cb, *_) in zip(loader, from_tensors(), strict=True): assert xb.shape == cb.shape
    exhaust = lambda batches: sum(1 for _ in batches)
    return [("one pass: fastai's tabular DataLoader", lambda: exhaust(loader), None),
            ("one pass: slices of tensors", lambda: exhaust(from_tensors()), 20.)]

Fit = Callable[[np.ndarray, np.ndarray], object] # learns from columns and answers

def learners(
    cores:int, # To use
) -> dict[str,Fit]: # The usual one first
    "Ways to learn a table; what else is to be timed joins here"
    return {"histogram boosting": HistGradientBoostingClassifier(random_state=42).fit,
            f"forest of 20 trees, {cores} core{'s'*(cores > 1)}":
                RandomForestClassifier(20, random_state=42, n_jobs=cores).fit}

def seconds_by_rows(
    fits:dict[str,Fit], # {name: how to learn}
    sizes:list[int],    # Numbers of rows, rising
    columns:int=10,     # Of the table, half of them useless
) -> dict[str,list]: # {name: seconds for each size, or None where it was not tried}
    "Time learning on more and more rows of one made-up table"
    rng = np.random.default_rng(42)
    X = rng.normal(size=(max(sizes), columns)).astype(np.float32)
    y = (X[:, 0] + X[:, 1]*X[:, 2] + rng.normal(size=len(X)) > 0).astype(int)
    taken = {name: [] for name in fits}
    for rows in sizes:
        for name, fit in fits.items():
            last = taken[name][-1] if taken[name] else 0
            if last is None or last > PATIENCE:
                taken[name].append(None)
                continue
            start = time.perf_counter()
            fit(X[:rows], y[:rows])
            taken[name].append(time.perf_counter() - start)
    return taken

def report_rows(
    taken:dict[str,list], # From `seconds_by_rows`
    sizes:list[int],      # The same sizes
) -> None:
    "Print seconds, and how many times as long as the first way on the same rows"
    first = next(iter(taken.values()))
    print(f"\n{'rows':>46}" + "".join(f"{rows:>18,}" for rows in sizes))
    for name, seconds in taken.items():
        cells = ["not tried" if s is None else f"{s:.2f} s" + ("" if f is None else f" ({s/f:.1f}x)")
                 for s, f in zip(seconds, first, strict=True)]
        print(f"{name:>46}" + "".join(f"{cell:>18}" for cell in cells))

def main() -> int: # Exit status: 0 where all claims hold
    "Compare the ways to batch, then time the learners"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="most rows of the last table")
    rows = parser.parse_args().rows
    quiet(); seed_everything()
    torch.set_num_threads(1)
    print(f"batches of {BATCH}; {device_name()}, one thread; fastest of {ROUNDS} rounds")
    holds = compare(ways_to_batch())
    sizes = [size for size in (1000, 10_000, 100_000, 1_000_000) if size <= rows] or [rows]
    report_rows(seconds_by_rows(learners(usable_cores()), sizes), sizes)
    return 0 if holds else 1

if __name__ == "__main__": sys.exit(main())
