"Lessons run in a fresh kernel, stop where they fail, and are kept only when nothing of this machine is in them"
import asyncio
import errno
import io
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rich.console import Console

from course_lib.tools import outputs as kept, runner
from course_lib.base.env import CourseError, checkout
from course_lib.lesson.results import Run, load_run, save_run

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    for name in ("COURSE_MODE", "COURSE_SAVE", "IN_TEST", "CI", "FORCE_COLOR"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(runner, "QUICK_LIMIT", 300)


def write_notebook(folder, cells, name="04_mnist"):
    "A notebook with one code cell for each string; a cell of another kind goes in as it is"
    cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "python3"}}),
                   path)
    return path


def run(path, mode="quick", save=False):
    "Run a notebook; what it printed on the way"
    printed = io.StringIO()
    asyncio.run(runner.run_notebook(path, mode, save, Console(file=printed, width=200)))
    return printed.getvalue()


def run_named(monkeypatch, paths, **options):
    "Run lessons whose notebooks are `paths`; (exit status, what was printed)"
    monkeypatch.setattr(runner, "notebook_path", {path.stem: path for path in paths}.__getitem__)
    monkeypatch.setattr(runner, "checkout", lambda: paths[0].parent)
    printed = io.StringIO()
    status = runner.run_lessons([path.stem for path in paths], console=Console(file=printed, width=200), **options)
    return status, printed.getvalue()


def outputs(path, index):
    return nbformat.read(path, as_version=4).cells[index].outputs


def test_a_line_for_each_cell(tmp_path):
    path = write_notebook(tmp_path,
                          [new_markdown_cell("# Digits\n## Pixels {#sec-pixels}"), "# first\nx = 3", "", "print(x)"])
    lines = run(path).splitlines()
    assert [line.split(" s  ")[1] for line in lines] == ["1/2  Pixels: x = 3", "2/2  Pixels: print(x)"]
    assert outputs(path, 3) == []


def test_banner_and_scoreboard_are_shown_as_text(tmp_path):
    cells = ["def start(name): print('mode quick', name)",
             "class Lesson:\n    def scoreboard(self): return self\n    def __repr__(self): return 'row ours'\n"
             "    def _repr_html_(self): return '<b>html</b>'",
             "start('04')", "print('hidden')", "Lesson().scoreboard()"]
    printed = run(write_notebook(tmp_path, cells))
    assert "mode quick 04\n" in printed and "row ours\n" in printed
    assert "\nhidden" not in printed and "html" not in printed.replace("_repr_html_", "")


def test_nothing_live_is_written_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in run(write_notebook(tmp_path, ["1"]))


def test_kernel_is_this_python_in_the_notebooks_folder(tmp_path, monkeypatch):
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "other", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("COURSE_SAVE", "1")
    code = ("import json, os, sys; names = ('COURSE_MODE', 'COURSE_SAVE')\n"
            "json.dump([sys.executable, os.getcwd(), *map(os.environ.get, names)], open('facts.json', 'w'))")
    run(write_notebook(tmp_path, [code]), mode="full")
    executable, folder, mode, save = json.loads((tmp_path / "facts.json").read_text())
    assert (Path(executable), Path(folder).resolve(), mode, save) == (Path(sys.executable), tmp_path.resolve(), "full",
                                                                      None)


def test_cells_marked_for_reading_are_skipped(tmp_path):
    tagged = new_code_cell("1/0", metadata={"tags": ["skip-execution"]})
    directives = ["#| eval: false\n1/0", "#|eval:false\n1/0", "#| echo: false\n#| eval: false\n1/0"]
    assert "1/1" in run(write_notebook(tmp_path, [tagged, *directives, "open('ran', 'w').close()"]))
    assert (tmp_path / "ran").exists()


FAILURES = {
    "an error": ("1/0", ["ZeroDivisionError: division by zero", "Traceback"]),
    "an error of the course": ("from course_lib.base.env import CourseError\n"
                               "raise CourseError('no data: connect')", ["\nCourseError: no data: connect\n"]),
    "a long traceback": ("def f(n): return f(n - 1) if n else 1/0\nimport sys; sys.tracebacklimit = 90\n"
                         "f(40)", ["lines left out", "ZeroDivisionError"]),
    "a question to the reader": ("input('name?')", ["StdinNotImplementedError"]),
    "a process that ends": ("import os; os._exit(7)", ["exit status 7"]),
    "no memory": pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
                              ["SIGKILL", "memory", "--quick"], marks=unix),
    "a crash": pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", ["SIGSEGV", "course doctor"],
                            marks=unix),
}


