"Plots: Python, Node and a browser compute the same, sliders act together, and bad input is named"
import base64, hashlib, html, json, math, re, shutil, subprocess, threading
from dataclasses import dataclass

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from course_lib.base.env import CourseError
from course_lib.figures.explore import (FUNCTIONS, Picture, animate_descent, diverged_at, explore, new_figure, parse_formula, plot_descents,
                              plotly_source, plotly_style, show_matmul, some_steps, to_script)

RANDOM = np.random.RandomState(42)
X = np.linspace(-2, 2, 20)
Y = 3*X**2 + 2*X + 1 + RANDOM.normal(size=20)
CORNERS = np.array([(x, y) for x in range(-2, 3) for y in range(-2, 3)], dtype=float)
FOLDED = np.maximum(CORNERS @ [1.5, -1] + 0.5, 0)
SLIDERS = {name: (-3, 5, 1.1) for name in "abc"}
EXPLORERS = {
    "mean-square": (explore("a*x**2 + b*x + c", X, Y, name="mean-square", **SLIDERS), lambda v, x: v["a"]*x**2 + v["b"]*x + v["c"]),
    "mean-absolute": (explore("a*x**2 + b*x + c", X, Y, loss="mae", name="mean-absolute", **SLIDERS), lambda v, x: v["a"]*x**2 + v["b"]*x + v["c"]),
    "bends": (explore("relu(a*x + b) - relu(-c*x)", X, Y, name="bends", **SLIDERS),
              lambda v, x: np.maximum(v["a"]*x + v["b"], 0) - np.maximum(-v["c"]*x, 0)),
    "fold": (explore("relu(a*x + b*y + c)", CORNERS, FOLDED, name="fold", **SLIDERS),
             lambda v, x, y: np.maximum(v["a"]*x + v["b"]*y + v["c"], 0)),
    "broken": (explore("a*log(x - b) + c", X, Y, name="broken", **SLIDERS), None),
} # {name: (explorer, the same model in plain NumPy)}
MOVES = {"a": 3.02, "b": 1.98} # In this order; b after a


def descent(lr, steps):
    "A real path on the MSE of the quadratic"
    columns, rows = np.stack([X**2, X, X**0]), [np.full(3, 1.1)]
    for _ in range(steps): rows.append(rows[-1] - lr*2*columns @ (rows[-1] @ columns - Y)/len(X))
    return np.array(rows)


def animate(history, **options):
    return animate_descent("a*x**2 + b*x + c", X, Y, history, **{"names": "abc"} | options)


# One formula, two languages

FORMULAS = ["a*x**2 + b*x + c", "-x**2", "(-x)**2", "-a**-b", "2**3**2", "(2**3)**2", "-2**2", "a**b**c", "a - b - c", "a - (b - c)", "a/b/c", "a/(b/c)",
            "a/b*c", "-(-a)", "a--b", "2*-a", "a**-1", "x**0.5", "1e-3*a + 1_000 + 0x10", "1**(1/0)", "(-1)**(1/0)", "0/0 + a", "maximum(a, 0/0)", "a/0",
            "relu(a*x + b) + relu(-c*x)", "minimum(maximum(a, b), -c)", *(f"{name}({', '.join('abc'[:f.n_arguments])})" for name, f in FUNCTIONS.items())]


@pytest.fixture(scope="module")
def in_node():
    "{formula: its values in Node} for many random settings, and the settings"
    node = shutil.which("node")
    if node is None: pytest.skip("no Node.js found")
    settings = [dict(zip("abcx", values, strict=True)) for values in RANDOM.uniform(-3, 3, size=(200, 4)).tolist()]
    settings += [dict(zip("abcx", values, strict=True)) for values in ((0., 0., 0., 0.), (1., -1., 2., -2.), (1., 1., 1., 1.), (-8., 1/3, 0.5, 4.))]
    functions = ",".join(f"v => {parse_formula(text, 'abcx').javascript}" for text in FORMULAS)
    program = f"console.log(JSON.stringify([{functions}].map(f => {json.dumps(settings)}.map(v => String(f(v))))))"
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    values = [[float(value.replace("Infinity", "inf")) for value in row] for row in json.loads(done.stdout)]
    return dict(zip(FORMULAS, values, strict=True)), settings


