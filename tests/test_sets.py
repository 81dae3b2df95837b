"Where data comes from, in every weather: caches, mirrors, publishers, parts, two processes, killed processes"
import errno
import hashlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import manifest, tgz

from course_lib.base import files
from course_lib.base.web import reachable, with_timeout
from course_lib.data import fetch, get, sets, sources
from course_lib.data.get import copy_folder, data_table, get_data, remove_data
from course_lib.data.sets import data_path, datasets, find_dataset
from course_lib.data.sources import Locator, Source, locate
from course_lib.data.receipts import provenance, verify_data
from course_lib.base.env import CourseError

ADULT = tgz([("adult_sample/adult.csv", b"age,salary\n49,>=50k\n")])
PETS_PART = tgz([(f"oxford-iiit-pet-mini/images/{number}.jpg", b"x") for number in range(3)])
ARCHIVES = {"ADULT_SAMPLE": ("adult_sample.tgz", ADULT, "adult_sample/"),
            "PETS (mini)": ("oxford-iiit-pet-mini.tgz", PETS_PART, "oxford-iiit-pet-mini/")}
FILES = {file: content for file, content, _ in ARCHIVES.values()} | {"manifest.json": manifest(ARCHIVES)}


def change_registry(monkeypatch, **changes):
    "Change fields of sets, {key: {field: value}}"
    changed = datasets() | {key: replace(find_dataset(key), **fields) for key, fields in changes.items()}
    monkeypatch.setattr(sets, "datasets", lambda: changed)


@pytest.fixture
def mirror(home, tmp_path, monkeypatch):
    "A small mirror in a folder"
    for name, content in FILES.items():
        path = tmp_path/"mirror"/name
        path.parent.mkdir(parents=True, exist_ok=True); path.write_bytes(content)
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(tmp_path/"mirror"))
    return tmp_path/"mirror"


@pytest.fixture
def web_mirror(home, serve, monkeypatch):
    "The same mirror as a web server"
    server = serve(dict(FILES))
    monkeypatch.setenv("COURSE_DATA_MIRROR", server.url)
    return server


@pytest.fixture
def publisher(home, serve, monkeypatch):
    "A web server that publishes one set, which the registry then lists as 'adult_sample'"
    server = serve({"adult_sample.tgz": ADULT})
    change_registry(monkeypatch, adult_sample={"url": f"{server.url}/adult_sample.tgz", "bytes": len(ADULT)})
    return server


def left_over(home):
    "Everything below the data folder but locks, receipts and complete sets"
    return [p for p in home.rglob("*") if p.name.endswith((".part", ".mark", ".unpacking", ".new"))
            or "downloads" in p.parts[:-1]]


# Names and the table

@pytest.mark.parametrize("name", ["mnist_sample", "MNIST_SAMPLE", " Mnist_Sample "])
def test_names(name): assert find_dataset(name).key == "mnist_sample"


@pytest.mark.parametrize("call", [get_data, locate, provenance, verify_data, remove_data, data_path])
def test_unknown_name(home, call):
    with pytest.raises(CourseError, match="no data set called 'mnist_smaple'. Did you mean 'mnist_sample'"):
        call("mnist_smaple")


def test_registry_is_sound():
    fastai_urls = {d.url for d in datasets().values() if "fast-ai" in d.url}
    assert fastai_urls and fastai_urls <= set(sources.fastai_checks())
    for dataset in datasets().values():
        assert dataset.description and dataset.publisher and dataset.terms and dataset.bytes > 0 and dataset.files > 0
        assert bool(dataset.url) != bool(dataset.by_hand), dataset.key
        assert not dataset.part_of or (dataset.differs and dataset.part_of in datasets())
    for names in ("path", "mirror_file", "key"):
        assert len({getattr(d, names) for d in datasets().values()}) == len(datasets())


