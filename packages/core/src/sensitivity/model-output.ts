import type { BatchSource, ModelHost } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'
import { DifferenceMeter } from '../report/measures.js'

/** Outputs of a model over data, and how far other outputs are from them. */
export class ModelOutputs {
  readonly #host: ModelHost
  readonly #data: BatchSource
  readonly #reference: readonly (readonly Float64Array[])[]

  private constructor(host: ModelHost, data: BatchSource, reference: readonly (readonly Float64Array[])[]) {
    this.#host = host
    this.#data = data
    this.#reference = reference
  }

  /** Keeps the outputs of the model as it stands. */
  static async of(host: ModelHost, data: BatchSource): Promise<ModelOutputs> {
    const reference = await outputsOf(host, data)
    if (reference.length === 0) throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'calibration data', found: 'no batches', expected: 'at least one', fix: 'pass typical inputs; a few dozen are enough' })
    return new ModelOutputs(host, data, reference)
  }

  /** Squared error over power of what the model puts out now; values that are not finite count as wherever outputs are compared. */
  async damage(): Promise<number> {
    const meter = new DifferenceMeter()
    for (const [b, outputs] of (await outputsOf(this.#host, this.#data)).entries()) {
      for (const [o, values] of outputs.entries()) meter.add(this.#reference[b][o], values)
    }
    const { signal, noise } = meter.energies()
    return ratio(noise, signal)
  }
}

async function outputsOf(host: ModelHost, data: BatchSource): Promise<readonly (readonly Float64Array[])[]> {
  const all: Float64Array[][] = []
  for await (const batch of data) {
    const outputs = await host.run(batch)
    all.push(Object.keys(outputs).sort().map((name) => Float64Array.from({ length: outputs[name].data.length }, (_, i) => Number(outputs[name].data[i]))))
  }
  return all
}

/** Noise over power; 0 without noise, whatever the power. */
export const ratio = (noise: number, power: number): number => (noise === 0 ? 0 : noise / power)
