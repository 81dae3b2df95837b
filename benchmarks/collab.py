"""What lesson 07 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/collab.py`, with `--no-large` for less than a million ratings. It takes about two minutes and
exits with 1 where a claim does not hold. A model is faster only where its validation loss is as good as that of
`collab_learner` in the same run.
"""
import sys
import time
from functools import partial

import numpy as np
import torch

from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.base.places import data_home
from course_lib.collab import Factors, fit_factors
from course_lib.data.get import get_data
from course_lib.data.sources import locate
from course_lib.data.standins import build_standin
from course_lib.dives.beat_the_papers import gibbs
from course_lib.dives.ranking import top_films

SEED, FACTORS, EPOCHS = 42, 50, 5
CORES = 2
LEAST = {"epoch": 20., "gradient descent": 8., "Gibbs": 20., "lists": 4.} # How many times as fast
MOST_PER_RATING = 2. # Time for a rating among ten million, as a multiple of that among a hundred thousand


def find_ratings(): # (where they are from, a table with user, item, rating)
    "The ratings of ML-100k, or of its stand-in where the real ones are out of reach"
    import pandas as pd
    real = locate("ml_100k") is not None
    folder = get_data("ml_100k") if real else build_standin("ml_100k", data_home()/".course"/"standins")
    table = pd.read_csv(folder/"u.data", sep="\t", names=["user", "item", "rating", "time"])
    return "ML-100k" if real else "ML-100k is out of reach, its stand-in is used", table


def seconds(run): # (what it returns, how long it took)
    "Time one call"
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def shortest(run, times=3): # Seconds
    "The shortest of some calls after a first one, which sets up what the others find ready"
    run()
    return min(seconds(run)[1] for _ in range(times))


def library(table): # (loaders, loss, seconds for all epochs)
    "fastai's model as lesson 07 and the book train it"
    from fastai.collab import CollabDataLoaders, collab_learner
    dls = CollabDataLoaders.from_df(table, valid_pct=0.2, seed=SEED, bs=64)
    learn = collab_learner(dls, n_factors=FACTORS, y_range=(0, 5.5))
    with learn.no_bar(), learn.no_logging():
        _, taken = seconds(lambda: learn.fit_one_cycle(EPOCHS, 5e-3, wd=0.1))
        return dls, float(learn.validate()[0]), taken


def pairs(part): # (people and films (n, 2), ratings (n,))
    "A data set of fastai as two tensors"
    rows = part.items
    return torch.tensor(rows[["user", "item"]].to_numpy(int)), torch.tensor(rows["rating"].to_numpy(np.float32))


def descent(train, valid, counts, epochs): # Validation loss
    "Our model, trained with batches cut from one tensor"
    model = Factors(*counts, FACTORS, train[1].mean().item())
    return fit_factors(model, *train, epochs=epochs, valid=valid)[-1]


