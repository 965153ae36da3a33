import type { Command } from 'commander'
import { compareModels, openOnnx } from '@lowbit/backend-ort'
import type { BatchSource, Comparison } from '@lowbit/core'
import { DATA_OPTIONS, syntheticBatches } from '@lowbit/formats/data'
import { atomicWriteText } from '@lowbit/formats/node'
import { formatBytes, formatDecibels, formatPercent, saturationLines, shorten, textTable } from '@lowbit/report'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import { dataFlags, dataJson, type DataValues } from '../flags/data-flags.js'
import { CLOBBER_FLAG, QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal } from '../output/terminal.js'

interface CompareValues extends DataValues, OutputValues {
  readonly data?: string
  readonly layers?: boolean
}

const FLAGS: FlagsOf<CompareValues> = {
  data: { flags: '-d, --data <path>', option: { ...DATA_OPTIONS.path, required: false, otherwise: '4 batches of random numbers, which only show that both run' } },
  ...dataFlags('data'),
  layers: { flags: '--layers', option: { type: 'boolean', about: 'rank the sites by the damage that each does alone (slower)' } },
  ...CLOBBER_FLAG,
  report: { flags: '--report <file>', option: { type: 'text', about: 'write the figures as JSON' } },
  ...QUIET_FLAGS,
}

/** `lowbit compare` */
export function compareCommand(program: Command): void {
  const command = program.command('compare').description('run two models on the same data: accuracy, size, speed').argument('<reference>', 'the float model').argument('<candidate>', 'the quantized model')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nExamples:\n  $ lowbit compare model.onnx model.int8.onnx --data samples.npz\n  $ lowbit compare model.onnx model.int4.onnx --data photos/ --limit 50 --layers')
    .action(async (reference: string, candidate: string) => {
      const flags = readFlags<CompareValues>(command, FLAGS)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const rules = { noClobber: flags.clobber === false }
      refuseStream('--report', flags.report)
      if (flags.report !== undefined) {
        const sources = [{ what: 'the reference', path: reference }, { what: 'the candidate', path: candidate }, ...(flags.data === undefined ? [] : [{ what: 'the data', path: flags.data }])]
        await checkOutputs([{ what: '--report', path: flags.report }], sources, rules)
      }
      const a = await openOnnx(reference)
      const b = await openOnnx(candidate)
      try {
        const data: BatchSource = flags.data === undefined ? syntheticBatches(a.inputs(), 4) : await openData(dataSpec(dataJson(flags.data, flags), process.cwd()), a.inputs())
        if (flags.data === undefined) terminal.note('No --data: random numbers show that both models run, not how well.')
        const comparison = await compareModels(a, b, data, { layers: flags.layers === true, signal: terminal.signal, onProgress: terminal.onProgress })
        terminal.stop()
        const json = JSON.stringify(comparison, null, 2)
        if (flags.report !== undefined) await atomicWriteText(flags.report, `${json}\n`, rules)
        terminal.print(flags.json === true ? json : describe(comparison))
      } finally {
        terminal.stop()
        await a.dispose()
        await b.dispose()
      }
    })
}

function describe(c: Comparison): string {
  const lines = [
    textTable(
      [{ heading: 'output' }, { heading: 'SQNR dB', right: true }, { heading: 'cosine', right: true }, { heading: 'max error', right: true }, { heading: 'top-1 equal', right: true }],
      c.outputs.map((o) => [shorten(o.name, 40), formatDecibels(o.sqnr), o.cosine.toFixed(6), o.maxError.toPrecision(3), o.top1 === undefined ? '' : formatPercent(o.top1)]),
    ),
    '',
    `size     ${formatBytes(c.sizeBefore)} → ${formatBytes(c.sizeAfter)} (${formatPercent(c.sizeAfter / c.sizeBefore, 1)})`,
  ]
  if (c.latencyBefore !== undefined && c.latencyAfter !== undefined) {
    lines.push(`latency  ${c.latencyBefore.toFixed(2)} ms → ${c.latencyAfter.toFixed(2)} ms (${(c.latencyBefore / c.latencyAfter).toFixed(2)}× as fast), median over ${c.batches} batches, interleaved`)
  }
  lines.push(...saturationLines(c))
  if (c.layers !== undefined) {
    lines.push('', 'Damage of each site alone, worst first:', textTable([{ heading: 'site' }, { heading: 'SQNR dB', right: true }], c.layers.slice(0, 25).map((l) => [shorten(l.id, 60), formatDecibels(l.sqnr)])))
  }
  return lines.join('\n')
}
