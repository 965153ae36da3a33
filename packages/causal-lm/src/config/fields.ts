import { LowbitError } from '@lowbit/core'

/** The largest size that a configuration may name: products of two stay exact. */
const MAX_SIZE = 2 ** 26

/** Values of a configuration by key, each checked when asked for. A missing key falls back to the architecture's default. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>
  readonly #defaults: Readonly<Record<string, unknown>>
  readonly thing: string

  constructor(values: Readonly<Record<string, unknown>>, thing: string, defaults: Readonly<Record<string, unknown>> = {}) {
    this.#values = values
    this.#defaults = defaults
    this.thing = thing
  }

  /** Undefined for a key that is missing or null and has no default. */
  get(key: string): unknown {
    const value = Object.hasOwn(this.#values, key) ? this.#values[key] : undefined
    return value ?? (Object.hasOwn(this.#defaults, key) ? this.#defaults[key] : undefined)
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key) && this.#values[key] !== null && this.#values[key] !== undefined
  }

  /** A whole number of at least 1. */
  size(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > MAX_SIZE) throw this.wrong(key, value, `a whole number from 1 to ${MAX_SIZE}`)
    return value
  }

  optionalSize(key: string): number | undefined {
    return this.get(key) === undefined ? undefined : this.size(key)
  }

  /** A finite number above 0. */
  positive(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) throw this.wrong(key, value, 'a number above 0')
    return value
  }

  optionalPositive(key: string): number | undefined {
    return this.get(key) === undefined ? undefined : this.positive(key)
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'boolean') throw this.wrong(key, value, 'true or false')
    return value
  }

  text(key: string): string | undefined {
    const value = this.get(key)
    if (value !== undefined && typeof value !== 'string') throw this.wrong(key, value, 'a text')
    return value
  }

  /** An object of further fields. */
  fields(key: string): Fields | undefined {
    const value = this.get(key)
    if (value === undefined) return undefined
    if (!isRecord(value)) throw this.wrong(key, value, 'an object')
    return new Fields(value, `${this.thing}: ${key}`)
  }

  wrong(key: string, found: unknown, expected: string): LowbitError {
    return new LowbitError('LOWBIT_FORMAT', { thing: this.thing, found: found === undefined ? `no '${key}'` : `'${key}' is ${String(JSON.stringify(found)).slice(0, 80)}`, expected })
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
