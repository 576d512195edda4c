// `phosphene doctor`: what this machine can run on.
import type { Command } from 'commander'
import type { ExecutorReport } from '../report/doctor.ts'
import type { Terminal } from './terminal.ts'
import { version } from './version.ts'

export function addDoctor(program: Command, terminal: Terminal): void {
  program
    .command('doctor')
    .description('show which GPUs and executors work here, each proved by computing something')
    .option('--json', 'print one JSON object on stdout, to paste into a report')
    .action(async ({ json }: { json?: boolean }) => {
      const { examine } = await import('../report/doctor.ts')
      const report = await examine()
      if (json) {
        terminal.out(`${JSON.stringify({ version, ...report })}\n`)
        return
      }
      terminal.out(`phosphene ${version}, Node ${report.node}, ${report.platform}\n`)
      terminal.out(`${report.cpu}, ${(report.memoryBytes / 1e9).toFixed(1)} GB\n\n`)
      for (const each of report.executors) terminal.out(executorText(each))
      for (const advice of report.advice) terminal.out(`${advice}\n`)
    })
}

function executorText({ device, name, adapter, proofs }: ExecutorReport): string {
  const lines = [`${name}  (--device ${device})`]
  for (const [dtype, proof] of Object.entries(proofs))
    lines.push(
      proof.ok
        ? `  ${dtype}: works (largest error ${proof.largestError.toExponential(1)}, ${proof.elapsedMs.toFixed(0)} ms)`
        : `  ${dtype}: does not work: ${proof.reason}`,
    )
  if (adapter) {
    lines.push(
      `  source: ${adapter.source}, vendor: ${adapter.vendor || '–'}, architecture: ${adapter.architecture || '–'}`,
    )
    lines.push(`  Dawn's toggles set here: ${adapter.toggles.join(', ')}`)
    lines.push(`  features: ${adapter.features.join(', ')}`)
    for (const [limit, value] of Object.entries(adapter.limits)) lines.push(`  ${limit}: ${value}`)
  }
  return `${lines.join('\n')}\n\n`
}
