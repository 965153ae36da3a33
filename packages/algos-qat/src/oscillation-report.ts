import { oscillationVariable } from './oscillation.js'

/** How restless the weights of one layer are. */
export interface OscillationReport {
  readonly layer: string
  readonly weights: number
  /** Share of weights whose frequency is over the threshold. */
  readonly oscillating: number
  /** Share of weights that are frozen. */
  readonly frozen: number
  readonly highestFrequency: number
}

/**
 * Reads the tracker of one layer.
 * @param read values of the fake quantization's variables
 * @param threshold frequency from which a weight counts as oscillating. Default 0.005.
 * @returns undefined if the layer's estimator is not wrapped by {@link withOscillation}
 */
export function oscillationReport(layer: string, read: (name: string) => Float32Array | undefined, threshold = 0.005): OscillationReport | undefined {
  const frequency = read(oscillationVariable('frequency'))
  const frozen = read(oscillationVariable('frozen'))
  if (frequency === undefined || frozen === undefined) return undefined
  const share = (values: Float32Array, test: (v: number) => boolean): number => values.reduce((n, v) => n + Number(test(v)), 0) / values.length
  return {
    layer,
    weights: frequency.length,
    oscillating: share(frequency, (f) => f > threshold),
    frozen: share(frozen, (f) => f > 0),
    highestFrequency: frequency.reduce((m, f) => Math.max(m, f), 0),
  }
}

/** What a report needs of a prepared model: its layers' ids, and the variables of their weights' fake quantization. */
export interface WatchedModel {
  readonly sites: readonly { readonly site: { readonly id: string }; readonly weight?: { readonly held: { readonly names: readonly string[]; read(name: string): Float32Array } } }[]
}

/** Reports every layer of a prepared model whose weights are tracked. @param threshold as in {@link oscillationReport} */
export function oscillationReports({ sites }: WatchedModel, threshold?: number): readonly OscillationReport[] {
  return sites.flatMap(({ site, weight }) => {
    if (weight === undefined) return []
    const { held } = weight
    const report = oscillationReport(site.id, (name) => (held.names.includes(name) ? held.read(name) : undefined), threshold)
    return report === undefined ? [] : [report]
  })
}
