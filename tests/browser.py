"""Headless Chromium for the tests of pages: the marks, the browser, and a tab that remembers what a page did."""

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None

NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the package `chromium` to run the browser tests"),
    pytest.mark.skipif(not HAS_PLAYWRIGHT, reason="no playwright: pip install playwright to run the browser tests"),
]
"""To be the `pytestmark` of a module."""
SIZES = {"desktop": (1280, 900), "phone": (390, 844), "small": (360, 640)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless=new", "--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Tab:
    """A page with everything it said and asked for."""

    def __init__(
        self, browser: Any, url: str, size: tuple[int, int], *, fragment: str = "", scheme: str = "light"
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.url = url
        self.page.goto(url + fragment)

    def check_silence(self) -> None:
        """No console message, no error, no dialog, and no request but for the page itself and what it made."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith((self.url, "data:", f"blob:{self.url}"))] == []

    def close(self) -> None:
        self.context.close()
