"use strict";
// A field in which the names of entities are completed while one types: arrows, Enter, Escape.

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

/** A field `input` with the list `names` below it; `shown` reports what fails. Its value is an id if one was taken. */
function completing(input, names, shown) {
  let chosen = null; // the entity that was taken from the list: {id, name}
  let typed = 0; // counts what was typed, so that a late list of names does not replace a newer one

  function close() {
    names.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(option) {
    for (const other of names.children) other.setAttribute("aria-selected", String(other === option));
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function take(found) {
    chosen = { id: found.id, name: found.name };
    input.value = found.name || found.id;
    typed += 1;
    close();
  }

  async function complete() {
    const mine = ++typed;
    chosen = null;
    const found = (await get("/entities", { q: input.value })).entities;
    if (mine !== typed) return;
    const options = found.map((one, number) => {
      const about = one.about || (one.id === one.name ? "" : one.id);
      const option = element("li", { role: "option", id: `${names.id}${number}`, "aria-selected": "false" }, one.name || one.id);
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
    input.setAttribute("aria-expanded", String(!names.hidden));
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

  input.addEventListener("input", () => shown(complete));
  input.addEventListener("keydown", steer);
  input.addEventListener("blur", close);
  return { take, close, value: () => (chosen ? chosen.id : input.value), fill: (text) => { chosen = null; input.value = text; } };
}
