"The web app: its folder is whole and closed, it resizes as Pillow does, and a browser answers as Python does"
import functools
import hashlib
import html.parser
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from browser import served, start_browser
from conftest import tgz
from PIL import Image, ImageDraw
from small_runtime import pretend_runtime

from course_lib.apps import web_app
from course_lib.base.env import CourseError
from course_lib.apps.web_app import WEB, from_network, from_npm, integrity, make_web_app, place_runtime, runtime_home

TITLE = 'Bears: "grizzly" or </title><script>window.harmed = 1</script> & $title?'
LABELS = ["<b>grizzly</b>", "<script>window.harmed = 1</script>", "<img src=x onerror='window.harmed = 1'>",
          "black \N{BEAR FACE}", "teddy"]
SIZE = (48, 64) # Height, width


# A bundle whose network looks at every part of the picture, and differs in what it says

def grid_network(labels, seed, body=False):
    "Averages over a grid of 4 x 4, then fixed random weights that balance around grey, and a softmax"
    from onnx import TensorProto, helper, numpy_helper
    values = np.random.RandomState(seed).normal(size=(len(labels), 48)).astype(np.float32)
    cell = [SIZE[0]//4, SIZE[1]//4]
    nodes = [helper.make_node("AveragePool", ["pixels"], ["grid"], kernel_shape=cell, strides=cell),
             helper.make_node("Flatten", ["grid"], ["features"]),
             helper.make_node("Gemm", ["features", "weights", "balance"], ["logits"], transB=1),
             helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    shape = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    outputs = [shape("probabilities", shape=["n", len(labels)]), shape("features", shape=["n", 48])]
    if body: # What is before the head: here the features, squared
        nodes.append(helper.make_node("Mul", ["features", "features"], ["body"]))
        outputs.append(shape("body", shape=["n", 48]))
    graph = helper.make_graph(nodes, "grid", [shape("pixels", shape=["n", 3, *SIZE])], outputs,
                              [numpy_helper.from_array(values, "weights"),
                               numpy_helper.from_array(-values.sum(1)/2, "balance")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def make_bundle(folder, labels=LABELS, seed=0, body=False, **preprocess):
    "Write a bundle; pictures whose cells are far from grey count as unlike"
    model = grid_network(labels, seed, body)
    folder.mkdir()
    (folder/"model.onnx").write_bytes(model)
    (folder/"README.md").write_text("# The model\n", encoding="utf-8")
    (folder/"bundle.json").write_text(json.dumps({
        "format": 1, "title": TITLE, "vocab": labels, "created": "2026-01-01", "metrics": {"error_rate": 0.03412345},
        "versions": {"onnx": "1"},
        "preprocess": {"method": "crop", "pad_mode": "reflection", "size": SIZE, "resample": "bilinear",
                       "background": [255, 255, 255]} | preprocess,
        "domain": {"means": [[0.5]*48]*len(labels), "scale": [0.3]*48, "threshold": 0.8, "quantile": 0.99},
        "sha256": {"model.onnx": hashlib.sha256(model).hexdigest()}}), encoding="utf-8")
    return folder


def drawing(seed, size=(320, 240)):
    "Discs on a ramp: shapes, edges and smooth places"
    chance, (width, height) = random.Random(seed), size
    ramps = [Image.linear_gradient("L").rotate(chance.choice([0, 90, 180, 270])).resize(size) for _ in "rgb"]
    image = Image.merge("RGB", ramps)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius = chance.random()*width, chance.random()*height, chance.random()*min(size)/3
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=tuple(chance.randrange(256) for _ in "rgb"))
    return image


# The folder, with a small stand-in for the runtime

@pytest.fixture
def small_runtime(tmp_path, monkeypatch):
    "A folder with a pretended runtime, which the module takes for the real one"
    return pretend_runtime(tmp_path/"small_runtime", monkeypatch)


@pytest.fixture
def folder(tmp_path, small_runtime):
    drawing(1).save(tmp_path/"example.png")
    return make_web_app(make_bundle(tmp_path/"bundle"), tmp_path/"app", runtime=small_runtime,
                        examples=[tmp_path/"example.png"])


class Elements(html.parser.HTMLParser):
    "The tags of a page: [(tag, attributes)]"
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes): self.found.append((tag, dict(attributes)))


def stored(folder):
    return json.loads(re.match(r"const APP = (.*);\n", (folder/"sw.js").read_text(encoding="utf-8"))[1])["files"]


def script(page, kind): return re.search(rf'<script type="{kind}"[^>]*>(.*?)</script>', page, re.S)[1]


AROUND = {"README.md", "MODEL.md", "test_app.py", "sw.js", ".gitattributes", "app.json"}


def test_the_service_worker_keeps_every_file_of_the_page(folder):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    page = {name for name in files if name not in AROUND and not name.startswith(("source/", ".github/"))}
    assert stored(folder).keys() == page
    assert {"index.html", "model.onnx", "bundle.json", "onnxruntime-web.js", "onnxruntime-web.wasm",
            "manifest.webmanifest", "examples/1.jpg"} <= page
    for name, facts in stored(folder).items():
        assert facts == {"bytes": (folder/name).stat().st_size,
                         "sha256": hashlib.sha256((folder/name).read_bytes()).hexdigest()}


def test_every_script_and_style_carries_its_hash(folder):
    page = (folder/"index.html").read_text(encoding="utf-8")
    hashed = json.loads(script(page, "importmap"))["integrity"]
    hashed |= {tag.get("src", tag.get("href")): tag["integrity"] for _,
               tag in Elements(page).found if "integrity" in tag}
    assert {address.split("?")[0] for address in hashed} == {f"./{path.name}"
                                                             for path in [*folder.glob("*.js"), *folder.glob("*.css")]
                                                             if path.name != "sw.js"}
    for address, stated in hashed.items():
        content = (folder/address.split("?")[0]).read_bytes()
        assert stated == integrity(content) and address.endswith(hashlib.sha256(content).hexdigest()[:12])
    assert json.loads(script(page, "application/json"))["files"].items() <= stored(folder).items()


def test_nothing_is_loaded_from_elsewhere(folder):
    page = (folder/"index.html").read_text(encoding="utf-8")
    for tag, attributes in Elements(page).found:
        assert not {"style", "onclick", "onload", "onerror"} & attributes.keys(), tag
        assert all("//" not in attributes.get(name, "") for name in ("src", "href", "action")), tag
    for name in ["index.html", "style.css", "sw.js", "manifest.webmanifest", *web_app.SCRIPTS]:
        assert re.findall(r"https?://\S+", (folder/name).read_text(encoding="utf-8")) == [], name


def test_the_policy_lets_nothing_else_run(folder):
    page = (folder/"index.html").read_text(encoding="utf-8")
    policy = next(tag["content"] for _,
                  tag in Elements(page).found if tag.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'"
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
    assert web_app.policy(script(page, "importmap")) == policy


def test_title_and_labels_stay_text(folder):
    page = (folder/"index.html").read_text(encoding="utf-8")
    assert [tag.get("type") for name, tag in Elements(page).found if name == "script"] == ["importmap",
        "application/json", "module"]
    assert "<b>" not in page and "onerror" not in page.replace("&#x27;", "").split("<body>")[0].split("description")[0]
    card = (folder/"README.md").read_text(encoding="utf-8")
    facts = yaml.safe_load(card.split("---")[1])
    assert facts["title"] == TITLE and facts["sdk"] == "static" and facts["app_file"] == "index.html"
    assert "<script" not in card.split("---", 2)[2]
    assert json.loads((folder/"manifest.webmanifest").read_text(encoding="utf-8"))["name"] == TITLE


def test_the_manifest_can_be_installed(folder):
    facts = json.loads((folder/"manifest.webmanifest").read_text(encoding="utf-8"))
    assert facts["display"] == "standalone" and facts["start_url"] == facts["scope"] == "./"
    assert len(facts["short_name"]) <= 24
    assert {("192x192", "any"), ("512x512", "any"),
            ("512x512", "maskable")} == {(icon["sizes"], icon["purpose"]) for icon in facts["icons"]}
    for icon in facts["icons"]:
        with Image.open(folder/icon["src"]) as image:
            assert (f"{image.width}x{image.height}", image.format) == (icon["sizes"], "PNG")


def test_the_folder_can_be_pushed_as_it_is(folder):
    rules = (folder/".gitattributes").read_text().splitlines()
    assert rules[0] == "* -text" and {rule.split()[0] for rule in rules if "filter=lfs" in rule} == {"*.onnx", "*.wasm"}
    steps = yaml.safe_load((folder/".github"/"workflows"/"pages.yml").read_text())["jobs"]["publish"]["steps"]
    assert steps[0]["with"]["lfs"] is True
    assert sorted(path.name for path in (folder/"source"/"src").iterdir()) == sorted(path.name
        for path in (WEB/"src").iterdir())
    assert (folder/"MODEL.md").read_text() == "# The model\n"


def owners_test(folder):
    return subprocess.run([sys.executable, "-I", "test_app.py"], cwd=folder, capture_output=True, text=True,
                          timeout=300)


@pytest.mark.parametrize("change, words", [
    (lambda folder: None, "OK"), (lambda folder: (folder/"resize.js").write_text("changed"), "resize.js"),
    (lambda folder: (folder/"model.onnx").write_text("version https://git-lfs.github.com/spec/v1\n"),
     "only a pointer of git-lfs"),
    (lambda folder: (folder/"icon-512.png").unlink(), "icon-512.png"),
])
def test_the_owners_test_sees_what_is_wrong(folder, change, words):
    change(folder)
    done = owners_test(folder)
    assert words in done.stderr and done.returncode == (words != "OK")


def test_examples_say_nothing_about_where_they_were_taken(tmp_path, small_runtime):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera maker"
    drawing(3, (1800, 900)).save(tmp_path/"photo.jpg", exif=exif)
    app = make_web_app(make_bundle(tmp_path/"bundle"), tmp_path/"app", runtime=small_runtime,
                       examples=[tmp_path/"photo.jpg"])
    with Image.open(app/"examples"/"1.jpg") as example:
        assert (example.size, dict(example.getexif())) == ((400, 800), {})


# Made again. What holds for every kind of app, such as what is refused and what the owner keeps, is in test_parts.py

def version(folder):
    return re.match(r'const APP = \{"version": "(\w+)"', (folder/"sw.js").read_text(encoding="utf-8"))[1]


def again(folder, runtime, labels=LABELS, seed=0, **options):
    "Make the app of `folder` again, with another model"
    shutil.rmtree(folder.parent/"bundle")
    return make_web_app(make_bundle(folder.parent/"bundle", labels, seed), folder, runtime=runtime, **options)


def test_an_update_is_whole_and_its_version_is_another(folder, tmp_path, small_runtime):
    old, model = version(folder), (folder/"model.onnx").read_bytes()
    again(folder, small_runtime, ["new one", "new two"], seed=1, examples=[tmp_path/"example.png"])
    assert version(folder) != old and (folder/"model.onnx").read_bytes() != model
    assert "new one" in (folder/"README.md").read_text(encoding="utf-8")
    assert "OK" in owners_test(folder).stderr


@pytest.mark.parametrize("change",
                         [{"seed": 1}, {"labels": ["one", "two"]}, {"title": "Another title"}, {"examples": []}])
def test_every_change_of_the_page_gives_another_version(change, folder, tmp_path, small_runtime):
    as_before, old = {"examples": [tmp_path/"example.png"]}, version(folder)
    again(folder, small_runtime, **as_before)
    assert version(folder) == old, "the same files are the same version"
    again(folder, small_runtime, **as_before | change)
    assert version(folder) != old


def test_an_app_can_give_its_own_runtime(folder, tmp_path, offline):
    again(folder, folder, seed=1, examples=[tmp_path/"example.png"])
    assert "OK" in owners_test(folder).stderr


# What cannot be made

def test_a_folder_in_use_is_left_alone(tmp_path, small_runtime):
    bundle, folder = make_bundle(tmp_path/"bundle"), tmp_path/"thesis"
    folder.mkdir()
    (folder/"notes.txt").write_text("mine")
    with pytest.raises(CourseError, match="exists and is no app of this course"):
        make_web_app(bundle, folder, runtime=small_runtime)
    assert names_in(folder) == ["notes.txt"] and (folder/"notes.txt").read_text() == "mine"


def test_an_interrupted_build_leaves_nothing(tmp_path, small_runtime, monkeypatch):
    bundle = make_bundle(tmp_path/"bundle")
    def stop(*args): raise KeyboardInterrupt
    monkeypatch.setattr(web_app, "write_worker", stop)
    with pytest.raises(KeyboardInterrupt): make_web_app(bundle, tmp_path/"app", runtime=small_runtime)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "small_runtime"]


# Where the runtime comes from

def package(small_runtime, **changes):
    "The archive that `npm pack` would make, with some files changed; None takes a file away"
    files = {original: (small_runtime/original).read_bytes() for original,
             _ in web_app.RUNTIME.values()} | {"../../evil.js": b"no"} | changes
    return tgz([(f"package/dist/{name}", content) for name, content in files.items() if content is not None])


def names_in(folder): return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def offline(home, monkeypatch):
    "No delivery network, no npm, an empty cache"
    monkeypatch.setattr(web_app, "CDN", "http://127.0.0.1:9")
    monkeypatch.setattr(web_app.shutil, "which", lambda name: None)


def test_from_an_archive_only_the_runtime_is_written(tmp_path, small_runtime, offline):
    (tmp_path/"runtime.tgz").write_bytes(package(small_runtime))
    (tmp_path/"to").mkdir()
    place_runtime(tmp_path/"to", tmp_path/"runtime.tgz")
    assert names_in(tmp_path/"to") == ["onnxruntime-web.js",
                                       "onnxruntime-web.wasm"] and not (tmp_path/"evil.js").exists()


@pytest.mark.parametrize("changes, words", [
    ({"ort-wasm-simd-threaded.wasm": None}, "is not the archive of onnxruntime-web"),
    ({"ort-wasm-simd-threaded.wasm": b"another"}, "It is cut off or another file")])
def test_another_archive_is_refused(changes, words, tmp_path, small_runtime, offline):
    (tmp_path/"runtime.tgz").write_bytes(package(small_runtime, **changes))
    with pytest.raises(CourseError, match=words): place_runtime(tmp_path, tmp_path/"runtime.tgz")


def test_the_network_fills_the_cache_once(tmp_path, small_runtime, home, serve, monkeypatch):
    server = serve({original: (small_runtime/original).read_bytes() for original, _ in web_app.RUNTIME.values()})
    monkeypatch.setattr(web_app, "CDN", server.url)
    for name in ("first", "second"):
        (tmp_path/name).mkdir()
        place_runtime(tmp_path/name)
        assert names_in(tmp_path/name) == ["onnxruntime-web.js", "onnxruntime-web.wasm"]
    assert len(server.asked) == 2 and names_in(runtime_home()) == names_in(tmp_path/"second")


def test_a_cache_that_was_changed_is_refused(tmp_path, small_runtime, offline):
    shutil.copytree(small_runtime, runtime_home())
    (runtime_home()/"ort.wasm.bundle.min.mjs").write_text("alert('changed')")
    with pytest.raises(CourseError, match="damaged|another file"): place_runtime(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize("code", [0, 1])
def test_npm_is_asked_where_the_network_does_not_answer(code, tmp_path, small_runtime, offline, monkeypatch):
    (tmp_path/"stored.tgz").write_bytes(package(small_runtime))
    npm = tmp_path/"npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack onnxruntime-web@{web_app.RUNTIME_VERSION}" ] && cp '
                   f'"{tmp_path}/stored.tgz" made.tgz\nexit {code}\n')
    npm.chmod(0o755)
    monkeypatch.setattr(web_app.shutil, "which", {"npm": str(npm)}.get)
    (tmp_path/"to").mkdir()
    if code:
        with pytest.raises(CourseError, match="Three ways out"): place_runtime(tmp_path/"to")
    else: place_runtime(tmp_path/"to")
    assert len(names_in(tmp_path/"to")) == (0 if code else 2)


def test_without_network_and_npm_the_ways_out_are_named(tmp_path, offline):
    with pytest.raises(CourseError,
                       match=r"Three ways out.*\(1\) Connect.*\(2\).*npm pack.*\(3\) Pass the folder of an app"):
        place_runtime(tmp_path)
    assert not runtime_home().exists()


# Resizing

def by_pillow(image, method, pad_mode, size):
    "What fastai does with Pillow: cut out or pad a box, then resize it"
    (height, width), (across, down) = size, image.size
    if method != "squish":
        factor = (min if method == "crop" else max)(across/width, down/height)
        box = [int(factor*width), int(factor*height)]
        left, top = int(0.5*(across - box[0])), int(0.5*(down - box[1]))
        if min(box) == 0: return None
        inner = image.crop((max(left, 0), max(top, 0), min(left + box[0], across), min(top + box[1], down)))
        sides = [(max(-start, 0), max(length - whole + start, 0)) for start, length,
                 whole in ((top, box[1], down), (left, box[0], across))]
        modes = {"zeros": "constant", "border": "edge", "reflection": "reflect"}
        image = Image.fromarray(np.pad(np.asarray(inner), [*sides, (0, 0)], mode=modes[pad_mode]))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


IN_NODE = """
import { readFileSync, writeFileSync } from "node:fs";
import { resizePicture } from "./resize.mjs";
JSON.parse(readFileSync("jobs.json")).forEach(({ width, height, preprocess }, job) => {
  const rgba = new Uint8ClampedArray(readFileSync(`${job}.in`));
  const rows = (first, count) => rgba.slice(4 * width * first, 4 * width * (first + count));
  writeFileSync(`${job}.out`, resizePicture({ width, height, rows }, preprocess));
});
"""


def resizing_jobs(count):
    "Pictures of many shapes, of noise and of black and white, and what to make of them"
    chance, noise = random.Random(7), np.random.RandomState(7)
    sides = (1, 2, 3, 5, 17, 64, 65, 224, 333, 640, 1000)
    for number in range(count):
        width, height = (chance.choice(sides) if chance.random() < 0.6 else chance.randint(1, 700) for _ in range(2))
        pixels = noise.randint(0, 256, (height, width, 3), dtype=np.uint8)
        if number % 3 == 0: pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
        size = chance.choice([(64, 64), (128, 192), (224, 224), (28, 40)])
        yield pixels, {"method": chance.choice(["crop", "squish", "pad"]),
                       "pad_mode": chance.choice(["zeros", "border", "reflection"]), "size": size}


@pytest.fixture(scope="module")
def resized(tmp_path_factory):
    "[(facts, what Pillow made, what the script made)]"
    node = shutil.which("node")
    if node is None: pytest.skip("no Node.js found")
    work, cases = tmp_path_factory.mktemp("resize"), []
    shutil.copyfile(WEB/"resize.js", work/"resize.mjs")
    (work/"run.mjs").write_text(IN_NODE)
    for pixels, preprocess in resizing_jobs(400):
        truth = by_pillow(Image.fromarray(pixels), **preprocess)
        if truth is None: continue # a box of no width: nothing to compare with
        (work/f"{len(cases)}.in").write_bytes(Image.fromarray(pixels).convert("RGBA").tobytes())
        cases.append(({"width": pixels.shape[1], "height": pixels.shape[0], "preprocess": preprocess}, truth))
    (work/"jobs.json").write_text(json.dumps([facts for facts, _ in cases]))
    done = subprocess.run([node, "run.mjs"], cwd=work, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return [(facts, truth, np.frombuffer((work/f"{i}.out").read_bytes(), np.uint8).reshape(truth.shape)) for i,
            (facts, truth) in enumerate(cases)]


@pytest.mark.parametrize("method", ["crop", "squish", "pad"])
def test_the_script_resizes_exactly_as_pillow_does(method, resized):
    mine = [(facts, truth, made) for facts, truth, made in resized if facts["preprocess"]["method"] == method]
    assert len(mine) > 90
    assert [facts for facts, truth, made in mine if not np.array_equal(truth, made)] == []


def test_pictures_far_higher_than_wide_were_among_them(resized):
    assert sum(facts["height"] > 100*facts["width"] and facts["preprocess"]["method"] == "squish" for facts,
               *_ in resized) >= 3


# The compiled scripts

def test_the_scripts_are_compiled_from_their_source(tmp_path):
    npm = shutil.which("npm")
    if npm is None: pytest.skip("no npm found")
    shutil.copytree(WEB, tmp_path/"web", ignore=shutil.ignore_patterns("*.js", "node_modules"))
    installed = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=tmp_path/"web",
                               capture_output=True, text=True, timeout=300)
    if installed.returncode: pytest.skip("npm could not get the TypeScript compiler")
    built = subprocess.run([npm, "run", "build"], cwd=tmp_path/"web", capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stdout
    names = sorted(path.name for path in WEB.glob("*.js"))
    assert names == sorted(path.name
                           for path in (tmp_path/"web").glob("*.js")) == sorted([*web_app.SCRIPTS, "worker.js"])
    for name in names: assert (WEB/name).read_bytes() == (tmp_path/"web"/name).read_bytes(), name


# The runtime

@pytest.mark.parametrize("npm", [True, False])
def test_behind_a_proxy_that_answers_something_else_npm_is_asked(tmp_path, monkeypatch, npm):
    def download(*_): raise CourseError("The server answers 403.")
    def from_npm(work): (work/"from npm").touch(); return npm
    for name, function in {"reachable": lambda _: True, "download": download, "from_npm": from_npm}.items():
        monkeypatch.setattr(web_app, name, function)
    if npm:
        web_app.fill_cache(tmp_path/"runtime")
        assert (tmp_path/"runtime"/"from npm").is_file()
    else:
        with pytest.raises(CourseError, match="Three ways out"): web_app.fill_cache(tmp_path/"runtime")


# As a visitor

@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    "ONNX Runtime Web itself"
    if runtime_home().is_dir(): return runtime_home()
    folder = tmp_path_factory.mktemp("runtime")
    if not (from_network(folder) or from_npm(folder)):
        pytest.skip("neither the delivery network nor npm could give ONNX Runtime Web")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with start_browser(tmp_path_factory.mktemp("browser"), *camera) as started: yield started


@pytest.fixture(scope="module")
def apps(tmp_path_factory, runtime):
    "{method of resizing: (bundle, app)}, and one whose network hands out what its body makes"
    work, made = tmp_path_factory.mktemp("apps"), {}
    drawing(1).save(work/"example.png")
    for method, pad_mode in (("crop", "reflection"), ("squish", "zeros"), ("pad", "reflection")):
        bundle = make_bundle(work/f"bundle_{method}", method=method, pad_mode=pad_mode)
        made[method] = bundle, make_web_app(bundle, work/method, runtime=runtime, examples=[work/"example.png"])
    bundle = make_bundle(work/"bundle_body", body=True)
    made["body"] = bundle, make_web_app(bundle, work/"body", runtime=runtime)
    return made


VIEWS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844, "mobile": True}}
READY = "document.body.classList.contains('ready')"
CARDS = """[...document.querySelectorAll("#results article")].reverse().map(card => ({
    label: card.querySelector("h3").textContent, words: card.innerText, problem: card.classList.contains("problem"),
    unlike: card.querySelector(".note")?.hidden === false,
    name: card.querySelector("canvas")?.getAttribute("aria-label"),
    bars: [...card.querySelectorAll("li")].map(bar => [
        bar.querySelector(".label").textContent, Number(bar.querySelector("data").value)]),
}))""" # Oldest first


