import { type Batch, type BatchSource, DifferenceMeter, throwIfAborted } from '@lowbit/core'
import { type Graph, NEWEST_OPSET, upgradeOpset } from '@lowbit/onnx'
import type { OnnxHost } from '../host/onnx-host.js'
import { COMPARE_OPTIONS, type CompareOptions } from './options.js'
import { splice } from './splice.js'
import { toNumbers } from './values.js'

/**
 * The damage each site does alone, worst first: SQNR of the reference's outputs with only this site computed as in the
 * candidate. Sites that both compute alike, or that the candidate computes from other tensors, are not listed.
 */
export async function rankLayers(a: OnnxHost, b: OnnxHost, data: BatchSource, options: CompareOptions): Promise<readonly { readonly id: string; readonly sqnr: number }[]> {
  const batches: Batch[] = []
  for await (const batch of data) {
    if (batches.length >= (options.layerBatches ?? COMPARE_OPTIONS.layerBatches.default)) break
    batches.push(batch)
  }
  const expected: Batch[] = []
  for (const batch of batches) expected.push(await a.run(batch))
  const candidate = b.graphNow()
  const sites = a.sites()
  const ranked: { id: string; sqnr: number }[] = []
  for (const [i, site] of sites.entries()) {
    throwIfAborted(options.signal, `ranking of site '${site.id}'`)
    options.onProgress?.({ phase: 'compare', done: i, total: sites.length, item: site.id })
    const graph = a.graphNow()
    // What is spliced in is of the candidate's opset.
    upgradeOpset(graph, Math.min(candidate.opset(), NEWEST_OPSET))
    const output = sharedOutput(graph, candidate, site.output.name)
    const own = graph.producer(output)
    const other = candidate.producer(output)
    if (own === undefined || other === undefined) continue
    // The same operator on a weight of the same name and element type is the same site, left in float.
    const [mine, theirs] = [own, other].map((node, n) => (n === 0 ? graph : candidate).constant(node.input.find((name) => name === site.weight.name) ?? ''))
    if (own.opType === other.opType && mine !== undefined && theirs !== undefined && sameBytes(mine.rawData, theirs.rawData)) continue
    if (!splice(graph, candidate, site.input.name, output)) continue
    const session = await a.openGraph(graph)
    try {
      const meter = new DifferenceMeter()
      for (const [n, batch] of batches.entries()) {
        const got = await session.run(batch)
        for (const [name, value] of Object.entries(expected[n] ?? {})) {
          const found = got[name]
          if (found !== undefined) meter.add(toNumbers(value), toNumbers(found))
        }
      }
      ranked.push({ id: site.id, sqnr: meter.result().sqnr })
    } finally {
      await session.release()
    }
  }
  options.onProgress?.({ phase: 'compare', done: sites.length, total: sites.length })
  return ranked.sort((x, y) => x.sqnr - y.sqnr)
}

/** The site's output, or what follows it alone: a static model drops a Relu whose limits its quantization has anyway. */
function sharedOutput(reference: Graph, candidate: Graph, output: string): string {
  for (let name = output; ; ) {
    if (candidate.producer(name) !== undefined) return name
    const [reader, ...others] = reference.consumers(name)
    if (reader === undefined || others.length > 0 || reader.output.length !== 1) return output
    name = reader.output[0]
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
