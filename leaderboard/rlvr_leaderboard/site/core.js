// Elements, numbers, routes and the files beside the page. Every text goes in as text: nothing here ever parses HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F"];

function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function s(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : (100 * value).toFixed(digits));
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(100 * value).toFixed(1);
const whole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
const halfWidth = (low, high) => (low === null || low === undefined ? "" : "±" + (50 * (high - low)).toFixed(1));

// One route: "#/compare?a=0&b=1". Each view's settings stand in it, so that an address shows what its sender saw.
function route() {
  const [view, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: view || "board", query: new URLSearchParams(query || "") };
}

function address(view, query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query || {})) if (value !== null && value !== "" && value !== false) words.append(name, value);
  return "#/" + view + (String(words) ? "?" + words : "");
}

function change(query) {
  const now = route();
  const merged = { ...Object.fromEntries(now.query), ...query };
  history.replaceState(null, "", address(now.view, merged));
  render(false);
}

// Data that one view needs lies in script files beside the page: a page opened from disk may load scripts, but not fetch.
const loaded = new Map();
const waiting = new Map();
window.rlvrData = (name, value) => { waiting.get(name)?.(value); };

function load(name) {
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((settle, fail) => {
      waiting.set(name, settle);
      const script = h("script", { src: `data/${name}.js${DATA.live ? "?v=" + DATA.version : ""}` });
      script.addEventListener("error", () => { loaded.delete(name); fail(new Error(`the file data/${name}.js is missing beside this page`)); });
      script.addEventListener("load", () => script.remove());
      document.head.append(script);
    }));
  }
  return loaded.get(name);
}

function select(label, options, chosen, choose) {
  const list = h("select", { "aria-label": label, onchange: (event) => choose(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
  return h("label", {}, label + " ", list);
}

// A place that fills itself once its data is there; what goes wrong is said in the same place.
function later(promise, draw) {
  const place = h("div", { "aria-busy": "true" }, h("p", { class: "quiet" }, "Loading …"));
  promise.then(draw).then((made) => place.replaceChildren(made)).catch((fault) => place.replaceChildren(h("p", { class: "warn" }, String(fault.message || fault))))
    .finally(() => place.removeAttribute("aria-busy"));
  return place;
}

const rowName = (index) => DATA.rows[index]?.name ?? "?";
const columnLabel = (index) => DATA.columns[index]?.label ?? "?";
const rowOptions = () => DATA.rows.map((row, index) => [index, row.name]);
const columnOptions = () => DATA.columns.map((column, index) => [index, column.label]);

// An index from an address, which anybody may have written: a row or column that exists, or the given one.
function pick(text, list, fallback) {
  const index = Number.parseInt(text ?? "", 10);
  return index >= 0 && index < list.length ? index : fallback;
}
