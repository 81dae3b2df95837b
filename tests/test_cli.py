"The `course` command as a reader types it: in a checkout, from an installed wheel, and with typing errors"
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

import course_lib
from course_lib.tools import cli
from course_lib.data import get, receipts
from course_lib.data.receipts import Verification
from course_lib.data.sets import data_path, datasets
from course_lib.base.env import CourseError
from course_lib.base.catalogue import dives, lessons

PROGRAM = [sys.executable, "-c", "from course_lib.tools.cli import main; main()"]
PROJECT = '[project.urls]\nRepository = "https://github.com/ada/notes"\n[tool.nbdev]\n'


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    for name in ("COURSE_MODE", "COURSE_SAVE", "COURSE_DATA_MIRROR", "IN_TEST", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(tmp_path):
    "A folder with the package alone, as in a wheel"
    root = tmp_path / "course"
    shutil.copytree(Path(course_lib.__file__).parent, root / "course_lib")
    return root


@pytest.fixture
def checkout(installed):
    "A checkout with one lesson, which a test can rewrite"
    (installed / "nbs").mkdir()
    (installed / "pyproject.toml").write_text(PROJECT)
    write_lesson(installed, ["import os; start = os.environ.get", "start('COURSE_MODE')"])
    return installed


def write_lesson(root, cells):
    cells = [new_markdown_cell("# Digits"), *map(new_code_cell, cells)]
    nbformat.write(new_notebook(cells=cells), root / "nbs" / "04_mnist.ipynb")


def environment(root): return os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(root), "COLUMNS": "200"}


def course(root, *words):
    "Type a command in `root`"
    return subprocess.run([*PROGRAM, *words], cwd=root, env=environment(root), capture_output=True, text=True,
                          encoding="utf-8", timeout=300)


def typed(*words, **more): return CliRunner().invoke(cli.app, words, **more)


def plain(text): return re.sub(r"\x1b\[[0-9;]*m", "", text) # Typer colours its own messages on some test machines


# Answering at once

