"Matrix products: each cell is written out, and matrices that cannot be shown are named"
import math
import re

import numpy as np
import pytest
from course_lib.base.env import CourseError
from course_lib.figures.matmul import show_matmul

RANDOM = np.random.RandomState(42)

@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (2, 3, 2), (3, 1, 4), (6, 6, 6)])
def test_each_cell_of_a_product_is_written_out(n, k, m):
    a, b = RANDOM.randint(-9, 10, (n, k)), RANDOM.randint(-9, 10, (k, m))
    frames = show_matmul(a, b).figure.frames
    assert len(frames) == n*m + 1
    for cell, frame in enumerate(frames[1:]):
        row, column = divmod(cell, m)
        where, *sums = frame.layout.title.text.split("<br>")
        left, right = " ".join(sums).split("=")
        assert where == f"row {row + 1}, column {column + 1}:" and eval(left) == int(right) == (a @ b)[row, column]
        assert frame.data[2].text[row][column] == str(int(right)) and frame.data[2].z[row][column] == 2
        assert np.flatnonzero(np.any(frame.data[0].z, axis=1)) == row
        assert np.flatnonzero(np.any(frame.data[1].z, axis=0)) == column


@pytest.mark.parametrize("a, b, words", [
    (np.ones((2, 3)), np.ones((2, 3)), "got shapes (2, 3) and (2, 3)"), (np.ones((7, 1)), np.ones((1, 1)), "Up to 6"),
    (np.ones((1, 1)), np.ones((1, 7)), "Up to 6"),
    (np.ones(3), np.ones((3, 1)), "rank 2"), (np.ones((2, 2, 2)), np.ones((2, 2)), "rank 2"),
    ([[math.nan]], [[1]], "left matrix holds nan at position 0, 0"),
    ([[1]], [["two"]], "right matrix must be numbers"), ([[]], [[1]], "left matrix is empty"),
])
def test_matrices_that_cannot_be_shown_are_named(a, b, words):
    with pytest.raises(CourseError, match=re.escape(words)): show_matmul(a, b)
