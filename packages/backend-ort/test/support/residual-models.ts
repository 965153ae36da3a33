import type { Batch } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, type NodeProto, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { randomTensor } from './random.js'

export interface ResidualModelOptions {
  readonly width: number
  readonly norm: 'decomposed' | 'divided' | 'simplified' | 'skip' | 'layer' | 'layer-decomposed'
  /** The head is the embedding's table: behind the last norm, or on the stream itself. */
  readonly tied?: 'behind a norm' | 'bare'
  /** Something else that touches the stream. */
  readonly extra?: 'output' | 'relu' | 'mean'
}

const VOCABULARY = 11
const HIDDEN = 20

/** A two-block decoder without attention: embedding, norms, a bias on the stream, a gated block, a head. */
export function residualModel({ width, norm, tied, extra }: ResidualModelOptions): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batch: Batch } {
  const nodes: NodeProto[] = []
  const initializers: TensorProto[] = []
  const constant = (name: string, shape: readonly number[], seed: number, scale = 0.5, shift = 0): string => {
    const t = randomTensor(shape, seed, scale)
    t.data.forEach((v, i) => (t.data[i] = v + shift))
    initializers.push(hostToTensor(name, t))
    return name
  }
  const scalar = (name: string, value: number): string => {
    initializers.push(hostToTensor(name, { dtype: 'float32', shape: [1], data: Float32Array.of(value) }))
    return name
  }
  const [two, one, eps, sqrtD] = [scalar('two', 2), scalar('one', 1), scalar('eps', 1e-5), scalar('factor', 3)]
  const add = (op: string, inputs: string[], output: string, attributes = {}, domain = ''): string => {
    nodes.push(node(op, inputs, [output], attributes, domain, `n/${output}`))
    return output
  }
  /** Norm of `h`, or of `h + branch` for the fused kind; returns the norm's output and the stream. */
  const normalize = (i: number, h: string, branch?: string): [string, string] => {
    const gain = constant(`gain${i}`, [width], 100 + i, 0.5, 1)
    if (norm === 'skip' && branch !== undefined) {
      nodes.push(node('SkipSimplifiedLayerNormalization', [h, branch, gain], [`n${i}`, '', '', `s${i}`], { epsilon: float(1e-5) }, 'com.microsoft', `n/skip${i}`))
      return [`n${i}`, `s${i}`]
    }
    const s = branch === undefined ? h : add('Add', [h, branch], `s${i}`)
    switch (norm) {
      case 'decomposed':
      case 'divided': {
        const root = add('Sqrt', [add('Add', [add('ReduceMean', [add('Pow', [s, two], `sq${i}`)], `mean${i}`, { axes: [-1] }), eps], `eps${i}`)], `root${i}`)
        const normal = norm === 'divided' ? add('Div', [s, root], `x${i}`) : add('Mul', [s, add('Div', [one, root], `inv${i}`)], `x${i}`)
        return [add('Mul', norm === 'divided' ? [normal, gain] : [gain, normal], `n${i}`), s]
      }
      case 'layer-decomposed': {
        const centred = add('Sub', [s, add('ReduceMean', [s], `mu${i}`, { axes: [-1] })], `c${i}`)
        const root = add('Sqrt', [add('Add', [add('ReduceMean', [add('Pow', [centred, two], `sq${i}`)], `mean${i}`, { axes: [-1] }), eps], `eps${i}`)], `root${i}`)
        return [add('Mul', [add('Div', [centred, root], `x${i}`), gain], `n${i}`), s]
      }
      case 'layer':
        return [add('LayerNormalization', [s, gain], `n${i}`, { axis: -1, epsilon: float(1e-5) }), s]
      default:
        return [add('SimplifiedLayerNormalization', [s, gain], `n${i}`, { axis: -1, epsilon: float(1e-5), stash_type: 1 }), s]
    }
  }
  constant('table', [VOCABULARY, width], 1)
  const h = add('Mul', [add('Gather', ['table', 'ids'], 'e'), sqrtD], 'h0')
  const [n0, s0] = normalize(0, h)
  add('MatMul', [n0, constant('wq', [width, width], 2)], 'q')
  add('Add', [add('MatMul', [add('Tanh', ['q'], 'att'), constant('wo', [width, width], 3)], 'o'), constant('bo', [width], 4)], 'branch0')
  const [n1, s1] = normalize(1, s0, 'branch0')
  add('Sigmoid', [add('MatMul', [n1, constant('wg', [width, HIDDEN], 5)], 'gate')], 'sig')
  add('Mul', ['sig', add('MatMul', [n1, constant('wu', [width, HIDDEN], 6)], 'up')], 'm')
  add('MatMul', ['m', constant('wd', [HIDDEN, width], 7)], 'down')
  const outputs = [valueInfo('logits', 'float32')]
  if (tied === 'bare') {
    const s2 = add('Add', [s1, 'down'], 's2')
    add('MatMul', [s2, add('Transpose', ['table'], 'turned', { perm: [1, 0] })], 'logits')
  } else {
    const [n2, s2] = normalize(2, s1, 'down')
    if (extra === 'output') outputs.push(valueInfo(s2, 'float32'))
    if (extra === 'relu') {
      add('Relu', [s2], 'relu')
      outputs.push(valueInfo('relu', 'float32'))
    }
    if (extra === 'mean') outputs.push(valueInfo(add('ReduceMean', [s2], 'average', { axes: [-1] }), 'float32'))
    add('MatMul', [n2, tied === undefined ? constant('wh', [width, VOCABULARY], 8) : add('Transpose', ['table'], 'turned', { perm: [1, 0] })], 'logits')
  }
  const main = graph({ nodes, inputs: [valueInfo('ids', 'int64', [1, 't'])], outputs, initializers })
  const bytes = writeOnnx(model(main, { '': 17, 'com.microsoft': 1 }, 8))
  return { bytes, batch: { ids: { dtype: 'int64', shape: [1, 6], data: BigInt64Array.from([1, 5, 0, 10, 7, 3], BigInt) } } }
}
