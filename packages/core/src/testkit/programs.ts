import type { KernelActivations, KernelProvider, KernelSupports, KernelWeights } from '../contract/v2/kernels.js'
import type { CacheType, CompiledProgram, Program, ProgramInput, ProgramOp, ProgramStep, ProgramSupports } from '../contract/v2/programs.js'
import { isLowbitError, type ErrorCode } from '../errors.js'
import { referenceProgram, type ReferenceBindings, type ReferenceProgram, type ReferenceWeights } from '../reference/program.js'
import { toyWeights } from './kernel-oracle.js'
import { check, type Skipped, type TestRunner } from './runner.js'
import { toyDecoder, toyFloats, toyGrouped, type ToyDecoder, type ToyDecoderOptions } from './toy-decoder.js'
import { toyNormal, toyRandom } from './toy-random.js'

export interface ProgramSuiteOptions {
  readonly runner: TestRunner
  /** A new provider for each test: the suite disposes of it. */
  readonly factory: () => Promise<KernelProvider>
  readonly supports: KernelSupports
}

/**
 * How far a step may be from the reference, of the largest value of its result. A step of float32 makes a few roundings, one
 * after another in sums: 2^-24 times their number, and as much again for the exponential.
 */
const STEP_ERROR = 2 ** -18
/** Decoders of two layers in float: errors of some thirty steps, which norms pass on as they are. */
const FLOAT_ERROR = 2 ** -14
/** With int8 activations an error of one rounding may turn into one of a code (1 / 127 of the largest), here and there. */
const LEAST_SQNR = 30

/** Matrices that programs take, beside floats. */
const WEIGHTS: readonly (readonly [string, (n: number, k: number, seed: number) => ReferenceWeights])[] = [
  ['float16', (n, k, seed) => halves('float16', n, k, seed)],
  ['bfloat16', (n, k, seed) => halves('bfloat16', n, k, seed)],
  ['int4 group 32', (n, k, seed) => toyWeights({ name: '', dtype: 'int4', group: 32 }, n, k, seed)],
  ['ternary per tensor', (n, k, seed) => toyWeights({ name: '', dtype: 'ternary', perTensor: true }, n, k, seed)],
  ['int8 per channel', (n, k, seed) => toyWeights({ name: '', dtype: 'int8' }, n, k, seed)],
  ...[16, 32, 64, 128, 256].map((group) => [`four bits with minima, group ${group}`, (n: number, k: number, seed: number) => toyGrouped(n, k, seed, { group, minima: true })] as const),
  ['two bits with minima, group 16', (n, k, seed) => toyGrouped(n, k, seed, { group: 16, range: [0, 3], minima: true })],
  ['three bits, group 16', (n, k, seed) => toyGrouped(n, k, seed, { group: 16, range: [-4, 3] })],
  ['five bits with minima, group 32', (n, k, seed) => toyGrouped(n, k, seed, { group: 32, range: [0, 31], minima: true })],
  ['six bits, group 16', (n, k, seed) => toyGrouped(n, k, seed, { group: 16, range: [-32, 31] })],
  ['eight bits, group 32', (n, k, seed) => toyGrouped(n, k, seed, { group: 32, range: [-128, 127] })],
  ['unsigned eight bits with minima, group 32', (n, k, seed) => toyGrouped(n, k, seed, { group: 32, range: [0, 255], minima: true })],
  ['ternary codes, group 256', (n, k, seed) => toyGrouped(n, k, seed, { group: 256, range: [-1, 1] })],
  ['a table of 16 levels, group 32', (n, k, seed) => toyGrouped(n, k, seed, { levels: Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113) })],
  ['a table of FP4 doubled, group 32', (n, k, seed) => toyGrouped(n, k, seed, { levels: Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12) })],
]

