"A text model in a folder: it answers as the network does, knows its tokenizer, and refuses what it should; its page"
import hashlib
import json
import os
import shutil

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client

from course_lib.apps import text_bundle
from course_lib.apps.predictor import BadBundle
from course_lib.apps.text_app import serve_text
from course_lib.apps.text_bundle import BadText, export_text_bundle, load_text_bundle, quantize_text_bundle
from course_lib.base.env import CourseError
from course_lib.data.weights import tiny_text_network

TEXTS = ["Good.", "a rather long line of letters, and it goes on", "no", "what?"]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> a warm film {{7*7}} \x00 ${x}"


def build(labels=2):
    "A network whose answers depend on the text by far more than rounding, and its tokenizer"
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    name = tiny_text_network()
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_pretrained(name, num_labels=labels)
    with torch.no_grad():
        for where, weights in network.named_parameters():
            if weights.ndim > 1: weights *= 50 if "word_embeddings" in where else 10
    return network.eval(), AutoTokenizer.from_pretrained(name)


@pytest.fixture(scope="module")
def pair(): return build()


@pytest.fixture(scope="module")
def bundle(pair, tmp_path_factory):
    return export_text_bundle(*pair, tmp_path_factory.mktemp("text")/"letters", vocab=["neg", "pos"], longest=32,
                              title="<b>Mood</b>")


@pytest.fixture(scope="module")
def predictor(bundle): return load_text_bundle(bundle, threads=1)


@pytest.fixture
def copy(bundle, tmp_path): return shutil.copytree(bundle, tmp_path/"copy")


def chances(answers): return np.array([[answer.probabilities[label] for label in ("neg", "pos")] for answer in answers])


# Answers

def test_answers_are_those_of_the_network_at_every_length(pair, predictor):
    network, tokenizer = pair
    texts = ["ab1 "*count for count in (1, 2, 5, 9, 10, 11, 40)]
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad(): wanted = network(**inputs).logits.softmax(-1).numpy()
        assert np.allclose(chances([predictor.predict(text)]), wanted, atol=1e-4)
    assert np.ptp(chances(predictor.predict_batch(texts))[:, 0]) > 0.01, "an answer that never changes tests nothing"


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_a_batch_changes_neither_answers_nor_their_order(bucket, batch_size, predictor):
    together = predictor.predict_batch(TEXTS, batch_size, bucket)
    assert np.allclose(chances(together), chances(map(predictor.predict, TEXTS)), atol=1e-5)
    assert [answer.letters for answer in together] == list(map(len, TEXTS))


def test_what_is_cut_is_said_to_the_letter(predictor):
    answer = predictor.predict("abcdefghij "*9)
    assert answer.read == len("abcdefghij "*3) - 1 and answer.letters == 99 # 30 letters, [CLS] and [SEP]
    assert answer.remark.endswith("It read the first 32 of 99 letters, and nothing after them.")
    assert np.allclose(chances([answer]), chances([predictor.predict("abcdefghij "*9 + "zzz")]))
    assert "read" not in predictor.predict("abc").remark


@pytest.mark.parametrize("text, words", [
    ("", "no text"), (" \n\t", "no text"), (None, "no text"), (7, "no text"), ("\u4e06 \u4e07", "knows no piece"),
    ("a"*20_001, "20,001 letters; the most is 20,000")])
def test_what_cannot_be_judged_is_refused(text, words, predictor):
    with pytest.raises(BadText, match=words): predictor.predict(text)


def test_one_known_letter_is_enough(predictor): assert predictor.predict("\u4e06 a").label in ("neg", "pos")


# The folder

def test_a_bundle_is_three_files_and_none_of_them_runs(bundle):
    assert sorted(file.name for file in bundle.iterdir()) == ["bundle.json", "model.onnx", "tokenizer.json"]
    facts = json.loads((bundle/"bundle.json").read_text())
    assert (facts["longest"], facts["vocab"], facts["opset"]) == (32, ["neg", "pos"], 20)
    assert b".py" not in (bundle/"model.onnx").read_bytes()


def sign(folder):
    "Write the hashes of what lies there into bundle.json"
    facts = json.loads((folder/"bundle.json").read_text())
    facts["sha256"] = {name: hashlib.sha256((folder/name).read_bytes()).hexdigest() for name in text_bundle.FILES}
    (folder/"bundle.json").write_text(json.dumps(facts))


def change_rules(folder, change):
    rules = json.loads((folder/"tokenizer.json").read_text())
    change(rules["model"]["vocab"])
    (folder/"tokenizer.json").write_text(json.dumps(rules))


def swap(vocab): vocab["a"], vocab["i"] = vocab["i"], vocab["a"]


def add_many(vocab): vocab.update({f"word{number}": len(vocab) + number for number in range(200)})


@pytest.mark.parametrize("change, words", [(swap, "answers differently"), (add_many, "it knows .* pieces")])
def test_another_tokenizer_is_refused_even_where_its_hash_is_right(change, words, copy):
    change_rules(copy, change)
    with pytest.raises(BadBundle, match="tokenizer.json in .* not the one"): load_text_bundle(copy)
    sign(copy)
    with pytest.raises(BadBundle, match=f"does not fit.*{words}"): load_text_bundle(copy)


