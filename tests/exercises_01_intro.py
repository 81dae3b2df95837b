"The exercises of lesson 01: what each mistake is told, further mistakes, and other right answers"
import itertools
import math
import random
import re

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fastai.tabular.all import (
    Categorify, FillMissing, Normalize, RegressionBlock, TabularDataLoaders, accuracy, tabular_learner)

# What a learner's code may use
NAMES = dict(torch=torch, F=F, math=math, np=np, pd=pd, random=random, re=re, itertools=itertools,
             Categorify=Categorify, FillMissing=FillMissing, Normalize=Normalize, RegressionBlock=RegressionBlock,
             TabularDataLoaders=TabularDataLoaders, accuracy=accuracy, tabular_learner=tabular_learner)

# What each mistake on the page is told
CAUSES = {
    "baseline_error-peek": "chosen from the validation labels", "baseline_error-accuracy": "the share of right answers",
    "baseline_error-train": "on the labels that it learned from",
    "label_from_name-first": "ends at the first underscore", "label_from_name-all": "this is no picture of a pet",
    "label_from_name-match": "names `pug_3.jpg.part`",
    "into_range-cut": "cut off at both ends", "into_range-zero": "It runs from 0 on",
    "into_range-length": "how long is the range",
    "train_table-gaps": "What became of the gaps", "train_table-untrained": "Was it trained?",
    "train_table-answer": "the answer is among the columns",
    "by_heart-short": "It fell, and more epochs", "by_heart-same": "the loss on the validation set",
    "by_heart-lags": "it lags behind",
    "keep_if_better-first": "compared with the start", "keep_if_better-start": "added to the first weights",
    "keep_if_better-place": "`weights` was changed",
    "gain_by_group-shown": "would have bought anyway", "gain_by_group-counts": "differences of counts",
    "gain_by_group-whole": "the size of the whole group",
    "stop_epoch-whole": "one that was never trained", "stop_epoch-rise": "the patience plays no part",
    "stop_epoch-before": "compared with the one before it",
    "split_by_group-items": "Draw among the groups", "split_by_group-count": "wanted 1 of 4 groups to judge by, got 2",
    "split_by_group-seed": "the same seed gave two different splits",
    "leaked-mirror": "Mirrored copies were not found", "leaked-axis": "upside down",
    "leaked-place": "the one at its own place",
    "loudness-strided": "from all over the sound", "loudness-complex": "got `torch.complex64`",
    "loudness-down": "Rows and columns are swapped",
    "chance_of_slope-side": "luck has two sides", "chance_of_slope-more": "The order that was measured is missing",
    "chance_of_slope-together": "were shuffled together",
}

GUESS = "guess = max(set(train_labels), key=train_labels.count); " \
        "wrong = len(valid_labels) - valid_labels.count(guess)\n    "
MATCH = "found = re.fullmatch('([A-Za-z]+(?:_[A-Za-z]+)*)_([0-9]+)[.]jpg', name)\n    " \
        "if not found: raise ValueError(name)\n    kind = 'cat' if name[0].isupper() else 'dog'\n    "
SHARE = "share = torch.sigmoid(acts)\n    "
SEARCH = "best = performance(weights); first = last = best; start = weights\n    for change in changes:\n        " \
         "tried = weights + change; reached = performance(tried)\n        "
KEEP = "weights, best = tried, reached\n    return weights, best"
TABLE = "table = pd.DataFrame({'group': groups, 'shown': shown, 'bought': bought})\n    " \
        "rates = table.groupby(['group', 'shown'])['bought'].mean().unstack()\n    "
STOP = "keep = 0\n    for epoch, loss in enumerate(valid_losses):\n        " \
       "if loss < valid_losses[keep]: keep = epoch\n        "
DRAW = "names = sorted(set(groups)); random.Random(seed).shuffle(names); " \
       "aside = names[:round(share*len(names))]\n    " \
       "train = [i for i, g in enumerate(groups) if g not in aside]; " \
       "valid = [i for i, g in enumerate(groups) if g in aside]\n    "
