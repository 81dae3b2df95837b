"The exercises of lesson 03: what each mistake is told, further mistakes, and other right answers"
import math

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

# What a learner's code may use
NAMES = dict(torch=torch, F=F, math=math, np=np, pd=pd)

# What each mistake on the page is told
CAUSES = {
    "make_polynomial-order": "the highest power comes first", "make_polynomial-value": "a function that waits for `x`",
    "make_polynomial-shared": "made last",
    "known_mse-zeros": "filled with 0", "known_mse-counted": "count as hits",
    "known_mse-late": "zero times `nan` is `nan`",
    "numeric_gradient-side": "The nudge down is missing", "numeric_gradient-twice": "twice too large",
    "numeric_gradient-copy": "A second name for a tensor",
    "take_step-zero": "gradients of earlier steps", "take_step-new": "`params[0]` is as it was",
    "take_step-turn": "one after the other",
    "watch_descent-nan": "A comparison with `nan` is never true", "watch_descent-rise": "rise for a while",
    "watch_descent-graph": "keeps every graph",
    "add_bends-order": "leaves a single bend", "add_bends-axis": "wanted shape `[3]`, got `[2]`",
    "add_bends-heights": "after the cut",
    "vee-heights": "and the heights do not", "vee-same": "both ReLUs look to the right",
    "vee-sign": "the other side of 0",
    "matmul_sums-elementwise": "at its own place", "matmul_sums-axis": "another axis than k",
    "matmul_sums-loop": "there is a loop",
    "dummies-found": "order of the alphabet", "dummies-all": "a column for every name",
    "dummies-unknown": "`Belfast` is none of the names",
    "log_scale-one": "the logarithm of 0", "log_scale-first": "Divided by the largest first",
    "log_scale-zeros": "of 0/0",
    "join_results-name": "Joined by one key", "join_results-gaps": "5 rows have gaps",
    "join_results-one": "rows of `accuracy` alone",
    "best_models-first": "chosen first", "best_models-more": "exactly as fast", "best_models-order": "least accurate",
}

POWERS = "range(len(coefficients)-1, -1, -1)"
STEP = "loss = loss_func(*params); loss.backward()\n    for p in params: "
WATCH = "params, losses = start.clone().requires_grad_(), []\n    " \
        "for _ in range(steps + 1):\n        loss = loss_func(params); "
STOP = "\n        if not loss <= 10*losses[0]: return losses, True\n        " \
       "slope, = torch.autograd.grad(loss, params); params.data "
