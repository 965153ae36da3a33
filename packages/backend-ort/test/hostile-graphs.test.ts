import { openOnnx } from '@lowbit/backend-ort'
import { int4, int8, isLowbitError, quantize } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx, type NodeProto, type TensorProto } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'

const weight = (name: string, rows = 16, columns = 8): TensorProto =>
  hostToTensor(name, { dtype: 'float32', shape: [rows, columns], data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i)) })

/** What quantizing a damaged model in every weight-only way ends with: no error but lowbit's own, and none that lowbit did not foresee. */
async function outcomes(nodes: readonly NodeProto[], initializers: readonly TensorProto[] = [weight('w')], opset = 8): Promise<readonly string[]> {
  const bytes = writeOnnx(model(graph({ nodes, inputs: [valueInfo('x', 'float32', ['N', 16])], outputs: [valueInfo('y', 'float32')], initializers }), { '': opset }, 8))
  const seen: string[] = []
  for (const [format, weights] of [['dequantize', int8()], ['dynamic', int8()], ['matmul-nbits', int4({ group: 16 })], ['matmul-nbits', int8()]] as const) {
    const host = await openOnnx(bytes)
    try {
      await quantize(host, { format, weights })
      seen.push('fine')
    } catch (error) {
      seen.push(isLowbitError(error) ? error.code : String(error))
    } finally {
      await host.dispose()
    }
  }
  return seen
}

const expected = /^(fine|LOWBIT_(?!INTERNAL)\w+)$/

describe('graphs that no exporter makes', () => {
  it.each(['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__', 'isPrototypeOf', '__defineGetter__', 'toLocaleString'])('an operator named %s, in the main graph and in a body, is only unknown', async (op) => {
    const body = graph({ nodes: [node(op, ['a'], ['inner'])], inputs: [], outputs: [valueInfo('inner')] })
    for (const opset of [8, 11, 21]) {
      expect(await outcomes([node('MatMul', ['x', 'w'], ['a'], {}, '', 'mm'), node(op, ['a'], ['b']), node('If', ['c'], ['y'], { then_branch: body, else_branch: body })], [weight('w')], opset)).toEqual(['fine', 'fine', 'fine', 'fine'])
    }
  })

  it.each<[string, readonly NodeProto[], readonly TensorProto[]]>([
    ['a product that makes nothing', [node('MatMul', ['x', 'w'], [], {}, '', 'mm'), node('Relu', ['x'], ['y'])], [weight('w')]],
    ['a product whose result has no name', [node('MatMul', ['x', 'w'], [''], {}, '', 'mm'), node('Relu', ['x'], ['y'])], [weight('w')]],
    ['products without a weight beside a tensor without a name', ['MatMul', 'Gemm', 'Conv', 'ConvTranspose'].map((op, i) => node(op, ['x'], [i === 0 ? 'y' : `o${i}`], {}, '', op)), [weight('')]],
    ['products without any input', ['MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'Gather'].map((op, i) => node(op, [], [i === 0 ? 'y' : `o${i}`], {}, '', op)), [weight('w'), weight('')]],
    ['a product whose data has no name', [node('MatMul', ['', 'w'], ['y'], {}, '', 'mm')], [weight('w')]],
    ['a table without indices', [node('Gather', ['w'], ['y'], {}, '', 'emb')], [weight('w')]],
    ['a Transpose of two tensors, which leads to other sites', [node('MatMul', ['x', 'w'], ['q'], {}, '', 'q'), node('Gemm', ['q', 'w2'], ['gm'], {}, '', 'gemm'), node('Transpose', ['t', 'gm'], ['tt']), node('MatMul', ['q', 'tt'], ['y'], {}, '', 'head')], [weight('w'), weight('w2', 8, 8), weight('t', 8, 8)]],
    ['an Identity and a Reshape of too many', [node('MatMul', ['x', 'w'], ['q'], {}, '', 'q'), node('Identity', ['t', 'q'], ['i']), node('Reshape', ['i', 's', 'q'], ['r']), node('MatMul', ['q', 'r'], ['y'], {}, '', 'head')], [weight('w'), weight('t', 8, 8)]],
    ['two initializers of one name', [node('MatMul', ['x', 'w'], ['y'], {}, '', 'mm')], [weight('w'), weight('w', 4, 4)]],
    ['nodes without inputs and outputs', [node('MatMul', [], []), node('Conv', [], []), node('Gather', [], []), node('Relu', ['x'], ['y'])], []],
  ])('%s', async (_, nodes, initializers) => {
    for (const seen of await outcomes(nodes, initializers, 21)) expect(seen).toMatch(expected)
    for (const seen of await outcomes(nodes, initializers, 8)) expect(seen).toMatch(expected)
  })
})
