"The exercises of lesson 06: what each mistake is told, further mistakes, and other right answers"
import math

import numpy as np
import pandas as pd
import torch
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

# What a learner's code may use
NAMES = dict(torch=torch, math=math, np=np, pd=pd, DecisionTreeClassifier=DecisionTreeClassifier,
             DecisionTreeRegressor=DecisionTreeRegressor)

# What each mistake on the page is told
CAUSES = {
    "split_gini-mean": "one of them has more rows", "split_gini-two": "knows two kinds of answers",
    "split_gini-empty": "ZeroDivisionError",
    "one_rule-right": "right answers", "one_rule-rows": "a side of one row is always pure",
    "one_rule-value": "the last value on the left",
    "bagged-order": "the same rows", "bagged-apart": "no longer belong", "bagged-votes": "shares of votes",
    "oob_accuracy-all": "also those that know", "oob_accuracy-single": "judge together",
    "oob_accuracy-nobody": "nobody may judge",
    "boosted_sum-again": "was fitted to `y`", "boosted_sum-part": "only a part of it was added",
    "boosted_sum-zero": "starts at 0",
}

SIDES = "sides = [side for side in (left, right) if side]; n = len(left) + len(right); " \
        "impure = [1 - sum((side.count(k)/len(side))**2 for k in set(side)) for side in sides]; "
WEIGHTED = "total = sum(len(side)*g for side, g in zip(sides, impure))\n    "
SPLITS = "found = []\n    for name in table:\n        values = sorted(set(table[name]))\n        " \
         "for low, high in zip(values, values[1:]):\n            left = table[name] <= low\n            " \
         "p, q = y[left].mean(), y[~left].mean()\n            " \
         "total = left.sum()*p*(1 - p) + (~left).sum()*q*(1 - q)\n            " \
         "found.append((total, name, low, high))\n    "
BAG = "found = []\n    for _ in range(n):\n        rows = rng.integers(len(X), size=len(X))\n        " \
      "tree = DecisionTreeClassifier()\n        " \
      "found.append(tree.fit(X[rows], y[rows]).predict_proba({})[:, {}])\n    "
MAY = "may = torch.tensor([[row not in numbers for row in range(len(y))] for numbers in drawn]).float(); " \
      "n = may.sum(0); ok = n > 0; mean = ((votes*may).sum(0)/n.clamp(min=1))\n    "
BOOST = "total = np.full(len(y), y.mean())\n    for _ in range({}):\n        " \
        "tree = DecisionTreeRegressor(max_depth={}, random_state=0).fit(x, y - total)\n        " \
        "total = total + {}*tree.predict(x)\n    "

# Mistakes that the page does not show: (name, source, cause)
MORE = [
    ("split_gini", SIDES + "return sum(impure)", "without weights"),
    ("split_gini", "both = left + right; return 1 - sum((both.count(k)/len(both))**2 for k in set(both))",
     "before the split"),
    ("split_gini", SIDES + WEIGHTED + "return 1 - total/n", "two answers agree"),
    ("split_gini", SIDES + WEIGHTED + "return total/n/2", "two orders"),
    ("split_gini", SIDES + WEIGHTED + "return total", "never divided"),
    ("split_gini", "return sum(len(s) - max(s.count(k) for k in s) for s in (left, right) if s)/len(left + right)",
     "share of wrong answers"),
    ("split_gini", SIDES + "return impure", "wanted a number"),
    ("one_rule", SPLITS + "total, name, low, high = max(found); return name, (low + high)/2", "Tried"),
    ("one_rule", "return table.columns[0], table[table.columns[0]].mean()", "first column"),
    ("one_rule", "return 'ship', 1.0", "nothing to split"),
    ("one_rule", SPLITS + "return min(found)[1], min(found)[3]", "first value on the right"),
    ("one_rule", SPLITS + "return min(found)[1], table[min(found)[1]].mean()", "That is its mean"),
    ("one_rule", SPLITS + "return min(found)[1]", "wanted the name of a column and where"),
    ("one_rule", SPLITS + "return 1, min(found)[2]", "wanted the name of a column, got"),
    ("one_rule", "table['new'] = 1; return 'fare', 3.5", "`table` was changed"),
    ("bagged", BAG.format("new", 1) + "return np.sum(found, 0)", "Those are sums"),
    ("bagged", BAG.format("new", 0) + "return np.mean(found, 0)", "probabilities of 0"),
    ("bagged", BAG.format("new", 1) + "return found[-1]", "last tree"),
    ("bagged", BAG.format("X", 1) + "return np.mean(found, 0)", "for the rows of `X`"),
    ("bagged", BAG.format("new", 1) + "return np.mean(found)", "wanted 13 numbers"),
    ("bagged", BAG.format("new", 1) + "return (np.mean(found, 0) > 0.5)*1.", "0 or 1"),
    ("bagged", BAG.format("new", 1).replace("size=len(X)", "size=len(X)//2") + "return np.mean(found, 0)",
     "half as many"),
    ("oob_accuracy", MAY + "return 1 - ((mean > 0.5) == y.bool())[ok].float().mean()", "That is the error"),
    ("oob_accuracy", MAY + "mean = mean*n; return ((mean > 0.5) == y.bool())[ok].float().mean()", "sum of the votes"),
    ("oob_accuracy", "votes = (votes > 0.5).float()\n    " + MAY +
     "return ((mean > 0.5) == y.bool())[ok].float().mean()", "counted as 0 or 1"),
    ("oob_accuracy", MAY.replace("not in", "in") + "return ((mean > 0.5) == y.bool())[ok].float().mean()",
     "they know it"),
    ("oob_accuracy", MAY + "return mean", "wanted a number"),
    ("boosted_sum", BOOST.format("rounds", 2, 1) + "return total", "plays no part"),
    ("boosted_sum", BOOST.format("rounds + 1", 2, "lr") + "return total", "one tree too many"),
    ("boosted_sum", BOOST.format("rounds - 1", 2, "lr") + "return total", "one tree too few"),
    ("boosted_sum", BOOST.format("rounds", 1, "lr") + "return total", "single split"),
    ("boosted_sum", BOOST.format("rounds", 2, "lr") + "return y - total", "what is left over"),
    ("boosted_sum", BOOST.format("rounds", 2, "lr") + "return tree.predict(x)", "the last tree says"),
    ("boosted_sum", BOOST.format("rounds", 2, "lr") + "return total - y.mean()", "missing at the end"),
    ("boosted_sum", "y -= y.mean(); return y", "`y` was changed"),
    ("boosted_sum", BOOST.format("rounds", 2, "lr") + "return total.mean()", "wanted 50 numbers"),
]

# Other right answers: (name, source)
OTHERS = [
    ("split_gini", "return sum(n - sum(s.count(k)**2 for k in set(s))/n for s in (left, right) if (n := len(s)))"
     "/len(left + right)"),
    ("one_rule", SPLITS + "total, name, low, high = min(found); return [name, np.float64((low + high)/2)]"),
    ("bagged", BAG.format("new", 1) + "return list(np.mean(found, 0))"),
    ("oob_accuracy", MAY + "return ((mean > 0.5) == y.bool())[ok].float().mean().item()"),
    ("boosted_sum", "rest, says = y - y.mean(), [np.full(len(y), y.mean())]\n    for _ in range(rounds):\n        "
     "says.append(lr*DecisionTreeRegressor(max_depth=2, random_state=0).fit(x, rest).predict(x))\n        "
     "rest = rest - says[-1]\n    return torch.tensor(np.sum(says, 0))"),
]
