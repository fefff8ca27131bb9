"use strict";
// The page asks in three ways, one for each tab; a question is kept in the address so that it can be linked:
//   fact     an entity, a relation and a direction        ?head=…&relation=…  or  ?tail=…&relation=…
//   pair     two entities, and perhaps a relation         ?head=…&tail=…[&relation=…]
//   missing  an entity, and perhaps a relation            ?about=…[&relation=…]

const at = (id) => document.getElementById(id);
const [relation, target, answersBox] = ["relation", "target", "answers"].map(at);
const ANSWERS = 10;
const FIELDS = { fact: ["target"], pair: ["other"], missing: [] }; // beside the entity and the relation
let mode = "fact";
let asked = 0;

/** Do something that may fail; its error is shown as a line. */
async function shown(work) {
  try {
    at("error").textContent = "";
    await work();
  } catch (error) {
    at("error").textContent = error.message;
  }
}

const entity = completing(at("entity"), at("names"), shown);
const other = completing(at("other"), at("others"), shown);

// Answers as cards with a bar; opened, each says why.

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const named = (one) => one.name || one.id;
const said = (fact) => `${named(fact.head)} — ${named(fact.relation)} → ${named(fact.tail)}`;
const ids = (fact) => ({ head: fact.head.id, relation: fact.relation.id, tail: fact.tail.id });

function bar(probability, score) {
  if (probability === null || probability === undefined)
    return ["", element("span", { class: "number", title: "score" }, score === null ? "" : score.toFixed(3))];
  const number = element("span", { class: "number", title: "probability, by the model" }, percent(probability));
  return [element("progress", { max: 1, value: probability, "aria-label": percent(probability) }), number];
}

async function explain(box, triple) {
  const why = await get("/why", triple);
  const reasons = [
    ...why.facts.map((fact) => `like: ${said(fact)}`),
    ...why.paths.map((path) => `path: ${path.facts.map(said).join("; ")}`),
    ...(why.parts ? [Object.entries(why.parts).map(([part, share]) => `${part} ${share.toFixed(3)}`).join(", ")] : []),
  ];
  const lines = reasons.length ? reasons : ["nothing in the graph speaks for it"];
  box.replaceChildren(...lines.map((line) => element("li", {}, line)));
}

function card(text, answer, triple) {
  const known = answer.known.length > 0;
  const where = known ? [element("small", {}, answer.known.join(", "))] : [];
  const box = element("ul", { class: "why" });
  const summary = element("summary", {}, element("span", {}, text, ...where), ...bar(answer.probability, answer.score));
  const made = element("details", { class: known ? "answer known" : "answer" }, summary, box);
  made.addEventListener("toggle", () => {
    if (made.open && !box.children.length) shown(() => explain(box, triple));
  });
  return made;
}

const list = (title, cards) => (cards.length ? [element("h3", {}, title), ...cards] : []);

function show(question, cards, nothing) {
  at("asked").textContent = question;
  answersBox.replaceChildren(...(cards.length ? cards : [element("p", { class: "soft" }, nothing)]));
}

// The three ways to ask. Each gives what is shown, what the address says, and what is proposed around which entity.

async function askFact() {
  const end = target.value === "tail" ? "head" : "tail";
  const result = await get("/answer", { [end]: entity.value(), relation: relation.value, top_k: ANSWERS });
  const link = { [end]: result[end].id, relation: result.relation.id };
  const cardOf = (answer) => card(named(answer), answer, { ...link, [target.value]: answer.id });
  const [head, tail] = [result.head, result.tail].map((one) => (one ? named(one) : "?"));
  const cards = [...list("In the graph", result.known.map(cardOf)), ...list("Proposed by the model", result.answers.map(cardOf))];
  const proposed = result.answers.map((answer) => ({ ...answer, relation: named(result.relation) }));
  return { link, question: `${head} — ${named(result.relation)} → ${tail}`, cards, around: result[end].id, proposed };
}

