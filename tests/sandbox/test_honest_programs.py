"""Programs of people who mean well, right and wrong: each gets the verdict it deserves, at every level."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from rlvr_sandbox import Pool


def stdio(*cases: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"kind": "stdio", "cases": [{"stdin": stdin, "stdout": stdout} for stdin, stdout in cases], **more}


def function(entry: str, *cases: tuple[list[Any], Any], **more: Any) -> dict[str, Any]:
    return {"kind": "function", "entry": entry, "cases": [{"args": a, "expected": e} for a, e in cases], **more}


def asserts(code: str, **more: Any) -> dict[str, Any]:
    return {"kind": "assert", "code": dedent(code), **more}


ADD = stdio(("1 2\n", "3\n"), ("-5 5\n", "0\n"))
LINES = "\n".join(str(n) for n in range(100_000))

RIGHT: list[tuple[str, str, dict[str, Any]]] = [
    ("reads with input", "a, b = map(int, input().split())\nprint(a + b)", ADD),
    ("reads sys.stdin", "import sys\nprint(sum(int(x) for line in sys.stdin for x in line.split()))", ADD),
    ("reads bytes", "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", ADD),
    ("opens descriptor 0", "print(sum(map(int, open(0).read().split())))", ADD),
    ("writes bytes", "import sys\nsys.stdout.buffer.write(b'%d\\n' % sum(map(int, input().split())))", ADD),
    ("writes with os", "import os\nos.write(1, str(sum(map(int, os.read(0, 100).split()))).encode())", ADD),
    ("main guard", "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()", ADD),
    ("no newline at the end", "print(sum(map(int, input().split())), end='')", ADD),
    ("trailing blanks", "print(sum(map(int, input().split())), '  ')\nprint()", ADD),
    ("carriage returns", "print(sum(map(int, input().split())), end='\\r\\n')", ADD),
    ("sys.exit(0)", "import sys\nprint(sum(map(int, input().split())))\nsys.exit(0)", ADD),
    ("sys.exit()", "import sys\nprint(sum(map(int, input().split())))\nsys.exit()", ADD),
    ("exit()", "print(sum(map(int, input().split())))\nexit()", ADD),
    ("quit()", "print(sum(map(int, input().split())))\nquit(0)", ADD),
    ("os._exit after a flush", "import os\nprint(sum(map(int, input().split())), flush=True)\nos._exit(0)", ADD),
    ("byte order mark", "\ufeffprint(sum(map(int, input().split())))", ADD),
    ("windows line ends", "a, b = map(int, input().split())\r\nif a:\r\n    print(a + b)\r\n", ADD),
    ("writes to stderr", "import sys\nprint('x' * 200_000, file=sys.stderr)\nprint(sum(map(int, input().split())))", ADD),
    ("leaves input unread", "print('done')", stdio(("x" * 300_000, "done\n"))),
    ("300 KB of output", "print('ab' * 150_000)", stdio(("", "ab" * 150_000 + "\n"))),
    ("100,000 lines", "for n in range(100_000): print(n)", stdio(("", LINES))),
    ("100,000 lines through", "import sys\nfor line in sys.stdin: print(int(line))", stdio((LINES, LINES))),
    ("no trailing newline in the input", "print(input() + input())", stdio(("a\nb", "ab"))),
    ("windows input", "print(repr(input()))", stdio(("a\r\n", "'a'"))),
    ("end of input", "n = 0\ntry:\n    while True:\n        input()\n        n += 1\nexcept EOFError:\n    print(n)", stdio(("a\nb\n", "2"))),
    ("unicode", "s = input()\nprint(s[::-1], len(s))", stdio(("äöü→😀\n", "😀→üöä 5\n"))),
    ("deep recursion", "import sys\nsys.setrecursionlimit(200_000)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(100_000))", stdio(("", "100000"))),
    ("deep recursion in a thread", "import sys, threading\nsys.setrecursionlimit(200_000)\nthreading.stack_size(128 << 20)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(50_000)))\nt.start()\nt.join()", stdio(("", "50000"))),
    ("recursion error that is caught", "def f(): return f()\ntry: f()\nexcept RecursionError: print('caught')", stdio(("", "caught"))),
    ("cached recursion", "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nprint(f(400))", stdio(("", "176023680645013966468226945392411250770384383304492191886725992896575345044216019675"))),
    ("threads", "import threading\nout = []\nts = [threading.Thread(target=out.append, args=(n,)) for n in range(60)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nprint(sorted(out) == list(range(60)))", stdio(("", "True"))),
    ("threads nobody joins", "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()", stdio(("", "late"))),
    ("thread pool", "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(32) as ex: print(sum(ex.map(lambda n: n * n, range(100))))", stdio(("", "328350"))),
    ("exit handlers", "import atexit\natexit.register(print, 'bye')\nprint('hi')", stdio(("", "hi\nbye"))),
    ("finalizers", "class A:\n    def __del__(self): print('gone')\na = A()\ndel a\nprint('end')", stdio(("", "gone\nend"))),
    ("asyncio", "import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    return n\nasync def main(): return sum(await asyncio.gather(*map(f, range(10))))\nprint(asyncio.run(main()))", stdio(("", "45"))),
    ("many imports", "import json, csv, re, math, heapq, bisect, itertools, functools, collections, datetime, decimal, fractions, random, string, statistics, operator, copy, time, os, sys, io, typing, dataclasses, enum, textwrap, hashlib, base64, struct, zlib, bz2, lzma, pickle, sqlite3, urllib.parse, uuid, tempfile, pathlib, logging, argparse, unittest, doctest, inspect, ast, difflib, calendar, zoneinfo, secrets, html, xml.etree.ElementTree, email, array, queue, threading, subprocess, multiprocessing, ctypes, cmath, numbers, contextlib, weakref, types, abc, glob, shutil, platform, locale, gettext, pprint, reprlib, traceback, warnings, timeit, cProfile, selectors, socket, ssl, signal\nprint('ok')", stdio(("", "ok"))),
    ("files of its own", "import tempfile, os\nwith tempfile.TemporaryDirectory() as d:\n    p = os.path.join(d, 'x')\n    open(p, 'w').write('hello')\n    print(open(p).read())", stdio(("", "hello"))),
    ("a file in its folder", "open('out.txt', 'w').write('x' * 1000)\nprint(len(open('out.txt').read()))", stdio(("", "1000"))),
    ("its own source", "print(open(__file__).read() == open('main.py').read(), len(open(__file__).read()))", stdio(("", "True 82"))),
    ("sqlite", "import sqlite3\nc = sqlite3.connect(':memory:')\nc.execute('create table t (x int)')\nc.executemany('insert into t values (?)', [(n,) for n in range(5)])\nprint(c.execute('select sum(x) from t').fetchone()[0])", stdio(("", "10"))),
    ("a child process", "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout.strip())", stdio(("", "42"))),
    ("fork", "import os\np = os.fork()\nif p == 0:\n    print('child', flush=True)\n    os._exit(0)\nos.waitpid(p, 0)\nprint('parent')", stdio(("", "child\nparent"))),
    ("signals to itself", "import signal, os\nsignal.signal(signal.SIGUSR1, lambda *a: print('got it'))\nsignal.raise_signal(signal.SIGUSR1)", stdio(("", "got it"))),
    ("alarm", "import signal\nclass T(Exception): pass\ndef h(*a): raise T\nsignal.signal(signal.SIGALRM, h)\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nimport time\ntry: time.sleep(3)\nexcept T: print('alarm')", stdio(("", "alarm"))),
    ("seeded random", "import random\nrandom.seed(1)\nprint(random.randint(0, 10**9))", stdio(("", "144272509"))),
    ("sleeps a little", "import time\ntime.sleep(0.3)\nprint('up')", stdio(("", "up"))),
    ("pickles its class", "import pickle\nclass A:\n    def __init__(self): self.x = 5\nprint(pickle.loads(pickle.dumps(A())).x)", stdio(("", "5"))),
    ("dataclass under future annotations", "from __future__ import annotations\nfrom dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int\n    y: list[int] = field(default_factory=list)\nprint(P(1))", stdio(("", "P(x=1, y=[])"))),
    ("100 MB of memory", "x = bytearray(100 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint(len(x) >> 20)", stdio(("", "100"))),
    ("float checker", "print(1 / 3)", stdio(("", "0.333333"), checker={"kind": "float", "rel_tol": 1e-5})),
    ("any of several outputs", "print('b a')", {"kind": "stdio", "cases": [{"stdin": "", "any_of": ["a b", "b a"]}]}),
    ("unordered lines", "print('b')\nprint('a')", stdio(("", "a\nb"), checker="unordered")),
    ("checker of the task", "print(7, 5)", stdio(("12", ""), checker={"kind": "code", "code": "def check(given, answer, expected):\n    return sum(map(int, answer.split())) == int(given)"})),
    ("plain function", "def f(x): return x + 1", function("f", ([1], 2), ([-1], 0))),
    ("tuple for a list", "def f(x): return (x, [x, (x,)])", function("f", ([1], [1, [1, [1]]]))),
    ("tuple for a tuple", "def f(x): return (x, x)", function("f", ([1], (1, 1)))),
    ("named tuple for a tuple", "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(x): return P(x, x)", function("f", ([1], (1, 1)))),
    ("generator for a list", "def f(n):\n    for i in range(n): yield i * i", function("f", ([4], [0, 1, 4, 9]))),
    ("map, zip and keys for lists", "def f(d): return [list(map(str, d)), zip(d, d), d.keys(), d.values(), d.items()]", function("f", ([{"a": 1}], [["a"], [["a", "a"]], ["a"], [1], [["a", 1]]]))),
    ("set in any order", "def f(): return {3, 1, 2}", function("f", ([], {1, 2, 3}))),
    ("dict in any order", "def f(): return {'b': 1, 'a': [2]}", function("f", ([], {"a": [2], "b": 1}))),
    ("default dict", "from collections import defaultdict, Counter\ndef f(s):\n    d = defaultdict(list)\n    d['x'].append(Counter(s))\n    return d", function("f", (["aab"], {"x": [{"a": 2, "b": 1}]}))),
    ("integer keys", "def f(): return {1: 'a', (1, 2): 'b', None: 3}", function("f", ([], {1: "a", (1, 2): "b", None: 3}))),
    ("big integers", "def f(n): return 7 ** n", function("f", ([3000], 7**3000), ([2], 49))),
    ("float sums", "def f(xs): return sum(xs)", function("f", ([[0.1, 0.2]], 0.3))),
    ("nan and infinity", "def f(): return [float('nan'), float('inf'), -float('inf')]", function("f", ([], [float("nan"), float("inf"), -float("inf")]))),
    ("none", "def f(x): pass", function("f", ([1], None))),
    ("booleans", "def f(x): return x > 1", function("f", ([1], False), ([2], True))),
    ("unicode values", "def f(s): return s[::-1]", function("f", (["äß\u0000😀"], "😀\u0000ßä"))),
    ("bytes and complex", "def f(): return [b'ab', 1 + 2j, range(3)]", function("f", ([], [b"ab", 1 + 2j, range(3)]))),
    ("fractions and decimals", "from fractions import Fraction\nfrom decimal import Decimal\ndef f(): return [Fraction(1, 2), Decimal('1.5')]", function("f", ([], [0.5, 1.5]))),
    ("prints as well", "def f(x):\n    print('debug', x)\n    return x", function("f", ([1], 1))),
    ("prints very much", "def f(x):\n    print('debug' * 1_000_000)\n    return x", function("f", ([1], 1))),
    ("global state", "n = 0\ndef f():\n    global n\n    n += 1\n    return n", function("f", ([], 1), ([], 2))),
    ("a solution class", "class Solution:\n    def twoSum(self, nums, target): return [nums.index(target - n) for n in nums]", function("twoSum", ([[1, 2], 3], [1, 0]))),
    ("a method by its path", "class Calc:\n    def add(self, a, b): return a + b", function("Calc.add", ([1, 2], 3))),
    ("keyword arguments", "def f(a, *, b): return a - b", {"kind": "function", "entry": "f", "cases": [{"args": [5], "kwargs": {"b": 3}, "expected": 2}]}),
    ("a function named sum", "def sum(a, b): return a * b", function("sum", ([3, 4], 12))),
    ("a coroutine", "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x", function("f", ([1], 1))),
    ("string subclass and enum", "import enum\nclass S(str): pass\nclass C(enum.IntEnum):\n    A = 1\ndef f(): return [S('x'), C.A]", function("f", ([], ["x", 1]))),
    ("main guard in a module", "def f(x): return x\nif __name__ == '__main__':\n    print(f(int(input())))", function("f", ([1], 1))),
    ("megabytes back", "def f(n): return list(range(n))", function("f", ([300_000], list(range(300_000))))),
    ("any of several values", "def f(): return [2, 1]", {"kind": "function", "entry": "f", "cases": [{"args": [], "any_of": [[1, 2], [2, 1]]}]}),
    ("unordered values", "def f(): return [[2, 1], [3]]", function("f", ([], [[3], [2, 1]]), checker="unordered")),
    ("checker of the task for values", "def f(n): return [n - 1, 1]", function("f", ([5], None), checker={"kind": "code", "code": "def check(given, answer, expected):\n    return sum(answer) == given[0]"})),
    ("plain asserts", "def f(x): return x + 1", asserts("assert f(1) == 2\nassert f(2) == 3, 'two'")),
    ("check of a candidate", "def f(x): return x + 1", asserts("def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n\ncheck(f)")),
    ("loops in the test", "def f(x): return x * x", asserts("for n in range(50):\n    assert f(n) == n ** 2")),
    ("a class", "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)", asserts("s = Stack()\ns.push(1)\ns.push([2])\nassert len(s) == 2\nassert s.pop() == [2]\nassert s.items == [1]")),
    ("operators of a class", "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n    def __mul__(self, k): return V(self.x * k)\n    def __rmul__(self, k): return V(self.x * k)\n    def __eq__(self, o): return self.x == o.x\n    def __hash__(self): return hash(self.x)\n    def __repr__(self): return f'V({self.x})'", asserts("assert V(1) + V(2) == V(3)\nassert V(2) * 3 == V(6)\nassert 3 * V(2) == V(6)\nassert repr(V(1)) == 'V(1)'\nassert V(1) != V(2)\nassert len({V(1), V(1)}) == 1\nassert f'{V(5)}' == 'V(5)'")),
    ("class attributes and static methods", "class A:\n    limit = 3\n    @staticmethod\n    def f(x): return x + 1\n    @classmethod\n    def make(cls): return cls()\n    @property\n    def p(self): return 7", asserts("assert A.limit == 3\nassert A.f(1) == 2\nassert A.make().p == 7\nassert isinstance(A.make(), A)")),
    ("exceptions", "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x", asserts("try:\n    f(-1)\n    assert False\nexcept ValueError as error:\n    assert str(error) == 'negative'\nassert f(1) == 1")),
    ("an exception of its own", "class Empty(Exception):\n    def __init__(self, n):\n        super().__init__(f'empty {n}')\n        self.n = n\ndef f(): raise Empty(3)", asserts("try:\n    f()\nexcept Empty as error:\n    assert error.n == 3 and str(error) == 'empty 3'\nelse:\n    assert False")),
    ("changes its argument", "def f(xs):\n    xs.sort()\n    xs.append(9)", asserts("xs = [3, 1]\nassert f(xs) is None\nassert xs == [1, 3, 9]")),
    ("callbacks", "def apply(f, xs): return [f(x) for x in xs]", asserts("assert apply(lambda x: x * 2, [1, 2]) == [2, 4]\nassert apply(str, [1]) == ['1']")),
    ("callbacks that raise", "def safe(f):\n    try: return f()\n    except ZeroDivisionError: return 'caught'", asserts("assert safe(lambda: 1 / 0) == 'caught'")),
    ("generators in a test", "def gen(n):\n    for i in range(n): yield i\ndef inf():\n    i = 0\n    while True:\n        yield i\n        i += 1", asserts("assert list(gen(3)) == [0, 1, 2]\ng = inf()\nassert next(g) == 0 and next(g) == 1\nassert sum(gen(4)) == 6")),
    ("closures", "def adder(n): return lambda x: x + n", asserts("assert adder(2)(3) == 5")),
    ("coroutines", "async def f(x): return x + 1\nclass A:\n    async def g(self): return 5", asserts("import asyncio\nassert asyncio.run(f(1)) == 2\nasync def main():\n    return await A().g()\nassert asyncio.run(main()) == 5")),
    ("context managers", "class M:\n    log = []\n    def __enter__(self):\n        self.log.append('in')\n        return self\n    def __exit__(self, *a): self.log.append('out')", asserts("with M() as m:\n    assert m.log == ['in']\nassert m.log == ['in', 'out']")),
    ("indexing and membership", "class D:\n    def __init__(self): self.d = {}\n    def __getitem__(self, k): return self.d[k]\n    def __setitem__(self, k, v): self.d[k] = v\n    def __delitem__(self, k): del self.d[k]\n    def __contains__(self, k): return k in self.d\n    def __iter__(self): return iter(self.d)", asserts("d = D()\nd['a'] = 1\nassert d['a'] == 1 and 'a' in d and 'b' not in d\nassert list(d) == ['a']\ndel d['a']\nassert 'a' not in d")),
    ("comparing its objects", "import functools\n@functools.total_ordering\nclass A:\n    def __init__(self, x): self.x = x\n    def __lt__(self, o): return self.x < o.x\n    def __eq__(self, o): return self.x == o.x", asserts("assert A(1) < A(2) and A(2) >= A(1)\nassert max([A(1), A(3), A(2)]).x == 3\nassert sorted([A(2), A(1)])[0].x == 1")),
    ("nodes", "class Node:\n    def __init__(self, v, n=None): self.val, self.next = v, n\ndef rev(h):\n    p = None\n    while h: h.next, p, h = p, h, h.next\n    return p", asserts("h = rev(Node(1, Node(2, Node(3))))\nout = []\nwhile h:\n    out.append(h.val)\n    h = h.next\nassert out == [3, 2, 1]")),
    ("helpers of the task", "def encode(s): return s[::-1]", asserts("assert decode(encode('abc')) == 'abc'", prelude="def decode(s): return s[::-1]")),
    ("a test that needs the solution's import", "import math\ndef area(r): return math.pi * r * r", asserts("assert math.isclose(area(1), math.pi)")),
    ("a builtin's name", "def sum(a, b): return a + b if a + b < 10 else 20", asserts("assert sum(10, 15) == 20\nassert sum(1, 2) == 3")),
    ("a builtin's name, said by the task", "def max(x): return 5", asserts("assert max([1]) == 5 and n == 1\n", prelude="n = 1", names=["max"])),
    ("close floats", "def f(x): return x / 3", asserts("assert abs(f(1) - 0.3333333) < 1e-6")),
    ("sets around results", "def f(a, b): return tuple(set(a) & set(b))", asserts("assert set(f((3, 4, 5), (5, 4))) == set((4, 5))")),
    ("truth of results", "def f(x): return x > 0", asserts("assert f(1)\nassert not f(0)\nassert f(1) is True")),
    ("a constant of the solution", "LIMIT = 10\ndef f(): return LIMIT", asserts("assert f() == LIMIT == 10")),
]  # fmt: skip

WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("off by one", "print(sum(map(int, input().split())) + 1)", ADD, "WA"),
    ("right in the first case only", "print(3)", ADD, "WA"),
    ("prints nothing", "input()", ADD, "WA"),
    ("prints too much", "print(sum(map(int, input().split())))\nprint('done')", ADD, "WA"),
    ("prints the first line only", "print(1)", stdio(("", "1\n2\n3\n")), "WA"),
    ("one line for three", "print('1 2 3')", stdio(("", "1\n2\n3\n")), "WA"),
    ("prompts", "print(sum(map(int, input('? ').split())))", ADD, "WA"),
    ("wrong case", "print('yes')", stdio(("", "YES")), "WA"),
    ("no utf-8", "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe')", stdio(("", "\ufffd\ufffd")), "WA"),
    ("raises", "print(1 / 0)", ADD, "RE"),
    ("raises after the right output", "print(sum(map(int, input().split())))\nraise ValueError", ADD, "RE"),
    ("exit status 1 after the right output", "import sys\nprint(sum(map(int, input().split())))\nsys.exit(1)", ADD, "RE"),
    ("message as exit status", "import sys\nprint(sum(map(int, input().split())))\nsys.exit('bye')", ADD, "RE"),
    ("reads past the end", "input()\ninput()\nprint(3)", ADD, "RE"),
    ("no syntax", "print(sum(map(int, input().split()))", ADD, "CE"),
    ("null byte", "print(1)\0", ADD, "CE"),
    ("lone surrogate", "print('\ud800')", ADD, "CE"),
    ("empty program", "", ADD, "WA"),
    ("prose", "The answer is to add the numbers.", ADD, "CE"),
    ("wrong value", "def f(x): return x", function("f", ([1], 2)), "WA"),
    ("text for a number", "def f(x): return str(x + 1)", function("f", ([1], 2)), "WA"),
    ("list for a tuple", "def f(x): return [x, x]", function("f", ([1], (1, 1))), "WA"),
    ("none for a list", "def f(xs): xs.sort()", function("f", ([[2, 1]], [1, 2])), "WA"),
    ("wrong order", "def f(): return [2, 1]", function("f", ([], [1, 2])), "WA"),
    ("one too few", "def f(): return [1]", function("f", ([], [1, 2])), "WA"),
    ("close but not close enough", "def f(): return 0.333", function("f", ([], 1 / 3)), "WA"),
    ("no such function", "def g(x): return x", function("f", ([1], 1)), "RE"),
    ("too few parameters", "def f(): return 1", function("f", ([1], 1)), "RE"),
    ("raises in a call", "def f(x): return [][x]", function("f", ([1], 1)), "RE"),
    ("fails at import", "raise RuntimeError\ndef f(x): return x", function("f", ([1], 1)), "RE"),
    ("function with no syntax", "def f(x) return x", function("f", ([1], 1)), "CE"),
    ("dict lacks a key", "def f(): return {'a': 1}", function("f", ([], {"a": 1, "b": 2})), "WA"),
    ("list for a set", "def f(): return [1, 2]", function("f", ([], {1, 2})), "WA"),
    ("wrong in an assert", "def f(x): return x", asserts("assert f(1) == 1\nassert f(2) == 3"), "WA"),
    ("wrong in a loop of the test", "def f(x): return x", asserts("for n in range(3):\n    assert f(n) == n * n"), "WA"),
    ("raises in an assert", "def f(x): raise KeyError(x)", asserts("assert f(1) == 1"), "RE"),
    ("does not raise", "def f(x): return x", asserts("try:\n    f(-1)\n    assert False, 'no error'\nexcept ValueError:\n    pass"), "WA"),
    ("another name", "def g(x): return x", asserts("assert f(1) == 1"), "RE"),
    ("list in place of a tuple in an assert", "def f(): return [1, 2]", asserts("assert f() == (1, 2)"), "WA"),
    ("generator in place of a list in an assert", "def f():\n    yield 1", asserts("assert f() == [1]"), "WA"),
    ("assert with no syntax", "def f(x):", asserts("assert f(1) == 1"), "CE"),
    ("test of a candidate fails", "def f(x): return x", asserts("def check(candidate):\n    for x in [1, 2]:\n        assert candidate(x) == 1\ncheck(f)"), "WA"),
]  # fmt: skip


@pytest.mark.parametrize("program", RIGHT)
def test_a_right_program_passes(pool: Pool, program: tuple[str, str, dict[str, Any]]) -> None:
    _, code, tests = program
    score = pool.judge(code, tests, timeout_s=5, memory_mb=512)
    assert (score.reward, score.parts["tests_passed"], score.detail["verdict"]) == (1.0, 1.0, "AC"), score


@pytest.mark.parametrize("program", WRONG)
def test_a_wrong_program_fails_with_its_verdict(pool: Pool, program: tuple[str, str, dict[str, Any], str]) -> None:
    _, code, tests, verdict = program
    score = pool.judge(code, tests, timeout_s=5, memory_mb=512)
    assert (score.reward, score.detail["verdict"]) == (0.0, verdict), score
    assert score.parts["tests_passed"] < 1.0
    assert score.error is None
