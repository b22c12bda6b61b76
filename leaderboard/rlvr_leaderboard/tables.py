"""Results as plain text for a terminal. No colours: a table must survive a pipe and a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rlvr_leaderboard.compare import ComparisonTable, Row
from rlvr_leaderboard.record import Item, Record, Rollout
from rlvr_leaderboard.rescoring import Scoring


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    table = [list(head), *map(list, rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def summary_table(record: Record, summary: dict[str, Any]) -> str:
    """What an evaluation found: a line an environment, with its interval and its marks."""
    rows = []
    for name, env in summary["environments"].items():
        if "mean" not in env:
            rows.append([name, "-", "-", str(env["items"]), str(env["k"]), "-", "-", "-"])
            continue
        best = max(env["pass_at_k"], key=int)
        rows.append(
            [
                name,
                f"{100 * env['mean']:.1f}",
                f"{100 * env['low']:.1f} to {100 * env['high']:.1f}",
                str(env["items"]),
                str(env["k"]),
                f"{100 * env['pass_at_k'][best][0]:.1f} @{best}",
                f"{env['tokens_mean']:.0f}",
                f"{100 * env['truncated']:.1f}",
            ]
        )
    whole = summary["overall"]
    if len(rows) > 1 and "mean" in whole:
        span = f"{100 * whole['low']:.1f} to {100 * whole['high']:.1f}" if "low" in whole else "-"
        cells = [f"{100 * whole['mean']:.1f}", span, str(whole["items"]), "", "", f"{whole['tokens_mean']:.0f}"]
        rows.append(["plain mean", *cells, f"{100 * whole['truncated']:.1f}"])
    head = [record.name, "mean", "95 % interval", "items", "k", "pass@k", "tokens", "cut off %"]
    warnings = [f"! {name}: {text}" for name, env in summary["environments"].items() for text in env["warnings"]]
    return "\n".join([columns(head, rows), *warnings])


def comparison_table(table: ComparisonTable) -> str:
    """A against B, paired, with what could have been found."""
    head = ["A - B", "A", "B", "points", "95 % interval", "p (Holm)", "+ / - / =", "items", "detects", "A is"]
    rows = [_comparison_row(row) for row in (*table.rows, *((table.overall,) if table.overall else ()))]
    unit = "mean reward" if table.metric == "avg" else table.metric
    return f"A {table.a}\nB {table.b}\n{unit} x 100, paired by item\n\n{columns(head, rows)}"


def scoring_table(scoring: Scoring) -> str:
    """What judging again found, and every reward that changed."""
    lines = [f"{scoring.judged} answers judged again: {scoring.agreeing} the same, {len(scoring.flips)} changed"]
    if scoring.unjudged:
        lines.append(f"! {scoring.unjudged} could not be judged: their verifier failed")
    lines += [f"! the source of {name} changed since the record was made" for name in scoring.changed_sources]
    for flip in scoring.flips[:20]:
        before, now = flip.rollout.reward, flip.score.reward
        lines.append(
            f"  line {flip.line}, {flip.rollout.item}, run {flip.rollout.run}: {before:g} -> {now:g} ({flip.score.reason})"
        )
    if len(scoring.flips) > 20:
        lines.append(f"  and {len(scoring.flips) - 20} more")
    return "\n".join(lines)


def transcript(item: Item, rollouts: Sequence[Rollout]) -> Iterator[str]:
    """An item and its runs for reading. Control characters of a model are shown, not obeyed."""
    yield f"=== {item.env}  {item.id}"
    for message in item.task.messages:
        yield f"--- {message.get('role')}\n{printable(str(message.get('content') or ''))}"
    for rollout in rollouts:
        verdict = f"reward {rollout.reward:g}" if rollout.counts else "no verdict"
        yield f"--- run {rollout.run}: {verdict}, {rollout.status}, {rollout.tokens} tokens, ended by {rollout.finish}"
        yield f"    verifier: {printable(rollout.error or rollout.reason or 'no reason given')}"
        for turn, text in enumerate(rollout.turns):
            yield printable(text)
            for reply in rollout.replies[turn] if turn < len(rollout.replies) else ():
                yield f"  < {reply.get('role')}: {printable(str(reply.get('content') or ''))}"


def printable(text: str) -> str:
    """A text that cannot move the cursor, ring the bell or hide what stands before it."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _comparison_row(row: Row) -> list[str]:
    return [
        row.env,
        f"{100 * row.mean_a:.1f}",
        f"{100 * row.mean_b:.1f}",
        f"{100 * row.difference:+.1f}",
        f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
        f"{row.p_holm:.4f}",
        f"{row.better} / {row.worse} / {row.equal}",
        str(row.items),
        f"{100 * row.detectable:.1f}",
        row.verdict,
    ]
