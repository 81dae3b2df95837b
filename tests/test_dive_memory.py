"A memory that lasts: the task with a known answer, gradients of a known length, an LSTM by hand, and the last full run"
import math
import statistics

import pytest
import torch
from torch import nn

from course_lib.base.env import CourseError
from course_lib.dives.memory import HandLSTM, fading, recall_rows
from course_lib.lesson.results import load_run


def chance(seed=0): return torch.Generator().manual_seed(seed)


# The task

@pytest.mark.parametrize("count, distance", [(1, 0), (50, 1), (400, 12)])
def test_the_answer_is_the_first_letter_and_never_comes_again(count, distance):
    rows, answers = recall_rows(count, distance, chance())
    assert rows.shape == (count, 1 + distance) and torch.equal(rows[:, 0], answers) and int(answers.max()) < 4
    if distance: assert set(rows[:, 1:].unique().tolist()) <= {4, 5, 6, 7}
    assert torch.equal(rows, recall_rows(count, distance, chance())[0])


def test_what_comes_between_says_nothing():
    rows, answers = recall_rows(8000, 2, chance())
    for letter in range(4, 8):
        shares = torch.bincount(answers[rows[:, 1] == letter], minlength=4)/(rows[:, 1] == letter).sum()
        assert (shares - 0.25).abs().max() < 0.04


@pytest.mark.parametrize("count, distance", [(0, 5), (-1, 5), (3, -1)])
def test_impossible_rows_are_refused(count, distance):
    with pytest.raises(CourseError, match=f"{count} rows with {distance} letters"):
        recall_rows(count, distance, chance())


# The gradient

@pytest.mark.parametrize("factor", [0.5, 0.9, 1., 1.2])
def test_a_turn_times_a_factor_leaves_the_factor_at_each_step(factor):
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(7, 7))[0]
    torch.testing.assert_close(fading(lambda state: state @ (factor*turn), torch.randn(3, 7), 12),
                               factor**torch.arange(13.), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [-1., 0., 3.])
def test_along_a_cell_the_gate_that_keeps_is_what_is_left(bias):
    torch.manual_seed(0)
    layer = nn.LSTM(4, 4, batch_first=True)
    with torch.no_grad():
        for weights in layer.parameters(): weights.zero_()
        layer.bias_ih_l0[4:8] = bias
    nothing = torch.zeros(3, 1, 4)
    def step(cell): return layer(nothing, (torch.zeros(1, 3, 4), cell[None]))[1][1][0]
    keep = 1/(1 + math.exp(-bias))
    torch.testing.assert_close(fading(step, torch.randn(3, 4), 10), keep**torch.arange(11.), rtol=1e-4, atol=1e-7)


def test_no_step_leaves_all_of_the_gradient():
    assert fading(lambda state: 1/0, torch.ones(2, 3), 0).tolist() == [1]


# The LSTM

@pytest.fixture(params=[(1, 1, 1), (2, 5, 3), (5, 3, 16)], ids=str)
def twins(request):
    "(ours, PyTorch's) with the same weights, and an input"
    rows, n_in, n_hid = request.param
    torch.manual_seed(0)
    ours, theirs = HandLSTM(n_in, n_hid), nn.LSTM(n_in, n_hid, batch_first=True)
    with torch.no_grad():
        for here, there in ((ours.from_input, "ih"), (ours.from_state, "hh")):
            here.weight.copy_(getattr(theirs, f"weight_{there}_l0"))
            here.bias.copy_(getattr(theirs, f"bias_{there}_l0"))
    return ours, theirs, torch.randn(rows, 9, n_in)


def test_states_cell_and_gradients_are_those_of_pytorch(twins):
    ours, theirs, xb = twins
    (mine, (state, cell)), (yours, (last, last_cell)) = ours(xb), theirs(xb)
    torch.testing.assert_close(mine, yours)
    torch.testing.assert_close((state, cell), (last[0], last_cell[0]))
    mine.pow(2).sum().backward()
    yours.pow(2).sum().backward()
    torch.testing.assert_close(ours.from_state.weight.grad, theirs.weight_hh_l0.grad, atol=1e-5, rtol=1e-4)


def test_a_row_may_be_read_in_two_parts(twins):
    ours, _, xb = twins
    whole, _ = ours(xb)
    begin, memory = ours(xb[:, :4])
    torch.testing.assert_close(whole, torch.cat([begin, ours(xb[:, 4:], memory)[0]], 1))


# What the last full run measured

@pytest.fixture(scope="module")
def run(): return load_run("dives/08_memory")


def recalled(run, net, distance):
    [found] = [m for m in run.measured if (m.what, m.setting) == (f"recall, {net}", f"{distance} letters between")]
    return found


def test_the_last_full_run_used_real_data(run):
    assert run.mode == "full" and run.device and [d["name"] for d in run.data] and run.data[0]["source"] != "stand-in"


def test_a_plain_network_forgets_what_an_open_lstm_remembers(run):
    for net in ("plain", "GRU", "LSTM", "LSTM, keep begins open"):
        assert min(recalled(run, net, 5).values) > 0.9 and len(set(recalled(run, net, 5).seeds)) == 3
    assert max(recalled(run, "plain", 40).values) < 0.4
    assert min(recalled(run, "LSTM, keep begins open", 20).values) > 0.9


def test_an_open_gate_reaches_as_far_as_pytorchs_start_and_farther(run):
    def mean(net, distance): return statistics.mean(recalled(run, net, distance).values)
    pairs = [(mean("LSTM, keep begins open", d), mean("LSTM", d)) for d in (5, 10, 20, 40)]
    assert all(here > there - 0.05 for here, there in pairs) and max(here - there for here, there in pairs) > 0.3


def test_three_networks_of_the_ladder_three_seeds_each(run):
    ladder = {m.what: m for m in run.measured if m.what.startswith("language model, ")}
    assert set(ladder) == {f"language model, {net}" for net in ("recurrent network", "LSTM", "tiny GPT")}
    assert all(m.metric == "perplexity" and len(m.values) == 3 and 5 < min(m.values) < max(m.values) < 1000
               for m in ladder.values())


def test_what_holds_back_was_measured_with_three_seeds(run):
    found = [m for m in run.measured if m.what.startswith("language model on very little text")]
    assert len(found) == 4 and all(len(m.values) == 3 and max(m.values) < 1000 for m in found)
