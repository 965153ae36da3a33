import type { PackedTensor, QTensor } from '../../qtensor.js'
import type { HostTensor } from '../../tensor.js'
import type { ActivationCodes, ActivationOptions, Awaitable, HadamardOptions, KernelSupports, MatmulOptions, PackedWeights } from '../v2/kernels.js'
import type { Plugin } from './plugin.js'

export interface KernelProvider extends Plugin<'kernels'>, Disposable {
  readonly supports: KernelSupports
  prepack(weights: QTensor | PackedTensor | HostTensor<'float32'>): PackedWeights
  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options?: MatmulOptions): Awaitable<HostTensor<'float32'>>
  quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): Awaitable<ActivationCodes>
  dequantize(weights: PackedWeights): Awaitable<HostTensor<'float32'>>
  hadamard(x: HostTensor<'float32'>, options?: HadamardOptions): Awaitable<HostTensor<'float32'>>
  dispose(): void
}
