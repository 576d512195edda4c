// SwiftShader (a Vulkan driver that computes on the CPU) out of the npm package @sparticuz/chromium. Node only.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const wanted = ['libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json']

/** Where the package's archive lies; undefined when the package is not installed. */
function archive(): { path: string; version: string } | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium')
    for (let dir = dirname(entry); dir !== dirname(dir); dir = dirname(dir)) {
      const path = join(dir, 'bin', 'swiftshader.tar.br')
      if (existsSync(path))
        return {
          path,
          version: (JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { version: string }).version,
        }
    }
  } catch {
    return undefined // not installed: an npm user of the library, who is told its name where it matters
  }
  return undefined
}

/**
 * Unpacks SwiftShader and its Vulkan loader once for each version; returns the path of the driver's manifest, or undefined
 * where the package is not installed or the system is not Linux on x64.
 */
export function swiftshaderManifest(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const found = archive()
  if (!found) return undefined
  const user = typeof process.getuid === 'function' ? process.getuid() : 0
  const folder = join(tmpdir(), `phosphene-swiftshader-${found.version}-${user}`)
  if (!existsSync(folder)) {
    const fresh = `${folder}.${process.pid}`
    mkdirSync(fresh, { recursive: true, mode: 0o700 })
    const tar = brotliDecompressSync(readFileSync(found.path))
    for (let at = 0; at + 512 <= tar.length; ) {
      const name = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '')
      if (!name) break
      const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0
      const base = name.slice(name.lastIndexOf('/') + 1)
      if (wanted.includes(base)) writeFileSync(join(fresh, base), tar.subarray(at + 512, at + 512 + size))
      at += 512 + Math.ceil(size / 512) * 512
    }
    try {
      renameSync(fresh, folder)
    } catch (error) {
      rmSync(fresh, { recursive: true, force: true })
      if (!existsSync(folder)) throw error // otherwise another process was first
    }
  }
  return join(folder, 'vk_swiftshader_icd.json')
}

let loaderTried = false

/**
 * Loads the Vulkan loader beside `manifest` into the process, so that Dawn's own dlopen finds it by name where the system
 * has none. Node refuses the library as an addon, which is expected: with RTLD_NODELETE it stays loaded all the same.
 */
export function loadVulkanLoader(manifest: string): void {
  if (loaderTried) return
  loaderTried = true
  const noDelete = 0x1000 // RTLD_NODELETE of glibc
  try {
    process.dlopen({ exports: {} }, join(dirname(manifest), 'libvulkan.so.1'), constants.dlopen.RTLD_NOW | noDelete)
  } catch (error) {
    if (!/self-register/.test(String(error))) throw error
  }
}