def test_import_is_light():
    code = ("import sys; from course_lib.data import get, sources; get.data_table(); sources.fastai_checks(); "
            "print([m for m in ('torch', 'fastai', 'pandas', 'requests', 'tqdm', 'filelock') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stdout == "[]\n"


# Order of the sources

def test_folder_mirror_then_cache(mirror, home):
    assert locate("adult_sample").kind == "mirror" and locate("adult_sample").bytes_to_download == 0
    path = get_data("ADULT_SAMPLE")
    assert path == home/"adult_sample" and (path/"adult.csv").is_file()
    for file in mirror.glob("*.tgz"): file.unlink()
    assert locate("adult_sample").kind == "cache" and get_data("adult_sample") == path
    facts = provenance("adult_sample")
    assert (facts["source"], facts["archive_sha256"]) == ("mirror", hashlib.sha256(ADULT).hexdigest())
    assert left_over(home) == []


def test_web_mirror(web_mirror, home):
    assert locate("adult_sample").bytes_to_download == len(ADULT)
    get_data("adult_sample")
    assert provenance("adult_sample")["verified"] == "size and SHA-256, stated by the mirror's manifest"
    assert left_over(home) == []


def test_publisher(publisher, home, monkeypatch):
    monkeypatch.setattr(sources, "fastai_checks",
                        lambda: {f"{publisher.url}/adult_sample.tgz": (len(ADULT), hashlib.md5(ADULT).hexdigest())})
    assert (locate("adult_sample").kind, locate("adult_sample").bytes_to_download) == ("publisher", len(ADULT))
    get_data("adult_sample")
    assert provenance("adult_sample")["verified"] == "size and MD5 of the first MiB, stated by fastai"
    assert left_over(home) == []


def test_mirror_goes_before_publisher(publisher, mirror):
    get_data("adult_sample")
    assert publisher.asked == []


def test_publisher_where_the_mirror_has_it_not(publisher, mirror):
    (mirror/"manifest.json").write_text("[]")
    get_data("adult_sample")
    assert provenance("adult_sample")["source"] == "publisher"


# Parts

@pytest.fixture
def parts(mirror, monkeypatch):
    "The mirror, with a part of pets of three files; the publisher of pets is out of reach"
    change_registry(monkeypatch, pets={"url": "http://127.0.0.1:9/pets.tgz"}, pets_part={"files": 3})

def test_part_stands_in_for_the_full_set(parts, home, capsys):
    assert (locate("pets").key, locate("pets").part) == ("pets_part", True)
    assert get_data("pets") == home/"oxford-iiit-pet-mini"
    assert "The full set 'pets' is out of reach; using 'pets_part' instead" in capsys.readouterr().out
    facts = provenance("pets")
    assert (facts["name"], facts["used"], facts["part"]) == ("pets", "pets_part", True)
    assert verify_data("pets").name == "pets_part"
    assert not data_path("pets").exists() # never under the full set's name


def test_a_part_asked_for_is_still_a_part(parts, capsys):
    get_data("pets_part")
    assert provenance("pets_part")["part"] is True and capsys.readouterr().out == ""


def test_the_full_set_goes_before_its_part(parts):
    get_data("pets_part")
    data_path("pets").mkdir()
    assert locate("pets") == Source("cache", "pets", False)


# Nothing reachable

@pytest.fixture
def offline(home, monkeypatch):
    "No host answers"
    monkeypatch.setattr(sources, "reachable", lambda url: False)

def test_offline_says_so_at_once(offline):
    with pytest.raises(CourseError) as caught: get_data("mnist_sample")
    for words in ["'mnist_sample' cannot be reached", "not in the cache", "s3.amazonaws.com does not answer",
                  "Three ways out",
                  "Connect to the network", "COURSE_DATA_MIRROR",
                  "COURSE_MODE=quick"]: assert words in str(caught.value)
    assert locate("mnist_sample") is None


@pytest.mark.parametrize(("name", "words"),
                         [("bears", "Gather your own"), ("titanic", "kaggle.com/competitions/titanic"),
                                             ("patents", "kaggle.com/competitions/us-patent"),
                                             ("pets_part", "full set is 'pets'")])
def test_sets_without_a_download_say_how_to_get_them(offline, name, words):
    with pytest.raises(CourseError, match=words) as caught: get_data(name)
    assert str(data_path(name)) in str(caught.value) and "Connect" not in str(caught.value)


@pytest.mark.timing
def test_network_that_swallows_packets(home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/adult_sample.tgz"
        change_registry(monkeypatch, adult_sample={"url": url})
        monkeypatch.setattr(reachable, "__defaults__", (0.3,))
        start = time.monotonic()
        assert locate("adult_sample") is None and locate("adult_sample") is None
        assert time.monotonic() - start < 30
        silent.settimeout(0.1)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError): silent.accept() # one question for both


@pytest.mark.parametrize(("setting", "words"),
                         [("nowhere", "is not a folder"), ("ftp://example.org/data", "must be a folder or an http"),
                                                ("mirror/empty", "holds no manifest.json"),
                                                ("mirror/adult_sample.tgz", "is not a folder")])
def test_wrong_setting_of_the_mirror(mirror, monkeypatch, setting, words):
    (mirror/"empty").mkdir()
    monkeypatch.setenv("COURSE_DATA_MIRROR", setting if "://" in setting else str(mirror.parent/setting))
    for call in (locate, get_data):
        with pytest.raises(CourseError, match=words): call("adult_sample")


def test_web_mirror_without_manifest(web_mirror):
    del web_mirror.files["manifest.json"]
    with pytest.raises(CourseError, match="holds no manifest.json"): get_data("adult_sample")


def test_web_mirror_that_is_off_is_passed_over(publisher, web_mirror):
    web_mirror.shutdown(); web_mirror.server_close()
    assert locate("adult_sample").kind == "publisher"


def test_web_mirror_known_to_be_off_is_not_asked_again(web_mirror, offline):
    assert locate("bears") is None
    assert web_mirror.asked == []


def test_web_mirror_that_is_off_is_named(web_mirror, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_MIRROR", "http://ann:secret@127.0.0.1:9")
    with pytest.raises(CourseError, match="the mirror does not answer") as caught: get_data("bears")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fault, words", [("status", "the mirror answered 500"),
                                          ("silent", "the mirror did not answer in time")])
