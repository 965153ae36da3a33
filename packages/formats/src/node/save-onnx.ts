import { createHash } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { isExternal, MAX_PROTOBUF_BYTES, onnxChunks, planExternal, tensorsOf, type ExternalPlan, type OnnxModel } from '../onnx/index.js'
import { stageFile, type StagedFile } from './atomic-write.js'
import { fileError } from './file-error.js'
import type { OnnxFile } from './onnx-file.js'
import { announceSwitch, dataFilesOf, settle, SWITCH, type PairSwitch } from './pair-switch.js'
import { holdTemporary, temporaryName } from './temporaries.js'

export interface SaveOnnxOptions {
  /** Where external tensors of the model are read from. */
  readonly source?: Pick<OnnxFile, 'externalPieces'> & Partial<Pick<OnnxFile, 'checkUnchanged'>>
  /** `auto` (default): only if the model would not fit the 2 GiB of protobuf, or has external tensors already. */
  readonly external?: 'auto' | boolean
  readonly signal?: AbortSignal
  /** Refuse to replace a model that exists. Default false. */
  readonly noClobber?: boolean
}

/** Room for what stands around the tensors. */
const MARGIN = 1 << 24

/**
 * Writes a model, with its large weights in one external data file where asked for or needed.
 *
 * Weights stream from where they are, a few megabytes at a time. The data file carries a hash of its content in its name
 * (`model.onnx.1a2b3c4d5e6f7081.data`), so the rename of the model file switches from the old pair to the new one at once; a
 * data file that only the replaced model used is removed afterwards, if need be by the next run. Where the path is a link, both
 * stand where it leads.
 * @returns paths written, the model first, and their bytes.
 * @throws LOWBIT_FILE, also for a source that changed since it was opened; LOWBIT_LIMIT, LOWBIT_ABORTED; what stood there before
 * is then untouched.
 */
export async function saveOnnx(path: string, model: OnnxModel, options: SaveOnnxOptions = {}): Promise<{ readonly files: readonly string[]; readonly size: number }> {
  if (!wantsExternal(model, options.external ?? 'auto')) {
    const { chunks, size } = onnxChunks(model)
    const staged = await stageFile(path, chunks, options)
    await orDiscard([staged], () => options.source?.checkUnchanged?.())
    await staged.commit()
    return { files: [path], size }
  }
  const hash = createHash('sha256')
  const draft = planExternal(model, '')
  const data = await stageFile(path, dataOf(draft, options, (piece) => hash.update(piece)), options)
  const folder = dirname(data.target)
  const main = basename(data.target)
  return orDiscard([data], async () => {
    const name = `${main}.${hash.digest('hex').slice(0, 16)}.data`
    const pointing = onnxChunks(planExternal(model, name).model)
    const staged = await stageFile(path, pointing.chunks, options)
    await orDiscard([staged], async () => {
      await options.source?.checkUnchanged?.()
      const before = [...(await dataFilesOf(data.target).catch(() => []))]
      await switching({ model: main, data: [name, ...before] }, folder, async () => {
        await data.commit(join(folder, name))
        await staged.commit()
      })
    })
    return { files: [path, join(dirname(path), name)], size: pointing.size + draft.size }
  })
}

/** Whatever happens inside, of the old and the new data file the one that the model does not use goes. */
async function switching(plan: PairSwitch, folder: string, work: () => Promise<void>): Promise<void> {
  const announced = temporaryName(folder, SWITCH)
  const forget = holdTemporary(announced)
  try {
    await announceSwitch(announced, plan)
    await work()
  } catch (cause) {
    throw fileError(plan.model, cause, 'could not be written')
  } finally {
    await settle(folder, plan)
    await unlink(announced).catch(() => undefined)
    forget()
  }
}

async function orDiscard<T>(staged: readonly StagedFile[], work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    for (const file of staged) await file.discard()
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
