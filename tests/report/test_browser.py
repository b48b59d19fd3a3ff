"""The report as a browser shows it; skipped where there is no browser to ask."""

import itertools
import re
import shutil

import pytest

from medstrata.report.page import write_report
from support.report_runs import FRACTIONS, finetune_run, pretrain_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")

HOSTILE = '"><script>alert(1)</script>'
ARMS = ("scratch", "moco", "moco_bt", HOSTILE)
NARROW = {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Four arms, one with a name that would break out of an attribute, and their pre-training."""
    root = tmp_path_factory.mktemp("browser")
    for number, arm in enumerate(ARMS):
        for fraction, protocol in itertools.product(FRACTIONS, ("full", "frozen")):
            name = f"{protocol}-{number}-{fraction:g}"
            finetune_run(root / "runs" / name, arm, fraction, protocol=protocol)
        if arm != "scratch":
            pretrain_run(root / "runs" / f"pretrain-{number}", arm, epochs=3)
    return write_report([root / "runs"], root / "report.html", files=False)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engines:
        running = engines.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def heard():
    """Whatever a page says, asks for or trips over."""
    return []


@pytest.fixture
def opened(browser, report, heard):
    """Open the report under conditions of a test's choice."""
    contexts = []

    def open_page(**conditions):
        contexts.append(browser.new_context(**conditions))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: heard.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened):
    return opened()


def column(table, number):
    return table.locator(f"tbody tr > :nth-child({number})").evaluate_all(
        "cells => cells.map(cell => (cell.querySelector('.value, .arm') || cell).innerText.trim())"
    )


def head(table, number):
    return table.locator(f"thead th:nth-child({number})")


def arms_table(page):
    return page.locator("table.of-arms").first


def toggle(page, arm):
    return page.get_by_role("group", name="Arms shown").get_by_role("button", name=arm, exact=True)


def test_page_opens_in_silence_and_asks_for_nothing(page, heard, report):
    page.wait_for_load_state("networkidle")
    assert [one for one in heard if not one.startswith("data:image/")] == [report.as_uri()]


def test_no_script_but_its_own_may_run(page, heard):
    heard.clear()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        "{textContent: 'alert(2)'}))"
    )
    assert len(heard) == 1
    assert "Content Security Policy" in heard[0]


def test_numbers_sort_by_click_and_a_third_click_restores(page):
    table = arms_table(page)
    original = column(table, 2)
    assert original != sorted(original, key=float)
    button = head(table, 2).get_by_role("button")
    for direction, expected in (
        ("ascending", sorted(original, key=float)),
        ("descending", sorted(original, key=float, reverse=True)),
        ("none", original),
    ):
        button.click()
        assert head(table, 2).get_attribute("aria-sort") == direction
        assert column(table, 2) == expected


def test_texts_sort_by_keyboard_and_one_column_at_a_time(page):
    table = arms_table(page)
    head(table, 2).get_by_role("button").click()
    head(table, 1).get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert column(table, 1) == [HOSTILE, "moco", "moco_bt", "scratch"]
    assert head(table, 2).get_attribute("aria-sort") == "none"
    page.keyboard.press("Space")
    assert column(table, 1) == ["scratch", "moco_bt", "moco", HOSTILE]


def test_what_has_no_number_stays_last(page):
    table = arms_table(page)
    for cell in table.locator("tbody tr:first-child td").all():
        cell.evaluate("cell => { delete cell.dataset.number; cell.textContent = 'no score'; }")
    # The script reads the cells when it sorts.
    button = head(table, 3).get_by_role("button")
    for _ in range(2):
        button.click()
        assert column(table, 3)[-1] == "no score"


def test_equal_numbers_keep_their_order(page):
    table = page.locator("table", has_text="Pre-training runs")
    arms = column(table, 1)
    head(table, 2).get_by_role("button").click()
    head(table, 2).get_by_role("button").click()
    assert head(table, 2).get_attribute("aria-sort") == "descending"
    assert column(table, 1) == arms


