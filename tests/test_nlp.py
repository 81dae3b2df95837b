"What lesson 8 exports, at its edges: texts that make trouble, models against planted truths, and the page that reads"
import csv
import json
import math
import random
import shutil
from collections import Counter

import pandas as pd
import pytest
import torch
from browser import served, start_browser

from course_lib import nlp
from course_lib.base.env import CourseError, asset
from course_lib.data.standin_texts import FEELINGS, draw_text, text_nats
from course_lib.data.standins import build_standin
from course_lib.data.weights import tiny_text_network
from course_lib.lesson.results import load_run


# Letters, pieces, rows

@pytest.mark.parametrize("content, text", [
    ("Café – 5 €".encode(), "Café – 5 €"), ("Café".encode("utf-8-sig"), "Café"), ("Café".encode("utf-16"), "Café"),
    (b"", "")])
def test_an_encoding_that_can_be_told_is_not_mentioned(content, text, capsys):
    assert nlp.decode_text(content, "a.txt") == text and capsys.readouterr().out == ""


def test_another_encoding_is_found_and_said(capsys):
    assert nlp.decode_text("Café – 5 €".encode("cp1252"), "menu.txt") == "Café – 5 €"
    assert "menu.txt is not in UTF-8; it was read as Windows-1252" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0\r", b"\xff\xfe\0", b"\0\1\2\xff", b"abc\0def",
                                     "Good".encode("utf-16-le"), "Good".encode("utf-32")])
def test_what_is_no_text_is_refused(content):
    with pytest.raises(CourseError, match="a.txt may hold no text"): nlp.decode_text(content, "a.txt")


@pytest.mark.parametrize("text, garbled", [
    ("CafÃ© Society", True), ("It â€œwasâ€\x9d good \U0001f600", True),
    ("A ray \u2013 caf\u00e9, 5 \u20ac, na\u00efve", False),
    ("\u4e2d\u6587 \U0001f600", False), ("plain", False), # and capitals and ß before a mark, which are correct:
    ("„Das macht Spaß“", False), ("Spaß…", False), ("Quel CAFÉ\u00a0!", False), ("BEYONCÉ’s", False),
    ("«LIBERTÉ»", False)])
def test_text_decoded_wrongly_is_noticed_beside_anything(text, garbled): assert nlp.is_garbled(text) is garbled


@pytest.mark.parametrize("parts, pair, joined", [
    ("aaaa", ("a", "a"), ("aa", "aa")), ("aaa", ("a", "a"), ("aa", "a")), ("abab", ("a", "b"), ("ab", "ab")),
    ("ba", ("a", "b"), ("b", "a")), ("", ("a", "b"), ())])
def test_merge_goes_from_left_to_right(parts, pair, joined): assert nlp.merge(tuple(parts), pair) == joined


@pytest.mark.parametrize("seed", range(3))
def test_merges_are_those_of_the_library(seed):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdé", k=rng.randint(1, 7))) for _ in range(60)]
    text = " ".join(rng.choices(words, k=400)) + " 12, 3... ?!"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(nlp.PIECE), "isolated")
    bpe.train_from_iterator([text], trainers.BpeTrainer(vocab_size=len(set(text)) + 50, show_progress=False))
    theirs = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    assert nlp.learn_merges(text, 50) == theirs and len(theirs) == 50


@pytest.mark.parametrize("text, most", [("", 0), ("a", 0), ("ab", 1), ("abc abc", 3)])
def test_merges_end_where_nothing_is_left_to_join(text, most): assert len(nlp.learn_merges(text, 9)) <= most


def test_the_pattern_keeps_every_letter():
    import re
    text = " Two  blanks,\n\ta tab; 'quotes' – und Größe 3.5 %!! "
    assert "".join(re.findall(nlp.PIECE, text)) == text


@pytest.mark.parametrize("count, rows, length", [(25, 2, 4), (101, 4, 5), (1000, 3, 7)])
def test_rows_go_on_where_the_batch_before_ended(count, rows, length):
    xs, ys = nlp.stream_rows(list(range(count)), rows, length)
    assert xs.shape == ys.shape and torch.equal(ys, xs + 1) and len(xs)%rows == 0
    assert torch.equal(xs[rows:, 0], xs[:-rows, -1] + 1)
    assert count - 1 - xs.numel() < rows*length


