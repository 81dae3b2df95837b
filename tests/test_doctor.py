"Each check is shown what it looks at, and says the right word about it"
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_lib.base import catalogue, files
from course_lib.tools import doctor
from course_lib.tools.doctor import Check
from course_lib.base.env import checkout

GPU = {"version": "2.15.0", "built_for": "13.0", "cuda": False, "name": None, "mps": False}


@pytest.mark.parametrize("version, status", [((3, 9, 18), "problem"), ((3, 10, 14), "problem"), ((3, 11, 0), "ok"),
                                             ((3, 13, 9), "ok"), ((3, 14, 0), "warning")])
def test_python(version, status):
    check = doctor.check_python(version)
    assert (check.status, check.found) == (status, ".".join(map(str, version)))
    assert bool(check.advice) == (status != "ok")


@pytest.mark.parametrize("line, status, said", [
    ("fastcore>=1", "ok", "all 1"), ("fastcore>=99", "problem", "fastcore is "),
    ("no-such-package", "problem", "not installed"),
    ('no-such-package>=2; extra == "dev"', "ok", "all 0"), ('no-such-package; python_version < "3"', "ok", "all 0")])
def test_packages(line, status, said):
    check = doctor.check_packages(doctor.core_requirements([line]))
    assert check.status == status and said in check.found and bool(check.advice) == (status != "ok")


def test_a_prerelease_counts_as_its_version(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda name: "2.1.0rc1")
    assert doctor.check_packages(doctor.core_requirements(["anything>=2"])).status == "ok"


def test_tested_versions_come_from_constraints(tmp_path, monkeypatch):
    assert doctor.tested_versions(tmp_path) == doctor.tested_versions(None) == {}
    (tmp_path / "constraints.txt").write_text("# tested\nfastcore==2.2.39\ntorch==2.15.0\nnumpy>=2\nrich==15.0\n")
    tested = doctor.tested_versions(tmp_path)
    assert tested == {"fastcore": "2.2.39", "torch": "2.15.0", "rich": "15.0"}
    monkeypatch.setattr(doctor, "installed", {"fastcore": "2.3", "torch": "2.15.0+cpu", "rich": None}.get)
    check = doctor.check_tested(tested)
    assert check.status == "warning" and check.found == "fastcore 2.3 (tested: 2.2.39)"
    assert "constraints.txt" in check.advice


@pytest.mark.parametrize("facts, driver, status, said", [
    (GPU, None, "ok", "none; lessons run on the CPU"),
    (GPU | {"cuda": True, "name": "Tesla T4"}, "Tesla T4, 535.1", "ok", "Tesla T4, torch 2.15.0 for CUDA 13.0"),
    (GPU | {"mps": True, "built_for": None}, None, "ok", "Apple GPU"),
    (GPU | {"built_for": None}, "Tesla T4, 535.1", "warning", "built for CPUs only"),
    (GPU, "Tesla T4, 470.8", "warning", "cannot use"),
    ({"error": "RuntimeError: operator torchvision::nms does not exist"}, None, "problem", "torchvision::nms")])
def test_gpu(facts, driver, status, said):
    check = doctor.check_gpu(facts, driver)
    assert check.status == status and said in check.found and bool(check.advice) == (status != "ok")


@pytest.mark.parametrize("question, patience, said",
                         [("import no_such_package", 60, "no_such_package"),
                          ("import os; os._exit(3)", 60, "exit status 3"),
                          ("import sys; sys.exit()", 60, "it ended without an answer"),
                          ("print('warm')", 60, "without an answer"),
                          ("import os; os.write(2, bytes([255, 10])); os._exit(3)", 60, "\ufffd"),
                          ("import time; time.sleep(60)", 1, "no answer within 1 s")])
def test_a_broken_torch_is_an_answer(question, patience, said):
    assert said in doctor.torch_facts(question, patience=patience)["error"]


