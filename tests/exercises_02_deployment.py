"The exercises of lesson 02: what each mistake is told, further mistakes, and other right answers"
import hashlib
import math
import random
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fastai.vision.all import (
    CategoryBlock, DataBlock, ImageBlock, RandomSplitter, Resize, get_image_files, parent_label)
from torch import nn

# What a learner's code may use
NAMES = dict(torch=torch, F=F, nn=nn, math=math, np=np, random=random, hashlib=hashlib, statistics=statistics,
             Path=Path, CategoryBlock=CategoryBlock, DataBlock=DataBlock, ImageBlock=ImageBlock,
             RandomSplitter=RandomSplitter, Resize=Resize,
             get_image_files=get_image_files, parent_label=parent_label)

# What each mistake on the page is told
CAUSES = {
    "new_place-corner": "in the corner instead of the middle", "new_place-pad": "after a pad",
    "new_place-pixels": "by the pixels of the small",
    "random_box-side": "Sides of half the length", "random_box-beyond": "reaches beyond the picture",
    "random_box-seed": "the same seed gave another",
    "top_losses-largest": "the class that the model is surest of", "top_losses-smallest": "Those are the smallest",
    "top_losses-softmax": "took a softmax once more",
    "merge_views-last": "Only the last view is left", "merge_views-back": "`None` was passed over",
    "merge_views-name": "Names without their folder",
    "compare_splits-medians": "difference of the two medians", "compare_splits-mean": "That is the mean",
    "compare_splits-equal": "in which nothing changed was counted",
    "unsafe_files-hash": "loading it runs what is in it",
    "unsafe_files-flat": "`extra` was named. Files are named by their path",
    "unsafe_files-missing": "announced and is not there",
    "ranger_block-kinds": "tells the three kinds apart", "ranger_block-crop": "That is a crop",
    "ranger_block-seed": "the same `seed` gave another split",
    "takes_pixels-bias": "what the mean adds to the bias is not", "takes_pixels-place": "`layer` itself was changed",
    "ridge_head-alpha": "plain least squares", "ridge_head-diagonal": "on the diagonal only",
    "ridge_head-line": "wanted shape `[2, 2]`, got `[2]`",
    "workers_needed-round": "a fraction is rounded up", "workers_needed-rest": "busy all the time",
    "workers_needed-more": "One too many",
    "best_action-likely": "Only the most likely class", "best_action-class": "That is the most likely class",
    "best_action-turned": "a row is a class, a column an action",
    "domain_scores-farthest": "the farthest class", "domain_scores-spread": "The spread is not in it",
    "domain_scores-early": "near in all of them",
}

FIT = "shown = size if method == 'squish' else [(min if method == 'crop' else max)(size)]*2\n    " \
      "left, top = (size[0]-shown[0])/2, (size[1]-shown[1])/2\n    " \
      "across, down = (x-left)/shown[0]*side, (y-top)/shown[1]*side\n    "
BOX = "side = rng.uniform(min_scale, 1)**.5; w, h = int(side*size[0])+1, int(side*size[1])+1\n    " \
      "w, h = min(w, size[0]), min(h, size[1]); x, y = rng.randint(0, size[0]-w), rng.randint(0, size[1]-h)\n    "
LOSS = "losses = -probabilities[range(len(targets)), targets].log()\n    "
MERGE = "marks = {}\n    for view in views: marks.update(view)\n    "
FALLS = "falls = np.array(before) - np.array(after)\n    "
PICKLE = "there = {p.relative_to(folder).as_posix(): p for p in folder.rglob('*') if p.is_file()}\n    " \
         "sha = {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in there.items()}\n    " \
         "is_pickle = lambda name: Path(name).suffix.lower() in ('.pkl', '.pickle', '.pt', '.pth')\n    "
BLOCK = "word = lambda file: 'fine' if file.parent.name == 'teddy' else 'ranger'\n    " \
        "parts = dict(blocks=(ImageBlock, CategoryBlock), get_items=get_image_files, get_y=word, " \
        "splitter=RandomSplitter(valid_pct, seed=seed), item_tfms=Resize(size, 'squish'))\n    "
