import type { Report } from '@lowbit/core'

/** Data of the nodes of one graph, as Model Explorer reads it from a file. */
export interface NodeData {
  /** By the name of an output tensor, or the id of a node. */
  readonly results: Readonly<Record<string, { readonly value: number }>>
  readonly gradient: readonly { readonly stop: number; readonly bgColor: string }[]
}

/**
 * The error of every quantized site, dB, for Model Explorer's custom node data: the worst are red.
 * @param outputs - site id → name of the tensor that the site makes, which Model Explorer knows its node by
 */
export function modelExplorerData(report: Report, outputs: ReadonlyMap<string, string>): NodeData {
  const results = report.sites.flatMap(({ id, status, outputSqnr, weightSqnr }) => {
    const value = outputSqnr ?? weightSqnr
    return status === 'quantized' && value !== undefined ? [[outputs.get(id) ?? id, { value: Math.round(value * 100) / 100 }] as const] : []
  })
  return { results: Object.fromEntries(results), gradient: [{ stop: 0, bgColor: '#f4a19a' }, { stop: 0.5, bgColor: '#fbe5b6' }, { stop: 1, bgColor: '#b9e5cd' }] }
}
