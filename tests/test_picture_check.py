"Every fault a picture can have, what counts as the same picture, and moving aside without loss"
import errno
import io
import os
import random
import struct
import threading

import numpy as np
import pytest
from misbehaving import bomb, photo
from PIL import Image, ImageEnhance

from course_lib.pictures import check as picture_check
from course_lib.base.env import CourseError
from course_lib.pictures.aside import aside_folder, read_journal, read_rejected, restore
from course_lib.pictures.check import FAULT_KINDS, REJECTED, PictureInfo, check_images, duplicate_faults, fingerprint
from course_lib.pictures.reading import Unusable, open_picture, picture_files, small_copy

pytestmark = pytest.mark.usefixtures("home")


def scene(seed, size=(160, 120)):
    "A smooth picture; another seed gives another one"
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def save(image, file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


def content(image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sideways(orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def frames(kind): return content(scene(1), kind, save_all=True, append_images=[scene(2), scene(3)])

def noisy(size=(64, 48)): return Image.frombytes("RGB", size, random.Random(1).randbytes(size[0]*size[1]*3))


# One picture

FAULTS = {
    "zero bytes": (b"", "jpg", ["unreadable"], "the file is empty"),
    "web page": (b"<!DOCTYPE html><title>Log in</title>", "jpg", ["unreadable"], "a web page came"),
    "text": (b"hello", "png", ["unreadable"], "not a photo"),
    "foreign format": (b"\0\0\0\x18ftypheic", "heic", ["unreadable"], "does not read .heic"),
    "cut JPEG": (photo("cut")[:-1500], "jpg", ["damaged"], "truncated"),
    "cut progressive JPEG": (content(noisy(), progressive=True)[:-1500], "jpg", ["damaged"], "truncated"),
    "cut PNG": (content(noisy(), "PNG")[:-3000], "png", ["damaged"], "cannot be decoded"),
    "cut WebP": (content(noisy(), "WEBP")[:-300], "webp", ["damaged", "unreadable"], ""),
    "cut GIF": (content(noisy(), "GIF")[:-3000], "gif", ["damaged"], "cannot be decoded"),
    "GIF cut in its first picture": (frames("GIF")[:-19_241], "gif", ["damaged"], "cannot be decoded"),
    "bomb": (bomb(), "png", ["huge"], "Pillow allows"),
    "bomb that Pillow allows": (bomb(11_000), "png", ["huge"], "11,000 x 11,000 pixels, and 100,000,000 in all are "
                                                               "allowed"),
    "claimed bomb": (bomb(256).replace(struct.pack(">II", 256, 256), struct.pack(">II", 60_000, 60_000)), "png",
                     ["huge", "unreadable"], ""),
    "moving GIF": (frames("GIF"), "gif", ["animated"], "3 pictures"),
    "moving WebP": (frames("WEBP"), "webp", ["animated"], "3 pictures"),
    "moving PNG": (frames("PNG"), "png", ["animated"], "3 pictures"),
    "icon": (content(scene(1, (200, 31))), "jpg", ["tiny"], "200 x 31 pixels"),
    "on its side": (content(scene(1), exif=sideways()), "jpg", ["turned"], "EXIF"),
    "PNG on its side": (content(scene(1), "PNG", exif=sideways(8)), "png", ["turned"], "EXIF"),
    "printing ink": (content(scene(1).convert("CMYK")), "jpg", ["mode"], "CMYK"),
    "transparent": (content(scene(1).convert("RGBA"), "PNG"), "png", ["mode"], "transparent"),
    "transparent palette": (content(scene(1).quantize(8), "PNG", transparency=3), "png", ["mode"], "transparent"),
    "16 bits": (content(Image.fromarray(np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16)), "PNG"), "png",
                ["mode"], "16 bits"),
    "wrong end": (content(scene(1), "PNG"), "jpg", ["name"], "a PNG file with the name of a JPEG file"),
    "unknown end": (content(scene(1)), "heic", ["name"], "unknown format"),
}

@pytest.mark.parametrize("data, suffix, kinds, words", FAULTS.values(), ids=FAULTS)
def test_fault(tmp_path, data, suffix, kinds, words):
    (tmp_path/f"picture.{suffix}").write_bytes(data)
    [fault] = check_images(tmp_path).faults
    assert (fault.kind in kinds, fault.file) == (True, f"picture.{suffix}")
    assert any(part in fault.why for part in words.split("|"))


@pytest.mark.parametrize("data, suffix", [
    (content(scene(1)), "jpeg"), (content(scene(1), "PNG"), "PNG"), (content(scene(1).convert("L")), "jpg"),
    (content(scene(1), "GIF"), "gif"),
    (content(scene(1), "WEBP"), "webp"), (content(scene(1), "BMP"), "bmp"), (content(scene(1), "TIFF"), "tif"),
    (content(scene(1).quantize(8), "PNG"), "png"),
    (content(scene(1), exif=sideways(1)), "jpg"), (content(scene(1), "PNG", exif=b"Exif\0\0XX*\0\x08\0\0\0"), "png"),
    (content(scene(1), "MPO", save_all=True, append_images=[scene(2)]), "jpg")],
    ids=["jpeg", "png", "grey", "gif", "webp", "bmp", "tiff", "palette", "upright", "broken EXIF", "mpo"])
def test_no_fault(tmp_path, data, suffix):
    (tmp_path/f"picture.{suffix}").write_bytes(data)
    report = check_images(tmp_path)
    assert (report.faults, report.count) == ([], 1)


def test_several_faults_of_one_picture(tmp_path):
    save(scene(1, (20, 40)).convert("CMYK"), tmp_path/"a.png", format="JPEG", exif=sideways())
    assert set(check_images(tmp_path).kinds()) == {"tiny", "mode", "name", "turned"}


def test_the_bound_is_judged_before_anything_is_decoded(tmp_path, monkeypatch):
    file = save(scene(1), tmp_path/"a.png")
    def decoded(*args): raise AssertionError("decoded")
    monkeypatch.setattr(Image.Image, "load", decoded)
    with pytest.raises(Unusable, match="160 x 120 pixels, and 19,199 in all"), open_picture(file, 160*120 - 1):
        raise AssertionError("opened")
    assert check_images(tmp_path, most_pixels=160*120 - 1).kinds() == {"huge": 1}


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    save(scene(1), tmp_path/"a.jpg")
    def refuse(*args, **options): raise PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(Image, "open", refuse)
    [fault] = check_images(tmp_path).faults
    assert (fault.kind, fault.why) == ("unreadable", "Permission denied")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_copies_stand_upright(orientation, kind):
    image = Image.new("RGB", (120, 60), "blue")
    image.paste("red", (0, 0, 30, 30)) # in the upper left corner
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = image if undo is None else image.transpose(Image.Transpose(undo))
    with open_picture(io.BytesIO(content(stored, kind, exif=sideways(orientation)))) as opened:
        copy = small_copy(opened, 60)
    red, _, blue = copy.getpixel((5, 5))
    assert (copy.size, copy.mode, red > 180, blue < 80, copy.getpixel((55, 25))[2] > 180) == ((60, 30), "RGB", True,
        True, True)


@pytest.mark.parametrize("mode, expected",
                         [("RGBA", 255), ("LA", 255), ("P", 255), ("I;16", 128), ("CMYK", 128), ("L", 128), ("1", 255)])
def test_colours_of_copies(tmp_path, mode, expected):
    image = {"RGBA": Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "LA": Image.new("LA", (64, 64), (0, 0)),
             "P": Image.new("P", (64, 64), 0),
             "I;16": Image.fromarray(np.full((64, 64), 2**15, np.uint16)),
             "CMYK": Image.new("CMYK", (64, 64), (0, 0, 0, 127)),
             "L": Image.new("L", (64, 64), 128), "1": Image.new("1", (64, 64), 1)}[mode]
    file = save(image, tmp_path/"a", format="TIFF" if mode == "CMYK" else "PNG",
                **({"transparency": 0} if mode == "P" else {}))
    with open_picture(file) as opened: copy = small_copy(opened, 32)
    assert (copy.mode, copy.size) == ("RGB", (32, 32)) and all(abs(shade - expected) <= 1
                                                               for shade in copy.getpixel((9, 9)))


def test_half_transparent_edges_stay_clean():
    "Hidden black must not bleed into its surroundings when a picture is made smaller"
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 203, 400))
    with open_picture(io.BytesIO(content(image, "PNG"))) as opened: copy = small_copy(opened, 40)
    assert min(low for low, _ in copy.getextrema()) > 250


