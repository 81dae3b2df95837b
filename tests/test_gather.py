"Small copies that are whole, upright and up to date; data sets from a fake search and a server with faults"
import errno
import io
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import misbehaving
import numpy as np
import pytest
from misbehaving import bomb, openverse_results, photo
from PIL import Image

from course_lib.pictures import gather as images
from course_lib.pictures.aside import aside_folder, read_rejected, restore
from course_lib.pictures.check import check_images
from course_lib.pictures.download import Limits
from course_lib.base.env import CourseError
from course_lib.pictures.reading import eight_bits, on_white
from course_lib.pictures.gather import CREDITS, Resized, PhotoSet, build_dataset, class_fault, read_credits, resize_all
from course_lib.pictures.search import RetryPolicy

trouble = misbehaving.trouble # a fixture
pytestmark = pytest.mark.usefixtures("home")
QUICK = Limits(seconds=10, total_seconds=60, pause=0.01, longest_wait=0.5, timeouts=(20, 20), bytes=2**20)


def save(image, file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


def noise(seed=0, size=(64, 48)): return Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0]*size[1]*3))

def scene(seed, size=(640, 480)):
    "A smooth picture; another seed gives another one"
    return noise(seed, (8, 6)).resize(size, Image.Resampling.BICUBIC)

def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
                  and path.name[0] != ".")

def statuses(report): return {row.file: row.status for row in report.rows}


# Small copies

@pytest.mark.parametrize("size, expected", [((640, 480), (100, 75)), ((480, 640), (75, 100)), ((60, 30), (60, 30)),
                                            ((1000, 2), (100, 1))])
def test_size(tmp_path, size, expected):
    save(scene(1, size), tmp_path/"in"/"a.jpg")
    [file] = resize_all(tmp_path/"in", tmp_path/"out", max_size=100).files
    with Image.open(file) as copy: assert (copy.size, copy.mode, copy.format) == (expected, "RGB", "JPEG")


def test_copies_are_upright_and_without_exif_data(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010f] = 6, "Camera"
    save(scene(1), tmp_path/"in"/"a.jpg", exif=exif)
    [file] = resize_all(tmp_path/"in", tmp_path/"out", max_size=100).files
    with Image.open(file) as copy: assert (copy.size, dict(copy.getexif())) == ((75, 100), {})


def test_copies_are_as_good_as_the_slow_way(tmp_path):
    save(scene(1, (1600, 1200)), tmp_path/"in"/"a.jpg", quality=95)
    [file] = resize_all(tmp_path/"in", tmp_path/"out", quality=95).files
    slow = Image.open(tmp_path/"in"/"a.jpg").resize((400, 300), Image.Resampling.LANCZOS)
    error = np.asarray(Image.open(file), float) - np.asarray(slow, float)
    assert 10*np.log10(255**2/(error**2).mean()) > 38


def test_names_and_folders_are_kept(tmp_path):
    for name in ("bird/1.JPG", "bird/1.png", "cat/old/2.jpeg", "3.webp"): save(scene(1), tmp_path/"in"/name)
    report = resize_all(tmp_path/"in", tmp_path/"out")
    assert names(tmp_path/"out") == ["3.webp.jpg", "bird/1.jpg", "bird/1.png.jpg", "cat/old/2.jpg"]
    assert statuses(report) == dict.fromkeys(["bird/1.JPG", "bird/1.png", "cat/old/2.jpeg", "3.webp"], "made")


def test_two_originals_of_one_name(tmp_path):
    for name in ("1.jpeg", "1.jpg"): save(scene(1), tmp_path/"in"/name)
    with pytest.raises(CourseError, match="1.jpeg and 1.jpg would have the same copy"):
        resize_all(tmp_path/"in", tmp_path/"out")
    assert not (tmp_path/"out").exists()


@pytest.mark.parametrize("content, kind, words", [
    (b"", "unreadable", "the file is empty"), (photo("cut")[:-1500], "damaged", "truncated"),
    (bomb(), "huge", "pixels")])
def test_failures_are_reported_and_the_rest_is_made(tmp_path, content, kind, words):
    save(scene(1), tmp_path/"in"/"fine.jpg"); (tmp_path/"in"/"bad.png").write_bytes(content)
    report = resize_all(tmp_path/"in", tmp_path/"out")
    [failed] = report.failed
    assert (failed.file, failed.kind, words in failed.why, names(tmp_path/"out")) == ("bad.png", kind, True,
        ["fine.jpg"])
    assert str(report) == "out: 1 made, 1 failed" and f"bad.png: {failed.why}" in repr(report)
    assert report.table()["status"].tolist() == ["failed", "made"]


