"What lesson 1 exports, at its edges; and what its last full run measured"
import io
import statistics
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from course_lib import intro
from course_lib.data.weights import pretrained
from course_lib.base.env import CourseError
from course_lib.lesson.results import load_run


def test_a_lesson_does_not_load_the_search_and_the_download():
    code = ("import sys, course_lib.intro; "
            "print(sorted(name for name in sys.modules if name.startswith('course_lib.pictures.')))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['course_lib.pictures.reading']", done.stderr


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    "Twelve pictures of two plain colours, in a folder for each"
    root = tmp_path_factory.mktemp("photos")
    for kind, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (root/kind).mkdir()
        for number in range(6): Image.new("RGB", (32, 32), colour).save(root/kind/f"{number}.png")
    return root


@pytest.fixture(scope="module")
def dls(pets):
    from fastai.vision.all import ImageDataLoaders, Resize
    return ImageDataLoaders.from_folder(pets, valid_pct=0.5, seed=42, bs=4, item_tfms=Resize(32), num_workers=0)


@pytest.fixture(scope="module")
def learn(dls):
    from fastai.vision.all import error_rate, vision_learner
    return vision_learner(dls, pretrained("tf_efficientnet_lite0"), metrics=error_rate)


def encoded(mode, kind, size=(20, 12)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("mode, kind", [("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"),
                                        ("I;16", "PNG")])
def test_an_upload_of_any_kind_of_picture_is_classified(learn, mode, kind):
    answer = intro.classify_upload(learn, (dict(name="mine", content=memoryview(encoded(mode, kind))),))
    assert set(answer) == {"red", "blue"} and sum(answer.values()) == pytest.approx(1, abs=1e-4)
    assert list(answer.values()) == sorted(answer.values(), reverse=True)


@pytest.mark.parametrize("content",
                         [b"", b"hello", encoded("RGB", "PNG")[:40], b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_an_upload_that_is_no_picture_is_named(learn, content):
    with pytest.raises(CourseError, match="mine.png is no picture"):
        intro.classify_upload(learn, (dict(name="mine.png", content=content),))


@pytest.mark.parametrize("nothing", [(), [], None])
def test_no_upload_says_what_to_do(learn, nothing):
    with pytest.raises(CourseError, match="No picture was uploaded"): intro.classify_upload(learn, nothing)


def test_the_newest_upload_counts(learn):
    with pytest.raises(CourseError, match="second.txt"):
        intro.classify_upload(learn, (dict(name="first.png", content=encoded("RGB", "PNG")),
                                      dict(name="second.txt", content=b"x")))


@pytest.mark.parametrize("share, follow", [(0.25, True), (0.05, False)])
def test_patrols_drift_apart_only_where_they_follow_the_records(share, follow):
    ends = [abs(intro.simulate_patrols(seed, follow=follow)[-1] - 0.5) for seed in range(20)]
    assert statistics.median(ends) > share if follow else max(ends) < share


def test_the_drift_has_no_favourite():
    above = [intro.simulate_patrols(seed)[-1] > 0.5 for seed in range(40)]
    assert 8 < sum(above) < 32


@pytest.mark.parametrize("model", [nn.Linear(3, 1), nn.Sequential(nn.Conv1d(1, 1, 3))])
def test_a_model_without_windows_is_refused(model):
    with pytest.raises(CourseError, match="has no convolution"): intro.first_convolution(model)


def test_filters_keep_their_place_and_use_the_whole_range():
    layer = nn.Conv2d(3, 4, 5)
    pictures = intro.filter_pictures(layer)
    assert pictures.shape == (4, 5, 5, 3) and pictures.min() == 0 and pictures.max() == 1
    flat = layer.weight[2].detach().flatten()
    assert np.isclose(pictures[2, 0, 1, 2], ((layer.weight[2, 2, 0, 1] - flat.min())/(flat.max() - flat.min())).item(),
                      atol=1e-6)
    layer.weight.data.fill_(1.)
    assert np.isfinite(intro.filter_pictures(layer)).all()


def test_activations_are_those_of_the_layer_and_the_hook_goes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    xb = torch.randn(2, 3, 8, 8)
    assert torch.equal(intro.activations(model, model[0], xb), model[0](xb).detach())
    with pytest.raises(RuntimeError): intro.activations(model, model[0], torch.zeros(1, 1, 8, 8))
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("pitch", [250, 1000, 3000])
@pytest.mark.parametrize("window", [128, 256])
def test_a_tone_is_a_line_at_its_pitch(pitch, window):
    tone = np.sin(2*np.pi*pitch*np.arange(8000)/8000)
    rows = intro.spectrogram(tone, window)[:, 2:-2].argmax(0)
    assert set(rows.tolist()) == {round(pitch*window/8000)}


@pytest.mark.parametrize("sound", [np.zeros(10), np.zeros((2, 500)), []])
def test_what_is_no_sound_is_refused(sound):
    with pytest.raises(CourseError, match="one row of at least 256"): intro.spectrogram(sound)


def test_silence_has_a_spectrogram(): assert torch.isfinite(intro.spectrogram(torch.zeros(1000))).all()


@pytest.mark.parametrize("series", [[3., 1., 4., 1., 5.], np.arange(7), [-2, -1]])
def test_a_gramian_field_is_its_formula(series):
    values = np.asarray(series, dtype=float)
    x = 2*(values - values.min())/np.ptp(values) - 1
    wanted = np.outer(x, x) - np.outer(np.sqrt(1 - x**2), np.sqrt(1 - x**2))
    field = intro.gramian_field(series)
    assert np.allclose(field, wanted) and np.allclose(field, field.T) and np.allclose(np.diag(field), 2*x**2 - 1)


@pytest.mark.parametrize("series", [[1.], [2, 2, 2], [[1, 2], [3, 4]], [1, float("nan")], []])
def test_what_has_no_gramian_field_is_refused(series):
    with pytest.raises(CourseError, match="not all the same"): intro.gramian_field(series)


@pytest.mark.parametrize("track", [([0], [0], [0]), ([0, 1], [0, 1], [1, 0]), ([0, 1, 2], [0, 1], [0, 1, 2])])
def test_what_is_no_track_is_refused(track):
    with pytest.raises(CourseError, match="rising times"): intro.draw_track(*track)


def test_a_mouse_at_rest_is_one_point():
    assert (intro.draw_track([4, 4, 4], [7, 7, 7], [0, 1, 2], size=8).sum(2) > 0).sum() == 1


def test_the_fast_half_of_a_track_is_red():
    picture = intro.draw_track([0, 10, 11], [0, 0, 0], [0, 1, 2], size=32)
    assert picture[0, 4, 0] == 1 and picture[0, 30, 2] > 0.8


def test_a_flow_has_its_boxes_and_arrows():
    _, ax = plt.subplots()
    intro.draw_flow({"inputs": (0, 0), "model": (1, 0)}, [("inputs", "model"), ("model", "inputs", 0.3)], ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["inputs", "model"]
    assert sum(text.arrow_patch is not None for text in ax.texts if hasattr(text, "arrow_patch")) == 2
    plt.close("all")


@pytest.fixture(scope="module")
def run(): return load_run("01_intro")


def measured(run, row, what): return [m for m in run.measured if m.row == row and m.what.startswith(what)]


@pytest.mark.parametrize("row, what, best, worst", [
    ("I7", "salary", 1, 0.833), ("I8", "ratings", 0, 0.66), ("I9", "sentiment", 1, 0.7),
    ("I6", "street scenes, U-Net", 0, 1.1),
    ("I3", "two kinds", 0, 0.05), ("I4", "cat or dog", 0, 0.1), ("I19", "birds", 0, 0.05)])
def test_the_figures_of_the_last_full_run(run, row, what, best, worst):
    figures = [m.value for m in measured(run, row, what)]
    assert figures and min(abs(value - best) for value in figures) <= abs(worst - best)


@pytest.mark.parametrize("row", ["I7", "I8", "I9"])
def test_what_depends_on_the_seed_is_a_median_of_five(run, row):
    figures = [m for m in run.measured if m.row == row]
    assert figures and {(len(m.values), len(set(m.seeds))) for m in figures} == {(5, 5)}


def test_the_leaks_were_measured(run):
    [random_days], [last_days] = ([m for m in measured(run, "I17", "error of a sales") if m.setting == name]
                                  for name in ("random days", "last days"))
    assert last_days.value > 1.5*random_days.value
    [pictures], [people] = ([m for m in measured(run, "I17", "behaviour") if m.setting == f"split by {name}"]
                            for name in ("pictures", "people"))
    assert pictures.value > 0.95 and people.value < 0.7
