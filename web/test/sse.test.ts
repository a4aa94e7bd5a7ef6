import { expect, test } from "vitest";
import { Parser } from "../src/lib/sse";

test("messages, wherever the text is cut", () => {
  const text = ':\n\nid: 7\ndata: {"a":1}\n\nevent: device\r\ndata: one\ndata:two\r\n\r\n: beat\n\nevent: end\n\ndata\n\n';
  const want = [
    { id: "7", type: "message", data: '{"a":1}' },
    { id: "7", type: "device", data: "one\ntwo" },
    { id: "7", type: "message", data: "" },
  ];
  for (let size = 1; size <= text.length; size++) {
    const parser = new Parser();
    const got = [];
    for (let i = 0; i < text.length; i += size) got.push(...parser.feed(text.slice(i, i + size)));
    expect(got).toEqual(want);
  }
});
