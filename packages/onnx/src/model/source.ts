import { type HostTensor, LowbitError } from '@lowbit/core'
import { type ExternalFiles, isExternal, type ModelProto, readOnnx, tensorsOf, tensorToHost, type TensorProto } from '@lowbit/formats'
import type { OnnxFile } from '@lowbit/formats/node'
import { normalizeModel } from '../normalize/normalize.js'
import { isNode } from './is-node.js'

/** A model as it was given: a file, or bytes. */
export interface ModelSource {
  readonly model: ModelProto
  /** Bytes of the file and of its external data. */
  readonly size: number
  /** What was done to the model when it was opened, see {@link normalizeModel}. */
  readonly notes: readonly string[]
  /** Bytes that this saved. */
  readonly saved: number
  /** The open file, if it was given by path: external data is read from it. */
  readonly file?: OnnxFile
  load(tensor: TensorProto): Promise<HostTensor>
  close(): Promise<void>
}

/**
 * Opens a model.
 * @param externalData - files beside a model given as bytes
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT
 */
export async function openSource(given: string | Uint8Array, externalData?: ExternalFiles): Promise<ModelSource> {
  const source = await openGiven(given, externalData)
  try {
    return { ...source, ...(await normalizeModel(source.model, source.load)) }
  } catch (error) {
    await source.close()
    throw error
  }
}

async function openGiven(given: string | Uint8Array, externalData?: ExternalFiles): Promise<Omit<ModelSource, 'notes' | 'saved'>> {
  if (typeof given === 'string') {
    if (!isNode()) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `model '${given}'`, found: 'a path, in a browser', expected: 'the bytes of the model', fix: 'fetch the file and pass a Uint8Array' })
    // Only Node has this module: a bundler for browsers must not follow it.
    const { openOnnxFile } = await import('@lowbit/formats/node')
    const file = await openOnnxFile(given)
    return { model: file.model, size: file.size, file, load: (t) => file.readTensor(t), close: () => file.close() }
  }
  if (!ArrayBuffer.isView(given)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'model', found: typeof given, expected: 'a path or a Uint8Array' })
  const model = readOnnx(given, externalData === undefined ? {} : { externalData })
  const missing = [...tensorsOf(model)].find(isExternal)
  if (missing !== undefined) {
    throw new LowbitError('LOWBIT_FILE', { thing: `tensor '${missing.name}'`, found: 'its data stands in another file', fix: 'open the model by path, or pass { externalData: { name: bytes } }' })
  }
  const extra = externalData === undefined ? 0 : [...(externalData instanceof Map ? externalData.values() : Object.values(externalData))].reduce((sum, b) => sum + b.length, 0)
  return { model, size: given.byteLength + extra, load: (t) => Promise.resolve(tensorToHost(t)), close: () => Promise.resolve() }
}
