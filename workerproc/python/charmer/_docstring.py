"""What a docstring tells: a summary, and descriptions of parameters in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Callable, Dict, Final, Iterator, List, Tuple

_GOOGLE: Final = re.compile(r"(Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters):\s*")
_GOOGLE_ITEM: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\(.*?\))?\s*:(?:\s+(.*)|$)")
_NUMPY: Final = re.compile(r"(Parameters|Other Parameters|Keyword Arguments)\s*")
_NUMPY_ITEM: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")
_SPHINX: Final = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?(\*{0,2}\w+)\s*:\s*(.*)")
_UNDERLINE: Final = re.compile(r"-{3,}\s*")


def doc_of(function: object) -> str:
    """Return the docstring of a function, cleaned; for a partial that of what it calls, as its own tells of partials."""
    while isinstance(function, partial) and function.__doc__ == partial.__doc__:
        function = function.func
    doc = getattr(function, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def summary(doc: str) -> str:
    """Return the first paragraph of a docstring that has been cleaned, in one line."""
    return " ".join(line.strip() for line in doc.partition("\n\n")[0].splitlines()).strip()


def descriptions(doc: str) -> Dict[str, str]:
    """Return what a docstring that has been cleaned tells of parameters, by name."""
    lines = doc.splitlines()
    found: Dict[str, str] = {}
    for style in (_google, _numpy, _sphinx):
        for names, told in style(lines):
            text = " ".join(part.strip() for part in told if part.strip())
            for name in names.split(","):
                if text:
                    found.setdefault(name.strip().lstrip("*"), text)
    return found


def _google(lines: List[str]) -> Iterator[Tuple[str, List[str]]]:
    for number, line in enumerate(lines):
        if _GOOGLE.fullmatch(line):
            body = _indented(lines, number + 1)
            step = min((_indent(one) for one in body if one.strip()), default=0)
            yield from _items(body, step, lambda text: _split(_GOOGLE_ITEM, text))


def _numpy(lines: List[str]) -> Iterator[Tuple[str, List[str]]]:
    for number, line in enumerate(lines[:-1]):
        if _NUMPY.fullmatch(line) and _UNDERLINE.fullmatch(lines[number + 1]):
            body = lines[number + 2 :]
            end = next((n for n in range(len(body) - 1) if _UNDERLINE.fullmatch(body[n + 1])), len(body))
            yield from _items(body[:end], 0, lambda text: _split(_NUMPY_ITEM, text))


def _sphinx(lines: List[str]) -> Iterator[Tuple[str, List[str]]]:
    for number, line in enumerate(lines):
        found = _SPHINX.match(line.strip())
        if found:
            more = []
            for following in _indented(lines, number + 1, _indent(line)):
                if not following.strip():
                    break
                more.append(following)
            yield found[1], [found[2], *more]


def _items(
    body: List[str], indent: int, split: Callable[[str], Tuple[str, str]]
) -> Iterator[Tuple[str, List[str]]]:
    """Go through the items of a section: each begins at an indent, and goes on in lines that are indented more."""
    names, told = "", [""]
    for line in body:
        if line.strip() and _indent(line) == indent:
            if names:
                yield names, told
            names, first = split(line.strip())
            told = [first]
        else:
            told.append(line)
    if names:
        yield names, told


def _split(form: re.Pattern[str], text: str) -> Tuple[str, str]:
    found = form.fullmatch(text)
    return (found[1], (found[2] or "") if form.groups > 1 else "") if found else ("", "")


def _indented(lines: List[str], start: int, indent: int = 0) -> List[str]:
    """Return the lines from one on that are indented more, with the empty ones between them."""
    body: List[str] = []
    for line in lines[start:]:
        if line.strip() and _indent(line) <= indent:
            break
        body.append(line)
    return body


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
