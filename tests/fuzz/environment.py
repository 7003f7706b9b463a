"""Environment files: right ones must be read correctly, and all others refused."""

from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from tests.fuzz import inputs, odd_files
from tests.fuzz.target import Target, Wrong, directory
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.runtime.releases.release import _read_environment_file

NAMES = ("A", "_", "PATH", "DATABASE_URL", "x9", "LONG_NAME_" * 20)
PIECE_MAX = 50
CORPUS = b"# a comment\nA=1\nB=\"two words\" 'and' more\\\n lines\n; other\nC='$x'\nD=a\\ b \"c\"\n"
MESSAGE_CHARS = 200


@dataclass(frozen=True, slots=True)
class File:
    """`means`: its variables, where it is known to be right. `odd`: no file, but one of these."""

    data: bytes
    means: dict[str, str] | None = None
    odd: str | None = None


class EnvironmentFile(Target[File]):
    name = "environment"
    fails = (
        "a right file is misread; a wrong one raises an exception other than ReleaseInvalid, or its"
        " message repeats much of the file (which may hold secrets)"
    )

    def open(self, stack: ExitStack) -> None:
        self._path = directory(stack) / "chat.env"

    def make(self, random: Random) -> File:
        if random.random() < 0.02:
            return File(b"", odd=random.choice(odd_files.KINDS))
        if random.random() < 0.5:
            return _right(random)
        if random.random() < 0.1:
            return File(inputs.many(random))
        return File(inputs.mutated(random, CORPUS))

    def judge(self, given: File) -> None:
        odd_files.clear(self._path)
        if given.odd is None:
            self._path.write_bytes(given.data)
        else:
            odd_files.make(self._path, given.odd)
        try:
            found = _read_environment_file(str(self._path), str(self._path))
        except ReleaseInvalid as error:
            if given.means is not None:
                raise Wrong(f"it is right, and was refused: {error}") from error
            if len(str(error)) > MESSAGE_CHARS:
                raise Wrong(f"the message has {len(str(error))} characters") from error
            return
        if given.odd is not None:
            raise Wrong(f"it was read as {str(found)[:200]}")
        if given.means is not None and found != given.means:
            raise Wrong(f"it was read as {found}")
        for name, value in found.items():
            if not name.isidentifier() or not name.isascii() or "\0" in value:
                raise Wrong(f"{name!r} is no variable")


def _right(random: Random) -> File:
    """Each value in some pieces, quoted in one of the ways there are."""
    lines, means = [], {}
    for _ in range(random.randrange(5)):
        name = random.choice(NAMES)
        pieces = [inputs.text(random)[:PIECE_MAX] for _ in range(random.randrange(4))]
        pieces = [_clean(piece) for piece in pieces]
        written = "".join(_quoted(random, piece) for piece in pieces)
        lines.append(f"{name}={written}")
        means[name] = "".join(pieces)
        lines += random.choices(("", "# x=1", "; y", "  "), k=random.randrange(3))
    text = "\n".join(lines) + random.choice(("\n", ""))
    return File(text.encode("utf-8", "surrogateescape"), means)


def _clean(piece: str) -> str:
    """What a file can hold: no NUL, and CR LF is the end of a line."""
    piece = piece.encode("utf-8", "ignore").decode()
    return piece.replace("\0", "").replace("\r", "")


def _quoted(random: Random, piece: str) -> str:
    if "'" not in piece and random.random() < 0.5:
        return f"'{piece}'"
    escaped = "".join(f"\\{one}" if one in '"\\`$' else one for one in piece)
    return f'"{escaped}"'
