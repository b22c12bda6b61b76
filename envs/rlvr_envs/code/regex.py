"""Regular expressions: a pattern for what matches and what does not, with hidden texts of both kinds."""

from __future__ import annotations

import random

import rlvr
from rlvr import Score, Task
from rlvr.errors import ConfigError
from rlvr_envs.code.answers import code_in, fenced, judge_code
from rlvr_envs.code.running import function_tests

_SETS = {"[abc]": "abc", "[0-9]": "0123456789", "[xyz]": "xyz", "[a-d]": "abcd", "[A-C]": "ABC"}
_SAMPLES = ("ab", "cd", "x", "id", "no", "-", "_", "=")


class _Part:
    """A piece of a pattern, what it means in words, and texts that it matches."""

    def __init__(self, rng: random.Random, nesting: int) -> None:
        kind = rng.choice(("word", "set", "repeat", "count", "either", "maybe") if nesting else ("word", "set"))
        self._kind = kind
        if kind == "word":
            self._text = rng.choice(_SAMPLES)
            self.pattern, self.words = self._text, f"the text {self._text!r}"
        elif kind == "set":
            self._set = rng.choice(list(_SETS))
            self.pattern, self.words = self._set, f"one character of {self._set}"
        elif kind == "either":
            self._parts = [_Part(rng, nesting - 1), _Part(rng, nesting - 1)]
            self.pattern = "(?:" + "|".join(part.pattern for part in self._parts) + ")"
            self.words = f"either {self._parts[0].words} or {self._parts[1].words}"
        else:
            part = _Part(rng, nesting - 1)
            self._parts = [part]
            inner = f"(?:{part.pattern})"
            self._low, self._high = {"repeat": (1, 4), "maybe": (0, 1)}.get(kind, (low := rng.randint(2, 3), low))
            sign, words = {
                "repeat": ("+", "one or more times"),
                "maybe": ("?", "once or not at all"),
            }.get(kind, (f"{{{self._low}}}", f"exactly {self._low} times"))
            self.pattern, self.words = inner + sign, f"({part.words}) {words}"

    def sample(self, rng: random.Random) -> str:
        """A text that it matches."""
        if self._kind == "word":
            return self._text
        if self._kind == "set":
            return rng.choice(_SETS[self._set])
        if self._kind == "either":
            return rng.choice(self._parts).sample(rng)
        return "".join(self._parts[0].sample(rng) for _ in range(rng.randint(self._low, self._high)))


def _spoil(rng: random.Random, text: str) -> str:
    """A text near to a matching one."""
    place = rng.randint(0, len(text))
    change = rng.choice(("drop", "add", "swap", "double"))
    letter = rng.choice("abcdxyzABC019-_=")
    if change == "drop":
        return text[:place] + text[place + 1 :]
    if change == "add":
        return text[:place] + letter + text[place:]
    if change == "double":
        return text + text
    return text[:place] + letter + text[place + 1 :]


@rlvr.register(
    "code/regex-v0",
    parts=3,
    nesting=1,
    levels=[
        {"parts": 1, "nesting": 1},
        {"parts": 2, "nesting": 1},
        {"parts": 3, "nesting": 1},
        {"parts": 4, "nesting": 2},
        {"parts": 6, "nesting": 2},
    ],
)
def regex(rng: random.Random, parts: int, nesting: int) -> Task:
    """A pattern for a form given in words and examples; it is tried on hidden texts, in the sandbox."""
    if not (1 <= parts <= 12 and 1 <= nesting <= 3):
        raise ConfigError(f"code/regex-v0: parts={parts}, nesting={nesting}; choose them from 1 to 12 and from 1 to 3")
    from rlvr_sandbox import run

    while True:
        pieces = [_Part(rng, nesting) for _ in range(parts)]
        pattern = "".join(piece.pattern for piece in pieces)
        texts = {"".join(piece.sample(rng) for piece in pieces) for _ in range(12)}
        texts |= {_spoil(rng, text) for text in sorted(texts)} | {""}
        ordered = sorted(texts)
        rng.shuffle(ordered)
        # Which of them match is found by running the pattern, not by how the text was made.
        lines = run(_PROGRAM.format(pattern=pattern) + f"for text in {ordered!r}: print(f(text))\n").stdout.splitlines()
        verdicts = [line == "True" for line in lines]
        if len(verdicts) == len(ordered) and sum(verdicts) >= 4 and verdicts.count(False) >= 6:
            break
    right = [text for text, matches in zip(ordered, verdicts, strict=True) if matches]
    wrong = [text for text, matches in zip(ordered, verdicts, strict=True) if not matches]
    words = ", then ".join(piece.words for piece in pieces)
    question = (
        f"Write a regular expression (Python's `re`) that matches, as a whole, exactly the texts of this form: {words}.\n\n"
        f"Matches: {', '.join(map(repr, right[:3]))}\nDoes not match: {', '.join(map(repr, wrong[:3]))}\n\n"
        "Give only the pattern, as one ```regex block."
    )
    cases = [[text] for text in ordered]
    return Task(question, answer=pattern, data={"tests": function_tests(cases, verdicts)})


_PROGRAM = "import re\ndef f(text):\n    return re.fullmatch({pattern!r}, text) is not None\n"


@regex.verifier
def _matches(task: Task, text: str) -> Score:
    code = code_in(text)
    if code is None or len(code) > 1000:
        return Score(0.0, reason="no_code")
    pattern = code.strip("\r\n").strip()
    # The pattern becomes a literal of our program; a slow one is the sandbox's to stop.
    return judge_code(_PROGRAM.format(pattern=pattern), (task.data or {})["tests"], timeout_s=1.0)


@regex.worked_solution
def _(task: Task) -> str:
    return fenced(str(task.answer), "regex")
