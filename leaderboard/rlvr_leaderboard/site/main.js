// Which view the address names, and keys.
const VIEWS = {
  board: ["Overview", (query) => [boardView(query), compareView(query), examplesView(query), trainingView(query), h("div", { class: "two" }, DATA.columns.length > 1 && heatView(), passView(query))]],
  environments: ["Environments", heatView], passk: ["pass@k", passView], training: ["Training", trainingView], compare: ["Compare", compareView],
  items: [null, itemsView], item: [null, itemView], record: [null, recordView],
};

function render(moved) {
  const { view, query } = route();
  const [, draw] = VIEWS[view] || VIEWS.board;
  document.getElementById("nav").replaceChildren(
    ...Object.entries(VIEWS).filter(([name, [title]]) => title && (name !== "training" || DATA.runs.length) && (name !== "compare" || DATA.rows.length > 1))
      .map(([name, [title]]) => h("a", { href: address(name), "aria-current": name === view ? "page" : null }, title)),
    h("button", { type: "button", onclick: toggleTheme, title: "Light or dark" }, "◐"));
  const main = document.getElementById("main"), focus = document.activeElement?.id;
  main.replaceChildren(...[draw(query)].flat(9).filter(Boolean));
  if (!main.children.length) main.append(h("p", {}, "There is nothing to show here yet."));
  if (moved) { main.querySelector("h2")?.focus({ preventScroll: true }); window.scrollTo(0, 0); }
  else if (focus === "filter") { const field = document.getElementById("filter"); field?.focus(); field?.setSelectionRange(field.value.length, field.value.length); }
}

function toggleTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  render(false);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/") { const field = document.getElementById("filter"); if (field) { event.preventDefault(); field.focus(); } }
  else document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`)?.click();
});
window.addEventListener("hashchange", () => render(true));

// The live view: the same page, told by its server when the records have grown.
async function follow() {
  try {
    const reply = await fetch("version");
    const { version } = await reply.json();
    if (version !== DATA.version) {
      Object.assign(DATA, await (await fetch("index.json")).json());
      loaded.clear();
      waiting.clear();
      render(false);
      document.getElementById("status").textContent = "The board was updated.";
    }
    describe(true);
  } catch { describe(false); }
  setTimeout(follow, 3000);
}

function describe(connected) {
  document.getElementById("built").textContent = DATA.live ? (connected ? "live" : "the server is gone; what is shown stands still") : `built ${DATA.built}, ${DATA.rows.length} models, ${DATA.columns.length} item sets`;
}

describe(true);
render(false);
if (DATA.live) setTimeout(follow, 3000);
document.documentElement.dataset.ready = String(Math.round(performance.now()));
