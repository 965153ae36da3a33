import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** Where golden sets lie: `LOWBIT_GOLDENS=<folder>` points the same tests at other data of the same form. */
export const goldensFolder = (): string => process.env['LOWBIT_GOLDENS'] ?? fileURLToPath(new URL('../testdata/goldens', import.meta.url))

const ELEMENTS = {
  I8: { dtype: 'int8', array: Int8Array },
  U8: { dtype: 'uint8', array: Uint8Array },
  I16: { dtype: 'int16', array: Int16Array },
  U16: { dtype: 'uint16', array: Uint16Array },
  I32: { dtype: 'int32', array: Int32Array },
  U32: { dtype: 'uint32', array: Uint32Array },
  I64: { dtype: 'int64', array: BigInt64Array },
  F16: { dtype: 'float16', array: Uint16Array },
  F32: { dtype: 'float32', array: Float32Array },
  F64: { dtype: 'float64', array: Float64Array },
} as const

type Element = (typeof ELEMENTS)[keyof typeof ELEMENTS]
export type GoldenData = InstanceType<Element['array']>

/** A tensor of a golden set. `float16` holds raw bits: {@link goldenNumbers} reads them. */
export interface GoldenTensor {
  readonly name: string
  readonly dtype: Element['dtype']
  readonly shape: readonly number[]
  readonly data: GoldenData
}

export type Tolerance = 'exact' | string | { readonly abs?: number; readonly rel?: number; readonly fraction?: number }

/** One case of `cases.json`, both forms of it. Fields that only one set has are reached through `extra`. */
export interface GoldenCase {
  readonly id: string
  readonly op?: string
  readonly params: Readonly<Record<string, unknown>>
  /** Role → tensor name, or a list of names. */
  readonly inputs: Readonly<Record<string, string | readonly string[]>>
  readonly outputs: Readonly<Record<string, string>>
  readonly tolerance: Readonly<Record<string, Tolerance>>
  /** Present in place of outputs: the library raises. */
  readonly error?: unknown
  /** Recorded for knowledge, not to be matched. */
  readonly informative: boolean
  /** The case as it stands in the file. */
  readonly extra: Readonly<Record<string, unknown>>
}

export interface GoldenSet {
  readonly name: string
  readonly folder: string
  /** The whole of `cases.json`. */
  readonly file: Readonly<Record<string, unknown>>
  readonly cases: readonly GoldenCase[]
  tensor(name: string): GoldenTensor
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Reads the header of a safetensors file, checking each span against the file, and hands out copies of its tensors. */
function safetensors(path: string): (name: string) => GoldenTensor {
  const bytes = readFileSync(path)
  if (bytes.length < 8) throw new Error(`${path}: ${bytes.length} bytes, no header`)
  const headerLength = Number(bytes.readBigUInt64LE(0))
  if (headerLength > bytes.length - 8) throw new Error(`${path}: header of ${headerLength} bytes in a file of ${bytes.length}`)
  const header: unknown = JSON.parse(bytes.subarray(8, 8 + headerLength).toString('utf8'))
  if (!isRecord(header)) throw new Error(`${path}: header is not an object`)
  const start = 8 + headerLength
  const known = new Map<string, GoldenTensor>()
  return (name) => {
    const before = known.get(name)
    if (before !== undefined) return before
    const entry = header[name]
    if (!isRecord(entry)) throw new Error(`${path}: no tensor '${name}'`)
    const { dtype, shape, data_offsets: span } = entry
    const element = Object.entries(ELEMENTS).find(([key]) => key === dtype)?.[1]
    if (element === undefined) throw new Error(`${path}: tensor '${name}' has dtype ${String(dtype)}`)
    if (!Array.isArray(shape) || !shape.every((size: unknown) => Number.isSafeInteger(size) && Number(size) >= 0)) throw new Error(`${path}: tensor '${name}' has shape ${JSON.stringify(shape)}`)
    const sizes = shape.map(Number)
    const [from, to] = Array.isArray(span) ? span.map(Number) : []
    const length = sizes.reduce((a, b) => a * b, 1) * element.array.BYTES_PER_ELEMENT
    if (from === undefined || to === undefined || !(from >= 0) || to - from !== length || start + to > bytes.length) throw new Error(`${path}: tensor '${name}' of ${length} bytes lies at ${JSON.stringify(span)}`)
    const copy = bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to)
    const tensor: GoldenTensor = { name, dtype: element.dtype, shape: sizes, data: new element.array(copy) }
    known.set(name, tensor)
    return tensor
  }
}

