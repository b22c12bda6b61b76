// pass@k and training curves, with uPlot.
function ink(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function chart(place, title, data, series, options) {
  const axis = { stroke: ink("--quiet"), grid: { stroke: ink("--line"), width: 1 }, ticks: { stroke: ink("--line") } };
  const width = Math.max(280, Math.min(640, place.clientWidth || 520));
  const figure = h("figure", { class: "chart", role: "img", "aria-label": options.says || title }, h("figcaption", {}, title));
  place.append(figure);
  new uPlot({
    width, height: 230, legend: { live: true }, cursor: { drag: { x: true, y: false } },
    scales: { x: { time: false, distr: options.log ? 3 : 1, log: 2 }, y: options.y || {} },
    axes: [{ ...axis, values: options.ticks }, { ...axis, size: 56 }],
    series: [{ label: options.x }, ...series], bands: options.bands || [],
  }, data, figure);
}

function passView(query) {
  const env = pick(query.get("env"), DATA.columns, 0);
  const words = query.get("models");
  const usable = DATA.rows.map((row, index) => index).filter((index) => !DATA.rows[index].selfReported && DATA.rows[index].cells[env]);
  const chosen = words === null ? usable.slice(0, 5) : words.split(".").map((word) => pick(word, DATA.rows, -1)).filter((index) => usable.includes(index));
  const toggle = (index, on) => change({ models: (on ? [...chosen, index] : chosen.filter((other) => other !== index)).join(".") || "none" });
  return h("section", { "aria-labelledby": "pass-title" }, h("h2", { id: "pass-title", tabindex: -1 }, "pass@k"),
    h("div", { class: "controls" }, DATA.columns.length > 1 && select("Environment", columnOptions(), env, (value) => change({ env: value })),
      h("details", {}, h("summary", {}, "Models"), usable.map((index) => h("div", {}, h("label", {}, h("input", { type: "checkbox", checked: chosen.includes(index), onchange: (event) => toggle(index, event.target.checked) }), " " + rowName(index)))))),
    chosen.length ? later(Promise.all(chosen.map((index) => load("m" + index))), (models) => passChart(chosen, models.map((model) => model.curves[env] || {}))) : h("p", { class: "quiet" }, "No model is chosen."));
}

const EDGE = "edge of the band";

function passChart(chosen, curves) {
  const ks = [...new Set(curves.flatMap((curve) => Object.keys(curve).map(Number)))].sort((a, b) => a - b);
  const columns = [ks], series = [], bands = [];
  curves.forEach((curve, place) => {
    const color = PALETTE[place % PALETTE.length], at = (part) => ks.map((k) => curve[k]?.[part] ?? null);
    columns.push(at(0), at(2), at(1));
    series.push({ label: rowName(chosen[place]), stroke: color, width: 2, dash: place >= PALETTE.length ? [6, 4] : [], points: { size: 6 }, value: (u, value) => (value === null || value === undefined ? "–" : percent(value)) },
      { stroke: "transparent", points: { show: false }, label: EDGE }, { stroke: "transparent", points: { show: false }, label: EDGE });
    bands.push({ series: [3 * place + 2, 3 * place + 3], fill: color + "22" });
  });
  const place = h("div", {});
  requestAnimationFrame(() => {
    chart(place, "Chance that one of k runs is right, 95 % bands over items", columns, series, { x: "k", log: true, y: { range: [0, 1] }, bands, ticks: (u, values) => values.map((v) => (ks.includes(v) ? String(v) : "")) });
    // The two edges of a band are drawn as series; they are no entries of a legend.
    place.querySelectorAll(".u-legend .u-series").forEach((entry) => { if (entry.querySelector(".u-label").textContent === EDGE) entry.style.display = "none"; });
  });
  return h("div", {}, place, h("details", {}, h("summary", {}, "Numbers"), h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "model"), ks.map((k) => h("th", { class: "number" }, "pass@" + k)))),
    h("tbody", {}, curves.map((curve, index) => h("tr", {}, h("th", { scope: "row" }, rowName(chosen[index])), ks.map((k) => h("td", { class: "number" }, curve[k] ? `${percent(curve[k][0])} (${percent(curve[k][1])} to ${percent(curve[k][2])})` : "–"))))))));
}

const FAVOURITES = ["eval/accuracy", "eval/reward", "reward", "accuracy", "length_mean", "eval/length_mean", "kl", "kl_from_reference", "entropy", "loss", "policy_loss", "grad_norm"];

function trainingView(query) {
  if (!DATA.runs.length) return null;
  const all = [...new Set(DATA.runs.flatMap((run) => run.metrics))].sort();
  const extra = (query.get("metrics") || "").split(" ").filter((name) => all.includes(name));
  // A mix of environments is read one environment at a time: the sum of their rewards says little.
  const single = all.filter((name) => /^[^/]+\/[^/]+-v[0-9]+\/(reward|level)$/.test(name));
  const mixed = new Set(single.map((name) => name.slice(0, name.lastIndexOf("/")))).size > 1;
  const first = [...FAVOURITES.filter((name) => all.includes(name)).slice(0, 6), ...(mixed ? single.slice(0, 12) : [])];
  const names = [...(first.length ? first : all.slice(0, 4)), ...extra.filter((name) => !first.includes(name))];
  return h("section", { "aria-labelledby": "training-title" }, h("h2", { id: "training-title", tabindex: -1 }, "Training"),
    h("div", { class: "controls" }, select("Add a curve", [["", "…"], ...all.filter((name) => !names.includes(name)).map((name) => [name, name])], "", (value) => change({ metrics: [...extra, value].join(" ") }))),
    later(Promise.all(DATA.runs.map((run, index) => load("r" + index))), (runs) => {
      const place = h("div", { class: "charts" });
      const boxes = names.map(() => h("div", {}));
      place.append(...boxes); // all of them first: a chart is as wide as its box is then
      requestAnimationFrame(() => names.forEach((name, number) => {
        const box = boxes[number];
        const having = runs.map((curves, index) => ({ curve: curves[name], index })).filter(({ curve }) => curve);
        const data = having.length > 1 ? uPlot.join(having.map(({ curve }) => curve)) : having[0].curve;
        chart(box, name, data, having.map(({ index }) => ({ label: DATA.runs[index].name, stroke: PALETTE[index % PALETTE.length], width: 2, spanGaps: true, points: { show: data[0].length < 40 } })), { x: "step", says: `${name} over training steps` });
      }));
      return place;
    }));
}
