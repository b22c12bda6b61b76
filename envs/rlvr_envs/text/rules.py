"""Instructions about the form of a text, each with a check and with a way to follow it.

In the manner of IFEval (Zhou et al. 2023, arXiv:2311.07911), written anew: a rule draws its parameters, says in words what
it wants, checks a text, and changes a draft so that it complies. Rules of one group exclude each other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlvr_envs.text.vocabulary import WORDS

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One instruction."""

    name: str
    group: str
    """Rules of one group are never combined."""
    draw: Callable[[random.Random], Parameters]
    say: Callable[[Parameters], str]
    check: Callable[[Parameters, str], bool]
    follow: Callable[[Parameters, str], str]
    """A draft changed so that it complies. Drafts are sentences of common words, one paragraph of them."""
    stage: int = 5
    """Drafts are changed in this order: words first, then layout, then what wraps the whole."""


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and apostrophes."""
    return re.findall(r"[A-Za-z0-9']+", text)


def sentences_of(text: str) -> list[str]:
    """The sentences of a text: what ends with . ! or ?"""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part and part[-1] in ".!?"]


def paragraphs_of(text: str) -> list[str]:
    """The paragraphs of a text, separated by blank lines."""
    return [part for part in re.split(r"\n[ \t]*\n", text.strip()) if part.strip()]


def bullets_of(text: str) -> list[str]:
    """The lines that open with `* `."""
    return [line for line in text.split("\n") if line.startswith("* ")]


def occurrences(word: str, text: str) -> int:
    """How often a word stands in a text, in any case."""
    return sum(other.lower() == word for other in words_of(text))


def sentence(words: list[str]) -> str:
    """A sentence of these words."""
    return " ".join(words).capitalize() + "."


def pad(text: str, count: int, filler: str = "and so it goes on") -> str:
    """The text with whole filler words before its last stop until it has `count` words."""
    missing = count - len(words_of(text))
    if missing <= 0:
        return text
    more = (filler.split() * (missing // 5 + 1))[:missing]
    return text.rstrip()[:-1] + " " + " ".join(more) + "."


def number(low: int, high: int, name: str = "n") -> Callable[[random.Random], Parameters]:
    """Draws one whole number."""
    return lambda rng: {name: rng.randint(low, high)}


def word(count: int = 1) -> Callable[[random.Random], Parameters]:
    """Draws words."""
    return lambda rng: {"words": rng.sample(WORDS, count)}


def nothing(rng: random.Random) -> Parameters:
    """Draws nothing."""
    return {}


RULES: tuple[Rule, ...] = (
    Rule("include-word", "include", word(),
         lambda p: f"Use the word {p['words'][0]}.",
         lambda p, t: occurrences(p["words"][0], t) >= 1,
         lambda p, t: t + " " + sentence(["I", "saw", "the", p["words"][0]]), 1),
    Rule("include-words", "include", word(3),
         lambda p: f"Use each of the words {', '.join(p['words'])} at least once.",
         lambda p, t: all(occurrences(w, t) >= 1 for w in p["words"]),
         lambda p, t: t + " " + sentence(["we", "found", *p["words"]]), 1),
    Rule("repeat-word", "include", lambda rng: {"words": [rng.choice(WORDS)], "n": rng.randint(2, 5)},
         lambda p: f"Use the word {p['words'][0]} exactly {p['n']} times.",
         lambda p, t: occurrences(p["words"][0], t) == p["n"],
         lambda p, t: t + " " + sentence(p["words"] * p["n"]), 1),
    Rule("words-in-order", "include", word(2),
         lambda p: f"Use the word {p['words'][0]} and, later in the text, the word {p['words'][1]}.",
         lambda p, t: _in_order(p["words"], t),
         lambda p, t: t + " " + sentence(["first", p["words"][0], "then", p["words"][1]]), 1),
    Rule("forbid-word", "forbid", lambda rng: {"words": [rng.choice(["the", "and", "is", "of", "a"])]},
         lambda p: f"Do not use the word {p['words'][0]}.",
         lambda p, t: occurrences(p["words"][0], t) == 0,
         lambda p, t: re.sub(rf"\b{p['words'][0]}\b", "one", t, flags=re.I), 3),
    Rule("forbid-letter", "forbid", lambda rng: {"letter": rng.choice("jqxz")},
         lambda p: f"Do not use the letter {p['letter']} anywhere.",
         lambda p, t: p["letter"] not in t.lower(),
         lambda p, t: t.replace(p["letter"], "s").replace(p["letter"].upper(), "S"), 3),
    Rule("min-words", "length", number(30, 90),
         lambda p: f"Write at least {p['n']} words.",
         lambda p, t: len(words_of(t)) >= p["n"],
         lambda p, t: pad(t, p["n"]), 2),
    Rule("max-words", "length", number(25, 60),
         lambda p: f"Write at least 10 and at most {p['n']} words.",
         lambda p, t: 10 <= len(words_of(t)) <= p["n"],
         lambda p, t: pad(t, 10), 2),
    Rule("exact-words", "length", number(25, 60),
         lambda p: f"Write exactly {p['n']} words.",
         lambda p, t: len(words_of(t)) == p["n"],
         lambda p, t: pad(t, p["n"]), 2),
    Rule("sentences", "length", number(3, 8),
         lambda p: f"Write exactly {p['n']} sentences, each ending with a full stop.",
         lambda p, t: len(sentences_of(t)) == p["n"] == t.count("."),
         lambda p, t: " ".join((sentences_of(t) + ["It is so."] * p["n"])[: p["n"]]), 2),
    Rule("letters", "length", number(3, 9),
         lambda p: f"Write at least {p['n']} words of six letters or more.",
         lambda p, t: sum(len(w) >= 6 for w in words_of(t)) >= p["n"],
         lambda p, t: t + " " + sentence(["yesterday"] * p["n"]), 2),
    Rule("lower-case", "case", nothing,
         lambda p: "Write in lower case only: no capital letters.",
         lambda p, t: t == t.lower() and any(map(str.isalpha, t)),
         lambda p, t: t.lower(), 9),
    Rule("upper-case", "case", nothing,
         lambda p: "Write in CAPITAL LETTERS only.",
         lambda p, t: t == t.upper() and any(map(str.isalpha, t)),
         lambda p, t: t.upper(), 9),
    Rule("shouted", "case", number(2, 5),
         lambda p: f"Write exactly {p['n']} words in capital letters (words of at least two letters), the others not.",
         lambda p, t: sum(len(w) > 1 and w.isalpha() and w.isupper() for w in words_of(t)) == p["n"],
         lambda p, t: _shout(t, p["n"]), 4),
    Rule("no-commas", "commas", nothing,
         lambda p: "Use no commas.",
         lambda p, t: "," not in t,
         lambda p, t: t.replace(",", ""), 3),
    Rule("commas", "commas", number(2, 6),
         lambda p: f"Use exactly {p['n']} commas.",
         lambda p, t: t.count(",") == p["n"],
         lambda p, t: t.replace(" ", ", ", p["n"]), 3),
    Rule("question", "marks", nothing,
         lambda p: "Ask exactly one question: use one question mark.",
         lambda p, t: t.count("?") == 1,
         lambda p, t: t + " Is it so?", 2),
    Rule("no-full-stops", "stops", nothing,
         lambda p: "Use no full stops; end each sentence with an exclamation mark.",
         lambda p, t: "." not in t and "!" in t,
         lambda p, t: t.replace(".", "!"), 4),
    Rule("bullets", "layout", number(2, 6),
         lambda p: f"Include exactly {p['n']} bullet points: lines that open with an asterisk and a space.",
         lambda p, t: len(bullets_of(t)) == p["n"],
         lambda p, t: t + "\n" + "\n".join(["* a point"] * p["n"]), 6),
    Rule("numbered", "layout", number(2, 6),
         lambda p: f"Include a numbered list of exactly {p['n']} lines that open with 1) 2) and so on.",
         lambda p, t: re.findall(r"^(\d+)\) ", t, re.M) == [str(i + 1) for i in range(p["n"])],
         lambda p, t: t + "\n" + "\n".join(f"{i + 1}) an item" for i in range(p["n"])), 6),
    Rule("paragraphs", "layout", number(2, 5),
         lambda p: f"Write exactly {p['n']} paragraphs, separated by blank lines.",
         lambda p, t: len(paragraphs_of(t)) == p["n"],
         lambda p, t: t + "\n\nMore of it." * (p["n"] - 1), 6),
    Rule("lines", "layout", number(3, 8),
         lambda p: f"Write exactly {p['n']} lines, none of them empty.",
         lambda p, t: len(t.strip().split("\n")) == p["n"] and all(line.strip() for line in t.strip().split("\n")),
         lambda p, t: t + "\nMore of it." * (p["n"] - 1), 6),
    Rule("title", "top", nothing,
         lambda p: "Open with a title in double angular brackets, like <<my title>>.",
         lambda p, t: re.match(r"\s*<<[^<>\n]+>>", t) is not None,
         lambda p, t: "<<a title>> " + t, 7),
    Rule("first-word", "top", word(),
         lambda p: f"Begin with the word {p['words'][0]}.",
         lambda p, t: [w.lower() for w in words_of(t)[:1]] == p["words"],
         lambda p, t: p["words"][0] + " " + t, 7),
    Rule("last-word", "bottom", word(),
         lambda p: f"End with the word {p['words'][0]}, and nothing after it.",
         lambda p, t: re.search(r"[A-Za-z0-9']+$", t.rstrip()) is not None and words_of(t)[-1].lower() == p["words"][0],
         lambda p, t: t + " " + p["words"][0], 7),
    Rule("postscript", "bottom", nothing,
         lambda p: "Close with a line that opens with P.S. and says something.",
         lambda p, t: re.match(r"p\.s\. ?\S", t.strip().split("\n")[-1], re.I) is not None,
         lambda p, t: t + "\nP.S. one thing more", 7),
    Rule("quoted", "wrap", nothing,
         lambda p: "Put the whole text in double quotation marks, and use no others.",
         lambda p, t: len(t.strip()) > 2 and t.strip()[0] == t.strip()[-1] == '"' and t.count('"') == 2,
         lambda p, t: f'"{t}"', 8),
    Rule("placeholders", "marks2", number(1, 4),
         lambda p: f"Include exactly {p['n']} placeholders in square brackets, such as [name].",
         lambda p, t: len(re.findall(r"\[[^\[\]\n]+\]", t)) == p["n"],
         lambda p, t: t + " [name]" * p["n"], 4),
    Rule("highlight", "marks2", number(1, 4),
         lambda p: f"Highlight exactly {p['n']} parts between underscores, like _this_.",
         lambda p, t: len(re.findall(r"_[^_\n]+_", t)) == p["n"] == t.count("_") / 2,
         lambda p, t: t + " _so_" * p["n"], 4),
    Rule("digits", "marks3", number(3, 8),
         lambda p: f"Use exactly {p['n']} digits (0 to 9) in the whole text.",
         lambda p, t: sum(letter in "0123456789" for letter in t) == p["n"],
         lambda p, t: t + " " + "7" * p["n"], 4),
)  # fmt: skip


def _in_order(words: list[str], text: str) -> bool:
    found = [other.lower() for other in words_of(text)]
    return words[0] in found and words[1] in found[found.index(words[0]) + 1 :]


def _shout(text: str, count: int) -> str:
    parts = text.split(" ")
    for place, part in enumerate(parts):
        if count and part.isalpha() and len(part) > 1:
            parts[place] = part.upper()
            count -= 1
    return " ".join(parts)
