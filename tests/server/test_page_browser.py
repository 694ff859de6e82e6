"""The page in a real browser: drop a picture, ask, read the answer with its certificate; nothing else is loaded."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from server_fakes import TOKEN, FakeVoter, make_service, picture

from browser import NEEDS_CHROMIUM, Tab, chromium
from browser import SIZES as BROWSER_SIZES
from medproof.server.run import serve

pytestmark = NEEDS_CHROMIUM
__all__ = ["chromium"]
SIZES = ("desktop", "phone")
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
QUIET = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


class Served:
    """A server in a thread of this process."""

    def __init__(self, voter: FakeVoter) -> None:
        self.service = make_service(voter, start=False)
        address: queue.Queue[str] = queue.Queue()
        call = (self.service, "127.0.0.1", 0, address.put, lambda _: None)
        self.thread = threading.Thread(target=serve, args=call, daemon=True)
        self.thread.start()
        self.url = address.get(timeout=60)

    def stop(self) -> None:
        self.service.draining = True
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def voter() -> FakeVoter:
    made = FakeVoter(error=0.1)
    made.words = f"<think>{EVIL} It is bright.</think><answer>{{}}</answer>"
    return made


@pytest.fixture(scope="module")
def served(voter: FakeVoter) -> Iterator[Served]:
    running = Served(voter)
    yield running
    running.stop()


class PageTab(Tab):
    """The form, and how it is filled in."""

    def fill(self, level: int, options: str = "black\ndark\nlight\nwhite", token: str = TOKEN) -> None:
        file = {"name": "shade.png", "mimeType": "image/png", "buffer": picture(level, (120, 160))}
        self.page.set_input_files("#file", file)
        self.page.get_by_label("Question").fill("How bright is it?")
        self.page.get_by_label("Options").fill(options)
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Ask", exact=True).click()


@pytest.fixture(params=SIZES)
def tab(request: pytest.FixtureRequest, chromium: Any, served: Served) -> Iterator[PageTab]:
    opened = PageTab(chromium, served.url, BROWSER_SIZES[request.param])
    yield opened
    opened.close()


def test_ask_and_read(tab: PageTab) -> None:
    page = tab.page
    assert page.evaluate(QUIET)
    tab.fill(30)
    page.locator("#answer").wait_for()
    assert page.locator("#said").inner_text() == "A) black"
    claim = page.locator("#claim").inner_text()
    assert claim.startswith("Certified: no change of the 56 × 28 image by less than 0.")
    assert "grey levels" in claim
    assert "at most 0.001" in claim
    rows = page.locator("#votes tbody tr")
    votes = [int(rows.nth(i).locator("td").first.inner_text()) for i in range(4)]
    assert votes[0] > votes[1] > 0 == votes[2] == votes[3]
    assert rows.first.get_attribute("class") == "won"
    assert "“light”" in page.locator("#blank").inner_text()
    assert EVIL in page.locator("#words").inner_text()
    assert page.locator("#words *").count() == 0
    assert page.locator("#note").is_hidden()
    page.locator("summary").click()
    assert "w" * 64 in page.locator("#facts").inner_text()
    assert page.evaluate(QUIET)
    tab.check_silence()


def test_an_answer_that_does_not_look_is_marked(tab: PageTab) -> None:
    tab.fill(140)
    tab.page.locator("#answer").wait_for()
    assert tab.page.locator("#said").inner_text() == "C) light"
    assert "does not show that the model looked" in tab.page.locator("#note").inner_text()
    tab.check_silence()


def test_abstaining(chromium: Any) -> None:
    running = Served(FakeVoter(error=0.5))
    opened = PageTab(chromium, running.url, BROWSER_SIZES["phone"])
    opened.fill(30)
    opened.page.locator("#answer").wait_for()
    assert opened.page.locator("#said").inner_text() == "The model abstains"
    assert "too spread" in opened.page.locator("#note").inner_text()
    opened.check_silence()
    opened.close()
    running.stop()


@pytest.mark.parametrize(
    ("options", "token", "problem"),
    [("one", TOKEN, "options"), ("a\nb", "nonsense", "token"), (f"{EVIL}\n{EVIL}", TOKEN, "twice")],
)
def test_refusals_are_shown(chromium: Any, served: Served, options: str, token: str, problem: str) -> None:
    opened = PageTab(chromium, served.url, BROWSER_SIZES["phone"])
    opened.fill(30, options, token)
    opened.page.locator("#problem").wait_for()
    assert problem in opened.page.get_by_role("alert").inner_text()
    assert opened.page.get_by_role("button", name="Ask", exact=True).is_enabled()
    failures = [line for line in opened.said if "Failed to load resource" not in line]
    assert failures == []
    opened.close()


def test_nothing_is_sent_without_a_picture(tab: PageTab) -> None:
    tab.page.get_by_role("button", name="Ask", exact=True).click()
    tab.page.locator("#problem").wait_for()
    assert tab.page.get_by_role("alert").inner_text() == "choose an image first"
    assert not any("/v1/" in url for url in tab.asked)


def test_a_dropped_picture_is_taken(tab: PageTab) -> None:
    tab.page.evaluate(
        """data => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(data)], "dropped.png", { type: "image/png" }));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true }));
        }""",
        list(picture(230)),
    )
    assert tab.page.locator("#file-name").inner_text() == "dropped.png"
    tab.page.wait_for_function("document.getElementById('preview').naturalWidth === 50")
    tab.page.get_by_label("Access token").fill(TOKEN)
    tab.page.get_by_role("button", name="Ask", exact=True).click()
    tab.page.locator("#answer").wait_for()
    assert tab.page.locator("#said").inner_text() == "D) X-ray"
    tab.check_silence()


def test_every_control_has_a_name_and_the_keyboard_reaches_it(tab: PageTab) -> None:
    for label in ("Choose an image", "Question", "Options", "Time", "Access token"):
        assert tab.page.get_by_label(label).count() == 1, label
    reached = []
    for _ in range(6):
        tab.page.keyboard.press("Tab")
        reached.append(tab.page.evaluate("document.activeElement.id"))
    assert reached == ["file", "question", "options", "deadline", "token", "ask"]


def test_dark(chromium: Any, served: Served) -> None:
    opened = PageTab(chromium, served.url, BROWSER_SIZES["desktop"], scheme="dark")
    colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(18, 21, 27)"
    opened.close()


def test_the_page_keeps_no_token(tab: PageTab) -> None:
    tab.fill(30)
    tab.page.locator("#answer").wait_for()
    tab.page.reload()
    assert tab.page.get_by_label("Access token").input_value() == ""
    assert tab.page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
