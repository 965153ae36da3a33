import { codeRange, elementCount, paramShape, type HostTensor, type QTensor, type Scheme } from '@lowbit/core'

/** Numbers from a seed (mulberry32), in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export function randomFloats(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const next = random(seed)
  return Float32Array.from({ length: count }, () => (next() + next() + next() - 1.5) * scale)
}

export function randomTensor(shape: readonly number[], seed: number, scale = 1): HostTensor<'float32'> {
  return { dtype: 'float32', shape, data: randomFloats(elementCount(shape), seed, scale) }
}

/** Codes over the whole range, scales of different sizes, zero points anywhere: harder than what rounding makes. */
export function randomCodes(scheme: Scheme, shape: readonly number[], seed: number): QTensor {
  const next = random(seed)
  const { min, max } = codeRange(scheme.dtype)
  const code = (): number => Math.floor(next() * (max - min + 1)) + min
  const count = elementCount(shape)
  const grid = paramShape(scheme.granularity, shape)
  const granules = elementCount(grid)
  const array = max > 255 || min < -128 ? (min < 0 ? Int16Array : Uint16Array) : min < 0 ? Int8Array : Uint8Array
  const scales = Float32Array.from({ length: granules }, () => (0.2 + next()) / (max - min))
  const zeroPoints = scheme.zeroPoint === 'float' ? Float32Array.from({ length: granules }, () => min + next() * (max - min)) : Int32Array.from({ length: granules }, code)
  return { scheme, shape, codes: new array(Array.from({ length: count }, code)), params: { scales, shape: grid, ...(scheme.symmetric ? {} : { zeroPoints }) } }
}
