import type { ModelConfig } from '../config/model-config.js'
import { partsOf, type Part } from '../forward/parts.js'
import { matrixFloats } from '../weights/matrix.js'
import type { WeightSource } from '../weights/weight-source.js'
import { applyEdits, withEdit, type MatrixEdit } from './edits.js'

/**
 * A model as it was opened, and what was changed since. Matrices are read when they are asked for and changed on the way, so that
 * only what replaced one is in memory; gains and biases are small and held.
 */
export class ModelState {
  readonly config: ModelConfig
  readonly source: WeightSource
  readonly parts: ReadonlyMap<string, Part>
  /** Gains and biases as opened. */
  readonly originalVectors: ReadonlyMap<string, Float32Array>
  readonly #vectors: Map<string, Float32Array>
  readonly #edits = new Map<string, readonly MatrixEdit[]>()

  private constructor(source: WeightSource, vectors: ReadonlyMap<string, Float32Array>) {
    this.source = source
    this.config = source.config
    this.parts = new Map(partsOf(source.config).map((part) => [part.name, part]))
    this.originalVectors = vectors
    this.#vectors = new Map(vectors)
  }

  /** Reads gains and biases. @throws what the source throws */
  static async open(source: WeightSource): Promise<ModelState> {
    const vectors = new Map<string, Float32Array>()
    for (const part of partsOf(source.config)) if (part.kind === 'vector') vectors.set(part.name, await source.vector(part))
    return new ModelState(source, vectors)
  }

  get vectors(): ReadonlyMap<string, Float32Array> {
    return this.#vectors
  }

  setVector(name: string, values: Float32Array): void {
    this.#vectors.set(name, values)
  }

  edit(part: string, edit: MatrixEdit): void {
    this.#edits.set(part, withEdit(this.#edits.get(part), edit))
  }

  isChanged(part: string): boolean {
    return this.#edits.has(part)
  }

  /** What was changed up to now: later changes leave it alone. */
  edits(): ReadonlyMap<string, readonly MatrixEdit[]> {
    return new Map(this.#edits)
  }

  /** A matrix in float32, a copy. @param edits - default: the present ones; none: as opened */
  async floats(part: Part, edits: ReadonlyMap<string, readonly MatrixEdit[]> = this.#edits): Promise<Float32Array<ArrayBuffer>> {
    const own = edits.get(part.name)
    const last = own?.[0]
    // What was replaced need not be read.
    const weight = last?.kind === 'replace' ? Float32Array.from(last.weight) : Float32Array.from(matrixFloats(await this.source.matrix(part)).data)
    if (own !== undefined) applyEdits(weight, part.shape[0], part.shape[1], last?.kind === 'replace' ? own.slice(1) : own)
    return weight
  }
}
