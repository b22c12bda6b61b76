"""Which part of a response is its answer.

Looked for from the end, in this order of authority: nothing inside a thought; the last answer tag, box or `####`, whichever
comes last, unless a later line says `the answer is`; then an answer line; then, if the text is short, all of it; then the last
mathematics or bold text; then, if the policy says so, the last number. All but three searches for fixed strings look at no more
than the last 3,000 characters, so the length of the reasoning costs nothing to speak of.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rlvr.verifiers.math.policy import DEFAULT, Policy

TAIL = 3_000
BARE_CHARACTERS = 600


class Extraction(NamedTuple):
    """An answer's text, its place in the response as (start, end), and the rule that found it."""

    text: str
    span: tuple[int, int]
    rule: str


_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;.]|\\quad|\\qquad|\\[,;: ()\[\]]|\\text\{[^{}]{0,30}\b(?:and|or)\b[^{}]{0,10}\}|\band\b|\bor\b)*"
)
_AFTER_BOX = re.compile(r"\s*(\\%|%|\^\s*\\circ|\^\{\\circ\}|°)")
_SAYS = re.compile(
    r"s?\b(?:\*\*|\*|__|</b>)?\s{0,9}(?:(?:to|for|of)\b[^.:\n$]{0,80}?)?\s{0,9}"
    r"(?:\bis\b|\bare\b|\bwould be\b|\bshould be\b|\bmust be\b|\bwill be\b|[:=：])+"
    r"\s{0,9}(?:\*\*|:|simply |just |therefore |thus |now |exactly |equal to )*\s{0,9}",
    re.IGNORECASE,
)
_SHOWS = re.compile(r"s?\s*(?=\\\(|\\\[|\$)")
_CHOICE_NOT = re.compile(r"\s*([A-J])\s*[,.;。，]?\s*(?:不是|而不是|not|non|nicht|pas)\s*[A-J]\b")
_HEADING = re.compile(r"s?\s*(?:\*\*|\#*|__|:)*\s*\n\s*")
_SAYS_OTHERWISE = (
    "option is ",
    "choice is ",
    "答案是",
    "答案为",
    "答案：",
    "答案:",
    "réponse est",
    "respuesta es",
    "antwort ist",
    "risposta è",
    "ответ:",
)
_SENTENCE_END = re.compile(
    r"(?<![A-Z\d])\.\s+(?=[A-Z\\$*<(])|(?<=\d)\.\s+(?=[A-Z][a-z'])|(?<=[\d})$])\.(?=\s*$)|。|\n\s*\n|\bI hope\b|<\|"
)
_LINE_OF_A = re.compile(r"(?:^|\n)\s*(?:\*\*)?A(?:\*\*)?\s*[:：]\s*([^\n]+)\s*$")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_NUMBER = re.compile(
    r"(?<![\w.,])[-−]?\s?(?:\\?\$|[€£¥])?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:[.,]\d+)?(?:\s*/\s*\d+)?(?:\s?\\?%)?(?!\w*\d)"
    r"|-?\\[dt]?frac\{\d+\}\{\d+\}",
    re.ASCII,
)
_PLAIN_WORD = re.compile(r"(?<!\\)\b(?!(?:sin|cos|tan|cot|sec|csc|exp|ln|log|sqrt)\b)[A-Za-z]{2,}")
_NOT_BUT = re.compile(r"^\s*not\b.{1,80}?\bbut\b", re.DOTALL | re.IGNORECASE)


def extract(response: str, policy: Policy = DEFAULT) -> Extraction | None:
    """The answer in a response, or None: an unfinished thought, an unclosed last box or tag, no answer at all."""
    start = after_thought(response)
    if start is None:
        return None
    window = max(start, len(response) - TAIL)
    box = last_box(response, window)
    found = _tag_or_line(response, window, box, policy)
    if found is None and window > start:
        box = last_box(response, start)
        found = _answer_tag(response, box.span[1] if box is not None else start, policy)
    if found is None:
        found = box if box is not None else _unmarked(response, start, policy)
    return None if found is None or found.rule == "unclosed" or not found.text.strip() else found


