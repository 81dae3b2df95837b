"""Attack what changes files and what reads strangers' files, and count what went wrong.

`python tests/attack.py` takes ten minutes, `python tests/attack.py 120` two; `--only fuzz` or a name chooses some. It
exits with 1 where anything was lost, written outside of its folder, ended in a traceback, or hung. Whatever fails is
shown with its seed: `--seed N` begins there. `tests/test_attack.py` does a moment of each.
"""
import argparse
import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from conftest import manifest, tgz
from hostile import BROKEN, EXAMPLES, READERS, VALUES, read
from killing import killed_everywhere
from PIL import Image

from course_lib.apps.folder import app_folder
from course_lib.apps.predictor import BadPicture, open_picture
from course_lib.base.env import CourseError
from course_lib.base.files import write_json
from course_lib.data.fetch import unpack
from course_lib.data.get import copy_folder, get_data, remove_data
from course_lib.data.receipts import read_receipt, verify_data
from course_lib.data.sets import data_path
from course_lib.pictures.aside import Change, Move, carry_out, change_lock, put_aside, read_rejected, restore, target_of
from course_lib.pictures.check import check_images
from course_lib.pictures.decisions import settle_decisions, write_decisions
from course_lib.pictures.gather import resize_all
from course_lib.quiz.questions import read_quiz
from course_lib.tables.titanic import titanic_rows
from course_lib.tools.work import work_in

SECONDS_FOR_ONE = 20 # A try that takes longer hangs


class Lost(AssertionError):
    "Something that was there is gone"

class Outside(AssertionError):
    "Something was written where nothing should be"

class Hung(BaseException):
    "A try did not end"


@dataclass
class Row:
    "What came of one fault"
    fault:str
    tries:int=0
    lost:int=0
    outside:int=0
    tracebacks:int=0
    hangs:int=0
    shown:list=field(default_factory=list) # The first words of what went wrong

    @property
    def clean(self): return self.tries > 0 and not (self.lost or self.outside or self.tracebacks or self.hangs)

    def count(self, attempt, words):
        "Do one try, and count what came of it"
        self.tries += 1
        kinds = {Lost: "lost", Outside: "outside", Hung: "hangs"}
        try:
            with alarm(SECONDS_FOR_ONE), warnings.catch_warnings(action="ignore"): attempt()
        except (Exception, Hung) as error:
            kind = kinds.get(type(error), "tracebacks")
            setattr(self, kind, getattr(self, kind) + 1)
            if len(self.shown) < 3: self.shown.append(f"{words}\n{traceback.format_exc(limit=-4)}")


@contextlib.contextmanager
def alarm(seconds):
    "Raise `Hung` where a block takes longer"
    def ring(number, frame): raise Hung
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try: yield
    finally: signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, before)


def tree(folder):
    "{path: content or kind} of all that is below a folder"
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else "folder"
            for path in sorted(folder.rglob("*"))}


def contents(folder): return sorted(path.read_bytes() for path in folder.rglob("*.jpg"))

def lost_unless(fine, words):
    if not fine: raise Lost(words)


# Killed at every file operation. Each entry: a function of an empty folder that gives (before, work, after)

def make_photos(root):
    for name in ("bird", "cat"):
        (root/name).mkdir(parents=True)
        for number in range(3): (root/name/f"{number}.jpg").write_bytes(f"{name} {number}".encode())
    return root

def fresh(folder, make):
    "Empty a folder, and fill it"
    def before():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make()
    return before


def kill_put_aside(place):
    root, whole = place/"a"/"photos", sorted(f"{name} {n}".encode() for name in ("bird", "cat") for n in range(3))
    def after():
        lost_unless(contents(place/"a") == whole, "a picture is gone")
        restore(root)
        lost_unless(contents(root) == whole and not read_rejected(root), "a picture does not come back")
    reasons = {"bird/1.jpg": ("tiny", "small"), "cat/2.jpg": ("damaged", "cut off")}
    return fresh(place/"a", lambda: make_photos(root)), lambda: put_aside(root, reasons), after


def kill_restore(place):
    before, reject, after = kill_put_aside(place)
    root = place/"a"/"photos"
    return lambda: (before(), reject()), lambda: restore(root), after


def apply_moves(root):
    decisions = {"bird/0.jpg": "delete", "bird/1.jpg": "move to cat-2", "cat/2.jpg": "delete"}
    with change_lock(root):
        write_decisions(root, decisions)
        moves = [Move(file, target_of(file, words, root, 1), words) for file, words in decisions.items()]
        return carry_out(root, Change(1, "now", moves, ["photos/cat-2"]), settle=settle_decisions)


