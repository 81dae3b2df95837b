"Networks compared on the same photographs, held against the last full run"
import statistics

import pytest

from course_lib.lesson.results import load_run

RUN = load_run("dives/05_backbones")
LITE = [("tf_efficientnet_lite0 at 224 px", 0.10), ("tf_efficientnet_lite1 at 240 px", 0.10),
        ("tf_efficientnet_lite2 at 260 px", 0.10)]
OTHERS = [("squeezenet1_0 at 224 px", 0.30)]
SIZES = (128, 160, 192, 224, 256, 288)


def errors_of(setting, what="linear discriminant"):
    wanted = f"37 breeds, 5 folds, {what}", setting
    [found] = [figure for figure in RUN.measured if (figure.what, figure.setting) == wanted]
    return found


@pytest.mark.parametrize("setting, most", LITE + OTHERS)
def test_a_pretrained_network_was_judged_by_five_folds(setting, most):
    found = errors_of(setting)
    assert found.metric == "error_rate" and len(found.values) == 5 and 0 < statistics.mean(found.values) <= most


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "squeezenet1_0"])
def test_random_weights_are_far_behind(name):
    control = statistics.mean(errors_of(f"{name}, random at 224 px").values)
    assert control > 0.5 and control > 2*statistics.mean(errors_of(f"{name} at 224 px").values)


def test_larger_pictures_err_less_and_take_longer():
    found = [errors_of(f"tf_efficientnet_lite0 at {size} px", "other sizes") for size in SIZES]
    errors, times = [statistics.mean(f.values) for f in found], [f.seconds[0] for f in found]
    assert errors[0] > errors[2] > errors[-1] and times[0] < times[2] < times[-1]


def test_the_last_full_run_used_real_data():
    assert RUN.mode == "full" and RUN.device and {d["source"] for d in RUN.data} != {"stand-in"}
