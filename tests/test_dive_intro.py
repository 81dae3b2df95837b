"What the dives of lesson 1 export, at its edges; and what their last full runs measured"

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from course_lib.base.env import CourseError
from course_lib.dives import everything_is_a_picture as everything, what_layers_see as layers
from course_lib.lesson.results import load_run


# What the layers see

@pytest.mark.parametrize("model", [nn.Linear(3, 1), nn.Sequential(nn.Conv1d(1, 1, 3))])
def test_a_model_without_windows_is_refused(model):
    with pytest.raises(CourseError, match="has no convolution"): layers.first_convolution(model)


def test_filters_keep_their_place_and_use_the_whole_range():
    layer = nn.Conv2d(3, 4, 5)
    pictures = layers.filter_pictures(layer)
    assert pictures.shape == (4, 5, 5, 3) and pictures.min() == 0 and pictures.max() == 1
    flat = layer.weight[2].detach().flatten()
    assert np.isclose(pictures[2, 0, 1, 2], ((layer.weight[2, 2, 0, 1] - flat.min())/(flat.max() - flat.min())).item(),
                      atol=1e-6)
    layer.weight.data.fill_(1.)
    assert np.isfinite(layers.filter_pictures(layer)).all()


def test_activations_are_those_of_the_layer_and_the_hook_goes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    xb = torch.randn(2, 3, 8, 8)
    assert torch.equal(layers.activations(model, model[0], xb), model[0](xb).detach())
    with pytest.raises(RuntimeError): layers.activations(model, model[0], torch.zeros(1, 1, 8, 8))
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("row, column, left, top", [(0, 0, 0, 0), (2, 1, 17, 42), (3, 3, 60, 60)])
def test_a_patch_surrounds_the_strongest_place_and_stays_inside(tmp_path, row, column, left, top):
    shades = np.arange(100*100, dtype=np.uint32)
    pixels = np.stack([shades//256, shades%256, shades*0], -1).astype(np.uint8).reshape(100, 100, 3)  # each its own
    for name in ("weak", "strong"): Image.fromarray(pixels).save(tmp_path/f"{name}.png")
    output = torch.zeros(2, 3, 4, 4)
    output[0, 1, 0, 0], output[1, 1, row, column] = 0.5, 1
    strongest, weaker = layers.strongest_patches([tmp_path/"weak.png", tmp_path/"strong.png"], output, 1, count=2,
                                                 share=0.4, size=100)
    assert (np.array(strongest) == pixels[top:top + 40, left:left + 40]).all()
    assert (np.array(weaker) == pixels[:40, :40]).all()


# Everything can be a picture

@pytest.mark.parametrize("pitch", [250, 1000, 3000])
@pytest.mark.parametrize("window", [128, 256])
def test_a_tone_is_a_line_at_its_pitch(pitch, window):
    tone = np.sin(2*np.pi*pitch*np.arange(8000)/8000)
    rows = everything.spectrogram(tone, window)[:, 2:-2].argmax(0)
    assert set(rows.tolist()) == {round(pitch*window/8000)}


@pytest.mark.parametrize("sound", [np.zeros(10), np.zeros((2, 500)), []])
def test_what_is_no_sound_is_refused(sound):
    with pytest.raises(CourseError, match="one row of at least 256"): everything.spectrogram(sound)


def test_silence_has_a_spectrogram(): assert torch.isfinite(everything.spectrogram(torch.zeros(1000))).all()


@pytest.mark.parametrize("series", [[3., 1., 4., 1., 5.], np.arange(7), [-2, -1]])
def test_a_gramian_field_is_its_formula(series):
    values = np.asarray(series, dtype=float)
    x = 2*(values - values.min())/np.ptp(values) - 1
    wanted = np.outer(x, x) - np.outer(np.sqrt(1 - x**2), np.sqrt(1 - x**2))
    field = everything.gramian_field(series)
    assert np.allclose(field, wanted) and np.allclose(field, field.T) and np.allclose(np.diag(field), 2*x**2 - 1)


@pytest.mark.parametrize("series", [[1.], [2, 2, 2], [[1, 2], [3, 4]], [1, float("nan")], []])
def test_what_has_no_gramian_field_is_refused(series):
    with pytest.raises(CourseError, match="not all the same"): everything.gramian_field(series)


@pytest.mark.parametrize("track", [([0], [0], [0]), ([0, 1], [0, 1], [1, 0]), ([0, 1, 2], [0, 1], [0, 1, 2])])
def test_what_is_no_track_is_refused(track):
    with pytest.raises(CourseError, match="rising times"): everything.draw_track(*track)


def drawn(picture): return (picture < 1).any(2)


def test_a_mouse_at_rest_is_one_blue_point():
    picture = everything.draw_track([4, 4, 4], [7, 7, 7], [0, 1, 2], size=8)
    assert drawn(picture).sum() == 1 and np.allclose(picture[drawn(picture)], everything.SLOW)


def test_the_fast_half_of_a_track_is_red_on_white():
    picture = everything.draw_track([0, 10, 11], [0, 0, 0], [0, 1, 2], size=32)
    assert np.allclose(picture[0, 4], everything.FAST) and picture[0, 30, 2] > picture[0, 30, 0]
    assert drawn(picture)[0].all() and not drawn(picture)[1:].any()


# What was measured

def measured(dive, what, setting=""):
    found = [m for m in load_run(f"dives/{dive}").measured if m.what.startswith(what) and m.setting.startswith(setting)]
    assert found, f"no figure '{what}' for '{setting}'"
    return found


def figure(dive, what, setting=""):
    [found] = measured(dive, what, setting)
    return found.value


def test_gradients_beat_luck():
    error = {setting: figure("01_history", "a wave", setting) for setting in ("gradients", "random")}
    assert error["gradients"] < 0.05 < error["random"]/2


def test_birds_are_told_apart(): assert figure("01_everything_is_a_picture", "birds") < 0.05


def test_trained_filters_have_order():
    what = "how alike neighbouring weights"
    assert figure("01_what_layers_see", what, "trained") > figure("01_what_layers_see", what, "random") + 0.2


def test_the_leaks_were_measured():
    assert figure("01_leaks", "an illness", "split by pictures") > 0.95
    assert figure("01_leaks", "an illness", "split by patients") < 0.7
    assert figure("01_leaks", "error of a sales", "the last") > 1.5*figure("01_leaks", "error of a sales", "random")
    assert figure("01_leaks", "best of 500", "validation") > figure("01_leaks", "best of 500", "test") + 0.05


@pytest.mark.parametrize("dive, what", [("01_leaks", "an illness"), ("01_leaks", "error of a sales"),
                                        ("01_forgetting", "error on the old kinds")])
def test_what_depends_on_the_seed_is_a_median_of_five(dive, what):
    figures = [m for m in measured(dive, what) if m.seeds]
    assert figures and {(len(m.values), len(set(m.seeds))) for m in figures} == {(5, 5)}


def test_the_search_kept_what_is_good(): assert figure("01_a_search_that_fails", "addresses") == pytest.approx(8/12)


def test_more_old_photographs_help_and_more_epochs_do_not():
    error = {m.setting: m.value for m in measured("01_forgetting", "error on the old kinds") if m.seeds}
    after = {epochs: [error[f"{n} old photographs, {epochs} epochs"] for n in (0, 16, 50, 150)] for epochs in (3, 20)}
    assert after[20][0] > 0.9 and after[20][3] < 0.15 and after[20] == sorted(after[20], reverse=True)
    assert max(abs(early - late) for early, late in zip(after[3], after[20], strict=True)) < 0.15