def test_an_animation_is_not_taken_for_a_photo(tmp_path):
    save(scene(1), tmp_path/"in"/"a.gif", save_all=True, append_images=[scene(2)])
    assert [row.kind for row in resize_all(tmp_path/"in", tmp_path/"out").failed] == ["animated"]


def test_copies_are_compared(tmp_path):
    save(scene(1), tmp_path/"in"/"bird"/"a.png"); save(scene(1, (300, 225)), tmp_path/"in"/"cat"/"b.jpg")
    save(scene(2, (20, 20)), tmp_path/"in"/"cat"/"c.jpg")
    expected = {"bird/a.png.jpg": "two labels", "cat/b.jpg": "two labels", "cat/c.jpg": "tiny"}
    # made, then there
    for report in (resize_all(tmp_path/"in", tmp_path/"out"), resize_all(tmp_path/"in", tmp_path/"out")):
        assert {fault.file: fault.kind for fault in report.check().faults} == expected
    check = check_images(tmp_path/"out")
    assert {fault.file: fault.kind for fault in check.faults} == expected


def test_the_bound_of_pixels(tmp_path):
    save(scene(1), tmp_path/"in"/"a.jpg")
    assert [row.kind for row in resize_all(tmp_path/"in", tmp_path/"out", most_pixels=640*480 - 1).failed] == ["huge"]


def test_a_second_call_makes_what_is_missing_or_changed(tmp_path):
    for number in range(4): os.utime(save(scene(number), tmp_path/"in"/f"{number}.jpg"), (10**9, 10**9))
    resize_all(tmp_path/"in", tmp_path/"out")
    (tmp_path/"out"/"1.jpg").unlink(); save(scene(9), tmp_path/"in"/"2.jpg"); save(scene(8), tmp_path/"in"/"new.jpg")
    report = resize_all(tmp_path/"in", tmp_path/"out", skip=["3.jpg"])
    assert statuses(report) == {"0.jpg": "here", "1.jpg": "made", "2.jpg": "made", "3.jpg": "skipped",
                                "new.jpg": "made"}


def test_a_killed_call_leaves_whole_copies_only(tmp_path, monkeypatch):
    for number in range(3): save(scene(number), tmp_path/"in"/f"{number}.jpg")
    done, real = [], os.replace
    def killed(part, target):
        done.extend([target] * (target.suffix == ".jpg"))
        if len(done) > 1: raise KeyboardInterrupt
        real(part, target)
    monkeypatch.setattr(images.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt): resize_all(tmp_path/"in", tmp_path/"out")
    monkeypatch.undo()
    (tmp_path/"out"/".2.jpg.1.part").write_bytes(b"half") # as a killed process leaves it
    assert statuses(resize_all(tmp_path/"in", tmp_path/"out")) == {"0.jpg": "here", "1.jpg": "made", "2.jpg": "made"}
    assert not list((tmp_path/"out").glob(".*.part"))


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "is full"), (errno.EROFS, "may not be written")])
def test_full_or_read_only_disk(tmp_path, monkeypatch, number, words):
    save(scene(1), tmp_path/"in"/"a.jpg")
    def fail(*args, **options): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(images.os, "replace", fail)
    with pytest.raises(CourseError, match=words): resize_all(tmp_path/"in", tmp_path/"out")
    assert list((tmp_path/"out").iterdir()) == []


@pytest.mark.parametrize("kind, options, stays", [
    ("JPEG", {}, True), ("JPEG", {"progressive": True}, True),
    ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}, False), ("JPEG", {"comment": b"me"}, False),
    ("JPEG", {"icc_profile": b"x"}, False), ("JPEG", {"xmp": b"<me/>"}, False), ("PNG", {}, False)])
def test_what_is_as_we_want_it_is_copied_byte_for_byte(tmp_path, kind, options, stays):
    source = save(scene(1, (300, 200)), tmp_path/"in"/"a.jpg", format=kind, **options)
    [file] = resize_all(tmp_path/"in", tmp_path/"out", max_size=300).files
    assert (file.read_bytes() == source.read_bytes()) == stays
    with Image.open(file) as copy:
        assert (copy.format, copy.size, [segment for segment, _ in copy.applist]) == ("JPEG", (300, 200), ["APP0"])


