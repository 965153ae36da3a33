import type { ModelConfig } from '../../config/model-config.js'
import type { GraphBuilder } from './graph-builder.js'

const FAR = -1e9

/** Attention in operators of ONNX alone, for runtimes without ONNX Runtime's own. */
export class PlainAttention {
  readonly #b: GraphBuilder
  readonly #config: ModelConfig
  readonly #masks = new Map<string, string>()

  constructor(b: GraphBuilder, config: ModelConfig) {
    this.#b = b
    this.#config = config
  }

  /** What all layers share: the angles of the positions, and who may see whom. */
  begin(): void {
    const b = this.#b
    const zero = b.constant('zero', { dtype: 'int64', shape: [], data: BigInt64Array.of(0n) })
    const one = b.constant('one', { dtype: 'int64', shape: [], data: BigInt64Array.of(1n) })
    const total = b.op('Gather', 'mask.total', [b.op('Shape', 'mask.shape', ['attention_mask']), one], { axis: 0 })
    const rows = b.op('Gather', 'mask.rows', [b.op('Shape', 'ids.shape', ['input_ids']), one], { axis: 0 })
    const keys = b.op('Range', 'mask.keys', [zero, total, one])
    const queries = b.op('Range', 'mask.queries', [b.op('Sub', 'mask.past', [total, rows]), total, one])
    const apart = b.op('Sub', 'mask.apart', [b.reshape('mask.queries.column', queries, [-1, 1]), b.reshape('mask.keys.row', keys, [1, -1])])
    const behind = b.op('GreaterOrEqual', 'mask.behind', [apart, zero])
    const there = b.op('Cast', 'mask.there', [b.op('Unsqueeze', 'mask.wide', ['attention_mask', b.ints([1, 2])])], { to: 9 })
    for (const window of new Set(this.#config.windows)) {
      const name = window === undefined ? 'all' : String(window)
      const near = window === undefined ? behind : b.op('And', `mask.near.${name}`, [behind, b.op('Less', `mask.close.${name}`, [apart, b.constant(`window.${name}`, { dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(window)) })])])
      this.#masks.set(name, b.op('Where', `mask.${name}`, [b.op('And', `mask.seen.${name}`, [near, there]), b.scalar(0), b.scalar(FAR)]))
    }
    for (const tables of new Set(this.#config.windows.map((_, layer) => this.#tables(layer)))) {
      for (const kind of ['cos', 'sin']) b.op('Unsqueeze', `${kind}.${tables}.rows`, [b.op('Gather', `${kind}.${tables}.found`, [`${kind}.${tables}`, 'position_ids'], { axis: 0 }), b.ints([1])])
    }
  }

  #tables(layer: number): 'local' | 'full' {
    return this.#config.windows[layer] !== undefined && this.#config.localRotary !== undefined ? 'local' : 'full'
  }

  attention(layer: number, q: string, k: string, v: string): string {
    const b = this.#b
    const { heads, kvHeads, headSize, attentionScale, attentionSoftcap, windows } = this.#config
    const name = `layers.${layer}.attention`
    const split = (kind: string, x: string, count: number): string => b.op('Transpose', `${name}.${kind}.heads`, [b.reshape(`${name}.${kind}.split`, x, [0, 0, count, headSize])], { perm: [0, 2, 1, 3] })
    const queries = this.#rotated(`${name}.q`, split('q', q, heads), this.#tables(layer))
    const keys = b.op('Concat', `present.${layer}.key`, [`past_key_values.${layer}.key`, this.#rotated(`${name}.k`, split('k', k, kvHeads), this.#tables(layer))], { axis: 2 })
    const values = b.op('Concat', `present.${layer}.value`, [`past_key_values.${layer}.value`, split('v', v, kvHeads)], { axis: 2 })
    // Queries that read one head of keys stand below each other.
    const shared = heads / kvHeads
    const grouped = b.reshape(`${name}.q.grouped`, queries, [0, kvHeads, shared, -1, headSize])
    const wide = (kind: string, x: string): string => b.op('Unsqueeze', `${name}.${kind}.wide`, [x, b.ints([2])])
    const turned = b.op('Transpose', `${name}.k.turned`, [wide('k', keys)], { perm: [0, 1, 2, 4, 3] })
    let scores = b.op('Mul', `${name}.scores`, [b.op('MatMul', `${name}.products`, [grouped, turned]), b.scalar(attentionScale)])
    if (attentionSoftcap !== undefined) scores = b.op('Mul', `${name}.capped`, [b.op('Tanh', `${name}.tanh`, [b.op('Div', `${name}.divided`, [scores, b.scalar(attentionSoftcap)])]), b.scalar(attentionSoftcap)])
    const mask = b.op('Unsqueeze', `${name}.mask`, [this.#masks.get(windows[layer] === undefined ? 'all' : String(windows[layer])) ?? '', b.ints([1])])
    const shares = b.op('Softmax', `${name}.shares`, [b.op('Add', `${name}.masked`, [scores, mask])], { axis: -1 })
    const mixed = b.reshape(`${name}.mixed`, b.op('MatMul', `${name}.sums`, [shares, wide('v', values)]), [0, heads, -1, headSize])
    return b.reshape(`${name}.out`, b.op('Transpose', `${name}.rows`, [mixed], { perm: [0, 2, 1, 3] }), [0, 0, heads * headSize])
  }

  /** `(a, b) → (a cos − b sin, b cos + a sin)` over the halves of each head. */
  #rotated(name: string, x: string, tables: string): string {
    const b = this.#b
    const [first, second] = b.ops('Split', `${name}.halves`, [x, b.ints([this.#config.headSize / 2, this.#config.headSize / 2])], [`${name}.first`, `${name}.second`], { axis: -1 })
    const [cos, sin] = [`cos.${tables}.rows`, `sin.${tables}.rows`]
    const times = (kind: string, a: string, t: string): string => b.op('Mul', `${name}.${kind}`, [a, t])
    const left = b.op('Sub', `${name}.left`, [times('ac', first, cos), times('bs', second, sin)])
    const right = b.op('Add', `${name}.right`, [times('bc', second, cos), times('as', first, sin)])
    return b.op('Concat', `${name}.rotated`, [left, right], { axis: -1 })
  }
}
