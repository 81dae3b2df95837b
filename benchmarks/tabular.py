"""What lesson 06 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/tabular.py`. It takes about two minutes and exits with 1 where a claim does not hold; with
`--rows 1000000` the last table goes to a million rows, which takes many, and `--figure FILE` draws it.
"""
import argparse, sys, time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from fastai.tabular.all import (Categorify, CategoryBlock, FillMissing, Normalize, RandomSplitter, TabularPandas,
                                range_of)
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from timing import ROUNDS, Way, compare

from course_lib.base.env import device_name, quiet, seed_everything, usable_cores
from course_lib.figures.drawn import GREY, page_figures
from course_lib.tabular import DecisionTree, Forest

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

def numbers(
    rows:int,       # How many
    columns:int=10, # Three of them useful
) -> tuple[np.ndarray, np.ndarray]: # 32-bit floats, and answers 0 or 1
    "A made-up table of numbers"
    rng = np.random.default_rng(42)
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1]*X[:, 2] + rng.normal(size=rows) > 0).astype(int)

def ways_to_grow(
    rows:int=10_000, # Of the table
) -> list[Way]: # scikit-learn's first
    "One tree with leaves of at least five rows"
    X, y = numbers(rows)
    return [("one tree: scikit-learn's",
             lambda: DecisionTreeClassifier(min_samples_leaf=5, random_state=42).fit(X, y), None),
            ("one tree: ours", lambda: DecisionTree(min_leaf=5).fit(X, y), 1/20)]

def ways_to_bag(
    cores:int,      # To use
    rows:int=5_000, # Of the table
) -> list[Way]: # scikit-learn's first
    "Ten trees, of which each looks at three columns at a time"
    X, y = numbers(rows)
    return [("ten trees: scikit-learn's forest",
             lambda: RandomForestClassifier(10, min_samples_leaf=3, random_state=42, n_jobs=cores).fit(X, y), None),
            ("ten trees: our forest", lambda: Forest(10, min_leaf=3, n_jobs=cores).fit(X, y), None)]

Fit = Callable[[np.ndarray, np.ndarray], object] # learns from columns and answers

def learners(
    cores:int, # To use
) -> dict[str,Fit]: # The usual one first
    "Ways to learn a table; what else is to be timed joins here"
    forest = f"forest of 20 trees, {cores} core{'s'*(cores > 1)}"
    return {"histogram boosting": HistGradientBoostingClassifier(random_state=42).fit,
            "scikit-learn's tree": DecisionTreeClassifier(min_samples_leaf=5, random_state=42).fit,
            "our tree": DecisionTree(min_leaf=5).fit,
            f"scikit-learn's {forest}": RandomForestClassifier(20, min_samples_leaf=3, random_state=42,
                                                               n_jobs=cores).fit,
            f"our {forest}": Forest(20, min_leaf=3, n_jobs=cores).fit}

def seconds_by_rows(
    fits:dict[str,Fit], # {name: how to learn}
    sizes:list[int],    # Numbers of rows, rising
) -> dict[str,list]: # {name: seconds for each size, or None where it was not tried}
    "Time learning on more and more rows of one made-up table"
    X, y = numbers(max(sizes))
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

def draw_rows(
    taken:dict[str,list], # From `seconds_by_rows`
    sizes:list[int],      # The same sizes
    path:Path,            # SVG file to write
) -> None:
    "Seconds against rows, both in steps of ten; a line ends where the next step would have taken too long"
    page_figures()
    fig, ax = plt.subplots(figsize=(6.5, 3))
    for (name, seconds), style in zip(taken.items(), ("o-", "s-", "s--", "D-", "D--"), strict=True):
        known = [s for s in seconds if s is not None]
        ax.plot(sizes[:len(known)], known, style, ms=4, label=name)
    ax.axhline(PATIENCE, color=GREY, ls=":", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    fig.savefig(path, bbox_inches="tight", metadata={"Date": None})

def main() -> int: # Exit status: 0 where all claims hold
    "Compare the ways to batch, then time the learners"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="most rows of the last table")
    parser.add_argument("--figure", type=Path, help="SVG file for a drawing of that table")
    asked = parser.parse_args()
    rows = asked.rows
    quiet(); seed_everything()
    torch.set_num_threads(1)
    print(f"batches of {BATCH}; {device_name()}, one thread; fastest of {ROUNDS} rounds")
    cores = usable_cores()
    holds = all([compare(ways_to_batch()), compare(ways_to_grow()), compare(ways_to_bag(cores))])
    sizes = [size for size in (1000, 10_000, 100_000, 1_000_000) if size <= rows] or [rows]
    taken = seconds_by_rows(learners(cores), sizes)
    report_rows(taken, sizes)
    if asked.figure: draw_rows(taken, sizes, asked.figure)
    return 0 if holds else 1

if __name__ == "__main__": sys.exit(main())
