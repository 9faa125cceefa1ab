"""One Chromium for all tests in a browser; tabs that are watched; a server with a small drawn clip."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.browsing import Watched
from tests.web.support import Browsers, Page, classic_project, drawn_clip, needs_browser, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# For a module: while Playwright is there, its loop runs in this thread, and other tests may want one of their own.
@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    needs_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = Browsers(started)
        yield found
        found.close()


@pytest.fixture
def browser(browsers: Browsers) -> Iterator[Browser]:
    with browsers.limited():
        yield browsers.browser()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    watched = getattr(item, "funcargs", {}).get("watched")
    if report.when == "call" and report.failed and watched is not None:
        watched.picture_all(f"failed-{item.name}")
    return report


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    found = Watched(browser)
    yield found
    found.close()
    assert found.unforgiven() == []


@pytest.fixture
def drawn(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    """A server with a small drawn clip open; its tabs are closed before it, or they would miss it aloud."""
    with served(tmp_path) as page:
        page.studio.adopt(classic_project(drawn_clip(tmp_path / "disc.mkv"), tmp_path / "disc.edit"))
        yield page
        watched.close()