def test_torch_is_not_imported_here():
    code = ("import sys; import course_lib.tools.doctor; "
            "print([n for n in ('torch', 'fastai', 'pandas', 'nbclient') if n in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stdout == "[]\n"


@pytest.mark.parametrize("code, patience, answer",
                         [("print('1.9'); print('more')", 60, "1.9"), ("print('1.9'); exit(1)", 60, None),
                          ("import os; os.write(1, bytes([255, 49]))", 60, "\ufffd1"),
                                                    ("import time; time.sleep(60)", 1, None)])
def test_a_program_that_is_asked(code, patience, answer):
    assert doctor.first_answer([sys.executable, "-c", code], patience=patience) == answer


def accounts(root, limit=None, used=0):
    for folder in ("proc", "sys/fs/cgroup"): (root / folder).mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal:  {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable:  {12 * 2**20} kB\n")
    if limit is not None:
        (root / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
        (root / "sys/fs/cgroup/memory.current").write_text(f"{used}\n")
    return root


@pytest.mark.parametrize("limit, used, found", [(None, 0, (16, 12)), ("max", 0, (16, 12)),
                                                (4 * 2**30, 3 * 2**30, (4, 1)), (64 * 2**30, 0, (16, 12))])
def test_memory_of_a_container(tmp_path, limit, used, found):
    assert doctor.memory(accounts(tmp_path, limit, used)) == found


def test_memory_without_linux_accounts(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.os, "sysconf_names", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2}, raising=False)
    monkeypatch.setattr(doctor.os, "sysconf", {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 2**13}.get, raising=False)
    assert doctor.memory(tmp_path) == (8, None)
    monkeypatch.setattr(doctor.os, "sysconf_names", {})
    assert doctor.memory(tmp_path) == (None, None)


@pytest.mark.parametrize("total, free, status", [(16, 1.9, "warning"), (16, 2, "ok"), (16, None, "ok"),
                                                 (3.9, None, "warning"), (None, None, "ok")])
def test_little_memory(total, free, status): assert doctor.check_memory(total, free).status == status


@pytest.mark.parametrize("free, status", [(.9, "problem"), (1, "warning"), (4.9, "warning"), (5, "ok")])
def test_disk_is_asked_where_the_folder_will_be(tmp_path, free, status):
    asked = []
    def usage(folder):
        asked.append(folder)
        return SimpleNamespace(free=free * 2**30)
    assert doctor.check_disk(tmp_path / "not" / "yet", usage).status == status and asked == [tmp_path]


def test_cache_counts_what_it_holds(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "one.png").write_bytes(b"1" * 2**20)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    check = doctor.check_cache("Data", tmp_path)
    assert (check.name, check.status) == ("Data cache", "ok") and check.found == f"{tmp_path}, 1.0 MiB in 2 files"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "mnist"]


def test_cache_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refuse(dir): raise OSError(30, "Read-only file system")
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    check = doctor.check_cache("Data", tmp_path / "not yet")
    assert check.status == "problem" and "Read-only file system" in check.found and "FASTAI_HOME" in check.advice


@pytest.mark.parametrize("env, weights, models", [
    ({"XDG_CACHE_HOME": "c"}, "c/torch", "c/huggingface"), ({"TORCH_HOME": "t", "HF_HOME": "h"}, "t", "h"),
    ({}, str(Path.home() / ".cache/torch"), str(Path.home() / ".cache/huggingface"))])
def test_caches_are_where_their_libraries_keep_them(env, weights, models):
    found = doctor.caches(env)
    assert (found["Weights"], found["Hugging Face"]) == (Path(weights), Path(models))


@pytest.mark.parametrize("manifest, status, said", [
    (None, "problem", "not a folder"), ("", "problem", "not JSON"), ("{}", "problem", "not a list"),
    ('[{"name": "a"}, {}]', "ok", "2 sets")])
def test_mirror_in_a_folder(tmp_path, monkeypatch, manifest, status, said):
    mirror = tmp_path / "mirror"
    if manifest is not None:
        mirror.mkdir()
        (mirror / "manifest.json").write_text(manifest)
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(mirror))
    check = doctor.check_mirror()
    assert check.status == status and said in check.found + check.advice


def hangs(mirror): raise TimeoutError("no answer within 10 s")


@pytest.mark.parametrize("read, said", [(lambda mirror: None, "http://mirror.example/sets does not answer"),
                                        (hangs, "no answer within 10 s")])
def test_mirror_on_the_web_that_is_silent(monkeypatch, read, said):
    monkeypatch.setenv("COURSE_DATA_MIRROR", "http://reader:secret@mirror.example/sets")
    monkeypatch.setattr(doctor, "read_manifest", read)
    check = doctor.check_mirror()
    assert check.status == "warning" and said in check.found and "secret" not in str(check)


@pytest.mark.parametrize("silent, status",
                         [([], "ok"), (["b.example"], "warning"), (["a.example", "b.example"], "warning")])
def test_network_names_who_is_silent(monkeypatch, silent, status):
    monkeypatch.setattr(doctor, "publishers",
                        lambda: {host: f"https://{host}/set.tgz" for host in ("a.example", "b.example")})
    check = doctor.check_network(lambda address: address.split("/")[2] not in silent)
    assert check.status == status and all(host in check.found for host in silent)
    assert ("a.example" in check.found) == (not silent or "a.example" in silent)


def test_publishers_are_hosts():
    assert doctor.publishers()
    assert all(address.startswith("http") and f"//{host}/" in address for host, address in doctor.publishers().items())


@pytest.mark.parametrize("command, status", [(["python", "-m", "x"], "ok"), ([sys.executable], "ok"),
                                             ([os.path.abspath("other")], "warning"), (None, "problem")])
def test_kernel(command, status):
    check = doctor.check_kernel(command)
    assert check.status == status and ("ipykernel install" in check.advice) == (status != "ok")


def test_kernel_is_looked_up_as_jupyter_does(tmp_path, monkeypatch):
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/elsewhere/python"], "display_name": "x",
                                                  "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert doctor.registered_kernel() == ["/elsewhere/python"]


