"Exported models answer as their learners do, and what cannot be exported is refused by name."
import functools
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from course_lib.apps import bundle as module
from course_lib.apps.bundle import check_destination, describe_domain, export_bundle, load_weights, open_bundle
from course_lib.apps.card import front_matter, markdown_table
from course_lib.apps.onnx_export import last_layer
from course_lib.apps.parts import colour_bundle
from course_lib.apps.quantize import quantize_bundle
from course_lib.base.env import CourseError, quiet
from course_lib.apps.predictor import Predictor, load_bundle, open_picture
from course_lib.data.weights import NETWORK, house_network
from killing import every_step
from PIL import Image, ImageDraw
from torch import nn

quiet()
from fastai.callback import progress  # noqa: E402, F401 (gives learners `no_bar`)
from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock  # noqa: E402
from fastai.data.transforms import Normalize  # noqa: E402
from fastai.learner import Learner, load_learner  # noqa: E402
from fastai.losses import BCEWithLogitsLossFlat, LabelSmoothingCrossEntropy  # noqa: E402
from fastai.vision.augment import (  # noqa: E402
    FlipItem, RandomCrop, RandomErasing, RandomResizedCrop, RandomResizedCropGPU, RatioResize, Resize, aug_transforms)
from fastai.vision.core import PILImage, PILImageBW, imagenet_stats  # noqa: E402
from fastai.vision.data import ImageBlock, ImageDataLoaders  # noqa: E402

KINDS = ("disc", "square", "stripes")
SIZE = (32, 40) # height, width
CROPPED = {"method": "crop", "pad_mode": "reflection", "size": list(SIZE), "resample": "bilinear",
           "background": [255, 255, 255]}
WRITTEN = {} # {mean and size: ONNX}, filled by `written_once`
RESIZES = {"crop": Resize(SIZE), "squish": Resize(SIZE, method="squish"),
           "pad, zeros": Resize(SIZE, method="pad", pad_mode="zeros"),
           "pad, border": Resize(SIZE, method="pad", pad_mode="border"),
           "pad, reflection": Resize(SIZE, method="pad", pad_mode="reflection"),
           "RandomResizedCrop": RandomResizedCrop(SIZE, min_scale=0.5)}


def draw(kind, chance):
    width, height = chance.randint(40, 160), chance.randint(40, 160)
    image = Image.merge("RGB",
                        [Image.linear_gradient("L").rotate(90*chance.randrange(4)).resize((width, height))
                         for _ in "rgb"])
    pen, colour = ImageDraw.Draw(image), tuple(chance.randrange(256) for _ in "rgb")
    if kind == "disc": pen.ellipse([width/4, height/4, 3*width/4, 3*height/4], fill=colour)
    elif kind == "square": pen.rectangle([width/4, height/4, 3*width/4, 3*height/4], fill=colour)
    else: [pen.line([at, 0, at, height], fill=colour, width=3) for at in range(0, width, 9)]
    return image


def save(image, folder, number):
    "As a file of one of eight kinds, some of them awkward"
    exif, shape = Image.Exif(), Image.new("L", image.size, 255)
    exif[274] = number % 8 + 1
    ImageDraw.Draw(shape).ellipse([0, 0, *image.size], fill=90)
    clear = image.copy()
    clear.putalpha(shape)
    ways = [(image, "jpg", {}), (image, "png", {}), (image, "jpg", {"exif": exif}), (image.convert("L"), "png", {}),
            (image.convert("CMYK"), "jpg", {}), (image.quantize(32), "png", {}), (clear, "png", {}),
            (clear.quantize(32), "png", {})]
    picture, ending, options = ways[number % 8]
    path = folder/f"{KINDS[number % 3]}_{number}.{ending}"
    picture.save(path, **options)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("pictures"), random.Random(0)
    return [save(draw(KINDS[number % 3], chance), folder, number) for number in range(48)]


def kind_of(name): return name.split("_")[0]


def load(pictures, item_tfms=RESIZES["crop"], batch_tfms=()):
    return ImageDataLoaders.from_name_func(pictures[0].parent, pictures, label_func=kind_of, item_tfms=item_tfms,
                                           batch_tfms=batch_tfms,
                                           bs=8, num_workers=0, seed=1, device="cpu")


@functools.cache
def network():
    "With weights and statistics that are not what they were at the start"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))
    model(torch.rand(16, 3, *SIZE))
    with torch.no_grad(): model[-1].weight.mul_(12)
    return model


