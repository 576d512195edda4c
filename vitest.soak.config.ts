// `npm run test:soak`: many pictures in one process, memory flat. A command of its own, since it must have a process to itself.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    reporters: ['default', './test/summary-reporter.ts'],
    include: ['test/soak/**/*.test.ts'],
    testTimeout: 1_800_000,
    pool: 'forks',
    execArgv: ['--expose-gc'],
    fileParallelism: false,
  },
})
