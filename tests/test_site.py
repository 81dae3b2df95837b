"The site, as far as it can be judged without Quarto: its menu, its links, its pictures, its sizes."
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import pypandoc
import pytest
import yaml
from course_lib.base.env import checkout
from course_lib.base.catalogue import dives, lessons, site_url
from course_lib.tools.publish import ignored

ROOT = checkout()
NBS = ROOT/"nbs"
QUARTO = yaml.safe_load((NBS/"_quarto.yml").read_text(encoding="utf-8"))
FOLDERS = ("nbs", "clean")
NOTEBOOKS = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted((ROOT/folder).rglob("*.ipynb"))
             if not any(part.startswith((".", "_")) for part in path.relative_to(ROOT).parts)]


# The settings

def menu():
    "Targets and texts of the sidebar, section by section: [(section, target, text)]"
    return [entry for top in QUARTO["website"]["sidebar"]["contents"] for entry in menu_entries(top, None)]


def menu_entries(item, section):
    "The pages of one entry of the sidebar; `section` is the outermost one"
    if isinstance(item, str): return [(section, item, None)]
    own = [(section, item["href"], item.get("text", item.get("section")))] if "href" in item else []
    inside = item.get("contents", [])
    return own + [entry for inner in inside for entry in menu_entries(inner, section or item["section"])]


def test_the_menu_holds_every_page_once():
    pages = [path.relative_to(NBS).as_posix() for suffix in ("*.ipynb", "*.qmd") for path in NBS.rglob(suffix)
             if not any(part.startswith((".", "_")) for part in path.relative_to(NBS).parts)]
    assert sorted(target for _, target, _ in menu()) == sorted(pages)
    assert menu()[0][1] == "index.qmd"


def test_the_menu_numbers_the_lessons_and_shows_their_dives_below_them():
    texts = {target: text for section, target, text in menu() if section == "Lessons"}
    wanted = [f"{page.path}.ipynb" for info in lessons() for page in (info, *dives(info.id))]
    assert list(texts) == wanted
    for info in lessons(): assert texts[f"{info.path}.ipynb"].startswith(f"{info.number}. ")
    for dive in dives(): assert texts[f"{dive.path}.ipynb"] == dive.title


def test_the_workshop_is_listed_in_reading_order():
    rooms = {}
    for section, target, _ in menu():
        if section == "The workshop": rooms.setdefault(Path(target).parent.as_posix(), []).append(Path(target).name)
    assert set(rooms) == {f"lib/{path.name}" for path in (NBS/"lib").iterdir() if path.is_dir()}
    numbers = {room: [int(name[:2]) for name in names] for room, names in rooms.items()}
    assert rooms and numbers == {room: list(range(len(names))) for room, names in rooms.items()}


def test_quarto_finds_its_settings_and_files():
    assert (ROOT/"_quarto.yml").resolve() == (NBS/"_quarto.yml").resolve(), "the top holds a link to the real file"
    themes = [name for names in QUARTO["format"]["html"]["theme"].values() for name in names if name.endswith(".scss")]
    files = [*themes, *QUARTO["metadata-files"], QUARTO["website"]["favicon"], QUARTO["website"]["open-graph"]["image"]]
    assert [name for name in files if not (NBS/name).is_file()] == []
    assert QUARTO["format"]["html"]["keep-md"] and "commonmark" in QUARTO["format"], "nbdev's markdown twins need both"
    assert QUARTO["execute"]["enabled"] is False, "the site shows the outputs that the notebooks hold"


# Finding faults in a page

