// The f64 reference as an executor: right and slow, for tiny models and for checks.
import { PhospheneError } from '../../error.ts'
import type { Graph, Value } from '../../graph/graph.ts'
import type { RefTensor } from '../../graph/op.ts'
import { toFloat32 } from '../../tensor/convert.ts'
import { breathe, throwIfAborted } from '../aborted.ts'
import type { Executor, HostTensor, LoadOptions, ParameterSource } from '../executor.ts'
import { loadWithPrelude, type PlainSession } from '../held-session.ts'
import { hostSampling } from '../host-sampling.ts'
import { withQuantised } from '../quantised-parameters.ts'
import { withStacked } from '../stacked-parameters.ts'
import { evaluateNode, outputsOf, startValues } from './evaluate.ts'

/** `dtype` is not looked at: everything is f64, from the weights as the file has them, or as they are quantised. */
async function load(
  graph: Graph,
  parameters: ParameterSource,
  { signal, onProgress, weights }: LoadOptions,
): Promise<PlainSession> {
  const source = withQuantised(graph, withStacked(graph, parameters), weights)
  const params = new Map<string, Float32Array>()
  const bytesOf = (value: Value) => 8 * value.shape.reduce((product, size) => product * size, 1)
  const total = [...graph.params.values()].reduce((sum, value) => sum + bytesOf(value), 0)
  let done = 0
  for (const value of graph.params.values()) {
    throwIfAborted(signal)
    const tensor = source.tensors.get(value.name)
    if (String(tensor?.shape) !== String(value.shape))
      throw new PhospheneError({
        code: tensor ? 'weights/shape' : 'weights/missing-key',
        message: `${source.label}: ${value.name} is [${tensor?.shape ?? 'missing'}], the model takes [${value.shape}]`,
        fix: 'The config.json and the weights may belong to different models; run `phosphene inspect <model>` to see its tensors.',
      })
    params.set(value.name, toFloat32(await source.read(value.name), tensor!.dtype))
    done += bytesOf(value)
    onProgress?.(done, total)
  }
  return {
    graph,
    weightBytes: total,
    arenaBytes: 0,
    async run(inputs: Readonly<Record<string, HostTensor>>, runSignal?: AbortSignal) {
      const values: Map<Value, RefTensor> = startValues(graph, inputs, params)
      for (const node of graph.nodes) {
        await breathe(runSignal)
        values.set(node.output, evaluateNode(node, values))
      }
      const outputs = [...outputsOf(graph, values)].map(([name, { data }]) => [name, Float32Array.from(data)] as const)
      return Object.fromEntries(outputs)
    },
    dispose() {
      params.clear()
    },
  }
}

/** Runs graphs in f64 on the host. */
export function referenceExecutor(): Executor {
  return {
    name: 'reference',
    description: 'reference (f64)',
    loadsBeside: false,
    load: (graph, source, options) => loadWithPrelude(load, graph, source, options),
    sampling: hostSampling,
    samplingBytes: () => 0,
    async dispose() {},
  }
}
