// Where a row's numbers come from.
function recordView(query) {
  const m = pick(query.get("m"), DATA.rows, 0), row = DATA.rows[m];
  return h("section", {}, h("h2", { tabindex: -1 }, row.name),
    h("p", {}, DATA.levels[row.level], row.rank && `, rank set ${row.rank[0]} to ${row.rank[1]}`), row.problems.map((text) => h("p", { class: "warn" }, text)),
    later(load("m" + m), ({ record }) => h("div", {},
      record.warnings.map((text) => h("p", { class: "warn" }, text)),
      h("h3", {}, "Environments"), h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, ["environment", "items", "runs", "mean", "95 %", "noise of runs", "distinct", "outcomes", "item set", "source"].map((text) => h("th", {}, text)))),
        h("tbody", {}, record.environments.map((each) => h("tr", {}, h("td", {}, each.column === null ? each.name : h("a", { href: address("items", { m, env: each.column }) }, each.name)), h("td", { class: "number" }, each.items), h("td", { class: "number" }, each.k),
          h("td", { class: "number" }, percent(each.mean)), h("td", { class: "number" }, `${percent(each.low)} to ${percent(each.high)}`), h("td", { class: "number" }, each.noise === null ? "–" : "±" + percent(1.96 * each.noise)),
          h("td", { class: "number" }, percent(each.distinct, 0)), h("td", {}, Object.entries(each.statuses).map(([name, count]) => `${count} ${name}`).join(", ")), h("td", {}, each.itemSet.slice(0, 12)), h("td", {}, each.source.slice(0, 12))))))),
      facts("Model", record.model), facts("Sampling", record.sampling), facts("Packages", record.packages), facts("Machine", record.machine),
      record.overlap && h("div", {}, h("h3", {}, "Overlap with training"), h("p", {}, record.overlap)),
      record.notes.length > 0 && h("div", {}, h("h3", {}, "Verification"), record.notes.map((text) => h("p", {}, text))),
      h("h3", {}, "Attempts"), record.journal.map((each) => h("pre", {}, `${each.began}  ${each.how}, ${each.rollouts_after} rollouts, ${each.wall_s} s\n  ${each.command.join(" ")}`)),
      facts("Files (sha256)", record.files))));
}

function facts(title, values) {
  const text = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
  const entries = Object.entries(values || {});
  return entries.length ? h("div", {}, h("h3", {}, title), h("dl", {}, entries.map(([name, value]) => [h("dt", {}, name), h("dd", {}, text(value))]))) : null;
}
