import type { ModelHost, Site } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import type { HostTensor } from '../tensor.js'
import { traceOf, type TraceEstimate } from './hessian.js'
import type { ModelOutputs } from './model-output.js'

/** Length of a step along a probe, as a share of the weight's root mean square: large beside float32 rounding, small beside the weight. */
const STEP = 0.01

/**
 * Trace of the Hessian of the model's output damage with respect to one weight, by Hutchinson's estimator. At the float model the damage
 * and its gradient are 0, so `vᵀ H v = (L(w + h v) + L(w − h v)) / h²`: two runs a probe, and no gradient is asked of the host.
 * Leaves the weight as it was.
 */
export async function weightTrace(host: ModelHost, site: Site, weight: HostTensor<'float32'>, outputs: ModelOutputs, probes: number, seed: number, signal: AbortSignal | undefined): Promise<TraceEstimate> {
  const { data } = weight
  const size = Math.sqrt(data.reduce((s, w) => s + w * w, 0) / Math.max(1, data.length))
  const step = STEP * (size || 1)
  const random = signs(seed)
  const samples: number[] = []
  try {
    for (let p = 0; p < probes; p++) {
      throwIfAborted(signal, 'sensitivity')
      const probe = Int8Array.from({ length: data.length }, random)
      let sum = 0
      for (const way of [step, -step]) {
        await host.writeWeight(site.id, { ...weight, data: data.map((w, i) => w + way * probe[i]) })
        sum += await outputs.damage()
      }
      samples.push(sum / step ** 2)
    }
  } finally {
    await host.writeWeight(site.id, weight)
  }
  return traceOf(samples)
}

/** −1 and 1, each as likely (xorshift). */
function signs(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 16) & 1 ? 1 : -1
  }
}
