#!/usr/bin/env node
// The program's start: the process's streams and signals around `run`.
import { run } from './program.ts'

const stop = new AbortController()
process.on('SIGINT', () => {
  if (stop.signal.aborted) process.exit(130) // asked twice: at once, whatever is under way
  stop.abort()
})
process.on('SIGTERM', () => stop.abort())

for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0) // the reader, e.g. `head`, has seen enough
  })

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  bar: process.stderr.isTTY ? process.stderr : undefined,
  signal: stop.signal,
})