@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "no-such-lesson"], ["data", "list"]])
def test_nothing_heavy_is_loaded(words):
    code = (f"import sys; sys.argv = ['course', *{words}]\ntry:\n    from course_lib.tools.cli import main; main()\n"
            "finally:\n    print('LOADED', *sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=300)
    loaded = done.stdout.splitlines()[-1].split()
    heavy = {"torch", "fastai", "pandas", "numpy", "matplotlib", "nbclient", "nbformat", "jupyter_client", "IPython",
             "requests", "sklearn"}
    assert loaded[0] == "LOADED" and "course_lib.tools.cli" in loaded and heavy.isdisjoint(loaded)


def test_list_says_what_a_reader_wants_to_know(checkout):
    done = course(checkout, "list")
    first = lessons()[0]
    for words in [first.title, first.promise, *first.datasets, f"about {first.quick_seconds} s",
                  f"{first.full_minutes_gpu} min", f"course run {first.id[:2]}"]:
        assert words in " ".join(done.stdout.split()) # Long lines are broken
    assert done.returncode == 0 and "nbs/04_mnist.ipynb" in done.stdout


# Without notebooks

def test_list_answers_from_an_installed_wheel(installed):
    done = course(installed, "list")
    assert done.returncode == 0 and lessons()[0].title in done.stdout
    assert "notebook not here" in done.stdout and "git clone https://github.com/" in done.stdout


@pytest.mark.parametrize("words, said", [(["run", "04"], "git clone"), (["run", "04", "--save"], "git clone"),
                                         (["test"], "installed copy"),
                                         (["sync"], "git clone"), (["results"], "checkout")])
def test_what_needs_a_checkout_says_so(installed, words, said):
    done = course(installed, *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


# Typing errors

@pytest.mark.parametrize("words, said", [
    (["run", "04_mnits"], "Did you mean '04_mnist'?"), (["run", "04", "zebra"], "04_mnist"),
    (["results", "mnit"], "04_mnist"),
    (["run", "04", "--full", "--quick"], "exclude each other"), (["run", "04", "--quick", "--save"], "never kept"),
    (["data", "get", "mnist_smple"], "Did you mean 'mnist_sample'"), (["data", "path", "mnist_smple"], "mnist_sample"),
    (["data", "verify", "mnist_smple"], "mnist_sample"), (["data", "rm", "mnist_smple", "--yes"], "mnist_sample"),
    (["lst"], "Did you mean 'list'"), (["zebra"], "`course --help` says what each does"),
    (["data", "gt"], "Did you mean 'get'"), (["data", "zebra"], "`course data --help`"), (["help", "rn"], "'run'"),
    (["run"], "LESSON"), (["test", "--only", "all"], "notebooks")])
def test_typing_errors_get_one_clear_answer(words, said):
    answer = typed(*words)
    assert answer.exit_code == 2 and said in plain(answer.stderr) and answer.stdout == ""


@pytest.mark.parametrize("mode, words, said", [("ful", ["run", "04"], "Did you mean 'full'"),
                                               ("quick", ["run", "04", "--save"], "never kept")])
def test_mode_of_the_environment_counts(monkeypatch, mode, words, said):
    monkeypatch.setenv("COURSE_MODE", mode)
    answer = typed(*words)
    assert answer.exit_code == 2 and said in answer.stderr


@pytest.mark.parametrize("full, quick, save, env, mode", [
    (0, 0, 0, {}, None), (1, 0, 0, {}, "full"), (0, 1, 0, {}, "quick"), (0, 0, 1, {}, "full"), (1, 0, 1, {}, "full"),
    (1, 0, 1, {"COURSE_MODE": "quick"}, "full"), (0, 0, 1, {"CI": "1"}, "full"),
    (0, 0, 0, {"COURSE_MODE": "quick"}, "quick"),
    (0, 0, 0, {"CI": "1"}, None)])
def test_the_mode_that_is_asked_for(full, quick, save, env, mode): assert cli.asked_mode(full, quick, save, env) == mode


# Errors

def test_an_error_of_the_course_is_one_line(monkeypatch):
    def fail(): raise CourseError("[the disk] is full")
    monkeypatch.setattr(cli, "lessons", fail)
    answer = typed("list")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (2, "", "[the disk] is full\n")


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail(): raise ZeroDivisionError("ours")
    monkeypatch.setattr(cli, "lessons", fail)
    assert isinstance(typed("list").exception, ZeroDivisionError)


@pytest.mark.parametrize("words, said",
                         [([], "Usage: course"), (["-h"], "course list"), (["run", "--help"], "course run 04 --quick"),
                          (["data", "--help"], "verify"), (["help"], "course list"), (["help", "run"], "--dives"),
                          (["help", "data"], "verify"), (["help", "data", "get"], "NAME"),
                          (["--version"], course_lib.__version__)])
def test_help(words, said):
    answer = CliRunner(env={"COLUMNS": "120"}).invoke(cli.app, words, prog_name="course")
    assert answer.exit_code == 0 and said in plain(answer.stdout) and "<bool>" not in answer.stdout


def test_an_interrupted_download_says_that_it_goes_on(monkeypatch):
    def stop(name): raise KeyboardInterrupt
    monkeypatch.setattr(get, "get_data", stop)
    answer = typed("data", "get", "mnist_sample")
    assert answer.exit_code == 130 and "What has arrived is kept; `course data get mnist_sample`" in answer.stderr


def test_one_damaged_receipt_does_not_hide_the_others(one_set, monkeypatch):
    receipts.receipt_paths("mnist")[0].parent.mkdir(parents=True, exist_ok=True)
    data_path("mnist").mkdir()
    receipts.receipt_paths("mnist")[0].write_text("{")
    answer = typed("data", "verify")
    assert answer.exit_code == 1 and "receipt of 'mnist' cannot be used" in answer.stdout
    assert "mnist_sample: ok" in answer.stdout
    listed = typed("data", "list")
    assert listed.exit_code == 0 and "its receipt is damaged" in listed.stdout


# Running

def test_run_in_a_checkout(checkout):
    before = (checkout / "nbs" / "04_mnist.ipynb").read_bytes()
    done = course(checkout, "run", "mnist", "--quick")
    assert done.returncode == 0 and "2/2  Digits: start('COURSE_MODE')\n'quick'\n" in done.stdout
    assert "04_mnist ran in" in done.stdout
    assert (checkout / "nbs" / "04_mnist.ipynb").read_bytes() == before


def test_save_in_a_checkout(checkout):
    write_lesson(checkout, ["import os; print(os.environ['COURSE_MODE'], os.path.isdir(os.environ['COURSE_SAVE']))"])
    done = course(checkout, "run", "04", "--save")
    assert done.returncode == 0 and "kept in nbs/04_mnist.ipynb" in done.stdout
    saved = nbformat.read(checkout / "nbs" / "04_mnist.ipynb", as_version=4)
    assert saved.cells[1].outputs[0].text == "full True\n"


def test_a_failing_lesson_is_no_success(monkeypatch):
    "What is said of it stands in test_runner.py"
    from course_lib.tools import runner
    monkeypatch.setattr(runner, "run_lessons", lambda names, mode, save: 1)
    assert typed("run", "04", "--quick").exit_code == 1


def alive(process):
    "Whether a process exists"
    try: os.kill(process, 0)
    except ProcessLookupError: return False
    return True


def wait_for(condition, seconds=120):
    "Wait until something is so, but not for ever"
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(.05)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number, deaf", [
    pytest.param(signal.SIGINT, False, id="Ctrl-C"), pytest.param(signal.SIGINT, True, id="in a script's background"),
    pytest.param(signal.SIGTERM, True, id="asked to end there")])