def learner(dls, model=None, **options): return Learner(dls, model or network(), **options)


def answers(predictor, pictures):
    return np.array([[answer.probabilities[name] for name in predictor.vocab]
                     for answer in predictor.predict_batch(pictures)])


@pytest.fixture(scope="module")
def learn(pictures):
    return learner(load(pictures, batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)]))


@pytest.fixture(scope="module")
def bundle(learn, tmp_path_factory):
    return export_bundle(learn, tmp_path_factory.mktemp("bundles")/"bundle", title="Which shape?", data="Drawn shapes",
                         licence="CC BY 4.0", limits="Shapes | only.\nNothing else.")


@pytest.fixture
def written_once(monkeypatch):
    "Where a test is not about the network, it need not be written as ONNX each time"
    write = module.to_onnx
    def once(exported, size):
        key = str((exported.mean.flatten().tolist(), size))
        if key not in WRITTEN: WRITTEN[key] = write(exported, size)
        return WRITTEN[key]
    monkeypatch.setattr(module, "to_onnx", once)


# The same answers

@pytest.mark.parametrize("name", RESIZES)
def test_answers_are_those_of_the_learner(name, pictures, tmp_path, written_once):
    """fastai neither turns pictures nor puts them on white.

    Given the picture that the predictor opened, it has to say the same."""
    batch_tfms = [*aug_transforms(), Normalize.from_stats(*imagenet_stats)] if "pad" in name else []
    learn = learner(load(pictures, RESIZES[name], batch_tfms))
    predictor = load_bundle(export_bundle(learn, tmp_path/"bundle"), threads=1)
    opened = [PILImage.create(np.asarray(open_picture(picture))) for picture in pictures]
    with learn.no_bar(): expected = np.stack([learn.predict(image)[2].numpy() for image in opened])
    ours = answers(predictor, pictures)
    assert np.abs(ours - expected).max() < 1e-4
    # the answers differ from picture to picture, so that being equal means something
    assert expected.std(axis=0).min() > 0.02


def test_ordinary_files_need_no_help(learn, bundle, pictures):
    plain = [picture for number, picture in enumerate(pictures) if number % 8 in (0, 1, 3, 4, 5)]
    with learn.no_bar(): expected = learn.get_preds(dl=learn.dls.test_dl(plain))[0].numpy()
    assert np.abs(answers(load_bundle(bundle, threads=1), plain) - expected).max() < 1e-4


@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_number_of_pictures_goes_through_at_once(bundle, pictures, count):
    predictor = load_bundle(bundle, threads=1)
    one_by_one = np.concatenate([answers(predictor, [picture]) for picture in pictures[:count]])
    assert np.allclose(answers(predictor, pictures[:count]), one_by_one, atol=1e-5)


def test_a_learner_from_a_file_without_pictures(learn, tmp_path, pictures):
    learn.export(tmp_path/"learner.pkl")
    loaded = load_learner(tmp_path/"learner.pkl")
    bundle = export_bundle(loaded, tmp_path/"bundle")
    facts = json.loads((bundle/"bundle.json").read_text())
    assert facts["domain"] is None and facts["metrics"] == {}
    assert "cannot tell whether a picture is unlike" in (bundle/"README.md").read_text()
    assert load_bundle(bundle).predict(pictures[0]).score is None


@pytest.mark.parametrize("last", [nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 5)])
def test_a_network_that_ends_in_a_convolution(pictures, tmp_path, last):
    model = nn.Sequential(nn.Conv2d(3, 8, 5, stride=3), nn.ReLU(), last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    bundle = export_bundle(learner(load(pictures), model), tmp_path/"bundle")
    assert np.shape(json.loads((bundle/"bundle.json").read_text())["domain"]["means"]) == (3, 8)


def test_the_learner_is_left_as_it_was(learn, tmp_path, written_once):
    learn.model.train()
    before = {name: weights.clone() for name, weights in learn.model.state_dict().items()}
    export_bundle(learn, tmp_path/"bundle")
    assert learn.model.training and all(torch.equal(before[name], weights) for name,
                                        weights in learn.model.state_dict().items())
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in learn.model.modules())


def test_a_table_of_pictures_instead_of_paths(pictures, tmp_path, written_once):
    import pandas as pd
    rows = pd.DataFrame({"name": [picture.name for picture in pictures],
                         "label": [kind_of(picture.name) for picture in pictures]})
    dls = ImageDataLoaders.from_df(rows, pictures[0].parent, item_tfms=Resize(SIZE), bs=8, num_workers=0, device="cpu")
    assert load_bundle(export_bundle(learner(dls), tmp_path/"bundle")).vocab == sorted(KINDS)


