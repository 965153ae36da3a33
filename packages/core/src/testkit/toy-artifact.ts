import type { ActivationParams, Provenance } from '../contract/v2/host.js'
import type { QTensor } from '../qtensor.js'
import type { ToyState } from './toy-model.js'

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