/** What every provider of programs must do. Returns what it left out, and why. */
export function programSuite(options: ProgramSuiteOptions): readonly Skipped[] {
  const { runner, supports } = options
  const skipped: Skipped[] = []
  const { programs } = supports
  if (programs === undefined) return [{ test: 'programs', reason: `${supports.tier} runs no programs` }]
  const caches = programs.caches
  runner.describe(`programs ${supports.tier}, ${supports.threads} threads`, () => {
    for (const [name, weights] of WEIGHTS) {
      runner.it(`multiplies by ${name}, bit for bit the same for one row and many`, () => using(options, async (kernels) => {
        for (const activations of activationsOf(supports)) {
          for (const [n, k] of [[24, 64], [19, 288]] as const) await product(kernels, weights(n, k, n * 7 + k), n, k, activations)
        }
      }))
      runner.it(`looks up rows of ${name}`, () => using(options, async (kernels) => {
        const program: Program = { ...EMPTY, rows: 4, wanted: 4, matrices: { m: { rows: 21, columns: 96 } }, buffers: { x: { width: 96 }, y: { width: 96, rows: 'wanted' } }, steps: [{ op: 'embed', matrix: 'm', to: 'x', by: 1.5 }, { op: 'select', from: 'x', to: 'y' }] }
        await compare(kernels, program, { matrices: { m: weights(21, 96, 5) }, vectors: {} }, [{ tokens: [20, 0, 7, 7], start: 0, wanted: 4 }], STEP_ERROR)
      }))
    }
    for (const [name, op, test] of STEPS) {
      if (programs.ops.includes(op)) runner.it(name, () => using(options, test))
      else skipped.push({ test: name, reason: `${supports.tier} does not run ${op}` })
    }
    for (const cache of ['float32', 'float16', 'int8'] as const) {
      if (!caches.includes(cache)) {
        skipped.push({ test: `${cache} caches`, reason: `${supports.tier} has no ${cache} caches` })
        continue
      }
      runner.it(`attends over a ${cache} cache: shared heads, windows, caps, long contexts`, () => using(options, (kernels) => attention(kernels, cache)))
    }
    for (const decoder of DECODERS) {
      if ((decoder.cache !== undefined && !caches.includes(decoder.cache)) || !activationsOf(supports).includes(decoder.activations ?? 'int8')) continue
      runner.it(`runs a decoder ${JSON.stringify(decoder)}`, () => using(options, (kernels) => wholeDecoder(kernels, decoder)))
    }
    runner.it('gives the same bits for a prompt at once, in pieces and token by token', () => using(options, pieces))
    runner.it('keeps compiled programs apart, frees them, and refuses what does not fit', () => using(options, (kernels) => refusals(kernels, programs)))
  })
  return skipped
}

const EMPTY = { rows: 4, wanted: 4, context: 16, matrices: {}, vectors: {}, caches: {}, output: 'y' } as const

const DECODERS: readonly ToyDecoderOptions[] = [
  { activations: 'float32' },
  { activations: 'float32', extras: true, window: 5, activation: 'gelu' },
  { extras: true, activation: 'relu2', cache: 'int8' },
  { cache: 'float16' },
  { activations: 'int8-group', cache: 'float16' },
]

const activationsOf = (supports: KernelSupports): readonly KernelActivations[] => supports.activations ?? ['int8', 'float32']

async function using(options: ProgramSuiteOptions, body: (kernels: KernelProvider) => Promise<void>): Promise<void> {
  const kernels = await options.factory()
  try {
    await body(kernels)
  } finally {
    kernels.dispose()
  }
}

/** Compiles for the provider: the caller disposes of it. */
async function compile(kernels: KernelProvider, program: Program, bindings: ReferenceBindings): Promise<CompiledProgram> {
  check(kernels.programs !== undefined, 'the provider has supports.programs but no programs')
  const matrices = Object.fromEntries(Object.entries(bindings.matrices).map(([name, weights]: readonly [string, KernelWeights]) => [name, kernels.prepack(weights)]))
  return await kernels.programs.compile(program, { matrices, vectors: bindings.vectors })
}

async function compare(kernels: KernelProvider, program: Program, bindings: ReferenceBindings, inputs: readonly ProgramInput[], bound: number): Promise<void> {
  using compiled = await compile(kernels, program, bindings)
  const reference = referenceProgram(program, bindings)
  for (const input of inputs) await sameRun(compiled, reference, input, bound)
}