JOIN = "together = accuracy.merge(speed, on=['model', 'size']); "
FAST = "fast = table[table['images_per_second'] >= least_speed]; "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("make_polynomial", f"return lambda x: sum(c*x**(p+1) for c, p in zip(coefficients, {POWERS}))", "one too high"),
    ("make_polynomial", "return np.poly1d(coefficients)", "`poly1d` does the whole exercise"),
    ("make_polynomial", "a, b, c = coefficients\n    return lambda x: a*x**2 + b*x + c", "not enough values to unpack"),
    ("make_polynomial", "coefficients.reverse(); return lambda x: sum(c*x**p for p, c in enumerate(coefficients))",
     "`coefficients` was changed"),
    ("make_polynomial", "return lambda x: 0", "wanted a tensor, got `int`"),
    ("known_mse", "return ((preds-targs)**2).mean()", "a single gap spoils the mean"),
    ("known_mse", "known = ~targs.isnan(); return (preds[known]-targs[known]).abs().mean()", "mean absolute error"),
    ("known_mse", "known = ~targs.isnan(); return ((preds[known]-targs[known])**2).sum()", "That is the sum"),
    ("known_mse", "known = ~targs.isnan(); return ((preds[known]-targs[known])**2).mean().sqrt()",
     "leave the root out"),
    ("known_mse", "known = ~targs.isnan(); return ((preds[known]-targs[known])**2).mean().item()", "got `float`"),
    ("known_mse", "targs[targs.isnan()] = 0; return ((preds-targs)**2).mean()", "`targs` was changed"),
    ("known_mse", "return F.mse_loss(preds, targs)", "`mse_loss` does the whole exercise"),
    ("known_mse", "known = targs == targs; return torch.where(known, (preds-targs)**2, 0).sum()/known.sum()",
     "its gradient is not"),
    ("numeric_gradient", "nudges = by*torch.eye(len(params))\n    "
                         "return torch.stack([(loss_func(params)-loss_func(params-nudge))/by for nudge in nudges])",
                         "The nudge up is missing"),
    ("numeric_gradient", "nudges = by*torch.eye(len(params))\n    "
                         "return torch.stack([loss_func(params+nudge)-loss_func(params-nudge) for nudge in nudges])",
                         "never divided"),
    ("numeric_gradient", "nudges = by*torch.eye(len(params))\n    "
                         "return torch.stack([(loss_func(params-nudge)-loss_func(params+nudge))/(2*by) for nudge in "
                         "nudges])", "The sign is turned"),
    ("numeric_gradient", "return ((loss_func(params+by)-loss_func(params-by))/(2*by)).expand(len(params))",
     "nudged together"),
    ("numeric_gradient", "return (loss_func(params+by)-loss_func(params-by))/(2*by)", "wanted shape `[3]`, got `[]`"),
    ("numeric_gradient", "return [0., 0., 0.]", "got `list`"),
    ("numeric_gradient", "params[0] += by; return params", "`params` was changed"),
    ("numeric_gradient", "params = params.clone().requires_grad_(); loss_func(params).backward(); return params.grad",
     "does the whole exercise"),
    ("take_step", f"{STEP}p.data += lr*p.grad; p.grad = None\n    return loss.item()", "uphill"),
    ("take_step", f"{STEP}p.data -= p.grad; p.grad = None\n    return loss.item()", "learning rate is not in it"),
    ("take_step", f"{STEP}p.data -= lr*p.grad; p.grad = None\n    return loss", "came back as a tensor"),
    ("take_step", f"{STEP}p.data -= lr*p.grad; p.grad = None\n    return loss_func(*params).item()", "after the step"),
    ("take_step", f"{STEP}p -= lr*p.grad; p.grad = None\n    return loss.item()", "in-place operation"),
    ("take_step", f"{STEP}p.requires_grad_(False); p -= lr*p.grad\n    return loss.item()", "no parameter any more"),
    ("take_step", "loss = loss_func(params); return loss.item()", "missing 1 required positional argument"),
    ("watch_descent", f"{WATCH}losses.append(loss.item()){STOP}+= lr*slope\n    return losses, False", "uphill"),
    ("watch_descent", f"{WATCH}losses.append(loss.item()){STOP}-= lr*slope\n    return losses",
     "wanted a list of losses and"),
    ("watch_descent", f"{WATCH}losses.append(loss.item()){STOP}-= lr*slope\n    return losses[1:], False",
     "of the start or that of the end"),
    ("watch_descent", f"{WATCH}losses.append(loss.item()){STOP}-= lr*slope\n    return losses, True",
     "That is whether it diverged"),
    ("watch_descent",
     WATCH.replace("start.clone()", "start") + f"losses.append(loss.item()){STOP}-= lr*slope\n    return losses, False",
     "`start` was changed"),
    ("watch_descent",
     f"{WATCH}losses.append(loss.item()){STOP}-= lr*slope\n    return losses, False".replace("losses, True",
         "losses[:-1], True"),
     "belongs to the list"),
    ("watch_descent",
     WATCH + "losses.append(loss.item()); loss.backward(); params.data -= lr*params.grad\n    return losses, False",
     "gradients of earlier steps"),
    ("watch_descent",
     WATCH + "losses.append(loss.item()); slope, = torch.autograd.grad(loss, params); params.data -= lr*slope\n"
                      "    return losses, losses[-1] > 10*losses[0]", "it should have stopped. It had diverged"),
    ("add_bends", "return (x@slopes+heights).sum(1)", "A sum of lines is a line"),
    ("add_bends", "return F.relu(x@slopes).sum(1)", "The heights are missing"),
    ("add_bends", "return F.relu(x@slopes+heights).mean(1)", "That is the mean"),
    ("add_bends", "return F.relu(x@slopes+heights).sum(1, keepdim=True)", "wanted shape `[3]`, got `[3, 1]`"),
    ("add_bends", "return F.relu(x@slopes+heights)", "wanted shape `[3]`, got `[3, 2]`"),
    ("add_bends", "return F.relu(x*slopes+heights).sum(1)", "must match the size"),
    ("add_bends", "return sum(F.relu(x@slopes[:, i]+heights[i]) for i in range(len(heights)))", "there is a loop"),
    ("add_bends", "return torch.stack([F.relu(row@slopes+heights).sum() for row in x])", "there is a loop"),
    ("vee", "return [steepness, -steepness], [0., 0.]", "lowest point at 0"),
    ("vee", "return [1., -1.], [-centre, centre]", "whatever `steepness` says"),
    ("vee", "return [-steepness, -steepness], [steepness*centre, steepness*centre]", "both ReLUs look to the left"),
    ("vee", "return [steepness, 0.], [-steepness*centre, 0.]", "The left half is missing"),
    ("vee", "return [-steepness, 0.], [steepness*centre, 0.]", "The right half is missing"),
    ("vee", "return steepness, -steepness", "wanted two slopes and two heights, got"),
    ("vee", "return lambda x: steepness*abs(x-centre)", "two of each"),
    ("matmul_sums", "return a@b", "`@` does the whole exercise"),
    ("matmul_sums", "return torch.einsum('ik,kj->ij', a, b)", "`einsum` does the whole exercise"),
    ("matmul_sums", "return (b.T[:, None]*a[None]).sum(2)", "are swapped"),
    ("matmul_sums", "return (a[:, :, None]*b[None]).mean(1)", "mean along k"),
    ("matmul_sums", "return (a[:, None]*b[None]).sum(2)", "rows met rows"),
    ("matmul_sums", "return (a[:, :, None]*b[:, None]).sum(0)", "columns met columns"),
    ("matmul_sums", "return (b[:, :, None]*a[None]).sum(1)", "The matrices changed places"),
    ("matmul_sums", "return a[:, :, None]*b[None]", "wanted shape `[3, 3]`, got `[3, 3, 3]`"),
    ("dummies", "return torch.tensor([[float(word == name) for name in names[1:]] for word in words])",
     "The first name has no column"),
    ("dummies", "return torch.tensor([[word == name for name in names[:-1]] for word in words])",
     "numbers of type `torch.float32`, got `torch.bool`"),
    ("dummies", "return torch.tensor([names.index(word) for word in words]).float()",
     "wanted shape `[4, 2]`, got `[4]`"),
    ("dummies", "return torch.tensor([[float(word != name) for name in names[:-1]] for word in words])",
     "0 where it should be 1"),
    ("dummies", "return torch.tensor(pd.get_dummies(words, dtype='float32').values[:, :-1])", "order of the alphabet"),
    ("dummies", "return torch.eye(len(names))[[{n: i for i, n in enumerate(names)}[w] for w in words], :-1]",
     "a `KeyError` came"),
    ("dummies", "if set(words) - set(names): raise ValueError('bad')\n    "
                "return torch.eye(len(names))[[names.index(word) for word in words], :-1]", "does not name `Belfast`"),
    ("log_scale", "return torch.log10(values+1)", "not divided by the largest"),
    ("log_scale", "return torch.log1p(values)", "not divided by the largest"),
    ("log_scale", "return values/values.max().clamp(min=1)", "no logarithm was taken"),
    ("log_scale", "logs = (values+1).log(); return (logs-logs.min())/(logs.max()-logs.min()).clamp(min=1e-9)",
     "The smallest was moved to 0"),
    ("log_scale", "values += 1; return values.log()/values.log().max()", "`values` was changed"),
    ("log_scale", "return [math.log(value+1) for value in values]", "got `list`"),
    ("join_results", "return accuracy.merge(speed, on='size'), 5", "`model_x`"),
    ("join_results", "return pd.concat([accuracy, speed], axis=1), 5", "side by side"),
    ("join_results", "return pd.concat([accuracy, speed]), 5", "rows have gaps"),
    ("join_results", JOIN + "return together", "wanted two things"),
    ("join_results", JOIN + "return together, len(speed)-len(together)", "rows of `speed` alone"),
    ("join_results", JOIN + "return together, '5'", "got `str`"),
    ("join_results", JOIN + "return together, len(accuracy)+len(speed)-len(together)", "one row of each table"),
    ("join_results", JOIN + "return together[['model', 'top1']], 5", "lacks the column `size`"),
    ("join_results", JOIN + "accuracy['top1'] = 0; return together, 5", "`accuracy` was changed"),
    ("join_results", JOIN + "return together[:1], 5", "wanted 5 rows, got 1"),
    ("join_results", JOIN + "return together.assign(top1=together['top1'].values[::-1]), 5",
     "beside a row of another model or size"),
    ("best_models", FAST + "return fast.nlargest(n, 'images_per_second')['model'].tolist()", "Those are the fastest"),
    ("best_models", FAST + "return fast.sort_values('top1', ascending=False)['model'].tolist()",
     "`n` of them were asked for"),
    ("best_models", "return table.nlargest(n, 'top1')['model'].tolist()", "The speed plays no part"),
    ("best_models", FAST + "return fast.nlargest(n, 'top1')['model']", "got `Series`"),
    ("best_models", FAST + "return fast.nlargest(3, 'top1')['model'].tolist()", "`n` plays no part"),
    ("best_models", FAST + "return [fast['model'][fast['top1'].idxmax()]]", "wanted `['sedge', 'ivy', 'reed']`"),
    ("best_models", "table['fast'] = table['images_per_second'] >= least_speed; "
                    "return table[table['fast']].nlargest(n, 'top1')['model'].tolist()", "`table` was changed"),
]

