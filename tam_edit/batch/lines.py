"""On which line each key of a TOML file stands: tomllib tells lines of syntax errors only."""

from __future__ import annotations

import contextlib
import re

Place = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}\n#]*")


class LineIndex:
    """Lines (from 1) by place, such as ("jobs", 2, "prompts", 0, "points"); for text that tomllib has accepted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_at = (0, 1)
        self.lines: dict[Place, int] = {(): 1}
        self._counts: dict[Place, int] = {}
        # A line is help for people: what was found until then still helps.
        with contextlib.suppress(ValueError, RecursionError):
            self._document()

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it that has one."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def _document(self) -> None:
        table: Place = ()
        while True:
            self._skip_blank()
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        self._skip_blank()
        line = self._line()
        names = self._key()
        self._at = self._text.index("]", self._at) + (2 if is_list else 1)
        place = (*self._resolved(tuple(names[:-1])), names[-1])
        if is_list:
            number = self._counts.get(place, 0)
            self._counts[place] = number + 1
            self.lines.setdefault(place, line)
            place = (*place, number)
        elif place in self._counts:
            place = (*place, self._counts[place] - 1)
        self.lines.setdefault(place, line)
        return place

    def _resolved(self, names: tuple[str, ...]) -> Place:
        """A header's path with the number of the newest element behind each list of tables."""
        place: Place = ()
        for name in names:
            place = (*place, name)
            if place in self._counts:
                place = (*place, self._counts[place] - 1)
        return place

    def _pair(self, table: Place) -> None:
        line = self._line()
        place = table
        for name in self._key():
            place = (*place, name)
            self.lines.setdefault(place, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(place)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip_blank()
            if found := _STRING.match(self._text, self._at):
                names.append(found[0][1:-1])
            elif found := _BARE.match(self._text, self._at):
                names.append(found[0])
            else:
                return names
            self._at = found.end()
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _value(self, place: Place) -> None:
        self._skip_blank()
        self.lines.setdefault(place, self._line())
        begin = self._text[self._at : self._at + 1]
        if begin == "[":
            self._at += 1
            number = 0
            while not self._closes("]"):
                self._value((*place, number))
                number += 1
        elif begin == "{":
            self._at += 1
            while not self._closes("}"):
                self._pair(place)
        elif (found := _STRING.match(self._text, self._at)) or (found := _PLAIN.match(self._text, self._at)):
            self._at = found.end()

    def _closes(self, bracket: str) -> bool:
        self._skip_blank()
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip_blank()
        if self._at >= len(self._text):
            return True
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _skip_blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _line(self) -> int:
        """The line where reading stands; counted on from where it stood last."""
        at, line = self._line_at
        line += self._text.count("\n", at, self._at)
        self._line_at = (self._at, line)
        return line
