"use strict";
// The routes of /openapi.json, with their parameters or the fields of their body.

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function typeOf(schema, schemas) {
  if (schema.$ref) return typeOf(schemas[schema.$ref.split("/").pop()], schemas);
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, schemas)).join(" or ");
  if (schema.enum) return schema.enum.join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, schemas)}`;
  if (schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  const limits = [["minimum", "≥"], ["maximum", "≤"], ["exclusiveMinimum", ">"], ["exclusiveMaximum", "<"]];
  const said = limits.filter(([key]) => key in schema).map(([key, sign]) => `${sign} ${schema[key]}`);
  return [schema.type, ...said].join(" ");
}

function fieldsOf(route, schemas) {
  if (!route.requestBody)
    return (route.parameters || []).map((field) => [field.name, field.schema, field.required]);
  const body = schemas[route.requestBody.content["application/json"].schema.$ref.split("/").pop()];
  return Object.entries(body.properties).map(([name, field]) => [name, field, (body.required || []).includes(name)]);
}

async function list() {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description;
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, route] of Object.entries(methods)) {
      const rows = fieldsOf(route, api.components.schemas).map(([name, schema, required]) => {
        const fallback = schema.default === undefined || schema.default === null ? "" : ` (${schema.default})`;
        const type = typeOf(schema, api.components.schemas) + (required ? ", needed" : fallback);
        return element("tr", "", element("td", name), element("td", type));
      });
      const title = element("h2", `${method.toUpperCase()} ${path}`);
      document.getElementById("routes").append(title, element("p", route.summary), element("table", "", ...rows));
    }
}

list();
