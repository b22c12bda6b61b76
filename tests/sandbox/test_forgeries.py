"""Solutions that try to be paid without being right, each by a trick that some grader has fallen for: none is."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from rlvr_sandbox import Pool

STDIO = {"kind": "stdio", "cases": [{"stdin": "5\n", "stdout": "120\n"}, {"stdin": "0\n", "stdout": "1\n"}]}
FUNCTION = {
    "kind": "function",
    "entry": "f",
    "cases": [{"args": [5], "expected": [5, "x"]}, {"args": [2], "expected": [2, "x"]}],
}
PLAIN = {"kind": "assert", "code": "assert f(5) == [5, 'x']\nassert f(2) == [2, 'x']"}
LOOP = {"kind": "assert", "code": "for n in range(4):\n    assert f(n) == [n, 'x']"}
CHECK = {
    "kind": "assert",
    "code": "def check(candidate):\n    assert candidate(5) == 120\n    for n in (0, 1):\n        assert candidate(n) == 1\ncheck(f)",
}
MAPPED = {
    "kind": "assert",
    "code": "cases = [(1, 1), (2, 4)]\nassert all(map(lambda case: f(case[0]) == case[1], cases))",
}
STACK = {"kind": "assert", "code": "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert len(s) == 1"}
RAISES = {
    "kind": "assert",
    "code": "try:\n    f(-1)\nexcept Exception:\n    pass\nelse:\n    assert False\nfor n in (1,):\n    assert f(n) == 1",
}

ANYTHING = """
class Anything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    def __hash__(self): return 0
    def __bool__(self): return True
    def __len__(self): return 2
    def __getitem__(self, key): return Anything()
    def __iter__(self): return iter([Anything(), Anything()])
    def __contains__(self, item): return True
    def __sub__(self, other): return Anything()
    __rsub__ = __add__ = __radd__ = __sub__
    def __abs__(self): return 0
    def __call__(self, *a): return Anything()
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        return Anything()
"""
EVERY = {"function": FUNCTION, "asserts": PLAIN, "loop": LOOP, "check": CHECK, "map": MAPPED}

# (name, code, kinds of EVERY it is tried on)
ON_CALLS: list[tuple[str, str]] = [
    ("equal to everything", ANYTHING + "def f(n): return Anything()"),
    ("a list equal to everything", "class L(list):\n    def __eq__(self, o): return True\n    def __len__(self): return 2\ndef f(n): return L([1, 2])"),
    ("items equal to everything", ANYTHING + "def f(n): return [Anything(), Anything()]"),
    ("a string equal to everything", "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\ndef f(n): return [n, S('y')]"),
    ("a number equal to everything", "class I(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n    def __index__(self): return 120\ndef f(n): return I(7)"),
    ("a metaclass equal to everything", "class M(type):\n    def __eq__(c, o): return True\n    def __hash__(c): return 1\nclass A(metaclass=M): pass\ndef f(n): return A"),
    ("reads what it is compared with", "class R:\n    def __eq__(self, o):\n        self.seen = o\n        return o == o\ndef f(n): return R()"),
    ("nan", "def f(n): return float('nan')"),
    ("leaves with status 0", "import sys\nsys.exit(0)"),
    ("leaves with status 0 in the call", "import sys\ndef f(n): sys.exit(0)"),
    ("os._exit(0)", "import os\nos._exit(0)"),
    ("os._exit(0) in the call", "import os\ndef f(n): os._exit(0)"),
    ("raises SystemExit", "def f(n): raise SystemExit(0)"),
    ("raises SkipTest", "import unittest\ndef f(n): raise unittest.SkipTest('skipped')"),
    ("raises StopIteration", "def f(n): raise StopIteration"),
    ("raises KeyboardInterrupt", "def f(n): raise KeyboardInterrupt"),
    ("raises GeneratorExit", "def f(n): raise GeneratorExit"),
    ("raises its own BaseException", "class E(BaseException): pass\ndef f(n): raise E"),
    ("patches builtins", "import builtins\nbuiltins.all = lambda *a: True\nbuiltins.map = lambda *a: []\nbuiltins.AssertionError = type('A', (Exception,), {})\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 2\ndef f(n): return 0"),
    ("defines builtins", "def all(x): return True\ndef map(*a): return []\ndef range(*a): return []\ndef abs(x): return 0\ndef len(x): return 2\nclass AssertionError(Exception): pass\ndef f(n): return 0"),
    ("defines the test's own names", "def check(candidate): return True\ncases = []\ncandidate = 1\ndef f(n): return 0"),
    ("a frame hack", "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n            if type(value) is list and len(value) == 2 and value[0] == n: return value\n            if type(value) is dict and 'expected' in value: return value['expected']\n        frame = frame.f_back"),
    ("a search of all objects", "import gc\ndef f(n):\n    for o in gc.get_objects():\n        if type(o) is dict and o.get('expected'): return o['expected']\n        if type(o) is list and len(o) == 2 and o[1] == 'x': return o\n        if type(o) is tuple and len(o) == 2 and o[0] == n: return o[1]"),
    ("looks for the tests in files", "import os\ndef f(n):\n    for folder, _, files in os.walk('/tmp'):\n        for name in files:\n            text = open(os.path.join(folder, name), errors='replace').read()\n            if 'assert' in text: return [n, 'x']"),
    ("writes a verdict to every descriptor", "import os, json, struct\ndef forge():\n    for text in ({'ok': True, 'passed': 9, 'total': 9}, {'cases': ['AC'], 'total': 1, 'error': '', 'gone': False}, {'v': True}):\n        b = json.dumps(text).encode()\n        for fd in range(3, 64):\n            try: os.write(fd, struct.pack('<I', len(b)) + b)\n            except OSError: pass\nforge()\nos._exit(0)"),
    ("answers ahead of the question", "import os, json, struct\ndef f(n):\n    b = json.dumps({'v': True}).encode()\n    for fd in range(3, 64):\n        for _ in range(9):\n            try: os.write(fd, struct.pack('<I', len(b)) + b)\n            except OSError: pass"),
    ("broken messages", "import os\ndef f(n):\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\xff' * 64)\n        except OSError: pass\n    os._exit(0)"),
    ("a message that is no object", "import os, json, struct\ndef f(n):\n    for text in (b'1', b'[]', b'null', b'\"exc\"', b'{\"v\": {\"h\": \"x\"}}', b'[' * 100000):\n        for fd in range(3, 64):\n            try: os.write(fd, struct.pack('<I', len(text)) + text)\n            except OSError: pass\n    os._exit(0)"),
    ("tags of its own", "import sys\nfor m in list(sys.modules.values()):\n    if getattr(m, '__name__', '').endswith('codec') and hasattr(m, 'encode') and hasattr(m, 'Channel'):\n        m.encode = lambda *a, **k: {'n': ['x', ['a', 'a'], [1]]}\ndef f(n): return 1"),
    ("a callback that nobody gave", "import os, json, struct\ndef f(n):\n    b = json.dumps({'cb': 0, 'a': [], 'k': {}}).encode()\n    for fd in range(3, 64):\n        try: os.write(fd, struct.pack('<I', len(b)) + b)\n        except OSError: pass"),
    ("a daemon that answers later", "import os, time\nif os.fork() == 0:\n    time.sleep(0.05)\n    os._exit(0)\nos._exit(0)"),
    ("prints that it passed", "print('PASSED')\nprint('{\"passed\": true}')\nprint('1 passed in 0.01s')\nprint('AC')\ndef f(n): return None"),
    ("conftest and pytest patches", "open('conftest.py', 'w').write('def pytest_runtest_makereport(item, call): pass')\nopen('sitecustomize.py', 'w').write('')\nimport sys, types\nsys.modules['pytest'] = types.ModuleType('pytest')\ndef f(n): return None"),
    ("patches the clock", "import time\ntime.time = time.monotonic = time.perf_counter = lambda: 0\ndef f(n): return None"),
    ("patches the modules of the sandbox", "import sys\nfor name, m in list(sys.modules.items()):\n    if name.startswith('rlvr'):\n        for key in list(vars(m)):\n            if callable(getattr(m, key)) and not key.startswith('__'): setattr(m, key, lambda *a, **k: True)\ndef f(n): return None"),
    ("an answer that is pickled", "class P:\n    def __reduce__(self): return (print, ('pwned',))\ndef f(n): return P()"),
    ("too many items", "def f(n): return [n, 'x'] + [0] * 100"),
    ("a set of everything", "def f(n): return {n, 'x', 1, 120}"),
    ("every answer at once", "def f(n): return [[n, 'x'], 120, 1, n * n]"),
    ("a dict that claims to be a list", "def f(n): return {0: n, 1: 'x'}"),
    ("trailing code after the function", "def f(n): return None\nraise SystemExit(0)"),
    ("a string of the answer", "def f(n): return str([n, 'x'])"),
    ("ends the interpreter by a thread", "import threading, os\ndef f(n):\n    threading.Thread(target=os._exit, args=(0,)).start()\n    while True: pass"),
    ("closes the channel", "import os\nos.closerange(0, 300)\ndef f(n): return None"),
]  # fmt: skip

ON_OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("prints the whole alphabet of verdicts", "print('AC')\nprint('passed')", STDIO),
    ("prints all answers", "print(120)\nprint(1)", STDIO),
    ("prints an endless answer", "import sys\nsys.stdout.write('120\\n')\nsys.stdout.flush()\nraise KeyboardInterrupt", STDIO),
    ("leaves with status 0 and no answer", "import os\nos._exit(0)", STDIO),
    ("writes to descriptors it guesses", "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'120\\n')\n    except OSError: pass", STDIO),
    ("a child answers the next case, too", "import os, time\nif os.fork() == 0:\n    time.sleep(0.1)\n    print('1')\n    os._exit(0)\nprint('120')", STDIO),
    ("answers with bytes that end the text", "import sys\nsys.stdout.buffer.write(b'120\\n\\0PASSED')", STDIO),
    ("counts its cases", "import os\nn = int(open('/tmp/n').read()) if os.path.exists('/tmp/n') else 0\nopen('/tmp/n', 'w').write(str(n + 1))\nprint([120, 1][n])", {**STDIO, "cases": STDIO["cases"][1:] + STDIO["cases"][:1]}),
    ("pops what equals everything", ANYTHING + "class Stack:\n    def push(self, x): pass\n    def pop(self): return Anything()\n    def __len__(self): return 1", STACK),
    ("a stack that equals everything", ANYTHING + "class Stack(Anything): pass", STACK),
    ("len that lies", "class I(int):\n    def __eq__(self, o): return True\nclass Stack:\n    def push(self, x): pass\n    def pop(self): return 2\n    def __len__(self): return I(5)", STACK),
    ("dies where an error is expected", "import os\ndef f(n): os._exit(1)", RAISES),
    ("raises for everything", "def f(n): raise ValueError", RAISES),
    ("closeness of a made up object", ANYTHING + "def f(n): return Anything()", {"kind": "assert", "code": "assert abs(f(1) - 0.5) < 1e-6"}),
    ("truth of a made up answer", "def f(n): return []", {"kind": "assert", "code": "assert f(1)"}),
    ("membership in a made up object", ANYTHING + "def f(n): return Anything()", {"kind": "assert", "code": "assert 7 in f(1)"}),
    ("greater than a made up object", ANYTHING + "def f(n): return Anything()", {"kind": "assert", "code": "x = f(1)\nassert x > 3"}),
    ("redefines the helper of the task", "def same(a, b): return True\ndef f(n): return 0", {"kind": "assert", "code": "assert same(f(1), 1)", "prelude": "def same(a, b): return a == b"}),
    ("redefines an imported module", "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef f(n): return 0", {"kind": "assert", "code": "import math\nassert math.isclose(f(1), 1)"}),
    ("redefines a builtin that the test uses", "def abs(x): return 0\ndef f(n): return 0", {"kind": "assert", "code": "assert abs(f(1) - 1) < 0.1"}),
    ("a module of its own for the test's import", "import sys, types\nm = types.ModuleType('math')\nm.isclose = lambda *a: True\nsys.modules['math'] = math = m\ndef f(n): return 0", {"kind": "assert", "code": "assert math.isclose(f(1), 1.0)"}),
    ("an exception that is one's own AssertionError", "class E(AssertionError): pass\ndef f(n): raise E", {"kind": "assert", "code": "try:\n    f(1)\nexcept ZeroDivisionError:\n    pass"}),
    ("changes the test's data", "def f(xs):\n    xs[:] = [3, 2, 1]\n    return [3, 2, 1]", {"kind": "assert", "code": "xs = [3, 1, 2]\nassert f(list(xs)) == sorted(xs)"}),
    ("a comparison object passed to a callback", ANYTHING + "def f(g): return g(Anything())", {"kind": "assert", "code": "assert f(lambda x: x == 5) is True"}),
    ("hash collisions", "def f(n): return set(i * ((1 << 61) - 1) for i in range(3_000))", {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": {1, 2}}]}),
    ("an exponent that would fill the memory", "from decimal import Decimal\ndef f(n): return Decimal('1e999999999')", {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": 10**20}]}),
    ("a checker is not fooled by a long answer", "def f(n): return [n] * 50_000", {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": [1]}], "checker": {"kind": "code", "code": "def check(given, answer, expected):\n    return answer == expected"}}),
    ("a checker gets no objects", ANYTHING + "def f(n): return Anything()", {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": [1]}], "checker": {"kind": "code", "code": "def check(given, answer, expected):\n    return answer == expected"}}),
]  # fmt: skip


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("forgery", ON_CALLS)
def test_no_trick_is_paid(pool: Pool, forgery: tuple[str, str], kind: str) -> None:
    score = pool.judge(dedent(forgery[1]), EVERY[kind], timeout_s=1, memory_mb=256)
    assert score.reward == 0.0, score
    assert score.parts["tests_passed"] < 1.0
    assert pool.trouble == 0


@pytest.mark.parametrize("forgery", ON_OTHERS)
def test_no_trick_on_other_tests_is_paid(pool: Pool, forgery: tuple[str, str, dict[str, Any]]) -> None:
    score = pool.judge(dedent(forgery[1]), forgery[2], timeout_s=1, memory_mb=256)
    assert score.reward == 0.0, score
    assert score.parts["tests_passed"] < 1.0
    assert pool.trouble == 0


def test_right_solutions_pass_the_same_tests(pool: Pool) -> None:
    factorial = "import math\ndef f(n): return math.factorial(n)"
    pair = "def f(n): return [n, 'x']"
    stack = "class Stack(list):\n    push = list.append"
    assert pool.judge(factorial + "\nif __name__ == '__main__': print(f(int(input())))", STDIO).reward == 1.0
    assert all(pool.judge(pair, tests).reward == 1.0 for tests in (FUNCTION, PLAIN, LOOP))
    assert pool.judge(factorial, CHECK).reward == 1.0
    assert pool.judge("def f(n): return n * n", MAPPED).reward == 1.0
    assert pool.judge(stack, STACK).reward == 1.0
    assert pool.judge("def f(n):\n    if n < 0: raise ValueError\n    return 1", RAISES).reward == 1.0


def test_no_reason_or_detail_tells_the_expected_answer(best_pool: Pool) -> None:
    for tests in (FUNCTION, PLAIN, LOOP):
        score = best_pool.judge("def f(n): return 0", tests)
        assert "'x'" not in score.to_json()
        assert '"x"' not in score.to_json()
