import { hasDType, isRescueResult, LowbitError, parseJsonText, type CalibrationIdentity, type GramStatistic, type HistogramStatistic, type HostTensor, type RangeStatistic, type RescueResult, type StatisticName, type StatisticValues } from '@lowbit/core'
import { readSafetensors, writeSafetensors, type SafetensorsFile } from './safetensors.js'

/** Statistics by key, each with its name. */
export type CalibrationEntries = ReadonlyMap<string, { readonly statistic: StatisticName; readonly value: StatisticValues[StatisticName] }>

/** What calibration found, and what it was made from. */
export interface CalibrationRecord {
  readonly identity: CalibrationIdentity
  readonly statistics: CalibrationEntries
  readonly rescues: ReadonlyMap<string, RescueResult>
}

const LAYOUT = '1'
/** More entries than any model has activations and sites. */
const MAX_ENTRIES = 1 << 20

/** A calibration as a safetensors file: arrays as tensors `index.field`, the rest as JSON in the metadata. */
export function encodeCalibration({ identity, statistics, rescues }: CalibrationRecord): Uint8Array<ArrayBuffer> {
  const tensors: Record<string, HostTensor> = {}
  const entries = [...statistics].map(([key, { statistic, value }], index) => {
    const numbers: Record<string, number> = {}
    // A tensor is kept as one; of the others, numbers and arrays by field.
    if ('dtype' in value) tensors[`${index}.tensor`] = value
    else {
      for (const [field, part] of Object.entries(value)) {
        if (typeof part === 'number') numbers[field] = part
        else tensors[`${index}.${field}`] = part instanceof Float64Array ? { dtype: 'float64', shape: [part.length], data: part.slice() } : { dtype: 'float32', shape: [part.length], data: part.slice() }
      }
    }
    return [key, statistic, numbers]
  })
  return writeSafetensors(tensors, { 'lowbit.calibration': LAYOUT, identity: JSON.stringify(identity), statistics: JSON.stringify(entries), rescues: JSON.stringify([...rescues]) })
}

/**
 * Reads {@link encodeCalibration} back. Everything is checked: the file may come from anywhere.
 * @throws LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_VERSION
 */
export function decodeCalibration(bytes: Uint8Array, thing = 'calibration'): CalibrationRecord {
  const file = readSafetensors(bytes, thing)
  const version = file.metadata['lowbit.calibration']
  if (version === undefined) throw wrong(thing, 'a safetensors file without statistics')
  if (version !== LAYOUT) throw new LowbitError('LOWBIT_VERSION', { thing, found: `version ${version} of the format`, expected: LAYOUT, fix: 'delete it: it will be made again' })
  const identity = parse(file, 'identity', thing)
  if (!isIdentity(identity)) throw wrong(thing, 'no identity')
  const entries = parse(file, 'statistics', thing)
  if (!Array.isArray(entries) || entries.length > MAX_ENTRIES) throw wrong(thing, 'no list of statistics')
  const statistics = new Map<string, { statistic: StatisticName; value: StatisticValues[StatisticName] }>()
  entries.forEach((entry: unknown, index) => {
    if (!Array.isArray(entry)) throw wrong(thing, `entry ${index} is no list`)
    const [key, name, numbers] = entry as readonly unknown[]
    if (typeof key !== 'string' || !isStatisticName(name) || !isObject(numbers)) throw wrong(thing, `entry ${index} names no statistic`)
    statistics.set(key, { statistic: name, value: new EntryReader(file, index, numbers, thing).read(name) })
  })
  const rescues = parse(file, 'rescues', thing)
  if (!Array.isArray(rescues)) throw wrong(thing, 'no list of rescues')
  return { identity, statistics, rescues: new Map(rescues.map((entry: unknown) => rescueEntry(entry, thing))) }
}

function rescueEntry(entry: unknown, thing: string): readonly [string, RescueResult] {
  const [key, result] = Array.isArray(entry) ? (entry as readonly unknown[]) : []
  if (typeof key !== 'string' || !isRescueResult(result)) throw wrong(thing, 'a rescue that is none')
  return [key, result]
}

