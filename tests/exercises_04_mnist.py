"The exercises of lesson 04: what each mistake is told, further mistakes, and other right answers"
import torch
import torch.nn.functional as F

# What a learner's code may use
NAMES = dict(torch=torch, F=F, nn=torch.nn)

# What each mistake on the page is told
CAUSES = {
    "nearest-broadcast": "must match the size", "nearest-axis": "wanted shape `[40]`, got `[3]`",
    "nearest-loop": "a loop over the pictures",
    "gd_step-zero": "gradients of earlier steps", "gd_step-name": "`params` is as it was",
    "gd_step-graph": "in-place operation",
    "stable_sigmoid-textbook": "its gradient is not", "stable_sigmoid-extended": "infinity divided by infinity",
    "stable_sigmoid-sign": "a sign is turned",
    "index_batches-last": "item 6 never came", "index_batches-drawn": "more than once",
    "index_batches-seed": "in the same order",
    "Momentum-generator": "walked through once", "Momentum-average": "was made smaller",
    "Momentum-shared": "must match the size",
    "merge_linear-added": "added as it is", "merge_linear-missing": "first bias is missing",
    "merge_linear-sum": "wanted shape `[1, 2]`, got `[2, 2]`",
    "tiny_net-linear": "Every pixel is as likely", "tiny_net-large": "it has 2,012 parameters",
    "tiny_net-output": "wanted shape `[200, 2]`, got `[200, 1]`",
    "class_accuracy-count": "how many are right", "class_accuracy-axis": "must match the size",
    "class_accuracy-value": "places were meant",
    "conv2d-flipped": "turned round", "conv2d-short": "wanted shape `[2, 2]`, got `[1, 1]`",
    "conv2d-stride": "`stride` apart",
    "dropout-scale": "not made larger", "dropout-share": "80% of the activations are zero",
    "dropout-rows": "every row lost the same",
    "batch_norm-correction": "divided by n-1", "batch_norm-eps": "0/0",
    "batch_norm-axes": "Each pixel got statistics of its own",
}

FAR = "(images[:, None]-means[None])"
NET = "nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2)"
STEPS = "optimizer = torch.optim.Adam(model.parameters(), 0.03)\n    for step in range(300):\n        " \
        "F.cross_entropy(model(xs), ys).backward(); optimizer.step(); optimizer.zero_grad()\n    "
HITS = "(logits.argmax(1) == targets)"
START = "self.params, self.lr, self.momentum = list(params), lr, momentum\n        " \
        "self.velocities = [torch.zeros_like(p) for p in self.params]\n    "
MOVE = "def step(self):\n        for p, v in zip(self.params, self.velocities):\n            " \
       "if p.grad is None: continue\n            "
ZERO = "\n    def zero_grad(self):\n        for p in self.params: p.grad = None"
SLIDE = "image = F.pad(image, [padding]*4); (h, w), (r, c) = image.shape, kernel.shape\n    " \
        "down, across = range(0, h-r+1, stride), range(0, w-c+1, stride)\n    "
SUMS = "return torch.stack([(image[i:i+r, j:j+c]*kernel).sum() for i in down for j in across])" \
       ".view(len(down), len(across))"
AXES = "axes = [i for i in range(x.ndim) if i != 1]; shape = [1, -1] + [1]*(x.ndim-2); " \
       "g, b = gamma.view(shape), beta.view(shape)\n    " \
       "mean, var = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)\n    "