def test_an_interruption_leaves_nothing_behind(checkout, number, deaf):
    def begin(): signal.signal(signal.SIGINT, signal.SIG_IGN if deaf else signal.SIG_DFL)
    write_lesson(checkout, ["import os, tempfile, time\nwith tempfile.TemporaryDirectory() as folder:\n"
                            "    with open('pid', 'w') as file: file.write(f'{os.getpid()} ')\n    time.sleep(60)"])
    files = lambda: {path for path in checkout.rglob("*") if "__pycache__" not in path.parts}
    before = files()
    with subprocess.Popen([*PROGRAM, "run", "04", "--quick"], cwd=checkout, env=environment(checkout),
                          stdout=subprocess.PIPE, text=True,
                          preexec_fn=begin) as process:
        note = checkout / "nbs" / "pid"
        kernel = int(wait_for(lambda: note.is_file() and note.read_text().endswith(" ") and note.read_text()))
        process.send_signal(number)
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "04_mnist was interrupted" in printed and "`course run 04 --quick`" in printed
    wait_for(lambda: not alive(kernel))
    assert files() - before == {note}


# Data

@pytest.fixture
def one_set(monkeypatch):
    "mnist_sample, half a MiB in two files, in the cache"
    folder = data_path("mnist_sample")
    (folder / "train").mkdir(parents=True)
    for name in ("labels.csv", "train/3.png"): (folder / name).write_bytes(b"3" * 2**18)
    monkeypatch.setattr(receipts, "check_count", lambda dataset: 2)
    return folder


def test_data_list_says_what_is_here(one_set):
    lines = typed("data", "list").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("mnist_")] == [
        ["mnist_sample", "3.1", "MiB", "here"], ["mnist_tiny", "0.3", "MiB", "not", "here"]]
    assert all(any(dataset.description[:40] in line for line in lines) for dataset in datasets().values())


@pytest.mark.parametrize("words", [["data", "path", "MNIST_SAMPLE"], ["data", "get", "mnist_sample"]])
def test_data_path(one_set, words):
    answer = typed(*words)
    assert answer.exit_code == 0 and answer.stdout.removeprefix("mnist_sample: ") == f"{one_set}\n"


def test_path_of_a_set_that_is_not_here():
    answer = typed("data", "path", "mnist_sample")
    assert (answer.exit_code, answer.stdout) == (2, "") and "course data get mnist_sample" in answer.stderr


@pytest.mark.parametrize("ok, code", [(True, 0), (False, 1)])
def test_verify_looks_at_all_that_is_here(one_set, monkeypatch, ok, code):
    asked = []
    def verify(name):
        asked.append(name)
        return Verification(name, 2, [] if ok else ["labels.csv"], [], [], "its receipt")
    monkeypatch.setattr(receipts, "verify_data", verify)
    answer = typed("data", "verify")
    assert answer.exit_code == code and asked == ["mnist_sample"] and ("DAMAGED" in answer.stdout) == (not ok)


def test_nothing_to_verify():
    answer = typed("data", "verify")
    assert answer.exit_code == 0 and "nothing to verify" in answer.stdout


@pytest.mark.parametrize("more, said, gone",
                         [([], "y\n", True), ([], "n\n", False), ([], "", False), (["--yes"], "", True)])
def test_removing_asks_first(one_set, more, said, gone):
    answer = typed("data", "rm", "mnist_sample", *more, input=said)
    assert "0.5 MiB in 2 files" in answer.stdout
    assert one_set.exists() != gone and (answer.exit_code == 0) == gone
    assert ("Removed mnist_sample" in answer.stdout) == gone


def test_removing_what_is_not_here():
    answer = typed("data", "rm", "mnist_sample")
    assert answer.exit_code == 2 and "nothing to remove" in answer.stderr


# All tests

@pytest.mark.parametrize("only, wanted", [(None, ["lint", "notebooks", "package", "sync"]), ("package", ["package"])])
def test_all_parts_run_and_one_failure_counts(tmp_path, monkeypatch, capfd, only, wanted):
    code = "import sys; print('part', sys.argv[1]); print('2 passed in 0.1s'); sys.exit(sys.argv[1] == 'notebooks')"
    monkeypatch.setattr(cli, "checkout", lambda: tmp_path)
    monkeypatch.setattr(cli, "commands_for_tests", lambda workers, with_dives: {
        name: [sys.executable, "-c", code, name] for name in ("lint", "notebooks", "package", "sync")})
    assert cli.run_tests(only) == (1 if only is None else 0)
    printed = capfd.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("part")] == wanted
    closing = printed.splitlines()[-len(wanted):]
    assert [line.split()[0] for line in closing] == wanted
    assert all(line.endswith("2 passed in 0.1s") for line in closing)
    assert ["FAILED" in line for line in closing] == [name == "notebooks" for name in wanted]


