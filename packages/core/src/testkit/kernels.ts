import type { KernelActivations, KernelProvider, KernelSupports, PackedWeights } from '../contract/v2/kernels.js'
import { isLowbitError, type ErrorCode } from '../errors.js'
import { checkPlugin } from '../plugin.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { quantizeRows } from '../reference/activations.js'
import { referenceHadamard } from '../reference/hadamard.js'
import { tensor, zeros, type HostTensor } from '../tensor.js'
import { exactProduct, toyActivations, toyWeights, type ToyWeight } from './kernel-oracle.js'
import { check, type Skipped, type TestRunner } from './runner.js'
import { toyRandom } from './toy-random.js'

export interface KernelSuiteOptions {
  readonly runner: TestRunner
  /** A new provider for each test: the suite disposes of it. */
  readonly factory: () => Promise<KernelProvider>
  /** What the provider says of itself, asked before the tests are made. */
  readonly supports: KernelSupports
  /** Random shapes for each scheme. Default 6. */
  readonly rounds?: number
  /** The longest K and the most rows M that the suite tries. Default 11008 and 512; smaller on software devices. */
  readonly longest?: number
  readonly tallest?: number
}

type Provider = KernelProvider

/** Every weight a kernel provider may take, by the name it has in `supports.schemes`. */
const WEIGHTS: readonly ToyWeight[] = [
  { name: 'int8/channel', dtype: 'int8' },
  { name: 'int8/tensor', dtype: 'int8', perTensor: true },
  { name: 'int8/group', dtype: 'int8', group: 32 },
  { name: 'uint8/channel', dtype: 'uint8', asymmetric: true },
  ...[16, 32, 64, 128, 20].flatMap((group): ToyWeight[] => [
    { name: 'int4/group', dtype: 'int4', group },
    { name: 'uint4/group', dtype: 'uint4', group, asymmetric: true },
  ]),
  { name: 'uint4/group', dtype: 'uint4', group: 32, asymmetric: true, floatZero: true },
  { name: 'int4/channel', dtype: 'int4' },
  { name: 'uint4/channel', dtype: 'uint4', asymmetric: true },
  { name: 'int3/group', dtype: 'int3', group: 32 },
  { name: 'uint3/group', dtype: 'uint3', group: 64, asymmetric: true },
  { name: 'int2/group', dtype: 'int2', group: 32 },
  { name: 'uint2/group', dtype: 'uint2', group: 16, asymmetric: true },
  { name: 'ternary/tensor', dtype: 'ternary', perTensor: true },
  { name: 'ternary/channel', dtype: 'ternary' },
  { name: 'ternary/group', dtype: 'ternary', group: 64 },
]

