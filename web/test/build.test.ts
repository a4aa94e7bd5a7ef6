import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { expect, test } from "vitest";

/** The names of all files of a build, and the hash of what is in them. */
async function built(): Promise<Record<string, string>> {
  const outDir = mkdtempSync(join(tmpdir(), "farreach-build-"));
  await build({ logLevel: "silent", build: { outDir } });
  const files = readdirSync(outDir, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  const hashes = Object.fromEntries(files.map((f) => [join(f.parentPath, f.name).slice(outDir.length), createHash("sha256").update(readFileSync(join(f.parentPath, f.name))).digest("hex")]));
  rmSync(outDir, { recursive: true });
  return hashes;
}

test("two builds are the same", { timeout: 120_000 }, async () => {
  const one = await built();
  expect(await built()).toEqual(one);
  expect(Object.keys(one)).toContain("/index.html");
});