/** Puts one statistic together from its tensors and numbers. */
class EntryReader {
  readonly #file: SafetensorsFile
  readonly #index: number
  readonly #numbers: Record<string, unknown>
  readonly #thing: string

  constructor(file: SafetensorsFile, index: number, numbers: Record<string, unknown>, thing: string) {
    this.#file = file
    this.#index = index
    this.#numbers = numbers
    this.#thing = thing
  }

  read(name: StatisticName): StatisticValues[StatisticName] {
    switch (name) {
      case 'range': return this.#range()
      case 'histogram': return this.#histogram()
      case 'gram':
      case 'cross-gram': return this.#gram()
      default: return this.#tensor()
    }
  }

  #range(): RangeStatistic {
    const min = this.#array('min', 'float32')
    const max = this.#array('max', 'float32')
    if (min.length !== max.length) throw this.#wrong('as many minima as maxima')
    min.forEach((low, i) => this.#ordered(low, max[i]))
    return { min, max, count: this.#count('count') }
  }

  #histogram(): HistogramStatistic {
    const counts = this.#array('counts', 'float64')
    const [low, high, min, max] = ['low', 'high', 'min', 'max'].map((field) => this.#number(field))
    this.#ordered(low, high)
    this.#ordered(min, max)
    if (counts.length === 0 || counts.some((c) => c < 0)) throw this.#wrong('counts')
    return { counts, low, high, min, max, count: this.#count('count') }
  }

  #gram(): GramStatistic {
    const groups = this.#count('groups')
    const size = this.#count('size')
    const stored = this.#read('data')
    if (!hasDType(stored, 'float32') && !hasDType(stored, 'float64')) throw this.#wrong('a matrix of floats')
    const data = stored.data.slice()
    if (data.length !== groups * size * size || !data.every(Number.isFinite)) throw this.#wrong(`${groups} finite matrices of ${size} × ${size}`)
    return { data, groups, size, rows: this.#count('rows') }
  }

  #tensor(): HostTensor<'float32'> {
    const found = this.#read('tensor')
    if (!hasDType(found, 'float32') || !found.data.every(Number.isFinite)) throw this.#wrong('finite floats')
    return { ...found, data: found.data.slice() }
  }

  #array<D extends 'float32' | 'float64'>(field: string, dtype: D): HostTensor<D>['data'] {
    const found = this.#read(field)
    if (!hasDType(found, dtype)) throw this.#wrong(`${dtype} '${field}'`)
    if (!found.data.every((v) => Number.isFinite(v))) throw this.#wrong(`finite '${field}'`)
    // A copy: a view would keep the whole file in memory.
    return found.data.slice() as HostTensor<D>['data']
  }

  #read(field: string): HostTensor {
    return this.#file.read(`${this.#index}.${field}`)
  }

  #number(field: string): number {
    const value = this.#numbers[field]
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#wrong(`a number '${field}'`)
    return value
  }

  #count(field: string): number {
    const value = this.#number(field)
    if (!Number.isSafeInteger(value) || value < 0) throw this.#wrong(`a count '${field}'`)
    return value
  }

  #ordered(low: number, high: number | undefined): void {
    if (!(low <= (high ?? NaN))) throw this.#wrong('a lower limit that is not above the upper')
  }

  #wrong(expected: string): LowbitError {
    return new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `entry ${this.#index} does not hold what it says`, expected, fix: 'delete it: it will be made again' })
  }
}

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples']

function isStatisticName(value: unknown): value is StatisticName {
  return STATISTICS.some((name) => name === value)
}

function isIdentity(value: unknown): value is CalibrationIdentity {
  return isObject(value) && typeof value['model'] === 'string' && typeof value['data'] === 'string' && typeof value['made'] === 'string' && isObject(value['settings'])
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parse(file: SafetensorsFile, field: string, thing: string): unknown {
  try {
    return parseJsonText(file.metadata[field] ?? '')
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: `'${field}' is no JSON`, expected: 'statistics that lowbit kept', cause })
  }
}

function wrong(thing: string, found: string): LowbitError {
  return new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'statistics that lowbit kept', fix: 'name another file, or delete it: it will be made again' })
}