def kill_apply(place):
    root, whole = place/"a"/"photos", sorted(f"{name} {n}".encode() for name in ("bird", "cat") for n in range(3))
    def after():
        from course_lib.pictures.aside import read_journal
        lost_unless(contents(place/"a") == whole, "a picture is gone")
        with change_lock(root):
            for change in read_journal(root): carry_out(root, change, back=True, settle=settle_decisions)
        lost_unless(contents(root) == whole, "a picture does not come back")
    return fresh(place/"a", lambda: make_photos(root)), lambda: apply_moves(root), after


ADULT = tgz([("adult_sample/adult.csv", b"age,salary\n49,>=50k\n"), ("adult_sample/more/names.txt", b"age")])

def make_mirror(place):
    (place/"mirror").mkdir()
    (place/"mirror"/"adult_sample.tgz").write_bytes(ADULT)
    archives = {"ADULT_SAMPLE": ("adult_sample.tgz", ADULT, "adult_sample/")}
    (place/"mirror"/"manifest.json").write_bytes(manifest(archives))
    os.environ |= {"COURSE_DATA_MIRROR": str(place/"mirror"), "FASTAI_HOME": str(place/"home"), "IN_TEST": "1"}


def set_is_whole():
    if data_path("adult_sample").exists(): lost_unless(read_receipt("adult_sample"), "a set without its receipt")
    get_data("adult_sample")
    lost_unless(verify_data("adult_sample").ok and len(tree(data_path("adult_sample"))) == 3, "a set that is not whole")
    lost_unless(not list(data_path("adult_sample").parent.glob(".adult*")), "something was left behind")


def kill_get(place):
    make_mirror(place)
    return fresh(place/"home", lambda: None), lambda: get_data("adult_sample"), set_is_whole


def kill_remove(place):
    make_mirror(place)
    before = fresh(place/"home", lambda: get_data("adult_sample"))
    return before, lambda: remove_data("adult_sample"), set_is_whole


def kill_copy(place):
    make_photos(place/"photos")
    def after():
        if (place/"a"/"copy").exists(): lost_unless(tree(place/"a"/"copy") == tree(place/"photos"), "half a copy")
        else: copy_folder(place/"photos", place/"a"/"copy")
        lost_unless(tree(place/"a"/"copy") == tree(place/"photos"), "a copy that is not whole")
    return fresh(place/"a", lambda: None), lambda: copy_folder(place/"photos", place/"a"/"copy"), after


def kill_app(place):
    dest = place/"a"/"app"
    def make(words):
        with app_folder(dest, "web") as folder:
            (folder/"new").mkdir()
            for name in ("index.html", f"new/{words}.js"): (folder/name).write_text(words)
    def before_one(): make("one"); (dest/"mine.txt").write_text("mine")
    def after():
        lost_unless((dest/"mine.txt").read_text() == "mine", "a file of the owner is gone")
        lost_unless((dest/"index.html").read_text() in ("one", "two"), "half a file")
        make("two")
        names = {"app.json", "index.html", "mine.txt", "new", "new/two.js"}
        lost_unless(set(tree(dest)) == names and (dest/"index.html").read_text() == "two", "an app that is not whole")
    return fresh(place/"a", before_one), lambda: make("two"), after


def kill_resize(place):
    colours = {"red": (250, 20, 20), "blue": (20, 20, 250)}
    (place/"in").mkdir()
    for name, colour in colours.items(): Image.new("RGB", (90, 60), colour).save(place/"in"/f"{name}.png")
    originals = tree(place/"in")
    def after():
        lost_unless(tree(place/"in") == originals, "an original was changed")
        report = resize_all(place/"in", place/"a"/"out", max_size=30)
        lost_unless(len(report.files) == 2 and not report.failed, "a copy is missing")
        for file in report.files:
            with Image.open(file) as copy: copy.load()
        lost_unless(len([path for path in (place/"a"/"out").rglob("*.part")]) == 0, "something was left behind")
    return fresh(place/"a", lambda: None), lambda: resize_all(place/"in", place/"a"/"out", max_size=30), after


