import { floatAttribute, node, type NodeProto } from '@lowbit/formats'
import { addFloats, type Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'

/**
 * `Gemm(A, B, C) = alpha · A · B' + beta · C` around another operator that makes `A · B'`. A is not transposed: see untransposeGemms.
 * @param product - makes that operator from its input and output
 * @returns the nodes in the place of the Gemm
 */
export function gemmAsMatMul(graph: Graph, gemm: NodeProto, record: SiteRecord, product: (input: string, output: string) => NodeProto | readonly NodeProto[]): NodeProto[] {
  const nodes: NodeProto[] = []
  const base = record.site.id
  const fresh = (role: string): string => graph.freshName(`${record.anchor}_${role}`)
  const scalar = (role: string, value: number): string => addFloats(graph, fresh(role), Float32Array.of(value), [], record.floatType)
  const alpha = floatAttribute(gemm, 'alpha', 1)
  const beta = floatAttribute(gemm, 'beta', 1)
  const added = gemm.input[2] ?? ''
  const hasBias = added !== '' && beta !== 0
  let value = alpha === 1 && !hasBias ? record.anchor : fresh('product')
  const made = product(gemm.input[0] ?? '', value)
  nodes.push(...('opType' in made ? [made] : made))
  if (alpha !== 1) {
    const scaled = hasBias ? fresh('scaled') : record.anchor
    nodes.push(node('Mul', [value, scalar('alpha', alpha)], [scaled], {}, '', graph.freshName(`${base}/Mul`)))
    value = scaled
  }
  if (hasBias) {
    let bias = added
    if (beta !== 1) {
      bias = fresh('bias')
      nodes.push(node('Mul', [added, scalar('beta', beta)], [bias], {}, '', graph.freshName(`${base}/Mul`)))
    }
    nodes.push(node('Add', [value, bias], [record.anchor], {}, '', graph.freshName(`${base}/Add`)))
  }
  return nodes
}
