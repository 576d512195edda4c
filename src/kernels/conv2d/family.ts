// The convolutions of the engine (two spatial dimensions), with bias and epilogue.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { directMatmul } from '../matmul/direct.ts'
import { subgroupMatrixMatmul } from '../matmul/subgroup-matrix.ts'
import { tiledMatmul } from '../matmul/tiled.ts'
import { winogradConvs } from '../winograd/variant.ts'
import { broadcastConv } from './broadcast.ts'
import { directConv } from './direct.ts'
import { pointwiseConv } from './pointwise.ts'
import { subgroupMatrixConv } from './subgroup-matrix.ts'
import { tiledConv } from './tiled.ts'

export const conv2dFamily: Family<Conv2dAttrs> = {
  op: 'conv2d',
  // Pointwise first: at equal cost the product has no strips to cut off.
  variants: [
    pointwiseConv(directMatmul),
    pointwiseConv(tiledMatmul),
    pointwiseConv(subgroupMatrixMatmul),
    directConv,
    broadcastConv,
    tiledConv,
    subgroupMatrixConv,
    ...winogradConvs,
  ],
}