def sampled(train, valid, counts, sweeps): # Validation loss
    "The mean of a few draws"
    (x, y), (x_valid, y_valid) = ((x.numpy(), y.numpy()) for x, y in (train, valid))
    draws = gibbs(x[:, 0], x[:, 1], y, counts, factors=10, sweeps=sweeps, warm=sweeps//3)
    return float(((draws.predict(x_valid[:, 0], x_valid[:, 1]) - y_valid)**2).mean())


def first_as_good(run, tries, loss): # (its loss, seconds, what was tried last)
    "The shortest training whose loss is as good"
    for length in tries:
        found, taken = seconds(lambda length=length: run(length))
        if found <= loss: break
    return found, taken, length


def claim(name, ratio, least):
    "Print a ratio beside what is claimed, and say whether it holds"
    holds = ratio >= least
    print(f"{name:44}{ratio:8.1f}x   claim: at least {least:g}x, {'holds' if holds else 'DOES NOT HOLD'}")
    return holds


def same_loss(table): # Whether each claim holds
    "collab_learner against descent and sampling, at an equal or better validation loss"
    dls, loss, taken = library(table)
    train, valid = pairs(dls.train_ds), pairs(dls.valid_ds)
    counts = tuple(len(dls.classes[name]) for name in ("user", "item"))
    print(f"collab_learner, {EPOCHS} epochs: loss {loss:.4f}, {taken:.1f} s")
    one = shortest(lambda: descent(train, valid, counts, 1))
    run = lambda epochs: descent(train, valid, counts, epochs)
    found, ours, epochs = first_as_good(run, (5, 6, 8, 10, 15), loss)
    sampler = lambda sweeps: sampled(train, valid, counts, sweeps)
    drawn, drawing, sweeps = first_as_good(sampler, (20, 25, 30, 40, 60), loss)
    return [claim("an epoch", taken/EPOCHS/one, LEAST["epoch"]),
            claim(f"gradient descent, {epochs} epochs, loss {found:.4f}", taken/ours*(found <= loss),
                  LEAST["gradient descent"]),
            claim(f"Gibbs sampling, {sweeps} rounds, loss {drawn:.4f}", taken/drawing*(drawn <= loss), LEAST["Gibbs"])]


def drawn_ratings(count, rng): # users, items, ratings, counts
    "Made-up ratings: people grow with their number, films with its root"
    counts = max(count//100, 100), int(5*count**0.5)
    users, items = rng.integers(0, counts[0], count), rng.integers(0, counts[1], count)
    people, films = (rng.normal(size=(n, 3)) for n in counts)
    return users, items, np.einsum("nk,nk->n", people[users], films[items]) + 0.5*rng.normal(size=count), counts


def scaling(sizes): # Whether the claim holds
    "Seconds for a round of the sampler, per million ratings"
    each = []
    for count in sizes:
        users, items, ratings, counts = drawn_ratings(count, np.random.default_rng(0))
        times, rounds = (3 if count <= 1_000_000 else 1), max(2, 2_000_000//count)
        short, long = (shortest(partial(gibbs, users, items, ratings, counts, sweeps=sweeps, warm=0), times)
                       for sweeps in (1, 1 + rounds))
        each.append((long - short)/rounds/count*1e6)
        print(f"{count:12,} ratings: {each[-1]*count/1e6:8.3f} s a round, {each[-1]:.3f} s for a million")
    most = max(each)/each[0]
    print(f"{'the slowest rating against the first size':44}{most:8.1f}x   claim: at most {MOST_PER_RATING:g}x, "
          f"{'holds' if most <= MOST_PER_RATING else 'DOES NOT HOLD'}")
    return most <= MOST_PER_RATING


def lists_at_once(table): # Whether the claim holds
    "Ten films for everybody: one product, against a prediction for each person"
    users, items = table["user"].to_numpy() - 1, table["item"].to_numpy() - 1
    counts = users.max() + 1, items.max() + 1
    draws = gibbs(users, items, table["rating"].to_numpy(float), counts, factors=10, sweeps=30)
    seen = np.zeros(counts, bool); seen[users, items] = True
    everything = np.arange(counts[1])
    def one(person):
        scores = draws.predict(np.full(counts[1], person), everything, low=-9, high=9)
        return np.argsort(np.where(seen[person], np.inf, -scores), kind="stable")[:10]
    some = range(0, counts[0], max(1, counts[0]//50))
    singly, slow = seconds(lambda: [one(person) for person in some])
    at_once, fast = seconds(lambda: top_films(draws.table(), seen, 10))
    same = np.mean([np.array_equal(at_once[person], films) for person, films in zip(some, singly, strict=True)])
    if same < 0.95: sys.exit(f"Only {same:.0%} of the lists are the same both ways")
    return claim(f"lists for {counts[0]} people at once", slow/len(some)*counts[0]/fast, LEAST["lists"])


def main() -> int: # Exit status: 0 where all claims hold
    "Run all comparisons"
    quiet(); seed_everything()
    torch.set_num_threads(CORES)
    source, table = find_ratings()
    print(f"{source}: {len(table):,} ratings; {device_name()}, {CORES} threads")
    claims = same_loss(table[["user", "item", "rating"]])
    claims.append(lists_at_once(table))
    claims.append(scaling((100_000, 1_000_000) if "--no-large" in sys.argv else (100_000, 1_000_000, 10_000_000)))
    return 0 if all(claims) else 1


if __name__ == "__main__": sys.exit(main())