@pytest.mark.parametrize("count", [0, 1, 8])
def test_a_stream_that_is_too_short_is_refused(count):
    with pytest.raises(CourseError, match=f"{count} pieces are too few for 2 rows of 4"):
        nlp.stream_rows(list(range(count)), 2, 4)


# Texts that make trouble

@pytest.fixture(scope="module")
def reader():
    from transformers import AutoModel, AutoTokenizer
    name = tiny_text_network()
    return AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)


def test_every_kind_of_trouble_is_found_in_its_place(reader):
    tokenizer, network = reader
    texts = ["fine", "", " \n", None, "丆万", "CafÃ©", "a \ufffd", "long "*40, "Café"]
    found = nlp.check_texts(texts, tokenizer, 50, labels=range(9), network=network)
    assert found["empty"] == [1, 2, 3] and found["cut after 50 tokens"] == [7]
    assert found["decoded wrongly"] == [5, 6] and 4 in found["nothing known"]
    assert nlp.check_texts(["fine"], tokenizer, 50) == {} == nlp.check_texts([], tokenizer, 50)


@pytest.mark.parametrize("labels, words", [
    ([1, None, 2], "1 of 3 labels are missing, the first at row 1"),
    (pd.array([pd.NA, 1, 2], "Int64"), "1 of 3 labels are missing, the first at row 0"),
    ([1., 2., float("nan")], "1 of 3 labels are missing, the first at row 2"), ([1], "3 texts came with 1 labels")])
def test_missing_labels_are_refused(labels, words, reader):
    with pytest.raises(CourseError, match=words): nlp.check_texts(["a", "b", "c"], reader[0], 9, labels=labels)


def test_a_tokenizer_of_another_network_is_refused(reader):
    tokenizer, network = reader
    class Larger(type(tokenizer)):
        def __len__(self): return 30_522
    larger = Larger.from_pretrained(tiny_text_network())
    with pytest.raises(CourseError, match="30522 tokens and the network .*do not belong together"):
        nlp.check_texts(["a"], larger, 9, network=network)


# Language models

PIECES = "abcdefgh"


def test_counts_are_a_distribution():
    rng = random.Random(0)
    model = nlp.NGram([rng.randrange(5) for _ in range(300)], 3, 5)
    for before in ((), (1,), (1, 2), (4, 4, 4), (9,)):
        chances = [model.probability(before, piece) for piece in range(5)]
        assert sum(chances) == pytest.approx(1, abs=0.02) and min(chances) > 0


def test_counting_finds_what_the_grammar_knows():
    "With a word as a piece, two words back decide nearly all; the best possible perplexity is known"
    rng = random.Random(0)
    def words(count): return [word for number in range(count)
                              for word in ["[BOS]",
                                           *draw_text(("pos", "neg")[number%2], rng).replace(".", " .").split()]]
    train, valid = words(2000), words(200)
    number = {word: place for place, word in enumerate(sorted(set(train)))}
    found = nlp.NGram([number[word] for word in train], 4, len(number), 1.).perplexity([number[word] for word in valid])
    best = math.exp(200*text_nats()/len(valid))
    assert 0.97*best < found < 1.25*best


def letters(count, seed):
    "A letter, then the next one of the alphabet in nine cases of ten"
    rng = random.Random(seed)
    line = [0]
    while len(line) < count: line.append((line[-1] + 1)%8 if rng.random() < 0.9 else rng.randrange(8))
    return line


@pytest.mark.parametrize("build", [lambda: nlp.Recurrent(8, 24), lambda: nlp.LSTMModel(8, 24),
                                   lambda: nlp.TinyGPT(8, 24, heads=2, layers=1, longest=16)],
                                   ids=["rnn", "lstm", "gpt"])
