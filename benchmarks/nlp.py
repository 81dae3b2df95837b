"""What lesson 08 claims about speed, as ratios measured in one run on this machine.

Run `python benchmarks/nlp.py`. It takes about 15 seconds and exits with 1 where a claim does not hold.
"""
import random, re, sys

import torch
from timing import ROUNDS, Way, compare

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

def ways_to_apply(
    text:str,     # To cut into pieces
    merges:list,  # In the order in which they were learned
    bpe,          # The same, of the library
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
    return [("apply merges: every word", lambda: [part for word in words for part in plain(word)], None),
            ("apply merges: every word once", remembered, 2.),
            ("apply merges: tokenizers", lambda: bpe.encode(text), 10.)]

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
    claims = [compare(learning), compare(ways_to_apply(text, merges, bpe)),
              compare(ways_to_batch([min(length, 200) for length in lengths])),
              compare(ways_to_attend(TinyGPT(500, 96, longest=128).eval()))]
    return 0 if all(claims) else 1

if __name__ == "__main__": sys.exit(main())