def test_checks_of_a_checkout_are_left_out_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "torch_facts", lambda: GPU)
    monkeypatch.setattr(doctor, "reachable", lambda url: False)
    names = [check.name for check in doctor.checks(None)]
    assert names == ["Python", "Packages", "Tested versions", "GPU", "Memory", "Disk", "Data cache", "Weights cache",
                     "Hugging Face cache", "Mirror", "Network", "Jupyter kernel"]
    assert [check.name for check in doctor.checks_for_authors(checkout())] == ["Quarto", "Git hooks", "Repository"]


@pytest.mark.parametrize("statuses, code", [(["ok"], 0), (["ok", "warning"], 0), (["problem", "ok"], 1)])
def test_only_a_problem_fails(monkeypatch, statuses, code):
    monkeypatch.setattr(doctor, "checks", lambda root: (Check("x", status, "y") for status in statuses))
    monkeypatch.setattr(doctor, "checks_for_authors", lambda root: [Check("Quarto", "warning", "not installed")])
    shown, headings = [], []
    assert doctor.examine(shown.append, headings.append) == code
    assert [check.status for check in shown] == [*statuses, "warning"] and headings == [doctor.FOR_AUTHORS]


def test_advice_stands_below():
    first, second = str(Check("Disk", "warning", "2 GiB free", "Make room.")).splitlines()
    assert first.split() == ["warning", "Disk", "2", "GiB", "free"] and second.strip() == "-> Make room."


# What the doctor should find must not stop it

def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)

def no_file(tmp_path, monkeypatch): monkeypatch.setenv("FASTAI_HOME", put(tmp_path/"home", b"a file"))
def no_user(tmp_path, monkeypatch): monkeypatch.setenv("FASTAI_HOME", "~nobody-of-that-name/data")
def odd_config(tmp_path, monkeypatch): put(tmp_path/"config.ini", b"\xff\xfe[DEFAULT]"); at_home(tmp_path, monkeypatch)
def no_config(tmp_path, monkeypatch): put(tmp_path/"config.ini", b"no section"); at_home(tmp_path, monkeypatch)
def at_home(tmp_path, monkeypatch): monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
def to_nowhere(tmp_path, monkeypatch): (tmp_path/"data").symlink_to(tmp_path/"gone"); at_home(tmp_path, monkeypatch)
def weights(tmp_path, monkeypatch): monkeypatch.setenv("TORCH_HOME", put(tmp_path/"t", b""))
def mirror(address): return lambda tmp_path, monkeypatch: monkeypatch.setenv("COURSE_DATA_MIRROR", address)
def constraints(tmp_path, monkeypatch): put(tmp_path/"constraints.txt", b"\xff\xff==1\nrich==1.0\n")
def broken(name): return lambda tmp_path, monkeypatch: monkeypatch.setattr(doctor, name, lambda *words, **more: 1/0)

SETUPS = {
    "home is a file": (no_file, "Data cache", "is a file"), "home of nobody": (no_user, "Data cache", "no such user"),
    "odd configuration": (odd_config, "Data cache", "config.ini cannot be read"),
    "broken configuration": (no_config, "Disk", "config.ini cannot be read"),
    "link to nowhere": (to_nowhere, "Data cache", "a link to nowhere"),
    "weights in a file": (weights, "Weights cache", "is a file"),
    "broken address": (mirror("http://["), "Mirror", "no address that can be asked"),
    "address without a host": (mirror("https://"), "Mirror", "no address that can be asked"),
    "mirror of nobody": (mirror("~nobody-of-that-name/data"), "Mirror", "no such user"),
    "odd constraints": (constraints, "Tested versions", "rich"),
    "broken packages": (broken("core_requirements"), "Packages", "ZeroDivisionError"),
    "broken driver": (broken("nvidia_driver"), "GPU", "ZeroDivisionError"),
    "broken accounts": (broken("memory"), "Memory", "ZeroDivisionError"),
    "broken network": (broken("publishers"), "Network", "ZeroDivisionError"),
    "broken kernel": (broken("registered_kernel"), "Jupyter kernel", "ZeroDivisionError")}

@pytest.mark.parametrize("prepare, name, said", SETUPS.values(), ids=SETUPS)
def test_each_check_stands_alone(monkeypatch, tmp_path, prepare, name, said):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path/"elsewhere"))
    monkeypatch.setattr(doctor, "torch_facts", lambda: GPU)
    monkeypatch.setattr(doctor, "reachable", lambda url: False)
    prepare(tmp_path, monkeypatch)
    found = {check.name: check for check in doctor.checks(tmp_path)}
    assert len(found) == 12 and found[name].status in ("warning", "problem")
    assert said in str(found[name]) and found[name].advice


@pytest.mark.parametrize("content", [b"[project", b"\xff\xfe", b"", b"project = 3"])
def test_a_broken_project_file_is_named(monkeypatch, tmp_path, content):
    monkeypatch.setattr(catalogue, "checkout", lambda: tmp_path)
    put(tmp_path/"pyproject.toml", content)
    found = {check.name: check for check in doctor.checks_for_authors(tmp_path)}
    assert found["Repository"].status == "problem" and "git restore pyproject.toml" in found["Repository"].advice
