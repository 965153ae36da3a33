import { LowbitError } from '@lowbit/core'

/** Buffers and pipelines of one device. */
export class Device {
  readonly gpu: GPUDevice
  /** In Node the process crashes if the object that adapters come from is collected before its devices. */
  readonly source: GPU | undefined
  readonly #pipelines = new Map<string, GPUComputePipeline>()
  #lost: string | undefined

  constructor(gpu: GPUDevice, source?: GPU) {
    this.gpu = gpu
    this.source = source
    void gpu.lost.then((info) => {
      this.#lost = info.message === '' ? info.reason : info.message
    })
  }

  /** @throws LOWBIT_RUNTIME after the device was lost */
  expectAlive(): void {
    if (this.#lost !== undefined) throw new LowbitError('LOWBIT_RUNTIME', { thing: 'WebGPU device', found: `lost: ${this.#lost}`, fix: 'make a new provider and prepack again' })
  }

  /** @throws LOWBIT_LIMIT if the device does not take a buffer of that size */
  buffer(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4)
    const most = Math.min(this.gpu.limits.maxBufferSize, usage & USAGE.STORAGE ? this.gpu.limits.maxStorageBufferBindingSize : Infinity)
    if (size > most) throw new LowbitError('LOWBIT_LIMIT', { thing: 'WebGPU buffer', found: `${size} bytes`, expected: `at most ${most} on this device`, fix: 'split the matrix by rows' })
    return this.gpu.createBuffer({ size, usage })
  }

  /** A storage buffer that holds the data. */
  upload(data: ArrayBufferView<ArrayBuffer>, usage: GPUBufferUsageFlags = USAGE.STORAGE): GPUBuffer {
    const buffer = this.buffer(data.byteLength, usage | USAGE.COPY_DST)
    const whole = data.byteLength - (data.byteLength % 4)
    this.gpu.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, whole)
    if (whole < data.byteLength) {
      const tail = new Uint8Array(4)
      tail.set(new Uint8Array(data.buffer, data.byteOffset + whole, data.byteLength - whole))
      this.gpu.queue.writeBuffer(buffer, whole, tail)
    }
    return buffer
  }

  /**
   * Runs a shader once: binding 0 is the uniform, `reads` follow, what it writes comes last.
   * @param key names the shader among those of this device
   */
  dispatch(key: string, code: () => string, uniform: ArrayBufferView<ArrayBuffer>, reads: readonly GPUBuffer[], writes: readonly GPUBuffer[], groups: readonly [number, number, number]): void {
    this.expectAlive()
    const params = this.upload(uniform, USAGE.UNIFORM)
    const pipeline = this.#pipeline(key, code, reads.length, writes.length)
    const entries = [params, ...reads, ...writes].map((buffer, binding) => ({ binding, resource: { buffer } }))
    const encoder = this.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, this.gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(...groups)
    pass.end()
    this.gpu.queue.submit([encoder.finish()])
    params.destroy()
  }

  /** Copies a buffer back. */
  async read(buffer: GPUBuffer, floats: number): Promise<Float32Array<ArrayBuffer>> {
    this.expectAlive()
    const staging = this.buffer(floats * 4, USAGE.MAP_READ | USAGE.COPY_DST)
    try {
      const encoder = this.gpu.createCommandEncoder()
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, floats * 4)
      this.gpu.queue.submit([encoder.finish()])
      await staging.mapAsync(MAP_READ)
      return new Float32Array(staging.getMappedRange(0, floats * 4).slice(0))
    } catch (cause) {
      this.expectAlive()
      throw new LowbitError('LOWBIT_RUNTIME', { thing: 'WebGPU', found: 'a result could not be read back', cause })
    } finally {
      staging.destroy()
    }
  }

  #pipeline(key: string, code: () => string, reads: number, writes: number): GPUComputePipeline {
    const known = this.#pipelines.get(key)
    if (known !== undefined) return known
    const type = (binding: number): GPUBufferBindingType => (binding === 0 ? 'uniform' : binding <= reads ? 'read-only-storage' : 'storage')
    // explicit, so that a shader which does not touch a binding has the same layout
    const layout = this.gpu.createBindGroupLayout({ entries: Array.from({ length: 1 + reads + writes }, (_, binding) => ({ binding, visibility: COMPUTE, buffer: { type: type(binding) } })) })
    const pipeline = this.gpu.createComputePipeline({ layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module: this.gpu.createShaderModule({ code: code() }), entryPoint: 'main' } })
    this.#pipelines.set(key, pipeline)
    return pipeline
  }
}

/** The bits of GPUBufferUsage, GPUMapMode and GPUShaderStage (WebGPU specification): Node has no such globals. */
export const USAGE = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128 } as const
const MAP_READ = 1
const COMPUTE = 4
