import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Batch } from '@lowbit/core'
import { type BenchModel, compareClassifiers } from './bench-model.ts'
import { needSharedData } from './shared.ts'

/** Bytes taken from the start and from the end of a file, and what fills up short ones. */
const HALF = 1024
const PADDING = 256
/** No kind of file may outweigh the others. */
const PER_KIND = 40
const MAX_FILE = 4_000_000
const FOLDERS = 400

/** Magika v3.3, which tells what a file is from its bytes, on the files of the installed packages: every second one calibrates. */
export function magika(): BenchModel {
  return {
    name: 'magika-v3.3',
    path: needSharedData('magika-v3.3.onnx'),
    calibration: async () => (await fileBatches()).filter((_, i) => i % 2 === 0).slice(0, 100),
    evaluate: async (float, quantized) => compareClassifiers((await fileBatches()).filter((_, i) => i % 2 === 1), float, quantized),
  }
}

async function fileBatches(): Promise<Batch[]> {
  const kinds = new Map<string, number>()
  const batches: Batch[] = []
  const root = fileURLToPath(new URL('../../node_modules/', import.meta.url))
  for (const folder of (await readdir(root)).sort().filter((f) => !f.startsWith('.')).slice(0, FOLDERS)) {
    for await (const path of filesIn(join(root, folder), 3)) {
      const kind = extname(path) || 'none'
      const seen = kinds.get(kind) ?? 0
      if (seen >= PER_KIND || (await stat(path)).size > MAX_FILE) continue
      kinds.set(kind, seen + 1)
      batches.push(fileBatch(await readFile(path)))
    }
  }
  return batches
}

async function* filesIn(folder: string, depth: number): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && depth > 0) yield* filesIn(path, depth - 1)
    else if (entry.isFile()) yield path
  }
}

/** The first and last 1024 bytes without surrounding blanks, as int32, short ones filled up towards the middle. */
function fileBatch(bytes: Uint8Array): Batch {
  const blank = (b: number | undefined): boolean => b !== undefined && (b === 32 || (b >= 9 && b <= 13))
  let start = 0
  while (start < bytes.length && blank(bytes[start])) start++
  let end = bytes.length
  while (end > start && blank(bytes[end - 1])) end--
  const head = bytes.subarray(start, Math.min(bytes.length, start + HALF))
  const tail = bytes.subarray(Math.max(0, end - HALF), end)
  const data = new Int32Array(2 * HALF).fill(PADDING)
  data.set(head)
  data.set(tail, 2 * HALF - tail.length)
  return { bytes: { dtype: 'int32', shape: [1, 2 * HALF], data } }
}
