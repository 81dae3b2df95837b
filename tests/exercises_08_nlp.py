"The exercises of lesson 08: what each mistake is told, further mistakes, and other right answers"
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from torch import nn

# What a learner's code may use
NAMES = dict(torch=torch, F=F, math=math, np=np, random=random, nn=nn, CountVectorizer=CountVectorizer,
             TfidfVectorizer=TfidfVectorizer, LogisticRegression=LogisticRegression, make_pipeline=make_pipeline,
             DummyClassifier=DummyClassifier, LinearSVC=LinearSVC, LinearRegression=LinearRegression)

# What each mistake on the page is told
CAUSES = {
    "review_model-single": "It goes by single words", "review_model-untrained": "NotFitted",
    "review_model-turned": "All answers are turned round",
    "encode_word-longest": "The longest known piece", "encode_word-once": "in one place only",
    "next_letters-one": "does it see two letters", "next_letters-same": "the letter that it has just read",
    "next_letters-ahead": "It looks ahead",
    "attend_near-zero": "Forbidden scores were set to 0", "attend_near-after": "cut after the softmax",
    "attend_near-ahead": "Pieces ahead are looked at",
    "keep_likely-after": "Cut after the softmax", "keep_likely-times": "multiplied by the temperature",
    "judge_by_group-everything": "those put aside as well", "judge_by_group-ones": "The intercept is missing",
}

PAIRS = "pipe = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)); "
MERGED = ("parts = list(word)\n    for pair in merges:\n        joined = []\n        for part in parts:\n            "
          "if joined and (joined[-1], part) == tuple(pair): joined[-1] += part\n            else: joined.append(part)\n"
          "        parts = joined\n    ")
LETTERS = ("model = nn.Sequential(nn.Embedding(4, 32), {layer}, nn.Linear(64, 4)); "
           "optimizer = torch.optim.Adam(model.parameters(), 0.02)\n    ")
TABLE = ("counts = torch.full((4, 4, 4), 0.1)\n    for a, b, c in zip(numbers, numbers[1:], numbers[2:]): "
         "counts[a, b, c] += 1\n    probs = counts/counts.sum(-1, keepdim=True)\n    ")
BEFORE = ("places = torch.arange(len(q)); before = places[:, None] - places[None]; "
          "scores = q @ k.T/q.shape[1]**0.5\n    ")
NEAR = "shares = scores.masked_fill((before < 0) | (before > reach), -torch.inf).softmax(-1)\n    "
OUT = ("out = torch.tensor([group in aside for group in groups]); "
       "x = torch.cat([features, torch.ones(len(features), 1)], 1)\n    ")
