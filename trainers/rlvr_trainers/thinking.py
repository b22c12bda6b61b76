"""Thinking in tags: a prompt that asks a base model for it, and the part of a Score that says whether it came.

DeepSeek-R1-Zero (arXiv:2501.12948, section 2.2) is a base model, this kind of prompt, and two rewards: accuracy and format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlvr.errors import ConfigError
from rlvr.trajectory import Trajectory

PART = "format"
"""The part of a Score that is 1 where the answer had the form, else 0."""
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

CHAT_TEMPLATES = {
    "think": (
        "User and Assistant talk. When User asks something, Assistant works it out before it replies: first the reasoning, as "
        "<think> reasoning </think>, then the result alone, as <answer> result </answer>.\n"
        "{% for message in messages %}"
        "{{ 'Assistant' if message['role'] == 'assistant' else 'User' }}: {{ message['content'] }}\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}Assistant: {% endif %}"
    ),
    "short": (
        "{% for message in messages %}{% if message['role'] != 'system' %}"
        "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}"
        "{% endif %}{% endfor %}"
    ),
}
"""Chat templates by name, for models that have none. `short` is what was said and nothing else: no instructions, no tools; for
tiny models that learn one task."""


def chat_template(name_or_text: str) -> str:
    """A template of CHAT_TEMPLATES, or the Jinja text itself. Raises ConfigError for a name that is neither."""
    if name_or_text in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name_or_text]
    if "{{" not in name_or_text:
        raise ConfigError(
            f"chat_template is {name_or_text!r}, which is neither a name ({', '.join(CHAT_TEMPLATES)}) nor Jinja text: it shows "
            "no message"
        )
    return name_or_text


def has_form(text: str) -> bool:
    """True for `<think>...</think><answer>...</answer>`: each tag once, in this order, only white space around and between."""
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    before, rest = text.split(TAGS[0])
    if TAGS[1] not in rest:
        return False
    thought, rest = rest.split(TAGS[1])
    if TAGS[2] not in rest:
        return False
    between, rest = rest.split(TAGS[2])
    if TAGS[3] not in rest:
        return False
    answer, after = rest.split(TAGS[3])
    return bool(thought.strip() and answer.strip()) and not (before + between + after).strip()


def with_format(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The trajectories with part `format` in their Scores, by their last turn. It weighs nothing until it is given a weight."""
    judged = []
    for trajectory in trajectories:
        score = trajectory.score
        if score is not None and not trajectory.faulty:
            form = float(bool(trajectory.texts) and has_form(trajectory.texts[-1]))
            trajectory = replace(trajectory, score=replace(score, parts={**score.parts, PART: form}))
        judged.append(trajectory)
    return judged
