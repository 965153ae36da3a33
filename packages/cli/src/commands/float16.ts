import { basename, dirname, extname, join } from 'node:path'
import type { Command } from 'commander'
import { measureRanges, openOnnx } from '@lowbit/backend-ort'
import type { BatchSource, Comparison } from '@lowbit/core'
import { DATA_OPTIONS, syntheticBatches } from '@lowbit/formats/data'
import { lockOutput } from '@lowbit/formats/node'
import { float16Model, type Float16Model } from '@lowbit/onnx'
import { formatBytes, formatDecibels, formatPercent, shorten } from '@lowbit/report'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import { dataFlags, dataJson, type DataValues } from '../flags/data-flags.js'
import { CLOBBER_FLAG, QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { compareFiles } from '../output/compare-files.js'
import { checkNotThere, checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal } from '../output/terminal.js'

interface Float16Values extends DataValues, Omit<OutputValues, 'report'> {
  readonly output?: string
  readonly calibration?: string
  readonly io?: 'float32' | 'float16'
  readonly keep?: readonly string[]
  readonly all?: boolean
}

const FLAGS: FlagsOf<Float16Values> = {
  output: { flags: '-o, --output <file>', option: { type: 'text', about: 'file to write', otherwise: 'model.fp16.onnx beside the model' } },
  calibration: { flags: '-c, --calibration <path>', option: { ...DATA_OPTIONS.path, required: false, otherwise: 'what squares, exponentials and sums may make is kept in float32' } },
  ...dataFlags('calibration'),
  io: { flags: '--io <type>', option: { type: 'choice', values: ['float32', 'float16'], default: 'float32', about: 'what callers of the model give and get' } },
  keep: { flags: '-k, --keep <operator>', repeat: true, option: { type: 'text', about: 'keep operators of this type or name in float32' } },
  all: { flags: '--all', option: { type: 'boolean', about: 'list every operator that stays in float32' } },
  ...CLOBBER_FLAG,
  ...QUIET_FLAGS,
}

/** `lowbit float16` */
export function float16Command(program: Command): void {
  const command = program.command('float16').description('store and compute a model in float16, and in float32 what that cannot hold').argument('<model>', 'a float32 .onnx file')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nThe new model is loaded and compared with the old one before it is there.\n\nExamples:\n  $ lowbit float16 model.onnx\n  $ lowbit float16 model.onnx -c samples.npz -o model.fp16.onnx\n      measured ranges: more operators in float16, none that overflows\n  $ lowbit float16 model.onnx --io float16 --keep Softmax')
    .action(async (model: string) => {
      const flags = readFlags<Float16Values>(command, FLAGS)
      refuseStream('--output', flags.output)
      const output = flags.output ?? join(dirname(model), `${basename(model, extname(model))}.fp16.onnx`)
      const rules = { noClobber: flags.clobber === false }
      await checkOutputs([{ what: '--output', path: output }], [{ what: 'the model', path: model }, ...(flags.calibration === undefined ? [] : [{ what: 'the calibration data', path: flags.calibration }])], rules)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const lock = await lockOutput(output)
      try {
        const data = await openBatches(model, flags)
        const ranges = flags.calibration === undefined ? undefined : await measureRanges(model, data, { signal: terminal.signal, onProgress: terminal.onProgress })
        const converted = await float16Model(model, { ...(flags.io === undefined ? {} : { io: flags.io }), ...(flags.keep === undefined ? {} : { blocked: flags.keep }), ...(ranges === undefined ? {} : { ranges }), signal: terminal.signal, onProgress: terminal.onProgress })
        try {
          await checkNotThere(output, rules)
          await converted.artifact.save(output)
        } finally {
          await converted.close()
        }
        const comparison = flags.io === 'float16' ? await loads(output) : await compareFiles(model, output, data, terminal, { saturation: false, latency: false })
        terminal.stop()
        terminal.print(flags.json === true ? JSON.stringify({ output, size: converted.size, sizeAfter: converted.artifact.size, converted: converted.converted, wide: converted.wide, clamped: converted.clamped, comparison }, null, 2) : describe(output, converted, comparison, flags))
      } finally {
        terminal.stop()
        await lock.release()
      }
    })
}

async function openBatches(model: string, flags: Float16Values): Promise<BatchSource> {
  const host = await openOnnx(model)
  try {
    return flags.calibration === undefined ? syntheticBatches(host.inputs(), 4) : await openData(dataSpec(dataJson(flags.calibration, flags), process.cwd()), host.inputs())
  } finally {
    await host.dispose()
  }
}

/** With other inputs there is nothing to compare with; that the runtime loads it shows when it is opened. */
async function loads(output: string): Promise<undefined> {
  const host = await openOnnx(output)
  try {
    await host.run(syntheticBatches(host.inputs(), 1)[0] ?? {})
  } finally {
    await host.dispose()
  }
}

function describe(output: string, { size, artifact, converted, wide, clamped }: Float16Model, comparison: Comparison | undefined, flags: Float16Values): string {
  const lines = [`${output}: ${formatBytes(size)} → ${formatBytes(artifact.size)} (${formatPercent(artifact.size / size, 1)}), ${converted} operators in float16, ${wide.length} in float32`]
  for (const o of comparison?.outputs ?? []) lines.push(`  ${shorten(o.name, 48)}: ${formatDecibels(o.sqnr)} dB${flags.calibration === undefined ? ' on random numbers' : ''}`)
  if (comparison === undefined) lines.push('  loaded and run once; not compared, since its inputs are others')
  if (clamped.length > 0) lines.push(`  masks brought into float16's range: ${clamped.join(', ')}`)
  if (wide.length > 0) {
    const shown = flags.all === true ? wide : wide.slice(0, 8)
    lines.push('', 'In float32:', ...shown.map((w) => `  ${w.op} ${shorten(w.node, 40)}: ${w.reason}`), ...(shown.length < wide.length ? [`  … ${wide.length - shown.length} more (--all)`] : []))
    if (flags.calibration === undefined) lines.push('', 'With --calibration ranges are measured, and fewer operators stay in float32.')
  }
  return lines.join('\n')
}
