"""docs/pictures: each is shown, loads nothing, and looks the same in every renderer."""

import re
from pathlib import Path

import pytest

from tests.docs.test_links import PAGES, links

ROOT = Path(__file__).resolve().parents[2]
PICTURES = sorted((ROOT / "docs/pictures").glob("*.svg"))
LARGEST = 60_000
_TEXT = re.compile(r"<text [^>]*>([^<]*)</text>")


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {path for page in PAGES for path, _ in links(page)}

    assert PICTURES != []
    assert {str(picture.relative_to(ROOT)) for picture in PICTURES} <= shown


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: one.stem)
def test_a_picture_needs_nothing_that_renderers_do_differently(picture: Path) -> None:
    """Neither other files, style sheets and scripts, nor more than single spaces between words."""
    drawn = picture.read_text()

    assert not re.search(r"<(?:style|script|image|foreignObject)|(?:href|src)=|url\(|@", drawn)
    assert picture.stat().st_size < LARGEST
    for text in _TEXT.findall(drawn):
        assert text == " ".join(text.split()), text
        assert "&#160;" not in text


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: one.stem)
def test_nothing_of_a_picture_is_cut_off_below(picture: Path) -> None:
    """An underscore and what hangs below the line need a quarter of the line's height."""
    drawn = picture.read_text()
    height = re.search(r'viewBox="0 0 [0-9.]+ ([0-9.]+)"', drawn)
    lowest = max(float(y) for y in re.findall(r'<text [^>]*\by="([0-9.]+)"', drawn))

    assert height is not None
    assert lowest + 24.4 / 4 <= float(height[1])