def test_a_network_that_hardly_minds_its_pieces_is_no_excuse(copy, monkeypatch):
    change_rules(copy, swap)
    facts = json.loads((copy/"bundle.json").read_text())
    facts["rounding"] = {} # allows more
    (copy/"bundle.json").write_text(json.dumps(facts))
    monkeypatch.setattr(text_bundle, "SLACK_ROUNDED", 1.)
    sign(copy)
    with pytest.raises(BadBundle, match="cuts texts into other pieces"): load_text_bundle(copy)


@pytest.mark.parametrize("spoil, words", [
    (lambda folder: (folder/"weights.pkl").touch(), "weights.pkl"),
    (lambda folder: (folder/"bundle.json").unlink(), "no text bundle"),
    (lambda folder: (folder/"bundle.json").write_text("{"), "cannot be read"),
    (lambda folder: (folder/"bundle.json").write_text('{"format": 1}'), "not of the format"),
    (lambda folder: (folder/"model.onnx").unlink(), "model.onnx in .* is missing"),
    (lambda folder: (folder/"model.onnx").write_bytes(b"version https://git-lfs"), "not the one")])
def test_a_spoiled_folder_is_refused(spoil, words, copy):
    spoil(copy)
    with pytest.raises(BadBundle, match=words): load_text_bundle(copy)


@pytest.mark.parametrize("name, value", [
    ("longest", 2), ("longest", 10**9), ("longest", "32"), ("vocab", ["one"]), ("vocab", [1, 2]), ("known", None),
    ("tried", {}), ("pieces", None), ("title", 3), ("unknown", None), ("sha256", [])])
def test_a_broken_rule_is_named(name, value, copy):
    facts = json.loads((copy/"bundle.json").read_text()) | {name: value}
    (copy/"bundle.json").write_text(json.dumps(facts))
    with pytest.raises(BadBundle, match=f"no text bundle: '{name}'"): load_text_bundle(copy)


@pytest.mark.parametrize("options, words", [
    ({"vocab": ["a"]}, "`vocab` has 1 names, and the network 2 classes"),
    ({"longest": 257}, "`longest` is 257, and the network reads 256")])
def test_a_network_that_does_not_fit_is_not_written(options, words, pair, tmp_path):
    with pytest.raises(CourseError, match=words):
        export_text_bundle(*pair, tmp_path/"new", **{"vocab": ["a", "b"]} | options)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_knows_more_than_its_network_is_not_written(pair, tmp_path):
    from transformers import AutoTokenizer
    larger = AutoTokenizer.from_pretrained(tiny_text_network())
    larger.add_tokens(["zorbulous"])
    with pytest.raises(CourseError, match="they do not belong together"):
        export_text_bundle(pair[0], larger, tmp_path/"new", vocab=["a", "b"])


def test_an_export_that_answers_differently_is_not_written(pair, tmp_path, monkeypatch):
    other = text_bundle.text_to_onnx(build()[0], 32)
    network = build()[0]
    with torch.no_grad(): network.classifier.weight.mul_(-1)
    monkeypatch.setattr(text_bundle, "text_to_onnx", lambda network, longest: other)
    with pytest.raises(CourseError, match="answers differently, by up to"):
        export_text_bundle(network, pair[1], tmp_path/"new", vocab=["a", "b"], longest=32)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(pair, bundle):
    with pytest.raises(CourseError, match="exists already"): export_text_bundle(*pair, bundle, vocab=["a", "b"])


# Eight bits

def test_eight_bits_are_smaller_and_say_what_they_cost(bundle, tmp_path):
    small = quantize_text_bundle(bundle, tmp_path/"small", TEXTS)
    predictor = load_text_bundle(small, threads=1)
    assert (small/"model.onnx").stat().st_size < (bundle/"model.onnx").stat().st_size
    rounding = predictor.facts["rounding"]
    assert rounding["texts"] == 4 and 0 < rounding["largest difference of a probability"] < 0.2
    with pytest.raises(CourseError, match="8 bits already"): quantize_text_bundle(small, tmp_path/"again", TEXTS)


# The page

@pytest.fixture(scope="module")
def address(bundle):
    import gradio
    _, address, _ = serve_text(bundle, ["A fine film."], prevent_thread_lock=True, quiet=True, inline=False)
    yield address
    gradio.close_all(verbose=False)


@pytest.fixture(scope="module")
def client(address):
    client = Client(address, verbose=False)
    yield client
    client.close()


@pytest.mark.parametrize("text", [*TEXTS, HOSTILE, "abc "*200])
def test_the_page_answers_as_the_predictor_does(text, client, predictor):
    answer, remark = client.predict(text, api_name="/predict")
    wanted = predictor.predict(text)
    assert (answer["label"], remark) == (wanted.label, wanted.remark)
    said = {row["label"]: row["confidence"] for row in answer["confidences"]}
    assert said == pytest.approx(wanted.probabilities, abs=1e-4)


@pytest.mark.parametrize("text, words", [
    ("", "no text"), ("\u4e06", "knows no piece"), ("a "*10_001, "20,002 letters")])
