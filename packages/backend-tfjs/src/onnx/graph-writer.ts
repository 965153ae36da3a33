import type { HostTensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, type AttributeValue, type ModelProto, type NodeProto, type OnnxType, type TensorProto, type ValueInfoProto } from '@lowbit/formats'

/** Collects nodes and constants, and keeps names unique. */
export class GraphWriter {
  readonly #nodes: NodeProto[] = []
  readonly #initializers: TensorProto[] = []
  readonly #inputs: ValueInfoProto[] = []
  readonly #outputs: ValueInfoProto[] = []
  readonly #names = new Set<string>()
  readonly #domains: Record<string, number> = { '': 21 }

  /** A name that is not taken yet. */
  name(wish: string): string {
    let name = wish
    for (let i = 1; this.#names.has(name); i++) name = `${wish}.${i}`
    this.#names.add(name)
    return name
  }

  input(name: string, type: OnnxType, shape: readonly (number | string)[]): string {
    this.#inputs.push(valueInfo(this.name(name), type, shape))
    return name
  }

  output(name: string, value: string, type: OnnxType, shape: readonly (number | string)[]): void {
    const own = this.name(name)
    this.#nodes.push(node('Identity', [value], [own]))
    this.#outputs.push(valueInfo(own, type, shape))
  }

  constant(wish: string, tensor: HostTensor, type?: OnnxType): string {
    const name = this.name(wish)
    this.#initializers.push(hostToTensor(name, tensor, type))
    return name
  }

  floats(wish: string, data: Float32Array | readonly number[], shape?: readonly number[]): string {
    return this.constant(wish, { dtype: 'float32', shape: shape ?? [data.length], data: Float32Array.from(data) })
  }

  scalar(wish: string, value: number): string {
    return this.floats(wish, [value], [])
  }

  integers(wish: string, data: readonly number[]): string {
    return this.constant(wish, { dtype: 'int64', shape: [data.length], data: BigInt64Array.from(data, BigInt) })
  }

  /** A node with one output. @returns the output's name */
  op(type: string, wish: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}, domain = ''): string {
    if (domain !== '') this.#domains[domain] = 1
    const out = this.name(wish)
    this.#nodes.push(node(type, inputs, [out], attributes, domain, out))
    return out
  }

  build(name: string): ModelProto {
    return model(graph({ name, nodes: this.#nodes, inputs: this.#inputs, outputs: this.#outputs, initializers: this.#initializers }), this.#domains)
  }
}