def test_web_mirror_that_fails_is_no_mirror_that_has_it_not(web_mirror, monkeypatch, fault, words):
    setattr(web_mirror, fault, 500 if fault == "status" else True)
    if fault == "silent": monkeypatch.setattr(sources, "with_timeout", lambda seconds, ask: with_timeout(0.3, ask))
    with pytest.raises(CourseError, match=words): get_data("bears")


def test_web_mirror_that_works_and_has_it_not(web_mirror):
    with pytest.raises(CourseError, match="the mirror does not have it"): get_data("bears")


# Asking once

@pytest.fixture
def mirror_of_part(web_mirror, monkeypatch):
    "The web mirror; the publisher of pets is out of reach"
    change_registry(monkeypatch, pets={"url": "http://127.0.0.1:9/pets.tgz"}, pets_part={"files": 3})
    return web_mirror


def test_a_locator_reads_the_manifest_once(mirror_of_part):
    find = Locator()
    for name in ("adult_sample", "pets", "bears", "adult_sample", "pets", "bears"): find(name)
    assert [name for name, _ in mirror_of_part.asked] == ["manifest.json"]
    assert (find("pets").key, find("adult_sample").kind, find("bears")) == ("pets_part", "mirror", None)


def test_a_locator_sees_what_has_come_and_gone_since(web_mirror):
    find = Locator()
    get_data("adult_sample", find("adult_sample"))
    assert find("adult_sample").kind == "cache"
    remove_data("adult_sample")
    assert find("adult_sample").kind == "mirror"
    assert [name for name, _ in web_mirror.asked] == ["manifest.json", "adult_sample.tgz"]


def test_a_locator_asks_again_for_what_was_out_of_reach(web_mirror, monkeypatch):
    find = Locator()
    with monkeypatch.context() as patch:
        patch.setattr(sources, "reachable", lambda url: False)
        assert find("adult_sample") is None
    assert find("adult_sample").kind == "mirror"


