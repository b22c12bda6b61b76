"""Data sets of questions and answers: GSM8K, MATH, AIME, and any file that has the two fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.rows import Row
from rlvr.streams import split_of
from rlvr.task import content_key
from rlvr_envs.math.asking import ask, verify_answer, worked
from rlvr_envs.sources import Source, field, load, read_file

SUBJECTS = (
    "Algebra",
    "Counting & Probability",
    "Geometry",
    "Intermediate Algebra",
    "Number Theory",
    "Prealgebra",
    "Precalculus",
)


def _prompt(row: Row) -> str:
    return ask(row["question"], "only the final answer")


def _gsm8k(path: str, eval_path: str) -> Iterator[Row]:
    parts = (
        ("train", path, Source("gsm8k_train.jsonl", "openai/gsm8k", "main", "train")),
        ("eval", eval_path, Source("gsm8k_test.jsonl", "openai/gsm8k", "main", "test")),
    )
    for split, given, source in _wanted(parts, path, eval_path):
        for number, row in enumerate(load(source, env_id="math/gsm8k-v0", path=given)):
            reasoning, marker, gold = str(row.get("answer", "")).rpartition("####")
            if not marker:
                raise ConfigError(
                    f"math/gsm8k-v0: row {number} of {split} has no answer after ####: {dict(row)!r:.120}"
                )
            # <<48/2=24>> are the calculator's notes of the data set, not part of the reasoning.
            reasoning = re.sub(r"<<[^<>]*>>", "", reasoning).strip()
            gold = gold.strip().replace(",", "")
            yield {"question": row["question"].strip(), "answer": gold, "reasoning": reasoning, "split": split}


gsm8k = rlvr.register(
    "math/gsm8k-v0",
    rows=_gsm8k,
    prompt=_prompt,
    verify=verify_answer,
    split="split",
    path="",
    eval_path="",
    chance=0.03,
    description="Grade-school word problems (Cobbe et al. 2021, arXiv:2110.14168); its test part is the evaluation split.",
)


@gsm8k.worked_solution
def _(task: rlvr.Task) -> str:
    return worked([(task.data or {})["reasoning"]], str(task.answer))


def _math(path: str, eval_path: str, difficulty: int, subject: str) -> Iterator[Row]:
    env_id = "math/math-v0"
    if difficulty not in range(6):
        raise ConfigError(f"{env_id}: difficulty is {difficulty}; MATH has the levels 1 to 5, and 0 stands for all")
    wanted = {name.lower(): name for name in SUBJECTS}.get(subject.lower(), subject)
    if subject and wanted not in SUBJECTS:
        raise ConfigError(f"{env_id}: there is no subject {subject!r}; MATH has {', '.join(SUBJECTS)}")
    parts = (
        ("train", path, Source("math_train.jsonl", "DigitalLearningGmbH/MATH-lighteval", "default", "train")),
        ("eval", eval_path, Source("math500.jsonl", "HuggingFaceH4/MATH-500", None, "test")),
    )
    for split, given, source in _wanted(parts, path, eval_path):
        for number, row in enumerate(load(source, env_id=env_id, path=given)):
            level = _math_level(field(row, ["level"], env_id=env_id, number=number))
            area = str(field(row, ["subject", "type"], env_id=env_id, number=number))
            if (difficulty and level != difficulty) or (subject and area != wanted):
                continue
            gold = row.get("answer") or last_boxed(str(row.get("solution", "")))
            if not gold:
                continue  # a few rows of the full set have no boxed answer, so nothing to check against
            question = str(field(row, ["problem", "question"], env_id=env_id, number=number)).strip()
            yield {"question": question, "answer": gold, "difficulty": level, "subject": area, "split": split}


math = rlvr.register(
    "math/math-v0",
    rows=_math,
    prompt=_prompt,
    verify=verify_answer,
    split="split",
    path="",
    eval_path="",
    difficulty=0,
    subject="",
    # Level n is MATH's own level n, so that level=5 means what people mean by it; MATH has no level 0.
    levels=[{"difficulty": level or 1} for level in range(6)],
    chance=0.05,
    description="Competition problems (Hendrycks et al. 2021, arXiv:2103.03874), evaluated on MATH-500; by level and subject.",
)


def _aime(path: str, first_eval_year: int) -> Iterator[Row]:
    env_id = "math/aime-v0"
    source = Source("aime.jsonl", "di-zhang-fdu/AIME_1983_2024", None, "train")
    for number, row in enumerate(load(source, env_id=env_id, path=path)):
        answer = str(field(row, ["answer", "Answer"], env_id=env_id, number=number)).strip()
        if re.fullmatch(r"0*[0-9]{1,3}(\.0)?", answer) is None:
            raise ConfigError(
                f"{env_id}: row {number} has the answer {answer!r}; AIME answers are whole numbers from 0 to 999"
            )
        year = _year(row)
        yield {
            "question": str(
                field(row, ["problem", "Problem", "question", "Question"], env_id=env_id, number=number)
            ).strip(),
            "answer": str(int(float(answer))),
            "year": year,
            # Without a year it is a benchmark file, which nobody wants to train on by accident.
            "split": row.get("split") or ("train" if year and year < first_eval_year else "eval"),
        }


aime = rlvr.register(
    "math/aime-v0",
    rows=_aime,
    prompt=lambda row: ask(row["question"], "a whole number from 0 to 999"),
    verify=verify_answer,
    split="split",
    path="",
    first_eval_year=2024,
    chance=0.01,
    description="American Invitational Mathematics Examination; years before `first_eval_year` train, the others evaluate.",
)


def _file(path: str, question_field: str, answer_field: str, split_field: str, template: str) -> Iterator[Row]:
    env_id = "math/jsonl-v0"
    if not path:
        raise ConfigError(
            f"{env_id} asks the questions of your file: give path='problems.jsonl' (also json, csv, tsv, parquet)"
        )
    if "{question}" not in template:
        raise ConfigError(f"{env_id}: template {template!r} never shows the {{question}}")
    for number, row in enumerate(read_file(path, env_id=env_id)):
        text = str(field(row, [question_field], env_id=env_id, number=number)).strip()
        gold = str(field(row, [answer_field], env_id=env_id, number=number)).strip()
        shown = template.replace("{question}", text)
        split = field(row, [split_field], env_id=env_id, number=number) if split_field else split_of(content_key(shown))
        yield {"question": text, "shown": shown, "answer": gold, "split": split}


jsonl = rlvr.register(
    "math/jsonl-v0",
    rows=_file,
    prompt="{shown}",
    verify=verify_answer,
    split="split",
    path="",
    question_field="question",
    answer_field="answer",
    split_field="",
    template=ask("{question}", "only the final answer"),
    description="Any file with a question and an answer a row; without `split_field`, a tenth by content is for evaluation.",
)


def last_boxed(solution: str) -> str:
    r"""What stands in the last balanced \boxed{...} of a reference solution; empty if there is none."""
    start = solution.rfind("\\boxed{")
    if start < 0:
        return ""
    depth = 0
    for place in range(start + len("\\boxed"), len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[start + len("\\boxed{") : place].strip()
    return ""


def _wanted(parts: tuple[tuple[str, str, Source], ...], path: str, eval_path: str) -> list[tuple[str, str, Source]]:
    """All parts; where the user named a file for one of them only, that one."""
    return [part for part in parts if part[1] or not (path or eval_path)]


def _math_level(value: Any) -> int:
    digits = str(value).rpartition(" ")[2]  # "Level 5" in the original, 5 in the copies, "Level ?" in a few rows
    return int(digits) if digits.isdigit() else 0


def _year(row: Row) -> int:
    value = row.get("year") or row.get("Year")
    if value is None:
        match = re.search(r"\b(19[89][0-9]|20[0-9]{2})\b", str(row.get("ID") or row.get("id") or row.get("url") or ""))
        return int(match[1]) if match else 0
    return int(value)