async function sameRun(compiled: CompiledProgram, reference: ReferenceProgram, input: ProgramInput, bound: number): Promise<void> {
  const found = await compiled.run(input)
  const wanted = reference.run(input)
  const width = compiled.program.buffers[compiled.program.output]?.width ?? 0
  check(found.shape.join() === `${wanted.length / width},${width}`, `the result has shape [${found.shape.join(', ')}], expected [${wanted.length / width}, ${width}]`)
  near(found.data, wanted, bound)
}

function near(found: ArrayLike<number>, wanted: Float64Array, bound: number): void {
  check(found.length === wanted.length, `${found.length} results, expected ${wanted.length}`)
  const top = wanted.reduce((size, v) => Math.max(size, Math.abs(v)), 0)
  wanted.forEach((v, i) => {
    const value = found[i] ?? NaN
    check(Math.abs(value - v) <= bound * top, `result ${i}: ${value}, expected ${v} ± ${bound * top}`)
  })
}

function normals(count: number, seed: number): Float32Array<ArrayBuffer> {
  const random = toyRandom(seed)
  return Float32Array.from({ length: count }, () => toyNormal(random))
}

function halves(dtype: 'float16' | 'bfloat16', n: number, k: number, seed: number): ReferenceWeights {
  const random = toyRandom(seed)
  // signs, exponents around 2^-3 and random fractions, written as bits
  const data = Uint16Array.from({ length: n * k }, () => {
    const sign = random() < 0.5 ? 0x8000 : 0
    return dtype === 'float16' ? sign | ((10 + Math.floor(random() * 4)) << 10) | Math.floor(random() * 1024) : sign | ((122 + Math.floor(random() * 4)) << 7) | Math.floor(random() * 128)
  })
  return { dtype, shape: [n, k], data } as ReferenceWeights
}

async function product(kernels: KernelProvider, weights: ReferenceWeights, n: number, k: number, activations: KernelActivations): Promise<void> {
  const rows = 9
  const program: Program = {
    ...EMPTY, rows, wanted: rows, matrices: { m: { rows: n, columns: k } }, vectors: { b: n }, buffers: { x: { width: k, rows: 'wanted' }, y: { width: n, rows: 'wanted' }, z: { width: n, rows: 'wanted' } },
    steps: [{ op: 'linear', from: 'x', activations, products: [{ matrix: 'm', to: 'z' }, { matrix: 'm', to: 'y', bias: 'b' }] }],
  }
  const bindings = { matrices: { m: weights }, vectors: { b: normals(n, 3) } }
  using compiled = await compile(kernels, program, bindings)
  const reference = referenceProgram(program, bindings)
  const x = normals(rows * k, 4)
  const all = await compiled.run({ rows, start: 0, wanted: rows, buffers: { x } })
  near(all.data, reference.run({ rows, start: 0, wanted: rows, buffers: { x } }), STEP_ERROR)
  near((await compiled.read('z')).data, reference.read('z'), STEP_ERROR)
  for (const few of [1, 2, 5]) {
    const some = await compiled.run({ rows: few, start: 0, wanted: few, buffers: { x: x.slice(0, few * k) } })
    check(some.data.every((v, i) => v === all.data[i]), `${few} rows give other bits than ${rows}`)
  }
}

/** Element-wise steps and norms: two buffers of rows in, one out. */
function simple(width: number, steps: readonly ProgramStep[], vectors: Readonly<Record<string, Float32Array>> = {}, factor = 1) {
  return async (kernels: KernelProvider): Promise<void> => {
    const program: Program = {
      ...EMPTY, vectors: Object.fromEntries(Object.entries(vectors).map(([name, values]) => [name, values.length])),
      buffers: { a: { width }, b: { width }, c: { width }, y: { width, rows: 'wanted' } }, steps: [...steps, { op: 'select', from: 'c', to: 'y' }],
    }
    const inputs = [1, 3, 4].map((rows) => ({ rows, start: 2, wanted: Math.min(rows, 2), buffers: { a: normals(rows * width, rows).map((v) => v * factor), b: normals(rows * width, rows + 9) } }))
    await compare(kernels, program, { matrices: {}, vectors }, inputs, STEP_ERROR)
  }
}