@pytest.mark.parametrize("code, said", FAILURES.values(), ids=FAILURES)
def test_stops_at_the_first_cell_that_fails(tmp_path, monkeypatch, code, said):
    path = write_notebook(tmp_path, ["1", new_markdown_cell("## The hard part"), "2", code, "open('ran', 'w').close()"])
    before = path.read_bytes()
    status, printed = run_named(monkeypatch, [path], mode="quick")
    assert status == 1 and not (tmp_path / "ran").exists() and path.read_bytes() == before
    assert '04_mnist stopped at cell 3 of 4, under "The hard part"' in printed
    assert "    " + code.splitlines()[-1] in printed and "`course run 04 --quick`" in printed
    assert "jupyter lab" in printed
    assert all(words in printed for words in said)


def test_an_error_of_the_course_has_no_traceback(tmp_path, monkeypatch):
    path = write_notebook(tmp_path, [FAILURES["an error of the course"][0]])
    assert "Traceback" not in run_named(monkeypatch, [path])[1]


@pytest.mark.timing
@pytest.mark.parametrize("mode, stopped", [("quick", True), ("full", False), (None, False)])
def test_only_quick_cells_have_a_limit(tmp_path, monkeypatch, mode, stopped):
    monkeypatch.setattr(runner, "QUICK_LIMIT", 1)
    status, printed = run_named(monkeypatch, [write_notebook(tmp_path, ["import time; time.sleep(1.5)"])], mode=mode)
    assert (status == 1) == stopped and ("stopped after 1 seconds" in printed) == stopped


def test_several_lessons_stop_together_and_name_the_rest(tmp_path, monkeypatch):
    paths = [write_notebook(tmp_path, [f"open('{name}', 'w').close()", code], name)
             for name, code in [("01_intro", "1"), ("02_deployment", "1/0"), ("04_mnist", "1"), ("05_pets", "1")]]
    status, printed = run_named(monkeypatch, paths, mode="quick")
    assert status == 1 and "01_intro ran in" in printed
    assert "Not run: 04_mnist, 05_pets. `course run 04 05 --quick` runs the rest." in printed
    assert not (tmp_path / "04_mnist").exists()


def test_an_unknown_name_stops_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run_notebook", None)
    with pytest.raises(CourseError, match="04_mnist"): runner.run_lessons(["04_mnist", "04_mnits"])


def test_a_misspelt_mode_stops_before_a_kernel_starts(monkeypatch):
    monkeypatch.setenv("COURSE_MODE", "ful")
    with pytest.raises(CourseError, match="Did you mean 'full'"): runner.run_lessons(["04"])


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"cells": []}'])
def test_a_file_that_is_no_notebook(tmp_path, text):
    path = tmp_path / "04_mnist.ipynb"
    path.write_text(text)
    with pytest.raises(CourseError, match="not a notebook"): run(path)


# Keeping outputs

def test_saved_outputs_are_as_nbdev_cleans_them(tmp_path, monkeypatch):
    from nbdev.clean import nbdev_clean
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.nbdev]\nallowed_cell_metadata_keys = ["tags"]\n')
    tagged = new_code_cell("1/0", metadata={"tags": ["skip-execution"], "collapsed": True})
    path = write_notebook(tmp_path, ["class Thing: pass\nThing()", tagged, "from IPython.display import display, "
                                                                           "HTML\ndisplay(HTML('<b>ü</b>'))"])
    run(path, save=True)
    saved = path.read_bytes()
    nbdev_clean(path.name)
    assert path.read_bytes() == saved
    assert outputs(path, 0)[0].data["text/plain"] == "<__main__.Thing>"
    assert outputs(path, 2)[0].data["text/html"] == "<b>ü</b>"
    assert nbformat.read(path, as_version=4).cells[1].metadata == {"tags": ["skip-execution"]}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["04_mnist.ipynb", "pyproject.toml"]