/** What every kernel provider must do. Run it with your test runner; it returns what it left out, and why. */
export function kernelSuite(options: KernelSuiteOptions): readonly Skipped[] {
  const { runner, supports, longest = 11008, tallest = 512, rounds = 6 } = options
  const skipped: Skipped[] = []
  runner.describe(`kernels ${supports.tier}, ${supports.threads} threads`, () => {
    runner.it('is a plugin that says what it is', () => using(options, (kernels) => {
      checkPlugin(kernels, 'kernels')
      check(JSON.stringify(kernels.supports) === JSON.stringify(supports), 'supports differs from what the suite was given')
    }))
    for (const weight of WEIGHTS) {
      const name = `${weight.name}${weight.group === undefined ? '' : ` ${weight.group}`}${weight.floatZero ? ' with float zero points' : ''}`
      if (!supports.schemes.includes(weight.name)) {
        skipped.push({ test: name, reason: `${supports.tier} does not support ${weight.name}` })
        continue
      }
      runner.describe(name, () => {
        runner.it('sums integers exactly', () => using(options, async (kernels) => {
          for (const [m, n, k] of [[1, 1, 1], [1, 8, 32], [2, 9, 100], [3, 17, 129], [6, 5, 257], [1, 3, longest]]) await integers(kernels, weight, m ?? 1, n ?? 1, k ?? 1)
        }))
        runner.it('stays inside its bound on random shapes', () => using(options, async (kernels) => {
          const random = toyRandom(17)
          const upTo = (top: number): number => 1 + Math.floor(random() * top)
          for (let i = 0; i < rounds; i++) {
            for (const activations of activationsOf(supports)) await product(kernels, weight, upTo(i % 2 === 0 ? 2 : 9), upTo(40), upTo(300), activations, i)
          }
        }))
        runner.it('gives back the values it packed', () => using(options, async (kernels) => {
          const q = toyWeights(weight, 7, 133, 5)
          using packed = kernels.prepack(q)
          const found = await kernels.dequantize(packed)
          const wanted = dequantize(q)
          for (let i = 0; i < wanted.data.length; i++) close(found.data[i], wanted.data[i] ?? 0, 4 * 2 ** -24 * Math.abs(wanted.data[i] ?? 0) + (weight.floatZero ? 2 ** -18 : 0), `weight ${i}`)
        }))
      })
    }
    runner.describe('float32 weights', () => {
      runner.it('stay inside the bound', () => using(options, async (kernels) => {
        for (const [m, n, k] of [[1, 1, 1], [1, 33, 130], [5, 12, 77], [4, 8, 64]]) await floats(kernels, m ?? 1, n ?? 1, k ?? 1)
      }))
    })
    runner.it('takes extremes: −128, 127, all zero, one huge row', () => using(options, (kernels) => extremes(kernels)))
    runner.it(`takes ${tallest} rows at once`, () => using(options, (kernels) => product(kernels, pick(supports), tallest, 11, 65, 'int8', 3)))
    runner.it('adds the bias last', () => using(options, (kernels) => biased(kernels, pick(supports))))
    runner.it('writes where it is told to, and nowhere else', () => using(options, (kernels) => intoOut(kernels, pick(supports))))
    runner.it('gives the same bits on every call', () => using(options, (kernels) => repeated(kernels, pick(supports))))
    runner.it('keeps many weights apart, and frees those in the middle', () => using(options, (kernels) => many(kernels, pick(supports))))
    runner.it('works beside other providers', async () => {
      const providers = await Promise.all([1, 2, 3].map(() => options.factory()))
      for (const kernels of providers) await product(kernels, pick(supports), 2, 9, 70, 'int8', 5)
      providers[1]?.dispose()
      for (const kernels of [providers[0], providers[2]]) if (kernels !== undefined) await product(kernels, pick(supports), 2, 9, 70, 'int8', 6)
      for (const kernels of providers) kernels.dispose()
    })
    runner.it('is freed by `using`, weights and provider', async () => {
      let left: { kernels: Provider; packed: PackedWeights } | undefined
      {
        using kernels = await options.factory()
        using packed = kernels.prepack(toyWeights(pick(supports), 4, 32, 1))
        left = { kernels, packed }
        {
          using inner = kernels.prepack(toyWeights(pick(supports), 4, 32, 2))
          await kernels.matmul(zeros('float32', [1, 32]), inner)
        }
        await kernels.matmul(zeros('float32', [1, 32]), packed)
      }
      const { kernels, packed } = left
      await refuses(() => kernels.matmul(zeros('float32', [1, 32]), packed), 'LOWBIT_DISPOSED', 'a provider that `using` has freed')
    })
    runner.it('quantizes activations as the oracle does', () => using(options, (kernels) => activationCodes(kernels)))
    runner.it('transforms by Hadamard', () => using(options, (kernels) => hadamards(kernels)))
    runner.it('refuses wrong shapes, dtypes, values and freed handles', () => using(options, (kernels) => refusals(kernels, pick(supports))))
    runner.it('refuses schemes it does not support', () => using(options, async (kernels) => {
      const q = toyWeights({ name: '', dtype: 'int8' }, 2, 4, 1)
      await refuses(() => kernels.prepack({ ...q, scheme: { ...q.scheme, dtype: 'int16' } }), 'LOWBIT_UNSUPPORTED', 'int16 weights')
    }))
  })
  return skipped
}

const activationsOf = (supports: KernelSupports): readonly KernelActivations[] => supports.activations ?? ['int8', 'float32']

async function using(options: KernelSuiteOptions, body: (kernels: Provider) => void | Promise<void>): Promise<void> {
  const kernels = await options.factory()
  try {
    await body(kernels)
  } finally {
    kernels.dispose()
  }
}