FOLD = "new = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride)\n    " \
       "w, m, s = layer.weight.data, mean[:, None, None], std[:, None, None]\n    " \
       "old = torch.zeros(len(w)) if layer.bias is None else layer.bias.data\n    "
RIDGE = "Y = F.one_hot(labels, classes).float(); A = features.T@features; I = torch.eye(len(A))\n    "
WORK = "work = per_second*milliseconds/1000\n    "
EXPECTED = "expected = torch.einsum('nc,ca->na', probabilities, costs)\n    "
STEPS = "steps = (features[:, None] - means)/scale\n    "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("new_place", f"{FIT}return down, across", "Across and down are swapped"),
    ("new_place", f"size = size[::-1]\n    {FIT}return across, down", "Width and height of the picture are swapped"),
    ("new_place", f"method = 'squish'\n    {FIT}return across, down", "after a squish"),
    ("new_place", f"method = 'crop' if method == 'squish' else method\n    {FIT}return across, down", "after a crop"),
    ("new_place", FIT.replace("x-left", "x+left").replace("y-top", "y+top") + "return across, down",
     "in the wrong direction"),
    ("new_place", f"{FIT}return round(across), round(down)", "goes to `[30, 30]`".replace("`", "")),
    ("new_place", f"{FIT}return across", "wanted two numbers, across and down"),
    ("new_place", f"{FIT}return 'left', 'top'", "could not convert string to float"),
    ("random_box", f"{BOX}return x, y, w, h", "Are the last two its width and height"),
    ("random_box", f"{BOX}return x+w, y+h, x, y", "is no box"),
    ("random_box", f"{BOX}return 0, y, size[0], y+h", "has another shape"),
    ("random_box", f"{BOX}return float(x), y, x+w, y+h", "wanted four whole numbers"),
    ("random_box", f"{BOX}return 0, 0, *size", "were all the same"),
    ("random_box", BOX.replace("rng.uniform(min_scale, 1)", "min_scale") + "return x, y, x+w, y+h",
     "Anything from 30% to 100%"),
    ("random_box", f"{BOX}x = (size[0]-w)//2; return x, y, x+w, y+h", "across, every box is in the same place"),
    ("random_box", f"{BOX}y = rng.randint(0, (size[1]-h)//2); return x, y, x+w, y+h",
     "down, the boxes do not come to both ends"),
    ("random_box",
     BOX.replace("x, y =",
                 "part = rng.random(); x, y = round(part*(size[0]-w)), round(part*(size[1]-h)) #") + "return x, y, "
                                                            "x+w, y+h", "diagonal"),
    ("random_box", f"rng = random.Random(1)\n    {BOX}return x, y, x+w, y+h", "were all the same"),
    ("top_losses", f"{LOSS}losses = -losses\n    return losses.topk(n, largest=False)", "The minus is missing"),
    ("top_losses", f"{LOSS}order = losses.topk(n).indices.sort().values; return losses[order], order",
     "in the order of the items"),
    ("top_losses", "return (1 - probabilities[range(len(targets)), targets]).topk(n)",
     "their logarithms were not taken"),
    ("top_losses", "return (-probabilities[range(len(targets)), targets].log10()).topk(n)", "to base 10"),
    ("top_losses", f"{LOSS}return losses.sort(descending=True)", "All losses came back"),
    ("top_losses", f"{LOSS}return losses.topk(n).values", "wanted the losses and their positions"),
    ("top_losses", f"{LOSS}return losses.topk(n).values, torch.arange(n)", "the positions of the items"),
    ("merge_views",
     "marks = {}\n    for view in views: marks = view | marks\n    return {p: m for p, m in marks.items() if m}",
     "should be the last"),
    ("merge_views", f"{MERGE}return marks", "`None` is no decision"),
    ("merge_views", f"{MERGE}return list(marks)", "wanted a dictionary"),
    ("merge_views", "for view in views: views[0].update(view)\n    return {p: m for p, m in views[0].items() if m}",
     "`views` was changed"),
    ("merge_views", f"{MERGE}return {{p: m for p, m in marks.items() if m and m != 'keep'}}",
     "In the end that is `'keep'`, and it is not in what"),
    ("merge_views",
     "marks = dict(views[0])\n    for view in views[1:]: marks.update(view)\n    return {p: m for p, m in "
     "marks.items() if m}",
     "IndexError: list index out of range"),
    ("compare_splits", f"{FALLS}return -np.median(falls), (falls > 0).sum()", "The sign is turned"),
    ("compare_splits", f"{FALLS}return torch.tensor(falls).median(), (falls > 0).sum()",
     "`torch.median` takes the lower one"),
    ("compare_splits", f"{FALLS}return np.sort(falls)[len(falls)//2], (falls > 0).sum()",
     "half way between the two in the middle."),
    ("compare_splits", f"{FALLS}return np.median(falls), (falls < 0).sum()", "how many it rose"),
    ("compare_splits", f"{FALLS}return np.median(falls), (falls > 0).mean()", "the number was asked for"),
    ("compare_splits", f"{FALLS}return falls, (falls > 0).sum()", "wanted a number"),
    ("compare_splits", f"{FALLS}return np.median(falls)", "wanted two numbers"),
    ("unsafe_files",
     f"{PICKLE}return sorted(name for name in hashes if is_pickle(name) or sha.get(name) != hashes[name])",
     "Nobody announced it"),
    ("unsafe_files",
     f"{PICKLE}return sorted(n for n in {{*sha, *hashes}} if is_pickle(n) or n not in sha or n not in hashes)",
     "does not have the hash"),
    ("unsafe_files",
     PICKLE.replace(".lower()", "") +
     "return sorted(n for n in {*sha, *hashes} if is_pickle(n) or sha.get(n) != hashes.get(n))",
     "in capital letters"),
    ("unsafe_files",
     PICKLE.replace("rglob", "glob") +
     "return sorted(n for n in {*sha, *hashes} if is_pickle(n) or sha.get(n) != hashes.get(n))",
     "`extra/README.md` was named. It is as it was announced"),
    ("unsafe_files", f"{PICKLE}return {{n for n in {{*sha, *hashes}} if is_pickle(n) or sha.get(n) != hashes.get(n)}}",
     "wanted a list of names"),
    ("unsafe_files",
     f"{PICKLE}return sorted((n for n in {{*sha, *hashes}} if is_pickle(n) or sha.get(n) != hashes.get(n)), "
     f"reverse=True)",
     "in the order of the alphabet"),
    ("unsafe_files",
     f"{PICKLE}return sorted(str(p) for n, p in there.items() if is_pickle(n) or sha[n] != hashes.get(n))",
     "by their path below the folder"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts).summary", "wanted a `DataBlock`"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(item_tfms=Resize(size, 'pad', pad_mode='zeros')))",
     "That is padding"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(item_tfms=Resize(224, 'squish')))", "not 16 by 16"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(splitter=RandomSplitter(0.1, seed=seed)))",
     "a share of 0.25 was asked for"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(splitter=RandomSplitter(valid_pct, seed=42)))",
     "every `seed` gave the same split"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(get_y=lambda f: 'fine' if 'r' in f.parent.name else "
                     "'ranger'))",
     "got the label"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(get_y=lambda f: 'ranger' if 'teddy' in str(f) else "
                     "'fine'))",
     "the two words are swapped"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(get_y=lambda f: ['no', 'yes']['teddy' in str(f)]))",
     "wanted the labels `fine` and `ranger`, got `no`, `yes`"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts | dict(get_items=lambda p: get_image_files(p)[:12]))",
     "of 18 pictures in three folders 12 are used"),
    ("takes_pixels", "return layer", "`layer` itself was changed"),
    ("takes_pixels", f"{FOLD}return new.weight", "wanted an `nn.Conv2d`"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w, old\n    return new",
     "takes normalised numbers still"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w/s, old\n    return new", "the mean is not subtracted"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w, old - (w*m).sum((1, 2, 3))\n    return new",
     "nothing is divided by the standard deviation"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w/s, old + (w*m/s).sum((1, 2, 3))\n    return new",
     "added instead of subtracted"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w*s, old - (w*m*s).sum((1, 2, 3))\n    return new",
     "multiplies by the standard deviation"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w/s, old - (w*m/s**2).sum((1, 2, 3))\n    return new",
     "divided twice"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w/s, -(w*m/s).sum((1, 2, 3))\n    return new",
     "The bias that `layer` had is lost"),
    ("takes_pixels", f"{FOLD}return nn.Conv2d(layer.in_channels, layer.out_channels, 7)", "wanted shape"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha*I, features.T@Y).T", "Rows and columns are swapped"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha*len(Y)*I, features.T@Y)",
     "multiplied by the number of pictures"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha/len(Y)*I, features.T@Y)",
     "divided by the number of pictures"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + I, features.T@Y)", "whatever `alpha` is"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha*I, features.T@(2*Y - 1))", "-1 where a class is wrong"),
    ("ridge_head", f"{RIDGE}return features.T@Y", "Nothing was solved"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha*I, features.T@Y).numpy()", "wanted a tensor"),
    ("ridge_head", f"{RIDGE}return features@torch.linalg.solve(A + alpha*I, features.T@Y)", "wanted shape"),
    ("workers_needed", f"{WORK}return work/busy", "not a whole number of workers"),
    ("workers_needed", f"{WORK}return math.floor(work/busy) or 1", "a fraction is rounded up"),
    ("workers_needed", f"{WORK}return math.ceil(work*busy)", "`busy` was multiplied"),
    ("workers_needed", f"{WORK}return math.ceil(math.ceil(work)/busy)", "rounded up before it was divided"),
    ("workers_needed", f"{WORK}return math.ceil(1000*work/busy)", "taken for seconds"),
    ("workers_needed", f"{WORK}return [math.ceil(work/busy)]", "wanted a number"),
    ("best_action", f"{EXPECTED}return expected.argmax(1)", "the highest expected cost"),
    ("best_action", "return costs.mean(0).argmin().expand(len(probabilities))", "The probabilities play no part"),
    ("best_action", "return costs.max(0).values.argmin().expand(len(probabilities))", "whose worst case"),
    ("best_action", f"{EXPECTED}return expected", "Those are the expected costs"),
    ("best_action", f"{EXPECTED}return expected.min(1).values", "Which action has them"),
    ("best_action", "return (probabilities.T@costs).argmin(1)", "cannot be multiplied (3x4 and 3x3)"),
    ("best_action", f"{EXPECTED}return expected.argmin(1).tolist()", "got `list`"),
    ("domain_scores", f"{STEPS}return steps.square().mean(2).sqrt().mean(1)", "the mean distance to all classes"),
    ("domain_scores", "return ((features[:, None]-means).square()/scale).mean(2).sqrt().amin(1)",
     "after they were squared"),
    ("domain_scores", "return ((features[:, None]-means)*scale).square().mean(2).sqrt().amin(1)",
     "multiplied by the spread"),
    ("domain_scores", f"{STEPS}return steps.norm(dim=2).amin(1)", "That is the sum over the features"),
    ("domain_scores", f"{STEPS}return steps.square().mean(2).amin(1)", "The root is missing"),
    ("domain_scores", f"{STEPS}return steps.abs().mean(2).amin(1)", "mean absolute distances"),
    ("domain_scores", f"{STEPS}return steps.square().mean(2).sqrt()", "Those are the distances to every class"),
    ("domain_scores", "return torch.cdist(features/scale, means/scale).amin(1)/len(scale)**.5",
     "`cdist` does the whole exercise"),
    ("domain_scores", "return ((features - means)/scale).square().mean(1).sqrt()", "wanted `tensor([0, 1.904])`"),
]