@contextmanager
def visit(browser, url, **view):
    page = browser.page(url, **view or VIEWS["desktop"])
    try:
        page.wait_for(READY, 60)
        yield page
    finally: page.close()


def cards(page, count):
    "What the page shows once there are so many cards: [{label, words, problem, unlike, name, bars}]"
    page.wait_for(f"document.querySelectorAll('#results article').length === {count}", 60)
    return page.evaluate(CARDS)


def awkward(folder):
    "Pictures of every kind that Python turns upright, puts on white and makes RGB"
    image, clear = drawing(50), drawing(51).convert("RGBA")
    clear.putalpha(Image.radial_gradient("L").resize(clear.size))
    for turn in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        image.save(folder/f"turned_{turn}.jpg", exif=exif, quality=95)
    palette = image.quantize(64)
    for name, picture in {"grey.jpg": image.convert("L"), "grey.png": image.convert("L"), "palette.png": palette,
                          "two.png": image.convert("1"), "clear.png": clear,
                          "clear.webp": clear, "grey_clear.png": clear.convert("LA"), "still.gif": palette}.items():
        picture.save(folder/name, **{"lossless": True} if name.endswith("webp") else {})
    palette.save(folder/"hole.png", transparency=0)
    palette.save(folder/"moving.gif", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)])
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    "50 pictures: 17 awkward ones, the others of many sizes"
    folder, chance = tmp_path_factory.mktemp("pictures"), random.Random(5)
    paths = awkward(folder)
    for number in range(50 - len(paths)):
        size = (chance.randint(20, 1500), chance.randint(20, 1500))
        paths.append(folder/f"{number}.{('jpg', 'png', 'webp')[number % 3]}")
        drawing(number, size).save(paths[-1])
    return paths


