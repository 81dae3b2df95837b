"Figures on a page: the same every time, safe, and in a browser what Python computes"
import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from course_lib.figures.explore import explore
from course_lib.figures.matmul import show_matmul
from course_lib.figures.page import PageFigure, plotly_source, to_script
from course_lib.figures.style import new_figure, plotly_style
from figure_examples import EXPLORERS, MOVES, X, Y, animate, descent
from plotly.offline import get_plotlyjs

# What is written

def test_pages_are_the_same_every_time():
    for make in (lambda: explore("a*x", X, Y, a=(0, 1)).page_figure(), lambda: animate(descent(0.1, 5)),
                 lambda: show_matmul([[1]], [[2]])):
        assert make().page() == make().page()
    pages = [explore("a*x", X, Y, a=(0, high)).page_figure().page() for high in (1, 2, 1)]
    names = {re.search('data-name="(.*?)"', page)[1] for page in pages}
    assert len(names) == 2


def test_what_a_notebook_keeps():
    bundle = explore("a*x", X, Y, a=(0, 5, 2))._repr_mimebundle_()
    assert re.fullmatch(r"Points and a\*x, with sliders for a\. MSE: .* at a = 2\.", bundle["text/plain"])
    assert 'type="range" name="a" min="0.0" max="5.0" step="0.02" value="2.0"' in bundle["text/html"]


def test_no_text_can_end_the_script():
    page = PageFigure(new_figure(title="</script><b>"), '"</div><script>').page()
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
          outputs: [...box.querySelectorAll("output")].map(o => o.textContent),
          note: box.querySelector(".note").hidden};
};
setTimeout(async () => {
  for (const name of NAMES) {
    const seen = [look(name)];
    for (const [slider, value] of Object.entries(MOVES)) { move(name, slider, value); seen.push(look(name)); }
    document.querySelector(`[data-name="${name}"] button`).click();
    report[name] = [...seen, look(name)];
  }
  for (const [name, frame] of Object.entries(FRAMES)) {
    Plotly.animate(picked(name), [frame],
                   {mode: "immediate", transition: {duration: 0}, frame: {duration: 0, redraw: true}});
    await new Promise(done => setTimeout(done, 500));
    report[name] = {title: picked(name).querySelector(".gtitle").textContent, data: picked(name).data,
                    steps: picked(name)._transitionData._frames.length,
                    labels: picked(name).querySelectorAll(".updatemenu-button").length};
  }
  const told = document.createElement("pre");
  told.id = "report"; told.textContent = JSON.stringify(report);
  document.body.append(told);
}, 4000);
</script>
"""
ANIMATIONS = {
    "good": (animate(descent(0.1, 40), map_params="ac", name="good"), "40"),
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
        done = subprocess.run([self.program, "--headless", "--no-sandbox", "--disable-gpu",
                               f"--user-data-dir={self.folder/'profile'}",
                               "--virtual-time-budget=12000", "--dump-dom", page.as_uri()],
                              capture_output=True, text=True, encoding="utf-8", timeout=300)
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
    figures = [explorer.page_figure() for explorer, _ in EXPLORERS.values()]
    pages = [figure.page() for figure in [*figures, *(picture for picture, _ in ANIMATIONS.values())]]
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
    picture = EXPLORERS["mean-square"][0].page_figure()
    shown = browser.open(picture.page().replace("https://cdn.plot.ly/", "missing/"))
    assert '<p class="note">Plotly\'s script could not be loaded, so there is no picture here.' in shown
    assert re.search(r'<div class="controls" hidden', shown)


@pytest.mark.parametrize("changed", [False, True], ids=["right file", "changed file"])
def test_plotly_is_loaded_once_for_two_pictures_and_checked(browser, serve, changed):
    server = serve({"plotly.js": (get_plotlyjs() + " "*changed).encode("utf-8")})
    server.headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "text/javascript"}
    pages = [EXPLORERS[name][0].page_figure().page() for name in ("mean-square", "bends")]
    shown = browser.open("".join(pages).replace(plotly_source()["src"], f"{server.url}/plotly.js"))
    drawn = len(re.findall(r'class="gtitle"[^>]*>MSE: \d', shown))
    refused = shown.count('<p class="note">Plotly\'s script could not be loaded')
    assert (drawn, refused) == ((0, 2) if changed else (2, 0))
    assert len(server.asked) == 1
