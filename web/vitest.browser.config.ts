import { defineConfig } from "vitest/config";

// Tests with a real browser on a real server, which has built the pages in.
export default defineConfig({
  test: { include: ["browser/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false },
});
