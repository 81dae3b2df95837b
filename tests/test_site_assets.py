"What is alive on the site: loaded on a click, without a kernel, in light and dark; a page without it says so"
import json
import re

import numpy as np
import pytest
from browser import served, start_browser
from small_runtime import pretend_runtime
from test_web_app import drawing

from course_lib.apps.parts import colour_bundle
from course_lib.apps.web_app import from_network, from_npm, runtime_home
from course_lib.base.env import CourseError, asset, checkout
from course_lib.tools import site_assets as module
from course_lib.tools.site_assets import (CAT_OR_DOG, WHERE_IT_LOOKS, looks_bundle, maps_at_depths,
                                          place_for, read_head, read_looks, save_looks, site_assets)

ROOT = checkout()


def colours(dest, head, **facts):
    "In place of the house network: known answers, at once"
    return colour_bundle(dest, facts["title"])


# The files

def test_the_page_of_the_app_is_there_and_what_its_owner_needs_is_not(tmp_path, monkeypatch):
    runtime = pretend_runtime(tmp_path/"runtime", monkeypatch)
    for name in ("head_bundle", "looks_bundle"): monkeypatch.setattr(module, name, colours)
    for _ in range(2): site_assets(tmp_path/"assets", runtime)
    files = [file for file in (tmp_path/"assets").rglob("*") if file.is_file()]
    names = {file.relative_to(tmp_path/"assets").as_posix() for file in files}
    needed = ("index.html", "sw.js", "model.onnx", "examples/4.jpg")
    assert {"alive.js", *(f"{app}/{name}" for app in ("cat_or_dog", "where_it_looks") for name in needed),
            "reader/index.html", "reader/reader.js", "reader/tiny_gpt.safetensors", "digits/index.html",
            "digits/digits.js", "digits/weights.js", "digits/digits.safetensors"} <= names
    assert not [name for name in names if name.endswith((".py", ".md", ".ts", ".yml"))]
    known = re.match(r"const ALIVE = (.*);\n", (tmp_path/"assets"/"alive.js").read_text(encoding="utf-8"))[1]
    titles = {"cat_or_dog": CAT_OR_DOG["title"], "where_it_looks": WHERE_IT_LOOKS["title"],
              "reader": "A small reader and writer", "digits": "Draw a digit"}
    assert json.loads(known) == {app: {"title": title, "megabytes": 1} for app, title in titles.items()}


def test_an_installed_package_has_no_site(monkeypatch):
    monkeypatch.setattr(module, "checkout", lambda: None)
    with pytest.raises(CourseError, match="holds no site"): site_assets()


def test_what_is_committed_is_small_and_what_is_built_is_not_committed():
    sizes = {file.name: file.stat().st_size for file in asset("alive").iterdir()}
    assert sizes.pop("tiny_gpt.safetensors") < 700_000 and sizes.pop("digits.safetensors") < 90_000
    assert sum(sizes.values()) < 300_000
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
        for name in ("head_bundle", "looks_bundle"): patch.setattr(module, name, colours)
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


# Where it looks: the votes of places

@pytest.fixture(scope="module")
def looking(tmp_path_factory):
    "The bundle of the site, with its real network and heads"
    heads, vocab = read_looks()
    return looks_bundle(tmp_path_factory.mktemp("looks")/"bundle", heads, vocab=vocab, **WHERE_IT_LOOKS)


def votes_of_torch(file, predictor):
    "Votes at each depth with full weights, computed by PyTorch: an array of shape (classes, rows, columns) for each"
    import timm, torch
    model = timm.create_model(module.house_network(), pretrained=True).eval()
    pixels = torch.tensor(predictor.pixels(file)).permute(2, 0, 1)[None]/255
    with torch.no_grad(): maps = maps_at_depths(model, (pixels - 0.5)/0.5)
    return [np.einsum("chw,kc->khw", found[0].numpy(), head["weights"]) + head["bias"][:, None, None]
            for found, head in zip(maps, read_looks()[0], strict=True)]


def test_kept_heads_come_back(tmp_path):
    rng = np.random.default_rng(0)
    heads = [{"weights": rng.normal(size=(n, 3)).T, # as scikit-learn gives them: column by column
               "bias": rng.normal(size=3), "error": 0.25} for n in (4, 5, 6, 7)]
    save_looks(heads, ["a", "b", "ü"], tmp_path/"heads.safetensors")
    found, vocab = read_looks(tmp_path/"heads.safetensors")
    assert vocab == ["a", "b", "ü"] and [head["error"][0] for head in found] == [0.25]*4
    for head, wanted in zip(found, heads, strict=True):
        assert np.allclose(head["weights"], wanted["weights"], atol=2e-3) and np.allclose(head["bias"], wanted["bias"])


