// A quantised weight as its kernels read it (kernels/wgsl/quantised.ts): integers in the layout that they want, then scales.
import { scalesAt } from '../../kernels/wgsl/quantised.ts'
import type { PlannedWeight } from '../../plan/plan.ts'
import { packNibbles, type QuantisedTensor } from '../../tensor/quantise.ts'

export function packedQuantised(
  { layout, storage, quantised, bytes }: PlannedWeight,
  tensor: QuantisedTensor,
): Uint8Array {
  const packed = new Uint8Array(bytes)
  const first = scalesAt(storage, quantised!) * 4
  if (tensor.format === 'int8') layout.pack(tensor.values, new Int8Array(packed.buffer, 0, layout.elements))
  else {
    const integers = new Int8Array(layout.elements)
    layout.pack(tensor.values, integers)
    packNibbles(integers, packed)
  }
  const scales = new Uint16Array(packed.buffer, first)
  if (quantised!.blocks === 'columns') {
    scales.set(tensor.scales)
    return packed
  }
  // [columns][blocks] → [blocks][halves][columns of a half, padded to fours].
  const { columns4, halves } = quantised!
  const blocks = scales.length / (columns4 * 4)
  const columns = tensor.scales.length / blocks
  const [own, padded] = [columns / halves, (columns4 * 4) / halves]
  for (let column = 0; column < columns; column++) {
    const to = Math.floor(column / own) * padded + (column % own)
    for (let block = 0; block < blocks; block++)
      scales[block * columns4 * 4 + to] = tensor.scales[column * blocks + block]!
  }
  return packed
}
