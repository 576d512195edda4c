// A headless Chromium: the one named by CHROMIUM_PATH, the system's, or the one inside the npm package @sparticuz/chromium.
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import packaged, { inflate } from '@sparticuz/chromium'
import { type Browser, chromium } from 'playwright-core'

/** WebGPU on the software adapter; headless Chromium hides that adapter otherwise. */
const webgpuFlags = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']

/** @param webgpu false: a browser in which no adapter is found */
export async function launch({ webgpu }: { readonly webgpu: boolean }): Promise<Browser> {
  const { path, libraries } = await executable()
  return chromium.launch({
    executablePath: path,
    headless: true,
    args: ['--no-sandbox', ...(webgpu ? webgpuFlags : [])],
    env: { ...process.env, ...(libraries && { LD_LIBRARY_PATH: libraries }) } as Record<string, string>,
  })
}

async function executable(): Promise<{ path: string; libraries?: string }> {
  const named = process.env.CHROMIUM_PATH
  if (named) return { path: named }
  if (existsSync('/usr/bin/chromium')) return { path: '/usr/bin/chromium' }
  return unpack()
}

/** The package unpacks into the folder for temporary files, its libraries (libnss3 and others) only where it is told to. */
async function unpack(): Promise<{ path: string; libraries: string }> {
  const path = await packaged.executablePath()
  const bin = fileURLToPath(new URL('../bin/', import.meta.resolve('@sparticuz/chromium')))
  return { path, libraries: [join(await inflate(join(bin, 'al2023.tar.br')), 'lib'), tmpdir()].join(':') }
}