def test_what_is_printed_slowly_is_saved_as_what_is_printed_at_once(tmp_path):
    slow = ("import sys, time\n"
            "for word in 'one two three'.split(): print(word, end=' ', flush=True); time.sleep(.3)\n"
            "print('x', file=sys.stderr)\n"
            "print('end')")
    path = write_notebook(tmp_path, [slow])
    run(path, save=True)
    assert [(output.name, output.text) for output in outputs(path, 0)] == [("stdout", "one two three end\n"),
        ("stderr", "x\n")]


def test_widgets_are_not_saved(tmp_path):
    path = write_notebook(tmp_path, ["import ipywidgets\nipywidgets.IntSlider()"])
    run(path, save=True)
    assert "widget-state" not in path.read_text() and "widget-view" not in path.read_text()
    assert "IntSlider" in outputs(path, 0)[0].data["text/plain"]


HTML = "from IPython.display import HTML, display\n"
GONE = {
    "a page with nothing on it": HTML + "display(HTML(''))",
    "a style sheet": HTML + "display(HTML('<style>\\n progress { width: 9px; }\\n</style>'), HTML('<!-- bar -->\\n'))",
    "a bar that has gone": "from fastprogress import progress_bar\nfor _ in progress_bar(range(3), leave=False): pass",
}
SHOWN = {
    "a quiz": HTML + "display(HTML('<style>p {}</style><div id=\"quiz\"></div>'))",
    "a script": HTML + "display(HTML('<!-- plot --><script>draw()</script>'))",
    "a figure": HTML + "display(HTML('<img alt=\"\">'))",
    "an object of its own": "class Bar:\n    def _repr_html_(self): return ''\nBar()",
    "several kinds": HTML + "display({'text/html': '', 'text/plain': '<IPython.core.display.HTML object>', "
                            "'image/svg+xml': '<svg/>'}, raw=True)",
    "numbers": HTML + "display({'application/json': [1, 2], 'text/plain': '[1, 2]'}, raw=True)",
}


def test_outputs_are_saved_where_they_show_something(tmp_path):
    path = write_notebook(tmp_path, [*SHOWN.values(), *(code + "\nprint('done')" for code in GONE.values())])
    run(path, save=True)
    kinds = [[output.output_type for output in outputs(path, number)] for number in range(len(SHOWN) + len(GONE))]
    assert dict(zip(SHOWN, map(len, kinds), strict=False)) == dict.fromkeys(SHOWN, 1)
    assert dict(zip(GONE, kinds[len(SHOWN):], strict=True)) == dict.fromkeys(GONE, ["stream"])


@pytest.mark.parametrize("lesson", sorted((checkout()/"nbs").glob("[0-9][0-9]_*.ipynb")), ids=lambda path: path.stem)
def test_lessons_keep_no_output_that_shows_nothing(lesson):
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    assert [cell["id"] for cell in cells for output in cell.get("outputs", []) if kept.shows_nothing(output)] == []



LEAKS = {
    "home": "from pathlib import Path\nprint('see', Path.home()/'x')",
    "data folder": "import os\nos.environ['FASTAI_HOME']",
    "Python": "import warnings\nimport json\nprint(json.__file__, __import__('nbformat').__file__)",
    "in html": "from IPython.display import HTML\nfrom pathlib import Path\nHTML(f'<a href=\"{Path.home()}/x\">x</a>')",
}


@pytest.mark.parametrize("code", LEAKS.values(), ids=LEAKS)
def test_outputs_that_name_this_machine_are_refused(tmp_path, code):
    path = write_notebook(tmp_path, ["1", code])
    before = path.read_bytes()
    with pytest.raises(CourseError, match=r"cell 2 .* of this machine \("): run(path, save=True)
    assert path.read_bytes() == before and list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("text", ["~/.fastai/data/x", "a" + str(Path.home()), str(Path.home()) + "like", "data/mnist"])
def test_what_is_no_folder_of_this_machine(text):
    assert kept.named_folder(text) is None


def test_a_large_output_is_searched_at_once():
    assert kept.named_folder("x" * 4_000_000 + " " + str(Path.home())) == ("the home folder", str(Path.home()))


def test_an_edit_made_during_the_run_stays(tmp_path):
    path = write_notebook(tmp_path, ["open('04_mnist.ipynb', 'a').write('\\n')"])
    before = path.read_text()
    with pytest.raises(CourseError, match="edited while it ran"): run(path, save=True)
    assert path.read_text() == before + "\n"


