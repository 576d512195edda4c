// The command line in this process: what it returned and printed.
import { run } from '../src/cli/program.ts'

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** @param onErr told each piece of stderr, and handed what Ctrl-C would abort */
export async function runCli(
  argv: readonly string[],
  onErr: (text: string, stop: AbortController) => void = () => {},
  stop = new AbortController(),
): Promise<Outcome> {
  const [out, err]: [string[], string[]] = [[], []]
  const code = await run(argv, {
    out: (text) => void out.push(text),
    err: (text) => {
      err.push(text)
      onErr(text, stop)
    },
    bar: undefined,
    signal: stop.signal,
  })
  return { code, out: out.join(''), err: err.join('') }
}
