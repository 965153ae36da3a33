import type { BatchSource, ModelHost } from '../contract/v2/host.js'

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
    return new ModelOutputs(host, data, await outputsOf(host, data))
  }

  /** Squared error over power of what the model puts out now. */
  async damage(): Promise<number> {
    let noise = 0
    let power = 0
    for (const [b, outputs] of (await outputsOf(this.#host, this.#data)).entries()) {
      for (const [o, values] of outputs.entries()) {
        const reference = this.#reference[b][o]
        for (let i = 0; i < values.length; i++) {
          noise += (values[i] - reference[i]) ** 2
          power += reference[i] ** 2
        }
      }
    }
    return ratio(noise, power)
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
