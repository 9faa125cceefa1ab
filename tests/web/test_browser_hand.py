"""What a hand does on the picture, by pointer and by keys: every tool, exact pixels, overlays, several objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tam_edit.script import Prompt
from tests.web.browsing import Watched, area, click, drag, picture_of, pixels, run, shown, spot, state, until
from tests.web.support import Page

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.browser

DISC_PX = 1257  # what a disc of radius 20 covers


def prompt(page: Page, frame: int = 0, name: str = "object 1") -> Prompt | None:
    return page.studio.open_desk.edit.script.prompt(name, frame)


def said(page: Page, holds: Any, frame: int = 0) -> Prompt:
    """The prompt as soon as the script has what the page said."""

    def fitting() -> Prompt | None:
        found = prompt(page, frame)
        return found if found is not None and holds(found) else None

    found = until(fitting, "the script holds what was said")
    assert isinstance(found, Prompt)
    return found


def tool(tab: Tab, name: str) -> None:
    tab.locator(f"[data-tool={name}]").click()
    assert tab.get_attribute(f"[data-tool={name}]", "aria-pressed") == "true"


def test_keyboard_only(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    tab.keyboard.press("End")
    shown(tab, 11)
    tab.keyboard.press("Home")
    shown(tab, 0)
    for _ in range(60):
        if tab.evaluate("document.activeElement.id") == "stage":
            break
        tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "stage"
    for _ in range(20):  # the cross starts in the middle, at 80,60
        tab.keyboard.press("Shift+ArrowLeft")
    tab.keyboard.press("Enter")
    until(lambda: area(tab) > 50, "the mask by the keyboard")
    tab.keyboard.press("e")
    assert tab.get_attribute("[data-tool=eraser]", "aria-pressed") == "true"
    tab.keyboard.press("o")
    assert tab.input_value("#overlay") == "outline"
    tab.keyboard.press("l")
    until(lambda: int(tab.evaluate("document.body.dataset.frame")) > 0, "it plays")
    tab.keyboard.press("k")
    tab.keyboard.press("[")
    shown(tab, 0)
    tab.keyboard.press("?")
    tab.wait_for_selector("#keys[open]")
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Track", exact=True).focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#status.good")
    tab.locator("#stage").focus()
    tab.keyboard.press("Delete")
    until(lambda: not httpx.get(f"{drawn.url}/api/state").json()["objects"][0]["prompts"], "the keyframe is deleted")
    tab.keyboard.press("Control+z")
    until(lambda: httpx.get(f"{drawn.url}/api/state").json()["objects"][0]["prompts"], "and comes back")


def steps(tab: Tab, keys: str, count: int) -> None:
    for _ in range(count):
        tab.keyboard.press(keys)


def test_every_tool_by_the_keyboard(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    tab.locator("#stage").focus()

    # A box: from corner to corner. The cross begins in the middle, at 80,60, and moves three pixels at a time.
    tab.keyboard.press("b")
    steps(tab, "Shift+ArrowLeft", 21)
    steps(tab, "Shift+ArrowUp", 8)
    tab.keyboard.press("Enter")
    steps(tab, "Shift+ArrowRight", 16)
    steps(tab, "Shift+ArrowDown", 16)
    tab.keyboard.press("Enter")
    assert said(drawn, lambda found: found.box).box == (17, 36, 65, 84)
    until(lambda: abs(area(tab) - DISC_PX) < 150, "the box holds the disc")

    # A scribble beside it, with Shift: along the cross' way.
    tab.keyboard.press("s")
    steps(tab, "Shift+ArrowRight", 12)
    tab.keyboard.press("Shift+Enter")
    steps(tab, "Shift+ArrowRight", 8)
    tab.keyboard.press("Enter")
    (line,) = said(drawn, lambda found: found.negative_scribbles).negative_scribbles
    assert line[0] == (101, 84) and line[-1] == (125, 84)

    # Escape lets go of what was begun.
    tab.keyboard.press("Enter")
    steps(tab, "Shift+ArrowUp", 3)
    tab.keyboard.press("Escape")
    assert prompt(drawn) == said(drawn, lambda found: len(found.negative_scribbles) == 1)

    # The brush, pressed and let go; the eraser the same.
    before = area(tab)
    tab.keyboard.press("d")
    tab.locator("#brush").fill("4")
    tab.locator("#stage").focus()
    tab.keyboard.press("Enter")
    steps(tab, "Shift+ArrowUp", 4)
    tab.keyboard.press("Enter")
    said(drawn, lambda found: found.mask is not None)
    until(lambda: area(tab) > before + 50, "the stroke is in the mask")
    tab.keyboard.press("e")
    tab.keyboard.press("Enter")
    steps(tab, "Shift+ArrowDown", 4)
    tab.keyboard.press("Enter")
    until(lambda: abs(area(tab) - before) < 20, "the eraser took it away again")

    # The picture moves too.
    tab.keyboard.press("h")
    before_x, before_y = spot(tab, 0, 0)
    tab.keyboard.press("Shift+ArrowRight")
    until(lambda: spot(tab, 0, 0) == (before_x - 40, before_y), "the picture has moved under the window")


def test_scribbles_along_and_beside(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    tool(tab, "scribble")
    drag(tab, [(28, 60), (40, 64), (52, 60)])
    found = said(drawn, lambda found: found.scribbles)
    assert len(found.scribbles) == 1 and not found.points
    assert 26 <= found.scribbles[0][0][0] <= 30 and 50 <= found.scribbles[0][-1][0] <= 54
    until(lambda: abs(area(tab) - DISC_PX) < 150, "the line means the disc")
    tab.wait_for_selector("#objects >> text=1 scribble")

    drag(tab, [(100, 20), (120, 90)], button="right")
    found = said(drawn, lambda found: found.negative_scribbles)
    assert len(found.scribbles) == len(found.negative_scribbles) == 1
    tab.wait_for_selector("#objects >> text=2 scribbles")
    picture_of(tab, "scribbles")

    # A click with the tool: on a line it takes the line away, elsewhere it is a point.
    click(tab, 110, 55)
    assert said(drawn, lambda found: not found.negative_scribbles).scribbles
    click(tab, 36, 50)
    assert said(drawn, lambda found: found.points).points == ((36, 50),)
    tool(tab, "include")
    click(tab, 36, 50)
    assert said(drawn, lambda found: not found.points).scribbles, "a click on a point took it away"
    tab.keyboard.press("Control+z")
    said(drawn, lambda found: found.points)


def test_a_painted_mask_is_polished(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the click's mask")
    tool(tab, "brush")
    tab.locator("#brush").fill("6")
    drag(tab, [(50, 50), (56, 46), (60, 44)])
    painted = said(drawn, lambda found: found.mask is not None).mask
    assert painted is not None and not said(drawn, lambda found: True).polish
    rough = until(lambda: area(tab) == int(painted.mask().sum()) and area(tab), "the stroke is on the screen")
    assert rough > DISC_PX + 60

    tab.get_by_role("button", name="Polish").click()
    found = said(drawn, lambda found: found.polish)
    assert found.mask == painted, "the rough mask is what is kept; the polished one is made of it"
    until(lambda: abs(area(tab) - DISC_PX) < abs(rough - DISC_PX) / 2, "what was painted beyond the edge has gone")
    tab.wait_for_selector("#polish[aria-pressed=true]")
    tab.wait_for_selector("#objects >> text=painted, polished")
    tab.keyboard.press("r")
    said(drawn, lambda found: not found.polish)
    until(lambda: area(tab) == rough, "once more: exactly as painted")


def test_two_strokes_at_once_both_stay(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the click's mask")
    before = area(tab)
    tool(tab, "brush")
    tab.locator("#brush").fill("5")
    # The second begins before the server has answered to the first.
    for x in (100, 130):
        click(tab, x, 20)
    dabs = 2 * sum(dx * dx + dy * dy <= 25 for dx in range(-5, 6) for dy in range(-5, 6))
    until(lambda: area(tab) == before + dabs, "both dabs")
    stored = said(drawn, lambda found: found.mask is not None and found.mask.mask()[20, 130]).mask
    assert stored is not None and stored.mask()[20, 100] and int(stored.mask().sum()) == before + dabs


def test_exact_pixels_and_every_overlay(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the click's mask")
    tab.mouse.move(5, 5)
    places = [(20.0, 20.0), (140.0, 100.0), (36.0, 70.0), (84.0, 31.0)]
    with drawn.studio.open_desk.edit.pictures() as context:
        rgb = context.rgb(0)
    exact = [rgb[int(y), int(x)].tolist() for x, y in places]
    # The page shows this small clip at several screen pixels to one: then every pixel is as it is in the clip.
    tab.select_option("#overlay", "source")
    until(lambda: pixels(tab, places) == exact, "the clip's own pixels")
    inside, outside = places[2], places[0]
    wanted: dict[str, Any] = {
        "tint": lambda seen: seen[0] != exact[2] and seen[1] == exact[0],
        "outline": lambda seen: seen == [exact[2], exact[0]],
        "matte": lambda seen: seen == [[255] * 3, [0] * 3],
        "checker": lambda seen: seen[0] == exact[2] and seen[1] in ([0xC8] * 3, [0x8C] * 3),
    }
    for mode, fits in wanted.items():
        tab.select_option("#overlay", mode)
        until(lambda fits=fits: fits(pixels(tab, [inside, outside])), mode)
    tab.select_option("#overlay", "result")
    tab.wait_for_selector("#hint >> text=There is no result yet")

    # 1:1 shows one pixel of the clip as one of the screen; the wheel zooms about where the hand is.
    tab.get_by_role("button", name="1:1").click()
    until(lambda: tab.inner_text("#zoom") == "100 %", "one to one")
    tab.mouse.move(*spot(tab, 80, 60))
    tab.mouse.wheel(0, -400)
    until(lambda: int(re.sub(r"\D", "", tab.inner_text("#zoom"))) > 150, "the wheel zooms in")
    tab.keyboard.press("f")
    tab.select_option("#overlay", "source")
    until(lambda: pixels(tab, places) == exact, "fitted again")


def test_several_objects_with_names_and_colours(watched: Watched, drawn: Page) -> None:
    tab = watched.tab(drawn.url)
    shown(tab, 0)
    click(tab, 40, 60)
    until(lambda: area(tab) > 1000, "the first object's mask")
    tab.get_by_role("button", name="New object").click()
    tab.wait_for_selector("#objects >> text=Click on it in the picture")
    tool(tab, "brush")  # what no segmenter would find in the slope
    drag(tab, [(120, 90), (145, 90), (145, 105)])
    until(lambda: len(state(drawn)["objects"]) == 2, "the second object")
    tab.once("dialog", lambda dialog: dialog.accept("the corner"))
    tab.get_by_role("button", name="Rename").click()
    until(lambda: [one["name"] for one in state(drawn)["objects"]] == ["object 1", "the corner"], "the name")
    tab.get_by_label("Colour of the corner").fill("#00ff00")
    until(lambda: state(drawn)["objects"][1]["colour"] == "#00ff00", "the colour")
    tab.select_option("#overlay", "tint")
    tab.mouse.move(5, 5)
    run(tab, "Track")
    track = httpx.get(f"{drawn.url}/api/track").json()
    assert set(track["trust"]) == {"object 1", "the corner"}
    labels = drawn.studio.open_desk.label_map(0)
    row, column = (int(values[len(values) // 2]) for values in np.nonzero(labels == 2))
    tab.select_option("#overlay", "tint")
    until(lambda: _is_green(pixels(tab, [(column, row)])[0]), "the chosen colour tints the object")
    picture_of(tab, "objects")
    # Taking the first one away moves the second one up.
    tab.get_by_role("button", name="object 1", exact=True).click()
    tab.get_by_role("button", name="Remove object 1 from the project").click()
    until(lambda: [one["name"] for one in state(drawn)["objects"]] == ["the corner"], "one object is left")


def _is_green(rgb: list[int]) -> bool:
    red, green, blue = rgb
    return green > red + 40 and green > blue + 40
