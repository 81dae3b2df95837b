"Points, explorers and paths of descent that the tests of the figures share"
import numpy as np

from course_lib.figures.descent import animate_descent
from course_lib.figures.explore import explore

X = np.linspace(-2, 2, 20)
Y = 3*X**2 + 2*X + 1 + np.random.RandomState(42).normal(size=20)
CORNERS = np.array([(x, y) for x in range(-2, 3) for y in range(-2, 3)], dtype=float)
FOLDED = np.maximum(CORNERS @ [1.5, -1] + 0.5, 0)
SLIDERS = {name: (-3, 5, 1.1) for name in "abc"}
QUADRATIC = "a*x**2 + b*x + c"
EXPLORERS = {
    "mean-square": (explore(QUADRATIC, X, Y, name="mean-square", **SLIDERS),
                    lambda v, x: v["a"]*x**2 + v["b"]*x + v["c"]),
    "mean-absolute": (explore(QUADRATIC, X, Y, loss="mae", name="mean-absolute", **SLIDERS),
                      lambda v, x: v["a"]*x**2 + v["b"]*x + v["c"]),
    "bends": (explore("relu(a*x + b) - relu(-c*x)", X, Y, name="bends", **SLIDERS),
              lambda v, x: np.maximum(v["a"]*x + v["b"], 0) - np.maximum(-v["c"]*x, 0)),
    "fold": (explore("relu(a*x + b*y + c)", CORNERS, FOLDED, name="fold", **SLIDERS),
             lambda v, x, y: np.maximum(v["a"]*x + v["b"]*y + v["c"], 0)),
    "broken": (explore("a*log(x - b) + c", X, Y, name="broken", **SLIDERS), None),
} # {name: (explorer, the same model in plain NumPy)}
MOVES = {"a": 3.02, "b": 1.98} # In this order; b after a


def descent(lr, steps):
    "A real path on the MSE of the quadratic"
    columns, rows = np.stack([X**2, X, X**0]), [np.full(3, 1.1)]
    for _ in range(steps): rows.append(rows[-1] - lr*2*columns @ (rows[-1] @ columns - Y)/len(X))
    return np.array(rows)


def animate(history, **options):
    "The picture of a descent of the quadratic, whose parameters are named unless a test says otherwise"
    return animate_descent(QUADRATIC, X, Y, history, **{"names": "abc"} | options)
