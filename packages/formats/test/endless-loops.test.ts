import { describe, expect, it } from 'vitest'
import { graph, hostToTensor, model, node, type NodeProto, readOnnx, type TensorProto, valueInfo, writeOnnx } from '../src/index.js'

const flag = (name: string, value: number): TensorProto => hostToTensor(name, { dtype: 'bool', shape: [], data: Uint8Array.of(value) })
const count = (value: bigint): TensorProto => hostToTensor('trips', { dtype: 'int64', shape: [], data: BigInt64Array.of(value) })

function loop(inputs: readonly string[], condition: readonly NodeProto[], initializers: readonly TensorProto[], inside: readonly TensorProto[] = []): Uint8Array<ArrayBuffer> {
  const body = graph({
    nodes: [...condition, node('Tanh', ['state'], ['next'])],
    inputs: [valueInfo('i', 'int64', []), valueInfo('going', 'bool', []), valueInfo('state', 'float32', [2])],
    outputs: [valueInfo('on'), valueInfo('next')],
    initializers: [...inside],
  })
  return writeOnnx(model(graph({ nodes: [node('Loop', [...inputs, 'x'], ['y'], { body }, '', 'turn')], inputs: [valueInfo('x', 'float32', [2])], outputs: [valueInfo('y')], initializers: [...initializers] })))
}

const same = [node('Identity', ['going'], ['on'])]
const computed = [node('ReduceMax', ['state'], ['m'], { keepdims: 0 }), node('Greater', ['m', 'm'], ['on'])]

describe('a loop', () => {
  it.each([
    ['no count, and the condition handed on', loop(['', ''], same, [])],
    ['no count, and a condition that is true', loop(['', 'yes'], same, [flag('yes', 1)])],
    ['no count, and a stored condition', loop(['', ''], [], [], [flag('on', 1)])],
    ['a count beyond reason', loop(['trips', ''], same, [count(2n ** 62n)])],
  ])('of %s is refused: nothing comes out of it', (_, bytes) => {
    expect(() => readOnnx(bytes)).toThrow(/'turn' \(Loop\): a loop that never ends/)
  })

  it.each([
    ['a count', loop(['trips', ''], same, [count(3n)])],
    ['a count beyond reason, as exporters write it, and a condition that its body computes', loop(['trips', ''], computed, [count(2n ** 63n - 1n)])],
    ['a condition that is false', loop(['', 'no'], same, [flag('no', 0)])],
    ['a condition that the model computes', loop(['', 'go'], computed, [])],
  ])('of %s is read', (_, bytes) => {
    expect(readOnnx(bytes).graph?.node.length).toBe(1)
  })
})