@pytest.mark.parametrize("text", FORMULAS)
def test_python_and_javascript_agree(text, in_node):
    values, settings = in_node
    formula = parse_formula(text, "abcx")
    ours = [float(formula(**setting)) for setting in settings]
    np.testing.assert_allclose(values[text], ours, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text, value", [("-x**2", -9), ("2**3**2", 512), ("-2**-1", -0.5), ("1 - 2 - 3", -4), ("8/4/2", 1), ("x*x/x", 3), ("relu(-x)", 0),
                                         ("maximum(x, 5)", 5), ("abs(-x)", 3), ("exp(0)", 1)])
def test_a_formula_means_what_python_means(text, value):
    assert parse_formula(text, "x")(x=3) == value


@pytest.mark.parametrize("text, words", [
    ("__import__('os')", "no function `__import__`"), ("x.__class__", "`x.__class__` cannot be part"), ("x[0]", "`x[0]` cannot"),
    ("[x for x in (1,)]", "cannot be part"), ("lambda: x", "`lambda: x` cannot"), ("'x'", "cannot be part"), ("1j*x", "`1j` cannot"), ("True*x", "`True` cannot"),
    ("x if x else x", "cannot be part"), ("x < 1", "`x < 1` cannot"), ("x and x", "cannot be part"), ("x % 2", "`x % 2` cannot"), ("x // 2", "cannot be part"),
    ("x @ x", "cannot be part"), ("~x", "cannot be part"), ("not x", "cannot be part"), ("(y := x)", "cannot be part"), ("f'{x}'", "cannot be part"),
    ("relu(x, 1)", "takes 1 argument(s), got 2"), ("maximum(x)", "takes 2 argument(s), got 1"), ("relu(value=x)", "`relu(value=x)` cannot"),
    ("relu(*x)", "`*x` cannot"), ("slope(x)", "no function `slope`"), ("tan(x)", "Did you mean 'tanh'"), ("1e999*x", "cannot be part"),
    ("9"*400, "cannot be part"), ("9"*5000, "cannot be read"), ("", "cannot be read"), ("x; x", "cannot be read"), ("2x", "write 2*x for 2x"),
    ("x\0", "cannot be read"), ("("*300 + "x" + ")"*300, "cannot be read"), ("-"*20_000 + "x", "cannot be read"), ("sloep*x", "Did you mean 'slope'?"),
])
def test_what_is_no_formula_is_named(text, words):
    with pytest.raises(CourseError, match=re.escape(words)): parse_formula(text, ["x", "slope"])


# Bad input to `explore`

@pytest.mark.parametrize("changes, words", [
    (dict(a=(1, 1)), "The slider `a` needs a low end below its high end, got 1 and 1. Give it some width"), (dict(a=(5, -1)), "got 5 and -1"),
    (dict(a=(0, 1, 2)), "The slider `a` starts at 2, outside of 0 to 1"), (dict(a=(0, math.inf)), "The slider `a` holds inf"),
    (dict(a=(math.nan, 1)), "The slider `a` holds nan"), (dict(a=(0, 1, 0.5, 0)), "step above 0"), (dict(a=(0, 1, 0.5, 2)), "at most 1, got 2"),
    (dict(a=(0, 1, 0.5, 0.1, 7)), "takes (low, high)"), (dict(a=3), "takes (low, high)"), (dict(a="low"), "The slider `a` must be numbers"),
    (dict(y=np.where(X > 1, np.nan, Y)), "`y` holds nan at position 15"), (dict(x=[math.inf]*20), "`x` holds inf at position 0"),
    (dict(y=Y[:-1]), "one number for each of the 20 rows of `x`, got shape (19,)"), (dict(y=np.stack([Y, Y], 1)), "got shape (20, 2)"),
    (dict(x=[], y=[]), "`x` is empty"), (dict(x=np.zeros((20, 3))), "got (20, 3)"), (dict(x=np.zeros(5001), y=np.zeros(5001)), "at most 5,000"),
    (dict(loss="mes"), "There is no loss 'mes'. Did you mean 'mse'"), (dict(loss=None), "There is no loss None"),
    (dict(expression="a*x + y"), "uses `y`, which is neither an input nor a parameter"), (dict(d=(0, 1)), "does not use the slider `d`"),
    (dict(expression="a*z"), "uses `z`"), (dict(name="no spaces"), "got 'no spaces'"), (dict(name='"><script>'), "letters, digits"),
])
def test_bad_input_is_named(changes, words):
    given = dict(expression="a*x", x=X, y=Y, a=(-1, 5)) | changes
    with pytest.raises(CourseError, match=re.escape(words)): explore(**given).picture()


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
@pytest.mark.parametrize("kind", ["array", "list", "series", "float32"])
def test_data_may_come_in_many_forms(shape, kind):
    convert = {"array": np.asarray, "list": np.ndarray.tolist, "float32": np.float32, "series": lambda values: values}[kind]
    if kind == "series":
        pandas = pytest.importorskip("pandas")
        convert = pandas.Series if len(shape) == 1 else pandas.DataFrame
    ours = explore("a*x", convert(X.reshape(shape)), convert(Y.reshape(shape)), a=(-1, 5, 2))
    assert ours.loss_at() == pytest.approx(((2*X - Y)**2).mean(), rel=1e-6)


