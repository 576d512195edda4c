// docs/errors.md and the code agree on which errors there are and how the command line exits for each.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { exitCodeOf } from '../src/cli/failure.ts'
import { errorCodes } from '../src/error.ts'

const rows = [
  ...readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8').matchAll(
    /^\| `([a-z/-]+)` \| (\d+) \| (.+) \| (.+) \|$/gm,
  ),
].map(([, code, exit]) => [code, Number(exit)])

it('lists every code with its exit code, in order', () => {
  expect(rows).toEqual(errorCodes.map((code) => [code, exitCodeOf(code)]))
})
