// WGSL as Dawn hands it to a driver: SPIR-V, with what Dawn inserts to keep every access inside its array and every loop finite.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { softwareDriverManifest } from '../src/device/node-drivers.ts'
import { swiftshaderManifest } from '../src/device/swiftshader.ts'

export type Driver = 'swiftshader' | 'lavapipe'

/** The driver's manifest; undefined where lavapipe is not installed. */
export function manifestOf(driver: Driver): string | undefined {
  if (driver === 'swiftshader') return swiftshaderManifest()
  return softwareDriverManifest({ name: 'llvmpipe', driver, kind: 'software' })
}

/**
 * The disassembly of each text, with and without Dawn's robustness. Dawn prints its dumps to the process's own stdout, behind
 * Node's back: only a process of its own lets them be caught.
 */
export async function dump(
  texts: readonly string[],
  manifest: string,
): Promise<readonly { readonly robust: string; readonly bare: string }[]> {
  const both = [[], ['disable_robustness']].map((toggles) => dumpWith(toggles, texts, manifest))
  const [robust, bare] = await Promise.all(both)
  return texts.map((_, i) => ({ robust: robust![i]!, bare: bare![i]! }))
}

async function dumpWith(toggles: readonly string[], texts: readonly string[], manifest: string): Promise<string[]> {
  const dumping = spawn(process.execPath, ['--input-type=module', '--eval', child], {
    cwd: fileURLToPath(new URL('..', import.meta.url)), // where the child finds its packages
    env: { ...process.env, VK_ICD_FILENAMES: manifest, VK_DRIVER_FILES: manifest },
  })
  dumping.stdin.end(JSON.stringify({ toggles: ['dump_shaders', ...toggles], texts, loader: loaderBeside(manifest) }))
  const ended = once(dumping, 'close')
  const [out, err] = await Promise.all([text(dumping.stdout), text(dumping.stderr)])
  const [status] = await ended
  const parts = out.split(`${mark}\n`).slice(1)
  if (status !== 0 || parts.length !== texts.length || parts.some((part) => !part.includes('; SPIR-V')))
    throw new Error(`the child ended with ${status} after ${parts.length} of ${texts.length} texts:\n${err}`)
  return parts
}

/** SwiftShader's package brings the Vulkan loader; lavapipe comes with the system's. */
function loaderBeside(manifest: string): string | undefined {
  return manifest === swiftshaderManifest() ? manifest.replace(/[^/]+$/, 'libvulkan.so.1') : undefined
}

const mark = '==== next text'

/** JavaScript, since Node runs it as it is. 0x1000 is RTLD_NODELETE, see device/swiftshader.ts. */
const child = `
import { readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { create, globals } from 'webgpu'
Object.assign(globalThis, globals)
const { toggles, texts, loader } = JSON.parse(readFileSync(0, 'utf8'))
if (loader) try { process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | 0x1000) } catch {}
const gpu = create(['enable-dawn-features=' + toggles.join(',')])
const adapter = await gpu.requestAdapter()
const requiredFeatures = ['shader-f16', 'subgroups'].filter((feature) => adapter.features.has(feature))
const limits = ['maxComputeWorkgroupStorageSize', 'maxStorageBuffersPerShaderStage', 'maxComputeInvocationsPerWorkgroup']
const requiredLimits = Object.fromEntries(limits.map((name) => [name, adapter.limits[name]]))
const device = await adapter.requestDevice({ requiredFeatures, requiredLimits })
for (const code of texts) {
  writeSync(1, '${mark}\\n')
  device.pushErrorScope('validation')
  device.createComputePipeline({ layout: 'auto', compute: { module: device.createShaderModule({ code }) } })
  const error = await device.popErrorScope()
  if (error) { writeSync(2, error.message); process.exit(1) }
}
globalThis.kept = gpu
process.exit(0)
`