function goldenCase(value: unknown): GoldenCase {
  if (!isRecord(value) || typeof value['id'] !== 'string') throw new Error(`not a golden case: ${JSON.stringify(value).slice(0, 200)}`)
  const params = isRecord(value['params']) ? value['params'] : {}
  return {
    id: value['id'],
    ...(typeof value['op'] === 'string' ? { op: value['op'] } : {}),
    params,
    inputs: (value['inputs'] ?? {}) as GoldenCase['inputs'],
    outputs: (value['outputs'] ?? {}) as GoldenCase['outputs'],
    tolerance: (value['tolerance'] ?? {}) as GoldenCase['tolerance'],
    ...('error' in value ? { error: value['error'] } : {}),
    informative: params['informative'] === true,
    extra: value,
  }
}

/** Loads a whole set: every case, and a reader for its tensors. */
export function loadGoldens(set: string): GoldenSet {
  const folder = join(goldensFolder(), set)
  const file: unknown = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))
  const cases: unknown = Array.isArray(file) ? file : isRecord(file) ? file['cases'] : undefined
  if (!Array.isArray(cases)) throw new Error(`${folder}/cases.json: no list of cases`)
  const tensors = join(folder, 'tensors.safetensors')
  return {
    name: set,
    folder,
    file: isRecord(file) ? file : {},
    cases: cases.map(goldenCase),
    tensor: existsSync(tensors) ? safetensors(tensors) : (name) => { throw new Error(`${tensors} is not there, tensor '${name}'`) },
  }
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

/** A tensor's elements as numbers: float16 bits decoded, int64 narrowed. */
export function goldenNumbers(tensor: { readonly dtype: string; readonly data: ArrayLike<number | bigint> }): Float64Array {
  const half = tensor.dtype === 'float16'
  return Float64Array.from({ length: tensor.data.length }, (_, i) => (half ? halfToNumber(Number(tensor.data[i])) : Number(tensor.data[i])))
}

/** A result to be compared: numbers, a tensor (its shape is compared too), or an own check where the tolerance is a sentence. */
export type GoldenResult = number | ArrayLike<number | bigint> | { readonly dtype: string; readonly shape: readonly number[]; readonly data: ArrayLike<number | bigint> } | ((want: GoldenTensor, tolerance: Tolerance | undefined) => void)

/** What is wrong with `got`, or undefined. */
export function difference(got: ArrayLike<number | bigint>, want: ArrayLike<number | bigint>, tolerance: Exclude<Tolerance, string> | 'exact'): string | undefined {
  if (got.length !== want.length) return `${got.length} elements, want ${want.length}`
  const { abs = 0, rel = 0, fraction = 1 } = tolerance === 'exact' ? {} : tolerance
  let wrong = 0
  let first = ''
  for (let i = 0; i < want.length; i++) {
    const g = Number(got[i])
    const w = Number(want[i])
    // `===` holds for -0 and 0, and for equal infinities, whose difference is NaN.
    const same = g === w || (Number.isNaN(g) && Number.isNaN(w)) || Math.abs(g - w) <= abs + rel * Math.abs(w)
    if (!same && wrong++ === 0) first = `[${i}] is ${g}, want ${w}`
  }
  if (wrong === 0 || 1 - wrong / want.length >= fraction) return undefined
  return `${wrong} of ${want.length} elements differ, first ${first} (tolerance ${JSON.stringify(tolerance)})`
}

