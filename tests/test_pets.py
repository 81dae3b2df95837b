"Lesson 5 and its dives: names without a label, norms that stay, votes of places, and what the last full run found"
import importlib
import statistics

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.base.env import CourseError
from course_lib.dives.where_it_looks import grad_cam, votes
from course_lib.lesson.results import load_run
from course_lib.pets import HoldNorms, unmatched

BREED = r"(.+)_\d+\.jpg$"


# Labels

@pytest.mark.parametrize("name",
                         ["my cat.jpg", "Thumbs.db", "_7.jpg", "beagle_.jpg", "beagle_7.png", "beagle_7.jpg.part",
                                  "beagle7.jpg", ""])
def test_names_without_a_label_are_listed(name): assert unmatched(["beagle_1.jpg", name], BREED) == [name]


@pytest.mark.parametrize("name", ["beagle_1.jpg", "great_pyrenees_173.jpg", "a_b_c_1.jpg", "Zürich_1.jpg"])
def test_names_with_a_label_are_not(name): assert unmatched([name], BREED) == []


def test_a_pattern_without_a_group_is_refused():
    with pytest.raises(CourseError, match="no round brackets"): unmatched(["beagle_1.jpg"], r".+_\d+\.jpg$")


# Training on stand-ins

@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "Loaders of the drawn pets"
    from fastai.vision.all import ImageDataLoaders, Resize, get_image_files
    importlib.import_module("course_lib.data.standin_photos") # knows how to draw them
    from course_lib.data.standins import build_standin
    path = build_standin("pets", tmp_path_factory.mktemp("pets"))/"images"
    return ImageDataLoaders.from_name_re(path, sorted(get_image_files(path))[::2], BREED, item_tfms=Resize(64), bs=16,
                                         seed=42,
                                         num_workers=0)


def learner(dls, pretrained=True, cbs=None, seed=42):
    from fastai.vision.all import error_rate, vision_learner
    from course_lib.base.env import seed_everything
    from course_lib.data.weights import pretrained as network
    seed_everything(seed)
    return vision_learner(dls, network("tf_efficientnet_lite0"), metrics=error_rate, pretrained=pretrained,
                          train_bn=False,
                          cbs=cbs, normalize=True)


def statistics_of(learn):
    return torch.cat([layer.running_mean for layer in learn.model[0].modules() if isinstance(layer, nn.BatchNorm2d)])


@pytest.mark.parametrize("callback, stays", [(HoldNorms, True), (None, False)])
def test_norms_stay_while_everything_else_learns(drawn, callback, stays):
    learn = learner(drawn, cbs=callback and callback())
    before, first = statistics_of(learn).clone(), next(learn.model.parameters()).detach().clone()
    with learn.no_bar(), learn.no_logging():
        learn.unfreeze()
        learn.fit_one_cycle(1, 1e-4)
    assert torch.equal(statistics_of(learn), before) == stays
    assert not torch.equal(next(learn.model.parameters()), first), "the body has learned"


def test_pretrained_weights_beat_random_ones_on_an_equal_budget(drawn):
    errors = {kind: [] for kind in (True, False)}
    for kind, found in errors.items():
        for seed in (42, 43, 44):
            learn = learner(drawn, kind, HoldNorms() if kind else None, seed)
            with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 5e-3)
            with learn.no_bar(): found.append(learn.validate()[1])
    assert statistics.mean(errors[True]) <= 0.7*statistics.mean(errors[False])


# Votes of places

def test_votes_add_up_to_the_score():
    maps, weights = torch.randn(6, 3, 4), torch.randn(5, 6)
    grid = votes(maps, weights)
    assert grid.shape == (5, 3, 4)
    torch.testing.assert_close(grid.mean((1, 2)), weights @ maps.mean((1, 2)))


@pytest.mark.parametrize("maps, weights",
                         [((3, 4), (5, 3)), ((6, 3, 4), (5, 7)), ((6, 3, 4), (6,)), ((1, 6, 3, 4), (5, 6))])
def test_votes_of_other_shapes_are_refused(maps, weights):
    with pytest.raises(ValueError, match="maps must be"): votes(torch.zeros(maps), torch.zeros(weights))


def test_grad_cam_of_a_linear_head_is_its_votes_and_leaves_no_hook():
    torch.manual_seed(0)
    body, head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()
    x = torch.randn(1, 3, 8, 8)
    grid, wanted = grad_cam(model, body, x, 2), votes(body(x)[0].detach(), head.weight.detach())[2]
    torch.testing.assert_close(grid*wanted.numel(), wanted)
    assert not body._forward_hooks


def test_grad_cam_leaves_no_hook_after_an_error():
    body = nn.Conv2d(3, 6, 3)
    with pytest.raises(IndexError):
        grad_cam(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()), body, torch.randn(1, 3, 8, 8), 9)
    assert not body._forward_hooks


# The last full runs

def figure(run, row, what, setting=""):
    [found] = [m for m in run.measured if m.row == row and m.what.startswith(what) and m.setting.startswith(setting)]
    return found


@pytest.mark.parametrize("row, what, most", [("P15", "37 breeds, linear", 0.11), ("P8", "37 breeds, one split", 0.25),
                                             ("P15", "37 breeds, fine-tuned", 0.25)])
def test_errors_of_the_last_full_run(row, what, most):
    found = figure(load_run("05_pets"), row, what)
    assert found.metric == "error_rate" and found.value <= most


def test_the_worked_example_is_the_published_one():
    assert figure(load_run("05_pets"), "P4", "softmax").value == pytest.approx(0.602469, abs=1e-5)


def test_hiding_the_strongest_place_costs_more_than_hiding_any():
    run = load_run("dives/05_where_it_looks")
    strongest, anywhere = (figure(run, "P13", f"confidence left, {place}") for place in ("strongest", "random"))
    assert strongest.value < anywhere.value - 0.02 and np.isfinite(anywhere.value)
