import { dequantize, LowbitError, mergeAdapter, type HostTensor, type QTensor } from '@lowbit/core'
import { frozenBase } from '../../adapter/frozen-base.js'
import type { LoraAdapter } from '../../adapter/lora-adapter.js'
import { partsOf } from '../../forward/parts.js'
import { isQuantized, matrixFloats } from '../../weights/matrix.js'
import type { TrainableLm } from '../model/trainable-lm.js'
import type { TrainedModel } from './convert.js'

/** The adapter that was trained. @throws LOWBIT_ARGUMENT for a model without one. */
export function trainedAdapter<T>(model: TrainableLm<T>, layers?: number): LoraAdapter {
  const { adapter, parameters, name } = model.parts
  if (adapter === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: 'no adapter', expected: 'a model that was opened with one' })
  const { algorithm, sites, bases, scheme, doubleQuantized } = adapter
  return {
    rank: algorithm.rank, alpha: algorithm.scale * algorithm.rank,
    sites: new Map([...sites].map((site) => [site, { down: parameters.get(`${site}/down`).values.slice(), up: parameters.get(`${site}/up`).values.slice() }])),
    ...(layers === undefined ? {} : { layers }),
    ...(scheme === undefined ? {} : { base: { scheme, doubleQuantized, from: bases } }),
  }
}

export interface MergedAdapter {
  readonly model: TrainedModel
  /** `Σ(w − ŵ)² / Σw²` of each matrix that was rounded again. */
  readonly errors: ReadonlyMap<string, number>
  /** The same against what the adapter changed: at 1 rounding took away as much as was learned. */
  readonly lost: ReadonlyMap<string, number>
}

/**
 * Base and adapter as one: `W + scale · up·down`, in float exactly, or rounded to the base's codes again. Most of a small adapter is
 * smaller than a step of these, so keep it beside the base unless the errors say otherwise.
 * @throws LOWBIT_ARGUMENT for codes where the base has no scheme
 */
export function mergeTrained<T>(model: TrainableLm<T>, into: 'float' | 'codes'): MergedAdapter {
  const { name, config, parameters, frozen, adapter, recipe } = model.parts
  if (adapter === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: 'no adapter', expected: 'a model that was opened with one' })
  const { scheme, doubleQuantized, algorithm } = adapter
  if (into === 'codes' && scheme === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: 'a base that keeps the codes of its file', expected: 'a base with a scheme', fix: 'merge in float, and quantize that' })
  const [codes, floats, vectors] = [new Map<string, QTensor>(), new Map<string, Float32Array>(), new Map<string, Float32Array>()]
  const [errors, lost] = [new Map<string, number>(), new Map<string, number>()]
  for (const part of partsOf(config)) {
    if (part.kind === 'vector') {
      vectors.set(part.name, parameters.get(part.name).values.slice())
      continue
    }
    const base = frozen.get(part.name)
    if (base === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: part.name, found: 'no base' })
    const values = matrixFloats(base)
    const has = adapter.sites.has(part.name)
    const merged: HostTensor<'float32'> = has ? mergeAdapter(values, parameters.get(`${part.name}/down`).values, parameters.get(`${part.name}/up`).values, algorithm.scale) : values
    if (into === 'float' || scheme === undefined || !isQuantized(base) || part.layer === undefined) floats.set(part.name, merged.data)
    else if (!has && 'scheme' in base) codes.set(part.name, base)
    else {
      const q = frozenBase(merged, scheme, doubleQuantized)
      const again = dequantize(q).data
      const sum = (f: (i: number) => number): number => again.reduce((total, _, i) => total + f(i) ** 2, 0)
      const error = sum((i) => merged.data[i] - again[i])
      errors.set(part.name, error / Math.max(1e-30, sum((i) => merged.data[i])))
      lost.set(part.name, error / Math.max(1e-30, sum((i) => merged.data[i] - values.data[i])))
      codes.set(part.name, q)
    }
  }
  return { model: { name, config, codes, floats, vectors, activations: 'float32', float: [], recipe }, errors, lost }
}