# Other right ways, which a fair check accepts
OTHERS = [
    ("new_place", f"{FIT}return across, down"),
    ("new_place",
     "box = np.array(size) if method == 'squish' else np.full(2, (min if method == 'crop' else max)(size))\n"
                  "    return torch.tensor(((np.array([x, y]) - (np.array(size) - box)/2)/box*side)).tolist()"),
    ("random_box", f"{BOX}return x, y, x+w, y+h"),
    ("random_box", "side = rng.uniform(min_scale**.5, 1)\n    w, h = (int(side*length) for length in size)\n"
                   "    x, y = int(rng.random()*(size[0]-w+1)), int(rng.random()*(size[1]-h+1))\n    return [x, y, "
                   "x+w, y+h]"),
    ("top_losses", f"{LOSS}return losses.topk(n)"),
    ("top_losses",
     "losses = F.cross_entropy(probabilities.log(), targets, reduction='none')\n    return [part[:n] for part in "
     "losses.sort(descending=True)]"),
    ("merge_views", f"{MERGE}return {{path: mark for path, mark in marks.items() if mark is not None}}"),
    ("merge_views", "marks = {}\n    for view in views:\n        for path, mark in view.items():\n"
                    "            marks.pop(path, None)\n            if mark: marks[path] = mark\n    return marks"),
    ("compare_splits", f"{FALLS}return np.median(falls), (falls > 0).sum()"),
    ("compare_splits",
     "falls = torch.tensor(before) - torch.tensor(after)\n    return falls.quantile(0.5), (falls > 0).sum()"),
    ("unsafe_files",
     f"{PICKLE}return sorted(n for n in {{*sha, *hashes}} if is_pickle(n) or sha.get(n) != hashes.get(n))"),
    ("unsafe_files",
     f"{PICKLE}return sorted({{n for n in sha if is_pickle(n) or sha[n] != hashes.get(n)}} | "
     "(set(hashes) - set(sha)))"),
    ("ranger_block", f"{BLOCK}return DataBlock(**parts)"),
    ("ranger_block", f"{BLOCK}words = dict(black='ranger', grizzly='ranger', teddy='fine')\n    "
                     "return DataBlock(**parts | dict(get_y=lambda f: words[parent_label(f)]))"),
    ("takes_pixels", f"{FOLD}new.weight.data, new.bias.data = w/s, old - (w*m/s).sum((1, 2, 3))\n    return new"),
    ("takes_pixels", "import copy\n    new = copy.deepcopy(layer)\n    n = (1, len(mean), *layer.kernel_size)\n"
                     "    shift = F.conv2d((mean/std)[None, :, None, None].expand(n), layer.weight).flatten().data\n"
                     "    new.weight = nn.Parameter(layer.weight.detach()/std[:, None, None])\n"
                     "    new.bias = nn.Parameter((0 if layer.bias is None else layer.bias.detach()) - shift)\n"
                     "    return new"),
    ("ridge_head", f"{RIDGE}return torch.linalg.solve(A + alpha*I, features.T@Y)"),
    ("ridge_head", f"{RIDGE}more = torch.cat([features, alpha**.5*I])\n    "
                   "ys = torch.cat([Y, torch.zeros(len(A), classes)])\n"
                   "    return torch.linalg.lstsq(more, ys).solution"),
    ("workers_needed", f"{WORK}return math.ceil(work/busy)"),
    ("workers_needed",
     "workers = 1\n    while workers*busy < per_second*milliseconds/1000: workers += 1\n    return "
     "torch.tensor(workers)"),
    ("best_action", f"{EXPECTED}return expected.argmin(1)"),
    ("best_action", "return torch.stack([(row[:, None]*costs).sum(0).argmin() for row in probabilities])"),
    ("domain_scores", f"{STEPS}return steps.square().mean(2).sqrt().amin(1)"),
    ("domain_scores", "return torch.stack([min((((f - m)/scale)**2).mean()**.5 for m in means) for f in features])"),
]
