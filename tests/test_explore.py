"Sliders: bad input is named, data may come in many forms, widgets act together"
import math
import re
import threading

import numpy as np
import pytest
from course_lib.base.env import CourseError
from course_lib.figures.explore import explore
from figure_examples import EXPLORERS, MOVES, X, Y

# Bad input

@pytest.mark.parametrize("changes, words", [
    (dict(a=(1, 1)), "The slider `a` needs a low end below its high end, got 1 and 1. Give it some width"),
    (dict(a=(5, -1)), "got 5 and -1"),
    (dict(a=(0, 1, 2)), "The slider `a` starts at 2, outside of 0 to 1"),
    (dict(a=(0, math.inf)), "The slider `a` holds inf"),
    (dict(a=(math.nan, 1)), "The slider `a` holds nan"), (dict(a=(0, 1, 0.5, 0)), "step above 0"),
    (dict(a=(0, 1, 0.5, 2)), "at most 1, got 2"),
    (dict(a=(0, 1, 0.5, 0.1, 7)), "takes (low, high)"), (dict(a=3), "takes (low, high)"),
    (dict(a="low"), "The slider `a` must be numbers"),
    (dict(y=np.where(X > 1, np.nan, Y)), "`y` holds nan at position 15"),
    (dict(x=[math.inf]*20), "`x` holds inf at position 0"),
    (dict(y=Y[:-1]), "one number for each of the 20 rows of `x`, got shape (19,)"),
    (dict(y=np.stack([Y, Y], 1)), "got shape (20, 2)"),
    (dict(x=[], y=[]), "`x` is empty"), (dict(x=np.zeros((20, 3))), "got (20, 3)"),
    (dict(x=np.zeros(5001), y=np.zeros(5001)), "at most 5,000"),
    (dict(loss="mes"), "There is no loss 'mes'. Did you mean 'mse'"), (dict(loss=None), "There is no loss None"),
    (dict(expression="a*x + y"), "uses `y`, which is neither an input nor a parameter"),
    (dict(d=(0, 1)), "does not use the slider `d`"),
    (dict(expression="a*z"), "uses `z`"), (dict(name="no spaces"), "got 'no spaces'"),
    (dict(name='"><script>'), "letters, digits"),
])
def test_bad_input_is_named(changes, words):
    given = dict(expression="a*x", x=X, y=Y, a=(-1, 5)) | changes
    with pytest.raises(CourseError, match=re.escape(words)): explore(**given).page_figure()


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
@pytest.mark.parametrize("kind", ["array", "list", "series", "float32"])
def test_data_may_come_in_many_forms(shape, kind):
    convert = {"array": np.asarray, "list": np.ndarray.tolist, "float32": np.float32,
               "series": lambda values: values}[kind]
    if kind == "series":
        pandas = pytest.importorskip("pandas")
        convert = pandas.Series if len(shape) == 1 else pandas.DataFrame
    ours = explore("a*x", convert(X.reshape(shape)), convert(Y.reshape(shape)), a=(-1, 5, 2))
    assert ours.loss_at() == pytest.approx(((2*X - Y)**2).mean(), rel=1e-6)


def test_tensors_that_need_gradients_are_welcome():
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.bfloat16, requires_grad=True)
    wanted = ((2*x.detach().double().numpy() - Y)**2).mean()
    assert explore("a*x", x, torch.tensor(Y)[:, None], a=(-1, 5, 2)).loss_at() == pytest.approx(wanted)


# Sliders as widgets

@pytest.mark.parametrize("name", ["mean-square", "mean-absolute", "fold"])
def test_widgets_act_together(name):
    explorer, model = EXPLORERS[name]
    image, a, b, c, again = explorer.live().children
    first = image.value
    a.value = MOVES["a"]
    b.value = MOVES["b"]
    assert image.value == explorer.png(**MOVES) != first
    misses = model(explorer.starts | MOVES, **explorer.examples.inputs) - explorer.examples.targets
    loss = (misses**2).mean() if explorer.loss == "mse" else abs(misses).mean()
    assert explorer.draw(**MOVES).axes[0].get_title() == f"{explorer.loss.upper()}: {loss:.4f}"
    again.click()
    assert (image.value, a.value, b.value) == (first, 1.1, 1.1)


def test_widgets_that_move_at_once(monkeypatch):
    "JupyterLab may report moves in several threads; the last picture shows all of them, however long one took"
    explorer, _ = EXPLORERS["mean-square"]
    image, a, b, *_ = explorer.live().children
    begun, png = threading.Event(), type(explorer).png
    def slow(self, **values):
        picture = png(self, **values)
        if not begun.is_set(): begun.set(); second.join(0.3) # Meanwhile the other one moves
        return picture
    monkeypatch.setattr(type(explorer), "png", slow)
    second = threading.Thread(target=lambda: (begun.wait(60), setattr(b, "value", MOVES["b"])))
    second.start()
    a.value = MOVES["a"]
    second.join(60)
    assert image.value == png(explorer, **MOVES)
