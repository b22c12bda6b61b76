// Two models on the same items: the paired difference, and every item as a square.
const REACH = 2.8015852181129; // z(0.975) + z(0.8): what is found four times out of five

function paired(x, y, t) {
  const other = new Map(y.map((item) => [item[0], item]));
  const pairs = x.filter((item) => other.has(item[0])).map((item) => [item[0], item[1], other.get(item[0])[1]]);
  const n = pairs.length;
  if (n < 2) return { n, pairs };
  const d = pairs.map(([, a, b]) => a - b), mean = d.reduce((sum, v) => sum + v, 0) / n;
  const error = Math.sqrt(d.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1) / n);
  // Without any spread t would be certain; q is the share of other items that n draws miss with 2.5 % probability.
  const q = 1 - 0.025 ** (1 / n), flat = error < 1e-12;
  const low = flat ? Math.max(-1, mean - (1 + mean) * q) : mean - t * error, high = flat ? Math.min(1, mean + (1 - mean) * q) : mean + t * error;
  return { n, pairs, mean, low, high, detectable: REACH * error, better: d.filter((v) => v > 1e-12).length, worse: d.filter((v) => v < -1e-12).length };
}

function compareView(query) {
  const usable = DATA.rows.map((row, index) => index).filter((index) => !DATA.rows[index].selfReported);
  if (usable.length < 2) return null;
  const a = pick(query.get("a"), DATA.rows, usable[0]), b = pick(query.get("b"), DATA.rows, usable[1]);
  const env = pick(query.get("cmp"), DATA.columns, 0);
  const options = usable.map((index) => [index, rowName(index)]);
  return h("section", { "aria-labelledby": "compare-title" }, h("h2", { id: "compare-title", tabindex: -1 }, "Compare"),
    h("div", { class: "controls" }, select("A", options, a, (value) => change({ a: value })), select("B", options, b, (value) => change({ b: value })),
      select("on", columnOptions(), env, (value) => change({ cmp: value }))),
    later(Promise.all([load("m" + a), load("m" + b)]), ([x, y]) => comparison(paired(x.items[env] || [], y.items[env] || [], DATA.columns[env].t), a, b, env)));
}

function comparison(found, a, b, env) {
  if (found.n < 2) return h("p", {}, `${rowName(a)} and ${rowName(b)} share ${found.n} items on ${columnLabel(env)}; a comparison needs two.`);
  const verdict = found.low > 0 ? `${rowName(a)} is better` : found.high < 0 ? `${rowName(a)} is worse` : "not separated";
  return h("div", {},
    h("p", {}, h("span", { class: "big" }, signed(found.mean)), ` points for A, 95 % interval ${signed(found.low)} to ${signed(found.high)} (paired, ${found.n} items): `, h("strong", {}, verdict), "."),
    h("p", { class: "quiet" }, `${found.better} items better, ${found.worse} worse, ${found.n - found.better - found.worse} equal. This many items find a true difference of ${percent(found.detectable)} points four times out of five.`),
    h("div", { class: "squares" }, found.pairs.map(([id, x, y], place) => {
      const d = x - y, color = Math.abs(d) < 1e-12 ? "transparent" : `rgba(var(${d > 0 ? "--good-rgb" : "--bad-rgb"}), ${(0.2 + 0.7 * Math.abs(d)).toFixed(2)})`;
      const says = `item ${place + 1}: A ${percent(x)}, B ${percent(y)}`;
      return h("a", { href: address("item", { env, item: id, m: a, m2: b }), title: says, "aria-label": says, style: { background: color } }, d > 1e-12 ? "+" : d < -1e-12 ? "−" : "");
    })));
}

// On the overview: the items that moved most, one run of each side, so that a reader sees answers before any click.
const EXAMPLES = 2;

function examplesView(query) {
  const usable = DATA.rows.map((row, index) => index).filter((index) => !DATA.rows[index].selfReported);
  if (usable.length < 2) return null;
  const a = pick(query.get("a"), DATA.rows, usable[0]), b = pick(query.get("b"), DATA.rows, usable[1]), env = pick(query.get("cmp"), DATA.columns, 0);
  return h("section", { "aria-labelledby": "examples-title" }, h("h2", { id: "examples-title", tabindex: -1 }, "What changed"),
    later(Promise.all([load("m" + a), load("m" + b)]).then(async ([x, y]) => {
      const pairs = paired(x.items[env] || [], y.items[env] || [], 1).pairs;
      const moved = pairs.filter(([, p, q]) => p !== q).sort((p, q) => Math.abs(q[1] - q[2]) - Math.abs(p[1] - p[2])).slice(0, EXAMPLES);
      return Promise.all(moved.map(async ([id, p, q]) => [id, p >= q, await transcript(a, x, env, id), await transcript(b, y, env, id)]));
    }), (found) => found.length ? h("div", {}, found.map(([id, gained, left, right]) => h("div", {},
      h("div", { class: "prompt" }, left.item.prompt.map(messageBlock)),
      h("div", { class: "sides" }, [[a, left.item, gained], [b, right.item, !gained]].map(([index, item, best]) => h("div", {}, h("h3", {}, rowName(index)), runBlock(typical(item.runs, best))))),
      h("p", {}, h("a", { href: address("item", { env, item: id, m: a, m2: b }) }, "all runs of this item"))))) : h("p", {}, "Both did equally well on every item.")));
}

// A run that shows the difference: the better side's best, the other's worst.
const typical = (runs, best) => [...runs].sort((x, y) => (best ? y.reward - x.reward : x.reward - y.reward))[0];
