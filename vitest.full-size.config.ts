// `npm run test:full-size`: SD 1.5's real shapes with generated weights. Gigabytes and minutes, so a command of its own.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    reporters: ['default', './test/summary-reporter.ts'],
    include: ['test/full-size/**/*.test.ts'],
    env: { PHOSPHENE_TEST_EXECUTORS: process.env.PHOSPHENE_TEST_EXECUTORS ?? 'cpu' },
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    pool: 'forks',
    fileParallelism: false,
  },
})
