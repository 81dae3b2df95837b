"Pictures of one size in one tensor, at the edges"
import pytest
import torch
from PIL import Image

from course_lib.base.env import CourseError
from course_lib.pictures import pixels


def picture(path, size=(28, 28), mode="L", shade=100):
    Image.new(mode, size, shade).save(path)
    return path


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 cut off"])
def test_a_file_that_is_no_picture_is_named(content, tmp_path):
    good, bad = picture(tmp_path/"good.png"), tmp_path/"bad.png"
    bad.write_bytes(content)
    with pytest.raises(CourseError, match="bad.png cannot be read as a picture"): pixels.decode_images([good, bad])


def test_truncated_picture_is_named(tmp_path):
    whole = picture(tmp_path/"whole.png", size=(200, 200))
    (tmp_path/"cut.png").write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(CourseError, match="cut.png"): pixels.decode_images([tmp_path/"cut.png"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CourseError, match="gone.png"): pixels.decode_images([tmp_path/"gone.png"])


def test_sizes_must_agree(tmp_path):
    files = [picture(tmp_path/"a.png"), picture(tmp_path/"b.png", size=(28, 27))]
    with pytest.raises(CourseError, match=r"b.png has \(27, 28\)"): pixels.decode_images(files)


def test_colour_becomes_grey_and_order_is_kept(tmp_path):
    files = [picture(tmp_path/f"{n}.png", mode="RGB", shade=(n, n, n)) for n in (30, 10, 20)]
    assert pixels.decode_images(files)[:, 0, 0].tolist() == [30, 10, 20]


def test_cache_follows_the_files(tmp_path):
    file, cache = picture(tmp_path/"a.png", shade=1), tmp_path/"cache"
    assert pixels.read_images([file], cache).max() == 1
    picture(file, shade=200)
    assert pixels.read_images([file], cache).max() == 200
    assert not list(cache.glob("*.tmp"))


def test_cache_is_really_used(tmp_path, monkeypatch):
    file, cache = picture(tmp_path/"a.png"), tmp_path/"cache"
    first = pixels.read_images([file], cache)
    def forbidden(files): raise AssertionError("decoded again")
    monkeypatch.setattr(pixels, "decode_images", forbidden)
    assert torch.equal(pixels.read_images([file], cache), first)


def test_nothing_half_written_when_a_picture_is_broken(tmp_path):
    (tmp_path/"bad.png").write_text("no")
    with pytest.raises(CourseError): pixels.read_images([tmp_path/"bad.png"], tmp_path/"cache")
    with pytest.raises(CourseError): pixels.read_images([tmp_path/"bad.png"], tmp_path/"cache")
    assert not list((tmp_path/"cache").glob("*.npy"))
