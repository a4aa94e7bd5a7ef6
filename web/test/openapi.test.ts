import { expect, test } from "vitest";
import { type Document, fields, grouped, typeOfSchema } from "../src/lib/openapi";

const doc: Document = {
  info: { title: "x", version: "1" },
  paths: {
    "/a": {
      get: { tags: ["t"], responses: { 200: { content: { "application/json": { schema: { $ref: "#/components/schemas/A" } } } }, 404: {}, default: {} } },
      post: { tags: ["u"], requestBody: { content: { "application/json": { schema: { properties: { n: { type: "integer", format: "int64" } } } } } } },
    },
  },
  components: { schemas: { A: { required: ["id"], properties: { $schema: {}, id: { type: "string", description: "its id" }, list: { type: ["array", "null"], items: { $ref: "#/components/schemas/B" } } } } } },
};

test.each([
  [{ type: "string", format: "date-time" }, "string (date-time)"],
  [{ type: ["array", "null"], items: { type: "string" } }, "string[]"],
  [{ enum: ["a", "b"] }, "a | b"],
  [undefined, ""],
] as const)("%j", (schema, want) => {
  expect(typeOfSchema(schema as never)).toBe(want);
});

test("the members of a body", () => {
  expect(fields(doc, { $ref: "#/components/schemas/A" })).toEqual([
    { name: "id", type: "string", required: true, text: "its id" },
    { name: "list", type: "B[]", required: false, text: "" },
  ]);
  expect(fields(doc, { $ref: "#/components/schemas/none" })).toEqual([]);
});

test("operations by tag", () => {
  const groups = grouped(doc);
  expect(groups.map(([tag, list]) => [tag, list.length])).toEqual([["t", 1], ["u", 1]]);
  expect(groups[0]![1][0]).toMatchObject({ method: "get", path: "/a", codes: ["200", "404"], body: [] });
  expect(groups[1]![1][0]!.body).toEqual([{ name: "n", type: "integer (int64)", required: false, text: "" }]);
});
