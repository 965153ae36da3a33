import { LowbitError, type TrainingBackend } from '@lowbit/core'

/** A value that lives over training steps. Its numbers are on the host; the backend has a copy to compute with. */
export interface Parameter {
  readonly name: string
  readonly shape: readonly number[]
  /** `scale`: of a fake quantization; `state`: changed by forward passes, not by the optimizer. */
  readonly kind: 'matrix' | 'vector' | 'scale' | 'adapter' | 'state'
  readonly values: Float32Array
}

/** All values that a model trains or keeps, in the order in which they were added. */
export class Parameters<T> {
  readonly #backend: TrainingBackend<T>
  readonly #held = new Map<string, { readonly parameter: Parameter; tensor: T }>()
  /** Written by forward passes since the last {@link settle}. */
  readonly #written = new Set<string>()

  constructor(backend: TrainingBackend<T>) {
    this.#backend = backend
  }

  /** @throws LOWBIT_SHAPE if sizes and values do not fit each other. */
  add(parameter: Parameter): void {
    const count = parameter.shape.reduce((a, b) => a * b, 1)
    if (count !== parameter.values.length) throw new LowbitError('LOWBIT_SHAPE', { thing: parameter.name, found: `${parameter.values.length} values for [${parameter.shape.join(', ')}]`, expected: String(count) })
    this.#held.set(parameter.name, { parameter, tensor: this.#make(parameter) })
  }

  has(name: string): boolean {
    return this.#held.has(name)
  }

  list(): readonly Parameter[] {
    return [...this.#held.values()].map(({ parameter }) => parameter)
  }

  get(name: string): Parameter {
    return this.#find(name).parameter
  }

  tensor(name: string): T {
    return this.#find(name).tensor
  }

  /** The backend's copy again, after the host's values were changed. */
  refresh(name: string): void {
    const held = this.#find(name)
    this.#backend.release(held.tensor)
    held.tensor = this.#make(held.parameter)
  }

  /** What a forward pass changed, at once. The host's values follow with {@link settle}. */
  write(name: string, value: T): void {
    const held = this.#find(name)
    const kept = this.#backend.keep(this.#backend.ops.stopGradient(value))
    // Steps that were recorded may still read the old one: it goes when they are done.
    this.#replaced.push(held.tensor)
    held.tensor = kept
    this.#written.add(name)
  }

  readonly #replaced: T[] = []

  /** Reads back what forward passes wrote, and frees what they replaced. */
  async settle(): Promise<void> {
    for (const tensor of this.#replaced.splice(0)) this.#backend.release(tensor)
    for (const name of this.#written) {
      const { parameter, tensor } = this.#find(name)
      parameter.values.set(await this.#backend.read(tensor))
    }
    this.#written.clear()
  }

  dispose(): void {
    for (const tensor of this.#replaced.splice(0)) this.#backend.release(tensor)
    for (const { tensor } of this.#held.values()) this.#backend.release(tensor)
    this.#held.clear()
  }

  #make({ values, shape }: Parameter): T {
    return this.#backend.keep(this.#backend.ops.constant(values.slice(), shape))
  }

  #find(name: string): { readonly parameter: Parameter; tensor: T } {
    const found = this.#held.get(name)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'training parameter', found: name, expected: [...this.#held.keys()].slice(0, 20).join(', ') })
    return found
  }
}