@pytest.mark.parametrize("method", ["crop", "squish", "pad"])
def test_the_page_answers_as_python_does(method, apps, pictures, browser):
    from course_lib.apps.predictor import load_bundle
    bundle, app = apps[method]
    predictor = load_bundle(bundle)
    with served(app) as url, visit(browser, url) as page:
        page.set_files("#files", *pictures)
        found = cards(page, 50)
        assert page.errors == []
    assert [card["name"] for card in found] == [path.name for path in pictures]
    off = {}
    for path, card in zip(pictures, found, strict=True):
        truth = predictor.predict(path)
        assert (card["label"], card["unlike"]) == (truth.label, truth.unlike), path.name
        off[path.name] = max(abs(truth.probabilities[label] - probability) for label, probability in card["bars"])
    assert len({card["label"] for card in found}) > 2 and len({card["unlike"]
                                                               for card in found}) == 2, "the pictures should differ"
    assert {name: worst for name, worst in off.items() if worst > 0.01} == {}
    assert max(worst for name,
               worst in off.items()
               if name.endswith((".png", ".gif"))) < 1e-4, "nothing is lost where nothing is decoded in two ways"


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_fits_and_says_what_it_found(view, apps, browser, pictures):
    bundle, app = apps["crop"]
    with served(app) as url, visit(browser, url, **VIEWS[view]) as page:
        page.set_files("#files", pictures[0])
        [card] = cards(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('button, .button')].filter(e => e.offsetParent).every(e "
                             "=> e.getBoundingClientRect().height >= 44)")
        assert page.evaluate("document.querySelector('#news').textContent").startswith(f"{pictures[0].name}: "
                                                            f"{card['label']}")
        assert page.wait_for("(box => box.top >= -1 && box.top < innerHeight)(document.querySelector('#results "
                             "article').getBoundingClientRect())")
        assert sum(probability for _, probability in card["bars"]) == pytest.approx(1, abs=1e-5)
        assert page.errors == []


