"""The two layers of style of the site, laid over a page as Quarto builds one, in Chromium: can it be read, does it fit?

Quarto is not needed. What its themes make of the parts that went wrong without our layers stands in `THEME`, with the
colours that Quarto 1.9 takes from cosmo and darkly; a test sees to it that the measures find those faults."""
import json
import re

import pytest
import yaml
from browser import start_browser
from course_lib.base.env import checkout
from course_lib.exercises.check import Verdict

NBS = checkout()/"nbs"
MODES = ("light", "dark")
WIDTHS = {"desk": dict(width=1300), "phone": dict(width=400, mobile=True)}

THEME = """
:root { font-size: 17px }
* { box-sizing: border-box }
body { margin: 0; font: 1rem/1.5 sans-serif; color: var(--text); background: var(--page) }
main { padding: 0 1.5em }
a { color: var(--link) }
code { font-size: .875em; color: var(--code); background-color: #f8f9fa; white-space: pre }
p code:not(.sourceCode), li code:not(.sourceCode), td code:not(.sourceCode) { background-color: var(--code-page) }
p code:not(.sourceCode), td code:not(.sourceCode) { white-space: pre-wrap }
pre { overflow: auto }
pre > code { display: block; color: inherit; background-color: transparent }
figcaption.quarto-float-caption, caption { font-size: .9rem; color: var(--caption) }
details > summary, .nav-page a, .quarto-title-breadcrumbs .breadcrumb li:last-of-type a { color: var(--muted) }
.breadcrumb { list-style: none; background-color: var(--crumbs) }
.breadcrumb a { color: var(--text) }
.table { width: 100%; border-collapse: collapse }
.cell-output-display:not(.no-overflow-x) { overflow-x: auto }
input { background-color: var(--page) }
"""
COLORS = {
    "light": dict(text="#343a40", page="#fff", link="#2761e3", code="#7d12ba", code_page="#f8f9fa",
                  caption="#747a7f", muted="#6c757d", crumbs="#fff"),
    "dark": dict(text="#fff", page="#222", link="#00bc8c", code="inherit", code_page="rgba(67, 67, 67, .65)",
                 caption="#bfbfbf", muted="#595959", crumbs="#434343"),
}
LONG = "a_name_of_one_long_word_that_is_wider_than_a_phone"
SAMPLE = f"""
<nav class="quarto-page-breadcrumbs quarto-title-breadcrumbs"><ol class="breadcrumb">
  <li class="breadcrumb-item"><a href="#1">Lessons</a></li>
  <li class="breadcrumb-item"><a href="#2">Last crumb</a></li></ol></nav>
<p>Text with <code>code_in_text</code>, <a href="#3">a link</a> and <a href="#4"><code>linked_code</code></a>.</p>
<ul><li><code>{' '.join(f'--option-{number}=value' for number in range(9))}</code></li></ul>
<details open class="code-fold"><summary>Folded part</summary>
  <pre class="sourceCode"><code class="sourceCode">x = 1</code></pre></details>
<figure class="quarto-float figure">
  <figcaption class="quarto-float-caption">Caption with <code>code_in_caption</code></figcaption></figure>
<table class="caption-top table" id="prose">
  <colgroup><col style="width: 20%"><col style="width: 60%"><col style="width: 20%"></colgroup>
  <thead><tr><th>Word</th><th>Meaning</th><th>Here</th></tr></thead>
  <tbody><tr><td>epoch</td><td>one pass over all items</td><td><code>{LONG}</code>, {LONG}</td></tr></tbody></table>
<div class="cell-output cell-output-stdout"><pre id="printed"><code>{'one printed line, ' * 30}</code></pre></div>
<div class="cell-output cell-output-display" id="scrolls"><table class="dataframe"><caption>Table caption</caption>
  <tr>{''.join(f'<td>column_{number}_of_a_table</td>' for number in range(20))}</tr></table></div>
"""
AFTER = """<nav class="page-navigation"><div class="nav-page nav-page-previous"><a href="#5" class="pagination-link">
<span class="nav-page-text">Page before</span></a></div></nav>"""

