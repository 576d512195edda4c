// `phosphene samplers`: the names that --sampler takes.
import type { Command } from 'commander'
import { samplerList } from '../pipeline/sampler-list.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

export function addSamplers(program: Command, terminal: Terminal): void {
  program
    .command('samplers')
    .description("names for --sampler, with A1111's and diffusers' words for them")
    .option('--json', 'print one JSON object on stdout')
    .action(({ json }: { json?: boolean }) => {
      const rows = samplerList()
      if (json) {
        terminal.out(`${JSON.stringify({ samplers: rows })}\n`)
        return
      }
      const cells = rows.map(({ name, a1111, diffusers, options }) => {
        const extra = Object.entries(options).map(([key, value]) => `${key}=${value}`)
        return [name, a1111 ?? '–', [diffusers, ...extra].join(' ')]
      })
      terminal.out(table([['name', 'A1111', 'diffusers'], ...cells]))
      const remarks = rows.filter(({ remark }) => remark !== undefined)
      terminal.out(`\nAgainst A1111:\n${remarks.map(({ name, remark }) => `  ${name}: ${remark}\n`).join('')}`)
    })
}