def kill_work(place):
    course = place/"course"
    for name in ("nbs", "clean"): (course/name).mkdir(parents=True)
    (course/"pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/ada/notes"\n')
    page, mine = course/"nbs"/"04_mnist.ipynb", place/"a"/"mine"
    def before():
        for file in (page, course/"nbs"/"05_pets.ipynb"): file.write_text("old")
        work_in(mine, course)
        (mine/"05_pets.ipynb").write_text("my own work")
        for file in (page, course/"nbs"/"05_pets.ipynb"): file.write_text("new")
    def after():
        lost_unless((mine/"05_pets.ipynb").read_text() == "my own work", "a learner's page is gone")
        lost_unless((mine/"04_mnist.ipynb").read_text() in ("old", "new"), "half a page")
        work_in(mine, course)
        lost_unless((mine/"04_mnist.ipynb").read_text() == "new", "a page was not brought up to date")
        lost_unless((mine/"05_pets.ipynb").read_text() == "my own work", "a learner's page is gone")
    return fresh(place/"a", before), lambda: work_in(mine, course), after


def kill_json(place):
    file = place/"a"/"note.json"
    def after(): lost_unless(json.loads(file.read_text()) in ({"a": 1}, {"a": 2}), "half a file")
    return fresh(place/"a", lambda: write_json(file, {"a": 1})), lambda: write_json(file, {"a": 2}), after


KILLS = {"put pictures aside": kill_put_aside, "restore pictures": kill_restore, "apply decisions": kill_apply,
         "fetch a set": kill_get, "remove a set": kill_remove, "copy a set": kill_copy, "write an app anew": kill_app,
         "make small copies": kill_resize, "bring pages up to date": kill_work, "write a JSON file": kill_json}


def attack_by_killing(make, row, until, seed):
    "Kill a function at each of its file operations, once through; then at random ones while there is time"
    with tempfile.TemporaryDirectory() as place:
        before, work, after = make(Path(place).resolve())
        before()
        os.environ["OMP_NUM_THREADS"] = "1"
        number, last, chance = 0, None, random.Random(seed)
        while last is None or time.monotonic() < until:
            at, end = (number if last is None else chance.randrange(last)), []
            def attempt(at=at, end=end): end.append(killed_everywhere(work, before, after, at, 1))
            row.count(attempt, f"operation {at}")
            if last is None and end == [0]: last = number or 1
            number += 1
            if number > 2000 or row.tries > 3 and time.monotonic() > until: return


# Fuzzed. Each entry: a function of (chance, folder) that tries once

def damaged(chance, content):
    "Bytes with some of them changed, cut off, doubled or moved"
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        if not content: break
        at = chance.choice([chance.randrange(len(content)), min(chance.randrange(64), len(content) - 1)])
        way = chance.randrange(5)
        if way < 2: content[at] = chance.choice([0, 255, content[at] ^ 1 << chance.randrange(8), chance.randrange(256)])
        elif way == 2: del content[at:at + chance.randrange(1, 64)]
        elif way == 3: content[at:at] = content[at:at + chance.randrange(1, 64)]
        else: content[at:at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"../."])
    return bytes(content)


def changed(chance, content):
    "JSON in which a value is another one, is missing or has come"
    content = json.loads(json.dumps(content))
    for _ in range(chance.randrange(1, 4)):
        places = []
        def walk(part, places=places):
            for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
                places.append((part, key)); walk(part[key])
        walk(content)
        if not places: break
        part, key = chance.choice(places)
        if chance.random() < .6: part[key] = copy.deepcopy(chance.choice(VALUES))
        elif isinstance(part, dict) and chance.random() < .5:
            part[chance.choice(["", "more", "name"])] = copy.deepcopy(chance.choice(VALUES))
        else: del part[key]
    return content


def fuzz_json(chance, folder):
    os.environ["FASTAI_HOME"], os.environ["COURSE_DATA_MIRROR"] = str(folder/"home"), ""
    what = chance.choice(sorted(READERS))
    honest = json.dumps(changed(chance, EXAMPLES[what])).encode()
    (folder/"photos").mkdir()
    read(what, chance.choice([honest, honest, damaged(chance, honest), chance.choice(list(BROKEN.values()))]), folder)