const ROTATIONS = { cos: normals(16 * 5, 1).map(Math.cos), sin: normals(16 * 5, 1).map(Math.sin) }

const STEPS: readonly (readonly [string, ProgramOp, (kernels: KernelProvider) => Promise<void>])[] = [
  ['norms rows, with and without a gain, where they are tiny and huge', 'norm', async (kernels) => {
    for (const factor of [1, 1e-12, 1e12]) {
      await simple(70, [{ op: 'norm', from: 'a', to: 'c', epsilon: 1e-5, gain: 'g' }], { g: normals(70, 8) }, factor)(kernels)
      await simple(33, [{ op: 'norm', from: 'a', to: 'c', epsilon: 1e-6 }], {}, factor)(kernels)
    }
  }],
  ['norms parts of rows in place', 'norm', simple(66, [{ op: 'copy', from: 'a', to: 'c' }, { op: 'norm', from: 'c', to: 'c', epsilon: 1e-5, gain: 'g', segments: 6 }], { g: normals(11, 8) })],
  ['rotates halves', 'rope', simple(36, [{ op: 'copy', from: 'a', to: 'c' }, { op: 'rope', buffer: 'c', heads: 3, rotated: 10, style: 'halves', cos: 'cos', sin: 'sin' }], ROTATIONS)],
  ['rotates neighbours', 'rope', simple(36, [{ op: 'copy', from: 'a', to: 'c' }, { op: 'rope', buffer: 'c', heads: 3, rotated: 10, style: 'interleaved', cos: 'cos', sin: 'sin' }], ROTATIONS)],
  ...(['silu', 'gelu', 'relu2'] as const).map((activation) => [`gates by ${activation}, from tiny to huge`, 'gate', async (kernels: KernelProvider) => {
    for (const factor of [1e-6, 1, 5, 1e3]) await simple(45, [{ op: 'gate', gate: 'a', up: 'b', to: 'c', activation }], {}, factor)(kernels)
  }] as const),
  ['adds, in place too', 'add', simple(37, [{ op: 'add', a: 'a', b: 'b', to: 'a' }, { op: 'add', a: 'b', b: 'a', to: 'c' }])],
  ['scales', 'scale', simple(37, [{ op: 'scale', from: 'a', to: 'c', by: -0.3 }])],
  ['caps', 'softcap', async (kernels) => {
    for (const factor of [1e-3, 1, 100, 1e6]) await simple(37, [{ op: 'softcap', from: 'a', to: 'c', cap: 30 }], {}, factor)(kernels)
  }],
]

async function attention(kernels: KernelProvider, type: CacheType): Promise<void> {
  for (const { size, extra, long } of [{ size: 16, extra: {}, long: false }, { size: 20, extra: { window: 7 }, long: false }, { size: 64, extra: { softcap: 5 }, long: true }]) {
    const [heads, cacheHeads, rows, context] = [6, 2, 5, long ? 230 : 24]
    const program: Program = {
      ...EMPTY, rows, wanted: rows, context, caches: { c: { heads: cacheHeads, size, type } },
      buffers: { q: { width: heads * size }, k: { width: cacheHeads * size }, v: { width: cacheHeads * size }, a: { width: heads * size }, y: { width: heads * size, rows: 'wanted' } },
      steps: [{ op: 'append', cache: 'c', keys: 'k', values: 'v' }, { op: 'attention', queries: 'q', cache: 'c', to: 'a', heads, scale: 0.4, ...extra }, { op: 'select', from: 'a', to: 'y' }],
    }
    using compiled = await compile(kernels, program, { matrices: {}, vectors: {} })
    const reference = referenceProgram(program, { matrices: {}, vectors: {} })
    for (let start = 0; start + rows <= context; start += rows) {
      const input = { rows, start, wanted: rows, buffers: { q: normals(rows * heads * size, start + 1), k: normals(rows * cacheHeads * size, start + 2), v: normals(rows * cacheHeads * size, start + 3) } }
      // the reference is slow: at a long context only some runs are compared
      if (!long || start % 100 === 0 || start + 2 * rows > context) await sameRun(compiled, reference, input, STEP_ERROR)
      else {
        await compiled.run(input)
        reference.run({ ...input, wanted: 0 })
      }
    }
  }
}