@pytest.mark.parametrize("workers, threads", [(1, "7"), (4, "1")])
def test_what_tests_find_in_their_environment(workers, threads):
    env = {"COURSE_MODE": "full", "COURSE_SAVE": "1", "OMP_NUM_THREADS": "7", "LANG": "C"}
    assert cli.environment_for_tests(workers, env) == {"LANG": "C", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
                                                       "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": threads}


def test_parts_are_real_commands():
    commands = cli.commands_for_tests(2)
    assert list(commands) == ["lint", "notebooks", "package", "sync"]
    assert all(Path(command[0]).exists() for command in commands.values())


@pytest.mark.parametrize("missing", ["nbdev", "pytest", "ruff", "xdist"])
def test_missing_tools_are_named(monkeypatch, missing):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(CourseError, match=rf"need {missing}\. .*\[dev\]"): cli.commands_for_tests(1)


# The rest hands over

@pytest.mark.parametrize("files, words, code, said",
                         [([], ["sync"], 0, "in step"), (["README.md"], ["sync"], 0, "README.md: rewritten"),
                          ([], ["sync", "--check"], 0, "in step"),
                          (["README.md"], ["sync", "--check"], 1, "README.md: out of step")])
def test_sync(monkeypatch, files, words, code, said):
    from course_lib.tools import publish
    asked = []
    monkeypatch.setattr(publish, "sync", lambda check: asked.append(check) or files)
    answer = typed(*words)
    assert (answer.exit_code, asked) == (code, ["--check" in words]) and said in answer.stdout


@pytest.mark.parametrize("status", [0, 1])
def test_doctor(monkeypatch, status):
    from course_lib.tools import doctor
    def examine(show, heading):
        show(doctor.Check("Disk", "problem", "[0 GiB] free", "Make room."))
        heading("For [authors]:")
        return status
    monkeypatch.setattr(doctor, "examine", examine)
    answer = typed("doctor")
    assert answer.exit_code == status and "[0 GiB] free" in answer.stdout and "-> Make room." in answer.stdout
    assert "For [authors]:" in answer.stdout


@pytest.mark.parametrize("words, wanted", [
    (["test"], (None, True)), (["test", "--only", "package"], ("package", True)),
    (["test", "--no-dives"], (None, False))])
def test_test(monkeypatch, words, wanted):
    asked = []
    monkeypatch.setattr(cli, "run_tests", lambda *options: asked.append(options) or 1)
    assert typed(*words).exit_code == 1 and asked == [wanted]


def test_dives_can_be_left_out_of_the_notebooks():
    with_dives, without = (cli.commands_for_tests(1, wanted)["notebooks"] for wanted in (True, False))
    assert without[:len(with_dives)] == with_dives and without[len(with_dives):] == ["--skip-folder-re", "^dives$"]


@pytest.mark.parametrize("words, chosen", [
    (["01"], ["01_intro"]), (["is_it_real"], ["01_is_it_real"]),
    (["01", "--dives"], ["01_intro", *(dive.id for dive in dives() if dive.lesson == "01_intro")]),
    (["04", "dives/01_is_it_real"], ["04_mnist", "01_is_it_real"])])
def test_lessons_and_dives_run_by_name(monkeypatch, words, chosen):
    from course_lib.tools import runner
    asked = []
    monkeypatch.setattr(runner, "run_lessons", lambda names, mode, save: asked.extend(names) or 0)
    assert typed("run", *words, "--quick").exit_code == 0 and asked == chosen


def test_the_list_shows_dives_below_their_lesson():
    said = " ".join(typed("list").stdout.split())
    assert said.index("Dive 01_is_it_real: A study finds") < said.index(lessons()[1].title)


def test_work_copies_and_says_what_is_new(tmp_path):
    first, second = (typed("work", str(tmp_path/"mine")).stdout for _ in range(2))
    assert "01_intro.ipynb" in first and second.startswith("Nothing is new")


def test_results_of_all_lessons(monkeypatch):
    from course_lib.lesson import results
    monkeypatch.setattr(results, "scoreboard_text", lambda lesson, width: f"[table] of {lesson}")
    assert [f"[table] of {lesson.id}" in typed("results").stdout for lesson in lessons()] == [True] * len(lessons())
    assert "[table] of 04_mnist" in typed("results", "mnist").stdout