@pytest.mark.parametrize("change", [{"max_size": 299}, {"quality": 50}])
def test_a_grey_or_larger_picture_is_written_again(tmp_path, change):
    source = save(scene(1, (300, 200)).convert("L"), tmp_path/"in"/"a.jpg")
    [file] = resize_all(tmp_path/"in", tmp_path/"out", **change).files
    with Image.open(file) as copy: assert copy.mode == "RGB" and file.read_bytes() != source.read_bytes()


@pytest.mark.parametrize("options, words", [({"max_size": 0}, "max_size must be"), ({"max_size": 1.5},
    "max_size must be"), ({"max_size": True}, "max_size must be"),
                                            ({"quality": 96}, "quality must be")])
def test_numbers(tmp_path, options, words):
    save(scene(1), tmp_path/"in"/"a.jpg")
    with pytest.raises(CourseError, match=words): resize_all(tmp_path/"in", tmp_path/"out", **options)


def test_folders(tmp_path):
    save(scene(1), tmp_path/"in"/"a.jpg")
    for dest in (tmp_path/"in"/"small", tmp_path/"in", tmp_path/"in"/".."/"in"/"x"):
        with pytest.raises(CourseError, match="lies inside"): resize_all(tmp_path/"in", dest)
    with pytest.raises(CourseError, match="is a file; copies need a folder"):
        resize_all(tmp_path/"in", save(scene(1), tmp_path/"b.jpg"))
    with pytest.raises(CourseError, match="There is no folder"): resize_all(tmp_path/"nothing", tmp_path/"out")
    assert names(tmp_path/"in") == ["a.jpg"]


def test_two_sizes_are_not_mixed(tmp_path):
    save(scene(1), tmp_path/"in"/"a.jpg")
    resize_all(tmp_path/"in", tmp_path/"out", max_size=100)
    with pytest.raises(CourseError, match='made with {"max_size": 100'):
        resize_all(tmp_path/"in", tmp_path/"out", max_size=200)
    (tmp_path/"out"/images.SETTINGS).write_text("") # as a killed process leaves it
    assert statuses(resize_all(tmp_path/"in", tmp_path/"out", max_size=100)) == {"a.jpg": "here"}


# Names

@pytest.mark.parametrize("name", ["../x", "..", ".", "", " ", "a/b", "a\\b", "C:", ".hidden", "x.", "x ", "-rf", "CON",
                                  "lpt1.txt", "nul", "Train", "valid",
                                  "a\0b", "a\nb", "x"*61, None, 7, ("a",)])
