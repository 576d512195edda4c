// Adapters in Node, through Dawn: real GPUs, the system's software drivers, SwiftShader from npm. Node only.
import { existsSync, readdirSync } from 'node:fs'
import { PhospheneError } from '../error.ts'
import { type Device, type DeviceDescription, describe, deviceFrom } from './device.ts'
import { loadVulkanLoader, swiftshaderManifest } from './swiftshader.ts'

export interface AdapterReport extends DeviceDescription {
  /** 'system': a driver of this machine; 'swiftshader': the driver from the npm package. */
  readonly source: 'system' | 'swiftshader'
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  /** What of Dawn's is switched on for a device of this adapter; a browser has none of it. */
  readonly toggles: readonly string[]
}

export interface OpenOptions {
  readonly kind: 'gpu' | 'software'
  /** Part of the adapter's name, as `phosphene doctor` prints it; case does not matter. */
  readonly adapter?: string | undefined
  /** true: no Dawn toggle beyond the one that gives shader-f16 on NVIDIA: what a browser would offer. */
  readonly browserLike?: boolean | undefined
}

interface Candidate {
  readonly report: AdapterReport
  readonly adapter: GPUAdapter
  readonly gpu: GPU
}

/** Dawn crashes when the object that `create` returned is collected before its devices (seen in 0.6.2): it is kept here. */
const keptAlive = new Map<Device, GPU>()

/** Linux on NVIDIA hides shader-f16 without the first; matrix units need the second. */
const browserToggles = ['vulkan_enable_f16_on_nvidia']
const nodeToggles = [...browserToggles, 'allow_unsafe_apis']
/** The kernels guard their own bounds; clamps that Dawn adds cost matrix kernels up to 3x (measured on an H200). */
const gpuToggles = [...nodeToggles, 'disable_robustness']

function creationOptions(toggles: readonly string[], more: readonly string[]): string[] {
  return [`enable-dawn-features=${toggles.join(',')}`, 'disable-dawn-features=timestamp_quantization', ...more]
}

const limitNames = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBuffersPerShaderStage',
  'minStorageBufferOffsetAlignment',
] as const

function report(adapter: GPUAdapter, source: AdapterReport['source']): AdapterReport {
  const description = describe(adapter, source)
  return {
    ...description,
    source,
    features: [...adapter.features].sort(),
    limits: Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]])),
    toggles: description.kind === 'gpu' ? gpuToggles : nodeToggles,
  }
}

/** Names of the adapters that Dawn sees: it lists them when asked for one that does not exist. */
async function adapterNames(create: (options: string[]) => GPU): Promise<string[]> {
  const gpu = create(['adapter=no adapter has this name'])
  try {
    await gpu.requestAdapter()
    return []
  } catch (error) {
    return [
      ...new Set(
        [...String(error).matchAll(/(?:device|description):?\s*"([^"]+)"|^\s*[-*]\s*(.+)$/gm)].map((m) =>
          (m[1] ?? m[2])!.trim(),
        ),
      ),
    ]
  }
}

async function systemCandidates(toggles: readonly string[]): Promise<Candidate[]> {
  const { create } = await import('webgpu')
  const found: Candidate[] = []
  const seen = new Set<string>()
  const names = await adapterNames(create)
  for (const more of [[], ...names.map((name) => [`adapter=${name}`])]) {
    const candidate = await systemCandidate(toggles, more)
    if (!candidate) continue
    const { name, architecture } = candidate.report
    const key = `${name} ${architecture}`
    if (seen.has(key)) continue
    seen.add(key)
    found.push(candidate)
  }
  return found
}

/** What the system's drivers offer for these options of Dawn's, which may name an adapter. */
async function systemCandidate(toggles: readonly string[], more: readonly string[]): Promise<Candidate | undefined> {
  const { create } = await import('webgpu')
  const gpu = create(creationOptions(toggles, more))
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null)
  return adapter ? { report: report(adapter, 'system'), adapter, gpu } : undefined
}

