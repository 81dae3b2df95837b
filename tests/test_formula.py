"Formulas: Python and Node compute the same, and what is no formula is named"
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from course_lib.base.env import CourseError
from course_lib.figures.formula import FUNCTIONS, parse_formula

RANDOM = np.random.RandomState(42)

FORMULAS = ["a*x**2 + b*x + c", "-x**2", "(-x)**2", "-a**-b", "2**3**2", "(2**3)**2", "-2**2", "a**b**c", "a - b - c",
            "a - (b - c)", "a/b/c", "a/(b/c)", "a/b*c", "-(-a)", "a--b", "2*-a", "a**-1", "x**0.5",
            "1e-3*a + 1_000 + 0x10", "1**(1/0)", "(-1)**(1/0)", "0/0 + a", "maximum(a, 0/0)", "a/0",
            "relu(a*x + b) + relu(-c*x)", "minimum(maximum(a, b), -c)",
            *(f"{name}({', '.join('abc'[:function.n_arguments])})" for name, function in FUNCTIONS.items())]


@pytest.fixture(scope="module")
def in_node():
    "{formula: its values in Node} for many random settings, and the settings"
    node = shutil.which("node")
    if node is None: pytest.skip("no Node.js found")
    settings = [dict(zip("abcx", values, strict=True)) for values in RANDOM.uniform(-3, 3, size=(200, 4)).tolist()]
    settings += [dict(zip("abcx", values, strict=True))
                 for values in ((0., 0., 0., 0.), (1., -1., 2., -2.), (1., 1., 1., 1.), (-8., 1/3, 0.5, 4.))]
    functions = ",".join(f"v => {parse_formula(text, 'abcx').javascript}" for text in FORMULAS)
    program = f"console.log(JSON.stringify([{functions}].map(f => {json.dumps(settings)}.map(v => String(f(v))))))"
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    values = [[float(value.replace("Infinity", "inf")) for value in row] for row in json.loads(done.stdout)]
    return dict(zip(FORMULAS, values, strict=True)), settings


@pytest.mark.parametrize("text", FORMULAS)
def test_python_and_javascript_agree(text, in_node):
    values, settings = in_node
    formula = parse_formula(text, "abcx")
    ours = [float(formula(**setting)) for setting in settings]
    np.testing.assert_allclose(values[text], ours, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text, value", [("-x**2", -9), ("2**3**2", 512), ("-2**-1", -0.5), ("1 - 2 - 3", -4),
                                         ("8/4/2", 1), ("x*x/x", 3), ("relu(-x)", 0),
                                         ("maximum(x, 5)", 5), ("abs(-x)", 3), ("exp(0)", 1)])
def test_a_formula_means_what_python_means(text, value):
    assert parse_formula(text, "x")(x=3) == value


@pytest.mark.parametrize("text, words", [
    ("__import__('os')", "no function `__import__`"), ("x.__class__", "`x.__class__` cannot be part"),
    ("x[0]", "`x[0]` cannot"), ("[x for x in (1,)]", "cannot be part"), ("lambda: x", "`lambda: x` cannot"),
    ("'x'", "cannot be part"), ("1j*x", "`1j` cannot"), ("True*x", "`True` cannot"),
    ("x if x else x", "cannot be part"), ("x < 1", "`x < 1` cannot"), ("x and x", "cannot be part"),
    ("x % 2", "`x % 2` cannot"), ("x // 2", "cannot be part"), ("x @ x", "cannot be part"), ("~x", "cannot be part"),
    ("not x", "cannot be part"), ("(y := x)", "cannot be part"), ("f'{x}'", "cannot be part"),
    ("relu(x, 1)", "takes 1 argument(s), got 2"), ("maximum(x)", "takes 2 argument(s), got 1"),
    ("relu(value=x)", "`relu(value=x)` cannot"), ("relu(*x)", "`*x` cannot"), ("slope(x)", "no function `slope`"),
    ("tan(x)", "Did you mean 'tanh'"), ("1e999*x", "cannot be part"), ("9"*400, "cannot be part"),
    ("9"*5000, "cannot be read"), ("", "cannot be read"), ("x; x", "cannot be read"), ("2x", "write 2*x for 2x"),
    ("x\0", "cannot be read"), ("("*300 + "x" + ")"*300, "cannot be read"), ("-"*20_000 + "x", "cannot be read"),
    ("sloep*x", "Did you mean 'slope'?"),
])
def test_what_is_no_formula_is_named(text, words):
    with pytest.raises(CourseError, match=re.escape(words)): parse_formula(text, ["x", "slope"])
