import { intAttribute, node } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { constantChain } from './constant-chain.js'

/** Moves the transpose of a Gemm's input out of it, so that every matrix site reads rows with its channels last. */
export function untransposeGemms(graph: Graph): void {
  for (const gemm of graph.nodes()) {
    if (!isOp(gemm, 'Gemm') || intAttribute(gemm, 'transA', 0) === 0 || constantChain(graph, gemm.input[1] ?? '') === undefined) continue
    const input = gemm.input[0] ?? ''
    const turned = graph.freshName(`${input}_transposed`)
    graph.addNode(node('Transpose', [input], [turned], { perm: [1, 0] }, '', graph.freshName(`${gemm.name}/Transpose`)))
    graph.setInput(gemm, 0, turned)
    gemm.attribute = gemm.attribute.filter((a) => a.name !== 'transA')
  }
}