function tokensOf(count: number, top: number, seed: number): number[] {
  const random = toyRandom(seed)
  return Array.from({ length: count }, () => Math.floor(random() * top))
}

async function wholeDecoder(kernels: KernelProvider, options: ToyDecoderOptions): Promise<void> {
  const float = options.activations === 'float32'
  const decoder = toyDecoder({ ...options, ...(float ? {} : { weights: (name: string, n: number, k: number, seed: number) => (name.includes('v') ? toyGrouped(n, k, seed, { group: 16, range: [-32, 31] }) : toyGrouped(n, k, seed, { minima: true })) }) })
  using compiled = await compile(kernels, decoder.program, decoder)
  const reference = referenceProgram(decoder.program, decoder)
  const tokens = tokensOf(14, 50, 3)
  for (const input of [{ tokens: tokens.slice(0, 10), start: 0, wanted: 10 }, { tokens: tokens.slice(10, 11), start: 10 }, { tokens: tokens.slice(11, 14), start: 11, wanted: 2 }]) {
    if (float) {
      await sameRun(compiled, reference, input, FLOAT_ERROR)
      continue
    }
    const found = (await compiled.run(input)).data
    const wanted = reference.run(input)
    const power = wanted.reduce((sum, v) => sum + v * v, 0)
    const error = wanted.reduce((sum, v, i) => sum + ((found[i] ?? NaN) - v) ** 2, 0)
    check(10 * Math.log10(power / error) >= LEAST_SQNR, `SQNR ${10 * Math.log10(power / error)} dB, expected at least ${LEAST_SQNR}`)
  }
}

async function pieces(kernels: KernelProvider): Promise<void> {
  const decoder = toyDecoder({ extras: true, weights: (_, n, k, seed) => toyGrouped(n, k, seed, { minima: true }), cache: 'float32' })
  const tokens = tokensOf(12, 50, 4)
  using compiled = await compile(kernels, decoder.program, decoder)
  const at = async (lengths: readonly number[]): Promise<Float32Array> => {
    let start = 0
    let logits = new Float32Array()
    for (const length of lengths) {
      const last = start + length === tokens.length
      logits = Float32Array.from((await compiled.run({ tokens: tokens.slice(start, start + length), start, wanted: last ? 1 : 0 })).data)
      start += length
    }
    return logits
  }
  const whole = await at([12])
  const all = await compiled.run({ tokens, start: 0, wanted: 12 })
  check(whole.every((v, i) => v === all.data[11 * 50 + i]), 'the last row alone differs from the last of all rows')
  for (const lengths of [[5, 7], tokens.map(() => 1), [11, 1], [2, 2, 8]]) {
    const found = await at(lengths)
    check(found.length === 50 && found.every((v, i) => v === whole[i]), `in pieces of ${lengths.join(', ')}: other bits`)
  }
  // a prefix stays: other tokens after it, then the first ones again
  await compiled.run({ tokens: [1, 2, 3, 4], start: 6, wanted: 0 })
  const again = await compiled.run({ tokens: tokens.slice(6), start: 6 })
  check(again.data.every((v, i) => v === whole[i]), 'after another continuation of the same prefix: other bits')
}

