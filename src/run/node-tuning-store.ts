// Measured times as files below the user's cache folder. Node only.
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { TuningStore } from './tuning-store.ts'

export function nodeTuningStore(folder = cacheFolder()): TuningStore {
  const path = (name: string) => join(folder, `${name}.json`)
  return {
    label: folder,
    driver: nvidiaDriver(),
    read: (name) => readFile(path(name), 'utf8').catch(() => undefined),
    async write(name, text) {
      await mkdir(folder, { recursive: true })
      const half = `${path(name)}.${process.pid}.part` // whole or not at all, whoever reads or writes meanwhile
      try {
        await writeFile(half, text)
        await rename(half, path(name))
      } catch (error) {
        await rm(half, { force: true }).catch(() => {})
        throw error
      }
    },
  }
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'phosphene', 'tuning')
}

/** Adapters are not sure to tell the version of NVIDIA's driver. */
function nvidiaDriver(): string | undefined {
  const file = '/proc/driver/nvidia/version'
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}
