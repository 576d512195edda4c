// Nearest-neighbour resizing of images to a given size.
import type { Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef, Shape } from '../graph/op.ts'
import type { UpsampleAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [n, h, w, c] → [n, height, width, c]; row y comes from row floor(y · h / height). */
export function upsampleNearest(x: Value, height: number, width: number): Value {
  return x.graph.add(upsampleOp, [x], { height, width }, scopeOf([x]))
}

/**
 * The ONNX form of an enlargement to `shape` by whole ratios. Resize divides in floats, which may land below a whole number; with
 * whole ratios it is exact, and faster than gathering.
 */
export function resized(writer: OnnxWriter, x: string, shape: Shape): string {
  return writer.node('Resize', [x, '', '', writer.int64(writer.shape(shape))], {
    mode: { string: 'nearest' },
    coordinate_transformation_mode: { string: 'asymmetric' },
    nearest_mode: { string: 'floor' },
  })
}

function sourceIndex(size: number, from: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor((i * from) / size))
}

export const upsampleOp: OpDef<UpsampleAttrs> = {
  name: 'upsample',

  infer([x], { height, width }, where) {
    if (x?.shape.length !== 4) return shapeError(where, `resizing takes [n, h, w, c], not [${x?.shape}]`)
    const [n, h, w, c] = x.shape as [number, number, number, number]
    if (height < h || width < w) shapeError(where, `an image of ${h}×${w} cannot be enlarged to ${height}×${width}`)
    return { shape: [n, height, width, c], kind: 'float' }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference([x], { height, width }, { shape }) {
    const [n, h, w, c] = x!.shape as [number, number, number, number]
    const [rows, columns] = [sourceIndex(height, h), sourceIndex(width, w)]
    const data = new Float64Array(elementCount(shape))
    let at = 0
    for (let image = 0; image < n; image++)
      for (const row of rows)
        for (const column of columns) {
          const from = ((image * h + row) * w + column) * c
          data.set(x!.data.subarray(from, from + c), at)
          at += c
        }
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, [x], { height, width }, [type]) {
    const [n, h, w, c] = type!.shape as [number, number, number, number]
    if (height % h === 0 && width % w === 0) return resized(writer, x!, [n, height, width, c])
    const rows = writer.node('Gather', [x!, writer.int64(sourceIndex(height, h))], { axis: { int: 2 } })
    return writer.node('Gather', [rows, writer.int64(sourceIndex(width, w))], { axis: { int: 3 } })
  },
}