BOTH = "seen = torch.cat([train, train.flip(2)]); same = (seen[None] == valid[:, None]).flatten(2)\n    "
PIECES = "n = len(sound)//window; pieces = sound[:n*window].reshape(n, window)\n    "
SLOPES = "orders = [torch.tensor(order) for order in itertools.permutations(y.tolist())]\n    " \
         "slopes = torch.stack([((x - x.mean())*order).sum() for order in orders])\n    "

def table_loaders(cat_names=("job",), cont_names=("age", "hours"), **more):
    "Code that makes data loaders of `table`"
    options = ", ".join(f"{name}={value}" for name, value in more.items())
    return (f"dls = TabularDataLoaders.from_df(table, y_names='answer', cat_names={list(cat_names)}, "
            f"cont_names={list(cont_names)}, procs=[Categorify, FillMissing, Normalize], bs=32, {options})\n    ")

FIT = "learn = tabular_learner(dls, metrics=accuracy)\n    " \
      "with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(20, 1e-2)\n    return learn"
QUIET = "with learn.no_bar(), learn.no_logging(): "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("baseline_error", f"{GUESS}return wrong", "how many are wrong"),
    ("baseline_error", f"{GUESS}return wrong/len(train_labels)", "divided by the number of training labels"),
    ("baseline_error", f"{GUESS}return 100*wrong/len(valid_labels)", "in per cent"),
    ("baseline_error", "return 1 - valid_labels.count(train_labels[0])/len(valid_labels)", "the first label that came"),
    ("baseline_error", f"{GUESS}return f'{{wrong/len(valid_labels):.1%}}'", "wanted a number, got `'83.3%'`"),
    ("baseline_error", "train_labels.sort(); return 0.5", "`train_labels` was changed"),
    ("baseline_error", "return 5/6", "the answer to an earlier question"),
    ("label_from_name", f"{MATCH}return kind, found[1]", "The underscores are still there"),
    ("label_from_name", f"{MATCH}return kind, f'{{found[1]}} {{found[2]}}'.replace('_', ' ')",
     "belongs to the picture"),
    ("label_from_name", f"{MATCH}return {{'cat': 'dog', 'dog': 'cat'}}[kind], found[1].replace('_', ' ')",
     "The kind is turned round"),
    ("label_from_name", f"{MATCH}return found[1].replace('_', ' '), kind", "the opposite order"),
    ("label_from_name", f"{MATCH}return kind, found[1].replace('_', ' ').lower()", "lost its upper-case letters"),
    ("label_from_name", f"{MATCH}return kind", "wanted a kind and a breed, got `'cat'`"),
    ("label_from_name", f"{MATCH}return kind, found", "wanted two words"),
    ("label_from_name",
     MATCH.replace("ValueError(name)", "ValueError('a bad name')") + "return kind, found[1].replace('_', ' ')",
     "does not name the file. It says: a bad name"),
    ("label_from_name",
     MATCH.replace("if not found: raise ValueError(name)", "") + "return kind, found[1].replace('_', ' ')",
     "a `TypeError` came"),
    ("into_range", f"{SHARE}return share", "It runs from 0 to 1"),
    ("into_range", f"{SHARE}return share*(high - low)", "begins at 0"),
    ("into_range", f"{SHARE}return low + share", "is 1 long"),
    ("into_range", f"{SHARE}return high - share*(high - low)", "turned round"),
    ("into_range", "return low + (1 + torch.tanh(acts))/2*(high - low)", "twice as steep"),
    ("into_range", f"{SHARE}return low + share.detach()*(high - low)", "its gradient is lost"),
    ("into_range", "from fastai.layers import sigmoid_range; return sigmoid_range(acts, low, high)",
     "`sigmoid_range` does the whole exercise"),
    ("keep_if_better", f"{SEARCH}if reached >= best: {KEEP}", "makes no difference was kept"),
    ("keep_if_better",
     f"{SEARCH}if reached > last: weights = tried\n        last = reached\n    return weights, performance(weights)",
     "the one before it"),
    ("keep_if_better", f"{SEARCH}weights = tried\n    return weights, performance(weights)", "Every change was kept"),
    ("keep_if_better", f"{SEARCH}if reached < best: {KEEP}", "the higher the performance, the better"),
    ("keep_if_better", f"{SEARCH}if reached > best: {KEEP}".replace("return weights, best", "return weights"),
     "wanted the weights and their"),
    ("keep_if_better", f"{SEARCH}if reached > best: {KEEP}".replace("return weights, best", "return weights, first"),
     "at the start"),
    ("keep_if_better",
     f"{SEARCH}if reached > best: {KEEP}".replace("return weights, best", "return weights, str(best)"),
     "wanted a number"),
    ("gain_by_group", f"{TABLE}return table.groupby('group')['bought'].mean().to_dict()", "shown or not"),
    ("gain_by_group", f"{TABLE}return (rates[False] - rates[True]).to_dict()", "The sign is turned"),
    ("gain_by_group", f"{TABLE}return (rates[True]/rates[False]).to_dict()", "That is a ratio"),
    ("gain_by_group", f"{TABLE}return table[table.bought].groupby('group')['shown'].mean().to_dict()",
     "how many of the buyers"),
    ("gain_by_group", f"{TABLE}return rates[True] - rates[False]", "wanted a dictionary"),
    ("gain_by_group", f"{TABLE}return dict(enumerate(rates[True] - rates[False]))",
     "wanted the groups `['new', 'old']` as keys"),
    ("gain_by_group", f"{TABLE}return {{group: 'more' for group in groups}}", "ValueError: could not convert"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: return keep, epoch\n    return keep, len(valid_losses) - 1",
     "Epochs were counted from 0"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: return keep, epoch + 1\n    return keep, len(valid_losses)",
     "The epoch to keep was counted"),
    ("stop_epoch", f"{STOP}if epoch - keep > patience: break\n    return keep + 1, epoch + 1", "one epoch too late"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience - 1: break\n    return keep + 1, epoch + 1",
     "one epoch too early"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: break\n    return keep + 1, len(valid_losses)",
     "It never stops"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: break\n    return epoch + 1, epoch + 1",
     "the last epoch twice"),
    ("stop_epoch", STOP.replace("<", "<=") + "if epoch - keep == patience: break\n    return keep + 1, epoch + 1",
     "as good as the best"),
    ("stop_epoch",
     STOP.replace("valid_losses",
                  "train_losses") + "if epoch - keep == patience: break\n    return keep + 1, epoch + 1",
     "decided by the training loss"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: break\n    return keep + 1", "wanted two numbers"),
    ("split_by_group", f"{DRAW}return valid, train", "the parts are swapped"),
    ("split_by_group", f"{DRAW}return train[1:], valid", "is in neither part"),
    ("split_by_group", f"{DRAW}return train + valid[:1], valid", "comes more than once"),
    ("split_by_group", f"{DRAW}return [i + 1 for i in train], [i + 1 for i in valid]", "count from 0"),
    ("split_by_group", f"{DRAW}return valid", "wanted two lists"),
    ("split_by_group", f"{DRAW}return [groups[i] for i in train], aside", "wanted the numbers of items"),
    ("split_by_group", DRAW.replace("Random(seed)", "Random(1)") + "return train, valid", "`seed` plays no part"),
    ("split_by_group", "from sklearn.model_selection import GroupShuffleSplit",
     "`GroupShuffleSplit` does the whole exercise"),
    ("leaked", f"{BOTH}return same.any(2).any(1)", "A single pixel that agrees"),
    ("leaked", f"{BOTH}return ~same.all(2).any(1)", "turned round"),
    ("leaked", f"{BOTH}return same.all(2).any(0)", "wanted shape `[9]`, got `[18]`"),
    ("leaked", f"{BOTH}return same.all(2).any(1).float()", "wanted numbers of type `torch.bool`"),
    ("leaked", f"{BOTH}return same.all(2).any(1).tolist()", "got `list`"),
    ("leaked", BOTH.replace("[train,", "[train, train.flip(1),") + "return same.all(2).any(1)",
     "only left and right may be swapped"),
    ("leaked", BOTH.replace("[train,", "[train, train.flip(1, 2),") + "return same.all(2).any(1)", "half a circle"),
    ("leaked", "shades = [pictures.flatten(1).sort().values for pictures in (valid, train)]\n    "
               "return (shades[0][:, None] == shades[1]).all(2).any(1)", "the same shades"),
    ("leaked", f"{BOTH}train += 1; return same.all(2).any(1)", "`train` was changed"),
    ("loudness", f"{PIECES}return torch.fft.fft(pieces).abs().T", "The upper half"),
    ("loudness", f"{PIECES}return torch.fft.rfft(pieces).abs().T**2", "Those are squares"),
    ("loudness", f"{PIECES}return torch.fft.rfft(pieces).abs().T.flip(0)", "The highest pitch is in row 0"),
    ("loudness", f"{PIECES}return torch.fft.rfft(pieces, norm='forward').abs().T", "divided by the number of samples"),
    ("loudness", f"{PIECES}return 20*torch.fft.rfft(pieces).abs().T.clamp(min=1e-3).log10()", "into decibels"),
    ("loudness", f"{PIECES}return torch.fft.rfft(pieces).real.T", "Only the real part"),
    ("loudness", "return torch.fft.rfft(sound.unfold(0, window, window//2)).abs().T",
     "wanted shape `[9, 2]`, got `[9, 4]`"),
    ("loudness", "return torch.fft.rfft(sound.reshape(-1, window)).abs().T", "is invalid for input of size 40"),
    ("loudness", "return torch.stft(sound, window, return_complex=True).abs()", "`stft` does the whole exercise"),
    ("train_table", f"{table_loaders()}return dls", "wanted a trained learner, got"),
    ("train_table", f"{table_loaders(cat_names=())}{FIT}", "`job` plays no part"),
    ("train_table", f"{table_loaders(cont_names=['age'])}{FIT}", "`hours` plays no part"),
    ("train_table", f"{table_loaders(valid_idx='list(range(200))')}{FIT}", "200 of 300 rows were put aside"),
    ("train_table", f"{table_loaders(valid_idx='[0]')}{FIT}", "1 of 300 rows were put aside"),
    ("train_table", f"table['answer'] = (table.answer == 'yes').astype(float)\n    "
                    f"{table_loaders(y_block='RegressionBlock()')}return tabular_learner(dls)", "taken for a quantity"),
    ("by_heart", f"{QUIET}learn.fit(1, 1e-5); return learn.validate(ds_idx=0)[0], learn.validate()[0]",
     "It has hardly fallen"),
    ("by_heart", f"{QUIET}learn.fit(3, 100.); return learn.validate(ds_idx=0)[0], learn.validate()[0]", "too large"),
    ("by_heart", f"{QUIET}learn.fit(80, 1e-2); return learn.validate()[0], learn.validate(ds_idx=0)[0]",
     "the loss on the validation set"),
    ("by_heart",
     f"{QUIET}before = learn.validate(ds_idx=0)[0]; learn.fit(80, 1e-2); return before, learn.validate()[0]",
     "before the training"),
    ("by_heart", f"{QUIET}learn.fit(80, 1e-2); return learn.validate(ds_idx=0)[1], learn.validate()[1]",
     "share of right answers"),
    ("by_heart", f"{QUIET}learn.fit(80, 1e-2); return learn.validate(ds_idx=0), learn.validate()", "wanted a number"),
    ("chance_of_slope", f"{SLOPES}return (slopes.abs() >= slopes[0].abs()).sum()", "how many orders do"),
    ("chance_of_slope", f"{SLOPES}return (slopes.abs() < slopes[0].abs()).float().mean()", "the share of the others"),
    ("chance_of_slope", f"{SLOPES}return (slopes <= slopes[0]).float().mean()", "with their signs"),
    ("chance_of_slope", f"{SLOPES}return (slopes[1:].abs() >= slopes[0].abs()).float().mean()", "taken out altogether"),
    ("chance_of_slope", f"{SLOPES}return slopes.abs() >= slopes[0].abs()", "wanted a number"),
    ("chance_of_slope", "from scipy.stats import linregress\n    return linregress(x, y).pvalue", "each counts once"),
    ("chance_of_slope", "from scipy.stats import permutation_test", "`permutation_test` does the whole exercise"),
]

