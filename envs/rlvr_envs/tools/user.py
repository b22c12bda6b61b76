"""A scripted user: he says what he is asked for and nothing else, the same way every time."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlvr_envs.tools.world import Slot

MAX_EMPTY_ANSWERS = 3
"""Turns of the model that ask for nothing he knows; after them he leaves."""


class ScriptedUser:
    """Reveals the slots that a question asks for by one of their words."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self.empty_answers = 0

    def reply(self, text: str) -> str | None:
        """What he says to a turn without calls, None if he has left."""
        words = set(re.findall(r"[a-z]+", text[:20_000].lower()))
        said = [slot.sentence for slot in self.slots if words & set(slot.keywords)]
        if said:
            return " ".join(said)
        self.empty_answers += 1
        if self.empty_answers >= MAX_EMPTY_ANSWERS:
            return None
        return "I have nothing to add to that. Please go on, or ask me for what you need."
