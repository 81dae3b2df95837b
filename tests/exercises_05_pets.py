"The exercises of lesson 05: what each mistake is told, further mistakes, and other right answers"
import re

import torch
import torch.nn.functional as F
from torch import nn

# What a learner's code may use
NAMES = dict(torch=torch, F=F, nn=nn, re=re)

# What each mistake on the page is told
CAUSES = {
    "animal_and_breed-first": "ends at the first underscore", "animal_and_breed-upper": "The animal is the wrong one",
    "animal_and_breed-strip": "take away single letters",
    "cross_entropy-textbook": "infinity divided by infinity", "cross_entropy-global": "of 0/0",
    "cross_entropy-axis": "The sum under the fraction runs over the rows",
    "freeze_all_but_last-buffers": "`1.running_mean` still learns", "freeze_all_but_last-eval": "until somebody called",
    "freeze_all_but_last-nested": "`0.1.running_mean` still learns",
    "discriminative_step-even": "the factors should be", "discriminative_step-counted": "Layers without weights",
    "discriminative_step-one": "the rates are right",
    "linear_head-shape": "the weights: wanted shape `[64, 3]`, got `[3, 64]`",
    "linear_head-still": "Does every step change the weights",
    "linear_head-normalised": "features that were normalised",
    "accumulate-graphs": "The graph of the batch before", "accumulate-shares": "Every batch counts the same",
    "accumulate-steps": "Every batch made a step of its own",
}

BREED = "breed = name.rpartition('_')[0].replace('_', ' '); "
ANIMAL = "'cat' if name[0].isupper() else 'dog'"
LOGS = "top = acts.max(1, keepdim=True).values; logs = acts - top - (acts - top).exp().sum(1, keepdim=True).log()\n    "
TRUE = "logs[range(len(targs)), targs]"
FREEZE = "model[:-1].requires_grad_(False)\n    "
HOLD = "for part in model[:-1].modules():\n        " \
       "if isinstance(part, nn.modules.batchnorm._BatchNorm): part.momentum = 0.\n    "
COUNT = "return sum(p.numel() for p in model[-1].parameters())"
LAYERS = "layers = [layer for layer in model if list(layer.parameters())]; n = len(layers)\n    " \
         "rates = [low*(high/low)**(i/(n-1)) for i in range(n)] if n > 1 else [high]\n    "
MOVE = "for layer, rate in zip(layers, rates):\n        for p in layer.parameters():\n            " \
       "if p.grad is not None: p.data -= rate*p.grad\n    "
TRAIN = "head = nn.Linear(feats.shape[1], n_out); optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)\n    " \
        "for _ in range(100):\n        F.cross_entropy(head(feats), targs).backward(); optimizer.step(); " \
        "optimizer.zero_grad()\n    "
SIZES = "n = sum(len(xb) for xb, _ in batches); total = 0.; model.zero_grad()\n    "
BATCH = "for xb, yb in batches:\n        loss = loss_fn(model(xb), yb)*len(xb)/n; loss.backward(); " \
        "total += loss.item()\n    "
