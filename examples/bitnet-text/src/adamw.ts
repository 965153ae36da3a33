import type { TrainState } from './checkpoint.js'
import type { Decoder, Tf } from './model.js'

/** AdamW on the host: the wasm backend's memory is the host's, so nothing is gained by staying there. */
export interface AdamW {
  update(gradients: Readonly<Record<string, { dataSync(): ArrayLike<number>; dispose(): void }>>, learningRate: number, weightDecay: number): void
  /** Values and moments as they stand, not copied. */
  slots(): TrainState['slots']
  /** Takes up a training after `steps` updates. @throws if the variables have other sizes */
  resume(slots: TrainState['slots'], steps: number): void
}

export function adamW(tf: Tf, model: Decoder, { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, clip = 1 } = {}): AdamW {
  const slots = model.variables.map((variable) => ({ variable, values: Float32Array.from(variable.dataSync()), m: new Float32Array(variable.size), v: new Float32Array(variable.size), decays: variable.rank > 1 }))
  let t = 0
  return {
    update(gradients, learningRate, weightDecay) {
      t++
      const flat = slots.map(({ variable }) => gradients[variable.name]?.dataSync())
      const norm = Math.sqrt(flat.reduce((sum, g) => sum + (g === undefined ? 0 : Array.prototype.reduce.call(g, (a: unknown, b: unknown) => Number(a) + Number(b) ** 2, 0) as number), 0))
      const scale = norm > clip ? clip / norm : 1
      const rate = (learningRate * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t)
      slots.forEach(({ variable, values, m, v, decays }, s) => {
        const g = flat[s]
        if (g === undefined) return
        const keep = decays ? 1 - learningRate * weightDecay : 1
        for (let i = 0; i < values.length; i++) {
          const gradient = g[i] * scale
          m[i] = beta1 * m[i] + (1 - beta1) * gradient
          v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient
          values[i] = values[i] * keep - (rate * m[i]) / (Math.sqrt(v[i]) + epsilon)
        }
        const next = tf.tensor(values.slice(), variable.shape)
        variable.assign(next)
        next.dispose()
      })
      for (const gradient of Object.values(gradients)) gradient.dispose()
    },
    slots: () => slots.map(({ values, m, v }) => ({ values, m, v })),
    resume(from, steps) {
      t = steps
      slots.forEach(({ variable, values, m, v }, s) => {
        values.set(from[s].values)
        m.set(from[s].m)
        v.set(from[s].v)
        const next = tf.tensor(values.slice(), variable.shape)
        variable.assign(next)
        next.dispose()
      })
    },
  }
}