def test_tensors_that_need_gradients_are_welcome():
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.bfloat16, requires_grad=True)
    assert explore("a*x", x, torch.tensor(Y)[:, None], a=(-1, 5, 2)).loss_at() == pytest.approx(((2*x.detach().double().numpy() - Y)**2).mean())


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
    second = threading.Thread(target=lambda: (begun.wait(5), setattr(b, "value", MOVES["b"])))
    second.start()
    a.value = MOVES["a"]
    second.join(10)
    assert image.value == png(explorer, **MOVES)


# In a browser

REPORT = """
<script>
const report = {};
const picked = name => document.querySelector(`[data-name="${name}"] .plot`);
const move = (name, slider, value) => {
  const input = document.querySelector(`[data-name="${name}"] input[name="${slider}"]`);
  input.value = value;
  input.dispatchEvent(new Event("input", {bubbles: true}));
};
const look = name => {
  const plot = picked(name), shown = plot.data[1], box = plot.parentElement;
  return {title: plot.querySelector(".gtitle").textContent, x: shown.x, y: shown.y, z: shown.z ?? null,
          outputs: [...box.querySelectorAll("output")].map(o => o.textContent), note: box.querySelector(".note").hidden};
};
setTimeout(async () => {
  for (const name of NAMES) {
    const seen = [look(name)];
    for (const [slider, value] of Object.entries(MOVES)) { move(name, slider, value); seen.push(look(name)); }
    document.querySelector(`[data-name="${name}"] button`).click();
    report[name] = [...seen, look(name)];
  }
  for (const [name, frame] of Object.entries(FRAMES)) {
    Plotly.animate(picked(name), [frame], {mode: "immediate", transition: {duration: 0}, frame: {duration: 0, redraw: true}});
    await new Promise(done => setTimeout(done, 500));
    report[name] = {title: picked(name).querySelector(".gtitle").textContent, data: picked(name).data,
                    steps: picked(name)._transitionData._frames.length, labels: picked(name).querySelectorAll(".updatemenu-button").length};
  }
  const told = document.createElement("pre");
  told.id = "report"; told.textContent = JSON.stringify(report);
  document.body.append(told);
}, 4000);
</script>
"""
ANIMATIONS = {
    "good": (animate(descent(0.1, 40), across="ac", name="good"), "40"),
    "wild": (animate(descent(0.5, 40), name="wild"), "6"),
    "product": (show_matmul([[1, 2], [3, 4]], [[5, 6], [7, 8]], name="product"), "1"),
} # {name: (picture, frame to go to)}


