// Environment by model: the number stands in each cell, so that colour only helps.
function heatView() {
  const head = h("tr", {}, h("td", {}), DATA.columns.map((column) => h("th", { scope: "col", class: "col", title: `${column.items} items` }, column.label)));
  const rows = DATA.rows.map((row, index) => row.selfReported ? null : h("tr", {}, h("th", { scope: "row" }, recordLink(row, index)),
    row.cells.map((cell, column) => heatCell(cell, index, column))));
  return h("section", { "aria-labelledby": "heat-title" },
    h("h2", { id: "heat-title", tabindex: -1 }, "Environments"),
    h("div", { class: "scroll" }, h("table", { class: "heat" }, h("caption", {}, "Mean reward × 100. A cell leads to its items."), h("thead", {}, head), h("tbody", {}, rows))));
}

function heatCell(cell, index, column) {
  if (!cell || cell.mean === undefined) return h("td", { class: "quiet" }, "–");
  const says = `${rowName(index)} on ${columnLabel(column)}: ${percent(cell.mean)}, 95 % interval ${percent(cell.low)} to ${percent(cell.high)}, ${cell.items} items, ${cell.k} runs each`;
  return h("td", { style: { background: `rgba(var(--cell), ${(0.06 + 0.62 * cell.mean).toFixed(3)})` } },
    h("a", { href: address("items", { m: index, env: column }), title: says, "aria-label": says }, percent(cell.mean, 0)));
}

// The items of one model in one environment, k of n right.
function itemsView(query) {
  const m = pick(query.get("m"), DATA.rows, 0), env = pick(query.get("env"), DATA.columns, 0);
  const least = query.get("show") || "all";
  return h("section", {}, h("h2", { tabindex: -1 }, "Items"),
    h("div", { class: "controls" }, select("Model", rowOptions(), m, (value) => change({ m: value })), select("Environment", columnOptions(), env, (value) => change({ env: value })),
      select("Show", [["all", "all items"], ["never", "never right"], ["sometimes", "sometimes right"], ["always", "always right"]], least, (value) => change({ show: value }))),
    later(load("m" + m), (model) => {
      const items = (model.items[env] || []).filter(([, , n, c]) => least === "all" || (least === "never" ? c === 0 : least === "always" ? c === n : c > 0 && c < n));
      return h("div", {}, h("p", { class: "quiet" }, `${items.length} items; a number is how many of the runs were right.`),
        h("div", { class: "squares" }, items.map(([id, mean, n, c], place) => {
          const says = `item ${place + 1}: ${c} of ${n} runs right, mean ${percent(mean)}`;
          return h("a", { href: address("item", { env, item: id, m }), title: says, "aria-label": says, style: { background: `rgba(var(--cell), ${(0.05 + 0.65 * mean).toFixed(3)})` } }, String(c));
        })));
    }));
}
