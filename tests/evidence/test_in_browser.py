"""The pages as a person has them: in a real browser, light, dark, on a phone, by keyboard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.evidence.test_folder import write
from tests.reports.samples import failed, image, video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser import Browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
SIGHTS = {"light": {}, "dark": {"dark": True}, "phone": {"width": 390, "height": 800}}


def quiet(page: Browser) -> bool:
    """Whether the page said nothing and asked for nothing but files."""
    return not page.console and all(one.startswith("file:") for one in page.requests)


def test_pictures_of_every_page(browser: Browser, tmp_path: Path) -> None:
    write(tmp_path / "one", video())
    write(tmp_path / "many", video("a.mp4"), failed("b.mp4"), image("c.jpg"), video("d" * 255))
    pages = [tmp_path / "one" / "index.html", tmp_path / "many" / "index.html"]
    pages.append(next((tmp_path / "many" / "sources").iterdir()))
    brightness = {}
    for page in pages:
        for sight, options in SIGHTS.items():
            browser.open(page.as_uri(), **options)  # type: ignore[arg-type]
            assert quiet(browser), (page, browser.console, browser.requests)
            assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0, sight
            png = browser.picture(tmp_path / f"{pages.index(page)}-{sight}.png")
            seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
            assert seen is not None
            brightness[sight] = float(seen.mean())
    assert brightness["dark"] < 80 < 180 < brightness["light"]


def test_a_still_is_blurred_and_grey_until_it_is_asked_for(
    browser: Browser,
    tmp_path: Path,
) -> None:
    write(tmp_path, video())
    browser.open((tmp_path / "index.html").as_uri())
    look = "getComputedStyle(document.querySelector('.still img')).filter"
    pressed = "document.querySelector('.still').getAttribute('aria-pressed')"
    assert "blur" in browser.run(look)
    assert "grayscale(1)" in browser.run(look)
    browser.run("document.querySelector('.still').focus()")
    browser.press("Enter", "\r")
    assert browser.run(pressed) == "true"
    browser.press("Escape")
    assert (browser.run(pressed), "blur" in browser.run(look)) == ("false", True)
    browser.run("document.querySelector('.still').click()")
    assert browser.run(pressed) == "true"
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert quiet(browser)


def test_ten_thousand_rows_are_quick_to_open_filter_and_search(
    browser: Browser,
    tmp_path: Path,
) -> None:
    write(tmp_path, *(video(f"{at}.mp4") for at in range(2)), failed("f.mp4"), image("i.jpg"))
    rows = tmp_path / "rows.js"
    some = rows.read_text().removeprefix("const guardianRows = [\n").removesuffix("\n];\n")
    rows.write_text("const guardianRows = [\n" + ",\n".join([some] * 2500) + "\n];\n")
    started_s = time.monotonic()
    browser.open((tmp_path / "index.html").as_uri())
    assert time.monotonic() - started_s < 2
    shown = "document.getElementById('shown').textContent"
    assert browser.run(shown) == "100 shown of 10,000, the worst first."
    browser.run("document.querySelector('[data-verdict=review]').click()")
    assert "100 shown of 5,000 that match" in browser.run(shown)
    browser.run("document.getElementById('more').click()")
    assert browser.run("document.getElementById('rows').rows.length") == 200
    typed = "const q = document.forms[0].elements.q; q.value = '1.MP4';"
    browser.run(f"{{{typed} q.dispatchEvent(new Event('input', {{bubbles: true}}))}}")
    assert "of 2,500 that match" in browser.run(shown)
    state = browser.run("location.hash")
    browser.open((tmp_path / "index.html").as_uri() + state)
    assert "of 2,500 that match" in browser.run(shown)
    browser.run(
        "{const c = document.forms[0].elements.category; c.value = 'nsfw';"
        " c.dispatchEvent(new Event('change', {bubbles: true}))}"
    )
    assert "of 2,500 that match" in browser.run(shown)
    assert quiet(browser)
