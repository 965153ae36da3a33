import { LowbitError, mergeAdapter } from '@lowbit/core'
import { isQuantized, matrixFloats, type ModelMatrix } from '../weights/matrix.js'
import type { WeightSource } from '../weights/weight-source.js'
import type { Part } from '../forward/parts.js'
import { frozenBase } from './frozen-base.js'
import type { LoraAdapter } from './lora-adapter.js'

/** The base of an adapter as it was while the adapter was trained. The adapter itself is not in it. */
export function adaptedSource(source: WeightSource, { base, layers, rank, alpha }: LoraAdapter): WeightSource {
  const config = layers === undefined ? source.config : { ...source.config, layers, windows: source.config.windows.slice(0, layers) }
  if (layers !== undefined && (!Number.isSafeInteger(layers) || layers < 1 || layers > source.config.layers)) throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `an adapter for ${layers} layers`, expected: `1 to ${source.config.layers}` })
  const matrix = async (part: Part): Promise<ModelMatrix> => {
    const m = await source.matrix(part)
    if (base === undefined || part.layer === undefined || isQuantized(m)) return m
    const from = base.from.get(part.name)
    const weight = matrixFloats(m)
    return frozenBase(from === undefined ? weight : mergeAdapter(weight, from.down, from.up, -alpha / rank), base.scheme, base.doubleQuantized)
  }
  return {
    name: source.name, format: source.format, bytes: source.bytes, notes: source.notes, config, matrix,
    typeOf: (part) => (base !== undefined && part.layer !== undefined ? base.scheme.dtype : source.typeOf(part)),
    rows: async (part, from, count) => (base === undefined || part.layer === undefined ? source.rows(part, from, count) : matrixFloats(await matrix(part)).data.slice(from * part.shape[1], (from + count) * part.shape[1])),
    vector: (part) => source.vector(part),
    fingerprint: () => source.fingerprint(),
    close: () => source.close(),
  }
}