@pytest.mark.parametrize("arm", ["moco", HOSTILE])
def test_an_arm_is_hidden_everywhere_and_comes_back(page, arm):
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    rows = page.locator("tbody tr").filter(has=page.locator("th .arm").get_by_text(arm, exact=True))
    tag = toggle(page, arm).get_attribute("data-tag")
    marks = page.locator(f"figure svg .{tag}, .charts svg .{tag}")
    shown_rows = rows.count()
    assert shown_rows >= 9
    assert marks.count() > 20
    others = page.locator("tbody tr:visible").count() - shown_rows
    button = toggle(page, arm)
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    assert rows.filter(visible=True).count() == 0
    assert marks.evaluate_all("all => all.filter(one => one.getClientRects().length).length") == 0
    assert page.locator("tbody tr:visible").count() == others
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert rows.filter(visible=True).count() == shown_rows
    assert marks.evaluate_all("all => all.every(one => one.getClientRects().length)")


def test_each_arm_has_marks_of_its_own(page):
    tags = [button.get_attribute("data-tag") for button in page.locator(".arms button").all()]
    assert len(set(tags)) == len(ARMS)
    counts = {tag: page.locator(f"figure svg .{tag}").count() for tag in tags}
    # Two protocols, three fractions: a line, and a bar at each fraction.
    assert set(counts.values()) == {2 * (1 + 3)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_a_narrow_screen(opened, scheme):
    page = opened(viewport=NARROW, color_scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(one =>
            one.getBoundingClientRect().right > innerWidth + 1
            && !one.closest(".scroll, .arms, pre, svg")).map(one => one.outerHTML.slice(0, 99))"""
    )
    assert wide == []


CONTRASTS = """() => {
  const luminance = ([r, g, b]) => [r, g, b].map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = one => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
  };
  const found = {};
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || one.matches("script, style")) continue;
    const style = getComputedStyle(one);
    const colour = parts(one.closest("svg") ? style.fill : style.color);
    const [low, high] = [luminance(colour), luminance(ground(one))].sort((a, b) => a - b);
    found[`${one.localName}.${one.className.baseVal ?? one.className} ${colour}`] =
      (high + 0.05) / (low + 0.05);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, scheme):
    page = opened(color_scheme=scheme)
    toggle(page, "moco").click()
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 25
    assert {what: ratio for what, ratio in contrasts.items() if ratio < 4.5} == {}


def test_contrast_is_measured(opened):
    page = opened()
    page.add_style_tag(content="h1 { color: #999; }")
    contrasts = page.evaluate(CONTRASTS)
    assert [what for what, ratio in contrasts.items() if ratio < 4.5] == ["h1. 153,153,153"]


def test_figures_have_names_and_headings_do_not_skip(page):
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    drawings = page.locator("svg:not([aria-hidden=true])")
    assert drawings.count() == 0
    images = page.get_by_role("img").all()
    assert len(images) > 20
    for image in images:
        assert image.evaluate("one => one.alt || one.getAttribute('aria-label')")
    for region in page.locator("[tabindex='0']").all():
        assert region.get_attribute("aria-label")
    levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
        "all => all.map(one => Number(one.localName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.get_by_role("button").count() > 40


def test_print_shows_every_row_and_no_buttons(page):
    rows = page.locator("tbody tr")
    toggle(page, "moco").click()
    assert rows.filter(visible=True).count() < rows.count()
    page.emulate_media(media="print")
    heights = rows.evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert min(heights) > 0
    assert page.locator(".arms").is_hidden()
    assert page.locator("nav").is_hidden()


def test_all_is_shown_without_script(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.get_by_role("button").count() == 0
    assert page.locator(".arms").is_hidden()
    assert page.locator("table.of-arms").first.locator("tbody tr").count() == len(ARMS)
    assert re.search("Findings", page.inner_text("main"))
    context.close()