def _tag_or_line(response: str, window: int, box: Extraction | None, policy: Policy) -> Extraction | None:
    """What the end of a response says outside the last box; the box itself if nothing comes after it."""
    if box is not None and box.rule == "unclosed":
        return box
    floor = box.span[1] if box is not None else window
    tagged = _answer_tag(response, floor, policy)
    if tagged is not None:
        return tagged
    tail = response[floor:]
    return _hashes(tail, floor) or _answer_line(tail, floor, policy, after_box=box is not None) or box


def after_thought(response: str) -> int | None:
    """Where the text after the last thought begins; None if a thought was begun and not ended."""
    index = len(response)
    for _ in range(60):  # a search for one sign is ten times faster than one for a word
        index = response.rfind(">", 0, index)
        if index < 0:
            return 0
        if response.startswith("think", max(index - 5, 0)):
            break
    else:
        index = response.rfind("think>", 0, index) + 5
        if index < 5:
            return 0
    tag = response[max(index - 7, 0) : index + 1]
    if tag.endswith("<think>"):
        return None
    return index + 1 if tag.endswith("</think>") else 0


def last_box(response: str, start: int) -> Extraction | None:
    """The last \\boxed or \\fbox with its content; boxes joined to it by commas or `and` are one list."""
    index = len(response)
    for _ in range(200):
        index = response.rfind("box", start, index)
        if index < 0:
            return None
        if index > 0 and response[index - 1] == "\\" and response.startswith("boxed", index):
            break
        if index > 1 and response[index - 2 : index] == "\\f":
            break
    else:
        index = max(response.rfind("\\boxed", start, index), response.rfind("\\fbox", start, index)) + 1
        if index <= 0:
            return None
    box = _box_at(response, index)
    if box.rule == "unclosed":
        return box
    suffix = _AFTER_BOX.match(response, box.span[1])
    text = box.text + (suffix.group(1) if suffix and box.text.strip() else "")
    box = box._replace(text=text)
    return _with_neighbours(response, start, box)


def _box_at(response: str, index: int) -> Extraction:
    """The box whose letters `boxed` or `box` begin at `index`."""
    begin = index - 1 if response[index - 1] == "\\" else index - 2
    at = index + (5 if response.startswith("boxed", index) else 3)
    while at < len(response) and response[at] in " \t":
        at += 1
    if at >= len(response):
        return Extraction("", (begin, at), "unclosed")
    if response[at] != "{":
        end = at
        while end < len(response) and response[end] not in " \n$.,;\\":
            end += 1
        return Extraction(response[at:end], (begin, end), "box")
    depth = 0
    for brace in _BRACES.finditer(response, at):
        sign = brace.group()
        if sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                return Extraction(response[at + 1 : brace.start()], (begin, brace.end()), "box")
    return Extraction("", (begin, len(response)), "unclosed")


def _with_neighbours(response: str, start: int, last: Extraction) -> Extraction:
    boxes = [last]
    while len(boxes) < 50:
        first = boxes[0]
        index = response.rfind("\\boxed", max(start, first.span[0] - 400), first.span[0])
        if index < 0:
            break
        before = _box_at(response, index + 1)
        if before.rule == "unclosed" or before.span[1] > first.span[0]:
            break
        between = response[before.span[1] : first.span[0]]
        joined = between.strip(" \n$\t")
        if len(between) > 60 or not joined or not _BETWEEN_BOXES.fullmatch(between) or joined in (".", "\\)", "\\]"):
            break
        if not re.search(r"[,;]|and|or", joined):
            break
        boxes.insert(0, before)
    if len(boxes) == 1:
        return last
    return Extraction(", ".join(box.text for box in boxes), (boxes[0].span[0], last.span[1]), "boxes")


def _answer_tag(response: str, start: int, policy: Policy) -> Extraction | None:
    opening = response.rfind("<answer>", start)
    if opening < 0:
        return None
    begin = opening + 8
    end = response.find("</answer>", begin)
    if end < 0:
        return Extraction("", (opening, len(response)), "unclosed")
    content = response[begin:end]
    if not content.strip():
        return Extraction("", (opening, end), "unclosed")
    text = _refined(content, policy) if len(content) < TAIL else content
    return Extraction(text, (begin, end), "answer tag")