STEP = "for p in model.parameters(): p.data -= lr*p.grad\n    "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("animal_and_breed", f"return {ANIMAL}, name.rpartition('_')[0]", "underscores are still there"),
    ("animal_and_breed", f"return {ANIMAL}, name[:-4].replace('_', ' ')", "The number is that of the photograph"),
    ("animal_and_breed", f"return {ANIMAL}, name.replace('_', ' ')", "The end of the name is still there"),
    ("animal_and_breed", f"{BREED}return breed, {ANIMAL}", "in the opposite order"),
    ("animal_and_breed", f"{BREED}return {ANIMAL}, breed.lower()", "lost its capital letters"),
    ("animal_and_breed", f"{BREED}return 'dog' if name[0].isupper() else 'cat', breed", "The animal is the wrong one"),
    ("animal_and_breed", f"{BREED}return breed", "wanted an animal and a breed"),
    ("animal_and_breed", "return ('dog', re.match(r'([a-z_]+)_', name)[1].replace('_', ' '))", "TypeError"),
    ("cross_entropy", f"{LOGS}return {TRUE}.mean()", "The sign is wrong"),
    ("cross_entropy", f"{LOGS}return -{TRUE}", "wanted shape `[]`, got `[2]`"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.sum()", "the sum over the rows"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.exp().mean()", "the logarithm is missing"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.exp().mean().log()", "before the logarithm"),
    ("cross_entropy", f"{LOGS}return -({TRUE}/torch.tensor(2.).log()).mean()", "has base 2"),
    ("cross_entropy", f"{LOGS}return -logs.mean()", "the mean over all kinds"),
    ("cross_entropy", f"{LOGS}return -logs.max(1).values.mean()", "The largest was taken"),
    ("cross_entropy", "return -acts[range(len(targs)), targs].mean()", "Only the activation of the truth plays a part"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.mean().item()", "got `float`"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.detach().mean()", "its gradient is lost"),
    ("cross_entropy", "return -acts.softmax(1)[range(len(targs)), targs].log().mean()", "was rounded to 0"),
    ("cross_entropy", "return F.cross_entropy(acts, targs)", "`cross_entropy` does the whole exercise"),
    ("cross_entropy", "return F.nll_loss(acts.log_softmax(1), targs)", "does the whole exercise"),
    ("freeze_all_but_last", f"{HOLD}{COUNT}", "`0.weight` can still be trained"),
    ("freeze_all_but_last", f"model.requires_grad_(False)\n    {HOLD}{COUNT}", "belongs to the last layer"),
    ("freeze_all_but_last", f"for layer in model[:-1]:\n        if isinstance(layer, nn.Linear): "
                            f"layer.requires_grad_(False)\n    {HOLD}{COUNT}", "`1.weight` can still be trained"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD}return len([p for p in model.parameters() if p.requires_grad])",
     "how many tensors"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD}return model[-1].weight.numel()", "The biases were not counted"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD}return sum(p.numel() for p in model.parameters())", "all weights"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD}return sum(p.numel() for p in model[:-1].parameters())", "frozen ones"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD.replace('part.momentum = 0.', 'part.reset_running_stats()')}{COUNT}",
     "still learns"),
    ("freeze_all_but_last",
     f"{FREEZE}{HOLD.replace('part.momentum = 0.', 'part.running_mean = part.running_var = None')}{COUNT}", "is gone"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD.replace('part.momentum', 'part.weight.data *= 0; part.momentum')}{COUNT}",
     "predictions in evaluation mode"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD.replace('part.momentum = 0.', 'part.momentum = None')}{COUNT}",
     "still learns"),
    ("discriminative_step", f"{LAYERS}rates = rates[::-1]\n    {MOVE}return rates", "The first layer has the highest"),
    ("discriminative_step", f"{LAYERS}rates = [high]*n\n    {MOVE}return rates", "the rate of the last layer"),
    ("discriminative_step", f"{LAYERS}rates = [low]*n\n    {MOVE}return rates", "the rate of the first layer"),
    ("discriminative_step", f"{LAYERS}rates = [low*(high/low)**(i/n) for i in range(n)]\n    {MOVE}return rates",
     "one layer too many"),
    ("discriminative_step", f"{LAYERS}rates = [high/10]*(n-1) + [high]\n    {MOVE}return rates",
     "where `slice` has one number"),
    ("discriminative_step", f"{LAYERS}{MOVE.replace('-=', '+=')}return rates", "It went uphill"),
    ("discriminative_step", f"{LAYERS}return rates", "is as it was"),
    ("discriminative_step", f"{LAYERS}{MOVE.replace('p.data -= rate*p.grad', 'p = p - rate*p.grad')}return rates",
     "is as it was"),
    ("discriminative_step", f"{LAYERS}{MOVE.replace('p.data -=', 'p -=')}return rates", "in-place operation"),
    ("discriminative_step", f"{LAYERS}{MOVE.replace('if p.grad is not None: ', '')}return rates", "NoneType"),
    ("discriminative_step", f"{LAYERS.partition(' if n > 1')[0]}\n    {MOVE}return rates", "ZeroDivisionError"),
    ("discriminative_step", f"{LAYERS}{MOVE}return rates[-1]", "a number for each layer with weights"),
    ("discriminative_step", f"{LAYERS}{MOVE}return [rate for rate in rates for _ in range(2)]", "wanted shape `[3]`"),
    ("discriminative_step", "torch.optim.SGD(model.parameters(), lr=high).step(); return [high]", "does the whole"),
    ("linear_head", "return torch.zeros(feats.shape[1], n_out), torch.zeros(n_out)", "It says the same for every"),
    ("linear_head", f"{TRAIN}return head.bias, head.weight.T", "the weights: wanted shape"),
    ("linear_head", f"{TRAIN}return head.weight.T, head.bias[None]", "the biases: wanted shape `[3]`, got `[1, 3]`"),
    ("linear_head", f"{TRAIN}return head.weight.T", "wanted weights and biases"),
    ("linear_head", f"{TRAIN}return -head.weight.T, -head.bias", "With all signs turned"),
    ("linear_head", f"{TRAIN}return head.weight.T, 1e4*torch.eye(n_out)[0]", "Without the biases it would be right"),
    ("linear_head", f"{TRAIN}return head.weight.T.roll(1, 1), head.bias.roll(1)", "Guessing gives 67%"),
    ("linear_head", f"{TRAIN}return head.weight.T*torch.inf, head.bias", "are not finite"),
    ("linear_head", f"{TRAIN}return head.weight.T.detach().numpy(), head.bias.detach().numpy()", "got `ndarray`"),
    ("linear_head", f"feats /= feats.std(0)\n    {TRAIN}return head.weight.T, head.bias", "`feats` was changed"),
    ("linear_head", "from sklearn.linear_model import LogisticRegression\n    "
                    "model = LogisticRegression().fit(feats, targs)\n    "
                    "return torch.tensor(model.coef_.T).float(), torch.tensor(model.intercept_).float()",
     "does the whole exercise"),
    ("accumulate", f"{SIZES}{BATCH.replace('*len(xb)/n', '')}{STEP}return total", "means of the batches were added"),
    ("accumulate", f"{SIZES}{BATCH.replace('*len(xb)/n', '*len(xb)')}{STEP}return total", "the sum over all items"),
    ("accumulate", f"{SIZES}{BATCH.replace('*len(xb)/n', '/n')}{STEP}return total", "had been divided already"),
    ("accumulate", f"{SIZES}{BATCH.replace('loss =', 'model.zero_grad(); loss =').replace('*len(xb)/n', '')}{STEP}"
                   "return total", "Only the last batch is in it. What"),
    ("accumulate", f"{SIZES}{BATCH.replace('loss =', 'model.zero_grad(); loss =')}{STEP}return total",
     "it has its share of it"),
    ("accumulate", f"{SIZES}{BATCH}{STEP.replace('-=', '+=')}return total", "It went uphill"),
    ("accumulate", f"{SIZES}{BATCH}{STEP.replace('lr*', '')}return total", "The learning rate is not in it"),
    ("accumulate", f"{SIZES.replace('model.zero_grad()', 'pass')}{BATCH}{STEP}return total", "of the call before"),
    ("accumulate", f"{SIZES}{BATCH}return total", "is as it was"),
    ("accumulate", f"{SIZES}{BATCH}{STEP.replace('p.data -= ', 'p -= ')}return total", "in-place operation"),
    ("accumulate", f"{SIZES}{BATCH}{STEP}", "nothing came back"),
    ("accumulate", f"{SIZES}{BATCH}{STEP}return loss", "came back with its graph"),
    ("accumulate", f"{SIZES}{BATCH}{STEP}with torch.no_grad(): return sum(loss_fn(model(xb), yb)*len(xb)/n "
                   "for xb, yb in batches)", "computed after the step"),
    ("accumulate", f"{SIZES}losses = []\n    {BATCH.replace('total', 'losses.append(loss.item()*n/len(xb)); total')}"
                   f"{STEP}return sum(losses)/len(batches)", "the mean over the batches"),
    ("accumulate", f"{SIZES}{BATCH}{STEP}return total*n", "That is the sum over all items"),
    ("accumulate", f"{SIZES}{BATCH}{STEP}return loss.item()*n/len(xb)", "the loss of the last batch"),
    ("accumulate", "xs, ys = map(torch.cat, zip(*batches)); model.zero_grad()\n    "
                   f"loss = loss_fn(model(xs), ys); loss.backward()\n    {STEP}return loss.item()",
     "Several batches went through the model as one"),
]

