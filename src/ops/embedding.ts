// Rows of a table by index: token embeddings.
import type { Scope, Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { EmbeddingAttrs } from './attrs.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** ids [n, t] (int, 0 … vocabulary−1) → [n, t, channels]; parameter `weight` [vocabulary, channels]. */
export function embedding(g: Scope, ids: Value, vocabulary: number, channels: number): Value {
  return g.add(embeddingOp, [ids, g.param('weight', [vocabulary, channels])], {})
}

export const embeddingOp: OpDef<EmbeddingAttrs> = {
  name: 'embedding',

  infer([ids, table], _attrs, where) {
    if (ids?.shape.length !== 2 || ids.kind !== 'int' || table?.shape.length !== 2)
      return shapeError(
        where,
        `an embedding takes int [n, t] and a table [v, c], not [${ids?.shape}] and [${table?.shape}]`,
      )
    return { shape: [...ids.shape, table.shape[1]!], kind: 'float' }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference([ids, table], _attrs, { shape }) {
    const channels = shape.at(-1)!
    const data = new Float64Array(elementCount(shape))
    ids!.data.forEach((id, row) => {
      data.set(table!.data.subarray(id * channels, (id + 1) * channels), row * channels)
    })
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, [ids, table]) {
    return writer.node('Gather', [table!, ids!], { axis: { int: 0 } })
  },
}
