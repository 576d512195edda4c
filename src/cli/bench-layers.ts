// `phosphene bench layers`: layers of Stable Diffusion 1.5 against ONNX Runtime's WebGPU provider on the same adapter.
import type { Command } from 'commander'
import type { LayerBench } from '../report/bench-layers.ts'
import { numberFor } from './arguments.ts'
import { addDeviceOptions, benchOptions, checkJson, type DeviceFlags, tell } from './bench-options.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { milliseconds, prefixed } from './units.ts'

interface LayerFlags extends DeviceFlags {
  readonly only?: string
  readonly macs?: number
}

export function addBenchLayers(bench: Command, terminal: Terminal): void {
  addDeviceOptions(
    bench
      .command('layers')
      .description("time layers of Stable Diffusion 1.5 in turns with ONNX Runtime's WebGPU provider"),
  )
    .option('--only <text>', "part of the layers' names")
    .option('--macs <millions>', 'the most multiply-adds of a layer, kept by taking fewer pixels', numberFor('--macs'))
    .action(async (flags: LayerFlags) => {
      await checkJson(flags)
      const { benchLayers } = await import('../report/bench-layers.ts')
      const { macs, ...measured } = flags
      const most = macs === undefined ? undefined : macs * 1e6
      const report = await benchLayers({ ...benchOptions(measured, terminal), macs: most })
      await tell(report, () => text(report), flags, terminal)
    })
}

function text({ adapter, browserLike, dtype, peer, rounds, cases, geometricMean }: LayerBench): string {
  return [
    `${dtype}, on ${adapter}${browserLike ? ' (as in a browser)' : ''}, against ${peer}, median of ${rounds} in turns\n\n`,
    table([
      ['ms', 'spread', "peer's", 'spread', 'ratio', 'multiply-adds', 'difference', 'error', "peer's", 'layer', 'input'],
      ...cases.map(({ name, shapes, macs, ratio, spread, difference, error, peerError }) => [
        ...[spread.ms, spread.peerMs].flatMap(({ median, least, most }) => [
          milliseconds(median),
          `${milliseconds(least)} … ${milliseconds(most)}`,
        ]),
        ratio.toFixed(2),
        prefixed(macs),
        ...[difference, error, peerError].map((value) => value.toExponential(1)),
        name,
        `[${shapes[0]}]`,
      ]),
    ]),
    `\ngeometric mean of the ratios: ${geometricMean.toFixed(2)}\n`,
  ].join('')
}
