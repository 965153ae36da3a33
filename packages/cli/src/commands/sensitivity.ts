import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { decibels, describeScheme, isCodeType, LowbitError, sensitivity, SENSITIVITY_MEASURES, weightScheme, type Scheme, type SensitivityMeasure, type SensitivityRow } from '@lowbit/core'
import { formatBytes, formatDecibels, formatPercent, shorten, textTable } from '@lowbit/report'
import { openData } from '../data/source.js'
import { addDataFlags, dataJson, dataSpec, oneOf, wholeNumber, type DataFlags } from '../data/spec.js'
import { processTerminal } from '../output/terminal.js'

interface SensitivityFlags extends DataFlags {
  readonly calibration?: string
  readonly weights?: string
  readonly group?: string
  readonly measure?: string
  readonly probes?: string
  readonly json?: boolean
}

/** `lowbit sensitivity` */
export function sensitivityCommand(program: Command): void {
  const command = program
    .command('sensitivity')
    .description('rank the sites of a model by what quantizing each alone would cost')
    .argument('<model>', 'an .onnx file')
    .option('-c, --calibration <path>', '.npz, .npy, .safetensors, or a folder of those or of images')
    .option('-w, --weights <types>', 'schemes to try, with commas (default int4,int8)')
    .option('-g, --group <size>', 'weights along K that share a scale (default: one scale a channel)')
    .option('-m, --measure <name>', 'model (error of the model’s outputs, the default), hessian (HAWQ-V2: its trace by Hutchinson, quicker with many types), output (error of the site’s own output: quickest with data), weight (needs no data)')
    .option('--probes <n>', 'hessian: random directions a site (default 4)')
  addDataFlags(command)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ lowbit sensitivity model.onnx -c samples.npz -w int4 -g 32\n  $ lowbit sensitivity model.onnx -c samples.npz -w int2,int3,int4,int8 --measure hessian')
    .action(async (model: string, flags: SensitivityFlags) => {
      const terminal = processTerminal({ quiet: flags.json === true })
      const schemes = parseSchemes(flags.weights ?? 'int4,int8', flags.group)
      const measure = oneOf('--measure', flags.measure ?? (flags.calibration === undefined ? 'weight' : 'model'), SENSITIVITY_MEASURES)
      const host = await openOnnx(model)
      try {
        const calibration = flags.calibration === undefined ? undefined : await openData(dataSpec(dataJson(flags.calibration, flags), process.cwd()), host.inputs())
        const rows = await sensitivity(host, {
          schemes,
          measure,
          ...(calibration === undefined ? {} : { calibration }),
          ...(flags.probes === undefined ? {} : { probes: wholeNumber('--probes', flags.probes) }),
          signal: terminal.signal,
          onProgress: terminal.onProgress,
        })
        terminal.stop()
        terminal.print(flags.json === true ? JSON.stringify(rows, null, 2) : sensitivityTable(rows, measure))
      } finally {
        terminal.stop()
        await host.dispose()
      }
    })
}

const HEADINGS: Readonly<Record<SensitivityMeasure, string>> = { model: 'model SQNR dB', hessian: 'model SQNR dB (predicted)', output: 'output SQNR dB', weight: 'weight SQNR dB' }

function sensitivityTable(rows: readonly SensitivityRow[], measure: SensitivityMeasure): string {
  const traced = measure === 'hessian'
  return textTable(
    [{ heading: '', right: true }, { heading: 'site' }, { heading: 'scheme' }, { heading: HEADINGS[measure], right: true }, ...(traced ? [{ heading: 'trace', right: true }] : []), { heading: 'size', right: true }, { heading: 'of float', right: true }],
    rows.map((r, i) => [
      String(i + 1),
      shorten(r.site, 52),
      describeScheme(r.scheme),
      formatDecibels(decibels(1, r.damage)),
      ...(traced ? [`${(r.trace ?? 0).toPrecision(3)} ± ${(r.standardError ?? 0).toPrecision(2)}`] : []),
      formatBytes(r.bytes),
      formatPercent(r.bytes / r.floatBytes, 0),
    ]),
  )
}

/** `int4,int8` with one group size for all. @throws LOWBIT_ARGUMENT for a type that is none. */
export function parseSchemes(types: string, group: string | undefined): readonly Scheme[] {
  return types.split(',').map((dtype) => {
    if (!isCodeType(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(dtype), expected: 'types such as int4,int8' })
    return weightScheme(dtype, { symmetric: !dtype.startsWith('uint'), ...(group === undefined ? {} : { group: wholeNumber('--group', group) }) })
  })
}
