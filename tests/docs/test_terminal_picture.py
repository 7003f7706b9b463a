"""Pictures of terminals: each word has its column, whatever a renderer does with white space."""

import re

import pytest

from examples.terminal_picture import CELL, LINE, MARGIN, draw, words

BOLD = "\x1b[1mchat\x1b[0m  serving  pid 20913"
_TEXT = re.compile(r'<text x="([0-9.]+)" y="([0-9.]+)"([^>]*)>([^<]*)</text>')


def columns(picture: str) -> dict[str, float]:
    return {
        found[3]: (float(found[0]) - MARGIN) / CELL
        for found in _TEXT.findall(picture.partition("\n</g>")[0])
    }


def test_each_word_is_drawn_at_its_column() -> None:
    found = columns(draw(BOLD, 40, "status"))

    assert {word: round(found[word]) for word in ("chat", "serving", "pid", "20913")} == {
        "chat": 0,
        "serving": 6,
        "pid": 15,
        "20913": 19,
    }


def test_no_text_has_white_space_that_a_renderer_could_collapse() -> None:
    texts = [found[3] for found in _TEXT.findall(draw(BOLD, 40, "wssctl status --watch"))]

    assert len(texts) == 7
    assert not any(re.search(r"\s", text) for text in texts)


def test_lines_are_as_far_apart_as_on_a_screen() -> None:
    heights = [float(found[1]) for found in _TEXT.findall(draw("a\n\nb", 10, ""))]

    assert heights[1] - heights[0] == pytest.approx(2 * LINE)


def test_a_line_ends_where_the_terminal_ends() -> None:
    assert [word.text for word in words("abcdef", 0, 4)] == ["abcd"]


def test_what_is_special_in_xml_is_escaped() -> None:
    assert ">&lt;&amp;&gt;</text>" in draw("<&>", 10, "")


@pytest.mark.parametrize(
    ("captured", "drawn"),
    [
        ("\x1b[1mx", ' font-weight="bold">x<'),
        ("\x1b[2mx", ' opacity="0.6">x<'),
        ("\x1b[32mx", ' fill="#78c878">x<'),
        ("\x1b[7mx", ' fill="#181a20">x<'),
        ("\x1b[42m \x1b[0mx", 'height="24.4" fill="#78c878"/>'),
    ],
    ids=["bold", "dim", "colour", "reverse", "a coloured blank"],
)
def test_styles_are_drawn_without_a_style_sheet(captured: str, drawn: str) -> None:
    assert drawn in draw(captured, 10, "")