@dataclass
class Page:
    "A page of the site: its text as pandoc reads it, and what can be pointed at"
    path: str                                 # Below nbs/, such as 'lib/base/00_env.ipynb'
    text: str                                 # Its markdown
    found: dict = field(init=False)           # {kind of node in pandoc's syntax tree: contents of all such nodes}
    anchors: set = field(init=False)          # Identifiers on it

    def __post_init__(self):
        self.found = {}
        for kind, content in walk(json.loads(pypandoc.convert_text(self.text, "json", format="markdown"))["blocks"]):
            self.found.setdefault(kind, []).append(content)
        self.anchors = {part[0] for _, content in self.nodes("Header", "Div", "Span", "Image", "Figure")
                        for part in content if is_attributes(part)}
        self.anchors |= set(re.findall(r"\{#(eq-[\w-]+)", self.text))
        self.anchors |= set(re.findall(r"^#\| label: ([\w-]+)", self.text, flags=re.M))

    def nodes(self, *kinds):
        "Every node of some kinds, with its content"
        return [(kind, content) for kind in kinds for content in self.found.get(kind, [])]

    @cached_property
    def html(self):
        "Address of the rendered page: nbdev drops the numbers"
        return (Path(self.path).parent/re.sub(r"^\d+_", "", Path(self.path).name)).with_suffix(".html").as_posix()


def is_attributes(part):
    "Whether a part of a node is [identifier, classes, key-value pairs]"
    return isinstance(part, list) and [type(item) for item in part] == [str, list, list]


def walk(node):
    "Every node below this one: (kind, content)"
    if isinstance(node, list):
        for part in node: yield from walk(part)
    elif isinstance(node, dict):
        if "t" in node: yield node["t"], node.get("c", [])
        for part in node.values(): yield from walk(part)


def target_problem(page, target, pages, files):
    "What is wrong with a link or picture of a page, or None"
    target = re.sub(rf"^{re.escape(site_url())}/?", "/", target)
    path, _, anchor = target.partition("#")
    if re.match(r"[a-z]+:", path): return None
    wanted = (Path(path[1:]) if path.startswith("/") else Path(page.path).parent/path).as_posix() if path else page.path
    parts = []
    for part in wanted.split("/"): parts = parts[:-1] if part == ".." else parts + [part]
    wanted = "/".join(part for part in parts if part != ".") or "index.html"
    found = next((other for other in pages if wanted in (other.path, other.html, f"{other.html}.md")), None)
    if found is None: return None if wanted in files and not anchor else f"dead link {target}"
    return None if not anchor or anchor in found.anchors else f"no anchor {target}"


CALLOUTS = {"callout-note", "callout-tip", "callout-warning", "callout-caution", "callout-important"}


def faults(page, pages, files=()):
    "What Quarto would render wrongly without a word"
    found = [target_problem(page, content[-1][0], pages, files) for _, content in page.nodes("Link", "Image")]
    for _, content in page.nodes("Div"):
        names = [name for name in content[0][1] if name.startswith("callout")]
        found += [f"unknown callout {name}" for name in names if name not in CALLOUTS]
    for _, content in page.nodes("BlockQuote"):
        if re.match(r"\[!\w+\]", words(content)): found.append("a quote where a callout was meant")
    for _, content in page.nodes("Image"):
        described = words(content[1]) or dict(content[0][2]).get("fig-alt")
        if not described: found.append(f"no alt text for {content[-1][0]}")
    for _, (kind, raw) in page.nodes("RawInline", "RawBlock"):
        images = re.findall(r"<img [^>]*>", raw) if kind == "html" else []
        found += [f"no alt text for {image}" for image in images if " alt=" not in image]
    for _, content in page.nodes("Para", "Plain"):
        if [node.get("t") for node in content] == ["Link"] and [node["t"] for node in content[0]["c"][1]] == ["Image"]:
            found.append("a linked image alone in its paragraph loses its link")
    for _, content in page.nodes("Cite"):
        names = [cite["citationId"] for cite in content[0] if re.match(r"(fig|eq|tbl|sec|lst)-", cite["citationId"])]
        found += [f"no label {name}" for name in names if name not in page.anchors]
    return [fault for fault in found if fault]


def words(nodes):
    "The words of some nodes"
    return " ".join(content for kind, content in walk(nodes) if kind == "Str")