function pick(supports: KernelSupports): ToyWeight {
  const found = WEIGHTS.find((w) => w.name === 'int4/group' && w.group === 32 && supports.schemes.includes(w.name)) ?? WEIGHTS.find((w) => supports.schemes.includes(w.name))
  check(found !== undefined, 'the provider supports no scheme that the suite knows')
  return found
}

function close(found: number | undefined, wanted: number, bound: number, what: string): void {
  const value = found ?? NaN
  check(Math.abs(value - wanted) <= bound, `${what}: ${value}, expected ${wanted} ± ${bound}`)
}

/** Scales of 1 and activations whose largest is 127: the result is the integer sum itself. */
async function integers(kernels: Provider, weight: ToyWeight, m: number, n: number, k: number): Promise<void> {
  const q = toyWeights(weight.floatZero ? { ...weight, floatZero: false } : weight, n, k, m * 31 + k, 1)
  const x = toyActivations(m, k, 7, 'codes')
  using packed = kernels.prepack(q)
  const y = await kernels.matmul(x, packed)
  const { values } = exactProduct(x, q, undefined, 'int8')
  for (let i = 0; i < y.data.length; i++) check(y.data[i] === values[i], `${weight.name} [${m}, ${k}] × [${n}, ${k}]: sum ${i} is ${y.data[i]}, expected ${values[i]}`)
}

async function product(kernels: Provider, weight: ToyWeight, m: number, n: number, k: number, activations: KernelActivations, seed: number): Promise<void> {
  const q = toyWeights(weight, n, k, seed)
  const x = toyActivations(m, k, seed + 1)
  const bias = seed % 2 === 0 ? undefined : Float32Array.from({ length: n }, (_, i) => i / 3)
  using packed = kernels.prepack(q)
  check(packed.rows === n && packed.columns === k && packed.bytes > 0, `packed weights say [${packed.rows}, ${packed.columns}], ${packed.bytes} bytes`)
  const y = await kernels.matmul(x, packed, undefined, { activations, ...(bias === undefined ? {} : { bias }) })
  within(kernels, y, exactProduct(x, q, bias, activations), activations, `${weight.name} [${m}, ${k}] × [${n}, ${k}] with ${activations}`)
}

function within(kernels: Provider, y: HostTensor<'float32'>, exact: ReturnType<typeof exactProduct>, activations: KernelActivations, what: string): void {
  const { perTerm, fixed } = activations === 'float32' ? kernels.supports.floatRounding : kernels.supports.integerRounding
  check(y.data.length === exact.values.length, `${what}: ${y.data.length} results, expected ${exact.values.length}`)
  for (let i = 0; i < y.data.length; i++) close(y.data[i], exact.values[i] ?? NaN, (perTerm * exact.terms + fixed) * 2 ** -24 * (exact.magnitudes[i] ?? 0) + 2 ** -140, `${what}: result ${i}`)
}

async function floats(kernels: Provider, m: number, n: number, k: number): Promise<void> {
  const w = toyActivations(n, k, 11)
  const x = toyActivations(m, k, 12)
  using packed = kernels.prepack(w)
  within(kernels, await kernels.matmul(x, packed), exactProduct(x, w, undefined, 'float32'), 'float32', `float32 [${m}, ${k}] × [${n}, ${k}]`)
}

async function extremes(kernels: Provider): Promise<void> {
  for (const weight of WEIGHTS.filter((w) => kernels.supports.schemes.includes(w.name))) {
    const k = 1024
    const q = toyWeights(weight, 9, k, 2, 1)
    const { min, max } = { min: Math.min(...q.codes), max: Math.max(...q.codes) }
    for (const [fill, sign] of [[min, 1], [max, 1], [min, -1], [max, -1]]) {
      q.codes.fill(fill ?? 0)
      const x = tensor('float32', [3, k], new Float32Array(3 * k).fill(127 * (sign ?? 1)))
      using packed = kernels.prepack(q)
      const y = await kernels.matmul(x, packed)
      const exact = exactProduct(x, q, undefined, 'int8')
      within(kernels, y, exact, 'int8', `${weight.name}, all codes ${fill}`)
    }
    using packed = kernels.prepack(q)
    const nothing = await kernels.matmul(zeros('float32', [3, k]), packed)
    check(nothing.data.every((v) => v === 0), `${weight.name}: zero activations gave ${nothing.data.find((v) => v !== 0)}`)
    const x = toyActivations(4, k, 3)
    for (let i = 0; i < k; i++) x.data[k + i] = (x.data[k + i] ?? 0) * 1e30
    x.data[2 * k] = 1e30
    within(kernels, await kernels.matmul(x, packed), exactProduct(x, q, undefined, 'int8'), 'int8', `${weight.name}, one huge row`)
  }
}

