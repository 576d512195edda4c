import { defineConfig } from 'vitest/config'
import LongFirst from './test/long-first.ts'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'tools/**/*.test.ts'],
    // Commands of their own: minutes, gigabytes, other software (CONTRIBUTING.md).
    exclude: ['test/full-size/**', 'test/soak/**', 'test/peer/**'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    setupFiles: ['./test/one-thread.ts'],
    sequence: { sequencer: LongFirst },
    reporters: ['default', './test/summary-reporter.ts'],
  },
})
