"""Other languages through the same cell, where their tools are installed."""

from __future__ import annotations

import pytest

from rlvr.errors import ConfigError
from rlvr_sandbox import Limits, Pool
from rlvr_sandbox.languages import LANGUAGES, check_language, tool

ADD = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 6\n", "stdout": "11\n"}]}
RIGHT = {
    "cpp": "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);",
    "bash": "read a b\necho $((a + b))",
}
WRONG = {
    "cpp": [
        ("int main() { return 0 }", "CE"),
        ("int main() { return 3; }", "RE"),
        ("int main() { volatile int x = 1; while (x); }", "TLE"),
        ("int main() { int *p = 0; *p = 1; }", "RE"),
        (
            "#include <vector>\nint main() { std::vector<char*> v; while (1) { v.push_back(new char[1 << 20]()); } }",
            "MLE",
        ),
        ("#include <iostream>\nint main() { std::cout << 4; }", "WA"),
    ],
    "javascript": [
        ("console.log(1 +", "RE"),
        ("while (true) {}", "TLE"),
        ("throw new Error('x')", "RE"),
        ("console.log(4)", "WA"),
    ],
    "bash": [("exit 3", "RE"), ("while true; do :; done", "TLE"), ("echo 4", "WA"), ("cat /etc/shadow", "RE")],
}


@pytest.fixture(params=LANGUAGES[1:])
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    try:
        tool(check_language(name))
    except ConfigError as error:
        pytest.skip(str(error))
    return name


def test_a_right_program_passes_at_every_level(pool: Pool, language: str) -> None:
    assert pool.judge(RIGHT[language], ADD, timeout_s=5, language=language).reward == 1.0
    assert pool.trouble == 0


@pytest.mark.slow
def test_wrong_programs_get_their_verdict(best_pool: Pool, language: str) -> None:
    for code, verdict in WRONG[language]:
        score = best_pool.judge(code, ADD, timeout_s=0.7, memory_mb=256, language=language)
        assert (score.reward, score.detail["verdict"]) == (0.0, verdict), (code, score)
    assert best_pool.trouble == 0


def test_a_program_of_another_language_can_be_run(best_pool: Pool, language: str) -> None:
    outcome = best_pool.run(RIGHT[language], "1 2\n", Limits(timeout_s=10), language=language)
    assert (outcome.verdict, outcome.stdout) == ("OK", "3\n")


def test_calls_need_python(best_pool: Pool) -> None:
    with pytest.raises(ConfigError, match="only works for Python"):
        best_pool.judge("x", {"kind": "assert", "code": "assert f() == 1"}, language="bash")
    with pytest.raises(ConfigError, match="no language 'perl'"):
        best_pool.run("x", language="perl")
