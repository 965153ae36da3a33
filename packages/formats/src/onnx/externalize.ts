import { LowbitError } from '@lowbit/core'
import { withFields } from './copy.js'
import { mapInitializers } from './map-initializers.js'
import { create, DataLocation, StringStringEntryProtoSchema, type ModelProto, type TensorProto } from './proto.js'
import { isExternal, tensorBytes } from './tensor.js'
import { tensorsOf } from './walk.js'

/** Smaller tensors stay in the model: runtimes read shapes and scalars from there. As in the onnx library. */
export const EXTERNAL_MIN_BYTES = 1024

/** Tensors of 1 MiB and more start at a page, so that a runtime can map them into memory; smaller ones at 64 bytes. */
const PAGE = 4096
const LINE = 64

export interface ExternalPlan {
  /** The model whose initializers point into `location`. The original is left as it was. */
  readonly model: ModelProto
  /** The tensors of the data file, in order; between them lie zeros. */
  readonly parts: readonly { readonly tensor: TensorProto; readonly offset: number; readonly length: number }[]
  /** Bytes of the data file. */
  readonly size: number
}

/**
 * Plans the move of large initializers into one external data file. Nothing is copied.
 * Tensors that are external already are moved too: whoever writes the file reads them from where they stand.
 * @throws LOWBIT_UNSUPPORTED for external data of node attributes, which no runtime reads.
 */
export function planExternal(model: ModelProto, location: string, minBytes = EXTERNAL_MIN_BYTES): ExternalPlan {
  const parts: { tensor: TensorProto; offset: number; length: number }[] = []
  const pointers = new Set<TensorProto>()
  let end = 0
  const moved = mapInitializers(model, (t) => {
    const length = isExternal(t) ? tensorBytes(t) : t.rawData.length
    if (length < minBytes && !isExternal(t)) return t
    const align = length >= 1 << 20 ? PAGE : LINE
    const offset = Math.ceil(end / align) * align
    end = offset + length
    parts.push({ tensor: t, offset, length })
    const externalData = Object.entries({ location, offset: String(offset), length: String(length) }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }))
    const pointer = withFields(t, { externalData, dataLocation: DataLocation.EXTERNAL })
    Reflect.deleteProperty(pointer, 'rawData')
    pointers.add(pointer)
    return pointer
  })
  for (const t of tensorsOf(moved)) {
    if (!isExternal(t) || pointers.has(t)) continue
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `tensor '${t.name}'`, found: 'external data outside of the initializers', expected: 'external data in initializers, as runtimes read it' })
  }
  return { model: moved, parts, size: end }
}
