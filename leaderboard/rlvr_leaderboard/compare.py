"""Two records side by side: paired by item, corrected for the number of environments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rlvr.errors import ConfigError, RecordError
from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.record import Record
from rlvr_leaderboard.statistics.special import normal_quantile
from rlvr_leaderboard.summary import scored, tabulate

MAX_LISTED = 3


@dataclass(frozen=True)
class Row:
    """One environment of a comparison; differences are A minus B."""

    env: str
    items: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    """Corrected over the environments of this comparison."""
    better: int
    """Items on which A's mean is higher."""
    worse: int
    equal: int
    detectable: float
    """The difference that this many items with this much spread find four times out of five."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not separated` at the 5 % level, Holm's correction included."""
        if self.p_holm > 0.05 or self.difference == 0:
            return "not separated"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class ComparisonTable:
    """All environments that two records share."""

    a: str
    b: str
    metric: str
    rows: list[Row]
    overall: Row | None
    """The macro mean over environments, where there are several."""

    @property
    def worse(self) -> list[str]:
        """Environments in which A is worse beyond doubt."""
        return [row.env for row in self.rows if row.verdict == "worse"]

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        whole = None if self.overall is None else {**asdict(self.overall), "verdict": self.overall.verdict}
        return {
            "schema": "rlvr-compare/1",
            "a": self.a,
            "b": self.b,
            "metric": self.metric,
            "rows": rows,
            "overall": whole,
        }


def compare(a: Record, b: Record, *, metric: str = "avg", common_items: bool = False) -> ComparisonTable:
    """A against B on every environment of both. `metric` is `avg`, or `pass@4` and the like.

    Raises RecordError if they share no environment or were run on different items; `common_items` then compares on
    the items they share, which the number of items in the table shows.
    """
    k = _parse_metric(metric)
    shared = [name for name in a.environments if name in b.environments]
    if not shared:
        raise RecordError(
            f"{a.name!r} was run on {', '.join(a.environments)}; {b.name!r} on {', '.join(b.environments)}. "
            "They share no environment, so there is nothing to compare; evaluate one of them on the other's."
        )
    tables = {record.path: tabulate(record) for record in (a, b)}
    pairs: dict[str, tuple[dict[str, list[float]], dict[str, list[float]]]] = {}
    for name in shared:
        x, y = (_values(scored(tables[record.path][name]), k, record.name, name) for record in (a, b))
        both = [item for item in x if item in y]
        if len(both) < max(len(x), len(y)) and not common_items:
            raise RecordError(
                f"{name}: {a.name!r} has verdicts on {len(x)} items and {b.name!r} on {len(y)}, {len(both)} of them the same. "
                "Means over different items say nothing about the models. Evaluate both with the same --n and --seed, or "
                "compare on the shared items only with --common-items."
            )
        if len(both) < 2:
            raise RecordError(f"{name}: the records share {len(both)} items; a paired comparison needs at least two")
        pairs[name] = {item: x[item] for item in both}, {item: y[item] for item in both}
    tests = {name: s.compare_models([x], [y]) for name, (x, y) in pairs.items()}
    adjusted = s.holm([test.p_value for test in tests.values()])
    rows = [_row(name, test, p, *pairs[name]) for (name, test), p in zip(tests.items(), adjusted, strict=True)]
    overall = None
    if len(rows) > 1:
        test = s.compare_models([x for x, _ in pairs.values()], [y for _, y in pairs.values()])
        overall = _overall(test, rows)
    return ComparisonTable(a.name, b.name, metric, rows, overall)


def detectable(standard_error: float) -> float:
    """The smallest true difference found with 80 % power at the 5 % level, from the standard error of a difference."""
    return (normal_quantile(0.975) + normal_quantile(0.8)) * standard_error


def _row(env: str, test: s.Comparison, p_holm: float, a: dict[str, list[float]], b: dict[str, list[float]]) -> Row:
    differences = s.paired_differences(a, b)
    means = [s.item_means(side) for side in (a, b)]
    return Row(
        env=env,
        items=len(differences),
        mean_a=sum(means[0]) / len(differences),
        mean_b=sum(means[1]) / len(differences),
        difference=test.difference,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        p_holm=p_holm,
        better=sum(value > 0 for value in differences),
        worse=sum(value < 0 for value in differences),
        equal=sum(value == 0 for value in differences),
        detectable=detectable(test.standard_error),
    )


def _overall(test: s.Comparison, rows: list[Row]) -> Row:
    count = len(rows)
    return Row(
        env=f"mean of {count}",
        items=test.num_items,
        mean_a=sum(row.mean_a for row in rows) / count,
        mean_b=sum(row.mean_b for row in rows) / count,
        difference=test.difference,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        p_holm=test.p_value,
        better=sum(row.better for row in rows),
        worse=sum(row.worse for row in rows),
        equal=sum(row.equal for row in rows),
        detectable=detectable(test.standard_error),
    )


def _parse_metric(metric: str) -> int | None:
    """None for the mean reward, else the k of pass@k."""
    if metric == "avg":
        return None
    head, _, number = metric.partition("@")
    if head != "pass" or not number.isdigit() or int(number) < 1:
        raise ConfigError(f"metric {metric!r} is neither avg nor pass@K, like pass@4")
    return int(number)


def _values(rewards: dict[str, list[float]], k: int | None, model: str, env: str) -> dict[str, list[float]]:
    if k is None:
        return rewards
    fewest = min(map(len, rewards.values()), default=0)
    if fewest < k:
        raise ConfigError(
            f"pass@{k}: {model!r} has items with {fewest} runs in {env}; with fewer runs than k there is no unbiased value. "
            f"Ask for pass@{max(fewest, 1)} or less, or evaluate with --k {k} or more."
        )
    return {
        item: [s.pass_at_k(len(values), sum(value == 1.0 for value in values), k)] for item, values in rewards.items()
    }
