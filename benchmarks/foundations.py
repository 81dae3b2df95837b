"""What lesson 03 claims about speed, as ratios measured in one run on this machine, and how long its tables take.

Run `python benchmarks/foundations.py`. It takes about ten seconds and exits with 1 where a claim does not hold.
"""
import sys, tempfile, time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from timing import ROUNDS, Way, compare
from torch import Tensor

from course_lib.base.places import standins_folder
from course_lib.data.get import get_data
from course_lib.data.sources import locate
from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.foundations import matmul_broadcast, matmul_loops, matmul_rows
from course_lib.tables.image_models import merge_tables, read_table
from course_lib.tables.workbook import titanic_workbook
from course_lib.data.standins import build_standin

def ways_to_multiply(
    a:Tensor, # Shape (n, k)
    b:Tensor, # Shape (k, m)
) -> list[Way]: # The slowest way first
    "The four ways of the lesson"
    return [("multiply: three loops", lambda: matmul_loops(a, b), None),
            ("multiply: row by column", lambda: matmul_rows(a, b), 100.),
            ("multiply: broadcasting", lambda: matmul_broadcast(a, b), 1000.),
            ("multiply: a @ b", lambda: a@b, 10_000.)]

def find_set(
    name:str, # As in `get_data`
) -> tuple[str, Path]: # (where it is from, its folder)
    "A data set, or its stand-in where the real one is out of reach"
    if locate(name) is not None: return name, get_data(name)
    return f"{name} is out of reach, its stand-in", build_standin(name, standins_folder())

def report(
    what:str,     # What is done
    run:Callable, # Does it
) -> None:
    "Print how long one run takes: a time to know, and no claim"
    start = time.perf_counter()
    run()
    print(f"{what:70}{time.perf_counter() - start:8.2f} s")

def report_tables() -> None:
    "Seconds to build the workbook and to merge timm's tables"
    source, titanic = find_set("titanic")
    passengers = pd.read_csv(titanic/"train.csv")
    with tempfile.TemporaryDirectory() as folder:
        report(f"build the workbook ({source}: {len(passengers)} rows)",
               lambda: titanic_workbook(passengers, Path(folder)/"titanic.xlsx", gaps="fill"))
    source, timm_results = find_set("timm_results")
    accuracy, speed = (read_table(timm_results, which) for which in ("accuracy", "speed"))
    report(f"merge the tables ({source}: {len(accuracy):,} and {len(speed):,} rows)",
           lambda: merge_tables(accuracy, speed))

def main() -> int: # Exit status: 0 where all claims hold
    "Compare the ways to multiply, then report the tables"
    quiet(); seed_everything()
    torch.set_num_threads(1) # these matrices are too small to share
    pictures, neurons = torch.randn(5, 784), torch.randn(784, 10)
    multiplying = ways_to_multiply(pictures, neurons)
    print(f"{tuple(pictures.shape)} times {tuple(neurons.shape)}; {device_name()}, one thread; fastest of {ROUNDS} "
          f"rounds")
    for name, multiply, _ in multiplying:
        if not torch.allclose(multiply(), pictures@neurons, atol=1e-3):
            sys.exit(f"{name} gives another product than `@`")
    holds = compare(multiplying)
    report_tables()
    return 0 if holds else 1

if __name__ == "__main__": sys.exit(main())
