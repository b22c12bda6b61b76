"""Whether a mathematical answer is right: total on any text, exact, fast, safe from any thread.

    verify("42", "... so the answer is \\\\boxed{42}.").correct        # True
    verify(r"\\frac12", "The answer is $0.5$").reason                # "correct"

The steps are in their own files: extraction.py (which part of a response is its answer), lexer.py, expressions.py and
parser.py (to a tree), compare.py with expression_compare.py and realsets.py (whether two trees are the same), fingerprint.py and
evaluate.py (what expressions are worth), workers.py with sympy_worker.py (sympy, in processes that are killed on time).
"""

from rlvr.verifiers.math.extraction import Extraction, extract
from rlvr.verifiers.math.policy import DEFAULT, LENIENT, STRICT, Policy
from rlvr.verifiers.math.verdict import equivalent, verify, verify_async, verify_batch

__all__ = [
    "DEFAULT",
    "LENIENT",
    "STRICT",
    "Extraction",
    "Policy",
    "equivalent",
    "extract",
    "verify",
    "verify_async",
    "verify_batch",
]
