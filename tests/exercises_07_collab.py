"The exercises of lesson 07: what each mistake is told, further mistakes, and other right answers"
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fastai.collab import CollabDataLoaders, collab_learner
from torch import nn

# What a learner's code may use
NAMES = dict(torch=torch, F=F, nn=nn, np=np, pd=pd, CollabDataLoaders=CollabDataLoaders, collab_learner=collab_learner)

# What each mistake on the page is told
CAUSES = {
    "embed-short": "cannot be multiplied", "embed-whole": "same dtype", "embed-index": "looked up by index",
    "sgd_step-new": "person's new factors", "sgd_step-place": "`person` was changed", "sgd_step-two": "has a factor 2",
    "train_factors-biases": "What do the products add?", "train_factors-column": "wanted shape",
    "train_factors-zeros": "the same for every pair",
    "more_like-named": "named came back", "more_like-long": "Nothing was normalised",
    "more_like-tensor": "wanted a list",
    "fit_person-least": "`wd` is not in it", "fit_person-everywhere": "its gradient is 0",
    "fit_person-count": "multiplied by the number of ratings",
    "train_collab-position": "Say which column is which", "train_collab-untrained": "Was it trained",
    "train_collab-range": "no range holds its answers",
}

HOT = "hot = F.one_hot(idx, len(weight)).float()\n    "
MISS = "error = person@film - rating\n    "
UNIT = "unit = F.normalize(vectors, dim=1)\n    "
DROP = "alike[liked] = -torch.inf\n    return alike.topk(n).indices.tolist()"
SQUARE = "square, unit = films.T@films, torch.eye(films.shape[1])\n    "
BOOKS = "names = dict(user_name='reader', item_name='book', rating_name='stars')\n    " \
        "dls = CollabDataLoaders.from_df(table, bs=32, **names)\n    "
