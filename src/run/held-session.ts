// Sessions of executors whose values pass through the host: held inputs, and what the prelude makes of them, wait there.
import type { Graph } from '../graph/graph.ts'
import type { HostTensor, LoadOptions, ParameterSource, Session } from './executor.ts'

/** A session that takes all its inputs at every run. */
export type PlainSession = Omit<Session, 'hold' | 'stateBytes' | 'release'>

type Load = (graph: Graph, source: ParameterSource, options: LoadOptions) => Promise<PlainSession>

/** `load` for graphs in two parts: the prelude, where there is one, and the graph, one after the other. */
export async function loadWithPrelude(
  load: Load,
  graph: Graph,
  source: ParameterSource,
  options: LoadOptions,
): Promise<Session> {
  const { prelude: before, onProgress } = options
  if (!before) return holding(await load(graph, source, options))
  const all = parametersOf(before) + parametersOf(graph)
  /** Progress of one of the two, in terms of both: bytes go by parameters. */
  const from = (offset: number, own: number) => (done: number, total: number) => {
    const bytes = (total * all) / own
    onProgress?.((bytes * offset) / all + done, bytes)
  }
  const prelude = await load(before, source, { ...options, onProgress: from(0, parametersOf(before)) })
  try {
    const onRest = from(parametersOf(before), parametersOf(graph))
    const rest = await load(graph, source, { ...options, onProgress: onRest })
    return holding(rest, prelude)
  } catch (error) {
    prelude.dispose()
    throw error
  }
}

function holding(rest: PlainSession, prelude?: PlainSession): Session {
  let held: Readonly<Record<string, HostTensor>> = {}
  let given: Readonly<Record<string, HostTensor>> = {} // the prelude's inputs
  return {
    graph: rest.graph,
    weightBytes: rest.weightBytes + (prelude?.weightBytes ?? 0),
    arenaBytes: rest.arenaBytes + (prelude?.arenaBytes ?? 0),
    stateBytes: 0,
    release() {
      held = {}
    },
    async hold(inputs, signal) {
      const of = ({ graph }: PlainSession) =>
        Object.fromEntries(Object.entries(inputs).filter(([name]) => graph.inputs.has(name)))
      if (prelude) given = { ...given, ...of(prelude) }
      held = { ...held, ...of(rest), ...(prelude ? await prelude.run(given, signal) : {}) }
    },
    run: (inputs, signal) => rest.run({ ...held, ...inputs }, signal),
    dispose() {
      prelude?.dispose()
      rest.dispose()
    },
  }
}

function parametersOf({ params }: Graph): number {
  let sum = 0
  for (const { shape } of params.values()) sum += shape.reduce((product, size) => product * size, 1)
  return sum
}