# The same picture

def altered(name, image):
    width, height = image.size
    if name == "smaller": return image.resize((width//3, height//3), Image.Resampling.LANCZOS)
    if name == "compressed": return Image.open(io.BytesIO(content(image, quality=20)))
    if name == "brighter": return ImageEnhance.Brightness(image).enhance(1.3)
    if name == "duller": return ImageEnhance.Contrast(image).enhance(0.7)
    image = image.copy()
    image.paste("white", (int(width*.7), int(height*.9), width, height))
    return image


@pytest.mark.parametrize("name", ["smaller", "compressed", "brighter", "duller", "with a mark"])
@pytest.mark.parametrize("seed", range(4))
def test_altered_copies_are_found(tmp_path, name, seed):
    original = scene(seed, (640, 480))
    save(original, tmp_path/"a.jpg"); save(altered(name, original), tmp_path/"b.png")
    assert "duplicate" in check_images(tmp_path).kinds()


def test_strangers_are_not_the_same(tmp_path):
    for seed in range(60): save(scene(seed), tmp_path/f"{seed}.jpg")
    for number, colour in enumerate(("red", "blue")):
        save(Image.new("RGB", (90, 90), colour), tmp_path/f"plain-{number}.png")
    assert check_images(tmp_path).faults == []


def test_a_picture_turned_by_its_exif_data_is_the_same(tmp_path):
    save(scene(1), tmp_path/"a.png")
    save(scene(1).transpose(Image.Transpose.ROTATE_90), tmp_path/"b.png", exif=sideways(6))
    assert check_images(tmp_path).kinds() == {"turned": 1, "duplicate": 1}


@pytest.mark.parametrize("first, second, expected", [
    ("a.jpg", "b.jpg", {"b.jpg": "duplicate"}), ("bird/a.jpg", "bird/b.jpg", {"bird/b.jpg": "duplicate"}),
    ("bird/a.jpg", "forest/a.jpg", {"bird/a.jpg": "two labels", "forest/a.jpg": "two labels"}),
    ("train/bird/a.jpg", "valid/bird/a.jpg", {"train/bird/a.jpg": "leak"}),
    ("Train/a.jpg", "Test/a.jpg", {"Train/a.jpg": "leak"}),
    ("train/bird/a.jpg", "valid/cat/a.jpg", {"train/bird/a.jpg": "two labels", "valid/cat/a.jpg": "two labels"})])
def test_where_the_same_picture_is(tmp_path, first, second, expected):
    save(scene(1), tmp_path/first); save(scene(1, (150, 110)), tmp_path/second)
    save(scene(2), tmp_path/"valid"/"bird"/"other.jpg")
    report = check_images(tmp_path)
    assert {fault.file: fault.kind for fault in report.faults} == expected
    assert {fault.other for fault in report.faults} <= {first, second}


def test_one_of_many_copies_stays_the_largest(tmp_path):
    for number, width in enumerate((100, 300, 200, 300)): save(scene(1, (width, width)), tmp_path/f"{number}.jpg")
    report = check_images(tmp_path)
    assert [(fault.file, fault.other) for fault in report.faults] == [("0.jpg", "1.jpg"), ("2.jpg", "1.jpg"),
                                                                      ("3.jpg", "1.jpg")]


def test_a_bad_picture_is_not_the_one_that_stays(tmp_path):
    save(scene(1, (300, 300)), tmp_path/"moving.gif", save_all=True, append_images=[scene(2)])
    save(scene(1), tmp_path/"still.jpg")
    assert check_images(tmp_path).kinds() == {"animated": 1}


def test_who_is_like_a_copy_that_goes_may_stay():
    "b is like a and like c, yet a and c are not alike"
    looks = {"a.jpg": (1, 0), "b.jpg": (0.9, 0.43), "c.jpg": (0.62, 0.78)}
    pictures = [PictureInfo(name, (), 300 - number, np.array(look))
                for number, (name, look) in enumerate(looks.items())]
    assert [(fault.file, fault.other) for fault in duplicate_faults(pictures)] == [("b.jpg", "a.jpg")]


def test_nearly_plain_pictures_are_not_compared(tmp_path):
    for number, colour in enumerate(("orange", "green")):
        image = Image.new("RGB", (170, 160), colour)
        image.paste("black", (60, 60, 70, 70)) # one square: two steps
        save(image, tmp_path/f"{number}.png")
    assert check_images(tmp_path).faults == []


def test_the_bound_of_likeness_is_the_readers(tmp_path):
    save(scene(1), tmp_path/"a.png"); save(scene(1), tmp_path/"b.png")
    assert check_images(tmp_path,
                        similarity=1.1).faults == [] and len(check_images(tmp_path, similarity=0.99).faults) == 1


def test_blocks_of_the_comparison_agree():
    prints = np.stack([fingerprint(scene(seed % 7)) for seed in range(20)])
    pairs = [list(picture_check.similar_pairs(prints, rows=rows)) for rows in (1, 3, 20, 999)]
    assert pairs[0] == pairs[1] == pairs[2] == pairs[3] and (0, 7) in pairs[0] and len(pairs[0]) == 6*3 + 1


# Folders that cannot be checked

def test_no_such_folder(tmp_path):
    with pytest.raises(CourseError, match="There is no folder .*photoz"): check_images(tmp_path/"photoz")


def test_a_file_in_place_of_a_folder(tmp_path):
    with pytest.raises(CourseError, match="is a file. Name the folder"): check_images(save(scene(1), tmp_path/"a.jpg"))


@pytest.mark.parametrize("names, words", [([], "it holds no files"), (["a.txt", "b.txt",
    "c"], "2 .txt, 1 without suffix"), ([".a.jpg", ".git/b.jpg"], "no files")])
def test_no_pictures(tmp_path, names, words):
    for name in names: (tmp_path/name).parent.mkdir(exist_ok=True); (tmp_path/name).write_bytes(photo("1"))
    with pytest.raises(CourseError, match=words): check_images(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    save(scene(1), tmp_path/"a.jpg"); (tmp_path/"closed").mkdir()
    scandir = os.scandir
    def refuse(path):
        if str(path).endswith("closed"): raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CourseError, match="closed cannot be read .Permission denied"): check_images(tmp_path)


def test_a_picture_that_vanishes_meanwhile(tmp_path, monkeypatch):
    gone = save(scene(1), tmp_path/"a.jpg")
    files = picture_files(tmp_path)
    monkeypatch.setattr(picture_check, "picture_files", lambda path: files)
    gone.unlink()
    assert check_images(tmp_path).kinds() == {"unreadable": 1}


# Threads

@pytest.mark.parametrize("bytes_each, expected", [(1000, False), (picture_check.LARGE_FILE, True)])
def test_threads_only_for_large_files(tmp_path, monkeypatch, bytes_each, expected):
    monkeypatch.setattr(picture_check, "usable_cores", lambda: 2)
    files = [tmp_path/f"{number}" for number in range(4)]
    for file in files: file.write_bytes(bytes(bytes_each))
    names = picture_check.map_pictures(lambda file: threading.current_thread() is not threading.main_thread(), files,
                                       "x")
    assert names == [expected]*4


# Moving aside

@pytest.fixture
def mixed(tmp_path):
    "A folder with one good picture, a broken one, a duplicate and one to mend"
    save(scene(1), tmp_path/"photos"/"bird"/"good.png"); save(scene(1, (90, 90)), tmp_path/"photos"/"bird"/"copy.png")
    save(scene(2), tmp_path/"photos"/"cat"/"phone.jpg", exif=sideways())
    (tmp_path/"photos"/"cat"/"broken.jpg").write_bytes(b"")
    return tmp_path/"photos"


def everything(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_reject_and_restore(mixed):
    before, report = everything(mixed), check_images(mixed)
    moved = report.reject()
    assert sorted(everything(mixed)) == ["bird/good.png", "cat/phone.jpg"]
    assert sorted(everything(aside_folder(mixed)/"trash"/"1")) == ["bird/copy.png",
                                                                   "cat/broken.jpg"] and len(moved) == 2
    # One folder beside it
    assert {path.name for path in mixed.parent.iterdir()} - {"home"} == {"photos", "photos-cleaning"}
    assert {(row["file"], row["kind"]) for row in read_rejected(mixed)} == {("bird/copy.png", "duplicate"),
        ("cat/broken.jpg", "unreadable")}
    assert all(row["why"] for row in read_rejected(mixed))
    assert report.reject() == []
    assert sorted(restore(mixed)) == sorted(mixed/file for file in ("bird/copy.png", "cat/broken.jpg"))
    assert everything(mixed) == before and read_rejected(mixed) == [] and restore(mixed) == []


def test_rejected_pictures_are_out_of_reach_of_training(mixed):
    check_images(mixed).reject()
    assert not aside_folder(mixed).is_relative_to(mixed) and {file.name for file in picture_files(mixed)} == {
        "good.png", "phone.jpg"}


@pytest.mark.parametrize("kinds, left", [("duplicate", 3), (["turned", "unreadable"], 2), ((), 4)])
def test_kinds_to_reject(mixed, kinds, left):
    check_images(mixed).reject(kinds)
    assert len(everything(mixed)) == left


def test_restore_some(mixed):
    check_images(mixed).reject()
    assert restore(mixed, ["bird/copy.png"]) == [mixed/"bird"/"copy.png"] and len(read_rejected(mixed)) == 1
    assert restore(mixed, "cat/broken.jpg") == [mixed/"cat"/"broken.jpg"]
    with pytest.raises(CourseError, match="nothing.png is not among the 0 rejected"): restore(mixed, ["nothing.png"])


def test_nothing_is_written_over(mixed):
    "The same name is rejected twice, and taken again when both come back"
    for size in (50, 60):
        save(scene(1, (size, size)), mixed/"bird"/"copy.png")
        check_images(mixed).reject("duplicate")
    save(scene(3), mixed/"bird"/"copy.png")
    assert sorted(file.name for file in restore(mixed)) == ["copy-2.png", "copy-3.png"]
    sizes = {Image.open(mixed/"bird"/name).size for name in ("copy.png", "copy-2.png", "copy-3.png")}
    assert sizes == {(160, 120), (50, 50), (60, 60)}


def test_a_reason_is_noted_before_a_picture_moves(mixed, monkeypatch):
    def killed(*args): raise KeyboardInterrupt
    report = check_images(mixed)
    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt): report.reject()
    monkeypatch.undo()
    [change] = read_journal(mixed)
    assert len(everything(mixed)) == 4 and [move.kind for move in change.moves] == ["unreadable",
        "duplicate"] and change.unfinished


@pytest.mark.parametrize("call, words",
                         [("replace", "is full"), ("rename", "No space left on device.*Nothing is lost")])
def test_a_full_disk(mixed, monkeypatch, call, words):
    def full(*args): raise OSError(errno.ENOSPC, "No space left on device")
    report = check_images(mixed)
    monkeypatch.setattr(os, call, full)
    with pytest.raises(CourseError, match=words): report.reject()
    assert len(everything(mixed)) == 4


def test_shared_data_is_not_changed(home):
    for folder in (home/"mnist_sample"/"train", home/".course"/"standins"/"photos"):
        (folder/"3").mkdir(parents=True); (folder/"3"/"a.png").write_bytes(b"")
        with pytest.raises(CourseError, match="Work on a copy"): check_images(folder).reject()
        assert (folder/"3"/"a.png").is_file()
    copy = home/".course"/"work"/"04_mnist"/"x"/"mnist_sample"
    save(scene(1, (9, 9)), copy/"a.png")
    assert len(check_images(copy).reject()) == 1


def test_unknown_kind(mixed):
    with pytest.raises(CourseError, match="Did you mean 'damaged'"): check_images(mixed).reject(["damage"])
    assert len(everything(mixed)) == 4


# The report

def test_texts(mixed):
    report = check_images(mixed)
    assert str(report) == "photos: 4 pictures, 1 unreadable, 1 duplicate, 1 turned"
    assert "  unreadable cat/broken.jpg: the file is empty" in repr(report)
    assert list(report.table()) == ["file", "kind", "why", "other"] and len(report.table()) == 3
    assert set(FAULT_KINDS) > set(REJECTED)


def test_table_of_pictures(mixed):
    (mixed/"bird"/"<b>&.png").write_bytes((mixed/"bird"/"copy.png").read_bytes())
    report = check_images(mixed)
    def pictures(): return report._repr_html_().count('src="data:image/jpeg;base64,')
    assert pictures() == 5 and "&lt;b&gt;&amp;.png" in report._repr_html_() and "<b>&" not in report._repr_html_()
    report.reject()
    assert pictures() == 5 # those that have moved as well


def test_a_long_table_is_cut(tmp_path):
    for number in range(picture_check.MOST_SHOWN + 3): (tmp_path/f"{number}.jpg").write_bytes(b"")
    html = check_images(tmp_path)._repr_html_()
    assert html.count("<tr>") == picture_check.MOST_SHOWN + 1 and "3 more are in" in html


@pytest.mark.timing
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_among_the_pictures_is_not_waited_for(tmp_path):
    save(scene(1), tmp_path/"bird"/"1.jpg")
    os.mkfifo(tmp_path/"bird"/"2.jpg")
    (tmp_path/"bird"/"3.jpg").symlink_to(tmp_path/"bird")
    report = []
    looking = threading.Thread(target=lambda: report.append(check_images(tmp_path)), daemon=True)
    looking.start(); looking.join(30)
    assert {fault.file: fault.why for fault in report[0].faults} == dict.fromkeys(
        ["bird/2.jpg"], "is no file but a folder, a pipe or a device")
