import type { ProgramBindings, SyncCompiledProgram, SyncKernelProvider } from '@lowbit/core'
import { toyDecoder, toyGrouped, toyWeights, type ToyDecoder, type ToyDecoderOptions } from '@lowbit/core/testkit'

type Make = NonNullable<ToyDecoderOptions['weights']>

/** Every kind of weights, cache, activation and step, in decoders whose sizes fill no vector. */
const MAKERS: readonly Make[] = [
  (_, n, k, seed) => toyGrouped(n, k, seed, { minima: true }),
  (_, n, k, seed) => toyGrouped(n, k, seed, { group: 16, range: [-32, 31] }),
  (_, n, k, seed) => toyGrouped(n, k, seed, { group: 64, range: [0, 3], minima: true }),
  (_, n, k, seed) => toyGrouped(n, k, seed, { range: [-128, 127] }),
  (_, n, k, seed) => toyWeights({ name: '', dtype: 'uint4', group: 32, asymmetric: true, floatZero: true }, n, k, seed, 0.02),
  (_, n, k, seed) => toyWeights({ name: '', dtype: 'ternary' }, n, k, seed, 0.1),
  (_, n, k, seed) => toyGrouped(n, k, seed, { group: 256, range: [-1, 1] }),
  (name, n, k, seed) => ({ dtype: name.length % 2 === 0 ? 'float16' : 'bfloat16', shape: [n, k], data: Uint16Array.from(toyGrouped(n, k, seed, { range: [0, 255] }).codes, (code, i) => (name.length % 2 === 0 ? 0x2800 : 0x3d00) + code + 0x8000 * (i % 2)) }),
]

const DECODERS: readonly ToyDecoderOptions[] = [
  { cache: 'int8', extras: true, activation: 'gelu' },
  { cache: 'float16', window: 5, width: 72, heads: 6, cacheHeads: 3, hidden: 100 },
  { cache: 'float32', width: 80, heads: 8, cacheHeads: 2, extras: true, activation: 'relu2' },
  { cache: 'int8', width: 60, heads: 3, cacheHeads: 1, activations: 'float32' },
  { cache: 'float16', width: 120, heads: 6, cacheHeads: 1, vocabulary: 83 },
]

export function compileDecoder(kernels: SyncKernelProvider, decoder: ToyDecoder): SyncCompiledProgram {
  if (kernels.programs === undefined) throw new Error('no programs')
  const matrices: ProgramBindings['matrices'] = Object.fromEntries(Object.entries(decoder.matrices).map(([name, weights]) => [name, kernels.prepack(weights)]))
  return kernels.programs.compile(decoder.program, { matrices, vectors: decoder.vectors })
}

/** The maker of weights that fill whole bytes: exact only by the four-way dot product that an engine has. */
const WHOLE_BYTES = 3

/** A number of the bits of decoders' logits: the same on every tier, engine and number of threads. */
export function programDigest(kernels: SyncKernelProvider, { wholeBytes = true } = {}): string {
  let hash = 0x811c9dc5
  const add = (values: Float32Array): void => {
    for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  }
  MAKERS.forEach((weights, maker) => {
    if (maker === WHOLE_BYTES && !wholeBytes) return
    const options = DECODERS[maker % DECODERS.length] ?? {}
    for (const more of [{}, { activations: 'int8-group' as const }]) {
      const program = compileDecoder(kernels, toyDecoder({ ...options, ...more, weights, seed: maker }))
      add(program.run({ tokens: [3, 1, 4, 1, 5, 9, 2, 6, 5, 3], start: 0, wanted: 10 }).data)
      for (const [i, token] of [2, 7, 1].entries()) add(program.run({ tokens: [token], start: 10 + i }).data)
      add(program.run({ tokens: [8, 2, 8], start: 13, wanted: 2 }).data)
    }
  })
  return hash.toString(16)
}
