// Loops of a SPIR-V disassembly, and what of their work comes from bounds checks.

export interface SpirvLoop {
  /** Its blocks from its header to where it merges, with loops within it and functions that it calls. */
  readonly lines: readonly string[]
  /** Whether it has no loop within it. */
  readonly innermost: boolean
}

/** In the order of their headers. Blocks of a structured loop lie together in the text, as Tint prints it. */
export function loopsOf(disassembly: string): SpirvLoop[] {
  const lines = disassembly.split('\n')
  const functions = functionsOf(lines)
  return lines.flatMap((line, i) => {
    const merge = /OpLoopMerge (%\w+)/.exec(line)?.[1]
    if (merge === undefined) return []
    const start = lines.findLastIndex((each, j) => j < i && labelOf(each) !== undefined)
    const end = lines.findIndex((each, j) => j > i && labelOf(each) === merge)
    const body = withCalled(lines.slice(start, end), functions)
    return { lines: body, innermost: body.filter((each) => each.includes('OpLoopMerge')).length === 1 }
  })
}

function labelOf(line: string): string | undefined {
  return /^\s*(%\w+) = OpLabel/.exec(line)?.[1]
}

function functionsOf(lines: readonly string[]): Map<string, readonly string[]> {
  const functions = new Map<string, readonly string[]>()
  for (const [i, line] of lines.entries()) {
    const name = /^\s*(%\w+) = OpFunction /.exec(line)?.[1]
    if (name !== undefined) functions.set(name, lines.slice(i, lines.indexOf('               OpFunctionEnd', i)))
  }
  return functions
}

/** The lines, and those of the functions that they call, as often as they do. WGSL has no recursion. */
function withCalled(lines: readonly string[], functions: ReadonlyMap<string, readonly string[]>): string[] {
  return lines.flatMap((line) => {
    const called = functions.get(/OpFunctionCall %\w+ (%\w+)/.exec(line)?.[1] ?? '')
    return called ? [line, ...withCalled(called, functions)] : [line]
  })
}

/** How often each instruction that checks a bound or counts turns stands in it. */
export function checksIn({ lines }: SpirvLoop): Readonly<Record<string, number>> {
  const count = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length
  return {
    // Less those that hold an index within a storage buffer, of whose length nothing can be proved: drivers with
    // robustBufferAccess2 check it in hardware, and Dawn leaves it to them.
    'min and max': count(/OpExtInst .* [USF]?(Min|Max|Clamp) /) - count(/OpArrayLength/),
    select: count(/OpSelect /),
    // The countdown of a loop that Dawn cannot see end: 64 bits as two words.
    countdown: count(/OpLoad %v2uint/),
  }
}

export function readsStorage({ lines }: SpirvLoop): boolean {
  return lines.some((line) => /OpAccessChain %_ptr_StorageBuffer/.test(line))
}
