import type { QTensor } from '@lowbit/core'
import { node } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { pointWeightAt, type SiteRecord, siteNode } from '../sites/index.js'
import { addConstant, addFloats } from './constants.js'
import { hostType, plainGranularity, storedArray, wholeZeroPoints } from './stored-codes.js'

/** ONNX element type numbers that Cast takes. */
const CAST = { float32: 1, float16: 10 } as const

/** True if {@link gatherCodes} can write the scheme: 8-bit codes, one scale or one an entry, whole zero points. */
export function isGatherable(weight: QTensor): boolean {
  const { dtype, granularity, zeroPoint } = plainGranularity(weight).scheme
  return (dtype === 'int8' || dtype === 'uint8') && granularity.kind !== 'group' && zeroPoint !== 'float'
}

/**
 * An embedding that looks 8-bit codes up and scales what it found: `Cast(Gather(codes)) · Gather(scales)`. Dequantizing the
 * table first would touch every entry on every run.
 */
export function gatherCodes(graph: Graph, sites: readonly SiteRecord[], weight: QTensor): void {
  const [owner] = sites
  if (owner === undefined) return
  const q = plainGranularity(weight)
  const type = q.scheme.dtype === 'uint8' ? 'uint8' : 'int8'
  const base = `${owner.site.weight.name}_q`
  const perEntry = q.scheme.granularity.kind === 'channel'
  const shape = perEntry ? [owner.matrix.rows, 1] : []
  const codes = addConstant(graph, base, { dtype: hostType(type), shape: owner.matrix.shape, data: storedArray(type, q.codes) }, type)
  const scales = addFloats(graph, `${base}_scale`, new Float32Array(q.params.scales), shape, owner.floatType)
  const zeros = wholeZeroPoints(q)
  const zeroPoints = zeros === undefined ? undefined : addFloats(graph, `${base}_zero_point`, Float32Array.from(zeros), shape, owner.floatType)
  for (const record of sites) {
    const gather = siteNode(graph, record)
    const indices = gather.input[record.dataInput] ?? ''
    const { id } = record.site
    const last = graph.detachOutput(gather, 0)
    const found = record.anchor
    record.anchor = last
    const add = (op: string, inputs: readonly string[], out: string, attributes: Parameters<typeof node>[3] = {}): string => {
      graph.addNode(node(op, inputs, [out], attributes, '', graph.freshName(`${id}/${op}`)))
      return out
    }
    const lookUp = (table: string): string => (perEntry ? add('Gather', [table, indices], graph.freshName(`${table}_found`), { axis: 0 }) : table)
    let value = add('Cast', [last], graph.freshName(`${found}_float`), { to: CAST[record.floatType] })
    if (zeroPoints !== undefined) value = add('Sub', [value, lookUp(zeroPoints)], graph.freshName(`${found}_centred`))
    add('Mul', [value, lookUp(scales)], found)
  }
  pointWeightAt(graph, sites, codes)
}
