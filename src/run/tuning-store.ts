// Where measured times are kept from run to run: texts by name. In the browser its local storage, where it has one.

export interface TuningStore {
  /** For people: the folder, or what is in its place. */
  readonly label: string
  /** What times depend on and adapters do not tell: a driver's version. */
  readonly driver?: string | undefined
  /** Undefined where there is nothing that can be read. */
  read(name: string): Promise<string | undefined>
  /** Raises what the platform raises where nothing can be written. */
  write(name: string, text: string): Promise<void>
}

/** Forgets with the page; what a browser gives that keeps nothing. */
function memoryStore(): TuningStore {
  const texts = new Map<string, string>()
  return {
    label: 'memory',
    read: async (name) => texts.get(name),
    write: async (name, text) => void texts.set(name, text),
  }
}

export function browserTuningStore(): TuningStore {
  const storage = localStorageHere()
  if (!storage) return memoryStore()
  const key = (name: string) => `phosphene/tuning/${name}`
  return {
    label: 'local storage',
    read: async (name) => storage.getItem(key(name)) ?? undefined,
    write: async (name, text) => storage.setItem(key(name), text),
  }
}

function localStorageHere(): Storage | undefined {
  try {
    return globalThis.localStorage // asking raises where a page may keep nothing
  } catch {
    return undefined
  }
}
