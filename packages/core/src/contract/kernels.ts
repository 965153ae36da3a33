import type { PackedTensor, QTensor } from '../qtensor.js'
import type { HostTensor } from '../tensor.js'
import type { Plugin } from './plugin.js'

/** What a kernel provider found on this machine and can do. */
export interface KernelSupports {
  /** `scalar`, `simd128`, `relaxed-simd`, `webgpu`, with what the probe saw. */
  readonly tier: string
  readonly threads: number
  readonly synchronous: boolean
  /** `dtype/granularity` pairs such as `int4/group`, `ternary/tensor`. */
  readonly schemes: readonly string[]
  /** Sentences about the engine: the CPU's dot product, missing features. */
  readonly findings: readonly string[]
}

/** Weights in a provider's own layout. Freed by `dispose` or `using`. */
export interface PackedWeights extends Disposable {
  readonly rows: number
  readonly columns: number
  readonly bytes: number
  dispose(): void
}

export interface MatmulOptions {
  /** `[N]`, added last. */
  readonly bias?: Float32Array
  /** `int8` (default): activations are quantized per row; `float32`: weights only. */
  readonly activations?: 'int8' | 'float32'
}

/** Runs low-bit weights. `matmul` computes `x [M, K] × wᵀ [K, N]`. */
export interface KernelProvider extends Plugin<'kernels'>, Disposable {
  readonly supports: KernelSupports
  /** @throws LOWBIT_UNSUPPORTED for a scheme that is not in `supports`. */
  prepack(weights: QTensor | PackedTensor): PackedWeights
  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options?: MatmulOptions): HostTensor<'float32'> | Promise<HostTensor<'float32'>>
  dispose(): void
}
