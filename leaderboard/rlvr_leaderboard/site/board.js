// The table: rank sets, means with intervals, and what they cost.
const COLUMNS = [
  { key: "rank", label: "rank set", number: false, value: (row, c) => (rankOf(row, c) ? rankOf(row, c)[0] * 1000 + rankOf(row, c)[1] : 1e9) },
  { key: "name", label: "model", number: false, value: (row) => row.name.toLowerCase() },
  { key: "mean", label: "mean", number: true, value: (row, c) => numbers(row, c)?.mean ?? -1 },
  { key: "low", label: "95 % interval", number: false, value: (row, c) => numbers(row, c)?.low ?? -1 },
  { key: "size", label: "items × runs", number: true, value: (row, c) => numbers(row, c)?.items ?? -1 },
  { key: "pass", label: "pass@k", number: true, value: (row, c) => numbers(row, c)?.pass?.[1] ?? -1 },
  { key: "tokens", label: "tokens / answer", number: true, value: (row, c) => numbers(row, c)?.tokens ?? -1 },
  { key: "truncated", label: "cut off %", number: true, value: (row, c) => numbers(row, c)?.truncated ?? -1 },
  { key: "hours", label: "hours", number: true, value: (row) => row.hours ?? -1 },
  { key: "level", label: "record", number: false, value: (row) => -row.level },
];
const MEANING = {
  rank: "Ranks that fit the data: all pairs tested on the same items, corrected after Holm, 95 % for the whole board.",
  mean: "Mean reward over items; each item is the mean of its k runs. Over several environments: their plain mean.",
  low: "Over items: how far the mean would move with other items of the same kind.",
  size: "Items with a verdict, and runs of each. Items are what counts as a sample.",
  pass: "Chance that at least one of k runs is right (unbiased).",
  tokens: "Tokens the model chose per answer.",
  truncated: "Answers that ran out of tokens or turns; they count as 0.",
  hours: "Wall time of the evaluation, all attempts, times its GPUs.",
  level: "How far the record was checked.",
};

function numbers(row, column) { return column === null ? row.overall : row.cells[column]; }
function rankOf(row, column) { return column === null ? row.rank : row.cells[column]?.rank; }

function interval(values, name) {
  if (!values || values.low === undefined) return h("span", { class: "quiet" }, "–");
  const x = (share) => 4 + 232 * share;
  const text = `${name}: ${percent(values.mean)}, 95 % interval ${percent(values.low)} to ${percent(values.high)}`;
  return s("svg", { class: "bar", viewBox: "0 0 240 18", role: "img", "aria-label": text },
    s("title", {}, text), s("line", { class: "axis", x1: x(0), x2: x(1), y1: 9, y2: 9 }),
    s("line", { class: "range", x1: x(values.low), x2: x(values.high), y1: 9, y2: 9 }), s("circle", { class: "dot", cx: x(values.mean), cy: 9, r: 4.5 }));
}

function boardView(query) {
  const column = query.get("env") === null ? null : pick(query.get("env"), DATA.columns, null);
  const sort = COLUMNS.find((each) => each.key === query.get("sort")) || COLUMNS[0];
  const down = query.get("down") === "1";
  const words = (query.get("q") || "").toLowerCase();
  const only = query.get("checked") === "1";
  const shown = DATA.rows.map((row, index) => ({ row, index }))
    .filter(({ row }) => (!words || row.name.toLowerCase().includes(words)) && (!only || row.level >= 2) && !row.selfReported && numbers(row, column));
  const order = (a, b) => {
    const x = sort.value(a.row, column), y = sort.value(b.row, column);
    return (x < y ? -1 : x > y ? 1 : (numbers(b.row, column)?.mean ?? -1) - (numbers(a.row, column)?.mean ?? -1)) * (down ? -1 : 1);
  };
  shown.sort(order);
  const reported = DATA.rows.map((row, index) => ({ row, index })).filter(({ row }) => row.selfReported);
  const body = h("tbody", {}, shown.map(({ row, index }) => boardRow(row, index, column)));
  return h("section", { "aria-labelledby": "board-title" },
    h("h2", { id: "board-title", tabindex: -1 }, "Board"),
    h("p", { class: "quiet" }, "Models whose rank sets overlap are not separated by these items. "
      + (DATA.rows.some((row) => row.problems.length) ? "Rows without a rank set say why under the name." : "")),
    h("div", { class: "controls" },
      h("label", {}, "Filter ", h("input", { type: "search", id: "filter", value: query.get("q") || "", placeholder: "model", oninput: (event) => change({ q: event.target.value }) })),
      h("label", {}, h("input", { type: "checkbox", checked: only, onchange: (event) => change({ checked: event.target.checked ? "1" : "" }) }), " verified again only"),
      DATA.columns.length > 1 && select("Environment", [["", "all (plain mean)"], ...columnOptions()], column ?? "", (value) => change({ env: value }))),
    h("div", { class: "scroll" }, h("table", { class: "board" },
      h("thead", {}, h("tr", {}, COLUMNS.map((each) => heading(each, sort, down)))), body)),
    !shown.length && h("p", {}, "No row matches."),
    reported.length > 0 && [h("h3", {}, "Self-reported"), h("p", { class: "quiet" }, "Numbers without rollouts. Nothing can be checked, so nothing is ranked."),
      h("table", {}, h("tbody", {}, reported.map(({ row, index }) => h("tr", {}, h("td", {}, recordLink(row, index)), h("td", { class: "number" }, percent(row.overall.mean)),
        h("td", { class: "quiet" }, "self-reported")))))]);
}

function heading(each, sort, down) {
  const active = each === sort;
  const toggle = () => change({ sort: each.key, down: active ? (down ? "" : "1") : each.number ? "1" : "" });
  return h("th", { scope: "col", class: each.number ? "number" : "", title: MEANING[each.key], "aria-sort": active ? (down ? "descending" : "ascending") : "none" },
    h("button", { type: "button", onclick: toggle }, each.label));
}

const recordLink = (row, index) => h("a", { href: address("record", { m: index }) }, row.name);

function boardRow(row, index, column) {
  const values = numbers(row, column);
  const rank = rankOf(row, column);
  const pill = rank ? h("span", { class: "pill" }, rank[0] === rank[1] ? String(rank[0]) : `${rank[0]}–${rank[1]}`) : h("span", { class: "quiet" }, "–");
  const level = h("span", { class: row.level >= 2 ? "checked" : "quiet" }, (row.level >= 2 ? "✓ " : "") + DATA.levels[row.level]);
  return h("tr", {},
    h("td", {}, pill),
    h("td", {}, recordLink(row, index), row.problems.map((text) => h("div", { class: "warn" }, text))),
    h("td", { class: "number" }, percent(values.mean), " ", h("span", { class: "quiet" }, halfWidth(values.low, values.high))),
    h("td", {}, interval(values, row.name)),
    h("td", { class: "number" }, `${whole(values.items)} × ${values.k ?? "–"}`),
    h("td", { class: "number" }, values.pass ? [percent(values.pass[1]), " ", h("span", { class: "quiet" }, "@" + values.pass[0])] : "–"),
    h("td", { class: "number" }, whole(values.tokens)),
    h("td", { class: "number" }, percent(values.truncated)),
    h("td", { class: "number", title: row.device }, row.hours === null ? "–" : row.hours < 0.1 ? row.hours.toFixed(3) : row.hours.toFixed(2)),
    h("td", {}, level));
}
