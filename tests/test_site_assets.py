"What is alive on the site: loaded on a click, without a kernel, in light and dark; a page without it says so"
import json
import re

import pytest
from browser import served, start_browser
from small_runtime import pretend_runtime
from test_web_app import drawing

from course_lib.apps.parts import colour_bundle
from course_lib.apps.web_app import from_network, from_npm, runtime_home
from course_lib.base.env import CourseError, asset, checkout
from course_lib.tools import site_assets as module
from course_lib.tools.site_assets import CAT_OR_DOG, place_for, read_head, site_assets

ROOT = checkout()


def colours(dest, head, **facts):
    "In place of the house network: known answers, at once"
    return colour_bundle(dest, facts["title"])


# The files

def test_the_page_of_the_app_is_there_and_what_its_owner_needs_is_not(tmp_path, monkeypatch):
    runtime = pretend_runtime(tmp_path/"runtime", monkeypatch)
    monkeypatch.setattr(module, "head_bundle", colours)
    for _ in range(2): site_assets(tmp_path/"assets", runtime)
    files = [file for file in (tmp_path/"assets").rglob("*") if file.is_file()]
    names = {file.relative_to(tmp_path/"assets").as_posix() for file in files}
    needed = ("index.html", "sw.js", "model.onnx", "examples/4.jpg")
    assert {"alive.js", *(f"cat_or_dog/{name}" for name in needed), "reader/index.html", "reader/reader.js",
            "reader/tiny_gpt.safetensors"} <= names
    assert not [name for name in names if name.endswith((".py", ".md", ".ts", ".yml"))]
    known = re.match(r"const ALIVE = (.*);\n", (tmp_path/"assets"/"alive.js").read_text(encoding="utf-8"))[1]
    assert json.loads(known) == {"cat_or_dog": {"title": CAT_OR_DOG["title"], "megabytes": 1},
                                 "reader": {"title": "A small reader and writer", "megabytes": 1}}


def test_an_installed_package_has_no_site(monkeypatch):
    monkeypatch.setattr(module, "checkout", lambda: None)
    with pytest.raises(CourseError, match="holds no site"): site_assets()


def test_what_is_committed_is_small_and_what_is_built_is_not_committed():
    sizes = {file.name: file.stat().st_size for file in asset("alive").iterdir()}
    assert sizes.pop("tiny_gpt.safetensors") < 700_000 and sum(sizes.values()) < 150_000
    assert "/nbs/assets/" in (ROOT/".gitignore").read_text(encoding="utf-8").split()
    workflow = (ROOT/".github"/"workflows"/"site.yml").read_text(encoding="utf-8")
    assert re.search(r"run: course site-assets\n.*run: nbdev-docs", workflow)
    assert "resources: [\"assets/**\"]" in (ROOT/"nbs"/"_quarto.yml").read_text(encoding="utf-8")


def test_the_model_of_the_site_knows_its_examples_and_what_is_unlike_them(tmp_path):
    from course_lib.apps.predictor import load_bundle
    predictor = load_bundle(module.head_bundle(tmp_path/"bundle", read_head(), **CAT_OR_DOG))
    found = {file.stem: predictor.predict(file) for file in asset("alive").glob("*.jpg")}
    assert {name: answer.label for name, answer in found.items()} == {
        "Bengal_10": "cat", "Ragdoll_100": "cat", "pug_127": "dog", "saint_bernard_117": "dog"}
    assert all(answer.probabilities[answer.label] > 0.9 and not answer.unlike for answer in found.values())
    drawing(1).save(tmp_path/"discs.png")
    assert predictor.predict(tmp_path/"discs.png").unlike
    assert (tmp_path/"bundle"/"model.onnx").stat().st_size < 4e6
    assert predictor.facts["metrics"]["error rate"] < 0.01


# The pages