/** Runs one case: role → result for every output role of the case. */
export type GoldenHandler = (golden: GoldenCase, set: GoldenSet) => Readonly<Record<string, GoldenResult>> | Promise<Readonly<Record<string, GoldenResult>>>

export interface GoldenOptions {
  /** What sort of case it is: picks the handler. Default: the first of `op`, `params.kind`, `.method`, `.granularity`. */
  readonly kindOf?: (golden: GoldenCase) => string
}

function defaultKind(golden: GoldenCase): string {
  const { params } = golden
  for (const kind of [golden.op, params['kind'], params['method'], params['granularity']]) if (typeof kind === 'string') return kind
  return 'unknown'
}

function compareRole(golden: GoldenCase, role: string, result: GoldenResult | undefined, want: GoldenTensor): void {
  const tolerance = golden.tolerance[role]
  if (result === undefined) throw new Error(`no result for output '${role}'`)
  if (typeof result === 'function') return result(want, tolerance)
  if (tolerance === undefined || (typeof tolerance === 'string' && tolerance !== 'exact')) throw new Error(`output '${role}' has the tolerance ${JSON.stringify(tolerance)}: it needs a check of its own`)
  const isTensor = typeof result === 'object' && 'data' in result
  if (isTensor) expect([...result.shape], `shape of '${role}'`).toEqual([...want.shape])
  const got = typeof result === 'number' ? [result] : isTensor ? goldenNumbers(result) : result
  const wrong = difference(got, goldenNumbers(want), tolerance as Exclude<Tolerance, string> | 'exact')
  if (wrong !== undefined) expect.fail(`output '${role}': ${wrong}`)
}

/**
 * Makes one test of each case of a set. A case of a kind that has no handler fails, and so does an output role that the
 * handler gives no result for: nothing of a set is passed over in silence. Informative cases are run, not matched.
 * For a case with `error` the handler makes its own assertions and returns no results.
 */
export function runGoldens(name: string, handlers: Readonly<Record<string, GoldenHandler>>, options: GoldenOptions = {}): void {
  const set = loadGoldens(name)
  const kindOf = options.kindOf ?? defaultKind
  describe(`goldens ${name}`, () => {
    it('has cases', () => expect(set.cases.length).toBeGreaterThan(0))
    it('names each case once', () => expect(new Set(set.cases.map((golden) => golden.id)).size).toBe(set.cases.length))
    for (const golden of set.cases) {
      it(golden.informative ? `${golden.id} (informative: not matched)` : golden.id, async () => {
        const kind = kindOf(golden)
        const handler = Object.hasOwn(handlers, kind) ? handlers[kind] : undefined
        if (handler === undefined) throw new Error(`no handler for cases of kind '${kind}'`)
        if (golden.informative) {
          await Promise.resolve(handler(golden, set)).catch(() => undefined)
          return
        }
        const results = await handler(golden, set)
        for (const [role, tensor] of Object.entries(golden.outputs)) compareRole(golden, role, results[role], set.tensor(tensor))
      })
    }
  })
}

/** The tensor in an input role that names one tensor. */
export function inputTensor(set: GoldenSet, golden: GoldenCase, role: string): GoldenTensor {
  const name = golden.inputs[role]
  if (typeof name !== 'string') throw new Error(`${golden.id}: input '${role}' is ${JSON.stringify(name)}`)
  return set.tensor(name)
}

/** An input role as f32: for weights and activations. */
export function inputFloats(set: GoldenSet, golden: GoldenCase, role: string): Float32Array {
  const { data, dtype } = inputTensor(set, golden, role)
  if (!(data instanceof Float32Array)) throw new Error(`${golden.id}: input '${role}' is ${dtype}, want float32`)
  return data
}

/** A check for outputs whose tolerance is a sentence that means: the same numbers. */
export function exactly(got: ArrayLike<number | bigint>): (want: GoldenTensor) => void {
  return (want) => {
    const wrong = difference(got, goldenNumbers(want), 'exact')
    if (wrong !== undefined) expect.fail(wrong)
  }
}
