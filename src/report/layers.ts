// Names of layers: how much of a node's scope says where in the model it is.

/**
 * The first modules of a scope, with the numbers that follow them.
 * @param depth modules to keep; numbers do not count: down_blocks.0.resnets.1 is of depth 2
 */
export function layerOf(scope: string, depth: number): string {
  const parts: string[] = []
  let modules = 0
  for (const part of scope.split('.')) {
    if (!/^\d+$/.test(part) && ++modules > depth) break
    parts.push(part)
  }
  return parts.join('.') || '(the graph itself)'
}

/** The depth at which a model has enough layers to tell them apart, and few enough to read: 16 or more where it can. */
export function readableDepth(scopes: readonly string[]): number {
  const layers = (depth: number) => new Set(scopes.map((scope) => layerOf(scope, depth))).size
  return [1, 2, 3].find((depth) => layers(depth) >= 16) ?? 4
}