FIT = "weights = torch.linalg.lstsq(x[~out], scores[~out, None]).solution; preds = (x @ weights)[:, 0]\n    "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("review_model", f"{PAIRS}return pipe.fit(texts, labels).predict(texts)", "wanted a model with a method `predict`"),
    ("review_model", f"{PAIRS}return pipe.fit(texts, [label == 'pos' for label in labels])",
     "wanted were 'pos' and 'neg'"),
    ("review_model", "return DummyClassifier(strategy='most_frequent').fit(texts, labels)", "It always says the same"),
    ("review_model", f"{PAIRS}pipe.fit(texts, labels)", "nothing came back"),
    ("review_model", f"{PAIRS}return pipe.fit(texts[:8], labels[:8])", "wanted are 95 %"),
    ("review_model", "class One:\n        def predict(self, texts): return ['pos']\n    return One()",
     "1 answers came out"),
    ("encode_word", "return list(word)", "nothing was merged"),
    ("encode_word", f"{MERGED}return ' '.join(parts)", "wanted is a list of pieces"),
    ("encode_word", f"{MERGED}return parts[::-1]", "the opposite order"),
    ("encode_word", "merges = merges[::-1]\n    " + MERGED + "return parts", "from the last to the first"),
    ("encode_word", "merges = merges[:1]\n    " + MERGED + "return parts", "Only the first merge"),
    ("encode_word", "return [word]", "wanted"),
    ("next_letters", "return nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4))", "wanted is 1.85"),
    ("next_letters", "return numbers", "wanted a model that can be called"),
    ("next_letters", "return nn.Embedding(4, 7)", "Wanted are scores of shape (12, 100, 4)"),
    ("next_letters", "model = nn.Embedding(4, 4); model.weight.data[:] = float('nan'); return model",
     "no numbers (`nan`)"),
    ("next_letters", f"{TABLE}return lambda xb: probs[F.pad(xb, (1, 0))[:, :-1], xb]", "These are probabilities"),
    ("next_letters", f"{TABLE}return lambda xb: -20*probs[F.pad(xb, (1, 0))[:, :-1], xb]", "sure of the wrong letters"),
    ("attend_near", f"{BEFORE}{NEAR}return shares @ v", "what arrives, and the shares"),
    ("attend_near", f"{BEFORE}{NEAR}return shares @ k, shares", "multiplied with the keys"),
    ("attend_near", BEFORE.replace("/q.shape[1]**0.5", "") + f"{NEAR}return shares @ v, shares", "root of the width"),
    ("attend_near", BEFORE + NEAR.replace("softmax(-1)", "softmax(0)") + "return shares @ v, shares",
     "down the columns"),
    ("attend_near", BEFORE + NEAR.replace("before > reach", "before > reach + 1") + "return shares @ v, shares",
     "too wide"),
    ("attend_near", BEFORE + NEAR.replace("before > reach", "before > 99") + "return shares @ v, shares",
     "however far"),
    ("keep_likely", "return (scores/temperature).softmax(0)", "Nothing was cut"),
    ("keep_likely", "cut = scores.topk(keep).values.min(); return scores.masked_fill(scores < cut, "
                    "-torch.inf).softmax(0)",
     "The temperature plays no part"),
    ("keep_likely", "cut = scores.topk(keep).values.min(); return (scores/temperature).masked_fill(scores < cut, "
                    "0.).softmax(0)",
     "Those cut got the score 0"),
    ("keep_likely", "cut = scores.topk(keep).values.min(); scores[scores < cut] = -torch.inf; return "
                    "(scores/temperature).softmax(0)",
     "`scores` was changed"),
    ("keep_likely", "cut = scores.topk(keep).values.min(); return (scores/temperature).masked_fill(scores < cut, "
                    "-torch.inf)",
     "These are scores"),
    ("keep_likely", "return (scores >= scores.topk(keep).values.min())/keep", "equally likely"),
    ("judge_by_group", f"{OUT}{FIT}return torch.corrcoef(torch.stack([preds[out], scores[out]]))[0, 1]",
     "were not clipped"),
    ("judge_by_group", f"{OUT}{FIT}return torch.corrcoef(torch.stack([preds.clip(0, 1), scores]))[0, 1]",
     "judged on all rows"),
    ("judge_by_group", f"{OUT}{FIT}return torch.corrcoef(torch.stack([preds.clip(0, 1)[~out], scores[~out]]))[0, 1]",
     "judged on the rows that it learned from"),
    ("judge_by_group", f"{OUT}{FIT}return torch.corrcoef(torch.stack([preds.clip(0, 1)[out], scores[out]]))[0, 1]**2",
     "the square of r"),
    ("judge_by_group", "aside = aside[:1]\n    " + OUT + FIT +
     "return torch.corrcoef(torch.stack([preds.clip(0, 1)[out], scores[out]]))[0, 1]", "Only the first of the groups"),
    ("judge_by_group", OUT.replace("group in aside", "group not in aside") + FIT +
     "return torch.corrcoef(torch.stack([preds.clip(0, 1)[out], scores[out]]))[0, 1]",
     "learned from the rows put aside"),
]

# Other ways to be right: (name, source)
OTHERS = [
    ("review_model", "return make_pipeline(TfidfVectorizer(ngram_range=(1, 3)), LinearSVC()).fit(texts, labels)"),
    ("encode_word", f"{MERGED}return tuple(parts)"),
    ("next_letters", f"{TABLE}return lambda xb: probs[F.pad(xb, (1, 0))[:, :-1], xb].log()"),
    ("attend_near", f"{BEFORE}allowed = torch.ones_like(scores).tril().triu(-reach); weights = scores.exp()*allowed\n  "
                    "  "
                    "shares = weights/weights.sum(1, keepdim=True); return shares @ v, shares"),
    ("keep_likely", "order = scores.argsort(descending=True); probs = (scores/temperature).softmax(0); "
                    "probs[order[keep:]] = 0; "
                    "return probs/probs.sum()"),
    ("judge_by_group", "out = np.isin(groups, aside); model = LinearRegression().fit(features.numpy()[~out], "
                       "scores.numpy()[~out])\n    "
                       "return float(np.corrcoef(model.predict(features.numpy()[out]).clip(0, 1), "
                       "scores.numpy()[out])[0, 1])"),
]