def test_names_that_are_no_class(tmp_path, name):
    assert class_fault(name)
    with pytest.raises(CourseError, match="A class cannot be called"): build_dataset({name: ["x"]}, tmp_path/"out")
    assert not list(tmp_path.iterdir()) or [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("name", ["bird", "Maine Coon", "Käuzchen", "鳥", "a.b", "x"*60, "con artist", "3"])
def test_names_of_classes(name): assert class_fault(name) == ""


@pytest.mark.parametrize("searches, words", [({}, "Write what to search for"), (["bird"], "Write what to search for"),
                                             (None, "Write what"),
                                             ({"bird": []}, "nothing to search"),
                                             ({"bird": None}, "nothing to search"),
                                             ({"bird": ["x"], "Bird": ["y"]}, "upper and lower")])
def test_searches_that_make_no_sense(tmp_path, searches, words):
    with pytest.raises(CourseError, match=words): build_dataset(searches, tmp_path/"out")


# A whole data set

@pytest.fixture
def build(trouble, tmp_path):
    "Build a set from {class: [names of pictures on the server]}; the search for a class finds exactly those"
    def run(found, **options):
        classes, answers = list(found), iter(found.values())
        for number, pictures in enumerate(answers):
            trouble.say(f"search{number}", (200, {}, openverse_results([trouble.url(name) for name in pictures])))
        real = images.search_class
        def search_class(terms, per_search, **more):
            return real(terms, per_search, providers=["openverse"], retry=RetryPolicy(pause=0.001, tries=1), **more,
                        openverse=trouble.url(f"search{classes.index(terms[0].split()[0])}"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(images, "search_class", search_class)
            return build_dataset({name: [f"{name} photo"] for name in found}, tmp_path/"photos", limits=QUICK,
                                 allow_hosts=[trouble.host], **options)
    return run


BIRDS, FORESTS = [f"photo/b{number}" for number in range(4)], [f"photo/f{number}" for number in range(3)]

def test_build(build, tmp_path):
    built = build({"bird": BIRDS, "forest": FORESTS}, max_size=50)
    assert (built.path, built.counts) == (tmp_path/"photos", {"bird": 4, "forest": 3})
    assert len([name for name in names(built.path) if name.endswith(".jpg")]) == 7 and CREDITS in names(built.path)
    for file in built.path.rglob("*.jpg"):
        with Image.open(file) as image: assert image.size == (50, 38)
    assert str(built).splitlines()[:2] == ["photos: 7 photos in 2 classes", "  bird: 4 found, 4 downloaded, 4 ready"]


def test_the_folder_holds_classes_and_nothing_else(build):
    built = build({"bird": [*BIRDS, "truncated.jpg", "photo/twin"], "forest": [*FORESTS, "photo/twin"]})
    assert sorted(path.name for path in built.path.iterdir() if path.is_dir()) == ["bird", "forest"]


def test_faults_on_the_way(build, trouble):
    def picture(image, kind="JPEG", **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return (200, {}, buffer.getvalue())
    trouble.say("small.jpg", picture(noise(3, (20, 20))))
    trouble.say("moving.gif", picture(noise(4), "GIF", save_all=True, append_images=[noise(5)]))
    trouble.say("ink.jpg", picture(noise(6).convert("CMYK"))); trouble.say("big.png", picture(scene(7), "PNG"))
    trouble.say("big2.jpg", picture(scene(7, (320, 240))))
    built = build({"bird": [*BIRDS, "html.jpg", "missing.jpg", "bomb.png", "truncated.jpg", "small.jpg", "moving.gif",
                            "ink.jpg", "big.png", "big2.jpg"],
                   "forest": [*FORESTS, "photo/b0"]})
    assert built.counts == {"bird": 4 - 1 + 2, "forest": 3}
    assert len(built.downloads["bird"].failed) == 3 and sorted(row.kind for row in built.resized.failed) == [
        "animated", "damaged"]
    assert sorted(row["kind"] for row in read_rejected(built.path)) == ["duplicate", "tiny", "two labels", "two labels"]
    html = built._repr_html_()
    assert "two labels" in html and html.count(
        "data:image/jpeg") == 7 and "bird: 13 found, 10 downloaded, 5 ready" in html


def test_who_took_it(build, trouble):
    built = build({"bird": BIRDS, "forest": FORESTS})
    rows = read_credits(built.path)
    assert sorted(rows) == [name for name in names(built.path) if name.endswith(".jpg")]
    row = next(row for row in rows.values() if row["url"] == trouble.url("photo/b2"))
    assert row == row | {"title": "Photo 2", "creator": "Ann", "licence": "CC BY-SA 2.0",
                         "page": "https://example.org/2", "provider": "openverse"}


def test_a_second_call_asks_for_nothing(build, trouble):
    build({"bird": BIRDS, "forest": FORESTS})
    trouble.asked.clear()
    again = build({"bird": BIRDS, "forest": FORESTS})
    assert trouble.asked == [] and again.counts == {"bird": 4, "forest": 3} and {row.status
        for row in again.resized.rows} == {"here"}


def test_what_was_thrown_out_stays_out_and_what_was_brought_back_stays(build):
    first = build({"bird": [*BIRDS, "photo/twin"], "forest": [*FORESTS, "photo/twin"]})
    next((first.path/"bird").glob("*.jpg")).unlink()
    again = build({"bird": [*BIRDS, "photo/twin"], "forest": [*FORESTS, "photo/twin"]})
    assert (first.counts, again.counts) == ({"bird": 4, "forest": 3}, {"bird": 3, "forest": 3})
    assert len(restore(first.path)) == 2
    assert build({"bird": [*BIRDS, "photo/twin"], "forest": [*FORESTS, "photo/twin"]}).counts == {"bird": 4,
        "forest": 4}


def test_a_search_that_finds_more_later(build, tmp_path):
    build({"bird": BIRDS[:2], "forest": FORESTS})
    # what was found is remembered for some weeks
    for file in (tmp_path/"home"/"data"/".course"/"search").iterdir(): file.unlink()
    built = build({"bird": BIRDS[1:], "forest": FORESTS})
    assert built.counts["bird"] == 4 and len(read_credits(built.path)) == 7


def test_pictures_of_ones_own_are_left_alone(build, tmp_path):
    mine = [save(scene(1, (20, 20)), tmp_path/"photos"/"bird"/"mine.png"),
            save(scene(1), tmp_path/"photos"/"bird"/"large.png")]
    build({"bird": BIRDS, "forest": FORESTS})
    assert all(file.is_file() for file in mine)


def test_a_killed_build_goes_on(build, monkeypatch):
    def killed(*args): raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(images, "write_credits", killed)
        with pytest.raises(KeyboardInterrupt): build({"bird": BIRDS, "forest": FORESTS})
    assert build({"bird": BIRDS, "forest": FORESTS}).counts == {"bird": 4, "forest": 3}


def test_a_later_search_that_finds_nothing(monkeypatch):
    def search(term, per_search):
        if "rain" in term: raise CourseError(f"No photos of {term!r}")
        return [term]
    monkeypatch.setattr(images, "search_images", search); monkeypatch.setattr(images, "interleave", list)
    assert images.search_class(["bird", "bird in rain", "bird at sea"], 9) == ([["bird"], ["bird at sea"]],
        ["No photos of 'bird in rain'"])
    with pytest.raises(CourseError, match="No photos of 'rain'"): images.search_class(["rain", "bird"], 9)


def test_no_search_works(trouble, tmp_path):
    with pytest.raises(CourseError, match="No photos of 'bird' were found.*ready sets"):
        build_dataset({"bird": ["bird"]}, tmp_path/"photos", providers=["openverse"],
                      openverse=trouble.url("forbidden"), retry=RetryPolicy(pause=0.001, tries=1))
    assert names(tmp_path) == []


def test_no_photo_arrives(build):
    with pytest.raises(CourseError, match=r"No photo of the class 'bird' can be used.*\n.*2 failed\n.*web "
                                          r"page.*1x.*not have it any more"):
        build({"bird": ["html.jpg", "missing.jpg"], "forest": FORESTS})


def test_no_photo_is_left(build):
    with pytest.raises(CourseError, match=r"class 'bird' can be used(.|\n)*0 ready(.|\n)*cut off or damaged .1x"):
        build({"bird": ["truncated.jpg"], "forest": FORESTS})


def test_texts_of_strangers_do_no_harm(tmp_path):
    rows = {"a.jpg": dict.fromkeys(images.CREDIT_COLUMNS, "") | {
        "file": "a.jpg", "title": '=HYPERLINK("http://example.org")', "creator": "Ann,\n\"B\""}}
    images.write_credits(tmp_path, rows)
    assert read_credits(tmp_path) == rows and "'=HYPERLINK" in (tmp_path/images.CREDITS).read_text(encoding="utf-8")


def test_the_report_escapes_html():
    class Empty:
        def __init__(self, words): self.words, self.rows, self.files = words, [], []
        def _repr_html_(self): return self.words
    built = PhotoSet(images.Path("<i>"), {"bird & tree": Empty("")}, Empty(""), Empty("TABLE"), ["<script>"])
    html = built._repr_html_()
    assert "&lt;i&gt;: 0 photos" in html and "bird &amp; tree" in html and "<script>" not in html and html.endswith(
        "TABLE")


def test_rejected_photos_lie_beside_the_set(build):
    built = build({"bird": [*BIRDS, "photo/twin"], "forest": [*FORESTS, "photo/twin"]})
    assert len(list(aside_folder(built.path).rglob("*.jpg"))) == 2 and aside_folder(
        built.path).parent == built.path.parent


# What a learner gets wrong, or does a second time

@pytest.mark.parametrize("options, words", [
    ({"per_serach": 20}, "no argument called 'per_serach'. Did you mean 'per_search'"),
    ({"provider": ["commons"]}, "Did you mean 'providers'"),
    ({"per_search": 0}, "per_search must be a whole number from 1 to 200, not 0"),
    ({"per_search": "20"}, "per_search must be"),
    ({"max_size": "400"}, "max_size must be a whole number from 1 to 16,384, not '400'")])
def test_wrong_arguments_are_answered_before_anybody_is_asked(trouble, tmp_path, options, words):
    with pytest.raises(CourseError, match=words):
        build_dataset({"bird": "bird"}, tmp_path/"photos", openverse=trouble.url("search"), **options)
    assert trouble.asked == [] and names(tmp_path) == []


@pytest.mark.parametrize("terms", [3, None, {}, ()])
def test_terms_that_are_none(tmp_path, terms):
    with pytest.raises(CourseError, match="nothing to search for 'bird'"):
        build_dataset({"bird": terms}, tmp_path/"photos")


def test_nothing_is_downloaded_before_all_searches_have_helped(trouble, tmp_path):
    trouble.say("search", (200, {}, openverse_results([trouble.url(name) for name in BIRDS])),
                (200, {}, openverse_results([])))
    with pytest.raises(CourseError, match="No photos of 'forest'"):
        build_dataset({"bird": "bird", "forest": "forest"}, tmp_path/"photos", providers=["openverse"],
                      openverse=trouble.url("search"),
                      retry=RetryPolicy(pause=0.001, tries=1), allow_hosts=[trouble.host])
    assert [path.partition("?")[0] for path in trouble.asked] == ["/search", "/search"]


def test_photos_of_earlier_searches_are_told(build, tmp_path):
    assert "earlier" not in str(build({"bird": BIRDS[:2], "forest": FORESTS}))
    for file in (tmp_path/"home"/"data"/".course"/"search").iterdir(): file.unlink() # other words, other photos
    assert str(build({"bird": BIRDS[1:], "wood": ["photo/w0"]})).splitlines() == [
        "photos: 5 photos in 2 classes", "  bird: 3 found, 3 downloaded, 4 ready, 1 of them from earlier searches",
        "  wood: 1 found, 1 downloaded, 1 ready", "  forest: 3 from earlier searches, a class of this folder, too"]


def test_reasons_are_counted_by_kind():
    tiny = [Resized(f"{side}.jpg", "failed", "", "tiny", f"{side} x {side} pixels") for side in range(1, 4)]
    lost = [SimpleNamespace(why=f"the server answered {code}") for code in (500, 503)]
    words = str(images.no_photos_error("bird", "none", tiny + lost))
    assert "too small (3x); the server answered … (2x)" in words


@pytest.mark.parametrize("name", ["x"*251 + ".jpg", "x"*250 + ".png", "ä"*125 + ".jpg"])
def test_the_longest_name_does_not_stop_the_others(tmp_path, name):
    for file in (name, "a.jpg"): save(scene(1), tmp_path/"in"/file, format="JPEG")
    report = resize_all(tmp_path/"in", tmp_path/"out", max_size=100)
    too_long = name.endswith(".png") # its copy would end in '.png.jpg'
    assert statuses(report) == {"a.jpg": "made", name: "failed" if too_long else "made"}
    assert [(row.kind, "rename it" in row.why) for row in report.failed] == [("name", True)] * too_long


MEMORY = """
import resource, sys
from course_lib.pictures.check import check_images
from course_lib.pictures.gather import resize_all
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(resize_all(sys.argv[1], sys.argv[2]).files) == 1
check_images(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)//1024)
"""

@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes on Linux")
def test_a_large_drawing_is_held_once(tmp_path):
    "4,000 by 4,000 pixels of 4 bytes are 61 MiB; four copies of them were made before"
    save(Image.new("RGBA", (4000, 4000), (255, 0, 0, 90)), tmp_path/"in"/"a.png")
    run = subprocess.run([sys.executable, "-c", MEMORY, tmp_path/"in", tmp_path/"out"], capture_output=True, text=True)
    assert int(run.stdout) < 100, run.stderr


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "CMYK"])
def test_a_copy_made_in_bands_looks_the_same(tmp_path, mode):
    image = scene(3, (900, 700))
    image.putalpha(Image.linear_gradient("L").resize((900, 700)))
    if mode == "I;16": image = Image.fromarray((np.asarray(image.convert("L")).astype(np.uint16))*256)
    elif mode != "RGBA": image = image.convert(mode) if mode != "CMYK" else image.convert("RGB").convert("CMYK")
    kind = "TIFF" if mode == "CMYK" else "PNG"
    save(image, tmp_path/"in"/"a.png", format=kind)
    [file] = resize_all(tmp_path/"in", tmp_path/"out", max_size=100).files
    with Image.open(tmp_path/"in"/"a.png") as whole:
        expected = on_white(eight_bits(whole)).resize((100, 78), Image.Resampling.LANCZOS)
    with Image.open(file) as copy: assert copy.size == (100, 78); found = np.asarray(copy)
    assert np.abs(found.astype(int) - np.asarray(expected).astype(int)).mean() < 5
