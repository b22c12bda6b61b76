// One item: what was asked, and each run with what the verifier said. All of it was written by models and tasks: text only.
function itemView(query) {
  const env = pick(query.get("env"), DATA.columns, 0), m = pick(query.get("m"), DATA.rows, 0), m2 = pick(query.get("m2"), DATA.rows, null);
  const wanted = query.get("item"), sides = m2 === null || m2 === m ? [m] : [m, m2];
  return h("section", {}, h("h2", { tabindex: -1 }, "Item"),
    later(Promise.all(sides.map((index) => load("m" + index).then((model) => transcript(index, model, env, wanted)))), (found) => {
      const first = found.find((each) => each.item);
      if (!first) return h("p", { class: "warn" }, "There is no such item here.");
      return h("div", {}, neighbours(found[0].list, wanted, { env, m, m2 }),
        h("p", {}, h("strong", {}, columnLabel(env)), ` · item ${wanted}`),
        h("div", { class: "prompt" }, first.item.prompt.map(messageBlock), first.item.tools && h("details", {}, h("summary", {}, "Tools"), h("pre", {}, JSON.stringify(first.item.tools, null, 1)))),
        first.item.answer !== undefined && h("details", {}, h("summary", {}, "Gold answer"), h("pre", {}, typeof first.item.answer === "string" ? first.item.answer : JSON.stringify(first.item.answer, null, 1))),
        h("div", { class: "sides" }, found.map((each, place) => h("div", {}, h("h3", {}, rowName(sides[place])), each.item ? each.item.runs.map(runBlock) : h("p", { class: "quiet" }, "This model was not run on it.")))));
    }));
}

async function transcript(index, model, env, wanted) {
  const list = model.items[env] || [], entry = list.find(([id]) => id === wanted);
  if (!entry) return { list };
  const chunk = await load(`t${index}-${entry[4]}`);
  return { list, item: chunk[`${env}/${wanted}`] };
}

function neighbours(list, wanted, query) {
  const place = list.findIndex(([id]) => id === wanted);
  const link = (offset, text, key) => list[place + offset] ? h("a", { href: address("item", { ...query, item: list[place + offset][0] }), "data-key": key, rel: offset < 0 ? "prev" : "next" }, text) : h("span", { class: "quiet" }, text);
  return h("p", { class: "controls" }, link(-1, "← previous", "ArrowLeft"), h("span", { class: "quiet" }, `${place + 1} of ${list.length}`), link(1, "next →", "ArrowRight"));
}

function messageBlock(message) {
  const content = typeof message.content === "string" ? message.content : JSON.stringify(message.content ?? message, null, 1);
  return h("div", {}, h("div", { class: "role" }, String(message.role || "message")), h("pre", {}, content));
}

function runBlock(run) {
  const tone = run.status === "fault" ? "" : run.reward === 1 ? "full" : run.reward === 0 ? "none" : "";
  const parts = Object.entries(run.parts || {}).map(([name, value]) => `${name} ${value}`).join(", ");
  const detail = Object.keys(run.detail || {}).length ? JSON.stringify(run.detail, null, 1) : "";
  return h("article", { class: "run " + tone },
    h("div", {}, h("strong", {}, `run ${run.run} · ` + (run.status === "fault" ? "no verdict" : `reward ${run.reward}`)), h("span", { class: "quiet" }, ` · ${run.status} · ${run.tokens} tokens · ended by ${run.finish}` + (run.attempt > 1 ? ` · attempt ${run.attempt}` : ""))),
    h("div", {}, "verifier: ", run.error ? h("span", { class: "warn" }, run.error) : run.reason || "no reason given", parts && h("span", { class: "quiet" }, ` (${parts})`)),
    detail && h("details", {}, h("summary", {}, "what the verifier saw"), h("pre", {}, detail)),
    run.turns.map((text, turn) => [
      run.turns.length > 1 && h("div", { class: "role" }, `turn ${turn + 1}`), h("pre", {}, text),
      (run.replies[turn] || []).length > 0 && h("div", { class: "call" }, run.replies[turn].map(messageBlock))]));
}
