"The browser of `course_lib.tools.browser`; where there is none, tests skip"
from contextlib import contextmanager

import pytest

from course_lib.tools import browser
from course_lib.tools.browser import BrowserError, VisitedPage, served, start_jupyter

__all__ = ["BrowserError", "VisitedPage", "find_browser", "served", "start_browser", "start_jupyter"]


def find_browser():
    "Path of Chromium or Chrome; skips the test where there is none"
    try: return browser.find_browser()
    except BrowserError as error: pytest.skip(str(error))


@contextmanager
def start_browser(folder, *flags, seconds=60):
    find_browser()
    with browser.start_browser(folder, *flags, seconds=seconds) as started: yield started
