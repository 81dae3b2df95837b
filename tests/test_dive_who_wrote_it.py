"Who wrote it: what the dive defines, against writers whose habits are known; and what its last full run measured"
import math

import numpy as np
import pytest
import torch

from course_lib.dives.who_wrote_it import accused, caught, green_list, rewritten, surprise, write, z_scores
from course_lib.lesson.results import load_run

VOCAB = 50


class Planted:
    "Says the same of every place: the chances that it was given, and [UNK] and [BOS] never"
    def __init__(self, chances): self.scores = torch.tensor([0, 0, *chances], dtype=torch.float).log()
    def reset(self): pass
    def __call__(self, xb): return self.scores.expand(*xb.shape, -1).clone()


def even(words): return Planted([1/words]*words + [0]*(VOCAB - 2 - words))


def texts_of(model, count=200, length=40, **more):
    rows = write(model, count, length, **more)
    return torch.cat([torch.ones(count, 1, dtype=torch.long), rows], 1)


@pytest.fixture(scope="module")
def people(): return texts_of(even(48), seed=1)


# Writing and reading

def test_pieces_are_drawn_by_their_chances():
    rows = write(Planted([0.5, 0.3, 0.2]), 400, 50, seed=3)
    shares = np.bincount(rows.flatten(), minlength=5)/rows.numel()
    assert shares == pytest.approx([0, 0, 0.5, 0.3, 0.2], abs=0.02)


def test_a_temperature_makes_the_likely_likelier():
    model = Planted([0.5, 0.3, 0.2])
    share = lambda temperature: (write(model, 200, 50, temperature) == 2).float().mean().item()
    assert share(0.5) == pytest.approx(0.25/0.38, abs=0.02) and share(2.) < 0.45 and share(0.01) == 1


def test_what_is_favoured_depends_on_the_piece_before():
    after = torch.full((VOCAB, VOCAB), -torch.inf)
    after[torch.arange(VOCAB), (torch.arange(VOCAB) - 1)%48 + 2] = 0 # the next one but one
    rows = write(even(48), 5, 30, favour=lambda before: after[before])
    assert torch.equal(rows[:, 1:], (rows[:, :-1] - 1)%48 + 2)


def test_the_surprise_of_an_even_choice_is_the_log_of_its_words(people):
    assert surprise(even(48), people) == pytest.approx(math.log(48), abs=1e-4)
    assert surprise(even(48), people).shape == (200, 40)


def test_each_piece_has_its_own_surprise():
    assert surprise(Planted([0.5, 0.25, 0.25]), torch.tensor([[1, 2, 3, 2]]))[0] == pytest.approx(np.log([2, 4, 2]))


# Detectors

def test_a_threshold_holds_on_people_like_those_that_set_it():
    rng = np.random.default_rng(0)
    known, others, machine = rng.normal(size=20_000), rng.normal(size=20_000), rng.normal(2.33, 1, 20_000)
    assert caught(known, others) == pytest.approx(0.01, abs=0.004)
    assert caught(known, machine) == pytest.approx(0.5, abs=0.02) # 2.33 deviations: one in a hundred
    assert caught(known, known, alarms=0.2) == pytest.approx(0.2, abs=0.001)


def test_the_plain_writer_is_accused_whatever_she_writes_and_the_rich_one_never():
    judge = Planted([4/64]*8 + [0.5/40]*40) # prefers the eight plain words
    score = lambda rows: -surprise(judge, rows).mean(1)
    rich, plain = texts_of(even(48), seed=5), texts_of(even(8), seed=6)
    both = np.concatenate([score(texts_of(even(48), seed=7)), score(texts_of(even(8), count=10, seed=8))])
    assert caught(both, score(rich), 0.04) == 0 and caught(both, score(plain), 0.05) > 0.9


@pytest.mark.parametrize("numbers, wanted", [
    ((1000, 0.05, 0.99, 0.01), (59, 9.5)), ((1000, 0.05, 0.26, 0.09), (98.5, 85.5)), ((1000, 0, 1, 0.01), (10, 10)),
    ((1000, 1, 0.5, 0.5), (500, 0)), ((1000, 0.05, 0.8, 0.02), (59, 19))])
def test_the_accused_are_counted(numbers, wanted): assert accused(*numbers) == pytest.approx(wanted)


# Getting away

@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_only_a_share_is_written_anew_and_the_old_text_stays(share, people):
    before = people.clone()
    new = rewritten(Planted([1, *[0]*47]), people, share) # would write the same piece always
    assert torch.equal(people, before) and torch.equal(new[:, 0], before[:, 0])
    assert (new[:, 1:] != before[:, 1:]).float().mean() == pytest.approx(share*47/48, abs=0.02)
    assert ((new == before) | (new == 2)).all()


# The watermark

GREEN = green_list(VOCAB, 2023)


@pytest.fixture(scope="module")
def marked(): return texts_of(even(48), favour=lambda before: 2.*GREEN[before])


def test_sixteen_green_pieces_are_four_deviations():
    row = [1]
    while len(row) < 17: row.append(int(GREEN[row[-1]].nonzero()[-1]))
    assert z_scores(torch.tensor([row]), GREEN) == pytest.approx([4])


def test_people_are_about_nought_and_the_mark_is_found_by_its_key_alone(people, marked):
    z = z_scores(people, GREEN)
    assert abs(z.mean()) < 0.5 and 0.8 < z.std() < 1.3 and (z > 4).mean() < 0.01
    share = math.e**2/(1 + math.e**2) # of green pieces, where half of all are green and each as likely
    assert z_scores(marked, GREEN).mean() == pytest.approx((share - 0.5)*40/math.sqrt(10), abs=0.4)
    assert abs(z_scores(marked, green_list(VOCAB, 1)).mean()) < 0.7


def test_a_new_piece_spoils_two_pairs(marked):
    whole, half = (z_scores(rewritten(even(48), marked, share), GREEN).mean() for share in (0, 0.5))
    assert half == pytest.approx(0.25*whole, abs=0.6)


# The last full run

@pytest.mark.parametrize("what, least", [("watermarked text found", 0.9), ("machine's text found by same model", 0.3)])
def test_the_full_run_found(what, least):
    run = load_run("dives/08_who_wrote_it")
    if run is None or run.mode != "full": pytest.skip("no full run is kept")
    assert next(one for one in run.measured if one.what == what).values[0] > least
