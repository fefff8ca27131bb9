"use strict";
// A picture of what surrounds an entity: facts of the graph, and dashed what the model proposes.

const AROUND = 12;
const SHORT = 22;

function shape(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const shortened = (text) => (text.length > SHORT ? text.slice(0, SHORT - 1) + "…" : text);

/** Draw `centre` amid neighbours `{id, name, relation, proposed}`; `choose` is called with the one that is clicked. */
function draw(svg, centre, neighbours, choose) {
  const shown = neighbours.slice(0, AROUND);
  const edges = [], nodes = [];
  shown.forEach((neighbour, number) => {
    const angle = (2 * Math.PI * (number + 0.5)) / shown.length - Math.PI / 2;
    const far = number % 2 ? 1 : 0.78; // labels of neighbours do not meet
    const [x, y] = [220 * far * Math.cos(angle), 165 * far * Math.sin(angle)];
    const kind = neighbour.proposed ? " proposed" : "";
    edges.push(shape("line", { class: "edge" + kind, x1: 0, y1: 0, x2: x, y2: y }));
    const label = shape("text", { x, y: y + (y < 0 ? -26 : 24) }, shortened(neighbour.name));
    const relation = shape("text", { class: "relation", x, y: y + (y < 0 ? -12 : 38) }, shortened(neighbour.relation));
    const node = shape("g", { class: "node" + kind }, shape("circle", { cx: x, cy: y, r: 7 }), label, relation);
    node.append(shape("title", {}, `${neighbour.relation}: ${neighbour.name}`));
    node.addEventListener("click", () => choose(neighbour));
    nodes.push(node);
  });
  const middle = shape("g", { class: "centre" }, shape("circle", { cx: 0, cy: 0, r: 10 }));
  middle.append(shape("text", { x: 0, y: 28 }, shortened(centre.name)));
  svg.replaceChildren(...edges, ...nodes, middle);
}
