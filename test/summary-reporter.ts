// The last lines of a test run: passed of total by golden component and executor, what was skipped, and one line that sums up.
import { relative } from 'node:path'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

interface Count {
  passed: number
  total: number
}

/** `text_encoder` of `tiny/sd1/text_encoder`, `sd1` of `pipelines/sd1/ddim`; other names count under their file. */
function componentOf(test: TestCase, file: string): string {
  const id = /^'?((?:tiny|pipelines|fullsize)\/[\w./-]+)'?$/.exec(test.name)?.[1]
  if (!id) return file
  const parts = id.split('/')
  return parts[0] === 'pipelines' ? `pipelines/${parts[1]}` : (parts[2] ?? id)
}

/** `cpu f32` of a suite that stands for an executor. */
function columnOf(test: TestCase): string | undefined {
  for (let at: TestCase['parent'] = test.parent; at.type === 'suite'; at = at.parent) {
    const match = /^'?(cpu|onnx|swiftshader|webgpu|lavapipe|gpu)'?(?: '?(f32|f16)'?)?$/.exec(at.name)
    if (match) return [match[1], match[2]].filter(Boolean).join(' ')
  }
  return undefined
}

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const goldens = new Map<string, Count>()
    const skipped: string[] = []
    let [passed, failed] = [0, unhandled.length]
    for (const module of modules) {
      const file = relative(process.cwd(), module.moduleId).replaceAll('\\', '/')
      failed += module.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed++
        else if (state === 'failed') failed++
        else skipped.push(`${file}: ${test.fullName}`)
        if (!file.startsWith('test/golden/')) continue
        const key = [componentOf(test, file.replace(/^.*\/|\.test\.ts$/g, '')), columnOf(test) ?? 'host'].join(', ')
        const count = goldens.get(key) ?? { passed: 0, total: 0 }
        goldens.set(key, { passed: count.passed + (state === 'passed' ? 1 : 0), total: count.total + 1 })
      }
    }
    for (const [key, count] of [...goldens].sort(([a], [b]) => (a < b ? -1 : 1)))
      console.log(`golden ${key}: ${count.passed} of ${count.total}`)
    for (const name of skipped) console.log(`skipped ${name}`)
    console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`)
  }
}
