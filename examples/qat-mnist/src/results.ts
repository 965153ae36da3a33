import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Deployed } from './deploy.js'

/** What one training or rounding gave. */
export interface Result {
  /** Percent of the test digits. */
  readonly accuracy: number
  readonly deployed?: Deployed
  /** `[step, loss]`, the moving mean of the loss. */
  readonly curve?: readonly (readonly [number, number])[]
}

/**
 * Results by row and seed, and the float models' weights, in a folder: a run that is cut off goes on where it was. A result is known
 * by everything it follows from (settings, recipe, seed), so that a changed recipe is trained anew.
 */
export class Results {
  readonly #folder: string | undefined
  readonly #known = new Map<string, Result>()

  private constructor(folder: string | undefined) {
    this.#folder = folder
  }

  static async open(folder?: string): Promise<Results> {
    const results = new Results(folder)
    if (folder === undefined) return results
    await mkdir(folder, { recursive: true })
    const text = await readFile(join(folder, 'results.json'), 'utf8').catch(() => '{}')
    for (const [key, result] of Object.entries(JSON.parse(text) as Record<string, Result>)) results.#known.set(key, result)
    return results
  }

  get(key: readonly unknown[]): Result | undefined {
    return this.#known.get(id(key))
  }

  async set(key: readonly unknown[], result: Result): Promise<Result> {
    this.#known.set(id(key), result)
    await this.#write('results.json', JSON.stringify(Object.fromEntries(this.#known)))
    return result
  }

  /** Weights of a trained model, one after the other. */
  async weights(key: readonly unknown[]): Promise<Float32Array | undefined> {
    if (this.#folder === undefined) return undefined
    const bytes = await readFile(join(this.#folder, `${id(key)}.bin`)).catch(() => undefined)
    return bytes === undefined ? undefined : new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  }

  async keepWeights(key: readonly unknown[], values: Float32Array): Promise<void> {
    await this.#write(`${id(key)}.bin`, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }

  async #write(name: string, data: string | Uint8Array): Promise<void> {
    if (this.#folder === undefined) return
    const path = join(this.#folder, name)
    await writeFile(`${path}.tmp`, data)
    await rename(`${path}.tmp`, path)
  }
}

const id = (key: readonly unknown[]): string => createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 16)