# Hostile and broken mirrors

@pytest.mark.parametrize(("change", "words"), [
    ({"file": "../secrets.tgz"}, "outside of the mirror"), ({"file": "/etc/passwd"}, "outside of the mirror"),
    ({"file": None}, "outside of the mirror"),
    ({"sha256": "0"*63}, "64 hexadecimal"), ({"sha256": None}, "64 hexadecimal"), ({"bytes": -1}, "its size is -1"),
    ({"bytes": "9"}, "its size is '9'"),
    ({"bytes": True}, "its size is True"), ({"extracts_to": "../x/"}, "not to 'adult_sample'"),
    ({"extracts_to": None}, "not to 'adult_sample'"),
    ({"extracts_to": "mnist_png/"}, "not to 'adult_sample'"), ({"extracts_to": 7}, "not to 'adult_sample'"),
    ({"sha256": "0"*64}, "adult_sample.tgz has SHA-256"), ({"bytes": 7}, "says 7. It is cut off or another file"),
    ({"file": "missing.tgz"}, "missing.tgz is missing, although the mirror's manifest lists it"),
    ({"file": "weights"}, "weights is missing")])
def test_hostile_manifest(mirror, home, change, words):
    entry = json.loads(manifest({"ADULT_SAMPLE": ARCHIVES["ADULT_SAMPLE"]}))[0]
    (mirror/"manifest.json").write_text(json.dumps([entry | change]))
    with pytest.raises(CourseError, match=words): get_data("adult_sample")
    assert not data_path("adult_sample").exists() and left_over(home) == []
    assert (mirror/"adult_sample.tgz").read_bytes() == ADULT # a mirror's own files are never deleted


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("{}", "is not a list"), ("\udcff", "is not JSON")])
def test_unreadable_manifest(mirror, text, words):
    (mirror/"manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CourseError, match=words): locate("adult_sample")


def test_manifest_with_strange_entries(mirror):
    entries = [1, None, {}, {"name": None}, {"name": ["ADULT_SAMPLE"]}, *json.loads(FILES["manifest.json"])]
    (mirror/"manifest.json").write_text(json.dumps(entries))
    assert locate("adult_sample").kind == "mirror"


def test_the_mirror_may_not_pass_a_part_as_the_full_set(mirror, monkeypatch):
    change_registry(monkeypatch, adult_sample={"files": 2})
    with pytest.raises(CourseError, match="holds 1 files; the set has at least 2"): get_data("adult_sample")
    assert not data_path("adult_sample").exists()


def test_bad_file_of_a_web_mirror_is_deleted_and_named(web_mirror, home):
    web_mirror.files["adult_sample.tgz"] = ADULT[::-1]
    with pytest.raises(CourseError,
                       match="adult_sample.tgz has SHA-256 .* came from http://127.0.0.1.* and was deleted"):
        get_data("adult_sample")
    assert left_over(home) == []


# Disks

@pytest.mark.parametrize(("number", "words"),
                         [(errno.ENOSPC, "is full"), (errno.EROFS, "may not be written"),
                          (errno.EACCES, "may not be written")])
@pytest.mark.parametrize("step", ["lock", "download", "unpacking folder", "unpacking", "receipt"])
def test_disk_that_fails_at_any_step(web_mirror, home, monkeypatch, number, words, step):
    def fail(*args, **more): raise OSError(number, os.strerror(number))
    with monkeypatch.context() as patch:
        if step == "lock": patch.setattr("filelock.FileLock.acquire", fail)
        if step == "download": patch.setattr(fetch, "receive", fail)
        if step == "unpacking folder": patch.setattr(files.tempfile, "mkdtemp", fail)
        if step == "unpacking": patch.setattr(fetch, "write_entries", fail)
        if step == "receipt": patch.setattr(get, "write_receipt", fail)
        with pytest.raises(CourseError, match=words): get_data("adult_sample")
    arrived = step in ("unpacking folder", "unpacking", "receipt")
    assert [path.name for path in left_over(home)] == (["adult_sample.tgz"] if arrived else [])
    assert not data_path("adult_sample").exists()
    asked = len(web_mirror.asked)
    assert (get_data("adult_sample")/"adult.csv").is_file() and left_over(home) == []
    if arrived: assert web_mirror.asked[asked:] == [("manifest.json", None)] # what had arrived was used


def test_reading_a_read_only_cache(mirror, home, monkeypatch):
    get_data("adult_sample")
    def fail(*args, **more): raise OSError(errno.EROFS, "Read-only file system")
    for name in ("mkdir", "write_bytes", "write_text", "touch"): monkeypatch.setattr(Path, name, fail)
    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    assert get_data("adult_sample").is_dir()
    assert provenance("adult_sample")["source"] == "mirror"
    assert verify_data("adult_sample").ok


# Two processes, and killed ones

def fetch_in_a_process(start, results):
    install = get.install_dataset
    get.install_dataset = lambda source: (start.wait(120),
                                          install(source)) # neither begins before both have decided to fetch
    results.put(str(get_data("adult_sample")))

def test_two_processes_download_once(web_mirror, home):
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=fetch_in_a_process, args=[start, results]) for _ in range(2)]
    for process in processes: process.start()
    for process in processes: process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    assert {results.get(timeout=5) for _ in processes} == {str(home/"adult_sample")}
    assert [name for name, _ in web_mirror.asked].count("adult_sample.tgz") == 1
    assert left_over(home) == []