async function biased(kernels: Provider, weight: ToyWeight): Promise<void> {
  const q = toyWeights(weight, 10, 40, 3)
  using packed = kernels.prepack(q)
  const bias = Float32Array.from({ length: 10 }, (_, i) => 100 + i)
  const x = zeros('float32', [2, 40])
  for (const activations of activationsOf(kernels.supports)) {
    const y = await kernels.matmul(x, packed, undefined, { bias, activations })
    check(y.data.every((v, i) => v === bias[i % 10]), 'zero activations do not give the bias')
  }
  await refuses(() => kernels.matmul(x, packed, undefined, { bias: new Float32Array(9) }), 'LOWBIT_SHAPE', 'a bias of another length')
}

async function intoOut(kernels: Provider, weight: ToyWeight): Promise<void> {
  const q = toyWeights(weight, 13, 50, 4)
  using packed = kernels.prepack(q)
  const x = toyActivations(3, 50, 5)
  const wanted = await kernels.matmul(x, packed)
  // the buffer around the result is dirty, and must stay as it is
  const around = new Float32Array(3 * 13 + 20).fill(777)
  const out = tensor('float32', [3, 13], around.subarray(10, 10 + 39))
  const before = Float32Array.from(x.data)
  const y = await kernels.matmul(x, packed, out)
  check(y.data === out.data, 'the result is not the tensor that was given')
  check(out.data.every((v, i) => v === wanted.data[i]), 'writing into a tensor gave other values')
  check(around.every((v, i) => (i >= 10 && i < 49) || v === 777), 'memory beside the result was written')
  check(x.data.every((v, i) => v === before[i]), 'the activations were written')
  await refuses(() => kernels.matmul(x, packed, tensor('float32', [3, 12], new Float32Array(36))), 'LOWBIT_SHAPE', 'a result of another shape')
}

async function repeated(kernels: Provider, weight: ToyWeight): Promise<void> {
  const q = toyWeights(weight, 37, 200, 6)
  using packed = kernels.prepack(q)
  for (const m of [1, 2, 7]) {
    const x = toyActivations(m, 200, 7)
    const wanted = Float32Array.from((await kernels.matmul(x, packed)).data)
    for (let i = 0; i < 20; i++) {
      const y = await kernels.matmul(x, packed)
      check(y.data.every((v, j) => v === wanted[j]), `call ${i + 2} with ${m} rows differs from the first`)
    }
    if (kernels.supports.reproducible === 'calls') continue
    // each row alone gives what it gives among others
    for (let row = 0; row < m; row++) {
      const y = await kernels.matmul(tensor('float32', [1, 200], x.data.slice(row * 200, (row + 1) * 200)), packed)
      check(y.data.every((v, j) => v === wanted[row * 37 + j]), `row ${row} of ${m} alone differs`)
    }
  }
}

async function many(kernels: Provider, weight: ToyWeight): Promise<void> {
  const x = toyActivations(1, 96, 1)
  const made = Array.from({ length: 12 }, (_, i) => {
    const q = toyWeights(weight, 5 + i, 96, i)
    return { q, packed: kernels.prepack(q) }
  })
  const test = async ({ q, packed }: { q: QTensor; packed: PackedWeights }): Promise<void> => within(kernels, await kernels.matmul(x, packed), exactProduct(x, q, undefined, 'int8'), 'int8', 'many weights')
  for (const one of made) await test(one)
  for (const one of made.filter((_, i) => i % 3 === 1)) one.packed.dispose()
  for (const one of made.filter((_, i) => i % 3 !== 1)) await test(one)
  // what was freed is used again, with whatever the last owner left there
  for (let i = 0; i < 6; i++) await test({ q: toyWeights(weight, 4 + i, 96, i + 50), packed: kernels.prepack(toyWeights(weight, 4 + i, 96, i + 50)) })
  for (const one of made.filter((_, i) => i % 3 !== 1)) await test(one)
  for (const one of made) one.packed.dispose()
}

