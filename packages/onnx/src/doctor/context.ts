import { type HostTensor } from '@lowbit/core'
import { isExternal, type NodeProto, type OnnxType, onnxTypeOf, tensorBytes, type TensorProto } from '@lowbit/formats'
import { elementTypes } from '../float16/element-types.js'
import type { Graph } from '../graph/index.js'
import type { LoadTensor } from '../sites/weights.js'

/** Where a model is going to run. */
export type DoctorTarget = 'onnxruntime' | 'onnxruntime-web' | 'webgpu' | 'tensorrt' | 'webnn'

export const DOCTOR_TARGETS: readonly DoctorTarget[] = ['onnxruntime', 'onnxruntime-web', 'webgpu', 'tensorrt', 'webnn']

/** A model as the rules see it. */
export class DoctorContext {
  readonly graph: Graph
  readonly nodes: readonly NodeProto[]
  readonly types: ReadonlyMap<string, OnnxType>
  /** Bytes of the file and of its external data. */
  readonly size: number
  readonly #load: LoadTensor
  readonly #targets: readonly DoctorTarget[]

  constructor(graph: Graph, size: number, load: LoadTensor, targets: readonly DoctorTarget[]) {
    this.graph = graph
    this.nodes = graph.nodes()
    this.types = elementTypes(graph)
    this.size = size
    this.#load = load
    this.#targets = targets
  }

  /** True for a target that was named; without any, for those that most models meet. */
  goesTo(target: DoctorTarget): boolean {
    return this.#targets.length === 0 ? target !== 'tensorrt' && target !== 'webnn' : this.#targets.includes(target)
  }

  /** True only for a target that was named. */
  isBoundFor(target: DoctorTarget): boolean {
    return this.#targets.includes(target)
  }

  load(tensor: TensorProto): Promise<HostTensor> {
    return this.#load(tensor)
  }

  /** Nodes of these types, whatever the domain. */
  ofType(...types: readonly string[]): readonly NodeProto[] {
    return this.nodes.filter((node) => types.includes(node.opType))
  }

  /** Bytes of a constant; 0 for anything else. */
  bytesOf(name: string): number {
    const tensor = this.graph.constant(name)
    return tensor === undefined ? 0 : tensorBytes(tensor)
  }

  /** Small constants and the values of large ones that are in memory. */
  isAtHand(tensor: TensorProto): boolean {
    return !isExternal(tensor) && onnxTypeOf(tensor.dataType) !== undefined
  }
}

/** What a node is called in a finding. */
export const nodeName = (node: NodeProto): string => (node.name === '' ? `${node.opType} that makes '${node.output[0] ?? ''}'` : node.name)