/** The npm package's SwiftShader, beside whatever drivers the system has: chosen by environment for this one instance. */
async function swiftshaderCandidate(toggles: readonly string[]): Promise<Candidate | undefined> {
  const manifest = swiftshaderManifest()
  if (!manifest || !existsSync(manifest)) return undefined
  loadVulkanLoader(manifest)
  const { create } = await import('webgpu')
  const before = { icd: process.env.VK_ICD_FILENAMES, driver: process.env.VK_DRIVER_FILES }
  process.env.VK_ICD_FILENAMES = manifest
  process.env.VK_DRIVER_FILES = manifest
  try {
    const gpu = create(creationOptions(toggles, ['backend=vulkan']))
    const adapter = await gpu.requestAdapter()
    return adapter ? { report: report(adapter, 'swiftshader'), adapter, gpu } : undefined
  } finally {
    restore('VK_ICD_FILENAMES', before.icd)
    restore('VK_DRIVER_FILES', before.driver)
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

/** Whether a Vulkan driver is registered; asking Dawn without one prints warnings. Other systems need no Vulkan. */
function mayHaveDriver(): boolean {
  if (process.platform !== 'linux') return true
  if (process.env.VK_ICD_FILENAMES || process.env.VK_DRIVER_FILES || process.env.VK_ADD_DRIVER_FILES) return true
  const home = process.env.HOME ?? ''
  const roots = [
    '/etc',
    '/usr/share',
    '/usr/local/share',
    '/usr/local/etc',
    `${home}/.local/share`,
    '/usr/local/nvidia/share',
  ]
  roots.push(...(process.env.XDG_DATA_DIRS ?? '').split(':').filter(Boolean))
  return roots.some((root) => {
    const folder = `${root}/vulkan/icd.d`
    return existsSync(folder) && readdirSync(folder).some((file) => file.endsWith('.json'))
  })
}

async function candidates(toggles: readonly string[]): Promise<Candidate[]> {
  // SwiftShader first: its loader serves Dawn where the system has none, and must be there before Dawn looks.
  const software = await swiftshaderCandidate(toggles)
  const system = mayHaveDriver() ? await systemCandidates(toggles) : []
  return software ? [...system.filter((c) => !/swiftshader/i.test(c.report.name)), software] : system
}

/** Every adapter that can be opened here. */
export async function listAdapters(): Promise<AdapterReport[]> {
  return (await candidates(nodeToggles)).map((c) => c.report)
}

/**
 * Opens the first adapter that fits. Raises 'device/none' naming what there is and what to install. Of software adapters the
 * system's come first, lavapipe: it computes four times as fast as SwiftShader. With every kernel to compile, 8 steps at 128²
 * take it 12 s on two cores against 20, and 6 s once Mesa's cache holds them.
 */
export async function openDevice(options: OpenOptions): Promise<Device> {
  const toggles = options.browserLike ? browserToggles : options.kind === 'gpu' ? gpuToggles : nodeToggles
  const chosen = (await firstGpu(options, toggles)) ?? (await search(options, toggles))
  const device = await deviceFrom(chosen.adapter, chosen.report, () => keptAlive.delete(device))
  keptAlive.set(device, chosen.gpu)
  return device
}

/** The GPU that `search` would find first, where that is the system's first choice: each other adapter costs time to look at. */
async function firstGpu({ kind, adapter }: OpenOptions, toggles: readonly string[]): Promise<Candidate | undefined> {
  if (kind !== 'gpu' || adapter !== undefined || !mayHaveDriver()) return undefined
  const first = await systemCandidate(toggles, [])
  return first?.report.kind === 'gpu' ? first : undefined
}

async function search(options: OpenOptions, toggles: readonly string[]): Promise<Candidate> {
  const all = await candidates(toggles)
  const wanted = options.adapter?.toLowerCase()
  const chosen = all.find(
    (c) =>
      c.report.kind === options.kind &&
      (!wanted ||
        `${c.report.name} ${c.report.architecture} ${c.report.vendor} ${c.report.source}`
          .toLowerCase()
          .includes(wanted)),
  )
  if (chosen) return chosen
  throw noAdapter(options, all)
}

function noAdapter(options: OpenOptions, all: readonly Candidate[]): PhospheneError {
  const there = all.map((c) => `${c.report.name} (${c.report.kind})`).join(', ') || 'none'
  const what = options.adapter ? `${options.kind} adapter called "${options.adapter}"` : `${options.kind} adapter`
  return new PhospheneError({
    code: 'device/none',
    message: `there is no ${what}; adapters here: ${there}`,
    fix:
      options.kind === 'gpu'
        ? "Install the GPU's Vulkan driver (Linux: also the package libvulkan1), or use --device cpu."
        : 'Install a software Vulkan driver: `npm install --save-dev @sparticuz/chromium` (SwiftShader), or Mesa 24 or later (lavapipe); or use --device cpu.',
  })
}