LOSS, CLEAN = "loss = loss_fn(params); loss.backward(); ", "params.grad = None; return loss.item()"

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("nearest", "return (images[:, None]-means[None]).abs().mean((-1, -2)).argmax(1)", "furthest away"),
    ("nearest", "return (images[:, None]-means[None]).square().mean((-1, -2)).argmin(1)", "squared difference"),
    ("nearest", "return (images[:, None]-means[None]).abs().mean((-1, -2))", "wanted shape `[40]`, got `[40, 3]`"),
    ("nearest", f"return {FAR}.mean((-1, -2)).argmin(1)", "cancel out"),
    ("nearest", f"return {FAR}.abs().mean((-1, -2)).amin(1)", "Which mean pictures have them?"),
    ("nearest", f"return {FAR}.abs().mean((-1, -2)).argmin(1).tolist()", "got `list`"),
    ("gd_step", f"{LOSS}params.data += lr*params.grad; {CLEAN}", "uphill"),
    ("gd_step", f"{LOSS}params.data -= params.grad; {CLEAN}", "learning rate is not in it"),
    ("gd_step", f"{LOSS}params.data -= lr*params.grad; params.grad = None; return loss", "came back with its graph"),
    ("gd_step", f"{LOSS}params.data -= lr*params.grad; loss = loss_fn(params); {CLEAN}", "after the step"),
    ("gd_step", f"{LOSS}params.requires_grad_(False); params -= lr*params.grad; {CLEAN}", "no parameter any more"),
    ("stable_sigmoid", "return torch.sigmoid(x)", "`sigmoid` does the whole exercise"),
    ("stable_sigmoid", "return torch.tanh(x)", "hyperbolic tangent"),
    ("stable_sigmoid", "return (1 + torch.tanh(x))/2", "twice as steep"),
    ("stable_sigmoid", "return x/(1 + x.abs())", "softsign"),
    ("stable_sigmoid", "return torch.where(x < 0, torch.exp(x)/(1 + torch.exp(x)), 1/(1 + torch.exp(-x)))",
     "its gradient is not: wanted `tensor([2.061e-09, 0, 0])`, got `tensor([2.061e-09, nan, nan])`"),
    ("stable_sigmoid", "return (1 + torch.tanh(x.detach()/2))/2", "its gradient is lost"),
    ("stable_sigmoid", "return F.logsigmoid(x).exp()", "`logsigmoid` does the whole exercise"),
    ("index_batches", "return [list(range(i, min(i+bs, n))) for i in range(0, n, bs)]", "got `list`: `[0, 1]`"),
    ("index_batches", "return torch.arange(1, n+1).split(bs)", "none with number"),
    ("index_batches", "return torch.arange(n).split(bs)", "should be shuffled"),
    ("index_batches", "return torch.randperm(n).split(bs)", "without shuffling"),
    ("index_batches", "return torch.arange(n).split(bs+1)", "wanted batches of [2, 2, 2] items, got [3, 3]"),
    ("index_batches", "return (torch.tensor([i]) for i in iter(int, 1))", "more than once"),
    ("Momentum", f"{START}{MOVE}p.data -= self.lr*p.grad{ZERO}", "That is plain SGD"),
    ("Momentum", f"{START}{MOVE}v = self.momentum*v + p.grad; p.data -= self.lr*v{ZERO}",
     "nothing is left of earlier steps"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad); p.data += self.lr*v{ZERO}", "uphill"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad); p.data -= self.lr*(p.grad + self.momentum*v){ZERO}",
     "Nesterov"),
    ("Momentum",
     f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad); p.data -= self.lr*v{ZERO.replace('p.grad = None', 'p.grad')}",
     "The gradients were not zeroed"),
    ("Momentum",
     f"{START}{MOVE.replace('if p.grad is None: continue', '')}v.mul_(self.momentum).add_(p.grad); p.data -= "
     f"self.lr*v{ZERO}",
     "unused.grad is None"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad); p.data -= self.lr*v", "needs a method `zero_grad`"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad); p -= self.lr*v{ZERO}", "in-place operation"),
    ("merge_linear", "return w1@w2", "wanted two tensors"),
    ("merge_linear", "return w1@w2, b1@w2", "That is the bias"),
    ("merge_linear", "return w1@w2, F.linear(b1, w2.T)", "The second bias is missing"),
    ("merge_linear", "return w2@w1, b1@w2 + b2", "cannot be multiplied (2x2 and 1x2)"),
    ("merge_linear", "return (w1@w2).T, b1@w2 + b2", "wanted shape `[1, 2]`, got `[2, 1]`"),
    ("merge_linear", "return b1@w2 + b2, w1@w2", "wanted shape `[1, 2]`, got `[2]`"),
    ("tiny_net", f"model = nn.Sequential({NET}, nn.Softmax(1)); nn.init.zeros_(model[4].weight); return model",
     "It says the same of all of them"),
    ("tiny_net", f"model = nn.Sequential({NET})\n    {STEPS}return model(xs)",
     "wanted a network of `torch.nn`, got `Tensor`"),
    ("tiny_net", f"model = nn.Sequential({NET})\n    {STEPS}model[4].weight.data *= float('inf'); return model",
     "not finite"),
    ("tiny_net", f"model = nn.Sequential({NET})\n    ys = 1 - ys\n    {STEPS}return model", "swapped"),
    ("tiny_net", f"xs += 0.1\n    model = nn.Sequential({NET})\n    {STEPS}return model", "`xs` was changed"),
    ("tiny_net", f"model = nn.Sequential({NET.replace('nn.Flatten(), ', '')})\n    return model", "RuntimeError"),
    ("class_accuracy", "return (logits.argmax(1) != targets).float().mean()", "share of wrong answers"),
    ("class_accuracy", "return (logits.argmax(1) == targets).float().mean().item()", "got `float`"),
    ("class_accuracy", f"return {HITS}.mean()", "could not infer output dtype"),
    ("class_accuracy", f"return {HITS}.float()", "wanted shape `[]`, got `[8]`"),
    ("class_accuracy", f"return 100*{HITS}.float().mean()", "in per cent"),
    ("class_accuracy", f"return {HITS}.sum()/logits.shape[1]", "divided by the number of classes"),
    ("class_accuracy", "return F.cross_entropy(logits, targets)", "That is the loss."),
    ("conv2d", "return F.conv2d(image[None, None], kernel[None, None])[0, 0]", "`conv2d` does the whole exercise"),
    ("conv2d", SLIDE + SUMS.replace("sum", "mean"), "Those are means"),
    ("conv2d", SLIDE + SUMS.replace("for i in down for j in across", "for j in across for i in down").replace(
        "len(down), len(across)", "len(across), len(down)"), "Rows and columns of the result are swapped"),
    ("conv2d", SLIDE.replace("image = F.pad(image, [padding]*4); ", "") + SUMS, "wanted shape `[5, 4]`, got `[3, 2]`"),
    ("conv2d", SLIDE.replace("[padding]*4", "[padding]*2") + SUMS, "wanted shape `[5, 4]`, got `[3, 4]`"),
    ("conv2d", SLIDE.replace("w-c+1, stride", "w-c+1") + SUMS, "wanted shape `[3, 4]`, got `[3, 8]`"),
    ("dropout", "return F.dropout(x, p, training)", "`dropout` does the whole exercise"),
    ("dropout", "return x*(torch.rand_like(x) >= p)/(1-p)", "Out of training nothing is dropped"),
    ("dropout", "torch.manual_seed(1); return x*(torch.rand_like(x) >= p)/(1-p)", "two calls dropped the same"),
    ("dropout", "x[torch.rand_like(x) < p] = 0; return x/(1-p) if training else x", "`x` was changed by the call"),
    ("dropout", "return x*(torch.rand_like(x) >= p)*(1-p) if training else x", "What is left was made smaller"),
    ("dropout", "return x*(torch.rand_like(x) >= p)/p if training else x", "divided by the share that is dropped"),
    ("dropout", "return torch.rand_like(x) >= p if training else x", "got `torch.bool`"),
    ("batch_norm", "return (x-x.mean())/(x.var(correction=0)+eps).sqrt()", "One mean and one spread for everything"),
    ("batch_norm", "return (x-x.mean(1, keepdim=True))/(x.var(1, correction=0, keepdim=True)+eps).sqrt()",
     "Each item was normalised by itself"),
    ("batch_norm", "axes = [i for i in range(x.ndim) if i != 1]\n    "
                   "return (x-x.mean(axes, keepdim=True))/(x.var(axes, correction=0, keepdim=True)+eps).sqrt()",
                   "`gamma` and `beta` do nothing"),
    ("batch_norm", f"{AXES}return (x-mean)/(var+eps).sqrt()*gamma + beta", "must match the size"),
    ("batch_norm", f"{AXES}return (x-mean)/(var+eps)*g + b", "Divided by the variance"),
    ("batch_norm", f"{AXES}return x/(var+eps).sqrt()*g + b", "The mean was not subtracted"),
    ("batch_norm", f"{AXES}return (x-mean)/(var+eps).sqrt()*b + g", "changed places"),
]

