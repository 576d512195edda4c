import { describe, expect, it } from 'vitest'
import type { PhospheneError } from '../error.ts'
import type { FileDType } from '../tensor/dtype.ts'
import { checkParams } from './check.ts'

function source(tensors: Readonly<Record<string, readonly number[]>>, dtype: FileDType = 'F16') {
  const infos = Object.entries(tensors).map(([name, shape]) => [name, { name, dtype, shape, byteLength: 0 }] as const)
  return { label: 'unet.safetensors', tensors: new Map(infos) }
}

function failure(work: () => unknown): PhospheneError {
  try {
    work()
  } catch (error) {
    return error as PhospheneError
  }
  throw new Error('no error')
}

describe('checkParams', () => {
  it('all there: the unknown ones come back, known noise does not', () => {
    const held = source({
      a: [1],
      extra: [2],
      'text_model.embeddings.position_ids': [1, 77],
      position_ids: [1, 77],
      'model_ema.decay': [],
      betas: [1000],
      sqrt_alphas_cumprod: [1000],
      logit_scale: [],
    })
    expect(checkParams([{ name: 'a', shape: [1] }], held)).toEqual(['extra'])
  })

  it('missing ones are listed together, twenty by name', () => {
    const wanted = Array.from({ length: 23 }, (_, i) => ({ name: `w${i}`, shape: [1] }))
    const error = failure(() => checkParams(wanted, source({ w0: [1] })))
    expect(error.code).toBe('weights/missing-key')
    expect(error.message).toContain('unet.safetensors lacks 22 of 23 tensors: w1, w2,')
    expect(error.message).toContain('w20 and 2 more')
    expect(error.message).not.toContain('w21')
  })

  it('a wrong shape names both, also where only the number of axes differs', () => {
    const error = failure(() =>
      checkParams([{ name: 'proj_in.weight', shape: [4, 4] }], source({ 'proj_in.weight': [4, 4, 1, 1] })),
    )
    expect(error.code).toBe('weights/shape')
    expect(error.message).toContain('proj_in.weight is [4,4,1,1] in the file, the model wants [4,4]')
  })

  it('integers are no weights', () => {
    const error = failure(() => checkParams([{ name: 'a', shape: [1] }], source({ a: [1] }, 'I64')))
    expect(error).toMatchObject({ code: 'weights/dtype', message: 'unet.safetensors: a is I64, not a float type' })
  })
})