def fuzz_journal(chance, folder):
    "A journal beside the data that says anything: apply, undo, reject and restore never touch what lies outside"
    root = make_photos(folder/"in"/"photos")
    (folder/"in"/"letter.txt").write_text("a letter"); (folder/"secret.txt").write_text("a secret")
    names = ["../letter.txt", "/etc/passwd", "bird/1.jpg", "bird", "../../secret.txt", "photos/cat/9.jpg", "", ".",
             "x"*300, "photos-cleaning/trash/1/bird/1.jpg", "bird/../../letter.txt"]
    pick = lambda: chance.choice(names)
    decisions = ["delete", "reject", "move to cat", "move to ..", "move to ../..", "move to " + "y"*300, "keep"]
    moves = [{"file": pick(), "target": pick(), "decision": chance.choice(decisions)}
             for _ in range(chance.randrange(1, 4))]
    journal = {"number": 1, "when": "now", "folders": [pick()][:chance.randrange(2)], "moves": moves,
               "state": chance.choice(["applying", "applied", "undoing"])}
    if chance.random() < .5: journal = changed(chance, journal)
    write_json(folder/"in"/"photos-cleaning"/"applied"/"1.json", journal)
    pictures = contents(folder)
    reject = lambda: put_aside(root, {"bird/0.jpg": ("tiny", "small")})
    for act in (reject, lambda: restore(root), lambda: read_rejected(root)):
        with contextlib.suppress(CourseError): act()
    if (folder/"in"/"letter.txt").read_text() != "a letter" or (folder/"secret.txt").read_text() != "a secret":
        raise Outside("a file above the data was touched")
    if {path.name for path in folder.iterdir()} != {"in", "secret.txt"}: raise Outside("a file was made above the data")
    lost_unless(contents(folder) == pictures, "a picture is gone")


ODD_TYPES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]

def some_archive(chance):
    names = ["set/a.txt", "set/b/c.txt", "set/" + "x"*chance.randrange(1, 300), "../evil", "/tmp/evil",
             "set/../../evil", "other/a", "set", "set/a.txt/b", "set/\udcff", "set/a\nb"]
    buffer = io.BytesIO()
    chosen = chance.choices(names[:3] if chance.random() < .6 else names, k=chance.randrange(1, 5))
    kind = chance.choice(["w:gz", "w:xz", "w:bz2", "w", "zip"])
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            for name in chosen: zipped.writestr(name.replace("\udcff", "?"), b"one"*100)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode=kind) as tar:
        for name in chosen:
            info = tarfile.TarInfo(name)
            info.type = chance.choice([tarfile.REGTYPE]*6 + ODD_TYPES)
            info.linkname = chance.choice(["/etc/passwd", "../..", "set/a.txt"])
            info.size = 300 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(b"one"*100))
    return buffer.getvalue()


def fuzz_archive(chance, folder):
    content = some_archive(chance)
    (folder/"a.tgz").write_bytes(damaged(chance, content) if chance.random() < .7 else content)
    try: unpack(folder/"a.tgz", folder/"data"/"set")
    except CourseError: lost_unless(not list((folder/"data").glob("*")), "half a set is left")
    found = {path.name for path in folder.iterdir()} | {path.name for path in (folder/"data").glob("*")}
    if found - {"a.tgz", "data", "set"}: raise Outside(f"written: {found}")
    if any(path.is_symlink() for path in (folder/"data").rglob("*")): raise Outside("a link was made")


def some_picture(chance):
    buffer, mode = io.BytesIO(), chance.choice(["RGB", "RGB", "L", "RGBA", "P", "CMYK", "I;16"])
    image = Image.frombytes("RGB", (40, 36), chance.randbytes(40*36*3))
    image = Image.new("I;16", (40, 36), 9000) if mode == "I;16" else image.convert(mode)
    kinds = {"RGBA": ["PNG", "WEBP", "TIFF"], "P": ["PNG", "GIF"], "CMYK": ["JPEG", "TIFF"], "I;16": ["PNG", "TIFF"]}
    image.save(buffer, chance.choice(kinds.get(mode, ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])))
    return buffer.getvalue()


def fuzz_picture(chance, folder):
    (folder/"in").mkdir()
    for number in range(3):
        name = chance.choice(["a.jpg", "b.png", "x"*200 + ".jpeg", "ä ö.gif", "c.webp", "d.tif", "e.bmp", "f.heic"])
        (folder/"in"/f"{number}{name}").write_bytes(damaged(chance, some_picture(chance)))
    before = tree(folder/"in")
    report = check_images(folder/"in")
    repr(report), report._repr_html_()
    repr(resize_all(folder/"in", folder/"out", max_size=20))
    for file in sorted((folder/"in").iterdir()):
        with contextlib.suppress(BadPicture): open_picture(file.read_bytes())
    lost_unless(tree(folder/"in") == before, "an original was changed")


QUIZ = """lesson: 00_test
questions:
- {id: one, row: M1, kind: single, section: Digits, question: What?, why: Because.,
   choices: [{text: a, right: true, feedback: Yes.}, {text: b, right: false, feedback: No.}]}
"""