ELSEWHERE = Page("lib/base/00_env.ipynb", "# Environment\n\n## Quick or full\n")
FAULTY = [
    ("[a](gone.ipynb)", "dead link gone.ipynb"),
    ("[a](lib/gone.ipynb#x)", "dead link lib/gone.ipynb#x"),
    ("[a](#gone)", "no anchor #gone"),
    ("[a](lib/base/00_env.ipynb#gone)", "no anchor lib/base/00_env.ipynb#gone"),
    (f"[a]({site_url()}/lib/gone.html)", "dead link /lib/gone.html"),
    (f"[a]({site_url()}/lib/base/env.html#gone)", "no anchor /lib/base/env.html#gone"),
    ("![a](images/gone.png) text", "dead link images/gone.png"),
    ("::: {.callout-hint}\ntext\n:::", "unknown callout callout-hint"),
    ("> [!NOTE]\n> text", "a quote where a callout was meant"),
    ("text ![](images/a.png)", "no alt text for images/a.png"),
    ("[![a](images/a.png)](#part)", "a linked image alone in its paragraph loses its link"),
    ('text <img src="a.png">', 'no alt text for <img src="a.png">'),
    ("see @fig-gone", "no label fig-gone"),
    ("see @eq-gone", "no label eq-gone"),
]


@pytest.mark.parametrize("text, fault", FAULTY, ids=[fault for _, fault in FAULTY])
def test_the_fault_finder_finds(text, fault):
    page = Page("04_mnist.ipynb", f"## Part\n\n{text}\n")
    assert faults(page, [page, ELSEWHERE], {"images/a.png"}) == [fault]


@pytest.mark.parametrize("text", [
    "[a](lib/base/00_env.ipynb#quick-or-full)", "[a](#part)", f"[a]({site_url()}/lib/base/env.html#environment)",
    "[a](https://example.org/x#y)", "[![a](images/a.png)](#part) [b](#part)", "![a](images/a.png)",
    "::: {.callout-tip}\ntext\n:::", "> quote", "$$x$$ {#eq-x}\n\nsee @eq-x", "#| label: fig-x\n\nsee @fig-x",
    "![a](images/a.png){#fig-y}\n\nsee @fig-y", "write to a@example.org"])
def test_the_fault_finder_accepts(text):
    page = Page("04_mnist.ipynb", f"## Part\n\n{text}\n")
    assert faults(page, [page, ELSEWHERE], {"images/a.png"}) == []


# The pages themselves

