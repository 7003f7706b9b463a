"""Every occurrence of the directory follows it, and nothing that only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wssupervisor.runtime.releases.pinning import paths_in, pin

WRITTEN = "/srv/chat/current"
REAL = "/srv/chat/releases/41"


@pytest.mark.parametrize(
    "text",
    [
        "@",
        "@/",
        "@/lib",
        "--conf=@/chat.conf",
        "@/lib:@/vendor",
        ":@/lib:",
        "a,@,b",
        "'@/x' \"@/y\"",
        "exec @/bin/serve --root @; true",
        "file://@/index.html",
        "file://localhost@/index.html",
        "sqlite:///@/chat.db?other=@",
        "unix:@/chat.sock",
        "-I@/include",
        "-O2 -I@/include -L@/lib",
        '{"root":"@","next":["@/a"]}',
        "(@)",
        "<@>",
        "data@@/body.json",
        "PYTHONPATH=@/lib:@/vendor",
        "@/lib\n@/vendor\n",
        "#!@/bin/python",
        "@=@",
    ],
)
def test_the_directory_as_whole_components_is_replaced(text: str) -> None:
    # "@" stands for the directory; "@@" for an @ before it.
    def filled(directory: str) -> str:
        return text.replace("@@", "\0").replace("@", directory).replace("\0", "@" + directory)

    assert pin(filled(WRITTEN), WRITTEN, REAL) == filled(REAL)


@pytest.mark.parametrize(
    "text",
    [
        "/srv/chat/current2",
        "/srv/chat/current-not/x",
        "/srv/chat/current.old",
        "/srv/chat/current_x",
        "/srv/chat/current~",
        "/srv/chat/current*",
        "/srv/chat/currentä",
        "/mnt/srv/chat/current",
        "mnt/srv/chat/current",
        "./srv/chat/current",
        "~/srv/chat/current",
        "$ROOT/srv/chat/current",
        "${ROOT}/srv/chat/current",
        "/srv/chat//srv/chat/current",
        "http://srv/chat/current",
        "http://host/srv/chat/current",
        "http://host:80/srv/chat/current",
        "--option/srv/chat/current",
        "srv/chat/current",
        "/srv/chat",
        "/SRV/chat/current",
        "",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert pin(text, WRITTEN, REAL) == text


def test_more_slashes_and_dots_between_components_do_not_matter() -> None:
    assert pin("a=/srv//chat/./current/lib", WRITTEN, REAL) == f"a={REAL}/lib"


def test_a_name_with_special_characters_is_taken_as_it_stands() -> None:
    assert pin("/srv/a+b/c:/srv/aab/c", "/srv/a+b", r"/srv/\1") == r"/srv/\1/c:/srv/aab/c"


@pytest.mark.parametrize("directory", ["/", REAL])
def test_a_directory_that_leads_nowhere_else_changes_nothing(directory: str) -> None:
    assert pin("/srv/x:/", directory, directory) == "/srv/x:/"


PIECES = st.sampled_from(
    [WRITTEN, REAL, "/", ":", "=", ",", " ", "'", "x", "2", ".", "-I", "file://", "current", "\n"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@given(TEXTS)
def test_pinned_twice_is_pinned_once(text: str) -> None:
    once = pin(text, WRITTEN, REAL)

    assert pin(once, WRITTEN, REAL) == once


@given(TEXTS)
def test_only_occurrences_change_and_each_by_the_same(text: str) -> None:
    pinned = pin(text, WRITTEN, REAL)
    replaced = text.count(WRITTEN) - pinned.count(WRITTEN)

    assert replaced >= 0
    assert len(pinned) - len(text) == replaced * (len(REAL) - len(WRITTEN))
    assert pinned.replace(REAL, WRITTEN) == text.replace(REAL, WRITTEN)


@given(st.lists(st.sampled_from(["lib", "vendor", "a-b", "x.y"]), min_size=1, max_size=5))
def test_each_entry_of_a_path_list_is_pinned(names: list[str]) -> None:
    def listed(root: str) -> str:
        return ":".join(f"{root}/{name}" for name in names)

    assert pin(listed(WRITTEN), WRITTEN, REAL) == listed(REAL)


@given(TEXTS, st.text(max_size=20))
def test_nothing_changes_where_the_directory_is_not_named(text: str, other: str) -> None:
    for one in (text.replace(WRITTEN, ""), other):
        if WRITTEN not in one:
            assert pin(one, WRITTEN, REAL) == one


def test_parts_that_may_be_paths() -> None:
    assert paths_in("--a=/x/y:../z b 'c/d'") == ["/x/y", "../z", "c/d"]
