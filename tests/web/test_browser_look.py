"""How the page looks and reads: contrast measured, empty states, labels, a phone, themes, every option of the form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.browsing import Watched, area, click, picture_of, run, shown, state, until
from tests.web.support import Page, drawn_clip, served

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.browser

# WCAG 2.1, success criterion 1.4.3 (AA): 4.5 to 1, large text 3 to 1. Backgrounds are composed as they lie over each
# other; what is disabled is exempt there and here.
CONTRAST = (Path(__file__).parent / "contrast.js").read_text().split("\n", 1)[1]


def check_contrast(tab: Tab, where: str) -> float:
    """The least contrast of any text that is seen now."""
    found = tab.evaluate(CONTRAST)
    assert len(found) > 5
    low = [one for one in found if one["ratio"] < one["least"]]
    assert not low, (where, low)
    return float(min(one["ratio"] for one in found))


def theme(tab: Tab, name: str) -> None:
    if tab.get_attribute("html", "data-theme") != name:
        tab.locator("#theme").click()
    assert tab.get_attribute("html", "data-theme") == name


@pytest.mark.parametrize("name", ["dark", "light"])
def test_all_text_can_be_read(watched: Watched, tmp_path: Path, name: str) -> None:
    watched.forgive("status of 400")  # the browser notes a refusal too
    with served(tmp_path) as page:
        tab = watched.tab(page.url)
        tab.get_by_text("Drop a video here").wait_for()
        theme(tab, name)
        least = [check_contrast(tab, "nothing open yet")]
        tab.set_input_files("#clip", str(drawn_clip(tmp_path / "disc.mkv")))
        shown(tab, 0)
        least.append(check_contrast(tab, "nothing marked yet"))
        tab.get_by_text("More options").click()
        tab.get_by_text("Several effects in one pass").click()
        for role in ("tracker", "inpainter", "segmenter"):
            tab.select_option(f"select[name={role}]", "classic")
        tab.keyboard.press("Escape")
        click(tab, 40, 60)
        until(lambda: area(tab) > 50, "the mask")
        tab.keyboard.press("n")  # says that there is nothing doubtful yet
        tab.wait_for_selector(".toast")
        least.append(check_contrast(tab, "marked"))
        run(tab, "Remove")
        tab.wait_for_selector("#results a")
        least.append(check_contrast(tab, "with a result"))
        tab.fill("input[name=crf]", "99")
        tab.get_by_role("button", name="Remove", exact=True).click()
        tab.wait_for_selector(".bad:visible")
        least.append(check_contrast(tab, "with an error"))
        tab.locator("#help").click()
        least.append(check_contrast(tab, "with the keys"))
        watched.close()
    print(f"least contrast, {name}: {min(least):.2f}")


def test_empty_states_say_what_to_do(watched: Watched, tmp_path: Path, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    for place, words in {
        "#hint": "Click on what should be removed or kept",
        "#objects": "New object",
        "#job": "Track carries your masks through the clip",
        "#review": "Mark an object and track it",
        "#results": "come here, to compare and to download",
    }.items():
        assert words in tab.inner_text(place), place
    tab.get_by_text("Several effects in one pass").click()
    assert "Set up Remove" in tab.inner_text("#effects")
    assert tab.locator("#verbs button:disabled").count() == 5, "nothing can be run before anything is marked"
    tab.select_option("#compare", "split")
    tab.wait_for_selector("#hint >> text=Make a result first")
    tab.select_option("#compare", "")
    tab.keyboard.press("]")
    tab.wait_for_selector(".toast >> text=No keyframe yet")
    tab.keyboard.press("c")
    tab.wait_for_selector(".toast >> text=Click first")


def test_a_phone(watched: Watched, drawn: Page) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    tab = watched.tab(drawn.url, **phone)
    shown(tab, 0)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = tab.locator("#stage").bounding_box()
    assert box is not None
    assert box["width"] > 380
    tab.get_by_role("button", name="Last frame").tap()
    shown(tab, 11)
    picture_of(tab, "phone")


def test_the_theme_is_kept_and_labels_are_there(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    assert tab.get_attribute("html", "data-theme") == "dark"
    tab.get_by_role("button", name="Light").click()
    tab.reload()
    shown(tab, 0)
    assert tab.get_attribute("html", "data-theme") == "light"
    picture_of(tab, "light")
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas, a')].filter((one) =>
        !(one.getAttribute('aria-label') || one.textContent.trim() || (one.labels && one.labels.length) || one.title))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_every_option_of_the_form(watched: Watched, drawn: Page) -> None:
    """Alter, a list of effects rendered, settings and a colour: said on the page, done by the server."""
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 50, "the mask")
    tab.get_by_label("Colour of object 1").fill("#ff00ff")
    until(lambda: state(drawn)["objects"][0]["colour"] == "#ff00ff", "the colour is kept")
    tab.get_by_text("More options").click()
    tab.get_by_label("Shrink, px").fill("1")
    tab.get_by_label("Edge from").select_option("hard")
    tab.get_by_label("still in time").uncheck()
    tab.get_by_label("Refine doubtful masks").select_option("never")

    def kept() -> bool:
        now = state(drawn)["settings"]
        return (now["erode_px"], now["matte"], now["smooth"], now["refine"]) == (1, "hard", False, "never")

    until(kept, "the settings are kept")
    picture_of(tab, "options")
    run(tab, "Refine")
    assert state(drawn)["settings"]["refine"] == "always"
    tab.select_option("select[name=how]", "pixelate")
    run(tab, "Alter")
    tab.locator("#results >> text=altered-001.mp4").first.wait_for()
    tab.get_by_text("Several effects in one pass").click()
    tab.select_option("select[name=grain]", "auto")
    watched.forgive("/api/effects/add")  # the browser itself notes what is refused
    tab.fill("input[name=scale]", "200")
    tab.get_by_role("button", name="Add background").click()
    tab.wait_for_selector(".toast.bad >> text=0.01 to 100")
    tab.fill("input[name=scale]", "")
    tab.get_by_role("button", name="Add background").click()
    tab.wait_for_selector("#effects >> text=replace")
    assert state(drawn)["effects"][0]["grain"] == "auto"
    run(tab, "Render")
    tab.locator("#results >> text=rendered-002.mp4").first.wait_for()
