"""`rlvr envs new NAME`: a plugin package to start from, with an environment, its tests and the audit."""

from __future__ import annotations

import re
from pathlib import Path

from rlvr.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "Environments for rlvr."
requires-python = ">=3.11"
dependencies = ["rlvr"]

[project.entry-points."rlvr.envs"]
{namespace} = "{module}"
"""

_MODULE = '''\
"""The environments of the namespace `{namespace}`."""

import rlvr
from rlvr.answers import final_answer


@rlvr.register("{namespace}/digit-sum-v0", digits=4, levels=[{{"digits": 2}}, {{"digits": 4}}, {{"digits": 8}}])
def digit_sum(rng, digits):
    """Add the digits of a number."""
    number = rng.randrange(10 ** (digits - 1), 10**digits)
    return rlvr.Task(f"What is the sum of the digits of {{number}}?", answer=str(sum(map(int, str(number)))))


@digit_sum.verifier
def judge(task, text):
    """1 if the final answer is the sum, else 0. A pure function: it runs in a worker process, and again from logs."""
    answer = final_answer(text)
    if answer is None:
        return rlvr.Score(0.0, reason="no_answer")
    return rlvr.Score(float(answer == task.answer), reason="correct" if answer == task.answer else "wrong")


@digit_sum.worked_solution
def solve(task):
    """An ideal completion, for a supervised start."""
    digits = task.text.split()[-1].rstrip("?")
    return f"<think>{{' + '.join(digits)}} = {{task.answer}}</think>{{task.answer}}"
'''

_TEST = '''\
"""The audit, and cases by hand."""

import rlvr


def test_the_reward_cannot_be_had_for_nothing(rlvr_audit):
    rlvr_audit("{namespace}/digit-sum-v0", digits=8)


def test_a_case_by_hand():
    task = rlvr.Task("What is the sum of the digits of 1234?", answer="10")
    spec = rlvr.spec("{namespace}/digit-sum-v0")
    assert spec.judge(task, "<think>1 + 2 + 3 + 4</think>10").correct
    assert not spec.judge(task, "9 or 10").correct
'''

_README = """\
# {name}

    pip install -e . pytest
    rlvr envs list {namespace}
    rlvr play {namespace}/digit-sum-v0
    rlvr audit {namespace}/digit-sum-v0 digits=8
    pytest
"""


def scaffold(name: str, parent: Path) -> Path:
    """Write the package `name` into a new folder of `parent`; returns the folder.

    Raises ConfigError if the name is no package name or the folder exists.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is no name for a package; use lower-case words joined by dashes, like acme-envs")
    folder = parent / name
    if folder.exists():
        raise ConfigError(f"{folder} exists; nothing was written. Choose another name or remove it.")
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "namespace": name.removesuffix("-envs")}
    files = {
        "pyproject.toml": _PYPROJECT,
        f"{module}/__init__.py": _MODULE,
        f"tests/test_{module}.py": _TEST,
        "README.md": _README,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.format(**words), "utf-8")
    return folder