# Other right ways, which a fair check accepts
OTHERS = [
    ("nearest", "return torch.stack([(images-mean).abs().sum((1, 2)) for mean in means]).argmin(0)"),
    ("gd_step", "loss = loss_fn(params)\n    slope, = torch.autograd.grad(loss, params)\n"
                "    params.data = params.data - lr*slope\n    return loss.detach()"),
    ("stable_sigmoid", "return 1/(1 + torch.exp(-x.clamp(-50, 50)))"),
    ("stable_sigmoid", "small = torch.exp(-x.abs())\n    return torch.where(x < 0, small, 1)/(1 + small)"),
    ("index_batches", "import random\n    items = list(range(n))\n    if shuffle: random.shuffle(items)\n"
                      "    for i in range(0, n, bs): yield torch.tensor(items[i:i+bs])"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(self.lr*p.grad); p.data -= v{ZERO}"),
    ("Momentum", f"{START}{MOVE}v.mul_(self.momentum).add_(p.grad)\n            with torch.no_grad(): p.sub_(self.lr*v)"
                 f"{ZERO.replace('p.grad = None', 'p.grad = torch.zeros_like(p)')}"),
    ("merge_linear", "zero = torch.zeros(1, len(w1))\n    bias = (zero@w1 + b1)@w2 + b2\n"
                     "    return (torch.eye(len(w1))@w1 + b1)@w2 + b2 - bias, bias[0]"),
    ("tiny_net", "model = nn.Sequential(nn.Conv2d(1, 2, (1, 8)), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), "
                 "nn.Linear(2, 2))\n    "
                 "with torch.no_grad():\n        model[0].weight.fill_(1/8); model[0].bias.fill_(-.6)\n        "
                 "model[4].weight.copy_(torch.tensor([[50., 50.], [0., 0.]])); "
                 "model[4].bias.copy_(torch.tensor([0., 1.]))\n    "
                 "return model"),
    ("class_accuracy",
     "return torch.tensor([row.argmax() == target for row, target in zip(logits, targets)]).float().mean()"),
    ("conv2d",
     "windows = F.pad(image, [padding]*4).unfold(0, kernel.shape[0], stride).unfold(1, kernel.shape[1], stride)\n"
               "    return (windows*kernel).sum((-1, -2))"),
    ("dropout", "return x*torch.bernoulli(torch.full_like(x, 1-p))/(1-p) if training else x.clone()"),
    ("batch_norm", "turned = x.transpose(0, 1)\n    rows = turned.flatten(1).T\n"
                   "    rows = (rows-rows.mean(0))/(rows.var(0, correction=0)+eps).sqrt()*gamma + beta\n"
                   "    return rows.T.reshape(turned.shape).transpose(0, 1)"),
]
