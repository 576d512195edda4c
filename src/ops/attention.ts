// Multi-head attention on projected queries, keys and values.
import type { Scope, Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { AttentionAttrs } from './attrs.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

export interface AttentionOptions {
  readonly heads: number
  /** 1/√d unless said. */
  readonly scale?: number
  readonly causal?: boolean
}

/** q [n, tq, heads·d], k and v [n, tk, heads·d] → [n, tq, heads·d] = softmax(scale · q·kᵀ)·v by head. */
export function attention(g: Scope, q: Value, k: Value, v: Value, options: AttentionOptions): Value {
  const { heads, scale = 1 / Math.sqrt(q.shape.at(-1)! / heads), causal = false } = options
  return g.add(attentionOp, [q, k, v], { heads, scale, causal })
}

export const attentionOp: OpDef<AttentionAttrs> = {
  name: 'attention',

  infer([q, k, v], { heads, causal }, where) {
    if (q?.shape.length !== 3 || k?.shape.length !== 3 || v?.shape.length !== 3)
      return shapeError(where, `attention takes [n, t, channels], not [${q?.shape}], [${k?.shape}] and [${v?.shape}]`)
    if (String(k.shape) !== String(v.shape)) shapeError(where, `keys [${k.shape}] and values [${v.shape}] differ`)
    if (q.shape[0] !== k.shape[0] || q.shape[2] !== k.shape[2])
      shapeError(where, `queries [${q.shape}] and keys [${k.shape}] differ in batch or channels`)
    if (q.shape[2]! % heads !== 0) shapeError(where, `${q.shape[2]} channels do not divide into ${heads} heads`)
    if (causal && q.shape[1] !== k.shape[1])
      shapeError(where, `causal attention needs as many keys as queries, not ${k.shape[1]} and ${q.shape[1]}`)
    return { shape: q.shape, kind: 'float' }
  },

  cost([q, k], { heads }) {
    const [n, tq, channels] = q!.shape as [number, number, number]
    const tk = k!.shape[1]!
    return { macs: 2 * n * tq * tk * channels, operations: 12 * n * heads * tq * tk }
  },

  reference([q, k, v], { heads, scale: factor, causal }, { shape }) {
    const [n, tq, channels] = shape as [number, number, number]
    const tk = k!.shape[1]!
    const width = channels / heads
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    const weights = new Float64Array(tk)
    const terms = new Float64Array(tk)
    for (let image = 0; image < n; image++)
      for (let head = 0; head < heads; head++)
        for (let i = 0; i < tq; i++) {
          const query = (image * tq + i) * channels + head * width
          const rowOf = (j: number) => (image * tk + j) * channels + head * width
          const seen = causal ? i + 1 : tk
          let largest = Number.NEGATIVE_INFINITY
          for (let j = 0; j < seen; j++) {
            let [sum, sumAbs] = [0, 0]
            for (let c = 0; c < width; c++) {
              const term = factor * q!.data[query + c]! * k!.data[rowOf(j) + c]!
              sum += term
              sumAbs += Math.abs(term)
            }
            weights[j] = sum
            terms[j] = sumAbs
            largest = Math.max(largest, sum)
          }
          let total = 0
          for (let j = 0; j < seen; j++) {
            weights[j] = Math.exp(weights[j]! - largest)
            total += weights[j]!
          }
          // First order: δp_j ≤ p_j · (δs_j + Σ p·δs), δs_j ≤ Σ|terms of s_j| and the rounding of s_j − max.
          let drift = Math.abs(largest)
          for (let j = 0; j < seen; j++) drift += (weights[j]! / total) * terms[j]!
          for (let c = 0; c < width; c++) {
            let [sum, bound] = [0, 0]
            for (let j = 0; j < seen; j++) {
              const term = (weights[j]! / total) * v!.data[rowOf(j) + c]!
              sum += term
              bound += Math.abs(term) * (1 + terms[j]! + drift)
            }
            data[query + c] = sum
            scale[query + c] = bound
          }
        }
    return { shape, data, scale }
  },

  onnx(writer, names, { heads, scale, causal }) {
    // ONNX Runtime's own operator: on the CPU it never holds the logits of a whole head, which MatMul and Softmax would.
    return writer.node('com.microsoft.MultiHeadAttention', names, {
      num_heads: { int: heads },
      scale: { float: scale },
      unidirectional: { int: causal ? 1 : 0 },
    })
  },
}
