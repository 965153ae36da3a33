import type { Command } from 'commander'
import { compareModels, openOnnx } from '@lowbit/backend-ort'
import type { BatchSource, Comparison } from '@lowbit/core'
import { atomicWriteText } from '@lowbit/formats/node'
import { formatBytes, formatDecibels, formatPercent, saturationLines, shorten, textTable } from '@lowbit/report'
import { openData } from '../data/source.js'
import { addDataFlags, dataJson, dataSpec, type DataFlags } from '../data/spec.js'
import { syntheticBatches } from '../data/synthetic.js'
import { checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal } from '../output/terminal.js'

interface CompareFlags extends DataFlags {
  readonly data?: string
  readonly layers?: boolean
  readonly report?: string
  readonly clobber?: boolean
  readonly json?: boolean
  readonly quiet?: boolean
}

/** `lowbit compare` */
export function compareCommand(program: Command): void {
  const command = program
    .command('compare')
    .description('run two models on the same data: accuracy, size, speed')
    .argument('<reference>', 'the float model')
    .argument('<candidate>', 'the quantized model')
    .option('-d, --data <path>', '.npz, .npy, .safetensors, or a folder of those or of images (default: 4 batches of random numbers, which only show that both run)')
  addDataFlags(command)
    .option('--layers', 'rank the sites by the damage that each does alone (slower)')
    .option('--no-clobber', 'refuse to replace files that are already there')
    .option('--report <file>', 'write the figures as JSON')
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'no progress bar and no notes')
    .addHelpText('after', '\nExamples:\n  $ lowbit compare model.onnx model.int8.onnx --data samples.npz\n  $ lowbit compare model.onnx model.int4.onnx --data photos/ --limit 50 --layers')
    .action(async (reference: string, candidate: string, flags: CompareFlags) => {
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