PAGES = [path.relative_to(ROOT/"nbs").as_posix() for path in sorted((ROOT/"nbs").rglob("*.ipynb"))
         if not any(part.startswith(("_", ".")) for part in path.relative_to(ROOT).parts)]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_gives_an_app_its_place_in_the_agreed_words(page):
    cells = json.loads((ROOT/"nbs"/page).read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    for text in texts:
        if app := re.search(r'class="alive" data-app="(\w*)"', text): assert place_for(app[1], page) in text
        assert len(re.findall(r'alive\.js"></script>', text)) == len(re.findall('class="alive"', text))


def exported(folder, app="cat_or_dog"):
    "A page with a place for an app, as plain HTML"
    from markdown_it import MarkdownIt
    body = MarkdownIt("commonmark", {"html": True}).render(f"# A page\n\n{place_for(app)}")
    (folder/"page.html").write_text(f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
                                    f'<body class="quarto-dark">{body}', encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "A folder with a page and the assets, whose model knows colours"
    if not runtime_home().is_dir():
        folder = tmp_path_factory.mktemp("runtime")
        if not (from_network(folder) or from_npm(folder)):
            pytest.skip("neither the delivery network nor npm could give ONNX Runtime Web")
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "head_bundle", colours)
        site_assets(folder/"assets")
    exported(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with start_browser(tmp_path_factory.mktemp("browser")) as started: yield started


WORDS = "document.querySelector('.alive').innerText"
INSIDE = "document.querySelector('.alive iframe')?.contentDocument?"


def loaded(page): page.wait_for(f"{INSIDE}.body?.classList.contains('ready')")


def test_nothing_is_loaded_before_the_click_and_then_it_answers(site, browser):
    with served(site) as url:
        page = browser.page(f"{url}page.html")
        page.wait_for(f"{WORDS}.includes('Load the model: Cat or dog?')")
        names = "performance.getEntriesByType('resource').map(entry => entry.name.split('/').pop())"
        assert page.evaluate(names) == ["alive.js"] and page.evaluate("frames.length") == 0
        page.evaluate("document.querySelector('.alive button').focus()")
        page.press("Enter")
        loaded(page)
        assert page.evaluate("document.activeElement.tagName + document.activeElement.title") == "IFRAMECat or dog?"
        page.evaluate(f"{INSIDE}.querySelector('#examples button').click()")
        page.wait_for(f"!!{INSIDE}.querySelector('#results article li')")
        assert page.evaluate(f"{INSIDE}.querySelectorAll('#results article li').length") == 3
        assert page.wait_for("(frame => frame.offsetHeight >= frame.contentDocument.body.offsetHeight)"
                             "(document.querySelector('iframe'))")
        assert page.errors == []
        page.close()


def test_the_app_is_as_dark_as_the_page_and_as_wide(site, browser):
    with served(site) as url:
        page = browser.page(f"{url}page.html", width=390, height=844, mobile=True)
        page.call("Emulation.setEmulatedMedia", features=[]) # What is emulated would hold for the frame too
        page.wait_for("!!document.querySelector('.alive button')")
        page.click(".alive button")
        loaded(page)
        colour = f"getComputedStyle({INSIDE}.body).backgroundColor"
        page.wait_for(f"{colour} === 'rgb(18, 20, 28)'")
        page.evaluate("document.body.className = 'quarto-light'")
        page.wait_for(f"{colour} === 'rgb(246, 247, 251)'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(f"{INSIDE}.documentElement.scrollWidth <= {INSIDE}.defaultView.innerWidth")
        page.close()


@pytest.mark.parametrize("app, with_files", [("cat_or_dog", False), ("toString", True)])
def test_a_page_without_the_app_says_how_to_make_it(app, with_files, site, browser, tmp_path):
    exported(tmp_path, app)
    if with_files: (tmp_path/"assets").symlink_to(site/"assets")
    with served(tmp_path) as url:
        page = browser.page(f"{url}page.html")
        assert "This copy of the page has none: how to make it" in page.evaluate(WORDS)
        assert page.evaluate("document.querySelectorAll('.alive button').length") == 0
        page.close()
