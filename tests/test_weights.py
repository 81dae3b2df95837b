"Pretrained weights: the file that pip brought, names and their mistakes, two processes at once, and kept features"
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from course_lib.base import files
from course_lib.base.env import CourseError
from course_lib.data import weights
from course_lib.data.weights import frozen_features, network_name, pretrained

NAME = "tf_efficientnet_lite0"


def folder(name): return Path(name.removeprefix("local-dir:"))


@pytest.fixture
def network(home): return pretrained(NAME)


# The file that pip brought

def test_the_package_is_a_dependency_and_holds_the_known_file():
    assert metadata.version(weights.PACKAGED[NAME].package)
    assert files.sha256_of(weights.packaged_file()) == weights.PACKAGED[NAME].sha256


def pretend_file(monkeypatch, path):
    monkeypatch.setattr(metadata, "files", lambda name: [SimpleNamespace(suffix=".pth", locate=lambda: path)])


@pytest.mark.parametrize("content, words", [(b"something else", "has SHA-256"), (None, "has lost its file")],
                         ids=["other", "gone"])
def test_another_file_is_refused_and_nothing_is_written(home, monkeypatch, tmp_path, content, words):
    if content: (tmp_path/"x.pth").write_bytes(content)
    pretend_file(monkeypatch, tmp_path/"x.pth")
    with pytest.raises(CourseError, match=words): pretrained(NAME)
    assert not list(home.rglob("model.safetensors"))


def test_a_pickle_in_its_place_does_not_run(home, monkeypatch, tmp_path):
    class Surprise:
        def __reduce__(self): return Path.touch, (tmp_path/"it ran",)
    torch.save(Surprise(), tmp_path/"x.pth")
    pretend_file(monkeypatch, tmp_path/"x.pth")
    known = replace(weights.PACKAGED[NAME], sha256=files.sha256_of(tmp_path/"x.pth"))
    monkeypatch.setitem(weights.PACKAGED, NAME, known)
    with pytest.raises(Exception, match="Weights only load failed"): pretrained(NAME)
    assert not (tmp_path/"it ran").exists()


def test_a_timm_that_builds_it_otherwise_is_named(home, monkeypatch):
    other = timm.create_model("resnet18")
    monkeypatch.setattr(timm, "create_model", lambda *args, **more: other)
    with pytest.raises(CourseError, match="in another way than the course knows"): pretrained(NAME)


# The folder that timm reads

def test_every_tensor_arrives_unchanged(network):
    before = torch.load(weights.packaged_file(), map_location="cpu", weights_only=True)
    after = timm.create_model(network, pretrained=True).state_dict()
    assert len(before) == len(after) == 296
    for key, tensor in before.items(): assert torch.equal(tensor, after[weights.timm_key(key)]), key


@pytest.mark.parametrize("harm", ["cut weights", "empty weights", "no config", "half a config"])
def test_a_damaged_folder_is_made_anew(network, harm):
    model, config = folder(network)/"model.safetensors", folder(network)/"config.json"
    if harm == "cut weights": os.truncate(model, 1_000_000)
    if harm == "empty weights": os.truncate(model, 0)
    if harm == "no config": config.unlink()
    if harm == "half a config": os.truncate(config, 50)
    assert pretrained(NAME) == network and weights.is_whole(folder(network))
    assert sorted(path.name for path in folder(network).parent.iterdir()) == [folder(network).name,
        f"{folder(network).name}.lock"]


@pytest.mark.parametrize("number, words", [(28, "is full"), (30, "may not be written")])
def test_a_disk_that_refuses_is_said(home, monkeypatch, number, words):
    def fail(*args, **more): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(files.tempfile, "mkdtemp", fail)
    with pytest.raises(CourseError, match=words): pretrained(NAME)


def convert(start, results):
    start.wait(120)
    results.put(pretrained(NAME))


def test_two_processes_at_once_write_it_once(home):
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=convert, args=(start, results)) for _ in range(2)]
    for process in processes: process.start()
    names = {results.get(timeout=120) for _ in processes}
    for process in processes: process.join(30)
    assert len(names) == 1 and weights.is_whole(folder(names.pop()))


# Names

@pytest.mark.parametrize("typed, words", [
    ("tf_eficientnet_lite0", "Did you mean 'tf_efficientnet_lite0'"), ("resnet43", "Did you mean 'resnet34'"),
    ("convnext_tiny.fb_in22", "Did you mean"), ("zzzzzz", "timm.list_pretrained"), ("", "timm.list_pretrained"),
    ("../resnet18", "no name of a network")])
def test_a_misspelt_name_gets_the_nearest(home, typed, words):
    with pytest.raises(CourseError, match=words): pretrained(typed, network=False)


def test_the_hub_is_asked_whether_it_knows_a_name(home, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError
    def unknown(name): raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))
    monkeypatch.setattr(huggingface_hub, "model_info", unknown)
    monkeypatch.setattr(weights, "reachable", lambda url: True)
    with pytest.raises(CourseError, match="Did you mean 'sentence-transformers/all-MiniLM-L6-v2'"):
        pretrained("sentence-transformer/all-MiniLM-L6")


