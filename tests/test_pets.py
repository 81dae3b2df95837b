"Lesson 5 and its dives: names without a label, norms that stay, votes of places, and what the last full run found"
import importlib
import statistics
from pathlib import Path

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


def test_a_file_is_known_by_its_name_alone():
    assert unmatched([Path("Pets_1")/"beagle_1.jpg", Path("a")/"7.jpg"], r"^([a-z]+)_") == [Path("a")/"7.jpg"]


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


# Bad input, as the page says it

def block_of(files, **how):
    "Loaders of some photographs with their breed"
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, RegexLabeller, using_attr
    block = DataBlock((ImageBlock, CategoryBlock), get_y=using_attr(RegexLabeller(BREED, match=False), "name"), **how)
    return block.dataloaders(files, bs=4, num_workers=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "A photograph of each size of three breeds: eight of two, one of the third"
    from PIL import Image
    folder = tmp_path_factory.mktemp("photos")
    for n, breed in enumerate(["Birman"]*8 + ["beagle"]*8 + ["pug"]):
        Image.new("RGB", (60 + 4*n, 90 - 2*n), (10*n, 90, 200 - 10*n)).save(folder/f"{breed}_{n}.jpg")
    return sorted(folder.iterdir(), key=lambda file: int(file.stem.rpartition("_")[2]))


def test_mixed_sizes_stop_at_the_first_batch_and_pass_when_presized(photos):
    from fastai.vision.all import IndexSplitter, Resize, aug_transforms
    halves = IndexSplitter(range(0, 16, 2))
    with pytest.raises(RuntimeError, match="stack|size"): block_of(photos[:16], splitter=halves).one_batch()
    presized = block_of(photos[:16], splitter=halves, item_tfms=Resize(96),
                        batch_tfms=aug_transforms(size=48, min_scale=0.75))
    assert presized.one_batch()[0].shape == presized.valid.one_batch()[0].shape == (4, 3, 48, 48)


def test_a_breed_with_one_photograph_is_named_where_it_judges_and_silent_where_it_learns(photos):
    from fastai.vision.all import IndexSplitter, Resize
    judges = block_of(photos, splitter=IndexSplitter([0, 1, 8, 16]), item_tfms=Resize(32))
    with pytest.raises(KeyError, match="Label 'pug' was not included in the training dataset"):
        judges.valid.one_batch()
    learns = block_of(photos, splitter=IndexSplitter([0, 1, 8, 9]), item_tfms=Resize(32))
    assert "pug" in learns.vocab and learns.vocab.o2i["pug"] not in learns.valid.one_batch()[1]


def test_one_kind_only_has_no_loss_and_no_error(photos):
    from fastai.vision.all import IndexSplitter, Resize
    learn = learner(block_of(photos[:8], splitter=IndexSplitter([0, 1]), item_tfms=Resize(32)), cbs=HoldNorms())
    assert list(learn.dls.vocab) == ["Birman"]
    with learn.no_bar(): assert list(learn.validate()) == [0, 0]


def test_a_loss_that_breaks_stops_the_training_at_that_batch(drawn):
    from fastai.vision.all import TerminateOnNaNCallback
    learn = learner(drawn, cbs=[HoldNorms(), TerminateOnNaNCallback()])
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e12)
    assert 1 <= len(learn.recorder.losses) < len(drawn.train) and learn.epoch == 0


def test_a_batch_that_fits_is_found():
    from accelerate.utils import find_executable_batch_size
    tried = []

    @find_executable_batch_size(starting_batch_size=64)
    def train(batch_size):
        tried.append(batch_size)
        if batch_size > 40: raise RuntimeError("CUDA out of memory.")
        return batch_size

    assert train() <= 40 and tried[0] == 64 and tried == sorted(tried, reverse=True)


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


NET = "tf_efficientnet_lite0, "
LIMITS = [("P15", "37 breeds, 5 folds", "logistic regression", 5, 0.10),
          ("P15", "37 breeds, 5 folds", "linear discriminant", 5, 0.09),
          ("P15", "cat or dog, 5 folds", "logistic regression", 5, 0.005),
          ("P15", "37 breeds, 5 folds", "fine-tuned from there", 5, 0.11),
          ("P8", "37 breeds, one split", "frozen, norms held", 1, 0.18)]


@pytest.mark.parametrize("row, what, way, count, most", LIMITS, ids=[f"{what}, {way}" for _, what, way, *_ in LIMITS])
def test_errors_of_the_last_full_run(row, what, way, count, most):
    found = figure(load_run("05_pets"), row, what, NET + way)
    assert found.metric == "error_rate" and len(found.values) == count and np.mean(found.values) <= most


def test_held_norms_pay_in_the_last_full_run():
    frozen, free, held = ([m.value for m in load_run("05_pets").measured if (m.what, m.setting) == (what, NET + way)]
                          for what in ("37 breeds, half size",)
                          for way in ("frozen, norms held", "fine_tune, as it comes", "fine_tune, norms held"))
    assert held < free and frozen < free and len(frozen) == 1


@pytest.mark.parametrize("way", ["logistic regression", "fine-tuned from there"])
def test_more_photographs_mean_fewer_errors(way):
    two, five, ten = (figure(load_run("05_pets"), "P15", f"{n} photographs a breed, 2 folds", NET + way).value
                      for n in (2, 5, 10))
    assert two > five > ten


def test_the_worked_example_is_the_published_one():
    assert figure(load_run("05_pets"), "P4", "softmax").value == pytest.approx(0.602469, abs=1e-5)


def test_hiding_the_strongest_place_costs_more_than_hiding_any():
    run = load_run("dives/05_where_it_looks")
    strongest, anywhere = (figure(run, "P13", f"confidence left, {place}") for place in ("strongest", "random"))
    assert strongest.value < anywhere.value - 0.02 and np.isfinite(anywhere.value)


# The benchmark's verdict

@pytest.fixture(scope="module")
def benchmark():
    "The benchmark of lesson 5, which lies outside of the package"
    import sys
    from pathlib import Path
    folder = str(Path(__file__).parents[1]/"benchmarks")
    sys.path.insert(0, folder)
    try: yield importlib.import_module("pets")
    finally: sys.path.remove(folder)


def test_the_time_to_an_error_is_a_lower_bound_where_it_is_never_reached(benchmark):
    seen = [(0.9, 5.), (0.2, 20.), (0.25, 50.)]
    assert benchmark.time_to_error(seen, 0.2) == (20., True)
    assert benchmark.time_to_error(seen, 0.1) == (50., False)


@pytest.mark.parametrize("ratio, reached, word, holds", [(12, True, "holds", True), (12, False, "lower bound", True),
                                                         (3, True, "DOES NOT HOLD", False), (3, False, "OPEN", False)])
def test_a_lower_bound_that_is_too_low_keeps_no_claim(benchmark, ratio, reached, word, holds):
    words, kept = benchmark.verdict(ratio, reached)
    assert word in words and kept == holds
