// Shows the OpenAPI document and sends requests. Everything from the document is put in as text.
"use strict";

const VERBS = ["get", "post", "put", "patch", "delete"];
let api;

const make = (tag, attributes, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
const follow = (schema) =>
  schema && schema.$ref ? schema.$ref.split("/").slice(1).reduce((at, key) => at[key], api) : schema || {};

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split(".").pop();
  if (schema.type === "array") return typeOf(schema.items) + "[]";
  return schema.format || schema.type || "any";
}

function example(schema, depth = 0) {
  const real = follow(schema);
  if (depth > 4) return null;
  if (real.enum) return real.enum[Math.min(1, real.enum.length - 1)];
  if (real.type === "array") return [example(real.items, depth + 1)];
  if (real.type === "object") {
    const fields = Object.entries(real.properties || {}).filter(([, field]) => !field.readOnly);
    return Object.fromEntries(fields.map(([name, field]) => [name, example(field, depth + 1)]));
  }
  return { string: real.format === "date-time" ? "2030-01-01T00:00:00Z" : "", boolean: false, integer: 0, number: 0 }[real.type] ?? null;
}

function fieldTable(schema) {
  const real = follow(schema);
  const rows = Object.entries(real.properties || {}).map(([name, field]) => make("tr", {},
    make("td", {}, make("code", { textContent: name })),
    make("td", { textContent: typeOf(field) + ((real.required || []).includes(name) ? " (required)" : "") }),
    make("td", { className: "text", textContent: field.description || "" })));
  return make("table", {}, ...rows);
}

async function send(path, verb, inputs, body, output) {
  let url = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value) for (const value of parameter.schema.type === "array" ? input.value.split(",") : [input.value]) query.append(parameter.name, value);
  }
  const headers = {};
  const credential = document.getElementById("credential").value;
  if (credential) headers.authorization = `Bearer ${credential}`;
  if (body) headers["content-type"] = "application/json";
  output.textContent = "…";
  try {
    const answer = await fetch(query.size ? `${url}?${query}` : url, { method: verb.toUpperCase(), headers, body: body ? body.value : undefined });
    output.textContent = `${answer.status} ${answer.statusText}\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part; !(part = await reader.read()).done;) {
      text += part.value;
      output.append(part.value);
    }
    if ((answer.headers.get("content-type") || "").startsWith("application/json"))
      output.textContent = `${answer.status}\n${JSON.stringify(JSON.parse(text), null, 2)}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function operation(path, verb, described) {
  const inside = make("div", { className: "inside" }, make("p", { className: "text", textContent: described.description }));
  const inputs = described.parameters.map((parameter) => ({
    parameter,
    input: make("input", { placeholder: typeOf(parameter.schema), required: parameter.required }),
  }));
  if (inputs.length) inside.append(make("table", {}, ...inputs.map(({ parameter, input }) => make("tr", {},
    make("td", {}, make("code", { textContent: parameter.name }), parameter.required ? " (required)" : ""),
    make("td", {}, input),
    make("td", { className: "text", textContent: parameter.description })))));
  let body;
  if (described.requestBody) {
    const schema = described.requestBody.content["application/json"].schema;
    body = make("textarea", { value: JSON.stringify(example(schema), null, 2), ariaLabel: "body" });
    inside.append(make("h4", { textContent: "Body" }), fieldTable(schema), body);
  }
  const output = make("pre", { hidden: true });
  const button = make("button", { textContent: "Send", type: "button" });
  button.addEventListener("click", () => { output.hidden = false; send(path, verb, inputs, body, output); });
  const content = described.responses["200"].content;
  const schema = (content["application/json"] || content["text/event-stream"]).schema;
  const data = schema.allOf ? schema.allOf[1].properties.data : schema;
  inside.append(make("h4", { textContent: `Answer: ${typeOf(data)}` }), fieldTable(data), button, output);
  return make("details", { id: described.operationId }, make("summary", {},
    make("span", { className: "verb", textContent: verb.toUpperCase() }),
    make("code", { textContent: path }), ` ${described.summary}`), inside);
}

function show() {
  const wanted = document.getElementById("search").value.toLowerCase();
  const main = document.getElementById("operations");
  main.replaceChildren();
  for (const tag of api.tags) {
    const found = [];
    for (const [path, verbs] of Object.entries(api.paths))
      for (const verb of VERBS) {
        const described = verbs[verb];
        if (described && described.tags.includes(tag.name) && `${path} ${described.description}`.toLowerCase().includes(wanted))
          found.push(operation(path, verb, described));
      }
    if (found.length) main.append(make("h2", { textContent: tag.name }), make("p", { className: "text", textContent: tag.description }), ...found);
  }
}

fetch("/api/openapi.json").then((answer) => answer.json()).then((document_) => {
  api = document_;
  document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  document.getElementById("search").addEventListener("input", show);
  show();
}).catch((error) => { document.getElementById("about").textContent = String(error); });
