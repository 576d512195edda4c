// Work that is asked for all at once and done a few pieces at a time.

/** Runs tasks in the order in which they are given, at most `width` at once. A task that fails frees its place like any other. */
export function inTurns(width: number): <T>(task: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (task) => {
    if (running >= width) await new Promise<void>((turn) => waiting.push(turn))
    else running++
    try {
      return await task()
    } finally {
      const next = waiting.shift() // takes over this task's place
      if (next) next()
      else running--
    }
  }
}