def fuzz_quiz(chance, folder):
    odd = ["2026-99-99", "["*chance.randrange(1, 3000), "&a [*a]", "!!python/object:os.system x", "{", ".nan", "\t"]
    text = QUIZ.encode()
    at = chance.randrange(len(text))
    if chance.random() < .5: text = text[:at] + chance.choice(odd).encode() + text[at + chance.randrange(3):]
    else: text = damaged(chance, text)
    (folder/"00_test.yml").write_bytes(text)
    with contextlib.suppress(CourseError): read_quiz(folder/"00_test.yml")


TABLE = ("PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked\n"
         '1,0,3,"Braund, Mr. O.",male,22,1,0,A/5,7.25,,S\n2,1,1,"Cumings, Mrs. J.",female,38,1,0,PC,71.28,C85,C\n')

def fuzz_table(chance, folder):
    (folder/"train.csv").write_bytes(damaged(chance, TABLE.encode()))
    with contextlib.suppress(CourseError): titanic_rows(folder/"train.csv")


FUZZERS = {"JSON of ours, changed": fuzz_json, "journals that lie": fuzz_journal, "archives": fuzz_archive,
           "pictures": fuzz_picture, "quiz files": fuzz_quiz, "tables": fuzz_table}


def attack_by_fuzzing(fuzz, row, until, seed):
    "Try with one seed after another while there is time"
    with tempfile.TemporaryDirectory() as place:
        while not row.tries or time.monotonic() < until:
            folder = Path(place).resolve()/"try"
            folder.mkdir()
            row.count(lambda folder=folder, seed=seed: fuzz(random.Random(seed), folder), f"--seed {seed}")
            shutil.rmtree(folder, ignore_errors=True)
            seed += 1


# Two at once

def fight(chance, folder):
    "Three processes reject, restore and reject again, and one of them is killed"
    root = make_photos(folder/"photos")
    whole = contents(root)
    def work(number):
        for _ in range(3):
            with contextlib.suppress(CourseError):
                put_aside(root, {f"bird/{number}.jpg": ("tiny", "small"), "cat/1.jpg": ("tiny", "small")})
                restore(root)
    children = []
    for number in range(3):
        if not (child := os.fork()):
            status = 1
            try: work(number); status = 0
            finally: os._exit(status)
        children.append(child)
    time.sleep(chance.random()/20)
    with contextlib.suppress(ProcessLookupError): os.kill(children[0], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    lost_unless(contents(folder) == whole, "a picture is gone")
    restore(root)
    lost_unless(contents(root) == whole, "a picture does not come back")
    if any(codes[1:]): raise RuntimeError("one of the others failed")


ATTACKS = ({f"killed: {name}": lambda row, until, seed, make=make: attack_by_killing(make, row, until, seed)
            for name, make in KILLS.items()}
           | {f"fuzzed: {name}": lambda row, until, seed, fuzz=fuzz: attack_by_fuzzing(fuzz, row, until, seed)
              for name, fuzz in FUZZERS.items()}
           | {"three processes, one killed": lambda row, until, seed: attack_by_fuzzing(fight, row, until, seed)})


def attack(seconds, only="", seed=0):
    "Give each attack its share of the time; rows of the table as they are done"
    chosen = {name: run for name, run in ATTACKS.items() if only in name}
    environment = dict(os.environ)
    for name, run in chosen.items():
        row = Row(name)
        try:
            with contextlib.redirect_stdout(io.StringIO()): run(row, time.monotonic() + seconds/len(chosen), seed)
        finally: os.environ.clear(); os.environ.update(environment)
        yield row


def line(*cells): return f"{cells[0]:<34}" + "".join(f"{cell:>12}" for cell in cells[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=600)
    parser.add_argument("--only", default="", help="part of the name of a fault, such as 'fuzz' or 'archives'")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns, rows = ("tries", "lost", "outside", "tracebacks", "hangs"), []
    print(line("fault", *columns), flush=True)
    for row in attack(options.seconds, options.only, options.seed):
        counts = [f"{getattr(row, name):,}" for name in columns]
        print(line(row.fault, *counts) + ("" if row.clean else "  <--"), flush=True)
        rows.append(row)
    print(line("all", *(f"{sum(getattr(row, name) for row in rows):,}" for name in columns)))
    for row in rows:
        for words in row.shown: print(f"\n{row.fault}, {words}")
    sys.exit(0 if rows and all(row.clean for row in rows) else 1)


if __name__ == "__main__": main()
