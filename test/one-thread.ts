// SwiftShader computes on one thread in tests: each of vitest's workers keeps a core busy as it is, and small dispatches spread over
// threads cost three times the CPU time, most of it waiting for each other. It reads its settings from the working directory.
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('./swiftshader/', import.meta.url)))
