import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { decibels, describeScheme, LowbitError, sensitivity, weightScheme, isCodeType, type Scheme } from '@lowbit/core'
import { openData } from '../data/source.js'
import { addDataFlags, dataJson, dataSpec, wholeNumber, type DataFlags } from '../data/spec.js'
import { formatBytes, formatDecibels, shorten, textTable } from '../output/table.js'
import { processTerminal } from '../output/terminal.js'

interface SensitivityFlags extends DataFlags {
  readonly calibration: string
  readonly weights?: string
  readonly group?: string
  readonly model?: boolean
  readonly json?: boolean
}

/** `lowbit sensitivity` */
export function sensitivityCommand(program: Command): void {
  const command = program
    .command('sensitivity')
    .description('rank the sites of a model by what quantizing each alone would cost')
    .argument('<model>', 'an .onnx file')
    .requiredOption('-c, --calibration <path>', '.npz, .npy, .safetensors, or a folder of those or of images')
    .option('-w, --weights <types>', 'schemes to try, with commas (default int4,int8)')
    .option('-g, --group <size>', 'weights along K that share a scale (default: one scale a channel)')
    .option('--model', 'measure at the model’s outputs instead of each site’s own (slower)')
  addDataFlags(command)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ lowbit sensitivity model.onnx -c samples.npz -w int4 -g 32')
    .action(async (model: string, flags: SensitivityFlags) => {
      const terminal = processTerminal({ quiet: flags.json === true })
      const schemes = parseSchemes(flags.weights ?? 'int4,int8', flags.group)
      const host = await openOnnx(model)
      try {
        const calibration = await openData(dataSpec(dataJson(flags.calibration, flags), process.cwd()), host.inputs())
        const rows = await sensitivity(host, { schemes, calibration, measure: flags.model === true ? 'model' : 'output', signal: terminal.signal, onProgress: terminal.onProgress })
        terminal.stop()
        terminal.print(
          flags.json === true
            ? JSON.stringify(rows, null, 2)
            : textTable(
                [{ heading: 'site' }, { heading: 'scheme' }, { heading: flags.model === true ? 'model SQNR dB' : 'output SQNR dB', right: true }, { heading: 'size', right: true }],
                rows.map((r) => [shorten(r.site, 52), describeScheme(r.scheme), formatDecibels(decibels(1, r.damage)), formatBytes(r.bytes)]),
              ),
        )
      } finally {
        terminal.stop()
        await host.dispose()
      }
    })
}

/** `int4,int8` with one group size for all. @throws LOWBIT_ARGUMENT for a type that is none. */
export function parseSchemes(types: string, group: string | undefined): readonly Scheme[] {
  return types.split(',').map((dtype) => {
    if (!isCodeType(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(dtype), expected: 'types such as int4,int8' })
    return weightScheme(dtype, { symmetric: !dtype.startsWith('uint'), ...(group === undefined ? {} : { group: wholeNumber('--group', group) }) })
  })
}