def _hashes(tail: str, offset: int) -> Extraction | None:
    index = tail.rfind("####")
    if index < 0:
        return None
    begin = index + 4
    end = tail.find("\n", begin)
    end = len(tail) if end < 0 else end
    text = tail[begin:end].strip()
    if not text or (text[-1] == ":" and len(text) > 3):  # a heading, not an answer
        return None
    if len(_PLAIN_WORD.findall(text)) > 4:
        return None
    return Extraction(text, (offset + begin, offset + end), "####")


def _answer_line(tail: str, offset: int, policy: Policy, *, after_box: bool) -> Extraction | None:
    """The last `answer is ...`, `Answer: ...` or `A: ...`. Behind a box it has to be an answer and no more to count."""
    lowered = tail.lower()
    if len(lowered) != len(tail):  # a few letters change length when lowered; then positions would not match
        lowered = tail
    index = len(lowered)
    for _ in range(12):
        index = lowered.rfind("answer", 0, index)
        if index < 0:
            break
        says = _SAYS.match(tail, index + 6) or (
            _HEADING.match(tail, index + 6) if lowered[:index].rstrip("* #").endswith("final") else None
        )
        says = says or _SHOWS.match(tail, index + 6)
        if says is None:
            continue
        found = _line_content(tail, says.end())
        if found is None:
            continue
        text, end = found
        refined = _refined(text, policy)
        if after_box and not (any(character.isdigit() for character in refined) or len(refined) < 3):
            continue
        if after_box and (
            refined != text.strip() or len(_PLAIN_WORD.findall(re.sub(r"\\text\{[^{}]*\}", "", text))) > 1
        ):
            continue
        if not refined:
            continue
        return Extraction(refined, (offset + says.end(), offset + end), "answer line")
    for phrase in _SAYS_OTHERWISE:
        index = lowered.rfind(phrase)
        if index >= 0:
            found = _line_content(tail, index + len(phrase))
            if found is not None:
                return Extraction(
                    _refined(found[0], policy), (offset + index + len(phrase), offset + found[1]), "answer line"
                )
    letter = None if after_box else _LINE_OF_A.search(tail)
    if letter is not None:
        return Extraction(
            _refined(letter.group(1), policy), (offset + letter.start(1), offset + letter.end(1)), "answer line"
        )
    return None


def _line_content(tail: str, begin: int) -> tuple[str, int] | None:
    """What follows a marker: a display, or the rest of the sentence on this or the next line that is not blank."""
    rest = tail[begin : begin + 2_000]
    stripped = rest.lstrip(" \n\t*")
    begin += len(rest) - len(stripped)
    for opening, closing in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)")):
        if stripped.startswith(opening):
            end = stripped.find(closing, len(opening))
            if end > 0 and _only_closing(stripped[end + len(closing) :]):
                return stripped[len(opening) : end], begin + end
    end_of_line = stripped.find("\n")
    line = stripped if end_of_line < 0 else stripped[:end_of_line]
    if line.count("$") % 2 and end_of_line >= 0:
        closing_at = stripped.find("$", end_of_line)
        if closing_at > 0:
            line = stripped[: closing_at + 1]
    stop = _SENTENCE_END.search(line)
    if stop is not None and stop.start() > 0:
        line = line[: stop.start()]
    line = line.strip()
    if line.endswith(".") and line[-2:-1].isdigit():
        line = line[:-1]
    return (line, begin + len(line)) if line else None


def _only_closing(rest: str) -> bool:
    line = rest.split("\n", 1)[0].strip(" .*")
    return not line or line.startswith(("I hope", "<|"))


def _unmarked(response: str, start: int, policy: Policy) -> Extraction | None:
    """Short texts are their own answer; of longer ones the last mathematics, bold text or number."""
    body = response[start:] if start else response
    stripped = body.strip()
    if not stripped:
        return None
    begin = start + body.index(stripped[0])
    instead = _CHOICE_NOT.match(stripped)
    if instead:
        return Extraction(instead.group(1), (begin + instead.start(1), begin + instead.end(1)), "choice")
    if policy.bare and len(stripped) <= BARE_CHARACTERS and not _is_prose(stripped):
        return Extraction(stripped, (begin, begin + len(stripped)), "bare")
    if policy.bare and len(stripped) > BARE_CHARACTERS and " " not in stripped:
        return Extraction(stripped, (begin, begin + len(stripped)), "bare")
    if not policy.last_number:
        return None
    window = max(begin, len(response) - TAIL)
    tail = response[window:]
    found = _last_math(tail) or _last_number(tail)
    if found is None:
        if policy.bare and len(stripped) <= BARE_CHARACTERS:
            return Extraction(stripped, (begin, begin + len(stripped)), "bare")
        return None
    text, at, end, rule = found
    return Extraction(text, (window + at, window + end), rule)