async function activationCodes(kernels: Provider): Promise<void> {
  const x = toyActivations(5, 83, 9)
  x.data.fill(0, 83, 166)
  for (const granularity of ['token', 'tensor'] as const) {
    for (const symmetric of [true, false]) {
      const found = await kernels.quantizeActivations(x, { granularity, symmetric })
      const wanted = quantizeRows(x, { granularity, symmetric })
      const same = (a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined): boolean => (a === undefined ? b === undefined : b !== undefined && a.length === b.length && Array.from(a).every((v, i) => v === b[i]))
      const what = `${granularity}, ${symmetric ? 'symmetric' : 'asymmetric'}`
      check(same(found.codes, wanted.codes), `${what}: codes differ from the oracle`)
      check(same(found.scales, wanted.scales), `${what}: scales differ from the oracle`)
      check(same(found.zeroPoints, wanted.zeroPoints), `${what}: zero points differ from the oracle`)
    }
  }
}

async function hadamards(kernels: Provider): Promise<void> {
  for (const [rows, n, block] of [[1, 1, 1], [3, 2, 2], [2, 64, 64], [3, 96, 32], [1, 512, 512]]) {
    const x = toyActivations(rows ?? 1, n ?? 1, 21)
    const y = await kernels.hadamard(x, { block: block ?? 1 })
    const wanted = referenceHadamard(x, block)
    const size = x.data.reduce((sum, v) => sum + Math.abs(v), 0)
    for (let i = 0; i < wanted.data.length; i++) close(y.data[i], wanted.data[i] ?? 0, (Math.log2(block ?? 1) + 3) * 2 ** -24 * size, `Hadamard ${block}, value ${i}`)
  }
  await refuses(() => kernels.hadamard(zeros('float32', [1, 12])), 'LOWBIT_SHAPE', 'a Hadamard block of 12')
}

async function refusals(kernels: Provider, weight: ToyWeight): Promise<void> {
  const q = toyWeights(weight, 6, 32, 8)
  const packed = kernels.prepack(q)
  await refuses(() => kernels.matmul(zeros('float32', [1, 31]), packed), 'LOWBIT_SHAPE', 'activations of another K')
  const ints: unknown = zeros('int8', [1, 32])
  await refuses(() => kernels.matmul(ints as HostTensor<'float32'>, packed), 'LOWBIT_DTYPE', 'int8 activations')
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const m of [1, 5]) {
      const x = toyActivations(m, 32, 1)
      x.data[x.data.length - 1] = value
      await refuses(() => kernels.matmul(x, packed), 'LOWBIT_NONFINITE', `an activation of ${value}`)
    }
  }
  const { activations = ['int8', 'float32'] } = kernels.supports
  if (!activations.includes('int8-group')) await refuses(() => kernels.matmul(zeros('float32', [1, 32]), packed, undefined, { activations: 'int8-group' }), 'LOWBIT_UNSUPPORTED', 'a scale for each group of activations')
  await refuses(() => kernels.prepack({ ...q, codes: q.codes.slice(1) }), 'LOWBIT_SHAPE', 'too few codes')
  await refuses(() => kernels.prepack({ ...q, codes: q.codes.map(() => 100) }), 'LOWBIT_DATA', 'codes outside their type')
  await refuses(() => kernels.prepack({ ...q, shape: [6 * 32] }), 'LOWBIT_SHAPE', 'weights that are not a matrix')
  packed.dispose()
  packed.dispose()
  await refuses(() => kernels.matmul(zeros('float32', [1, 32]), packed), 'LOWBIT_DISPOSED', 'freed weights')
  const other = kernels.prepack(q)
  kernels.dispose()
  kernels.dispose()
  await refuses(() => kernels.matmul(zeros('float32', [1, 32]), other), 'LOWBIT_DISPOSED', 'a disposed provider')
  await refuses(() => kernels.prepack(q), 'LOWBIT_DISPOSED', 'a disposed provider')
  other.dispose()
}

async function refuses(body: () => unknown, code: ErrorCode, what: string): Promise<void> {
  try {
    await body()
  } catch (error) {
    check(isLowbitError(error, code), `${what}: ${String(error)}, expected ${code}`)
    return
  }
  check(false, `${what} was accepted, expected ${code}`)
}
