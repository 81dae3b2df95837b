"Pictures of every kind, good and bad, and bundles that should not be trusted. Neither PyTorch nor fastai is needed."
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import DESCRIPTIONS, FILES, MODELS, SIZE, VOCAB, WAY, network, with_file, write_bundle
from course_lib.apps import predictor as module
from course_lib.apps.predictor import (
    MOST_FACTS, SERVED_PIXELS, BadBundle, BadPicture, Prediction, load_bundle, on_plain, open_picture, read_bundle)
from onnx import TensorProto, helper
from PIL import Image, ImageDraw, ImageOps

@pytest.fixture(scope="module")
def bundle(tmp_path_factory): return write_bundle(tmp_path_factory.mktemp("bundles")/"colours")


@pytest.fixture(scope="module")
def predictor(bundle): return load_bundle(bundle, threads=1)


def corners(width=64, height=40):
    "A blue picture with one red corner: every turn of it is another picture"
    image = Image.new("RGB", (width, height), "blue")
    ImageDraw.Draw(image).rectangle([0, 0, width//2, height//2], fill="red")
    return image


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation, kind):
    exif = Image.Exif()
    exif[274] = orientation
    return file_of(corners(), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def transparent(mode):
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle([0, 0, 29, 59], fill=(255, 0, 0, 255))
    if mode == "P": return file_of(image.quantize(8))
    return file_of(image.convert(mode))


def key_colour():
    "An RGB picture whose green counts as transparent"
    image = Image.new("RGB", (60, 60), "lime")
    ImageDraw.Draw(image).rectangle([0, 0, 29, 59], fill="red")
    return file_of(image, transparency=(0, 255, 0))


# Good pictures

@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
def test_pictures_are_turned_upright(orientation, kind):
    names = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
             7: "TRANSVERSE", 8: "ROTATE_90"}
    expected = corners().transpose(Image.Transpose[names[orientation]]) if orientation in names else corners()
    opened = open_picture(turned(orientation, kind))
    assert opened.size == expected.size
    difference = np.abs(np.asarray(opened).astype(int) - np.asarray(expected)).mean()
    assert difference < 6 # what JPEG and WebP lose at the edges; another turn differs by 30 and more


@pytest.mark.parametrize("make", [lambda: transparent("RGBA"), lambda: transparent("P"), key_colour],
                         ids=["rgba", "palette", "key colour"])
def test_transparent_pictures_are_put_on_white(make):
    opened = open_picture(make())
    assert (opened.mode, opened.getpixel((50, 30)), opened.getpixel((10, 30))) == ("RGB", (255, 255, 255), (255, 0, 0))


def test_the_bundle_says_what_is_behind_transparent_pictures(tmp_path):
    green = load_bundle(write_bundle(tmp_path/"green", preprocess=WAY | {"background": [0, 255, 0]}), threads=1)
    assert green.predict(file_of(Image.new("RGBA", (9, 9), (255, 0, 0, 0)))).label == "green"


@pytest.mark.parametrize(("image", "pixel"), [
    (Image.new("L", (9, 9), 77), (77, 77, 77)), (Image.new("1", (9, 9), 1), (255, 255, 255)),
    (Image.new("LA", (9, 9), (77, 255)), (77, 77, 77)),
    (Image.fromarray(np.full((9, 9), 77*256, np.uint16)), (77, 77, 77)),
    (Image.new("RGB", (9, 9), "navy").quantize(4), (0, 0, 128))],
    ids=["grey", "black and white", "grey with alpha", "16 bits", "palette"])
def test_kinds_of_colour_in_a_file(image, pixel):
    assert open_picture(file_of(image)).getpixel((4, 4)) == pixel


def test_cmyk(predictor):
    assert predictor.predict(file_of(Image.new("CMYK", (60, 60), (0, 255, 255, 0)), "JPEG")).label == "red"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_counts(predictor, kind):
    frames = [Image.new("RGB", (60, 60), colour) for colour in VOCAB]
    assert predictor.predict(file_of(frames[0], kind, save_all=True, append_images=frames[1:])).label == "red"


def test_a_picture_may_come_in_many_ways(predictor, tmp_path):
    content, path = file_of(corners()), tmp_path/"Größe 1.dat"
    path.write_bytes(content)
    ways = [content, bytearray(content), memoryview(content), path, str(path), Image.open(path), corners()]
    first, *others = predictor.predict_batch(ways)
    assert first.label == "blue" and others == [first]*6


def test_the_callers_picture_is_left_alone(predictor, tmp_path):
    path = tmp_path/"a.jpg"
    path.write_bytes(turned(6, "JPEG"))
    image = Image.open(path)
    before = image.size
    predictor.predict(image)
    assert image.size == before and image.getexif()[274] == 6


@pytest.mark.parametrize("method", ["crop", "squish", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (33, 24), (4000, 3)])
def test_any_shape_gets_an_answer(tmp_path, method, size):
    there = load_bundle(write_bundle(tmp_path/"shapes", preprocess=WAY | {"method": method, "pad_mode": "border"}),
                        threads=1)
    assert there.predict(Image.new("RGB", size, "lime")).label == "green"


@pytest.mark.parametrize(("method", "expected"), [
    ("squish", lambda image: image), ("crop", lambda image: image.crop((26, 0, 74, 36))),
    ("pad", lambda image: ImageOps.expand(image, (0, 19, 0, 20)))])
def test_pixels_are_those_of_pillow(tmp_path, method, expected):
    "101 x 36 pixels for a model that wants 32 x 24: the middle, 48 wide, or black borders for a height of 75"
    there = load_bundle(write_bundle(tmp_path/"exact", preprocess=WAY | {"method": method}), threads=1)
    image = Image.effect_noise((101, 36), 90).convert("RGB")
    image.paste("red", (0, 0, 50, 9))
    assert np.array_equal(there.pixels(image), np.asarray(expected(image).resize((32, 24), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize(("pad_mode", "label"), [("zeros", "blue"), ("border", "red"), ("reflection", "blue")])
def test_borders(tmp_path, pad_mode, label):
    "A tall blue picture whose outermost columns are red: borders are black, red, or blue again"
    image = Image.new("RGB", (40, 60), "blue")
    for column in (0, 39): image.paste("red", (column, 0, column + 1, 60))
    there = load_bundle(write_bundle(tmp_path/"borders", preprocess=WAY | {"method": "pad", "pad_mode": pad_mode}),
                        threads=1)
    pixels = there.pixels(image)
    assert pixels.shape == (*SIZE, 3) and there.predict(image).label == label
    assert (pixels[:, 0].max() == 0) == (pad_mode == "zeros")


@pytest.mark.parametrize("content", [transparent("RGBA"), transparent("LA"), transparent("P"), key_colour()])
@pytest.mark.parametrize("strip", [1, 7*60, 10**6])
def test_a_background_is_the_same_in_strips_and_at_once(monkeypatch, content, strip):
    monkeypatch.setattr(module, "STRIP", strip)
    image = Image.open(io.BytesIO(content))
    whole = Image.new("RGBA", image.size, (9, 90, 200, 255))
    whole.alpha_composite(image.convert("RGBA"))
    assert np.array_equal(on_plain(image, (9, 90, 200)), whole.convert("RGB"))


# Answers

def test_an_answer(predictor):
    answer = predictor.predict(Image.new("RGB", (60, 60), (200, 60, 50)))
    assert isinstance(answer, Prediction) and (answer.label, answer.index, answer.unlike) == ("red", 0, False)
    assert list(answer.probabilities) == ["red", "green",
                                          "blue"] and sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
    distances = [(value/255 - mean)/0.15 for value, mean in ((200, 0.8), (60, 0.2), (50, 0.2))]
    assert answer.score == pytest.approx(np.sqrt(np.mean(np.square(distances))), abs=1e-4)
    json.dumps([answer.label, answer.index, answer.probabilities, answer.unlike,
                answer.score]) # plain Python, ready for the web


@pytest.mark.parametrize(("colour", "unlike"), [((204, 51, 51), False), ("black", True), ("white", True)])
def test_pictures_unlike_the_training_data(predictor, colour, unlike):
    assert predictor.predict(Image.new("RGB", (9, 9), colour)).unlike is unlike


def test_without_a_domain_nothing_is_unlike(tmp_path):
    answer = load_bundle(write_bundle(tmp_path/"plain", domain=None),
                         threads=1).predict(Image.new("RGB", (9, 9), "white"))
    assert (answer.unlike, answer.score) == (False, None)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_batch_keeps_its_order(bundle, batch_size, threads):
    labels = random.Random(0).choices(VOCAB, k=10)
    pictures = [Image.new("RGB", (30 + number, 20), "lime" if label == "green" else label) for number,
                label in enumerate(labels)]
    answers = load_bundle(bundle, threads=threads).predict_batch(iter(pictures), batch_size=batch_size)
    assert [answer.label for answer in answers] == labels


def test_many_threads_may_ask_at_once(predictor):
    colours = [("red", "lime", "blue")[number % 3] for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        labels = list(pool.map(lambda colour: predictor.predict(Image.new("RGB", (300, 200), colour)).label, colours))
    assert labels == [{"lime": "green"}.get(colour, colour) for colour in colours]


def test_reduced_decoding_is_close_and_only_on_request(bundle):
    gradient = Image.merge("RGB",
                           [Image.linear_gradient("L").rotate(turn).resize((1600, 1200)) for turn in (0, 90, 180)])
    exif = Image.Exif()
    exif[274] = 6
    photo = file_of(gradient, "JPEG", quality=95, exif=exif)
    exact, reduced = load_bundle(bundle, threads=1), load_bundle(bundle, threads=1, reduced=True)
    assert open_picture(photo).size == (1200, 1600) and open_picture(photo, enough=reduced.enough).size == (150, 200)
    difference = np.abs(exact.pixels(photo).astype(int) - reduced.pixels(photo))
    assert 0 < difference.max() <= 8
    opened = Image.open(io.BytesIO(photo))
    assert not np.array_equal(exact.pixels(opened), reduced.pixels(photo)) and opened.size == (1600, 1200)
    assert np.array_equal(exact.pixels(opened),
                          reduced.pixels(Image.open(io.BytesIO(photo)))) # the caller's picture stays as large as it is


# Bad pictures

def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def talkative():
    "A small picture with a note that would fill memory when unpacked"
    content = file_of(corners())
    return content[:33] + chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(80_000_000))) + content[33:]


def huge(width, height):
    "A small file, yet a whole picture: black, one bit a pixel"
    header, rows = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), zlib.compress(bytes((width//8 + 1)*height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BAD = {"nothing.png": (b"", "0 bytes"), "text.jpg": (b"Dear model, I am no picture.", "no picture"),
       "vector.svg": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
       "page.html": (b"<script>alert(1)</script>", "no picture"),
       "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
       "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "JPEG"), "numbers.pickle": (b"\x80\x04\x95", "no picture"),
       "numbers.tif": (file_of(Image.new("F", (9, 9)), "TIFF"), "32 bits"),
       "start.jpg": (b"\xff\xd8\xff\xe0cut off", "not complete"),
       "cut.jpg": (file_of(corners(900, 600), "JPEG")[:2000], "not complete"),
       "cut.png": (file_of(corners())[:100], "not complete"),
       "notes.png": (talkative(), "not complete"), "large.png": (huge(10_000, 9_000), "90,000,000 pixels"),
       "bomb.png": (huge(30_000, 20_000), "too many pixels"),
       "bomb.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;", "too many pixels")}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_named_and_explained(predictor, tmp_path, name):
    content, words = BAD[name]
    (tmp_path/name).write_bytes(content)
    began = time.process_time() # of this process, whatever else this computer has to do
    with pytest.raises(BadPicture, match=words) as from_file: predictor.predict(tmp_path/name)
    with pytest.raises(BadPicture, match=words) as from_bytes: predictor.predict(content)
    assert time.process_time() - began < 3
    assert f"'{name}'" in str(from_file.value) and str(tmp_path) not in str(from_file.value)
    assert str(from_bytes.value).startswith("The picture ")


def test_100_mb(predictor, tmp_path):
    with open(tmp_path/"large.jpg", "wb") as file: file.truncate(100_000_001) # takes no room on the disk
    for picture in (tmp_path/"large.jpg", bytes(100_000_001)):
        with pytest.raises(BadPicture, match="100,000,001 bytes; the most is 100,000,000"): predictor.predict(picture)


@pytest.mark.parametrize("path", ["no.jpg", ".", "/dev/zero", "a\0b"])
def test_what_is_no_file(predictor, tmp_path, path):
    with pytest.raises(BadPicture, match="no file"): predictor.predict(tmp_path/path)


@pytest.mark.parametrize("value", [None, 7, [[1, 2]], np.zeros((9, 9, 3), np.uint8)])
def test_what_is_no_picture_in_python(predictor, value):
    with pytest.raises(TypeError, match=type(value).__name__): predictor.predict(value)


def test_an_opened_picture_can_be_bad_too(predictor, tmp_path):
    (tmp_path/"cut.jpg").write_bytes(file_of(corners(900, 600), "JPEG")[:2000])
    with pytest.raises(BadPicture, match="not complete"): predictor.predict(Image.open(tmp_path/"cut.jpg"))
    with pytest.raises(BadPicture, match="no pixels"): predictor.predict(Image.new("RGB", (0, 9)))


def test_a_long_strip_does_not_fill_memory_with_borders(tmp_path):
    there = load_bundle(write_bundle(tmp_path/"pad", preprocess=WAY | {"method": "pad"}), threads=1)
    with pytest.raises(BadPicture, match="too long and narrow"): there.predict(Image.new("RGB", (60_000, 4)))


@pytest.mark.parametrize("size", [(4032, 3024), (6000, 4000), (4284, 5712)])
def test_pictures_of_a_phone_pass_the_limit_for_strangers(tmp_path, size):
    way = WAY | {"method": "pad", "pad_mode": "border"}
    there = load_bundle(write_bundle(tmp_path/"served", preprocess=way), threads=1, most_pixels=SERVED_PIXELS)
    assert there.predict(Image.new("RGB", size, "blue")).label == "blue"


def test_larger_pictures_of_strangers_are_refused(bundle, tmp_path):
    served = load_bundle(bundle, threads=1, most_pixels=SERVED_PIXELS)
    for picture in (huge(9400, 9400), Image.new("1", (5001, 5000))):
        with pytest.raises(BadPicture, match="the most is 25,000,000. Save it smaller"): served.predict(picture)
    padded = load_bundle(write_bundle(tmp_path/"padded", preprocess=WAY | {"method": "pad"}), threads=1,
                         most_pixels=SERVED_PIXELS)
    with pytest.raises(BadPicture, match="with borders it would have"): padded.predict(Image.new("1", (9000, 2000)))


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_transparent_picture_is_in_memory_twice_at_most(bundle, tmp_path, orientation):
    exif, side = Image.Exif(), 4000
    exif[274] = orientation
    (tmp_path/"clear.png").write_bytes(file_of(Image.new("RGBA", (side, side)), exif=exif))
    code = ("from course_lib.apps.predictor import load_bundle\n"
            "most = lambda: next(int(line.split()[1]) for line in open('/proc/self/status') if "
            "line.startswith('VmHWM'))\n"
            f"there = load_bundle({str(bundle)!r}, threads=1); there.predict({str(bundle.parent/'small.png')!r}); "
            f"before = most()\n"
            f"there.predict({str(tmp_path/'clear.png')!r}); print((most() - before)*1024)")
    (bundle.parent/"small.png").write_bytes(file_of(Image.new("RGBA", (9, 9))))
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(module.__file__).parent.parent, capture_output=True,
                          text=True, timeout=300)
    assert int(done.stdout) < 2.5*4*side**2, done.stderr


def test_in_a_batch_the_bad_one_is_named(predictor, tmp_path):
    (tmp_path/"bad.jpg").write_bytes(b"no")
    with pytest.raises(BadPicture, match=r"'bad\.jpg'"):
        predictor.predict_batch([corners(), tmp_path/"bad.jpg", corners()])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_files_give_an_answer_or_a_message(predictor, kind):
    chance, refused = random.Random(0), 0
    content = file_of(corners(), kind) if kind in ("GIF", "BMP") else turned(6, kind)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 8)):
            damaged[min(int(chance.expovariate(1/60)), len(content) - 1)] = chance.randrange(256)
        try: assert predictor.predict(damaged[:chance.randint(len(content)//2, len(content))]).label in VOCAB
        except BadPicture as error: refused += len(str(error).split()) > 5
    assert refused > 5


# Bundles

@pytest.mark.parametrize(("changes", "words"), DESCRIPTIONS)
def test_a_description_that_cannot_be_is_refused(tmp_path, changes, words):
    with pytest.raises(BadBundle, match=words): load_bundle(write_bundle(tmp_path/"odd", **changes))


@pytest.mark.parametrize(("name", "content", "words"), FILES)
def test_files_that_are_not_what_they_should_be(tmp_path, name, content, words):
    folder = with_file(tmp_path/"odd", name, content)
    for use in (load_bundle, read_bundle):
        with pytest.raises(BadBundle, match=words): use(folder)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_no_browser_reads_is_refused(tmp_path, number):
    folder = write_bundle(tmp_path/"odd")
    facts = (folder/"bundle.json").read_text(encoding="utf-8").rstrip().removesuffix("}")
    (folder/"bundle.json").write_text(f'{facts}, "metrics": {{"AUC": {number}}}}}', encoding="utf-8")
    with pytest.raises(BadBundle, match="bundle.json cannot be read"): read_bundle(folder)


def test_a_description_without_end_is_not_read(tmp_path):
    folder = write_bundle(tmp_path/"long")
    with open(folder/"bundle.json", "ab") as file: file.truncate(MOST_FACTS + 1) # takes no room on the disk
    for use in (load_bundle, read_bundle):
        with pytest.raises(BadBundle, match=r"16,000,001 bytes, and the most is 16,000,000"): use(folder)


def reading(location, constant):
    "A network whose weights lie in a file, given as an initializer or by a node"
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "36")):
        weights.external_data.add(key=key, value=value)
    model = onnx.load_model_from_string(network())
    fixed = [item for item in model.graph.initializer if item.name != "weights"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(fixed if constant else [*fixed, weights])
    if constant: model.graph.node.insert(0, helper.make_node("Constant", [], ["weights"], value=weights))
    return model.SerializeToString()


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("location",
                         ["secret.weights", "inside/../secret.weights", "../secret.weights", "{here}/secret.weights"])
def test_a_network_reads_no_files(tmp_path, monkeypatch, location, constant):
    here = tmp_path/"here"
    (here/"inside").mkdir(parents=True)
    for folder in (tmp_path, here): (folder/"secret.weights").write_bytes(np.eye(3, dtype=np.float32).tobytes())
    monkeypatch.chdir(here)
    with pytest.raises(BadBundle, match="cannot be loaded"):
        load_bundle(write_bundle(tmp_path/"greedy", reading(location.format(here=here), constant)))


def giving(features=1., probabilities=1., operator="Mul"):
    "Averages of the three colours times a number are the features, and times another the probabilities"
    shape = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
    whole = operator == "Expand"
    fixed = [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
             helper.make_tensor("one", TensorProto.FLOAT, [], [features]),
             helper.make_tensor("other", TensorProto.INT64 if whole else TensorProto.FLOAT, [2] if whole else [],
                                probabilities if whole else [probabilities])]
    nodes = [helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
             helper.make_node("Mul", ["means", "one"], ["features"]),
             helper.make_node(operator, ["means", "other"], ["probabilities"])]
    outputs = [shape("probabilities", "n", 3), shape("features", "n", 3)]
    graph = helper.make_graph(nodes, "odd", [shape("pixels", "n", 3, *SIZE)], outputs, fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.mark.parametrize(("numbers", "words"), [
    ({"probabilities": 1/3}, None), ({"probabilities": 7.}, "from 0 to 1"),
    ({"probabilities": float("nan")}, "from 0 to 1"),
    ({"probabilities": -1.}, "from 0 to 1"), ({"probabilities": 0.2}, "add up to 1"),
    ({"probabilities": 1/3, "features": 1e38}, "features"),
    ({"probabilities": 1/3, "features": float("nan")}, "features"),
    ({"probabilities": [2**58, 3], "operator": "Expand"}, "gives up")])
def test_a_network_that_gives_no_answer_is_named(tmp_path, numbers, words):
    there, white = load_bundle(write_bundle(tmp_path/"odd", giving(**numbers)), threads=1), Image.new("RGB", (9, 9),
        "white")
    if words is None: assert there.predict(white).probabilities["red"] == pytest.approx(1/3)
    else:
        with pytest.raises(BadBundle, match=words): there.predict(white)


@pytest.mark.parametrize(("chance", "words"),
                         [(1., "more than 99%"), (0.991, "more than 99%"), (0.99, "99%"), (0.345, "34%"), (0., "0%")])
def test_no_answer_is_called_certain(chance, words):
    assert Prediction("red", 0, {"red": chance}, False, None).chance == words


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_does_not_fit_is_refused(tmp_path, name):
    model, words = MODELS[name]
    with pytest.raises(BadBundle, match=words): load_bundle(write_bundle(tmp_path/"odd", model))


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_what_is_no_bundle(tmp_path, folder):
    with pytest.raises(BadBundle, match=r"no bundle: it has no bundle\.json"): load_bundle(tmp_path/folder)


def test_other_files_do_not_matter(bundle, tmp_path):
    copy = tmp_path/"copy"
    shutil.copytree(bundle, copy)
    for name in ("README.md", "model.safetensors", ".gitattributes"): (copy/name).write_bytes(b"something")
    assert load_bundle(str(copy)).vocab == read_bundle(str(copy))[0]["vocab"] == VOCAB


# Alone

def test_it_runs_as_a_single_file_without_the_course_and_without_torch(bundle, tmp_path):
    shutil.copy(module.__file__, tmp_path/"predictor.py")
    (tmp_path/"red.png").write_bytes(file_of(Image.new("RGB", (9, 9), (204, 51, 51))))
    heavy = ("torch", "torchvision", "fastai", "pandas", "scipy", "course_lib")
    code = ("import sys; sys.modules['course_lib'] = None\nfrom predictor import load_bundle\n"
            f"print(load_bundle({str(bundle)!r}).predict('red.png').label)\nprint([name for name in {heavy} if "
            f"sys.modules.get(name)])")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.split("\n")[:2] == ["red", "[]"], done.stderr


def test_reading_the_description_does_not_load_the_runtime(bundle):
    code = ("import sys; from course_lib.apps.predictor import read_bundle; "
            f"read_bundle({str(bundle)!r}); print('onnxruntime' in sys.modules)")
    root = Path(module.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "False", done.stderr


def traces(command, folder):
    "What a Python program leaves in the folder for temporary files"
    folder.mkdir()
    env = {name: value for name,
           value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {"TMPDIR": str(folder),
               "TEMP": str(folder)}
    done = subprocess.run([sys.executable, "-c", command], cwd=folder.parent, env=env, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("importing", ["course_lib.apps.predictor", "predictor", "course_lib.apps.quantize"])
def test_onnx_runtime_reports_nothing(bundle, tmp_path, importing):
    """It keeps a file about its reports, which it sends where it can.

    Without our word it writes one; with it, it neither writes nor sends."""
    if not traces("import onnxruntime", tmp_path/"left_alone"): pytest.skip("this ONNX Runtime reports nothing anyway")
    shutil.copy(module.__file__, tmp_path/"predictor.py")
    code = f"from {importing} import load_bundle; load_bundle({str(bundle)!r}); import onnxruntime"
    assert traces(code, tmp_path/"told") == []


def test_who_wants_reports_keeps_them(tmp_path):
    code = ("import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; "
            "import course_lib.apps.predictor; print(os.environ['ORT_DISABLE_TELEMETRY'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "0", done.stderr
