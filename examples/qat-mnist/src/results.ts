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
 * Results by row and seed, and the float models' weights, in a folder, a file each: a run that is cut off goes on where it was, and
 * two may run side by side. A result is known by everything it follows from (settings, recipe, seed), so that a changed recipe is
 * trained anew.
 */
export class Results {
  readonly #folder: string | undefined

  private constructor(folder: string | undefined) {
    this.#folder = folder
  }

  static async open(folder?: string): Promise<Results> {
    if (folder !== undefined) await mkdir(folder, { recursive: true })
    return new Results(folder)
  }

  async get(key: readonly unknown[]): Promise<Result | undefined> {
    if (this.#folder === undefined) return undefined
    const text = await readFile(join(this.#folder, `${id(key)}.json`), 'utf8').catch(() => undefined)
    return text === undefined ? undefined : (JSON.parse(text) as Result)
  }

  async set(key: readonly unknown[], result: Result): Promise<Result> {
    await this.#write(`${id(key)}.json`, JSON.stringify(result))
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
