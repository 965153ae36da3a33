import { isLowbitError } from '@lowbit/core'
import { create, graph as graphProto, hostToTensor, model, ModelProtoSchema, node, type NodeProto, valueInfo } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { Graph } from '../src/index.js'

function graph(nodes: NodeProto[], initializers: string[] = [], inputs = ['x'], outputs = ['y']): Graph {
  const tensors = initializers.map((name) => hostToTensor(name, { dtype: 'float32', shape: [1], data: new Float32Array(1) }))
  return new Graph(model(graphProto({ nodes, initializers: tensors, inputs: inputs.map((name) => valueInfo(name)), outputs: outputs.map((name) => valueInfo(name)) }), { '': 13 }))
}

const relu = (from: string, to: string): NodeProto => node('Relu', [from], [to])

/** An If whose branches use a tensor of the enclosing graph. */
function choose(captured: string, to: string): NodeProto {
  const branch = (): ReturnType<typeof graphProto> => graphProto({ nodes: [relu(captured, 'inner')], inputs: [], outputs: [valueInfo('inner')] })
  return node('If', ['c'], [to], { then_branch: branch(), else_branch: branch() })
}

function code(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (isLowbitError(error)) return error.code
    throw error
  }
  return 'no error'
}

describe('Graph', () => {
  it('sorts what was added out of order and keeps an order that holds', () => {
    const a = relu('x', 'a')
    const b = relu('a', 'b')
    const y = relu('b', 'y')
    expect(graph([y, b, a]).sort()).toEqual([a, b, y])
    const kept = [relu('x', 'p'), relu('x', 'q'), relu('p', 'y')]
    expect(graph(kept).sort()).toEqual(kept)
  })

  it('names a node of a cycle', () => {
    expect(code(() => graph([relu('b', 'a'), relu('a', 'b'), relu('x', 'y')]).sort())).toBe('LOWBIT_FORMAT')
  })

  it('survives a chain longer than the call stack', () => {
    const chain = Array.from({ length: 50_000 }, (_, i) => relu(i === 0 ? 'x' : `t${i - 1}`, i === 49_999 ? 'y' : `t${i}`))
    expect(graph(chain.reverse()).sort()).toHaveLength(50_000)
  })

  it('refuses two producers of one tensor', () => {
    expect(code(() => graph([relu('x', 'y'), relu('x', 'y')]))).toBe('LOWBIT_FORMAT')
  })

  it('counts and renames what a subgraph captures', () => {
    const a = relu('x', 'a')
    const pick = choose('a', 'y')
    const g = graph([pick, a], [], ['x', 'c'])
    expect(g.consumers('a')).toEqual([pick])
    expect(g.sort()).toEqual([a, pick])
    const copy = g.clone()
    const extra = relu('a', 'a2')
    copy.addNode(extra)
    copy.replaceUses('a', 'a2', [extra])
    const copied = copy.producer('y')
    expect(copied && [...copy.captures(copied)]).toEqual(['a2'])
    expect([...g.captures(pick)]).toEqual(['a'])
  })

  it('clones share tensors and nothing else', () => {
    const g = graph([node('Mul', ['x', 'w'], ['y'])], ['w'])
    const copy = g.clone()
    expect(copy.initializer('w')).toBe(g.initializer('w'))
    const mul = copy.producer('y')
    if (mul === undefined) throw new Error('lost the node')
    copy.setInput(mul, 1, 'x')
    copy.removeDead()
    copy.setOpset('com.microsoft', 1)
    expect(copy.initializer('w')).toBeUndefined()
    expect(g.initializer('w')).toBeDefined()
    expect(g.consumers('w')).toHaveLength(1)
    expect(g.opset('com.microsoft')).toBe(0)
    expect(g.toModel().graph?.node[0]?.input).toEqual(['x', 'w'])
  })

  it('lets a new node stand between an output and its readers', () => {
    const first = relu('x', 'y')
    const g = graph([first])
    const raw = g.detachOutput(first, 0)
    g.addNode(node('Neg', [raw], ['y']))
    expect(g.toModel().graph?.node.map((n) => [n.opType, ...n.input, ...n.output])).toEqual([['Relu', 'x', 'y_raw'], ['Neg', 'y_raw', 'y']])
  })

  it('finds fresh names clear of tensors, nodes and subgraphs', () => {
    const g = graph([choose('x', 'y')], [], ['x', 'c'])
    expect(g.freshName('inner')).toBe('inner_1')
    expect(g.freshName('inner')).toBe('inner_2')
    expect(g.freshName('x')).toBe('x_1')
    expect(g.freshName('free')).toBe('free')
  })

  it('removes dead nodes and initializers, with the inputs of their name', () => {
    const g = graph([relu('x', 'y'), node('Mul', ['x', 'w'], ['dead'])], ['w', 'unused'], ['x', 'w'])
    g.removeDead()
    const model = g.toModel()
    expect(model.graph?.node).toHaveLength(1)
    expect(model.graph?.initializer).toHaveLength(0)
    expect(model.graph?.input.map((i) => i.name)).toEqual(['x'])
  })

  it('says so when there is no graph', () => {
    expect(code(() => new Graph(create(ModelProtoSchema, {})))).toBe('LOWBIT_FORMAT')
  })
})