PROCESS = """
import gc
from functools import cache

from nbdev import config, serve

config._load_toml = cache(config._load_toml) # nbdev reads pyproject.toml again for each cell
serve.proc_nbs(n_workers=0, force=True)
gc.freeze() # at exit IPython collects garbage again for each notebook: half a minute
"""


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    "The notebooks as nbdev hands them to Quarto: in a copy of the checkout, where exports and imports run again"
    copy = tmp_path_factory.mktemp("site")/"course"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored(ROOT))
    (copy/"process.py").write_text(PROCESS, encoding="utf-8")
    done = subprocess.run([sys.executable, "process.py"], cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return copy/"_proc"


def page_text(path):
    "What a page says: its markdown cells, the labels of its code cells and the markdown among its outputs"
    if path.suffix == ".qmd": return path.read_text(encoding="utf-8")
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code": parts.append(source)
        else: parts += re.findall(r"^#\| label: .*", source, flags=re.M)
        for output in cell.get("outputs", []): parts.append("".join(output.get("data", {}).get("text/markdown", [])))
    return "\n\n".join(parts)


@pytest.fixture(scope="module")
def pages(processed):
    paths = [path for suffix in ("*.ipynb", "*.qmd") for path in sorted(processed.rglob(suffix))]
    named = {path.relative_to(processed).as_posix(): path for path in paths}
    return {name: Page(name, page_text(path)) for name, path in named.items()}


@pytest.fixture(scope="module")
def files(processed):
    return {path.relative_to(processed).as_posix() for path in processed.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [target for _, target, _ in menu()])
def test_a_page_has_no_silent_faults(name, pages, files):
    assert faults(pages[name], list(pages.values()), files) == []


@pytest.mark.parametrize("name", [target for _, target, _ in menu() if target.endswith(".ipynb")])
def test_a_page_has_a_title_and_a_promise(name, processed):
    front = json.loads((processed/name).read_text(encoding="utf-8"))["cells"][0]
    facts = yaml.safe_load("".join(front["source"]).split("---")[1])
    assert facts["title"] and len(facts["description"]) > 20


def doubled_keys(source):
    "Keys that stand more than once in the `#|` lines at the head of a cell: Quarto stops at them, and builds no page"
    head = takewhile(lambda line: line.startswith("#|"), source.splitlines())
    counts = Counter(match[1] for line in head if (match := re.match(r"#\| ?([\w-]+):", line)))
    return [key for key, count in counts.items() if count > 1]


@pytest.mark.parametrize("source, doubled", [
    ("#| code-fold: show\n#| exports\n#| code-fold: true\nx = 1", ["code-fold"]),
    ("#|label: fig-a\n#| label: fig-b\n#| fig-cap: x\n#| fig-cap: y", ["label", "fig-cap"]),
    ("#| fig-cap:\n#|   - label: one\n#|   - label: two\nx = 1", []),
    ("#| label: fig-a\ntext = \"\"\"\n#| label: fig-b\n#| label: fig-c\n\"\"\"", []),
    ("# label: a\n# label: b", []), ("", [])])
def test_doubled_keys_are_found(source, doubled): assert doubled_keys(source) == doubled


@pytest.mark.parametrize("name", [target for _, target, _ in menu() if target.endswith(".ipynb")])
def test_no_key_stands_twice_in_a_cell(name, processed):
    cells = json.loads((processed/name).read_text(encoding="utf-8"))["cells"]
    found = {cell["id"]: doubled_keys("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"}
    assert found or name == "start/glossary.ipynb", "a page without code"
    assert {id: keys for id, keys in found.items() if keys} == {}


# What notebooks hold

MACHINE_PATHS = re.compile(r"(?<![\w.:/~])/(?:home|Users|root|tmp|mnt|opt|var|usr|work|content|kaggle)/[\w.-]+")


def outputs(path):
    "Every output of a notebook with the source of its cell"
    cells = json.loads((ROOT/path).read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), output) for cell in cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("lesson", [info.id for info in lessons()])
def test_lessons_show_what_they_give_and_copies_do_not(lesson):
    assert outputs(f"nbs/{lesson}.ipynb") and not outputs(f"clean/{lesson}.ipynb")


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_outputs_name_no_machine(path):
    for _, output in outputs(path):
        shown = {kind: text for kind, text in output.get("data", output).items() if not kind.startswith("image/")}
        assert MACHINE_PATHS.findall(json.dumps(shown)) == []


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_outputs_can_be_seen_on_a_page(path):
    for source, output in outputs(path):
        kinds = set(output.get("data", {}))
        pictures = [kind for kind in kinds if kind.startswith("image/")]
        assert not pictures or "#| fig-alt" in source, f"no alt text for the picture of:\n{source}"
        assert "application/vnd.plotly.v1+json" not in kinds or "text/html" in kinds, f"empty on the page:\n{source}"
        assert "application/vnd.jupyter.widget-view+json" not in kinds, f"empty on the page:\n{source}"
        assert output["output_type"] != "error", f"a failed cell was kept:\n{source}"


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebooks_are_small(path):
    assert (ROOT/path).stat().st_size < 1.5e6
    metadata = json.loads((ROOT/path).read_text(encoding="utf-8"))["metadata"]
    assert "widgets" not in metadata, "saved widgets break the view on GitHub"


@pytest.mark.skipif(shutil.which("quarto") is None, reason="Quarto is not installed; the tests above stand in for it")
def test_quarto_builds_the_site(tmp_path):
    copy = shutil.copytree(ROOT, tmp_path/"course", symlinks=True, ignore=ignored(ROOT))
    subprocess.run(["nbdev-docs", "--n-workers", "1"], cwd=copy, check=True, capture_output=True, timeout=600)
    built = {path.relative_to(copy/"_docs").as_posix() for path in (copy/"_docs").rglob("*.html")}
    assert {"index.html", "mnist.html", "lib/base/env.html", "solutions/mnist.html"} <= built
