// `npm test` is to take minutes on two cores, and SwiftShader compiles each kernel's text on one of them: 0.2 s, with barriers in
// loops 2 s. So cases, tunings and storages take turns, by their places in their lists: the same ones every time. What is thinned
// out runs with PHOSPHENE_TEST_FULL=1. On a GPU, where texts cost little, bench/gpu/kernels.ts runs every case of test/cases with
// every variant and tuning that the adapter takes (docs/performance.md: how many passed).

/** Nothing is left out. */
export const everything = process.env.PHOSPHENE_TEST_FULL === '1'

/** Whether place `at` is one of those that are run: one of `turns`, those at `offset` of each round. */
export function itsTurn(at: number, turns: number, offset = 0): boolean {
  return everything || at % turns === offset % turns
}