# Other right ways, which a fair check accepts
OTHERS = [
    ("make_polynomial", f"return lambda x: sum(c*x**p for c, p in zip(coefficients, {POWERS}))"),
    ("make_polynomial",
     "from functools import partial\n    def f(numbers, x): return (torch.stack([x**p for p in "
     "reversed(range(len(numbers)))], -1)"
                        "*torch.tensor(numbers)).sum(-1)\n    return partial(f, coefficients)"),
    ("known_mse",
     "known = targs == targs\n    return torch.where(known, preds-targs.nan_to_num(), 0.).square().sum()/known.sum()"),
    ("known_mse", "return torch.stack([(p-t)**2 for p, t in zip(preds, targs) if not math.isnan(t)]).mean()"),
    ("numeric_gradient", "nudges = by*torch.eye(len(params))\n    "
                         "return torch.stack([loss_func(params+nudge)-loss_func(params-nudge) for nudge in "
                         "nudges])/(2*by)"),
    ("numeric_gradient",
     "slopes = []\n    for i in range(len(params)):\n        more, less = params.clone(), params.clone()\n"
                         "        more[i] += by; less[i] -= by\n        "
                         "slopes.append(((loss_func(more)-loss_func(less))/(2*by)).item())\n"
                         "    return torch.tensor(slopes)"),
    ("take_step",
     "loss = loss_func(*params)\n    for p, slope in zip(params, torch.autograd.grad(loss, params)): p.data -= "
     "lr*slope\n"
                  "    return float(loss.detach())"),
    ("take_step", "for p in params: p.grad = None\n    loss = loss_func(*params); loss.backward()\n"
                  "    with torch.no_grad():\n        for p in params: p.sub_(lr*p.grad)\n    return loss.item()"),
    ("watch_descent", f"{WATCH}losses.append(loss.item()){STOP}-= lr*slope\n    return losses, False"),
    ("watch_descent",
     "params, losses = start, []\n    while True:\n        params = params.detach().requires_grad_(); loss = "
     "loss_func(params)\n"
                      "        losses.append(loss.item()); loss.backward()\n"
                      "        wild = torch.tensor(not losses[-1] <= 10*losses[0])\n"
                      "        if wild or len(losses) > steps: return losses, wild\n        params = params - "
                      "lr*params.grad"),
    ("add_bends", "return F.linear(x, slopes.T, heights).clamp(min=0).sum(-1)"),
    ("add_bends", "return torch.maximum((x[:, :, None]*slopes).sum(1) + heights, torch.tensor(0.)).sum(1)"),
    ("add_bends", "lines = x@slopes + heights\n    return (lines*(lines > 0)).sum(1)"),
    ("vee", "return [-steepness, steepness], [steepness*centre, -steepness*centre]"),
    ("vee", "return torch.tensor([[1., -1.], [-centre, centre]])*steepness"),
    ("matmul_sums", "return (a[:, None]*b.T).sum(-1)"),
    ("matmul_sums", "return (a.unsqueeze(2)*b.unsqueeze(0)).sum(dim=1)"),
    ("dummies",
     "for word in words:\n        if word not in names: raise ValueError(f'{word} is unknown')\n"
     "    return F.one_hot(torch.tensor([names.index(word) for word in words]), len(names))[:, :-1].float()"),
    ("dummies",
     "return torch.eye(len(names))[[names.index(word) for word in words], :-1]"), # whose ValueError names the word
    ("dummies", "found = pd.Series(words)\n"
                "    if not found.isin(names).all(): raise ValueError(f'unknown among {words}')\n"
                "    return torch.tensor(pd.DataFrame({name: found == name for name in names[:-1]}).values).float()"),
    ("log_scale", "logs = torch.log1p(values)\n    return logs/logs.max() if logs.any() else logs"),
    ("log_scale", "return (values+1).log2()/(values.max()+1).log2().clamp(min=1e-9)"),
    ("log_scale", "return torch.nan_to_num((values+1).log10()/(values.max()+1).log10())"),
    ("join_results",
     "together = pd.merge(speed, accuracy)\n"
     "    return together, len(accuracy)-len(together) + len(speed)-len(together)"),
    ("join_results",
     "both = accuracy.merge(speed, how='outer', indicator=True)\n    paired = both['_merge'] == 'both'\n"
                     "    return both[paired], (~paired).sum()"),
    ("join_results",
     "keys = ['model', 'size']\n    together = accuracy.set_index(keys).join(speed.set_index(keys), "
     "how='inner').reset_index()\n"
                     "    return together, len(accuracy)+len(speed)-2*len(together)"),
    ("best_models", FAST + "return fast.sort_values('top1', ascending=False)['model'].head(n).tolist()"),
    ("best_models", "rows = [row for row in table.to_dict('records') if row['images_per_second'] >= least_speed]\n"
                    "    return [row['model'] for row in sorted(rows, key=lambda row: -row['top1'])][:n]"),
]