@dataclass
class Browser:
    program:str
    folder:object

    def open(self, body):
        "The page after its scripts have run"
        page = self.folder/"page.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><body>{body}", encoding="utf-8")
        done = subprocess.run([self.program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.folder/'profile'}",
                               "--virtual-time-budget=12000", "--dump-dom", page.as_uri()],
                              capture_output=True, text=True, encoding="utf-8", timeout=90)
        assert "<body" in done.stdout, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None: pytest.skip(f"no browser found; looked for {', '.join(names)}")
    return Browser(program, tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def seen(browser):
    "What the browser shows of each picture: before, after each move, and after the reset; or at a frame"
    (browser.folder/"plotly.js").write_text(get_plotlyjs(), encoding="utf-8")
    pages = [explorer.picture().page() for explorer, _ in EXPLORERS.values()] + [picture.page() for picture, _ in ANIMATIONS.values()]
    script = (REPORT.replace("NAMES", json.dumps(list(EXPLORERS))).replace("MOVES", json.dumps(MOVES))
              .replace("FRAMES", json.dumps({name: frame for name, (_, frame) in ANIMATIONS.items()})))
    shown = browser.open('<script src="plotly.js"></script>' + "".join(pages) + script)
    report = re.search(r'<pre id="report">(.*?)</pre>', shown, re.S)
    assert report, shown[-2000:]
    return json.loads(html.unescape(report[1]))


def settings(explorer):
    "The sliders at the start, after each move, and after the reset"
    first = explorer.starts
    return [first, first | {"a": MOVES["a"]}, first | MOVES, first]


@pytest.mark.parametrize("name", [name for name, (_, model) in EXPLORERS.items() if model])
def test_sliders_act_together_in_a_browser(name, seen):
    explorer, model = EXPLORERS[name]
    for shown, values in zip(seen[name], settings(explorer), strict=True):
        misses = model(values, **explorer.examples.inputs) - explorer.examples.targets
        loss = (misses**2).mean() if explorer.loss == "mse" else abs(misses).mean()
        word, number = shown["title"].split(": ")
        assert word == explorer.loss.upper() and float(number) == pytest.approx(loss, abs=6e-5)
        places = np.array(shown["x"]), np.array(shown["y"])
        if shown["z"] is None: np.testing.assert_allclose(places[1], model(values, places[0]), rtol=1e-9, atol=1e-9)
        else: np.testing.assert_allclose(shown["z"], model(values, *np.meshgrid(*places)), rtol=1e-9, atol=1e-9)
        assert shown["outputs"] == [f"{value:g}" for value in values.values()] and shown["note"]


def test_a_loss_without_a_value_is_said_in_words(seen):
    assert [shown["title"] for shown in seen["broken"]] == ["MSE: not a number"]*4


@pytest.mark.parametrize("name", ANIMATIONS)
def test_steps_work_in_a_browser(name, seen):
    picture, frame = ANIMATIONS[name]
    wanted = next(one for one in picture.figure.frames if one.name == frame)
    assert seen[name]["title"] == wanted.layout.title.text.replace("<br>", "")
    assert seen[name]["steps"] == len(picture.figure.frames) and seen[name]["labels"] == 2
    for number, trace in zip(wanted.traces or range(3), wanted.data, strict=True):
        for field in trace.to_plotly_json().keys() & {"x", "y", "z", "text"}:
            assert json.loads(json.dumps(trace[field])) == seen[name]["data"][number][field]


def test_without_plotly_the_reader_is_told(browser):
    picture = EXPLORERS["mean-square"][0].picture()
    shown = browser.open(picture.page().replace("https://cdn.plot.ly/", "missing/"))
    assert '<p class="note">Plotly\'s script could not be loaded, so there is no picture here.' in shown
    assert re.search(r'<div class="controls" hidden', shown)


@pytest.mark.parametrize("changed", [False, True], ids=["right file", "changed file"])
def test_plotly_is_loaded_once_for_two_pictures_and_checked(browser, serve, changed):
    server = serve({"plotly.js": (get_plotlyjs() + " "*changed).encode("utf-8")})
    server.headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "text/javascript"}
    pages = [EXPLORERS[name][0].picture().page() for name in ("mean-square", "bends")]
    shown = browser.open("".join(pages).replace(plotly_source()["src"], f"{server.url}/plotly.js"))
    drawn = len(re.findall(r'class="gtitle"[^>]*>MSE: \d', shown))
    assert (drawn, shown.count('<p class="note">Plotly\'s script could not be loaded')) == ((0, 2) if changed else (2, 0))
    assert len(server.asked) == 1


# Pages

def test_pages_are_the_same_every_time():
    for make in (lambda: explore("a*x", X, Y, a=(0, 1)).picture(), lambda: animate(descent(0.1, 5)), lambda: show_matmul([[1]], [[2]])):
        assert make().page() == make().page()
    names = {re.search('data-name="(.*?)"', explore("a*x", X, Y, a=(0, high)).picture().page())[1] for high in (1, 2, 1)}
    assert len(names) == 2


