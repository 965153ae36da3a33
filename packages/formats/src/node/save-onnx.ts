import { createHash } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { externalRange, isExternal, MAX_PROTOBUF_BYTES, onnxChunks, planExternal, readOnnx, tensorsOf, type ExternalPlan, type OnnxModel } from '../onnx/index.js'
import { atomicWrite, stageFile } from './atomic-write.js'
import type { OnnxFile } from './onnx-file.js'
import { readWholeFile } from './read-range.js'

export interface SaveOnnxOptions {
  /** Where external tensors of the model are read from. */
  readonly source?: Pick<OnnxFile, 'externalPieces'>
  /** `auto` (default): only if the model would not fit the 2 GiB of protobuf, or has external tensors already. */
  readonly external?: 'auto' | boolean
  readonly signal?: AbortSignal
}

/** Room for what stands around the tensors. */
const MARGIN = 1 << 24

/**
 * Writes a model, with its large weights in one external data file where asked for or needed.
 *
 * Weights stream from where they are, a few megabytes at a time. The data file carries a hash of its content in its name
 * (`model.onnx.1a2b3c4d5e6f7081.data`), so the rename of the model file switches from the old pair to the new one at once; a
 * data file that only the replaced model used is removed afterwards.
 * @returns paths written, the model first, and their bytes.
 * @throws LOWBIT_FILE, LOWBIT_LIMIT, LOWBIT_ABORTED; what stood there before is then untouched.
 */
export async function saveOnnx(path: string, model: OnnxModel, options: SaveOnnxOptions = {}): Promise<{ readonly files: readonly string[]; readonly size: number }> {
  if (!wantsExternal(model, options.external ?? 'auto')) {
    const { chunks, size } = onnxChunks(model)
    await atomicWrite(path, chunks, options)
    return { files: [path], size }
  }
  const replaced = await ownDataFile(path)
  const hash = createHash('sha256')
  const draft = planExternal(model, '')
  const staged = await stageFile(join(dirname(path), `${basename(path)}.data`), dataOf(draft, options, (piece) => hash.update(piece)), options)
  try {
    const name = `${basename(path)}.${hash.digest('hex').slice(0, 16)}.data`
    const pointing = onnxChunks(planExternal(model, name).model)
    const main = await stageFile(path, pointing.chunks, options)
    const data = join(dirname(path), name)
    try {
      await staged.commit(data)
    } catch (error) {
      await main.discard()
      throw error
    }
    await main.commit()
    if (replaced !== undefined && replaced !== data) await unlink(replaced).catch(() => undefined)
    return { files: [path, data], size: pointing.size + draft.size }
  } catch (error) {
    await staged.discard()
    throw error
  }
}

function wantsExternal(model: OnnxModel, external: 'auto' | boolean): boolean {
  if (external !== 'auto') return external
  let inline = 0
  for (const t of tensorsOf(model)) {
    if (isExternal(t)) return true
    inline += t.rawData.length
  }
  return inline > MAX_PROTOBUF_BYTES - MARGIN
}

async function* dataOf(plan: ExternalPlan, options: SaveOnnxOptions, seen: (piece: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  let end = 0
  for (const { tensor, offset, length } of plan.parts) {
    const padding = new Uint8Array(offset - end)
    seen(padding)
    yield padding
    let written = 0
    for await (const piece of piecesOf(tensor, options)) {
      seen(piece)
      yield piece
      written += piece.length
    }
    if (written !== length) throw new LowbitError('LOWBIT_INTERNAL', { thing: `tensor '${tensor.name}'`, found: `${written} bytes`, expected: `${length}` })
    end = offset + length
  }
}

async function* piecesOf(tensor: ExternalPlan['parts'][number]['tensor'], options: SaveOnnxOptions): AsyncGenerator<Uint8Array> {
  if (!isExternal(tensor)) yield tensor.rawData
  else if (options.source !== undefined) yield* options.source.externalPieces(tensor)
  else throw new LowbitError('LOWBIT_ARGUMENT', { thing: `tensor '${tensor.name}'`, found: 'external data and no source to read it from', fix: 'pass the OnnxFile that the model came from as source' })
}

/** The data file of the model that stands at a path now, if it is one that this module made. */
async function ownDataFile(path: string): Promise<string | undefined> {
  try {
    const model = readOnnx(await readWholeFile(path, MAX_PROTOBUF_BYTES))
    const locations = new Set([...tensorsOf(model)].filter(isExternal).map((t) => externalRange(t).location))
    const [location] = locations
    const own = location !== undefined && location.startsWith(`${basename(path)}.`) && /^\.[0-9a-f]{16}\.data$/.test(location.slice(basename(path).length))
    return locations.size === 1 && own ? join(dirname(path), location) : undefined
  } catch {
    return undefined
  }
}
