/** What the pages show of the server's OpenAPI document. */
export interface Document {
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

export interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; in: string; description?: string; required?: boolean; schema?: Schema }[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: Schema }> }>;
}

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
}

export interface Field {
  name: string;
  type: string;
  required: boolean;
  text: string;
}

export function nameOfSchema(s: Schema | undefined): string {
  return s?.$ref?.split("/").at(-1) ?? "";
}

/** The type of a value on one line: "string (date-time)", "Link[]". */
export function typeOfSchema(s: Schema | undefined): string {
  if (!s) return "";
  if (s.$ref) return nameOfSchema(s);
  const types = [s.type ?? []].flat().filter((one) => one !== "null");
  if (types[0] === "array") return typeOfSchema(s.items) + "[]";
  if (s.enum) return s.enum.map(String).join(" | ");
  return types.join(" | ") + (s.format ? ` (${s.format})` : "");
}

/** The members of a body, of the document's named schema or one that stands in place. */
export function fields(doc: Document, s: Schema | undefined): Field[] {
  const whole = s?.$ref ? doc.components?.schemas?.[nameOfSchema(s)] : s;
  return Object.entries(whole?.properties ?? {})
    .filter(([name]) => name !== "$schema")
    .map(([name, one]) => ({ name, type: typeOfSchema(one), required: whole?.required?.includes(name) ?? false, text: one.description ?? "" }));
}

export interface Entry {
  method: string;
  path: string;
  op: Operation;
  body: Field[];
  answer: Field[];
  codes: string[];
}

const methods = ["get", "post", "put", "delete"];

/** All operations by their tags, in the order of the document. */
export function grouped(doc: Document): [string, Entry[]][] {
  const map = new Map<string, Entry[]>();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of methods) {
      const op = item[method];
      if (!op) continue;
      const tag = op.tags?.[0] ?? "";
      const responses = Object.entries(op.responses ?? {});
      const good = responses.find(([code]) => code.startsWith("2"))?.[1];
      const json = (content: Record<string, { schema?: Schema }> | undefined) => content?.["application/json"]?.schema;
      const entry = { method, path, op, body: fields(doc, json(op.requestBody?.content)), answer: fields(doc, json(good?.content)), codes: responses.map(([code]) => code).filter((code) => code !== "default") };
      map.set(tag, [...(map.get(tag) ?? []), entry]);
    }
  }
  return [...map];
}