# What is in the folder

def test_the_folder(bundle):
    assert {file.name for file in bundle.iterdir()} == {"bundle.json", "model.onnx", "model.safetensors", "README.md"}
    facts = json.loads((bundle/"bundle.json").read_text(encoding="utf-8"))
    assert (facts["format"], facts["title"], facts["vocab"], facts["network"]) == (1, "Which shape?", sorted(KINDS),
        "Sequential")
    assert facts["preprocess"] == CROPPED
    assert set(facts["sha256"]) == {"model.onnx", "model.safetensors"} and {"torch", "fastai",
        "onnxruntime"} <= set(facts["versions"])
    assert 0 <= facts["metrics"]["error rate"] <= 1 and facts["metrics"]["pictures kept aside"] == 9
    assert facts["domain"]["quantile"] == 0.99 and facts["domain"]["threshold"] > 0


def test_no_path_of_this_machine_is_in_it(bundle):
    files = sorted(bundle.iterdir())
    assert {"README.md", "bundle.json", "model.onnx"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for text in (str(bundle.parent), os.path.expanduser("~") + os.sep, "site-packages", ".py\"", "stack_trace"):
            assert text.encode() not in content, (file.name, text)


@pytest.mark.parametrize(("arch", "network"), [("", NETWORK), ("resnet18.a1_in1k", "resnet18.a1_in1k"),
                                               ("local-dir:/home/ada/weights/lite0", "Sequential")])
def test_a_network_is_called_by_its_name_not_by_its_folder(learn, tmp_path, written_once, monkeypatch, arch, network):
    monkeypatch.setattr(learn, "arch", arch or house_network(), raising=False)
    bundle = export_bundle(learn, tmp_path/"bundle")
    assert json.loads((bundle/"bundle.json").read_text())["network"] == network
    for file in bundle.iterdir(): assert b"local-dir" not in file.read_bytes(), file.name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_metric_that_is_no_number_is_refused(learn, tmp_path, written_once, value):
    with pytest.raises(CourseError, match="NaN or infinite"):
        export_bundle(learn, tmp_path/"bundle", metrics={"AUC": value})
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_one_has_to_know(bundle):
    card = (bundle/"README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc-by-4.0\n") and "\n# Which shape?\n" in card
    for text in ("disc, square, stripes", "Drawn shapes", "CC BY 4.0", "Shapes | only.", "turned upright",
                 "put on white",
                 "unlike the training data", "| error rate |", "| torch |"):
        assert text in card, text


def test_metrics_that_are_given_are_kept(learn, tmp_path, written_once):
    bundle = export_bundle(learn, tmp_path/"bundle", metrics={"accuracy": np.float32(0.5), "a|b": "good"})
    assert json.loads((bundle/"bundle.json").read_text())["metrics"] == {"accuracy": 0.5, "a|b": "good"}
    assert "| a\\|b | good |" in (bundle/"README.md").read_text()


@pytest.mark.parametrize(("licence", "lines"), [("Apache-2.0", ["license: apache-2.0"]), ("", []),
                                                ("CC BY: mine\n# x", ["license: other", "license_name: cc-by-mine-x"])])
def test_front_matter(licence, lines): assert front_matter(licence).splitlines()[1:-3] == lines


def test_a_table_stays_a_table():
    assert markdown_table({"a\nb": 0.123456}, "Left | Right").splitlines()[2:] == ["| a b | 0.1235 |"]


# What is refused

def block(pictures, *blocks, get_y=None, item_tfms=RESIZES["crop"]):
    get_y = get_y or (lambda file: kind_of(file.name))
    return DataBlock(blocks, get_y=get_y, item_tfms=item_tfms).dataloaders(pictures, bs=8, num_workers=0, device="cpu")


def length(file): return float(len(file.name))


def labels(file): return [kind_of(file.name), "picture"]


def several_labels(pictures):
    return learner(block(pictures, ImageBlock, MultiCategoryBlock, get_y=labels), loss_func=BCEWithLogitsLossFlat())


def a_number(pictures):
    return learner(block(pictures, ImageBlock, RegressionBlock, get_y=length), loss_func=nn.MSELoss())


def grey_pictures(pictures): return learner(block(pictures, ImageBlock(PILImageBW), CategoryBlock))


def pooled(*layers): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)