# Other right ways, which a fair check accepts
OTHERS = [
    ("baseline_error",
     "guess = pd.Series(train_labels).mode()[0]\n    return (pd.Series(valid_labels) != guess).mean()"),
    ("baseline_error", "guess = pd.Series(train_labels).value_counts().index[0]\n"
                       "    return torch.tensor([label != guess for label in valid_labels]).float().mean()"),
    ("label_from_name", f"{MATCH}return [kind, found[1].replace('_', ' ')]"),
    ("label_from_name", "from pathlib import Path\n    *words, number = Path(name).stem.split('_')\n"
                        "    fine = words and number.isdecimal() and all(word.isalpha() and word.isascii() for word "
                        "in words)\n"
                        "    if not fine or not name.endswith('.jpg'): raise ValueError(f'what is {name}?')\n"
                        "    return 'cat' if words[0][0].isupper() else 'dog', ' '.join(words)"),
    ("into_range", "return low + (high - low)/(1 + torch.exp(-acts))"),
    ("into_range", "return low + (torch.tanh(acts/2) + 1)*(high - low)/2"),
    ("train_table", f"{table_loaders(valid_idx='list(range(240, 300))')}{FIT.replace('20, 1e-2', '25')}"),
    ("by_heart", f"from fastai.basics import SGD\n    learn.opt_func = SGD; learn.opt = None\n    "
                 f"{QUIET}learn.fit(150, 0.5)\n    {QUIET}return tuple(learn.validate(ds_idx=i)[0] for i in (0, 1))"),
    ("keep_if_better", f"{SEARCH}if reached > best: {KEEP}"),
    ("keep_if_better", "for change in changes: weights = max(weights, weights + change, key=performance)\n"
                       "    return weights.clone(), torch.tensor(performance(weights))"),
    ("gain_by_group", f"{TABLE}return (rates[True] - rates[False]).to_dict()"),
    ("gain_by_group",
     "gains = {}\n    for group in set(groups):\n        seen = [b for g, s, b in zip(groups, shown, bought) if g == "
     "group and s]\n"
                      "        unseen = [b for g, s, b in zip(groups, shown, bought) if g == group and not s]\n"
                      "        gains[group] = torch.tensor(sum(seen)/len(seen) - sum(unseen)/len(unseen))\n    return "
                      "gains"),
    ("stop_epoch", f"{STOP}if epoch - keep == patience: break\n    return keep + 1, epoch + 1"),
    ("stop_epoch",
     "for last in range(1, len(valid_losses) + 1):\n        keep = int(np.argmin(valid_losses[:last])) + 1\n"
                   "        if last - keep >= patience: break\n    return [keep, torch.tensor(last)]"),
    ("split_by_group", "names, rng = np.unique(groups), np.random.default_rng(seed)\n"
                       "    aside = np.isin(groups, rng.choice(names, round(share*len(names)), replace=False))\n"
                       "    return np.flatnonzero(~aside), np.flatnonzero(aside)"),
    ("split_by_group", f"{DRAW}return torch.tensor(train), torch.tensor(valid)"),
    ("leaked",
     "return torch.tensor([any(torch.equal(a, b) or torch.equal(a.flip(1), b) for a in train) for b in valid])"),
    ("leaked", "seen = {picture.numpy().tobytes() for picture in torch.cat([train, train.flip(2)])}\n"
               "    return torch.tensor([picture.numpy().tobytes() in seen for picture in valid])"),
    ("loudness", f"{PIECES}return torch.stack([torch.fft.rfft(piece).abs() for piece in pieces], 1)"),
    ("loudness", f"{PIECES}return torch.from_numpy(np.abs(np.fft.rfft(pieces.numpy()))).float().T"),
    ("chance_of_slope", f"{SLOPES}return (slopes.abs() >= slopes[0].abs() - 1e-6).float().mean()"),
    ("chance_of_slope", "found = [abs(np.corrcoef(order, y)[0, 1]) for order in itertools.permutations(x.tolist())]\n"
                        "    return np.mean(np.array(found) >= found[0] - 1e-9)"),
]