def test_the_page_says_why_it_refuses(text, words, client):
    with pytest.raises(Exception, match=words): client.predict(text, api_name="/predict")


def test_the_page_takes_no_megabyte_no_files_and_no_other_name(address):
    big = httpx.post(f"{address}gradio_api/call/predict", json={"data": ["a"*2**20]}, timeout=60)
    assert big.status_code in (400, 413)
    assert httpx.post(f"{address}gradio_api/upload", files={"files": b"a file"}, timeout=60).status_code == 404
    assert httpx.get(address, headers={"Host": "evil.example"}, timeout=60).status_code == 421


@pytest.mark.parametrize("path", ["http://example.com/a.txt", "/etc/hostname"])
def test_the_page_fetches_nothing_for_a_caller(address, path, monkeypatch):
    from gradio import processing_utils
    asked = []
    async def download(url, *args, **kwargs): asked.append(url)
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", download)
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(f"{address}gradio_api/call/predict", json={"data": [file]}, timeout=60).json()["event_id"]
    answer = httpx.get(f"{address}gradio_api/call/predict/{event}", timeout=60).text
    assert "event: error" in answer and asked == []


def test_the_page_stays_on_this_machine_and_keeps_its_guards(address, bundle, monkeypatch):
    assert address.startswith("http://127.0.0.1:")
    with pytest.raises(CourseError, match="guards the page"): serve_text(bundle, app_kwargs={})


@pytest.mark.parametrize(("options", "hosts"), [({}, None), ({"share": True}, "*")])
def test_a_page_that_is_shared_answers_to_the_name_that_it_is_given(bundle, monkeypatch, options, hosts):
    import gradio
    launched = []
    monkeypatch.setenv("APP_HOSTS", "")
    monkeypatch.delenv("APP_HOSTS")
    monkeypatch.setattr(gradio.Blocks, "launch", lambda app, **settings: launched.append(settings))
    serve_text(bundle, **options)
    assert os.environ.get("APP_HOSTS") == hosts and launched[0]["app_kwargs"]["middleware"]


def test_a_title_that_is_code_is_shown_as_text(address):
    page = httpx.get(address, timeout=60).text
    assert "<b>Mood</b>" not in page and "Mood" in page


# What no bundle could answer

@pytest.mark.parametrize("change, words", [
    (lambda network, tokenizer: setattr(network.config, "problem_type", "multi_label_classification"),
     "several labels"),
    (lambda network, tokenizer: setattr(tokenizer, "model_max_length", 20), "reads 20 pieces"),
], ids=["several labels", "short positions"])
def test_a_network_that_a_bundle_cannot_serve_is_refused_at_once(change, words, tmp_path):
    network, tokenizer = build()
    change(network, tokenizer)
    with pytest.raises(CourseError, match=words):
        export_text_bundle(network, tokenizer, tmp_path/"no", vocab=["neg", "pos"], longest=32)
    assert list(tmp_path.iterdir()) == []


def test_each_class_has_its_own_name(pair, tmp_path):
    with pytest.raises(CourseError, match="each once"):
        export_text_bundle(*pair, tmp_path/"no", vocab=["pos", "pos"], longest=32)


def signed(folder):
    "Write the hashes of the files as they are now"
    facts = json.loads((folder/"bundle.json").read_text())
    facts["sha256"] = {name: hashlib.sha256((folder/name).read_bytes()).hexdigest() for name in text_bundle.FILES}
    (folder/"bundle.json").write_text(json.dumps(facts))


def changed_tokenizer(folder, change):
    rules = json.loads((folder/"tokenizer.json").read_text())
    change(rules)
    (folder/"tokenizer.json").write_text(json.dumps(rules))
    signed(folder)


def test_a_piece_beyond_the_network_is_found_although_no_tried_text_has_it(copy):
    changed_tokenizer(copy, lambda rules: rules["model"]["vocab"].update({"\u2603": 10**6}))
    with pytest.raises(BadBundle, match="piece number 1,000,000"): load_text_bundle(copy)


def test_a_tokenizer_that_does_not_keep_to_the_limit_is_noticed(predictor, monkeypatch):
    class Loose:
        def encode(self, text): return type("E", (), {"ids": [5]*99, "special_tokens_mask": [0]*99})()
    monkeypatch.setattr(predictor, "tokenizer", Loose())
    with pytest.raises(BadText, match="does not keep to 32"): predictor.pieces("abc")


def test_a_huge_tokenizer_is_not_read(copy, monkeypatch):
    monkeypatch.setattr(text_bundle, "MOST_BYTES", 10)
    with pytest.raises(BadBundle, match="the most is 10"): load_text_bundle(copy)


def test_eight_bits_are_measured_on_any_row_of_texts(bundle, tmp_path):
    with pytest.raises(CourseError, match="Give some texts"): quantize_text_bundle(bundle, tmp_path/"none", [])
    small = quantize_text_bundle(bundle, tmp_path/"small", (text for text in TEXTS))
    assert load_text_bundle(small).facts["rounding"]["texts"] == len(TEXTS)