def test_a_failed_run_saves_nothing(tmp_path, monkeypatch):
    path = write_notebook(tmp_path, ["1", "1/0"])
    before = path.read_bytes()
    assert run_named(monkeypatch, [path], mode="full", save=True)[0] == 1
    assert path.read_bytes() == before


MEASURES = """
from course_lib.base.catalogue import find_lesson
from course_lib.lesson.start import Lesson
lesson = Lesson(find_lesson("04"), "full")
lesson.record("M2", "pixel similarity", 0.95)
lesson.scoreboard()
"""


@pytest.mark.parametrize("last, status", [("1/0", 1), ("'the end'", 0)])
def test_figures_are_kept_with_the_outputs_or_not_at_all(tmp_path, monkeypatch, last, status):
    "A lesson that fails after its scoreboard leaves the results of an earlier run, and its outputs, as they were"
    results = tmp_path / "results"
    monkeypatch.setattr(kept, "results_folder", lambda: results)
    save_run(Run("04_mnist", "full", 1), results)
    path = write_notebook(tmp_path, [MEASURES, last])
    before = path.read_bytes(), (results / "04_mnist.json").read_bytes()
    assert run_named(monkeypatch, [path], mode="full", save=True)[0] == status
    after = path.read_bytes(), (results / "04_mnist.json").read_bytes()
    assert [old == new for old, new in zip(before, after, strict=True)] == [status == 1]*2
    assert [figure.value for figure in load_run("04_mnist", results).measured] == ([] if status else [0.95])
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "fastai") == ["04_mnist.ipynb", "results"]


def test_outputs_that_are_refused_take_the_figures_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "results_folder", lambda: tmp_path / "results")
    path = write_notebook(tmp_path, [MEASURES, LEAKS["home"]])
    with pytest.raises(CourseError, match="of this machine"): run(path, save=True)
    assert not (tmp_path / "results").exists()


def test_damaged_figures_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "results_folder", lambda: tmp_path / "results")
    path = write_notebook(tmp_path,
                          ["import os, pathlib\npathlib.Path(os.environ['COURSE_SAVE'], "
                           "'04_mnist.json').write_text('{}')"])
    before = path.read_bytes()
    with pytest.raises(CourseError, match="04_mnist.json is not a saved run"): run(path, save=True)
    assert path.read_bytes() == before and not (tmp_path / "results").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_leaves_the_notebook_as_it_was(tmp_path, monkeypatch, code):
    path = write_notebook(tmp_path, ["1"])
    before = path.read_text()
    def refuse(source, target): raise OSError(code, os.strerror(code))
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CourseError, match=f"could not be written.*{os.strerror(code)}"):
        kept.keep_outputs(nbformat.read(path, as_version=4), path, before)
    assert path.read_text() == before and [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("root, tool, said", [(None, True, "installed copy"), (Path(), False, "pip install")])
def test_saving_is_refused_before_the_run(monkeypatch, root, tool, said):
    monkeypatch.setattr(runner, "checkout", lambda: root)
    monkeypatch.setattr(kept.importlib.util, "find_spec", lambda name: object() if tool else None)
    with pytest.raises(CourseError, match=said): runner.run_lessons(["04"], "full", True)


def test_a_read_only_checkout_is_noticed_before_the_run(monkeypatch, tmp_path):
    for name in ("nbs", "results"): (tmp_path/name).mkdir()
    monkeypatch.setattr(runner, "checkout", lambda: tmp_path)
    monkeypatch.setattr(kept, "write_error", lambda folder: "Read-only file system" if folder.name == "results" else "")
    with pytest.raises(CourseError, match="--save writes to results/.*Read-only.*without --save"):
        runner.run_lessons(["04"], "full", True)


def test_threads_wait_without_spinning_and_small_batches_take_one(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "COURSE_MODE"): monkeypatch.delenv(name, raising=False)
    assert runner.kernel_environment("full", None)["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_NUM_THREADS" not in runner.kernel_environment("full", None)
    assert runner.kernel_environment("quick", None)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert runner.kernel_environment("quick", None)["OMP_NUM_THREADS"] == "2"