def test_every_rung_reaches_the_planted_perplexity(build):
    torch.manual_seed(0)
    model, (xs, ys) = build(), nlp.stream_rows(letters(3000, 0), 10, 16)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    def loss(xs, ys): return torch.nn.functional.cross_entropy(model(xs).flatten(0, 1), ys.flatten())
    for _ in range(10):
        model.reset()
        for start in range(0, len(xs), 10):
            loss(xs[start:start+10], ys[start:start+10]).backward(); optimizer.step(); optimizer.zero_grad()
    model.eval(); model.reset()
    fresh = nlp.stream_rows(letters(1000, 1), 10, 16)
    with torch.no_grad(): found = loss(*fresh).exp().item() if isinstance(model, nlp.TinyGPT) else None
    if found is None:
        model.reset()
        with torch.no_grad():
            found = math.exp(sum(loss(fresh[0][i:i+10], fresh[1][i:i+10]).item()
                                 for i in range(0, len(fresh[0]), 10))/(len(fresh[0])//10))
    best = math.exp(-(0.9125*math.log(0.9125) + 7*0.0125*math.log(0.0125)))
    assert 0.9*best < found < 1.25*best


def test_a_memory_is_kept_between_batches_and_cut_from_them():
    torch.manual_seed(0)
    for model in (nlp.Recurrent(8, 6), nlp.LSTMModel(8, 6)):
        xb = torch.randint(8, (2, 10))
        whole = model(xb)
        model.reset()
        halves = torch.cat([model(xb[:, :5]), model(xb[:, 5:])], 1)
        torch.testing.assert_close(whole, halves)
        model(xb).sum().backward(); model(xb).sum().backward()  # the second would fail if the first graph were in it


def test_a_gpt_does_not_see_what_comes():
    torch.manual_seed(0)
    model = nlp.TinyGPT(8, 12, heads=3, layers=2, longest=10).eval()
    one, other = torch.randint(8, (1, 10)), torch.randint(8, (1, 10))
    other[:, :6] = one[:, :6]
    torch.testing.assert_close(model(one)[:, :6], model(other)[:, :6])
    shares = model.blocks[1].attention.shares
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 3, 10)); assert shares.triu(1).abs().max() == 0
    with pytest.raises(CourseError, match="11 pieces came, and it reads 10"): model(torch.zeros(1, 11).long())


def test_writing_is_repeatable_and_follows_the_temperature():
    torch.manual_seed(0)
    model = nlp.TinyGPT(8, 12, heads=2, layers=1, longest=6)
    one = nlp.write_on(model, [1, 2], 20, 1., longest=6, seed=3)
    assert one == nlp.write_on(model, [1, 2], 20, 1., longest=6, seed=3) and one[:2] == [1, 2] and len(one) == 22
    assert one != nlp.write_on(model, [1, 2], 20, 1., longest=6, seed=4)
    likeliest = nlp.write_on(model, [1], 20, 0, longest=6)
    assert likeliest == nlp.write_on(model, [1], 20, 1e-4, longest=6, seed=9)
    assert len(set(nlp.write_on(model, [1], 60, 50., longest=6))) >= 7


@pytest.mark.parametrize("numbers, temperature", [([], 1.), ([1], -1.)])
def test_writing_needs_a_beginning_and_a_temperature(numbers, temperature):
    with pytest.raises(CourseError, match="Begin with a piece, and"):
        nlp.write_on(nlp.TinyGPT(8, 12, heads=2, layers=1), numbers, 3, temperature)


# Texts with a known truth

def test_reviews_of_the_grammar_tell_their_feeling(tmp_path):
    files = sorted(build_standin("imdb", tmp_path).glob("test/*/*.txt"))
    assert Counter(file.parent.name for file in files) == {"pos": 200, "neg": 200}
    for file in files:
        said = {feeling for feeling, words in FEELINGS.items() for word in words
                if word in file.read_text().split(" ", 3)[-1]}
        assert said == {file.parent.name}