def test_what_a_notebook_keeps():
    bundle = explore("a*x", X, Y, a=(0, 5, 2))._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Points and a*x, with sliders for a. MSE: ") and bundle["text/plain"].endswith("at a = 2.")
    assert 'type="range" name="a" min="0.0" max="5.0" step="0.02" value="2.0"' in bundle["text/html"]


def test_no_text_can_end_the_script():
    page = Picture(new_figure(title="</script><b>"), '"</div><script>').page()
    assert page.count("</script>") == 1 and page.count("<script>") == 1 and "<b>" not in page
    assert json.loads(to_script("</script>")) == "</script>"


def test_the_hash_is_that_of_the_file():
    digest = hashlib.sha256(get_plotlyjs().encode("utf-8")).digest()
    assert plotly_source()["integrity"] == "sha256-" + base64.b64encode(digest).decode()


def test_style_is_set_once(monkeypatch):
    import plotly.io as pio
    monkeypatch.setattr(pio.templates, "default", pio.templates.default)
    monkeypatch.setattr(pio.renderers, "default", pio.renderers.default)
    plotly_style(); first = list(pio.renderers._to_activate)
    plotly_style()
    assert list(pio.renderers._to_activate) == first and pio.templates.default == "course"
    assert new_figure().layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


# Descent

LOST = [[1.1]*3, [4, 2, 1], [math.nan]*3, [1, 1, 1]]


@pytest.mark.parametrize("history, frames, last", [
    (descent(0.1, 40), 41, "step 40: MSE 0.5435"), (descent(0.1, 500), 60, "step 500: MSE"), (descent(0.5, 40), 7, "diverged at step 6: MSE"),
    (descent(0.5, 400), 7, "diverged at step 6: MSE"), (LOST, 3, "diverged at step 2: MSE not a number"), ([[1.1]*3], 1, "step 0: MSE"),
    ([[1.1]*3, [1e200]*3], 2, "diverged at step 1: MSE not a number"), ([[1.1]*3]*3, 3, "step 2: MSE"),
], ids=["good", "long", "wild", "infinite", "nan", "start only", "overflow", "no move"])
def test_descent_is_told_to_its_end(history, frames, last):
    picture = animate(history)
    assert len(picture.figure.frames) == frames and picture.figure.frames[-1].layout.title.text.startswith(last)
    page = picture.page()
    assert len(page) < 250_000 and not re.search(r"\bNaN\b|\bInfinity\b", page.split("const after")[0])


def test_descent_of_many_parameters_on_many_examples_stays_small():
    x = RANDOM.uniform(-1, 1, 500)
    names = [f"{kind}{n}" for n in range(8) for kind in "mbw"]
    expression = " + ".join(f"w{n}*relu(m{n}*x + b{n})" for n in range(8))
    history = [dict(zip(names, row, strict=True)) for row in RANDOM.normal(size=(1000, 24)).cumsum(0)/50]
    assert len(animate_descent(expression, x, np.sin(5*x), history, loss="mae").page()) < 250_000


@pytest.mark.parametrize("changes, words", [
    (dict(history=[]), "history is empty"), (dict(history=[[1, 2]]), "got shape (1, 2)"), (dict(names=None), "Name the columns"),
    (dict(history=[dict(a=1, b=2, c=3), dict(a=1)]), "Row 1 of the history has other names"), (dict(history=[[math.nan]*3]), "first row of the history holds nan"),
    (dict(history=[[1, 2, 3], [1, 2]]), "in equal rows"), (dict(across="ad"), "no parameter `d`"), (dict(across="a"), "two different parameters, got a"),
    (dict(across="abc"), "two different parameters"), (dict(fixed={"d": 1}), "no parameter `d`"), (dict(loss="msa"), "Did you mean"),
    (dict(x=CORNERS, y=FOLDED), "has two columns"), (dict(expression="a*x + b"), "does not use the parameter `c`"), (dict(expression="a*x + b + c + d"), "uses `d`"),
    (dict(expression="a*log(x) + b + c"), "no value at the start"), (dict(name="1st"), "starts with a letter"),
])
def test_bad_histories_are_named(changes, words):
    given = dict(expression="a*x**2 + b*x + c", x=X, y=Y, history=descent(0.1, 3), names="abc") | changes
    with pytest.raises(CourseError, match=re.escape(words)): animate_descent(**given)