def test_a_breed_is_named_and_its_places_differ_with_the_depth(looking):
    from course_lib.apps.predictor import load_bundle
    predictor = load_bundle(looking)
    found = {file.stem.rsplit("_", 1)[0].replace("_", " "): predictor.predict(file).label
             for file in asset("alive").glob("*.jpg")}
    wrong = {name: label for name, label in found.items() if name != label} # None of the four was in the fit
    assert len(found) == 4 and wrong in ({}, {"Ragdoll": "Birman"}), "these two look alike to people, too"
    errors = [value for name, value in predictor.facts["metrics"].items() if name.startswith("error rate")]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.15 < 0.5 < errors[0]


VOTES = """(async () => {
    const [model, picture, resize] = await Promise.all(
        ["model", "picture", "resize"].map(name => import(`./${name}.js`)));
    const settings = JSON.parse(document.querySelector("#settings").textContent);
    const classifier = await model.Classifier.load(settings, () => {}), { preprocess } = classifier.bundle;
    const decoded = await picture.decode(await (await fetch("NAME")).blob(), preprocess);
    const { votes, classes } = await classifier.classify(resize.resizePicture(decoded, preprocess));
    return { label: classes[0].label, votes: votes.map(each => ({ ...each, values: [...each.values] })) };
})()"""


@pytest.fixture(scope="module")
def app_that_looks(looking, tmp_path_factory):
    from course_lib.apps.web_app import make_web_app
    if not runtime_home().is_dir(): pytest.skip("ONNX Runtime Web is not at hand")
    return make_web_app(looking, tmp_path_factory.mktemp("app")/"app", examples=sorted(asset("alive").glob("*.jpg")))


def test_the_map_in_the_browser_is_that_of_pytorch(app_that_looks, looking, browser):
    from course_lib.apps.predictor import load_bundle
    vocab, example = read_looks()[1], sorted(asset("alive").glob("*.jpg"))[0]
    wanted = votes_of_torch(example, load_bundle(looking))
    with served(app_that_looks) as url:
        page = browser.page(url)
        page.wait_for("document.body.classList.contains('ready')")
        found = page.evaluate(VOTES.replace("NAME", "examples/1.jpg"))
        kind = vocab.index(found["label"])
        assert [each["depth"] for each in found["votes"]] == WHERE_IT_LOOKS["depths"]
        for each, votes in zip(found["votes"], wanted, strict=True):
            grid = np.array(each["values"]).reshape(len(vocab), each["rows"], each["columns"])
            assert grid.shape == votes.shape
            assert np.corrcoef(grid[kind].ravel(), votes[kind].ravel())[0, 1] > 0.99 # its weights have 8 bits
        page.evaluate("document.querySelector('#examples button').click()")
        page.wait_for("!!document.querySelector('.look canvas')")
        words = page.evaluate("document.querySelector('.look canvas').getAttribute('aria-label')")
        row, column = (at + 1 for at in divmod(int(grid[kind].argmax()), 7)) # of the last depth
        assert wanted[-1][kind][row - 1, column - 1] > np.quantile(wanted[-1][kind], 0.95)
        assert words == f"Votes for {found['label']}: the strongest are in row {row} of 7, column {column} of 7"
        assert brightest(page) == (row - 1, column - 1)
        page.evaluate("document.querySelector('.look .depth').selectedIndex = 0")
        page.evaluate("document.querySelector('.look .depth').dispatchEvent(new Event('change', { bubbles: true }))")
        said = vocab[int(wanted[0].mean((1, 2)).argmax())]
        assert "of 28" in page.evaluate("document.querySelector('.look canvas').getAttribute('aria-label')")
        assert said in page.evaluate("document.querySelector('.look .said').textContent")
        assert page.errors == []
        page.close()


def brightest(page):
    "Row and column, of 7, whose middle is yellowest on the canvas once the photograph is taken away"
    seen, photo = (np.array(page.evaluate(f"""(canvas => [...canvas.getContext("2d").getImageData(0, 0, 224, 224).data])
        (document.querySelector("{place}"))""")).reshape(224, 224, 4) for place in (".look canvas", ".shown canvas"))
    layer = ((seen - 0.4*photo)/0.6)[16::32, 16::32] # 60 per cent of what is seen is the map
    yellow = layer[..., 0] + layer[..., 1] - layer[..., 2]
    return tuple(map(int, divmod(int(yellow.argmax()), 7)))