async function refusals(kernels: KernelProvider, supports: ProgramSupports): Promise<void> {
  check(kernels.programs !== undefined, 'no programs')
  const decoder = toyDecoder({ weights: (_, n, k, seed) => toyGrouped(n, k, seed, { minima: true }) })
  const other: ToyDecoder = toyDecoder({ seed: 2, weights: (_, n, k, seed) => toyGrouped(n, k, seed) })
  const first = await compile(kernels, decoder.program, decoder)
  const wanted = Float32Array.from((await first.run({ tokens: [1, 2, 3], start: 0 })).data)
  const second = await compile(kernels, other.program, other)
  await second.run({ tokens: [9, 9, 9, 9], start: 0 })
  check(Float32Array.from((await first.run({ tokens: [3], start: 2 })).data).every((v, i) => v === wanted[i]), 'a second program changed the first')
  second.dispose()
  second.dispose()
  await refuses(() => second.run({ tokens: [1], start: 0 }), 'LOWBIT_DISPOSED', 'a program that is disposed of')
  const { program } = decoder
  const run = (input: ProgramInput) => () => first.run(input)
  await refuses(run({ tokens: [1], start: program.context }), 'LOWBIT_LIMIT', 'a position past the context')
  await refuses(run({ tokens: Array<number>(program.rows + 1).fill(1), start: 0 }), 'LOWBIT_LIMIT', 'too many rows')
  await refuses(run({ tokens: [1, 2], start: 0, wanted: 3 }), 'LOWBIT_LIMIT', 'more wanted rows than rows')
  await refuses(run({ tokens: [50], start: 0 }), 'LOWBIT_DATA', 'a token without a row')
  await refuses(run({ tokens: [-1], start: 0 }), 'LOWBIT_DATA', 'a negative token')
  await refuses(run({ rows: 1, start: 0 }), 'LOWBIT_ARGUMENT', 'no tokens')
  await refuses(run({ tokens: [], start: 0 }), 'LOWBIT_ARGUMENT', 'no rows')
  await refuses(run({ tokens: [1], start: 0.5 }), 'LOWBIT_ARGUMENT', 'a fraction of a position')
  await refuses(run({ tokens: [1], start: 0, buffers: { x: new Float32Array(3) } }), 'LOWBIT_SHAPE', 'a buffer of another size')
  await refuses(() => first.read('nothing'), 'LOWBIT_ARGUMENT', 'an unknown buffer')
  check(Float32Array.from((await first.run({ tokens: [3], start: 2 })).data).every((v, i) => v === wanted[i]), 'a refused run changed something')
  const lone: Program = { ...EMPTY, matrices: { m: { rows: 8, columns: 32 } }, buffers: { x: { width: 32, rows: 'wanted' }, y: { width: 8, rows: 'wanted' } }, steps: [{ op: 'linear', from: 'x', products: [{ matrix: 'm', to: 'y' }] }] }
  const bindings = { matrices: { m: toyGrouped(8, 32, 1) }, vectors: {} }
  {
    using compiled = await compile(kernels, lone, bindings)
    for (const value of [NaN, Infinity, -Infinity]) {
      const x = normals(96, 1)
      x[70] = value
      await refuses(() => compiled.run({ rows: 3, start: 0, wanted: 3, buffers: { x } }), 'LOWBIT_NONFINITE', `an activation of ${value}`)
    }
    near((await compiled.run({ rows: 1, start: 0, buffers: { x: normals(32, 1) } })).data, referenceProgram(lone, bindings).run({ rows: 1, start: 0, buffers: { x: normals(32, 1) } }), STEP_ERROR)
  }
  await refuses(() => compile(kernels, { ...lone, steps: [{ op: 'linear', from: 'x', products: [{ matrix: 'm', to: 'x' }] }] }, bindings), 'LOWBIT_SHAPE', 'a result of another width')
  await refuses(() => compile(kernels, lone, { matrices: { m: toyFloats('', 8, 31, 1) }, vectors: {} }), 'LOWBIT_SHAPE', 'weights of another shape')
  await refuses(() => compile(kernels, { ...lone, output: 'z' }, bindings), 'LOWBIT_ARGUMENT', 'an unknown output')
  await refuses(() => compile(kernels, { ...lone, matrices: { m: { rows: 8, columns: 32 }, n: { rows: 1, columns: 1 } } }, bindings), 'LOWBIT_ARGUMENT', 'an unbound matrix')
  const absent = (['embed', 'attention', 'rope'] as const).find((op) => !supports.ops.includes(op))
  if (absent === undefined) await refuses(() => compile(kernels, { ...lone, context: 2 ** 40, caches: { c: { heads: 1, size: 64, type: 'float32' } } }, bindings), 'LOWBIT_LIMIT', 'a cache that no memory holds')
  const weights = kernels.prepack(toyGrouped(8, 32, 1))
  weights.dispose()
  await refuses(() => kernels.programs?.compile(lone, { matrices: { m: weights }, vectors: {} }), 'LOWBIT_DISPOSED', 'freed weights')
  first.dispose()
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
