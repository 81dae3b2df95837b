"Modes, messages and places: what the environment decides"
import os, subprocess, sys
from pathlib import Path

import pytest

from course_lib.apps import predictor
from course_lib.base import env


@pytest.mark.parametrize("variables, expected", [
    ({}, ("full", False)),
    ({"IN_TEST": "1"}, ("quick", False)),
    ({"CI": "true"}, ("quick", False)),
    ({"COURSE_MODE": " QUICK "}, ("quick", True)),
    ({"COURSE_MODE": "full", "IN_TEST": "1", "CI": "1"}, ("full", True)),
    ({"COURSE_MODE": ""}, ("full", False)),
])
def test_mode(variables, expected): assert env.wanted_mode(variables) == expected


@pytest.mark.parametrize("typed, meant", [("ful", "full"), ("quik", "quick"), ("QUICKLY", "quick")])
def test_misspelt_mode_names_the_nearest(typed, meant):
    with pytest.raises(env.CourseError, match=f"Did you mean '{meant}'"): env.wanted_mode({"COURSE_MODE": typed})


def test_unlike_any_mode_lists_both():
    with pytest.raises(env.CourseError, match="quick, full"): env.wanted_mode({"COURSE_MODE": "zzz"})


@pytest.mark.parametrize("variables, host", [
    ({"COLAB_RELEASE_TAG": "release-colab_20260101"}, "Colab"), ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "Kaggle"),
    ({"CODESPACES": "true"}, "Codespaces"), ({"CODESPACES": ""}, "local"), ({}, "local")])
def test_host_of_a_notebook(variables, host, monkeypatch):
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "CODESPACES"): monkeypatch.delenv(name, raising=False)
    for name, value in variables.items(): monkeypatch.setenv(name, value)
    assert env.notebook_host() == host


def test_error_in_a_notebook_is_one_line():
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    shown = []
    shell._showtraceback = lambda kind, value, lines: shown.append(lines)
    shell.run_cell("from course_lib.base.env import CourseError\nraise CourseError('no data, do this')")
    InteractiveShell.clear_instance()
    assert shown == [["CourseError: no data, do this"]]


@pytest.mark.parametrize("module",
                         ["base.env", "base.catalogue", "data.sets", "data.fetch", "lesson.results", "data.standins",
                          "quiz.questions", "tools.cli"])
def test_import_is_light(module):
    heavy = "{'torch', 'fastai', 'pandas', 'numpy', 'matplotlib', 'nbclient', 'IPython'}"
    code = (f"import course_lib.{module}, sys; found = {heavy} & sys.modules.keys(); "
            "sys.exit(', '.join(sorted(found)) or 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_seed_reaches_every_source():
    import random
    import numpy as np
    import torch
    draw = lambda: (random.random(), np.random.rand(), torch.rand(1).item())
    env.seed_everything(7); first = draw()
    second = draw()
    env.seed_everything(7)
    assert draw() == first != second


def test_progress_in_a_pipe_is_a_few_plain_lines():
    code = ("import time; from course_lib.base.web import progress_bar\n"
            "with progress_bar('pets', 100*2**20) as bar:\n"
            "    time.sleep(1.1)\n"
            "    for _ in range(1000): bar.update(2**20//10)\n")
    env = {name: value for name, value in os.environ.items() if name not in ("IN_TEST", "CI")}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300).stderr
    assert said.startswith("pets: 25.1 MiB of 100.0 MiB") and len(said.splitlines()) <= 4 and "\r" not in said


@pytest.mark.parametrize("module", [env, predictor], ids=["env", "predictor"])
@pytest.mark.parametrize(("limit", "cores"), [("200000 100000\n", 2), ("150000 100000\n", 2), ("5000 100000\n", 1),
                                              ("9900000 100000\n", 64), ("max 100000\n", 64), (None, 64)])
def test_a_container_with_a_share_of_the_cores_uses_no_more(module, limit, cores, monkeypatch):
    "As `docker --cpus=2` on a machine of 64 cores, all of which it may run on"
    def read_text(path, *_, **__):
        if limit is None or path != Path("/sys/fs/cgroup/cpu.max"): raise FileNotFoundError(path)
        return limit
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)
    assert module.usable_cores() == cores
