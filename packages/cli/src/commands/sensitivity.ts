import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { decibels, describeScheme, LowbitError, RECIPE_SCHEME, SCHEME_OPTIONS, sensitivity, SENSITIVITY_MEASURES, weightScheme, type CodeType, type Scheme, type SchemeOptions, type SensitivityMeasure, type SensitivityRow } from '@lowbit/core'
import { DATA_OPTIONS } from '@lowbit/formats/data'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import { dataFlags, dataJson, type DataValues } from '../flags/data-flags.js'
import { QUIET_FLAGS } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { formatBytes, formatDecibels, formatPercent, shorten, textTable } from '@lowbit/report'
import { processTerminal } from '../output/terminal.js'

interface SensitivityValues extends DataValues {
  readonly calibration?: string
  readonly weights?: readonly CodeType[]
  readonly group?: number
  readonly measure?: SensitivityMeasure
  readonly probes?: number
  readonly json?: boolean
  readonly quiet?: boolean
}

const FLAGS: FlagsOf<SensitivityValues> = {
  calibration: { flags: '-c, --calibration <path>', option: { ...DATA_OPTIONS.path, required: false } },
  weights: { flags: '-w, --weights <types>', option: { type: 'list', of: RECIPE_SCHEME.dtype, otherwise: 'int4,int8', about: 'schemes to try, with commas' } },
  group: { flags: '-g, --group <size>', option: { ...SCHEME_OPTIONS.group, otherwise: 'one scale a channel' } },
  measure: {
    flags: '-m, --measure <name>',
    option: {
      type: 'choice',
      values: SENSITIVITY_MEASURES,
      otherwise: 'model with data, else weight',
      about: 'error of the model’s outputs; of them by HAWQ-V2’s Hessian (its trace by Hutchinson, quicker with many types); of the site’s own output (quickest with data); of the weight (needs no data)',
    },
  },
  probes: { flags: '--probes <n>', option: { type: 'integer', minimum: 1, maximum: 1_000_000, default: 4, when: { measure: ['hessian'] }, about: 'hessian: random directions a site' } },
  ...dataFlags('calibration'),
  ...QUIET_FLAGS,
}

/** `lowbit sensitivity` */
export function sensitivityCommand(program: Command): void {
  const command = program.command('sensitivity').description('rank the sites of a model by what quantizing each alone would cost').argument('<model>', 'an .onnx file')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nExamples:\n  $ lowbit sensitivity model.onnx -c samples.npz -w int4 -g 32\n  $ lowbit sensitivity model.onnx -c samples.npz -w int2,int3,int4,int8 --measure hessian')
    .action(async (model: string) => {
      const flags = readFlags<SensitivityValues>(command, FLAGS)
      // Without a measure it follows from the data, and is never the one with probes.
      if (flags.probes !== undefined && flags.measure === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--probes', found: 'does nothing without --measure hessian', fix: 'leave --probes out, or give --measure hessian' })
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const schemes = schemesOf(flags.weights ?? ['int4', 'int8'], flags.group === undefined ? {} : { group: flags.group })
      const measure = flags.measure ?? (flags.calibration === undefined ? 'weight' : 'model')
      const host = await openOnnx(model)
      try {
        const calibration = flags.calibration === undefined ? undefined : await openData(dataSpec(dataJson(flags.calibration, flags), process.cwd()), host.inputs())
        const rows = await sensitivity(host, {
          schemes,
          measure,
          ...(calibration === undefined ? {} : { calibration }),
          ...(flags.probes === undefined ? {} : { probes: flags.probes }),
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

/** Schemes of several types that are alike in all else. Unsigned types have zero points unless it is said. */
export function schemesOf(types: readonly CodeType[], alike: SchemeOptions): readonly Scheme[] {
  return types.map((dtype) => weightScheme(dtype, { symmetric: !dtype.startsWith('uint'), ...alike }))
}
