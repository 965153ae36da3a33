import type { CacheType, KernelWeights } from '@lowbit/core'
import { toyDecoder, toyGrouped, type ToyDecoderOptions } from '@lowbit/core/testkit'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { onEngine } from './engine.ts'
import { machineName } from './machine.ts'

/** SmolLM2-135M. */
const SHAPE = { layers: 30, width: 576, heads: 9, cacheHeads: 3, hidden: 1536, vocabulary: 49152 } as const

type Make = NonNullable<ToyDecoderOptions['weights']>
const WEIGHTS: Readonly<Record<string, Make>> = {
  q4_1: (name, n, k, seed) => (name === 'embedding' ? toyGrouped(n, k, seed, { range: [-128, 127] }) : toyGrouped(n, k, seed, { minima: true })),
  q4_0: (name, n, k, seed) => (name === 'embedding' ? toyGrouped(n, k, seed, { range: [-128, 127] }) : toyGrouped(n, k, seed, { range: [-8, 7] })),
  int4: (_, n, k, seed) => toyGrouped(n, k, seed, { range: [-8, 7] }),
  ternary: (_, n, k, seed) => toyGrouped(n, k, seed, { range: [-1, 1], group: k }),
  q6_k: (_, n, k, seed) => toyGrouped(n, k, seed, { range: [-32, 31], group: 16 }),
  q8_0: (_, n, k, seed) => toyGrouped(n, k, seed, { range: [-128, 127] }),
  float16: (_, n, k, seed) => halves(n, k, seed),
}

function halves(n: number, k: number, seed: number): KernelWeights & ReturnType<Make> {
  const { codes } = toyGrouped(n, k, seed, { range: [0, 255] })
  return { dtype: 'float16', shape: [n, k], data: Uint16Array.from(codes, (code, i) => 0x2800 + code + 0x8000 * (i & 1)) }
}

/**
 * `npm run bench -- decoder [--node 24] [--threads 1,2] [--weights q4_1,int4] [--cache float16] [--context 2000]`: tokens a second of a decoder of
 * random weights with the sizes of SmolLM2-135M, as one program a token: what generation costs without sampling.
 */
export async function benchDecoder(args: readonly string[]): Promise<void> {
  const node = args.indexOf('--node')
  if (node >= 0) return onEngine('decoder', args, node)
  const option = (name: string, otherwise: string): string => {
    const at = args.indexOf(`--${name}`)
    return at < 0 ? otherwise : (args[at + 1] ?? otherwise)
  }
  const cache = option('cache', 'float16')
  const context = Number(option('context', '0'))
  if (!isCache(cache)) throw new Error(`no such cache: ${cache}`)
  console.log(`${machineName()}, Node ${process.versions.node}`)
  for (const threads of option('threads', '1').split(',').map(Number)) {
    const kernels = await createWasmKernels({ threads })
    for (const name of option('weights', 'q4_1,q4_0,int4,ternary').split(',')) {
      const weights = WEIGHTS[name]
      if (weights === undefined) throw new Error(`no such weights: ${name}`)
      const { program, matrices, vectors } = toyDecoder({ ...SHAPE, rows: 128, wanted: 1, context: Math.max(256, context + 64), cache, weights })
      const packed = Object.fromEntries(Object.entries(matrices).map(([key, matrix]) => [key, kernels.prepack(matrix)]))
      const compiled = kernels.programs?.compile(program, { matrices: packed, vectors })
      if (compiled === undefined) throw new Error('no programs')
      const prompt = Array.from({ length: 128 }, (_, i) => (i * 7919) % SHAPE.vocabulary)
      const prefill = least(5, threads, () => compiled.run({ tokens: prompt, start: 0, wanted: 1 }))
      for (let start = 128; start < context; start += 128) compiled.run({ tokens: prompt, start, wanted: 0 })
      const at = Math.max(128, context)
      let token = 0
      const decode = least(150, threads, () => compiled.run({ tokens: [(token += 101) % SHAPE.vocabulary], start: at }))
      console.log(`${kernels.supports.tier}, ${threads} thread(s), ${name}, ${cache} cache: decode at ${at} ${(1e3 / decode).toFixed(0)} tokens/s (${decode.toFixed(2)} ms), prompt of 128 ${(128e3 / prefill).toFixed(0)} tokens/s`)
      compiled.dispose()
      for (const matrix of Object.values(packed)) matrix.dispose()
    }
    kernels.dispose()
  }
  process.exit(0)
}

function isCache(name: string): name is CacheType {
  return name === 'float32' || name === 'float16' || name === 'int8'
}

/** The least of several times, in milliseconds, by the clock or by the processor time of all threads: other programs only add to it. */
function least(times: number, threads: number, body: () => void): number {
  let best = Infinity
  for (let i = 0; i < times; i++) {
    const cpu = process.cpuUsage()
    const start = performance.now()
    body()
    best = Math.min(best, performance.now() - start)
    const { user, system } = process.cpuUsage(cpu)
    if (threads === 1 && user + system > 0) best = Math.min(best, (user + system) / 1000)
  }
  return best
}