MEASURES = """
function parse(color) { // [red, green, blue, opacity] of what getComputedStyle says
  const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
}
function over(top, below) { return [0, 1, 2].map(i => top[3]*top[i] + (1 - top[3])*below[i]); }
function luminance(color) {
  const [r, g, b] = color.map(c => c/255).map(c => c <= 0.04045 ? c/12.92 : ((c + 0.055)/1.055)**2.4);
  return 0.2126*r + 0.7152*g + 0.0722*b;
}
function ground(element) { // What is seen behind the text of an element
  const below = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
  return over(parse(getComputedStyle(element).backgroundColor), below);
}
function contrast(element) { // As WCAG 2 defines it
  const behind = ground(element), text = over(parse(getComputedStyle(element).color), behind);
  const [dark, bright] = [luminance(behind), luminance(text)].sort((a, b) => a - b);
  return (bright + 0.05)/(dark + 0.05);
}
function faint() { // [[text, contrast]] of all that is shown with less than 4.5
  const seen = [...document.body.querySelectorAll("*")].filter(e => e.checkVisibility() && !e.closest("script, style")
    && [...e.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  return seen.map(e => [e.textContent.trim(), contrast(e)]).filter(([, ratio]) => ratio < 4.5);
}
function rules(sheet) { // How many there are, those inside others included
  return [...sheet.cssRules].reduce((sum, rule) => sum + 1 + (rule.cssRules ? rules(rule) : 0), 0);
}
"""


# Building the page

def layer(name):
    "The rules of a file of ours, which are written such that they are CSS once the comments are gone"
    sections = re.split(r"^/\*-- scss:(\w+) --\*/$", (NBS/name).read_text(encoding="utf-8"), flags=re.M)[1:]
    rules = [text for kind, text in zip(sections[::2], sections[1::2], strict=True) if kind == "rules"]
    return re.sub(r"^\s*//.*$", "", "".join(rules), flags=re.M)


def layers(mode):
    "Our layers for a mode, in the order of the settings"
    themes = yaml.safe_load((NBS/"_quarto.yml").read_text(encoding="utf-8"))["format"]["html"]["theme"][mode]
    return [layer(name) for name in themes if name.endswith(".scss")]


def quiz():
    "A quiz as the page about quizzes keeps it: a frame and a script"
    for cell in json.loads((NBS/"lib"/"quiz"/"01_questions.ipynb").read_text(encoding="utf-8"))["cells"]:
        parts = [part for output in cell.get("outputs", []) for part in output.get("data", {}).items()]
        shown = {kind: "".join(text) for kind, text in parts}
        if script := shown.get("application/javascript"): return f"{shown['text/html']}<script>{script}</script>"
    raise AssertionError("no quiz is kept on that page")


def page_html(mode, ours):
    "The sample page, with our layers or without"
    colors = "".join(f"--{name.replace('_', '-')}: {color}; " for name, color in COLORS[mode].items())
    styles = [f"body {{ {colors} }} {THEME}", *(layers(mode) if ours else [])]
    sheets = "".join(f"<style>{style}</style>" for style in styles)
    verdict = Verdict("mean_of", "wrong", "It gave `code_in_verdict` for `[1, 2]`.", ("Look at `xs`.",))._repr_html_()
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample</title>{sheets}'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<body class="quarto-{mode}"><main class="content" id="quarto-document-content">{SAMPLE}{verdict}'
            f'<div class="cell-output cell-output-display">{quiz()}</div></main>{AFTER}<script>{MEASURES}</script>')