def _last_math(tail: str) -> tuple[str, int, int, str] | None:
    """The last mathematics or bold value, unless a number stands behind it."""
    last: re.Match[str] | None = None
    for match in _MATH.finditer(tail):
        last = match
    bold: re.Match[str] | None = None
    for match in _BOLD.finditer(tail):
        if any(character.isdigit() for character in match.group(1)):
            bold = match
    if bold is not None and (last is None or bold.end() > last.end()):
        text = bold.group(1)
        if _is_prose(text) or not text.isascii():
            number = _last_number(text)
            text = number[0] if number else text
        return text, bold.start(), bold.end(), "bold"
    if last is None:
        return None
    behind = _last_number(tail[last.end() :])
    if behind is not None:
        text, at, end, rule = behind
        return text, last.end() + at, last.end() + end, rule
    content = next(group for group in last.groups() if group is not None)
    return content, last.start(), last.end(), "last math"


def _last_number(tail: str) -> tuple[str, int, int, str] | None:
    last: re.Match[str] | None = None
    for match in _NUMBER.finditer(tail[-600:]):
        last = match
    if last is None:
        return None
    shift = max(0, len(tail) - 600)
    text = last.group().strip()
    if "," in text and not re.search(r",\d{3}(?!\d)", text):
        text = text.replace(",", ".")  # a decimal comma
    return text, shift + last.start(), shift + last.end(), "last number"


def _is_prose(text: str) -> bool:
    """Whether a text is sentences around an answer rather than an answer: words outside mathematics and \\text{}."""
    if len(text) < 4:
        return False
    if (
        not text.isascii()
        and sum(character.isalpha() and not character.isascii() for character in _GREEK.sub("", text)) > 4
    ):
        return True
    outside = re.sub(r"\\[A-Za-z]+\s*\{[^{}]*\}|\\[A-Za-z]+", " ", _MATH.sub(" ", text))
    words = [word.lower() for word in _PLAIN_WORD.findall(outside)]
    if len(words) > 40:
        return True
    has_value = any(character.isdigit() for character in text) or "$" in text
    sentence = sum(word in _SENTENCE_WORDS for word in words)
    return has_value and (
        sentence >= 2
        or (sentence >= 1 and len(words) >= 3)
        or len(words) >= 6
        or (sentence >= 1 and _MATH.search(text) is not None)
    )


_GREEK = re.compile("[\u0370-\u03ff]+")
_SENTENCE_WORDS = frozenset(
    str.split(
        "the is are was were it its this that these so therefore thus hence we have has get be by of to in on with which as since"
        " because then let us find there number solution result value total i my you he she they la le est el es de un une der"
        " die das ist il donc soit"
    )
)


def _refined(text: str, policy: Policy) -> str:
    """A marked answer without the sentence around it."""
    text = text.strip()
    instead = _CHOICE_NOT.match(text)
    if instead:
        return instead.group(1)
    denied = _NOT_BUT.match(text)
    if denied:
        text = text[denied.end() :].strip()
    box = last_box(text, 0)
    if box is not None and box.rule != "unclosed":
        return box.text
    if not _is_prose(text):
        return text
    plain = text.rstrip(" .")
    for verb in (" is ", " are ", " = ", " equals "):
        index = plain.rfind(verb)
        if index >= 0:
            tail = plain[index + len(verb) :].strip(" :")
            if tail and not _is_prose(tail) and (any(c.isdigit() for c in tail) or "\\" in tail or "$" in tail):
                if plain[:index].endswith(" not") or tail.startswith("not "):
                    return text
                return tail
    if re.search(r"\b(?:not|or|either|neither)\b", text):
        return text
    found = _last_math(text) or _last_number(text)
    return found[0] if found is not None and policy.last_number else text
