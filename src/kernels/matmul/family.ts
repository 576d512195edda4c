// The products of the engine: a · b with bias, gate and epilogue.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { broadcastMatmul } from './broadcast.ts'
import { directMatmul } from './direct.ts'
import { fewRowsMatmul } from './few-rows.ts'
import { subgroupMatrixMatmul } from './subgroup-matrix.ts'
import { tiledMatmul } from './tiled.ts'

export const matmulFamily: Family<MatmulAttrs> = {
  op: 'matmul',
  variants: [directMatmul, broadcastMatmul, fewRowsMatmul, tiledMatmul, subgroupMatrixMatmul],
}