def test_pairs_follow_the_rule_and_cosines_of_words_find_it(tmp_path):
    with open(build_standin("patents", tmp_path)/"train.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    same = [len(set(row["anchor"].split()) & set(row["target"].split())) for row in rows]
    by_overlap = {n: sum(float(row["score"]) for row, k in zip(rows, same, strict=True) if k == n)/same.count(n)
                  for n in (0, 1, 2)}
    assert by_overlap[2] == 1 and by_overlap[0] < by_overlap[1] < 0.8


# The page that reads

@pytest.fixture(scope="module")
def page(tmp_path_factory):
    "The page with a small model of random weights, its model and tokenizer"
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    folder = tmp_path_factory.mktemp("reader")
    bpe = Tokenizer(models.BPE(unk_token="[UNK]"))
    bpe.normalizer, bpe.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Split(Regex(nlp.PIECE), "isolated")
    rng = random.Random(0)
    bpe.train_from_iterator([draw_text("pos", rng) for _ in range(100)],
                            trainers.BpeTrainer(vocab_size=90, show_progress=False, special_tokens=["[UNK]", "[BOS]"]))
    torch.manual_seed(0)
    model = nlp.TinyGPT(bpe.get_vocab_size(), 16, heads=2, layers=2, longest=12).eval()
    for tensor in model.parameters(): torch.nn.init.normal_(tensor, std=0.5) if tensor.ndim > 1 else None
    nlp.save_for_browser(model, bpe, folder/"tiny_gpt.safetensors")
    shutil.copyfile(asset("alive/reader.html"), folder/"index.html")
    for script in ("weights.js", "reader.js"): shutil.copyfile(asset(f"alive/{script}"), folder/script)
    with start_browser(tmp_path_factory.mktemp("browser")) as browser, served(folder) as url:
        opened = browser.page(f"{url}index.html")
        opened.wait_for("document.body.classList.contains('ready')")
        yield opened, model, bpe


LOAD = ("fetch('tiny_gpt.safetensors').then(answer => answer.arrayBuffer())"
        ".then(buffer => { window.gpt = reader.parse(buffer); })")


def test_the_page_cuts_and_computes_as_python_does(page):
    opened, model, bpe = page
    opened.evaluate(f"{LOAD}, 1"); opened.wait_for("!!window.gpt")
    for text in ("The plot was very funny!", "  Größe, zzz  und 3", "For me the light felt"):
        tokens = bpe.encode(text)
        assert opened.evaluate(f"gpt.numbers(gpt.encode({json.dumps(text)}))") == tokens.ids
    ids = [1, *bpe.encode("the cast was warm").ids][:12]
    with torch.no_grad():
        for tensor in model.parameters():   # as they were rounded
            if tensor.ndim > 1:
                scale = tensor.abs().amax(1, keepdim=True)/127
                tensor.copy_((tensor/scale).round()*scale)
        scores = model(torch.tensor([ids]))[0, -1]
    found = opened.evaluate(f"Array.from(gpt.forward({ids}).scores)")
    torch.testing.assert_close(torch.tensor(found), scores, atol=2e-3, rtol=1e-3)
    shares = opened.evaluate(f"gpt.forward({ids}).shares[1][1].at(-1)")
    torch.testing.assert_close(torch.tensor(shares), model.blocks[1].attention.shares[0, 1, -1], atol=1e-3, rtol=1e-3)


def test_a_visitor_types_and_the_model_goes_on(page):
    opened, _, bpe = page
    def put(id, value): opened.evaluate(f"(box => {{ box.value = {json.dumps(value)}; box.dispatchEvent(new "
                                        f"Event('input')); }})"
                                        f"(document.getElementById('{id}'))")
    assert opened.evaluate("document.getElementById('merges').value") == str(
        len(json.loads(bpe.to_str())["model"]["merges"]))
    put("text", "the plot was")
    count = "document.querySelectorAll('#pieces button').length"
    few = opened.evaluate(count)
    put("merges", "0")
    assert opened.evaluate(count) == 11 > few and opened.evaluate("document.getElementById('looks').hidden")
    put("merges", "999")
    assert opened.evaluate(count) == few and not opened.evaluate("document.getElementById('looks').hidden")
    opened.evaluate("document.querySelector('#pieces button').click()")
    assert opened.evaluate("document.querySelector('#pieces button').getAttribute('aria-pressed')") == "true"
    opened.evaluate("document.getElementById('write').click()")
    opened.wait_for("!document.getElementById('write').disabled")
    assert len(opened.evaluate("document.getElementById('written').textContent")) > 20
    put("text", "")
    assert opened.evaluate(count) == 0 and opened.errors == []


# What the last full run measured

@pytest.fixture(scope="module")
def run(): return load_run("08_nlp")


def figure(run, what): return next(m.value for m in run.measured if m.what == what)


def test_each_rung_of_the_ladder_is_better_than_counting(run):
    ladder = {m.what.partition(", ")[2]: m.value for m in run.measured if m.metric == "perplexity"}
    assert len(ladder) == 7
    counts = ladder["counts: two pieces before"]
    assert ladder["any piece, equally"] > ladder["counts: how frequent it is"] > ladder[
        "counts: one piece before"] > counts
    assert min(ladder["LSTM"], ladder["tiny GPT"]) < counts


def test_counting_beats_frozen_embeddings_and_training_beats_the_cosine(run):
    assert figure(run, "sentiment, counts and a linear model") > figure(run,
        "sentiment, embeddings and a linear model") + 0.05
    tuned = [m for m in run.measured if m.what == "phrases, MiniLM fine-tuned"]
    new, known = (next(m.value for m in tuned if m.setting == f"{kind} anchors") for kind in ("new", "known"))
    assert figure(run, "phrases, untrained") + 0.05 < new < known
