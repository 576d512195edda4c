// Bands of one image (or of one sequence) one below the other.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { JoinRowsAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount, sameShape } from './shapes.ts'

/** Bands [1, hᵢ, ..., c], equal but for their rows → [1, Σhᵢ, ..., c]. A plan lets bands be made in their place where it can. */
export function joinRows(bands: readonly Value[]): Value {
  return bands[0]!.graph.add(joinRowsOp, bands, {}, scopeOf(bands))
}

export const joinRowsOp: OpDef<JoinRowsAttrs> = {
  name: 'joinRows',

  infer(bands, _attrs, where) {
    const [first] = bands
    if (!first) return shapeError(where, 'nothing to join')
    const rest = first.shape.slice(2)
    const other = bands.find(({ shape }) => shape[0] !== 1 || shape.length < 3 || !sameShape(shape.slice(2), rest))
    if (other) shapeError(where, `[${first.shape}] and [${other.shape}] are no bands of one image`)
    return { shape: [1, bands.reduce((sum, { shape }) => sum + shape[1]!, 0), ...rest], kind: first.kind }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference(bands, _attrs, { shape }) {
    const data = new Float64Array(elementCount(shape))
    let at = 0
    for (const band of bands) {
      data.set(band.data, at)
      at += band.data.length
    }
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, names, _attrs, _inputs, { shape }) {
    return writer.node('Concat', names, { axis: { int: writer.axis(shape.length, 1) } })
  },
}