@pytest.fixture(scope="module")
def open_sample(tmp_path_factory):
    "Open the sample page in a mode and a width: a page of a running Chromium"
    folder = tmp_path_factory.mktemp("styles")
    with start_browser(folder) as browser:
        def opened(mode, width="desk", ours=True):
            file = folder/f"{mode}-{ours}.html"
            file.write_text(page_html(mode, ours), encoding="utf-8")
            page = browser.page(file.as_uri(), dark=mode == "dark", **WIDTHS[width])
            page.wait_for("document.querySelectorAll('.Quiz').length")
            return page
        yield opened


# Our layers can be taken as CSS

@pytest.mark.parametrize("mode", MODES)
def test_the_browser_understands_every_rule(mode, open_sample):
    css = layers(mode)
    assert css and not re.search(r"[$&@](?!media)", "".join(css)), "only Quarto can compile more than plain rules"
    page = open_sample(mode)
    sheets = "[...document.styleSheets].filter(sheet => !sheet.ownerNode.closest('main')).slice(1)"
    assert page.evaluate(f"{sheets}.map(rules)") == [text.count("{") for text in css]


# Contrast

@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mode", MODES)
def test_all_text_can_be_read(mode, width, open_sample):
    assert open_sample(mode, width).evaluate("faint()") == []


@pytest.mark.parametrize("mode", MODES)
def test_feedback_of_a_quiz_can_be_read(mode, open_sample):
    page = open_sample(mode)
    for choice in ("first-child", "last-child"):
        page.evaluate(f"document.querySelectorAll('.Quiz .Answer > label:{choice}').forEach(label => label.click())")
        page.wait_for("document.getAnimations().every(animation => animation.playState === 'finished')")
        assert page.evaluate("[...document.querySelectorAll('.Feedback')].filter(e => e.textContent.trim()).length") > 0
        assert page.evaluate("faint()") == []


def test_the_measure_finds_what_the_themes_leave_faint(open_sample):
    found = {mode: dict(open_sample(mode, ours=False).evaluate("faint()")) for mode in MODES}
    assert found["light"].keys() == {"Caption with code_in_caption", "Table caption"}
    expected = {"code_in_verdict", "code_in_caption", "Folded part", "Page before", "Last crumb"}
    assert expected < found["dark"].keys() and min(found["dark"].values()) == pytest.approx(1.05, abs=.01)


# Width

SPARE = "(({scrollWidth, clientWidth}) => clientWidth - scrollWidth)(document.querySelector('%s'))"
HEIGHTS = "[...document.querySelectorAll('%s')].map(cell => cell.getBoundingClientRect().height)"


def test_a_phone_shows_the_page_without_scrolling_sideways(open_sample):
    bare, ours = (open_sample("light", "phone", ours=ours) for ours in (False, True))
    assert ours.evaluate("document.documentElement.scrollWidth") == 400
    assert bare.evaluate("document.documentElement.scrollWidth") > 400


@pytest.mark.parametrize("width", WIDTHS)
def test_what_was_printed_is_wrapped(width, open_sample):
    bare, ours = (open_sample("light", width, ours=ours) for ours in (False, True))
    assert bare.evaluate(SPARE % "#printed") < 0 <= ours.evaluate(SPARE % "#printed")


def test_tables_of_outputs_scroll_and_those_of_the_text_break_long_words_only(open_sample):
    page = open_sample("light", "phone")
    assert page.evaluate(SPARE % "#scrolls") < -400, "a table of an output was squeezed"
    assert max(page.evaluate(HEIGHTS % "#prose th, #scrolls td")) < 40, "a short word was broken, or one of an output"


# Fields

LABELS = "[...document.querySelectorAll('input.Input-text')].map(field => [...field.labels].map(e => e.innerText))"


def test_every_field_of_a_quiz_has_its_label(open_sample):
    page = open_sample("light")
    page.wait_for("document.querySelector('.InpLabel').htmlFor")
    labels = page.evaluate(LABELS)
    assert labels and all(len(texts) == 1 and "answer here" in texts[0] for texts in labels)
    page.click(".InpLabel")
    assert page.evaluate("document.activeElement.className") == "Input-text"