@pytest.mark.parametrize("name", ["resnet34", "convnext_tiny.fb_in22k", "sentence-transformers/all-MiniLM-L6-v2"])
def test_out_of_reach_is_an_error_or_none(home, monkeypatch, tmp_path, name):
    monkeypatch.setattr(weights, "reachable", lambda url: False)
    monkeypatch.setattr(weights, "in_hub_cache", lambda repository, file: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert pretrained(name, required=False) is None
    with pytest.raises(CourseError, match="out of reach"): pretrained(name)


@pytest.mark.parametrize("held, here", [({"config.json"}, False), ({"config.json", "model.safetensors"}, True),
                                        ({"config.json", "pytorch_model.bin"}, True), ({"model.safetensors"}, False)])
def test_a_text_network_is_here_with_its_weights_only(home, monkeypatch, held, here):
    monkeypatch.setattr(weights, "in_hub_cache", lambda repository, file: file in held)
    assert pretrained("somebody/some-bert", required=False, network=False) == ("somebody/some-bert" if here else None)


def test_a_name_that_is_within_reach(home, monkeypatch):
    from torchvision.models import resnet34
    monkeypatch.setattr(weights, "reachable", lambda url: True)
    assert pretrained("resnet34") is resnet34 and network_name(pretrained("resnet34")) == "resnet34"
    assert pretrained("convnext_tiny.fb_in22k") == "convnext_tiny.fb_in22k"


def test_without_a_network_nothing_is_asked(home, monkeypatch):
    def forbidden(url): raise AssertionError("no server may be asked")
    monkeypatch.setattr(weights, "reachable", forbidden)
    assert pretrained(NAME, network=False).endswith("57934424")
    assert pretrained("convnext_tiny.fb_in22k", required=False, network=False) is None


def test_the_module_loads_no_torch():
    code = "import course_lib.data.weights, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


# A network for text that needs no download

def test_the_tiny_network_is_the_same_everywhere_and_leaves_the_seed_alone(home, monkeypatch, tmp_path):
    torch.manual_seed(7); expected = torch.rand(1)
    torch.manual_seed(7)
    first = Path(weights.tiny_text_network())
    assert torch.equal(torch.rand(1), expected)
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path/"other"))
    second = Path(weights.tiny_text_network())
    assert first != second and (first/"model.safetensors").read_bytes() == (second/"model.safetensors").read_bytes()


# Features that are kept

@pytest.fixture
def pictures(tmp_path):
    rng, made = np.random.default_rng(0), []
    for number in range(5):
        made.append(tmp_path/f"{number}.png")
        Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(made[-1])
    return made


def test_features_are_the_networks_own(network, pictures):
    model = timm.create_model(network, pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode(): expected = model(transform(Image.open(pictures[3]))[None])[0]
    assert np.allclose(frozen_features(network, pictures)[3], expected, atol=1e-4)


def test_only_new_pictures_are_looked_at(network, pictures, monkeypatch):
    frozen_features(network, pictures[:3], size=64)
    asked, compute = [], weights.compute_features
    monkeypatch.setattr(weights, "compute_features", lambda arch, files,
                        *more: asked.extend(files) or compute(arch, files, *more))
    found = frozen_features(network, pictures, size=64)
    assert asked == pictures[3:] and found.shape == (5, 1280) and found.dtype == np.float32
    assert np.array_equal(frozen_features(network, [pictures[0]]*3, size=64), found[[0, 0, 0]])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_any_mode(network, tmp_path, mode):
    file = tmp_path/f"x.{'jpg' if mode == 'CMYK' else 'png'}"
    Image.new(mode, (40, 40)).save(file)
    assert frozen_features(network, [file], size=64).shape == (1, 1280)


def test_what_is_kept_may_be_damaged(network, pictures, home):
    first = frozen_features(network, pictures, size=64)
    (kept,) = (home/".course"/"features").glob("*.npz")
    os.truncate(kept, 1000)
    assert np.allclose(frozen_features(network, pictures, size=64), first, atol=1e-5)


@pytest.mark.parametrize("files, words", [([], "list of files is empty"), (["gone.jpg"], "gone.jpg cannot be read")])
def test_pictures_that_are_not_there(network, files, words):
    with pytest.raises(CourseError, match=words): frozen_features(network, files)


def test_a_broken_picture_is_named(network, pictures):
    pictures[2].write_bytes(pictures[2].read_bytes()[:200])
    with pytest.raises(CourseError, match="2.png cannot be read as a picture"):
        frozen_features(network, pictures, size=64)


def test_another_version_of_timm_looks_again(home, monkeypatch, tmp_path):
    import numpy as np
    looked, file = [], tmp_path/"a.jpg"
    file.write_bytes(b"x")
    def compute(arch, files, size, batch): looked.append(arch); return np.zeros((1, 2), np.float32)
    monkeypatch.setattr(weights, "compute_features", compute)
    for version in ("1.0", "1.0", "1.1"):
        monkeypatch.setattr(weights.metadata, "version", lambda package, version=version: version)
        weights.frozen_features("resnet18", [file])
    assert len(looked) == 2