async function askPair() {
  const ends = { head: entity.value(), tail: other.value() };
  if (relation.value) {
    const verdict = await get("/classify", { ...ends, relation: relation.value });
    const words = verdict.holds === null ? "no verdict" : verdict.holds ? "holds" : "does not hold";
    const answer = verdict.probability === null ? "" : ` As an answer among all entities, if one is missing: ${percent(verdict.probability)}.`;
    const sure = verdict.confidence === null ? [] : [element("p", { class: "soft" },
      `${percent(verdict.confidence)} sure that it holds, where half of the triples are false ones that look like it.${answer} ` +
      `Rank ${verdict.head_rank} among heads, ${verdict.tail_rank} among tails.`)];
    const judged = { ...verdict, probability: verdict.confidence };
    return { link: ids(verdict), question: said(verdict), cards: [card(words, judged, ids(verdict)), ...sure], around: verdict.head.id, proposed: [] };
  }
  const result = await get("/relations", { ...ends, top_k: ANSWERS });
  const link = { head: result.head.id, tail: result.tail.id };
  const factOf = (answer) => {
    const [head, tail] = answer.inverse ? [result.tail, result.head] : [result.head, result.tail];
    return { head, relation: answer, tail };
  };
  const cardOf = (answer) => card(said(factOf(answer)), answer, ids(factOf(answer)));
  const known = result.relations.filter((answer) => answer.known.length);
  const fresh = result.relations.filter((answer) => !answer.known.length);
  const cards = [...list("In the graph", known.map(cardOf)), ...list("Proposed by the model", fresh.map(cardOf))];
  const proposed = fresh.slice(0, 1).map((answer) => ({ ...result.tail, relation: named(answer) }));
  return { link, question: `${named(result.head)} — ? — ${named(result.tail)}`, cards, around: result.head.id, proposed };
}

async function askMissing() {
  const only = relation.value ? { relation: relation.value } : {};
  const result = await get("/suggest", { entity: entity.value(), ...only, top_k: ANSWERS });
  const cards = result.suggestions.map((each) => card(said(each), each, ids(each)));
  if (cards.length) cards.push(element("p", { class: "soft" }, "How often each holds, if the graph lacks as many facts as were held out to test the model."));
  const proposed = result.suggestions.map((each) => {
    const end = each.head.id === result.entity.id ? each.tail : each.head;
    return { ...end, relation: named(each.relation) };
  });
  return { link: { about: result.entity.id, ...only }, question: `What is missing about ${named(result.entity)}`, cards, around: result.entity.id, proposed };
}

async function ask() {
  const mine = ++asked;
  entity.close();
  other.close();
  at("busy").hidden = false;
  try {
    const result = await { fact: askFact, pair: askPair, missing: askMissing }[mode]();
    const around = await get("/graph/facts", { entity: result.around });
    if (mine !== asked) return;
    history.replaceState(null, "", "?" + new URLSearchParams(result.link));
    show(result.question, result.cards, mode === "missing" ? "nothing that is likely enough" : "no answers");
    picture(around, result.proposed.slice(0, 3).map((one) => ({ ...one, proposed: true })));
  } finally {
    if (mine === asked) at("busy").hidden = true;
  }
}

function picture(around, proposed) {
  const facts = around.facts.map((fact) => {
    const end = fact.head.id === around.entity.id ? fact.tail : fact.head;
    return { ...end, relation: fact.relation.name, proposed: false };
  });
  const more = around.num_facts > AROUND ? `, ${AROUND - proposed.length} of them here` : "";
  at("around").textContent = `Around ${around.entity.name}: ${around.num_facts} facts${more}`;
  draw(at("picture"), around.entity, [...facts.slice(0, AROUND - proposed.length), ...proposed], (one) => {
    entity.take(one);
    shown(ask);
  });
}

// Tabs, and the question that the address asks.

function choose(wanted) {
  mode = wanted;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.id === mode));
    tab.tabIndex = tab.id === mode ? 0 : -1;
  }
  for (const field of ["target", "other"]) {
    at(field).closest("label").hidden = !FIELDS[mode].includes(field);
    at(field).disabled = !FIELDS[mode].includes(field);
  }
  at("any").hidden = at("any").disabled = mode === "fact";
  if (mode !== "fact") relation.value = "";
  else if (!relation.value) relation.selectedIndex = 1;
}

function turn(event) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  choose(next.id);
  next.focus();
}

async function begin() {
  const graph = await get("/graph");
  at("about").textContent = `${graph.graph}: ${graph.entities.toLocaleString("en")} entities, ${graph.facts.toLocaleString("en")} facts; model ${graph.model}.`;
  relation.append(...graph.relations.map((one) => element("option", { value: one.id }, named(one))));
  const link = new URLSearchParams(location.search);
  choose(link.has("about") ? "missing" : link.has("head") && link.has("tail") ? "pair" : "fact");
  const first = ["about", "head", "tail"].find((part) => link.has(part));
  if (!first || (mode === "fact" && !link.has("relation"))) return;
  target.value = first === "tail" ? "head" : "tail";
  entity.fill(link.get(first));
  if (mode === "pair") other.fill(link.get("tail"));
  const wanted = link.get("relation") || "";
  const option = [...relation.options].find((one) => one.value === wanted || one.text === wanted);
  if (!option) throw new Error(`relation: no relation '${wanted}'`);
  relation.value = option.value;
  await ask();
}

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => choose(tab.id));
  tab.addEventListener("keydown", turn);
}
at("question").addEventListener("submit", (event) => {
  event.preventDefault();
  shown(ask);
});
shown(begin);