FIT = "\n    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle"
FACTORS = "u, v = (torch.randn(n, {k})*0.1 for n in (n_people, n_films)); u.requires_grad_(); v.requires_grad_()\n" \
          "    b, c = (torch.zeros(n, requires_grad=True) for n in (n_people, n_films)); m = ratings.mean()\n    " \
          "def predict(p): return m + b[p[:, 0]] + c[p[:, 1]] + (u[p[:, 0]]*v[p[:, 1]]).sum(1)\n    " \
          "opt = torch.optim.Adam([u, v, b, c], {lr})\n    for _ in range({steps}):\n        " \
          "opt.zero_grad(); F.mse_loss(predict(pairs), ratings).backward(); opt.step()\n    return predict"

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("embed", "return F.embedding(idx, weight)", "`embedding` does the whole exercise"),
    ("embed", f"{HOT}return hot", "wanted shape"),
    ("embed", f"{HOT}return hot@weight.detach()", "gradient is lost"),
    ("embed", f"{HOT}return (hot@weight).tolist()", "got `list`"),
    ("embed", "return F.one_hot(idx + 1, len(weight)).float()@weight", "one place too far"),
    ("embed", f"{HOT}return hot@weight.flip(0)", "opposite order"),
    ("embed", f"{HOT}return 2*hot@weight", "a single 1"),
    ("embed", f"{HOT}return hot.flatten(0, -2).sum(0)@weight", "wanted shape"),
    ("sgd_step", f"{MISS}return person + lr*2*error*film, film + lr*2*error*person", "uphill"),
    ("sgd_step", f"{MISS}return person - lr*2*error*film, film - lr*2*error*person", "`wd` plays no part"),
    ("sgd_step", f"{MISS}return person - lr*(2*error*film + wd*person), film - lr*(2*error*person + wd*film)",
     "lacks its 2"),
    ("sgd_step", f"{MISS}return person - lr*(error*film + 2*wd*person), film - lr*(error*person + 2*wd*film)",
     "a factor 2"),
    ("sgd_step", f"{MISS}return person - 2*(error*film + wd*person), film - 2*(error*person + wd*film)",
     "rate is not in it"),
    ("sgd_step", f"{MISS}return film - lr*2*(error*person + wd*film), person - lr*2*(error*film + wd*person)",
     "film came first"),
    ("sgd_step", f"{MISS}return person - lr*2*(error*film - wd*person), film - lr*2*(error*person - wd*film)",
     "numbers larger"),
    ("sgd_step", f"{MISS}return person - lr*2*(error*film + wd*person)", "the new person and the new film"),
    ("train_factors", "return ratings", "wanted a function"),
    ("train_factors", "m = ratings.mean()\n    return lambda p: m + 0*p[:, 0]", "the same for every pair"),
    ("train_factors",
     "u, v = torch.randn(n_people, 2), torch.randn(n_films, 2)\n    "
     "return lambda p: 3 + (u[p[:, 0]]*v[p[:, 1]]).sum(1)",
     "no better than the mean"),
    ("train_factors", "return lambda p: ratings", "wanted shape"),
    ("train_factors",
     "u, v = torch.randn(n_people, 2), torch.randn(n_films, 2)\n    return lambda p: (u[p[:, 1]]*v[p[:, 0]]).sum(1)",
     "IndexError"),
    ("train_factors", FACTORS.format(k=1, lr=0.05, steps=120), "Two factors at least?"),
    ("train_factors", "return lambda p: p[:, 0]*float('nan')", "no numbers"),
    ("train_factors", "return lambda p: [3.]*len(p)", "got `list`"),
    ("more_like", f"{UNIT}alike = vectors@unit[liked].sum(0); {DROP}", "that were not normalised"),
    ("more_like", f"{UNIT}alike = unit@vectors[liked].sum(0); {DROP}", "decide alone"),
    ("more_like", f"alike = -(vectors - vectors[liked].sum(0)).norm(dim=1); {DROP}", "distances"),
    ("more_like", f"{UNIT}alike = -unit@unit[liked].sum(0); {DROP}", "farthest"),
    ("more_like", f"{UNIT}alike = unit@unit[liked[0]]; {DROP}", "Only the first"),
    ("more_like", f"{UNIT}n = n + 1; alike = unit@unit[liked].sum(0); {DROP}", "one too many"),
    ("more_like", f"{UNIT}n = n - 1; alike = unit@unit[liked].sum(0); {DROP}", "One is missing"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + unit, films.T@rest)", "The price was 1"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + wd/len(films)*unit, films.T@rest)",
     "divided by the number"),
    ("fit_person", f"{SQUARE}return -torch.linalg.solve(square + wd*unit, films.T@rest)", "a sign is turned"),
    ("fit_person", "return films.T@rest", "Nothing was solved"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + wd**2*unit, films.T@rest)", "was squared"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + 2*wd*unit, films.T@rest)", "counted twice"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + wd*unit, films.T@rest[:, None])", "wanted shape"),
    ("fit_person", f"{SQUARE}return torch.linalg.solve(square + wd*unit, films.T@rest).tolist()", "got `list`"),
    ("train_collab", "return table", "wanted a trained learner"),
    ("train_collab", f"{BOOKS}learn = collab_learner(dls){FIT}(1, 1e-5)\n    return learn", "no range"),
    ("train_collab", f"{BOOKS}learn = collab_learner(dls, y_range=(0.5, 5.5)){FIT}(1, 1e-6)\n    return learn",
     "long enough"),
    ("train_collab", f"{BOOKS}return collab_learner(dls, y_range=(-5, 15))", "no range holds"),
    ("train_collab", "dls = CollabDataLoaders.from_df(table, user_name='reader', item_name='day', "
     "rating_name='stars')\n    return collab_learner(dls, y_range=(0.5, 5.5))", "Say which column"),
]

# Other right answers: (name, source)
OTHERS = [
    ("embed", "hot = torch.zeros(*idx.shape, len(weight)).scatter(-1, idx[..., None], 1.)\n    return hot@weight"),
    ("sgd_step", "p, f = person.clone().requires_grad_(), film.clone().requires_grad_()\n    "
     "((p@f - rating)**2 + wd*((p**2).sum() + (f**2).sum())).backward()\n    "
     "return person - lr*p.grad, film - lr*f.grad"),
    ("train_factors", FACTORS.format(k=2, lr=0.03, steps=300)),
    ("more_like",
     f"{UNIT}goal = unit[liked].sum(0)\n    "
     "order = sorted(range(len(vectors)), key=lambda i: -float(unit[i]@goal))\n    "
     "return [i for i in order if i not in liked][:n]"),
    ("fit_person", "k = films.shape[1]\n    rows = torch.cat([films, wd**0.5*torch.eye(k)])\n    "
     "return torch.linalg.lstsq(rows, torch.cat([rest, torch.zeros(k)])[:, None]).solution[:, 0]"),
    ("train_collab",
     f"{BOOKS}learn = collab_learner(dls, n_factors=8, y_range=(0, 6)){FIT}(10, 0.1, wd=0.1)\n    "
     "return learn"),
]