def contrast(page, selector):
    "How far the text of an element stands out from what is behind it, as WCAG counts"
    return page.evaluate(f"""(() => {{
        const colours = [], numbers = text => text.match(/[\\d.]+/g).map(Number);
        const start = document.querySelector({json.dumps(selector)});
        let behind = start;
        while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
        for (const colour of [getComputedStyle(start).color, getComputedStyle(behind).backgroundColor]) {{
            const [red, green, blue] = numbers(colour).map(
                v => (v /= 255) <= 0.04045 ? v/12.92 : ((v + 0.055)/1.055)**2.4);
            colours.push(0.2126*red + 0.7152*green + 0.0722*blue + 0.05);
        }}
        return Math.max(...colours)/Math.min(...colours);
    }})()""")


FOCUSED = "element => element.id || element.querySelector('img')?.alt || element.innerText"
IN_ORDER = ["install", "files", "camera", "Example 1", "Teach it classes of your own", "What the model was shown",
            "About this model"] # What Tab reaches, from the top of the page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_can_be_read_and_used_without_a_mouse(dark, apps, browser, tmp_path):
    Image.new("RGB", (99, 99), "black").save(tmp_path/"night.png")
    (tmp_path/"text.jpg").write_text("no picture")
    with served(apps["crop"][1]) as url, visit(browser, url, width=800, height=800, dark=dark) as page:
        page.set_files("#files", tmp_path/"night.png", tmp_path/"text.jpg")
        cards(page, 2)
        page.wait_for("document.getAnimations().length === 0")
        for selector in ("h1", "header p", ".hint", ".main", "#camera", ".facts", ".note", "li data", ".label",
                         "summary", ".problem p", ".problem h3", "footer p"):
            assert contrast(page, selector) >= 4.5, selector
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        used = [node for node in nodes
                if node.get("role", {}).get("value") in ("button", "image", "img", "textbox", "dialog", "progressbar")]
        assert len(used) > 4 and [node for node in used if not node.get("name", {}).get("value")
                                  and not node["ignored"]] == []
        page.evaluate("document.querySelector('#install').hidden = false") # Browsers offer it when they like
        page.wait_for("!document.querySelector('#camera').hidden")
        page.to_the_top()
        order = []
        for _ in IN_ORDER:
            page.press("Tab")
            order.append(page.evaluate(f"({FOCUSED})(document.activeElement)"))
        assert order == IN_ORDER
        page.evaluate("document.querySelector('#examples button').focus()")
        page.press("Enter")
        assert cards(page, 3)[-1]["name"] == "Example 1"


