import { type ActivationParams, dequantize, type QTensor } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { addConstant, addFloats } from '../emit/constants.js'
import { dequantizeDomain } from '../emit/dequantize-weight.js'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { type SiteRecord, writeRows } from '../sites/index.js'

/** Puts the values that codes stand for in the place of float weights. */
export function fakeQuantizeWeights(graph: Graph, records: readonly SiteRecord[], assigned: ReadonlyMap<string, QTensor>): void {
  for (const [owner, q] of assigned) {
    writeRows(graph, records.filter((r) => (r.site.tiedTo ?? r.site.id) === owner), dequantize(q).data)
  }
}

/** Rounds activations: QuantizeLinear and DequantizeLinear between a tensor and all that read it. */
export function fakeQuantizeActivations(graph: Graph, activations: ReadonlyMap<string, ActivationParams>): void {
  for (const [name, { dtype, scale, zeroPoint }] of activations) {
    const domain = dequantizeDomain(graph, dtype, false, 'float32')
    if (domain === MICROSOFT) graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
    const array = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array }[dtype]
    const params = [addFloats(graph, `${name}_scale`, Float32Array.of(scale), []), addConstant(graph, `${name}_zero_point`, { dtype, shape: [], data: array.of(zeroPoint) })]
    const codes = graph.freshName(`${name}_codes`)
    const rounded = graph.freshName(`${name}_rounded`)
    const quantize = node('QuantizeLinear', [name, ...params], [codes], {}, domain)
    graph.replaceUses(name, rounded)
    graph.addNode(quantize, node('DequantizeLinear', [codes, ...params], [rounded], {}, domain))
  }
}
