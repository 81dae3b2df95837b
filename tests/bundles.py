"Bundles, good and broken, written without PyTorch and without the course's own tools."
import hashlib
import json

import numpy as np
from onnx import TensorProto, helper

SIZE = (24, 32) # height, width
VOCAB = ["red", "green", "blue"]
WAY = {"method": "squish", "pad_mode": "zeros", "size": list(SIZE), "resample": "bilinear",
       "background": [255, 255, 255]}
DOMAIN = {"means": [[0.8, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.2, 0.8]], "scale": [0.15]*3, "threshold": 1.8,
          "quantile": 0.99}


def network(classes=3, size=SIZE, output="probabilities"):
    "Averages of the three colours are the features; the strongest colour wins"
    shape = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
    weights = np.eye(3, classes, dtype=np.float32)*20
    fixed = [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
             helper.make_tensor("weights", TensorProto.FLOAT, [3, classes], weights.flatten())]
    nodes = [helper.make_node("ReduceMean", ["pixels", "axes"], ["features"], keepdims=0),
             helper.make_node("MatMul", ["features", "weights"], ["scores"]),
             helper.make_node("Softmax", ["scores"], [output], axis=1)]
    outputs = [shape(output, "n", classes), shape("features", "n", 3)]
    graph = helper.make_graph(nodes, "colours", [shape("pixels", "n", 3, *size)], outputs, fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def write_bundle(folder, model=None, **changes):
    "A bundle of this model; `changes` replace entries of its bundle.json"
    model = model or network()
    folder.mkdir()
    (folder/"model.onnx").write_bytes(model)
    facts = {"format": 1, "title": "Colours", "vocab": VOCAB, "preprocess": WAY, "domain": DOMAIN,
             "sha256": {"model.onnx": hashlib.sha256(model).hexdigest()}}
    (folder/"bundle.json").write_text(json.dumps(facts | changes), encoding="utf-8")
    return folder


# What must be refused, whoever reads it

DESCRIPTIONS = [ # (what bundle.json says instead, words of the refusal)
    ({"format": 2}, "format is 2"), ({"format": None}, "format is None"), ({"vocab": []}, "vocab"),
    ({"vocab": "abc"}, "vocab"),
    ({"vocab": ["a", "a", "b"]}, "vocab"), ({"vocab": [1, 2, 3]}, "vocab"),
    ({"vocab": ["red", "green"]}, "mean for each class"),
    ({"vocab": ["red", "green"], "domain": None}, "asks for"), ({"preprocess": None}, "preprocess"),
    ({"preprocess": WAY | {"method": "stretch"}}, "method"), ({"preprocess": WAY | {"pad_mode": "wrap"}}, "pad_mode"),
    ({"preprocess": WAY | {"size": [24]}}, "size"), ({"preprocess": WAY | {"size": [24, 100_000]}}, "size"),
    ({"preprocess": WAY | {"size": [24.0, 32]}}, "size"), ({"preprocess": WAY | {"size": [32, 32]}}, "asks for"),
    ({"preprocess": WAY | {"resample": "nearest"}}, "resample"),
    ({"preprocess": WAY | {"background": [0, 0, 256]}}, "background"),
    ({"domain": {}}, "domain"), ({"domain": DOMAIN | {"means": [[0.]]*3}}, "mean for each"),
    ({"domain": DOMAIN | {"scale": [0, 1, 1]}}, "scale"),
    ({"domain": DOMAIN | {"scale": [0.15, 0.15, float("inf")]}}, "finite"),
    ({"domain": DOMAIN | {"scale": [1e-60]*3}}, "positive"),
    ({"domain": DOMAIN | {"means": [[1e300]*3]*3}}, "finite"),
    ({"domain": DOMAIN | {"threshold": float("nan")}}, "finite"),
    ({"domain": DOMAIN | {"threshold": 1e300}}, "finite"), ({"domain": DOMAIN | {"threshold": "3"}}, "numbers"),
    ({"domain": DOMAIN | {"scale": ["1"]*3}}, "numbers"), ({"title": 5}, "'title' must be text"),
    ({"title": None}, "'title' must be text"),
    ({"domain": DOMAIN | {"threshold": "far"}}, "numbers"),
    ({"domain": {"means": [[0.]*5]*3, "scale": [1.]*5, "threshold": 1.}}, "asks for"),
    ({"sha256": {}}, "hash"), ({"sha256": {"model.onnx": "0"*64}}, "not the one"),
    ({"preprocess": WAY | {"pad_mode": []}}, "pad_mode"), ({"preprocess": WAY | {"method": {}}}, "method"),
    ({"vocab": ["a", "b", "\ud800"]}, "cannot be read")] # half a character, which no file can hold
FILES = [ # (file, what it holds, words of the refusal)
    ("bundle.json", b"{", "cannot be read"), ("bundle.json", b"\xff\xfe", "cannot be read"),
    ("bundle.json", b"[]", "must be an object"),
    ("bundle.json", b"["*100_000, "cannot be read"), ("model.onnx", b"", "not the one"),
    ("model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("learner.pkl", b"", "learner.pkl"),
    ("deep/weights.PTH", b"", "deep/weights.PTH"), ("data.bin", b"", "data.bin")]
MODELS = {"noise": (b"no network", "cannot be loaded"),
          "other outputs": (network(output="answers"), "probabilities"), # {name: (model, words)}
          "other classes": (network(classes=4), "asks for"), "other size": (network(size=(24, 24)), "asks for")}


def with_file(folder, name, content):
    "A bundle in which one file is another"
    write_bundle(folder)
    (folder/name).parent.mkdir(exist_ok=True)
    (folder/name).write_bytes(content)
    return folder


def broken_bundles(place):
    "All of them, each in a folder of its own"
    for number, (changes, _) in enumerate(DESCRIPTIONS): yield write_bundle(place/f"description_{number}", **changes)
    for number, (name, content, _) in enumerate(FILES): yield with_file(place/f"file_{number}", name, content)
    for name, (model, _) in MODELS.items(): yield write_bundle(place/name, model)
    (place/"empty").mkdir()
    yield place/"empty"
    yield place/"nowhere"