STOPS_HALF_WAY = """
import time
from course_lib.base import files
from course_lib.data import fetch, get, sets, sources
def stop(digest): print("half-way", flush=True); time.sleep(60)
fetch.file_sum = stop
get.get_data("adult_sample")
"""

def test_killed_while_unpacking(web_mirror, home):
    process = subprocess.Popen([sys.executable, "-c", STOPS_HALF_WAY], stdout=subprocess.PIPE, text=True)
    try: assert process.stdout.readline() == "half-way\n"
    finally: process.kill(); process.wait(10)
    assert len(list(home.glob(".adult_sample.*.unpacking"))) == 1 and not data_path("adult_sample").exists()
    assert locate("adult_sample").kind == "mirror"
    assert (get_data("adult_sample")/"adult.csv").is_file()
    assert [name for name,
            _ in web_mirror.asked].count("adult_sample.tgz") == 1 # the archive was kept and checked again
    assert left_over(home) == []


def test_left_over_archive_of_another_version(web_mirror, home):
    old = home/".course"/"downloads"/"adult_sample.tgz"
    old.parent.mkdir(parents=True); old.write_bytes(b"old")
    assert (get_data("adult_sample")/"adult.csv").is_file() and left_over(home) == []


def test_plain_fastai_holding_its_lock_is_waited_for(mirror, home, capsys):
    fcntl = pytest.importorskip("fcntl") # fastdownload locks only where there is one
    lock = home.parent/"archive"/"adult_sample.tgz.lock"
    lock.parent.mkdir(parents=True)
    worker = threading.Thread(target=get_data, args=["adult_sample"])
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX) # as fastdownload does
        worker.start()
        said, end = "", time.monotonic() + 60
        while "Another process is fetching adult_sample" not in said:
            assert worker.is_alive() and time.monotonic() < end, said
            said += capsys.readouterr().out
            worker.join(0.05)
        assert not data_path("adult_sample").exists()
        fcntl.flock(held, fcntl.LOCK_UN)
    worker.join(60)
    assert not worker.is_alive() and data_path("adult_sample").is_dir()


# Receipts

