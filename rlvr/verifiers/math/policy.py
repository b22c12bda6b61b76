"""What counts as the same answer: every switch, with an example, and three presets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that a checker has to choose, because graders differ on them. All apply to gold and answer alike."""

    rounding: bool = True
    """A decimal equals an exact value that rounds to the digits it shows: `30.52` and `1587/52`. Two decimals never do:
    `2.23` is not `2.232`. At least two decimals or three significant digits have to be shown: `0.3` is not `1/3`."""
    percent: bool = True
    """`20%` equals `0.2`, `1/5` and, for amounts above one, the bare `20`. Off: only `20%` and `0.2`."""
    units: bool = True
    """A unit that one side leaves out is no difference: `15 cm^2` and `15`. Off: both or neither must name it."""
    unordered: bool = True
    """A list without brackets may stand in any order: `1, 2` and `2, 1`. Off: in the gold's order."""
    interval_relation: bool = True
    """`(3, 4]` equals `3 < x <= 4`. Off: an interval equals intervals only."""
    named: bool = True
    """`x = 5` equals `5`, and `w=16, d=3` equals `16, 3`. Off: the name must be there."""
    rename: bool = True
    """A bound letter's name is no difference: `f(x)=x+1` and `f(t)=t+1`. Off: it is."""
    ignore_base: bool = False
    """On: the digits of a base-n number are enough, `4210` for `4210_7`. Off: the base must be said."""
    last_number: bool = True
    """Without a box, an answer line or mathematics, the last number of the text is its answer. Off: there is no answer."""
    bare: bool = True
    """A response that is short and nothing else but an answer is its own answer. Off: it needs a box, a tag or a line."""
    symbolic_proof: bool = False
    """On: expressions that agree at every sampled point to 50 digits count only once sympy confirms it. Off: the agreement
    is enough, and sympy is asked where nothing could be sampled."""
    math_verify: bool = False
    """On: what we cannot read goes to Math-Verify, if installed, inside the killable worker."""
    deadline_s: float = 1.5
    """Seconds a symbolic confirmation may take, from when a worker begins it; processor seconds if the machine is crowded."""


DEFAULT = Policy()
STRICT = Policy(
    rounding=False,
    percent=False,
    units=False,
    interval_relation=False,
    named=False,
    rename=False,
    last_number=False,
    bare=True,
    symbolic_proof=True,
)
LENIENT = Policy(ignore_base=True, math_verify=True)
