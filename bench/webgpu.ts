import { existsSync, writeFileSync } from 'node:fs'
import { exactProduct, toyActivations, toyWeights, type ToyWeight } from '@lowbit/core/testkit'
import { createWebGpuKernels, type WebGpuKernelOptions, type WebGpuKernels } from '@lowbit/kernels-webgpu'

/** The software adapter of Debian's chromium package. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json'

const WEIGHTS: readonly { readonly title: string; readonly weight: ToyWeight }[] = [
  { title: 'int4, groups of 32', weight: { name: '', dtype: 'int4', group: 32 } },
  { title: 'ternary, one scale', weight: { name: '', dtype: 'ternary', perTensor: true } },
  { title: 'int8, one scale a row', weight: { name: '', dtype: 'int8' } },
]
const FEATURES = ['packed_4x8_integer_dot_product', 'subgroups', 'shader-f16'] as const
/** How many products are queued before the device is waited for. */
const QUEUED = 50

/** `npm run bench -- webgpu`: errors against the exact product, and what a dispatch costs. Not speed: the adapter here is software. */
export async function benchWebGpu(): Promise<void> {
  if (process.env['VK_ICD_FILENAMES'] === undefined && existsSync(SWIFTSHADER)) process.env['VK_ICD_FILENAMES'] = SWIFTSHADER
  const { create, globals } = await import('webgpu')
  Object.assign(globalThis, globals)
  const gpu = create([])
  const adapter = await gpu.requestAdapter()
  if (adapter === null) {
    console.log(`WebGPU benchmark not run: no adapter; install Debian's chromium package (${SWIFTSHADER}) or set VK_ICD_FILENAMES`)
    process.exit(0)
  }
  using kernels = await createWebGpuKernels({ gpu })
  const errors: string[] = []
  for (const without of [[], [...FEATURES]] satisfies NonNullable<WebGpuKernelOptions['without']>[]) {
    using path = await createWebGpuKernels({ gpu, without })
    for (const { title, weight } of WEIGHTS) {
      for (const [m, n, k] of [[1, 256, 2048], [64, 128, 1024]] as const) errors.push(`| ${m}×${k}×${n} | ${title} | ${without.length === 0 ? 'all that the device has' : 'none'} | ${await worst(path, weight, m, n, k)} |`)
    }
  }
  const host = await cost(kernels, false)
  const there = await cost(kernels, true)
  const text = [
    `# WebGPU kernels on ${kernels.supports.findings[0] ?? ''}, Node ${process.versions.node}`,
    '',
    `${kernels.supports.findings.slice(1).join('; ')}. Written by \`npm run bench -- webgpu\`. ${/swiftshader|llvmpipe/i.test(kernels.supports.findings[0] ?? '') ? 'The adapter is software: correctness and overhead only, no speed.' : ''}`,
    '',
    '## Error',
    '',
    'The largest distance from the exact product, as a share of the bound that the kernels state (below 1 is inside).',
    '',
    '| M×K×N | weights | features | of the bound |',
    '| --- | --- | --- | ---: |',
    ...errors,
    '',
    '## Overhead',
    '',
    `int4 of 16×64, where there is next to nothing to compute: least time of ${QUEUED} products.`,
    '',
    '| activations | to queue one, µs | queued and run, µs each | with the result read back, µs |',
    '| --- | ---: | ---: | ---: |',
    `| on the host: three buffers uploaded, one dispatch | ${host.join(' | ')} |`,
    `| on the device: two dispatches (quantizing, product) | ${there.join(' | ')} |`,
    '',
  ].join('\n')
  writeFileSync(new URL('results/webgpu.md', import.meta.url), text)
  console.log(text)
  process.exit(0)
}

async function worst(kernels: WebGpuKernels, weight: ToyWeight, m: number, n: number, k: number): Promise<string> {
  const q = toyWeights(weight, n, k, 1)
  const x = toyActivations(m, k, 2)
  using packed = kernels.prepack(q)
  const { data } = await kernels.matmul(x, packed)
  const exact = exactProduct(x, q, undefined, 'int8')
  const { perTerm, fixed } = kernels.supports.integerRounding
  const unit = (perTerm * exact.terms + fixed) * 2 ** -24
  return data.reduce((top, v, i) => Math.max(top, Math.abs(v - (exact.values[i] ?? NaN)) / (unit * (exact.magnitudes[i] ?? 0))), 0).toFixed(3)
}

/** Microseconds: until a product is queued, until all that were queued are done, and one product with its result read. */
async function cost(kernels: WebGpuKernels, onDevice: boolean): Promise<string[]> {
  using packed = kernels.prepack(toyWeights({ name: '', dtype: 'int4', group: 32 }, 16, 64, 1))
  using identity = kernels.prepack(toyWeights({ name: '', dtype: 'int4', group: 32 }, 64, 64, 1))
  const x = toyActivations(1, 64, 2)
  using there = kernels.matmulOnDevice(x, identity)
  const input = onDevice ? there : x
  const least = [Infinity, Infinity, Infinity]
  const note = (i: number, us: number): void => {
    least[i] = Math.min(least[i] ?? Infinity, us)
  }
  for (let round = 0; round < 12; round++) {
    const start = performance.now()
    const results = Array.from({ length: QUEUED }, () => kernels.matmulOnDevice(input, packed))
    note(0, ((performance.now() - start) * 1000) / QUEUED)
    // a queue runs in order: when the last is read, all are done
    await results[QUEUED - 1]?.read()
    note(1, ((performance.now() - start) * 1000) / QUEUED)
    for (const result of results) result.dispose()
    for (let i = 0; i < 5; i++) {
      const one = performance.now()
      using result = kernels.matmulOnDevice(input, packed)
      await result.read()
      note(2, (performance.now() - one) * 1000)
    }
  }
  return least.map((us) => us.toFixed(0))
}
