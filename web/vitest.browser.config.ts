import { defineConfig } from "vitest/config";

// Tests with a real browser on a real server, which has built the pages in. Two
// files at a time, for much of it is waiting; what is measured runs alone, at last.
const common = { testTimeout: 240_000, hookTimeout: 240_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { ...common, name: "pages", include: ["browser/**/*.test.ts"], exclude: ["browser/speed.test.ts"], maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { test: { ...common, name: "speed", include: ["browser/speed.test.ts"], maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
