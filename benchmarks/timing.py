"What the benchmarks share: time several ways to do the same in one run, and hold the ratios against what is claimed."
from collections.abc import Callable
from timeit import timeit

ROUNDS = 5     # the fastest of them counts: other programs can only add to a time
LEAST = 0.01   # seconds that a round takes at least: what is faster is repeated

Way = tuple[str, Callable, float|None] # what it is, how to do it, how many times as fast as the first way it must be

def seconds_of(
    ways:list[Way], # Ways to do the same
) -> list[float]: # The fastest time of each
    "Time all ways in turn, a few rounds, after one that warms up and says how often to repeat"
    runs = [run for _, run, _ in ways]
    repeats = [max(1, round(LEAST/timeit(run, number=1))) for run in runs]
    times = [[timeit(run, number=n)/n for run, n in zip(runs, repeats, strict=True)] for _ in range(ROUNDS)]
    return [min(kept) for kept in zip(*times, strict=True)]

def compare(
    ways:list[Way], # Ways to do the same, the usual one first
) -> bool: # Whether every claim holds
    "Print one line for each way"
    seconds = seconds_of(ways)
    ratios = [seconds[0]/taken for taken in seconds]
    for (name, _, least), taken, ratio in zip(ways, seconds, ratios, strict=True):
        claim = "" if least is None else (f"   claim: at least {least:g}x, "
                                          f"{'holds' if ratio >= least else 'DOES NOT HOLD'}")
        print(f"{name:46}{taken*1000:10.3f} ms{ratio:9.1f}x{claim}")
    return all(least is None or ratio >= least for (_, _, least), ratio in zip(ways, ratios, strict=True))
