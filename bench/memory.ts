import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeNpz } from '@lowbit/formats'
import { needSharedData, ocr } from './models/index.ts'

const BIN = fileURLToPath(new URL('../packages/cli/dist/bin.js', import.meta.url))
const RESULTS = new URL('./results/', import.meta.url)
const METHODS = ['minmax', 'percentile', 'entropy', 'mse']
const SAMPLES = [50, 100, 200]
const RUNS = Number(process.env.RUNS ?? 3)

/** Peak memory of calibrating with more and more samples, whole process: `npm run bench -- memory`, after a build. */
export async function benchMemory(): Promise<void> {
  if (!existsSync('/usr/bin/time')) throw new Error('GNU time is not at /usr/bin/time: install the package `time`')
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-memory-'))
  try {
    const images = needSharedData('imagenet-sample/test')
    const model = needSharedData('squeezenet1.1.onnx')
    const rows = METHODS.map((method) => {
      const cells = SAMPLES.map((n) => peak(['quantize', model, '-c', images, '--limit', String(n), '--method', method, '--no-rescue', '-o', join(folder, 'a.onnx'), '-q'], folder))
      const spread = Math.max(...cells) / Math.min(...cells) - 1
      const line = `| squeezenet, ${method} | ${cells.map((c) => `${c.toFixed(0)} MB`).join(' | ')} | ${(100 * spread).toFixed(0)} % |`
      console.log(line)
      return line
    })
    const lines = join(folder, 'lines')
    mkdirSync(lines)
    const text = await ocr()
    for (const [i, batch] of (await text.calibration()).entries()) writeFileSync(join(lines, `${String(i).padStart(3, '0')}.npz`), writeNpz(batch))
    const recognition = peak(['quantize', text.path, '-c', lines, '-o', join(folder, 'b.onnx'), '-q'], folder)
    const table = `| model, calibrator | ${SAMPLES.map((n) => `${n} samples`).join(' | ')} | spread |\n| --- | ---: | ---: | ---: | ---: |\n${rows.join('\n')}`
    const page = `# Peak memory of static int8\n\nWhole process, medians of ${RUNS} runs, \`npm run bench -- memory\`, Node ${process.versions.node}.\n\n${table}\n\nText recognition with default settings, lines of different widths: ${recognition.toFixed(0)} MB.\n`
    mkdirSync(RESULTS, { recursive: true })
    writeFileSync(new URL('memory.md', RESULTS), page)
    console.log(page)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Megabytes, the median of a few runs: one differs from the next by what the collector happened to leave. */
function peak(args: readonly string[], folder: string): number {
  const file = join(folder, 'time.txt')
  const runs = Array.from({ length: RUNS }, () => {
    const run = spawnSync('/usr/bin/time', ['-f', '%M', '-o', file, process.execPath, BIN, ...args], { encoding: 'utf8' })
    if (run.status !== 0) throw new Error(`lowbit ${args.join(' ')}: ${run.stderr}`)
    return (Number(readFileSync(file, 'utf8').trim().split('\n').at(-1)) * 1024) / 1e6
  })
  return runs.sort((a, b) => a - b)[RUNS >> 1]
}