# Other right ways, which a fair check accepts
OTHERS = [
    ("animal_and_breed", "words = re.fullmatch(r'(.+)_\\d+\\.jpg', name)[1].split('_')\n    "
                         "return ['dog' if words[0].islower() else 'cat', ' '.join(words)]"),
    ("animal_and_breed", "*words, number = name.split('_')\n    "
                         "return ('cat', 'dog')[name[0].islower()], ' '.join(words)"),
    ("cross_entropy", f"{LOGS}return -{TRUE}.mean()"),
    ("cross_entropy", "acts = acts - acts.max(1, keepdim=True).values.detach()\n    "
                      "return sum(row.exp().sum().log() - row[targ] for row, targ in zip(acts, targs))/len(targs)"),
    ("cross_entropy", "true = acts.gather(1, targs[:, None]); gaps = acts - true; top = gaps.amax(1)\n    "
                      "return (top + (gaps - top[:, None]).exp().sum(1).log()).mean()"),
    ("freeze_all_but_last", f"{FREEZE}{HOLD.replace('part.momentum = 0.', 'part.track_running_stats = False')}{COUNT}"),
    ("freeze_all_but_last",
     f"{FREEZE}{HOLD.replace('part.momentum = 0.', 'part.eval(); part.train = lambda mode=True, part=part: part')}"
     "return torch.tensor(sum(p.numel() for p in model.parameters() if p.requires_grad))"),
    ("discriminative_step", f"{LAYERS}for layer, rate in zip(layers, rates):\n        for p in layer.parameters():\n"
                            "            with torch.no_grad(): p.sub_(rate*(0 if p.grad is None else p.grad))\n    "
                            "return torch.tensor(rates)"),
    ("discriminative_step", "layers = [m for m in model.children() if list(m.parameters())]; rate = high\n    "
                            "factor = (high/low)**(1/max(1, len(layers)-1)); rates = []\n    "
                            "for layer in reversed(layers):\n        rates.insert(0, rate)\n        "
                            "for p in layer.parameters():\n            "
                            "if p.grad is not None: p.data.add_(p.grad, alpha=-rate)\n        "
                            "rate /= factor\n    return tuple(rates)"),
    ("linear_head", "weights = torch.zeros(feats.shape[1], n_out, requires_grad=True)\n    "
                    "biases = torch.zeros(n_out, requires_grad=True)\n    "
                    "for _ in range(400):\n        loss = F.cross_entropy(feats@weights + biases, targs)\n        "
                    "slopes = torch.autograd.grad(loss, (weights, biases))\n        "
                    "for p, slope in zip((weights, biases), slopes): p.data -= .01*slope\n    return weights, biases"),
    ("linear_head", "ones = torch.cat([feats, torch.ones(len(feats), 1)], 1); square = ones.T@ones\n    "
                    "solved = torch.linalg.solve(square + .1*torch.eye(len(square)), "
                    "ones.T@F.one_hot(targs, n_out).float())\n    return [solved[:-1], solved[-1]]"),
    ("accumulate", f"{SIZES}for xb, yb in batches:\n        loss = loss_fn(model(xb), yb); loss.backward(gradient="
                   "torch.tensor(len(xb)/n))\n        total += loss.detach()*len(xb)\n    "
                   "torch.optim.SGD(model.parameters(), lr=lr).step()\n    return total/n"),
    ("accumulate", f"{SIZES}slopes = [torch.zeros_like(p) for p in model.parameters()]\n    for xb, yb in batches:\n"
                   "        loss = loss_fn(model(xb), yb); total += loss.item()*len(xb)\n        "
                   "for slope, new in zip(slopes, torch.autograd.grad(loss, list(model.parameters()))): "
                   "slope += new*len(xb)\n    "
                   "for p, slope in zip(model.parameters(), slopes): p.data -= lr*slope/n\n    return total/n"),
    ("accumulate", f"{SIZES.replace('model.zero_grad()', 'pass')}{BATCH}{STEP}model.zero_grad(); return total"),
]
