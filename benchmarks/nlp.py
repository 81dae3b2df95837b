"""What lesson 08 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/nlp.py`. It takes about a minute and exits with 1 where a claim does not hold.
"""
import logging, random, re, sys, tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from timing import ROUNDS, Way, compare

from course_lib.apps.text_bundle import export_text_bundle, load_text_bundle, quantize_text_bundle
from course_lib.base.env import device_name, quiet, seed_everything
from course_lib.data.standin_texts import draw_text
from course_lib.data.weights import tiny_text_network
from course_lib.nlp import PIECE, TinyGPT, learn_merges, merge

MERGES = 150

def ways_to_learn(
    text:str, # To learn merges from
) -> list[Way]: # The lesson's own way first
    "Byte-pair encoding, learned"
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    def library():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), "isolated")
        bpe.train_from_iterator([text], trainers.BpeTrainer(vocab_size=MERGES + len(set(text)), show_progress=False))
        return bpe
    return [("learn merges: learn_merges", lambda: learn_merges(text, MERGES), None),
            ("learn merges: tokenizers", library, 3.)]

def set_up(
    rules:str, # A tokenizer as JSON
):
    "Prepare a process that cuts texts"
    global there
    from tokenizers import Tokenizer
    there = Tokenizer.from_str(rules)

def pieces_there(text:str) -> list[int]: return there.encode(text).ids

def ways_to_apply(
    text:str,      # To cut into pieces
    merges:list,   # In the order in which they were learned
    bpe,           # The same, of the library
    pool:Executor, # Two processes that have it, too
) -> list[Way]: # The plain way first
    "A text cut into pieces"
    words = re.findall(PIECE, text)
    def plain(word):
        parts = tuple(word)
        for pair in merges: parts = merge(parts, pair)
        return parts
    def remembered():
        known = {word: plain(word) for word in set(words)}
        return [part for word in words for part in known[word]]
    middle = text.index(" ", len(text)//2)
    halves = text[:middle], text[middle:]
    return [("apply merges: every word", lambda: [part for word in words for part in plain(word)], None),
            ("apply merges: every word once", remembered, 2.),
            ("apply merges: tokenizers", lambda: bpe.encode(text), 10.),
            ("apply merges: tokenizers, two processes", lambda: list(pool.map(pieces_there, halves)), 5.)]

def ways_to_batch(
    lengths:list[int], # Letters of some texts
) -> list[Way]: # In the order in which they come first
    "Texts of different lengths through a network, filled up to the longest of their batch"
    from transformers import AutoModel, AutoTokenizer
    tokenizer, network = (kind.from_pretrained(tiny_text_network()) for kind in (AutoTokenizer, AutoModel))
    texts = ["a"*length for length in lengths]
    def through(texts):
        with torch.inference_mode():
            for start in range(0, len(texts), 16):
                batch = [" ".join(text) for text in texts[start:start+16]]
                network(**tokenizer(batch, padding=True, return_tensors="pt"))
    return [("embed: as they come", lambda: through(texts), None),
            ("embed: of like length together", lambda: through(sorted(texts, key=len)), 1.2)]

def ways_to_answer(
    folder:Path, # Empty
    text:str,    # A review
) -> list[Way]: # PyTorch first
    "One review, from the text to the answer, by a network of the size of all-MiniLM-L6-v2 with random weights"
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification
    tokenizer = AutoTokenizer.from_pretrained(tiny_text_network())
    network = BertForSequenceClassification(BertConfig(
        vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=256)).eval()
    bundle = export_text_bundle(network, tokenizer, folder/"exact", vocab=["neg", "pos"], longest=128)
    exact, small = (load_text_bundle(place, threads=1)
                    for place in (bundle, quantize_text_bundle(bundle, folder/"small", [text])))
    def plain():
        inputs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.inference_mode(): return network(**inputs).logits.softmax(-1)
    return [("one review: PyTorch", plain, None),
            ("one review: ONNX Runtime", lambda: exact.predict(text), 1.1),
            ("one review: ONNX Runtime, eight bits", lambda: small.predict(text), 1.5)]

def ways_to_attend(
    model:TinyGPT, # In evaluation mode
) -> list[Way]: # The lesson's own way first
    "Attention in plain code, and PyTorch's"
    layer, x = model.blocks[0].attention, torch.randn(8, model.longest, model.embed.embedding_dim)
    def fused():
        batch, length, width = x.shape
        q, k, v = layer.qkv(x).view(batch, length, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
        acts = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return layer.out(acts.transpose(1, 2).reshape(batch, length, width))
    with torch.no_grad(): torch.testing.assert_close(fused(), layer(x), atol=1e-5, rtol=1e-4)
    return [("attention: Attention", torch.no_grad()(lambda: layer(x)), None),
            ("attention: scaled_dot_product_attention", torch.no_grad()(fused), 1.)]

def main() -> int: # Exit status: 0 where all claims hold
    "Run all comparisons"
    quiet(); seed_everything()
    torch.set_num_threads(1) # these steps are too small to share, and on a busy machine threads wait for each other
    rng = random.Random(42)
    text = " ".join(draw_text(rng.choice(["pos", "neg"]), rng) for _ in range(400)).lower()
    text += " ".join("".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(2000)) # some rare words
    print(f"{len(text):,} letters; {device_name()}, one thread; fastest of {ROUNDS} rounds")
    learning = ways_to_learn(text)
    merges, bpe = (learn() for _, learn, _ in learning)
    lengths = [int(rng.lognormvariate(3, 0.9)) + 1 for _ in range(256)]
    processes = ProcessPoolExecutor(2, get_context("spawn"), set_up, (bpe.to_str(),))
    with processes as pool: applying = compare(ways_to_apply(text, merges, bpe, pool))
    logging.getLogger().setLevel(logging.ERROR) # ONNX Runtime recommends what this network does not need
    with tempfile.TemporaryDirectory() as folder: answering = compare(ways_to_answer(Path(folder), text[:500]))
    claims = [compare(learning), applying, answering,
              compare(ways_to_batch([min(length, 200) for length in lengths])),
              compare(ways_to_attend(TinyGPT(500, 96, longest=128).eval()))]
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())
