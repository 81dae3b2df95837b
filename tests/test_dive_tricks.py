"The fair table of tricks, held against its last full run"
import statistics

import pytest

from course_lib.lesson.results import load_run

RUN = load_run("dives/05_tricks")
WAYS = ("plain", "asked five times", "plain again", "label smoothing", "mixup", "progressive resizing")


def errors_of(way):
    [found] = [figure for figure in RUN.measured if figure.what == f"37 breeds, {way}"]
    return found


def test_all_ways_were_judged_on_the_same_splits_with_the_same_budget():
    found = [errors_of(way) for way in WAYS]
    assert len({tuple(figure.seeds) for figure in found}) == len({figure.setting for figure in found}) == 1
    assert all(len(set(figure.seeds)) == 5 and figure.metric == "error_rate" for figure in found)


@pytest.mark.parametrize("way", WAYS)
def test_no_way_is_broken(way): assert 0 < statistics.median(errors_of(way).values) < 0.35


def test_luck_alone_moves_the_error():
    [spread] = [figure.value for figure in RUN.measured if figure.what.startswith("spread of differences")]
    gains = [b - a for a, b in zip(errors_of("plain").values, errors_of("plain again").values, strict=True)]
    assert spread == pytest.approx(100*statistics.stdev(gains), abs=1e-2) and spread > 0 # in points


def test_the_last_full_run_used_real_data():
    assert RUN.mode == "full" and RUN.device and {d["source"] for d in RUN.data} != {"stand-in"}