TASKS = {"several labels": (several_labels, "TensorMultiCategory"), "a number": (a_number, "labels are"),
         "grey pictures": (grey_pictures, "given PILImageBW"),
         "a module": (lambda pictures: network(), "must be a fastai Learner, not Sequential"),
         "another loss": (lambda pictures: learner(load(pictures), loss_func=BCEWithLogitsLossFlat()),
                          "does not turn outputs into probabilities"),
         "more outputs": (lambda pictures: learner(load(pictures), pooled(nn.Linear(3, 5))),
                          r"each of 3 classes, but \(2, 5\)"),
         "one channel": (lambda pictures: learner(load(pictures), nn.Conv2d(1, 3, 3)), "does not take colour pictures"),
         "no layer": (lambda pictures: learner(load(pictures), pooled()), "neither a linear nor")}


@pytest.mark.parametrize("name", TASKS)
def test_learners_for_something_else(name, pictures, tmp_path):
    make, words = TASKS[name]
    with pytest.raises(CourseError, match=words): export_bundle(make(pictures), tmp_path/"bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_diverged(pictures, tmp_path):
    model = pooled(nn.Linear(3, 3))
    with torch.no_grad(): model[-1].weight[0, 0] = torch.nan
    with pytest.raises(CourseError, match="diverged"): export_bundle(learner(load(pictures), model), tmp_path/"bundle")


class Darken(Resize):
    "A transform of one's own"
    def encodes(self, x:Image.Image): return super().encodes(x.point(lambda value: value//2))


NEAREST = (Image.Resampling.NEAREST, Image.Resampling.NEAREST)


@pytest.mark.parametrize(("item_tfms", "batch_tfms", "words"), [
    ([RatioResize(60), Resize(SIZE)], [], "RatioResize, Resize"),
    ([Resize(60), RandomResizedCrop(SIZE)], [], "Resize, RandomResizedCrop"),
    (RandomCrop(24), [], "RandomCrop"), (Darken(SIZE), [], "Darken"), (Resize(SIZE, resamples=NEAREST), [], "bilinear"),
    (Resize(SIZE), [RandomResizedCropGPU(24)], "RandomResizedCropGPU"),
    (Resize(SIZE), aug_transforms(size=24, min_scale=0.75), "RandomResizedCropGPU"),
    (Resize(SIZE), aug_transforms(size=24), "Flip")])
def test_transforms_without_a_rule(pictures, tmp_path, item_tfms, batch_tfms, words):
    with pytest.raises(CourseError, match=words):
        export_bundle(learner(load(pictures, item_tfms, batch_tfms)), tmp_path/"bundle")


def test_transforms_of_training_alone_do_not_matter(pictures, tmp_path, written_once):
    dls = load(pictures, [Resize(SIZE), FlipItem()], [*aug_transforms(), RandomErasing()])
    learn = learner(dls, loss_func=LabelSmoothingCrossEntropy())
    assert load_bundle(export_bundle(learn, tmp_path/"bundle")).size == SIZE


def test_an_export_that_differs_is_not_written(learn, tmp_path, monkeypatch, written_once):
    run = Predictor.run
    monkeypatch.setattr(Predictor, "run", lambda self, pixels: [part[:, ::-1] for part in run(self, pixels)])
    with pytest.raises(CourseError, match="answers differently from the learner"):
        export_bundle(learn, tmp_path/"bundle")
    monkeypatch.setattr(Predictor, "run", run)
    monkeypatch.setattr(module, "preprocess_of", lambda dls: (CROPPED | {"method": "squish"}, SIZE))
    with pytest.raises(CourseError, match="make pictures fit in another way"): export_bundle(learn, tmp_path/"bundle")
    assert list(tmp_path.iterdir()) == []


# The place

def test_what_is_there_is_not_lost(learn, bundle, tmp_path):
    (tmp_path/"thesis").mkdir()
    (tmp_path/"thesis"/"chapter.txt").write_text("long work")
    with pytest.raises(CourseError, match="is no bundle"): export_bundle(learn, tmp_path/"thesis", overwrite=True)
    with pytest.raises(CourseError, match="overwrite=True"): export_bundle(learn, bundle)
    with pytest.raises(CourseError, match="is no bundle"):
        export_bundle(learn, tmp_path/"thesis"/"chapter.txt", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]


def test_a_bundle_is_replaced_on_request_and_only_by_a_whole_one(learn, tmp_path, monkeypatch, written_once):
    dest = export_bundle(learn, tmp_path/"bundle", title="First")
    def fail(*_): raise OSError(28, "No space left on device")
    with monkeypatch.context() as broken:
        broken.setattr(module, "save_weights", fail)
        with pytest.raises(CourseError, match="full"): export_bundle(learn, dest, title="Second", overwrite=True)
    assert load_bundle(dest).title == "First"
    assert load_bundle(export_bundle(learn, dest, title="Third", overwrite=True)).title == "Third"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    (dest/"notes.txt").write_text("mine")
    with pytest.raises(CourseError, match=r"notes\.txt"): check_destination(dest, overwrite=True)


@pytest.mark.parametrize("dies_in", [1, 2])
def test_killed_at_any_moment_of_a_replacement_there_is_a_bundle_for_the_next_call(tmp_path, monkeypatch, dies_in):
    "Whether the call after the kill replaces the bundle as well, or dies, too"
    dest = tmp_path/"place"/"bundle"
    def put(title):
        with module.bundle_folder(dest, overwrite=True) as folder:
            shutil.copytree(colour(title), folder, dirs_exist_ok=True)
    def colour(title):
        if not (tmp_path/title).is_dir(): colour_bundle(tmp_path/title, title=title)
        return tmp_path/title
    def start():
        shutil.rmtree(dest.parent, ignore_errors=True)
        put("First")
    def look():
        with pytest.raises(CourseError, match="is a bundle already"), module.bundle_folder(dest, overwrite=False): pass
        assert open_bundle(dest).title in ("First", "Second")
        if dies_in == 2: every_step(monkeypatch, lambda: put("Second"), lambda: None, lambda: None)
        put("Third")
        assert open_bundle(dest).title == "Third" and os.listdir(dest.parent) == ["bundle"]
    for title in ("First", "Second", "Third"): colour(title)
    assert every_step(monkeypatch, lambda: put("Second"), start, look) > 8


# Weights

def test_weights_go_back_into_a_learner(learn, bundle, pictures):
    torch.manual_seed(7)
    fresh = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))
    again = load_weights(learner(load(pictures), fresh), bundle)
    assert again.model is fresh and all(torch.equal(weights, fresh.state_dict()[name]) for name,
                                        weights in network().state_dict().items())


def test_weights_that_do_not_fit(bundle, pictures, tmp_path):
    fewer = [picture for picture in pictures if "disc" not in picture.name]
    with pytest.raises(CourseError, match="do not fit this learner's"):
        load_weights(learner(load(pictures), pooled(nn.Linear(3, 3))), bundle)
    with pytest.raises(CourseError, match="same classes"): load_weights(learner(load(fewer)), bundle)
    with pytest.raises(CourseError, match="is no bundle"): load_weights(learner(load(pictures)), tmp_path)


# Features and rounding

def test_a_class_without_pictures_is_never_the_nearest_by_accident():
    chance = np.random.default_rng(0)
    features, labels = chance.normal(size=(40, 6)), np.array([0, 2]*20)
    domain = describe_domain((None, features, labels), (None, features, labels), 3)
    assert domain["means"][1] == domain["means"][0] and np.isfinite(domain["means"]).all()


def test_trying_a_network_leaves_no_trace():
    model = network().eval()
    assert last_layer(model, SIZE, 3) is model[-1]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_rounding(bundle, pictures, tmp_path):
    small = quantize_bundle(bundle, tmp_path/"small", pictures)
    facts = json.loads((small/"bundle.json").read_text())
    count, same, difference = facts["rounding"].values()
    assert count == 24 and same >= 18 and 0 < difference < 0.3
    assert "computes with 8 bits" in (small/"README.md").read_text() and not (small/"model.safetensors").exists()
    assert np.abs(answers(load_bundle(small), pictures) - answers(load_bundle(bundle), pictures)).mean() < 0.03
    with pytest.raises(CourseError, match="8 bits already"): quantize_bundle(small, tmp_path/"smaller", pictures)
    with pytest.raises(CourseError, match="overwrite=True"): quantize_bundle(bundle, small, pictures)
    with pytest.raises(CourseError, match="at least 16"): quantize_bundle(bundle, tmp_path/"smaller", pictures[:5])
    with pytest.raises(CourseError, match="no bundle"): quantize_bundle(tmp_path, tmp_path/"smaller", pictures)
    with pytest.raises(CourseError, match=r"no model\.safetensors"): load_weights(learner(load(pictures)), small)
