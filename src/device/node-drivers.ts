// Vulkan drivers by their manifests, for libraries that bring a Dawn of their own and take whatever driver comes first. Node only.
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { DeviceDescription } from './device.ts'
import { swiftshaderManifest } from './swiftshader.ts'

/**
 * Folders where drivers register. The loader looks at more; a driver elsewhere is named by the environment, which then holds for
 * everyone in the process.
 */
const folders = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d']

/** Manifest of the software driver behind an adapter; undefined for GPUs and where it is not found. */
export function softwareDriverManifest({
  name,
  driver,
  kind,
}: Pick<DeviceDescription, 'name' | 'driver' | 'kind'>): string | undefined {
  if (kind !== 'software') return undefined
  if (driver === 'lavapipe') return registered(/^lvp_icd.*\.json$/)
  return /swiftshader/i.test(name) ? (swiftshaderManifest() ?? registered(/swiftshader.*\.json$/i)) : undefined
}

function registered(file: RegExp): string | undefined {
  const named = (process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES ?? '').split(delimiter).filter(Boolean)
  const there = folders.filter(existsSync).flatMap((folder) => readdirSync(folder).map((each) => join(folder, each)))
  return [...named, ...there].find((path) => file.test(path.slice(path.lastIndexOf('/') + 1)))
}

/** Lets whoever looks for Vulkan drivers from now on in this process see that one alone, until the function returned is called. */
export function offerDriver(manifest: string): () => void {
  const names = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'] as const // the second is the loader's older name for it
  const before = names.map((name) => [name, process.env[name]] as const)
  for (const name of names) process.env[name] = manifest
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}