def test_receipt_holds_no_secrets_and_no_paths(web_mirror, home, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_MIRROR", web_mirror.url.replace("//", "//ann:secret@"))
    get_data("adult_sample")
    text = (home/".course"/"receipts"/"adult_sample.json").read_text()
    assert json.loads(text)["source"] == "mirror"
    for word in ("secret", "127.0.0.1", str(tmp_path)): assert word not in text


def test_verify_tells_what_changed(parts):
    folder = get_data("pets_part")/"images"
    assert str(verify_data("pets_part")).startswith("pets_part: ok, 3 files, 0 missing, 0 changed, 0 added")
    (folder/"1.jpg").write_bytes(b"y"); (folder/"2.jpg").unlink(); (folder/"new.jpg").write_bytes(b"z")
    found = verify_data("pets_part")
    assert (found.ok, found.changed, found.missing, found.added) == (False, ["images/1.jpg"], ["images/2.jpg"],
                                                                     ["images/new.jpg"])
    assert "DAMAGED" in str(found)
    remove_data("pets_part"); get_data("pets_part")
    assert verify_data("pets_part").ok


def test_set_put_there_by_something_else(home):
    folder = home/"titanic"; folder.mkdir(parents=True)
    (folder/"train.csv").write_text("x")
    with pytest.raises(CourseError, match="holds 1 files, and 'titanic' has at least 2: .*course data rm titanic"):
        get_data("titanic")
    (folder/"test.csv").write_text("x")
    assert get_data("titanic") == folder
    assert provenance("titanic")["source"] == "cache" and "count of files only" in provenance("titanic")["verified"]
    assert verify_data("titanic").ok and "contents cannot be checked" in str(verify_data("titanic"))
    assert next(row for row in data_table() if row["name"] == "titanic")["here"] == "found"


def test_remove(mirror, home):
    with pytest.raises(CourseError, match="nothing to remove"): remove_data("adult_sample")
    get_data("adult_sample"); remove_data("adult_sample")
    assert not data_path("adult_sample").exists() and list((home/".course"/"receipts").iterdir()) == []
    with pytest.raises(CourseError, match="course data get adult_sample"): verify_data("adult_sample")


def test_copy(mirror, tmp_path):
    copy = copy_folder(get_data("adult_sample"), tmp_path/"work"/"mine")
    (copy/"adult.csv").unlink()
    assert verify_data("adult_sample").ok
    with pytest.raises(CourseError, match="not an empty folder"):
        copy_folder(get_data("adult_sample"), tmp_path/"mirror")
    (tmp_path/"empty").mkdir()
    assert (copy_folder(get_data("adult_sample"), tmp_path/"empty")/"adult.csv").is_file()
    assert [p.name for p in (tmp_path/"work").iterdir()] == ["mine"]


@pytest.mark.parametrize("free, words", [(10**12, "No space left"), (4000, "are needed")])
def test_a_copy_for_which_the_disk_has_no_room(mirror, tmp_path, monkeypatch, free, words):
    def full(*paths, **more): raise OSError(28, "No space left on device")
    folder = get_data("adult_sample")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    monkeypatch.setattr("shutil.copystat", full)
    with pytest.raises(CourseError, match=words): copy_folder(folder, tmp_path/"work"/"mine")
    assert list((tmp_path/"work").iterdir()) == []


# fastai itself

def test_configuration_of_fastai(home, tmp_path):
    assert data_path("mnist") == home/"mnist_png" and not home.parent.exists() # a look writes nothing
    home.parent.mkdir()
    (home.parent/"config.ini").write_text(f"[DEFAULT]\ndata = {tmp_path/'big disk'}\narchive = a\n")
    assert data_path("mnist") == tmp_path/"big disk"/"mnist_png"
    (home.parent/"config.ini").write_text("data = elsewhere\n")
    with pytest.raises(CourseError, match="config.ini cannot be read"): data_path("mnist")


def test_plain_fastai_finds_what_we_fetched(mirror, home):
    "The one test that imports fastai"
    get_data("adult_sample")
    code = ("from fastai.data.external import URLs, fastai_path, untar_data; from course_lib.data.sets import "
            "datasets; from course_lib.base import places; "
            "print(untar_data(URLs.ADULT_SAMPLE)); print(fastai_path('data') == places.data_home(), "
            "fastai_path('model') == places.fastai_folder('model')); "
            "print(all(d.url == getattr(URLs, d.fastai_name) for d in datasets().values() if d.fastai_name))")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [str(home/"adult_sample"), "True True", "True"], done.stderr
