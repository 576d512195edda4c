// Writes a complete diffusers folder of SD 1.5's real shapes with generated weights (2.1 GB), for full-size proofs and
// benchmarks. Run as bench/gpu/README.md says: node .bundle/js/tools/make-full-size.js <folder>
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type LazyTensor, writeSafetensorsFile } from '../src/weights/node-write.ts'
import { generatedWeight, readConfigs, readKeys } from './generated-weights.ts'

const files = {
  text_encoder: { file: 'model.safetensors', className: 'CLIPTextModel' },
  unet: { file: 'diffusion_pytorch_model.safetensors', className: 'UNet2DConditionModel' },
  vae: { file: 'diffusion_pytorch_model.safetensors', className: 'AutoencoderKL' },
} as const

/** Tokenizer, scheduler and index are those of the small SD 1.x model: the same kinds, a smaller vocabulary. */
const small = fileURLToPath(new URL('../test/golden/data/tiny/sd1/', import.meta.url))

export async function makeFullSize(folder: string): Promise<void> {
  const keys = readKeys()
  const configs = readConfigs()
  await mkdir(folder, { recursive: true })
  for (const part of ['tokenizer', 'scheduler', 'model_index.json'])
    await cp(join(small, part), join(folder, part), { recursive: true })
  for (const [component, { file, className }] of Object.entries(files)) {
    const name = component as keyof typeof files
    await mkdir(join(folder, name), { recursive: true })
    const config = { _class_name: className, ...(configs[name] as object) }
    await writeFile(join(folder, name, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
    const tensors = Object.entries(keys[name]).map(([key, shape]): LazyTensor => {
      const elements = shape.reduce((a, b) => a * b, 1)
      return {
        name: key,
        dtype: 'F16',
        shape,
        bytes: () => new Uint8Array(generatedWeight(key, shape, 0, elements).buffer),
      }
    })
    await writeSafetensorsFile(join(folder, name, file), tensors)
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  const folder = process.argv[2]
  if (!folder) {
    console.error('usage: make-full-size.js <folder>')
    process.exit(2)
  }
  await makeFullSize(folder)
}
