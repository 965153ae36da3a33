import type { ActivationParams, Provenance } from '../contract/v2/host.js'
import { paramShape, type QTensor } from '../qtensor.js'
import { allocateCodes } from '../reference/codes.js'
import { dequantize } from '../reference/dequantize.js'
import type { ToyInsert, ToyState } from './toy-model.js'

/** The toy model as UTF-8 JSON: codes and floats in base64, so that low bits show in its size. */
export function encodeToy(state: ToyState, codes: ReadonlyMap<string, QTensor>, activations: ReadonlyMap<string, ActivationParams>, provenance: Provenance | undefined): Uint8Array<ArrayBuffer> {
  const floats = (m: ReadonlyMap<string, Float32Array>): Record<string, string> => Object.fromEntries([...m].map(([k, v]) => [k, base64(v)]))
  const weights = [...state.weights].map(([id, w]) => {
    const q = codes.get(id)
    if (q === undefined) return [id, { float32: base64(w) }]
    const { scales, zeroPoints } = q.params
    return [id, { scheme: q.scheme, shape: q.shape, codes: base64(q.codes), scales: base64(scales), ...(zeroPoints === undefined ? {} : { zeroPoints: base64(zeroPoints) }) }]
  })
  const inserts = [...state.inserts].map(([name, ops]) => [name, ops.map((op) => (op.kind === 'scale' ? { scale: base64(op.scales) } : { rotate: base64(op.signs), order: op.order }))])
  return new TextEncoder().encode(
    JSON.stringify({
      format: 'toy-json',
      centred: state.centred,
      ...(provenance === undefined ? {} : { 'lowbit.recipe': provenance.recipe }),
      weights: Object.fromEntries(weights),
      biases: floats(state.biases),
      gains: floats(state.gains),
      inserts: Object.fromEntries(inserts),
      activations: Object.fromEntries(activations),
    }),
  )
}

function base64(data: ArrayBufferView): string {
  let text = ''
  for (const byte of new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) text += String.fromCharCode(byte)
  return btoa(text)
}

/** What {@link encodeToy} wrote. */
interface ToyFile {
  readonly centred: boolean
  readonly weights: Readonly<Record<string, { readonly float32: string } | { readonly scheme: QTensor['scheme']; readonly shape: readonly number[]; readonly codes: string; readonly scales: string; readonly zeroPoints?: string }>>
  readonly biases: Readonly<Record<string, string>>
  readonly gains: Readonly<Record<string, string>>
  readonly inserts: Readonly<Record<string, readonly ({ readonly scale: string } | { readonly rotate: string; readonly order: number })[]>>
  readonly activations: Readonly<Record<string, ActivationParams>>
}

/** A toy artifact as a model again, with the owners whose weight it holds as floats. Trusts its bytes: it is for tests. */
export function decodeToy(file: Uint8Array): { readonly state: ToyState; readonly activations: ReadonlyMap<string, ActivationParams>; readonly floats: readonly string[] } {
  const { centred, weights, biases, gains, inserts, activations } = JSON.parse(new TextDecoder().decode(file)) as ToyFile
  const floats = (text: string): Float32Array<ArrayBuffer> => new Float32Array(bytes(text).buffer)
  const map = (values: Readonly<Record<string, string>>): Map<string, Float32Array> => new Map(Object.entries(values).map(([key, text]) => [key, floats(text)]))
  const weight = (w: ToyFile['weights'][string]): Float32Array => {
    if ('float32' in w) return floats(w.float32)
    const codes = allocateCodes(w.scheme.dtype, w.shape.reduce((a, b) => a * b, 1))
    new Uint8Array(codes.buffer).set(bytes(w.codes))
    const zeros = w.zeroPoints === undefined ? undefined : bytes(w.zeroPoints).buffer
    const zeroPoints = zeros === undefined ? {} : { zeroPoints: w.scheme.zeroPoint === 'float' ? new Float32Array(zeros) : new Int32Array(zeros) }
    return dequantize({ scheme: w.scheme, shape: w.shape, codes, params: { scales: floats(w.scales), shape: paramShape(w.scheme.granularity, w.shape), ...zeroPoints } }).data
  }
  const insert = (op: ToyFile['inserts'][string][number]): ToyInsert => ('scale' in op ? { kind: 'scale', scales: floats(op.scale) } : { kind: 'rotate', signs: new Int8Array(bytes(op.rotate).buffer), order: op.order })
  return {
    state: { centred, weights: new Map(Object.entries(weights).map(([id, w]) => [id, weight(w)])), biases: map(biases), gains: map(gains), inserts: new Map(Object.entries(inserts).map(([name, ops]) => [name, ops.map(insert)])) },
    activations: new Map(Object.entries(activations)),
    floats: Object.entries(weights).flatMap(([id, w]) => ('float32' in w ? [id] : [])),
  }
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
}