def test_the_map_keeps_the_others_where_they_are_told():
    best, told = (animate(descent(0.1, 40), across="ac", fixed=fixed).figure.data[2].z for fixed in (None, {"b": -3}))
    assert np.min(told) > np.min(best) + 0.5


@pytest.mark.parametrize("count, most", [(1, 60), (2, 60), (60, 60), (61, 60), (1000, 60), (7, 3)])
def test_thinned_steps_keep_both_ends(count, most):
    steps = some_steps(count, most)
    assert len(steps) == min(count, most) and (steps[0], steps[-1]) == (0, count - 1) and steps == sorted(set(steps))


@pytest.mark.parametrize("losses, step", [([3, 2, 1], None), ([3, math.nan, 1], 1), ([1, 1, math.inf], 2), ([1, 1e7, 1], 1), ([0, 9e5], None)])
def test_a_run_is_lost_at_a_step(losses, step): assert diverged_at(losses) == step


@pytest.mark.parametrize("runs, scale, labels", [
    ({"steady": [3, 2, 1]}, "linear", ["steady"]), ({"steep": [1000, 10, 1]}, "log", ["steep"]), ({"exact": [1000, 1, 1, 0]}, "symlog", ["exact"]),
    ({"good": [10, 1], "wild": [10, 1e4, 1e9]}, "log", ["good", "wild (diverged at step 2)"]), ({"broken": [1, math.nan]}, "linear", ["broken (diverged at step 1)"]),
    ({"up": [1, 2]}, "linear", ["up (rising)"]), ({"zero": [0, 0]}, "linear", ["zero"]),
])
def test_runs_are_compared(runs, scale, labels):
    from matplotlib.figure import Figure
    ax = plot_descents(runs, ax=Figure().subplots())
    assert ax.get_yscale() == scale and [text.get_text() for text in ax.get_legend().texts] == labels
    assert sum(line.get_marker() == "X" for line in ax.lines) == sum("diverged" in label for label in labels)


@pytest.mark.parametrize("runs", [{}, {"none": []}, {"bad": [math.nan, 1]}])
def test_runs_without_a_start_are_refused(runs):
    with pytest.raises(CourseError): plot_descents(runs)


# Matrix products

@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (2, 3, 2), (3, 1, 4), (6, 6, 6)])
def test_each_cell_of_a_product_is_written_out(n, k, m):
    a, b = RANDOM.randint(-9, 10, (n, k)), RANDOM.randint(-9, 10, (k, m))
    frames = show_matmul(a, b).figure.frames
    assert len(frames) == n*m + 1
    for cell, frame in enumerate(frames[1:]):
        row, column = divmod(cell, m)
        where, *sums = frame.layout.title.text.split("<br>")
        left, right = " ".join(sums).split("=")
        assert where == f"row {row + 1}, column {column + 1}:" and eval(left) == int(right) == (a @ b)[row, column]
        assert frame.data[2].text[row][column] == str(int(right)) and frame.data[2].z[row][column] == 2
        assert np.flatnonzero(np.any(frame.data[0].z, axis=1)) == row and np.flatnonzero(np.any(frame.data[1].z, axis=0)) == column


@pytest.mark.parametrize("a, b, words", [
    (np.ones((2, 3)), np.ones((2, 3)), "got shapes (2, 3) and (2, 3)"), (np.ones((7, 1)), np.ones((1, 1)), "Up to 6"), (np.ones((1, 1)), np.ones((1, 7)), "Up to 6"),
    (np.ones(3), np.ones((3, 1)), "rank 2"), (np.ones((2, 2, 2)), np.ones((2, 2)), "rank 2"), ([[math.nan]], [[1]], "left matrix holds nan at position 0, 0"),
    ([[1]], [["two"]], "right matrix must be numbers"), ([[]], [[1]], "left matrix is empty"),
])
def test_matrices_that_cannot_be_shown_are_named(a, b, words):
    with pytest.raises(CourseError, match=re.escape(words)): show_matmul(a, b)