def test_titles_and_labels_are_shown_as_text(apps, browser, pictures):
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        page.set_files("#files", pictures[0])
        [card] = cards(page, 1)
        assert {label for label, _ in card["bars"]} == set(LABELS)
        assert page.evaluate("[document.title, document.querySelector('h1').textContent, window.harmed]")[:2] == [TITLE,
            TITLE]
        assert page.evaluate("window.harmed === undefined && !document.querySelector('main b, main script, main "
                             "img[src=x]')")
        page.click("footer summary")
        assert LABELS[1] in page.evaluate("document.querySelector('#about').innerText")
        assert page.errors == []


def png(width, height):
    "A black PNG of that size: small as a file, large as a picture"
    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    rows = zlib.compressobj(9)
    content = b"".join(rows.compress(bytes(1 + (width + 7)//8)*1000) for _ in range(height//1000)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def bad_files(folder):
    "{file: words that the page must say}"
    drawing(1).save(folder/"whole.png")
    contents = {
        "text.jpg": (b"no picture at all", "no picture that your browser can read"),
        "empty.png": (b"", "The file is empty"),
        "bomb.png": (png(30_000, 30_000), "or one too large for it"),
        "wall.png": (png(12_000, 10_000), "120 million pixels; the most is 90 million"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', r"a drawing \(SVG\)"),
        "phone.heic": (b"\0\0\0\x18ftypheic", "share or export it as JPEG"),
        "noise.webp": (bytes(range(256))*9, "no picture"),
        "cut.png": ((folder/"whole.png").read_bytes()[:60], "no picture|damaged")}
    for name, (content, _) in contents.items(): (folder/name).write_bytes(content)
    return {folder/name: words for name, (_, words) in contents.items()}


def test_what_is_no_picture_gets_a_clear_message_and_the_page_goes_on(apps, browser, tmp_path):
    files = bad_files(tmp_path)
    with open(tmp_path/"large.jpg", "wb") as file: file.truncate(101_000_000)
    files[tmp_path/"large.jpg"] = "101 million bytes; the most is 100 million"
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        page.set_files("#files", *files, tmp_path/"whole.png")
        found = cards(page, len(files) + 1)
        for (path, words), card in zip(files.items(), found[:-1], strict=True):
            assert card["problem"] and card["label"] == path.name and re.search(words, card["words"]), card
        assert found[-1]["name"] == "whole.png" and not found[-1]["problem"]


BRING = """(kind, name, type) => {
    const moved = new DataTransfer();
    if (name) moved.items.add(new File([Uint8Array.from(atob("%s"), letter => letter.charCodeAt())], name, {type}));
    const event = kind === "paste"
        ? new ClipboardEvent("paste", {clipboardData: moved, bubbles: true})
        : new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true});
    document.querySelector("#drop").dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind, words",
                         [("paste", "What you pasted is no picture"), ("drop", "What you dropped is no file")])
def test_pictures_come_in_by(kind, words, apps, browser, pictures):
    import base64
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        bring = BRING % base64.b64encode(pictures[0].read_bytes()).decode()
        page.evaluate(f"({bring})('{kind}', 'one.jpg', 'image/jpeg')")
        cards(page, 1)
        page.evaluate(f"({bring})('{kind}', '', '')")
        first, second = cards(page, 2)
        assert first["name"] == "one.jpg" and words in second["words"]


def test_a_photo_can_be_taken(apps, browser):
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        page.click("#camera")
        page.wait_for("document.querySelector('video').videoWidth > 0")
        page.press("Escape")
        page.wait_for("!document.querySelector('dialog').open && document.querySelector('video').srcObject === null")
        page.click("#camera")
        page.wait_for("document.querySelector('video').videoWidth > 0")
        page.click("dialog .main")
        [card] = cards(page, 1)
        assert card["name"] == "Photo" and not card["problem"]
        page.wait_for("document.querySelector('video').srcObject === null")


LATE = """HTMLMediaElement.prototype.play = function () { // Once the dialog is closed
    return new Promise(done => this.closest("dialog").addEventListener("close", done));
}"""


def test_a_camera_that_is_closed_before_it_shows_anything_is_off(apps, browser):
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        page.evaluate(LATE)
        page.click("#camera")
        page.wait_for("document.querySelector('dialog').open")
        page.press("Escape")
        page.wait_for("!document.querySelector('dialog').open && document.querySelector('video').srcObject === null")
        assert cards(page, 0) == [] and page.errors == []


OFFLINE = "!document.querySelector('#offline').hidden"


def test_after_the_first_visit_no_server_is_needed(apps, browser, pictures):
    with served(apps["pad"][1]) as url, visit(browser, url) as page:
        page.wait_for(OFFLINE)
        assert page.why_not_installable() == []
        page.set_files("#files", *pictures[:5])
        before = cards(page, 5)
        server_is_gone = url
    with visit(browser, server_is_gone) as page:
        page.set_files("#files", *pictures[:5])
        assert [card["bars"] for card in cards(page, 5)] == [card["bars"] for card in before]
        assert page.evaluate("Promise.all([...document.images].map(image => image.decode().then(() => "
                             "image.naturalWidth > 0)))") == [True, True]
        assert page.errors == []
    with visit(browser, f"{server_is_gone}index.html") as page: assert page.evaluate("document.title") == TITLE


def test_a_new_version_reaches_those_who_came_before(tmp_path, runtime, browser):
    for seed, labels in enumerate((["old one", "old two"], ["new one", "new two"])):
        make_web_app(make_bundle(tmp_path/f"bundle{seed}", labels, seed), tmp_path/f"app{seed}", runtime=runtime)
    about = "document.querySelector('#about').textContent"
    with served(tmp_path/"app0") as url, visit(browser, url) as page:
        page.wait_for(OFFLINE)
        assert "old one" in page.evaluate(about)
        os.rename(tmp_path/"app0", tmp_path/"gone")
        os.rename(tmp_path/"app1", tmp_path/"app0")
        os.utime(tmp_path/"app0"/"sw.js", (time.time() + 5,)*2) # Servers tell versions apart by whole seconds
        page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.update())")
        page.wait_for("caches.keys().then(names => names.length === 1 && caches.open(names[0]).then(cache => "
                      "cache.match('./bundle.json')).then(found => found.text()).then(text => text.includes('new "
                      "one')))", 30)
        page.open(url)
        page.wait_for(READY)
        assert "new one" in page.evaluate(about)


def stored_versions(page): return page.evaluate("caches.keys()")


def reload(page):
    "Load the page again, as its visitor would, and wait until it can answer"
    page.evaluate("window.seenBefore = true")
    page.call("Page.reload")
    page.wait_for(f"window.seenBefore === undefined && document.readyState === 'complete' && {READY}", 60)


def test_after_an_update_in_place_a_reloaded_page_has_the_new_model(tmp_path, runtime, browser, pictures):
    from course_lib.apps.predictor import load_bundle
    app = make_web_app(make_bundle(tmp_path/"bundle", ["old one", "old two"], 0), tmp_path/"app", runtime=runtime)
    for path in app.rglob("*"): os.utime(path, (time.time() - 60,)*2) # Servers tell versions apart by whole seconds
    with served(app) as url, visit(browser, url) as page:
        page.wait_for(OFFLINE)
        cache = f"classify {url} "
        assert stored_versions(page) == [cache + version(app)]
        (app/"notes.txt").write_text("mine")
        again(app, runtime, ["new one", "new two"], seed=1)
        reload(page) # It shows what is stored, while the browser looks for what is new
        page.wait_for(f"caches.keys().then(names => names.length === 1 && names[0] === "
                      f"{json.dumps(cache + version(app))})", 60)
        reload(page)
        page.set_files("#files", *pictures[:3])
        answers = load_bundle(tmp_path/"bundle").predict_batch(pictures[:3])
        for card, answer in zip(cards(page, 3), answers, strict=True):
            assert card["label"] == answer.label and [label for label, _ in card["bars"]] == list(answer.probabilities)
            assert [value for _, value in card["bars"]] == pytest.approx(list(answer.probabilities.values()), abs=0.01)
        assert page.errors == [] and stored_versions(page) == [cache + version(app)]
    assert (app/"notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name, seen",
                         [("model.onnx", "model.onnx is not the file that this page was built with"),
                          ("onnxruntime-web.wasm", "onnxruntime-web.wasm is not the file"),
                                        ("model.js", None), ("onnxruntime-web.js", None), ("app.js", None)])
def test_a_changed_file_is_not_used(name, seen, apps, browser, tmp_path):
    shutil.copytree(apps["crop"][1], tmp_path/"app")
    content = bytearray((tmp_path/"app"/name).read_bytes())
    if name.endswith(".js"): content = content + b"\nwindow.harmed = 1;"
    else: content[len(content)//2] ^= 1
    (tmp_path/"app"/name).write_bytes(content)
    with served(tmp_path/"app") as url:
        page = browser.page(url)
        if seen: page.wait_for(f"document.querySelector('#loading').innerText.includes({json.dumps(seen)})", 60)
        else:
            page.wait_for("document.readyState === 'complete'")
            # The hint comes after some seconds
            page.evaluate("document.getAnimations().forEach(animation => animation.finish())")
            page.wait_for("document.querySelector('#stuck').checkVisibility({visibilityProperty: true})")
            assert any("integrity" in error for error in page.errors)
        assert page.evaluate("window.harmed === undefined && !document.body.classList.contains('ready')")
        page.close()


def test_the_page_cannot_call_out(apps, browser, serve):
    other = serve({"collect": b"thanks"})
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        assert page.evaluate(f"fetch('{other.url}/collect').then(() => 'sent', error => 'refused')") == "refused"
        page.evaluate(f"new Promise(done => "
                      f"{{ const image = new Image(); image.onerror = done; image.src = '{other.url}/collect'; }})")
        page.evaluate("new Promise(done => { const script = document.createElement('script'); script.textContent = "
                      "'window.harmed = 1'; document.body.append(script); done(); })")
        assert page.evaluate("window.harmed === undefined")
    assert other.asked == []


# Classes of the visitor's own

FIT = """import("./ridge.js").then(({{ fitHead, scores, usualAlpha }}) => {{
    const {{ features, labels, classes, alpha }} = {given}, head = fitHead(features, labels, classes, alpha);
    return {{ weights: head.weights.map(row => [...row]), intercepts: head.intercepts, alone: head.alone,
              scores: features.map(row => scores(row, head)), usual: usualAlpha(features) }};
}})"""


HEADS = [(4, 2, 1), (15, 3, 40), (60, 5, 0.1), (7, 2, 1e4)] # Pictures, classes, alpha


def examples(pictures, classes):
    "Features and labels of pictures, in which one class differs"
    chance = np.random.RandomState(pictures)
    features, labels = chance.gamma(0.4, size=(pictures, 40)).astype(np.float32), np.arange(pictures)%classes
    features[labels == 1] += 0.3
    return features, labels


@pytest.fixture(scope="module")
def heads(apps, browser):
    "What one page finds for each of HEADS"
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        found = {}
        for pictures, classes, alpha in HEADS:
            features, labels = examples(pictures, classes)
            given = {"features": features.tolist(), "labels": labels.tolist(), "classes": classes, "alpha": alpha}
            found[pictures] = page.evaluate(FIT.format(given=json.dumps(given)))
        return found


@pytest.mark.parametrize("pictures, classes, alpha", HEADS)
def test_the_head_is_the_one_that_scikit_learn_finds(pictures, classes, alpha, heads):
    from sklearn.linear_model import Ridge, RidgeClassifier
    (features, labels), found = examples(pictures, classes), heads[pictures]
    targets = np.eye(classes)[labels]
    ridge = Ridge(alpha=alpha).fit(features.astype(float), targets)
    assert np.allclose(found["weights"], ridge.coef_, atol=1e-6)
    assert np.allclose(found["intercepts"], ridge.intercept_, atol=1e-6)
    assert np.allclose(np.sum(found["scores"], 1), 1)
    classifier = RidgeClassifier(alpha=alpha).fit(features.astype(float), labels)
    assert np.array_equal(np.argmax(found["scores"], 1), classifier.predict(features))
    theirs = np.atleast_2d(classifier.coef_)[-1]/2 # Its targets are -1 and 1
    assert np.allclose(theirs, found["weights"][-1], atol=1e-4)
    spread = ((features - features.mean(0))**2).sum(1).mean()
    assert found["usual"] == pytest.approx(0.1*spread, rel=1e-5)
    for out in range(min(pictures, 5)): # What a head says of a picture that it has not seen
        others = np.arange(pictures) != out
        alone = Ridge(alpha=alpha).fit(features[others].astype(float), targets[others]).predict(features[out:out + 1])
        assert np.allclose(found["alone"][out], alone.ravel(), atol=1e-6)


STATE, WRONG = "document.querySelector('#teach-state').textContent", "document.querySelector('#teach-problem')"
TAUGHT = "[...document.querySelectorAll('.group')].map(group => [group.querySelector('input').value, " \
         "group.querySelectorAll('.row img').length])"


def name(page, number, words):
    "Type the name of a class"
    page.evaluate(f"(input => {{ input.value = {json.dumps(words)}; input.dispatchEvent(new Event('input')); }})"
                  f"(document.querySelectorAll('.group input[type=text]')[{number}])")


def give(page, number, *files):
    "Add pictures to a class, and wait for them"
    page.evaluate("document.querySelectorAll('.group').forEach((group, i) => group.id = `group${i}`)")
    page.set_files(f"#group{number} input[type=file]", *files)


def says(page, words, place=STATE): page.wait_for(f"{place}.includes({json.dumps(words)})")


def tinted(folder, kind, count):
    "Drawings in which one colour rules"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = drawing(number + 100*kind)
        colour = Image.new("RGB", picture.size, ("crimson", "navy")[kind])
        Image.blend(picture, colour, 0.6).save(folder/f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def two_kinds(tmp_path): return [tinted(tmp_path/kind, number, 7) for number, kind in enumerate(("red", "blue"))]


def teach(page, kinds, names=("<b>red</b>", "blue")):
    page.evaluate("document.querySelector('#teach details').open = true")
    for number, words in enumerate(names):
        name(page, number, words)
        give(page, number, *kinds[number][:4])
    says(page, "Learned from 8 pictures")


@pytest.mark.parametrize("kind, power", [("crop", 1), ("body", 2)])
def test_a_visitor_teaches_classes_and_the_page_answers_with_them(kind, power, apps, browser, two_kinds):
    from course_lib.apps.predictor import load_bundle
    from sklearn.linear_model import Ridge
    bundle, app = apps[kind]
    predictor = load_bundle(bundle)
    features = lambda files: predictor.run(np.stack([predictor.pixels(file) for file in files]))[1].astype(float)**power
    known, fresh = [kind[:4] for kind in two_kinds], [kind[4:] for kind in two_kinds]
    given = features(sum(known, []))
    alpha = 0.1*((given - given.mean(0))**2).sum(1).mean()
    truth = Ridge(alpha=alpha).fit(given, np.eye(2)[[0]*4 + [1]*4]).predict(features(sum(fresh, [])))
    with served(app) as url, visit(browser, url) as page:
        teach(page, two_kinds)
        assert page.evaluate("document.querySelector('#use-own').checked") and "8 of 8 right" in page.evaluate(STATE)
        page.set_files("#files", *sum(fresh, []))
        found = cards(page, 6)
        assert [card["label"] for card in found] == ["<b>red</b>"]*3 + ["blue"]*3
        for card, row in zip(found, truth, strict=True):
            assert [score for _, score in card["bars"]] == pytest.approx(sorted(row, reverse=True), abs=1e-4)
            assert "your own classes" in card["words"] and not card["problem"]
        page.evaluate("document.querySelector('#use-own').click()") # The page may be scrolling to the last card
        page.set_files("#files", fresh[0][0])
        assert cards(page, 7)[-1]["label"] == predictor.predict(fresh[0][0]).label
        assert page.errors == [] and page.evaluate("!document.querySelector('main b')")


def test_each_thing_that_is_missing_has_its_words(apps, browser, two_kinds, tmp_path):
    (red, blue), text = two_kinds, tmp_path/"text.jpg"
    text.write_text("no picture")
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        page.evaluate("document.querySelector('#teach details').open = true")
        says(page, "Name two classes or more")
        give(page, 0, red[0])
        says(page, "Give every class a name")
        name(page, 0, "red"); name(page, 1, "red")
        says(page, "Two classes are called \N{LEFT DOUBLE QUOTATION MARK}red")
        name(page, 1, "blue")
        says(page, "has 1 picture. Two are the least")
        give(page, 0, red[0], text)
        says(page, "0.png is there already. The same picture twice teaches nothing new.", f"{WRONG}.textContent")
        says(page, "text.jpg: This is no picture", f"{WRONG}.textContent")
        give(page, 1, red[0])
        says(page, "is in the class \N{LEFT DOUBLE QUOTATION MARK}red", f"{WRONG}.textContent")
        give(page, 0, red[1])
        says(page, "has no pictures. Two are the least")
        assert page.evaluate("document.querySelector('#use-own').disabled")
        give(page, 1, *blue[:2])
        says(page, "Learned from 4 pictures")
        page.click("#group1 .row button")
        says(page, "has 1 picture")
        page.click("#group1 .remove")
        says(page, "One class alone leaves nothing to decide")
        page.click("#add-group")
        says(page, "Give every class a name")
        assert page.errors == []


def test_what_was_taught_is_kept_when_the_visitor_says_so_and_forgotten_likewise(apps, browser, two_kinds):
    with served(apps["squish"][1]) as url:
        with visit(browser, url) as page: teach(page, two_kinds)
        with visit(browser, url) as page:
            assert page.evaluate(TAUGHT) == [["", 0], ["", 0]], "nothing is kept unasked"
            teach(page, two_kinds)
            page.click("#keep")
            says(page, "Kept on this device")
            page.wait_for(OFFLINE)
    with visit(browser, url) as page: # The server is gone
        says(page, "Learned from 8 pictures")
        assert page.evaluate(TAUGHT) == [["<b>red</b>", 4], ["blue", 4]]
        page.set_files("#files", two_kinds[1][5])
        assert cards(page, 1)[0]["label"] == "blue"
        page.click("#forget")
        says(page, "Forgotten")
        assert page.evaluate("localStorage.length") == 0 and page.errors == []


UNUSABLE = ['{"model": "another", "groups": []}', "{", '{"groups": [{"name": "<b>"}]}',
            '{"model": "MODEL", "groups": [{"name": "a", "lessons": [{"features": "%%"}]}]}']


def test_what_cannot_be_used_is_not(apps, browser):
    with served(apps["crop"][1]) as url, visit(browser, url) as page:
        model = json.dumps(hashlib.sha256((apps["crop"][0]/"model.onnx").read_bytes()).hexdigest())
        for text in UNUSABLE:
            page.evaluate(f"localStorage.setItem(`own classes ${{location.pathname}}`, "
                          f"{json.dumps(text)}.replace('MODEL', {model}))")
            reload(page)
            says(page, "What you kept cannot be used", f"{WRONG}.textContent")
            assert page.evaluate(TAUGHT) == [["", 0], ["", 0]] and page.errors == [], text
            page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dark", [False, True])
def test_teaching_can_be_read_and_fits(view, dark, apps, browser, two_kinds):
    with served(apps["crop"][1]) as url, visit(browser, url, **VIEWS[view], dark=dark) as page:
        teach(page, two_kinds)
        for selector in ("#teach summary", "#teach p", "#teach-state", ".group label", "#teach .hint", ".choice",
                         ".group input", ".group .add", "#forget"):
            assert contrast(page, selector) >= 4.5, selector
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('#teach button')].filter(e => e.offsetParent).every(e => "
                             "e.getBoundingClientRect().height >= 44)")
