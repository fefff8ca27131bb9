"use strict";
// The page: a question is an entity, a relation and a direction, kept in the address so that it can be linked.

const at = (id) => document.getElementById(id);
const [entity, names, relation, target, answersBox] = ["entity", "names", "relation", "target", "answers"].map(at);
const ANSWERS = 10;
let chosen = null; // the entity that was taken from the list: {id, name}
let typed = 0; // counts what was typed, so that a late list of names does not replace a newer one
let asked = 0;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

async function get(path, parameters = {}) {
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

/** Do something that may fail; its error is shown as a line. */
async function shown(work) {
  try {
    at("error").textContent = "";
    await work();
  } catch (error) {
    at("error").textContent = error.message;
  }
}

// Names that are completed while typing.

function close() {
  names.hidden = true;
  entity.setAttribute("aria-expanded", "false");
  entity.removeAttribute("aria-activedescendant");
}

function mark(option) {
  for (const other of names.children) other.setAttribute("aria-selected", String(other === option));
  entity.setAttribute("aria-activedescendant", option.id);
  option.scrollIntoView({ block: "nearest" });
}

function take(found) {
  chosen = { id: found.id, name: found.name };
  entity.value = found.name || found.id;
  typed += 1;
  close();
}

async function complete() {
  const mine = ++typed;
  chosen = null;
  const found = (await get("/entities", { q: entity.value })).entities;
  if (mine !== typed) return;
  const options = found.map((one, number) => {
    const about = one.about || (one.id === one.name ? "" : one.id);
    const option = element("li", { role: "option", id: `name${number}`, "aria-selected": "false" }, one.name || one.id);
    option.append(element("small", {}, about));
    option.addEventListener("mousedown", (event) => {
      event.preventDefault();
      take(one);
    });
    option.found = one;
    return option;
  });
  names.replaceChildren(...options);
  names.hidden = !options.length;
  entity.setAttribute("aria-expanded", String(!names.hidden));
}

function steer(event) {
  const options = [...names.children];
  if (names.hidden || !options.length) return;
  const place = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    mark(options[place < 0 && step < 0 ? options.length - 1 : (place + step + options.length) % options.length]);
  } else if (event.key === "Enter" && place >= 0) {
    event.preventDefault();
    take(options[place].found);
  } else if (event.key === "Escape") close();
}

// Answers, known ones first, with a bar for the probability; opened, each says why.

function bar(answer) {
  if (answer.probability === null || answer.probability === undefined)
    return ["", element("span", { class: "number", title: "score" }, answer.score === null ? "" : answer.score.toFixed(3))];
  const percent = `${(100 * answer.probability).toFixed(1)} %`;
  const number = element("span", { class: "number", title: "probability, by the model" }, percent);
  return [element("progress", { max: 1, value: answer.probability, "aria-label": percent }), number];
}

const said = (fact) => `${fact.head.name} — ${fact.relation.name} → ${fact.tail.name}`;

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

function card(answer, known, triple) {
  const where = known ? [element("small", {}, answer.known.join(", "))] : [];
  const name = element("span", {}, answer.name || answer.id, ...where);
  const box = element("ul", { class: "why" });
  const made = element("details", { class: known ? "answer known" : "answer" }, element("summary", {}, name, ...bar(answer)), box);
  made.addEventListener("toggle", () => {
    if (made.open && !box.children.length) shown(() => explain(box, triple));
  });
  return made;
}

function list(title, answers, known, complete) {
  if (!answers.length) return [];
  return [element("h3", {}, title), ...answers.map((answer) => card(answer, known, complete(answer)))];
}

async function ask() {
  const mine = ++asked;
  close();
  const end = target.value === "tail" ? "head" : "tail";
  const question = { [end]: chosen ? chosen.id : entity.value, relation: relation.value };
  const [result, around] = await Promise.all([
    get("/answer", { ...question, top_k: ANSWERS }),
    get("/graph/facts", { entity: question[end] }),
  ]);
  if (mine !== asked) return;
  history.replaceState(null, "", "?" + new URLSearchParams({ ...question, [end]: result[end].id }));
  const complete = (answer) => ({ [end]: result[end].id, relation: result.relation.id, [target.value]: answer.id });
  const { known, answers: fresh } = result;
  const [head, tail] = [result.head, result.tail].map((one) => (one ? one.name : "?"));
  at("asked").textContent = `${head} — ${result.relation.name} → ${tail}`;
  const cards = [...list("In the graph", known, true, complete), ...list("Proposed by the model", fresh, false, complete)];
  answersBox.replaceChildren(...(cards.length ? cards : [element("p", { class: "soft" }, "no answers")]));
  picture(around, fresh.slice(0, 3).map((answer) => ({ ...answer, relation: result.relation.name, proposed: true })));
}

function picture(around, proposed) {
  const facts = around.facts.map((fact) => {
    const other = fact.head.id === around.entity.id ? fact.tail : fact.head;
    return { ...other, relation: fact.relation.name, proposed: false };
  });
  const more = around.num_facts > AROUND ? `, ${AROUND - proposed.length} of them here` : "";
  at("around").textContent = `Around ${around.entity.name}: ${around.num_facts} facts${more}`;
  draw(at("picture"), around.entity, [...facts.slice(0, AROUND - proposed.length), ...proposed], (one) => {
    take(one);
    shown(ask);
  });
}

async function begin() {
  const graph = await get("/graph");
  at("about").textContent = `${graph.graph}: ${graph.entities.toLocaleString("en")} entities, ${graph.facts.toLocaleString("en")} facts; model ${graph.model}.`;
  relation.replaceChildren(...graph.relations.map((one) => element("option", { value: one.id }, one.name || one.id)));
  const link = new URLSearchParams(location.search);
  const end = link.has("head") ? "head" : "tail";
  if (!link.has(end) || !link.has("relation")) return;
  target.value = end === "head" ? "tail" : "head";
  entity.value = link.get(end);
  relation.value = link.get("relation");
  await ask();
}

entity.addEventListener("input", () => shown(complete));
entity.addEventListener("keydown", steer);
entity.addEventListener("blur", close);
at("question").addEventListener("submit", (event) => {
  event.preventDefault();
  shown(ask);
});
shown(begin);
