import type { HostTensor } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkpointFormat, compareWeights, fitPacking, PACKINGS, quantizationConfig, readPackedWeight, repackFolder, writeAwq, writeBitnet, writeBitsandbytes, writeCompressed, writeGptq, writeMlx,
  type CheckpointFormat, type GroupedWeight, type Packing, type RepackedWeight,
} from '../src/checkpoints/index.js'
import { filesInMemory, openHuggingFace, type HuggingFaceFolder } from '../src/huggingface/index.js'
import { writeSafetensors } from '../src/index.js'

const [ROWS, COLUMNS] = [32, 128]

/** Codes of some bits in groups of 32, scales that float16 holds, zero points from 1 up: every packing of integers takes them. */
function weight(bits = 4, symmetric = false, change: Partial<GroupedWeight> = {}): GroupedWeight {
  const groups = (ROWS * COLUMNS) / 32
  return {
    shape: [ROWS, COLUMNS], bits, group: 32,
    codes: Uint8Array.from({ length: ROWS * COLUMNS }, (_, i) => (i * 31 + (i >> 5)) & (2 ** bits - 1)),
    scales: Float32Array.from({ length: groups }, (_, g) => 2 ** -(4 + (g % 5))),
    zeroPoints: Int32Array.from({ length: groups }, (_, g) => (symmetric ? 2 ** (bits - 1) : 1 + (g % (2 ** bits - 1)))),
    ...change,
  }
}

const ternary = (): GroupedWeight => ({ shape: [ROWS, COLUMNS], bits: 2, group: COLUMNS, codes: Int8Array.from({ length: ROWS * COLUMNS }, (_, i) => (i % 3) - 1), scales: new Float32Array(ROWS).fill(0.125) })
const floats: HostTensor<'float32'> = { dtype: 'float32', shape: [ROWS, COLUMNS], data: Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i * 12.9898) * 0.05) }

const SOURCES: Readonly<Record<string, { readonly format: CheckpointFormat; readonly tensors: Readonly<Record<string, HostTensor>> }>> = {
  gptq: { format: { method: 'gptq', bits: 4, groupSize: 32, format: 'gptq', actOrder: false }, tensors: writeGptq(weight(), 'gptq') },
  gptq_v2: { format: { method: 'gptq', bits: 4, groupSize: 32, format: 'gptq_v2', actOrder: false }, tensors: writeGptq(weight(), 'gptq_v2') },
  awq: { format: { method: 'awq', groupSize: 32 }, tensors: writeAwq(weight()) },
  'compressed-tensors': { format: { method: 'compressed-tensors', bits: 4, symmetric: true }, tensors: writeCompressed(weight(4, true)).tensors },
  mlx: { format: { method: 'mlx', bits: 4, groupSize: 32, overrides: new Map() }, tensors: writeMlx(weight()) },
  bitnet: { format: { method: 'bitnet', linear: 'bitlinear' }, tensors: writeBitnet(ternary(), 'bitlinear') },
  nf4: { format: { method: 'bitsandbytes' }, tensors: writeBitsandbytes(floats, { type: 'nf4', nested: true }) },
}

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)
const one: HostTensor = { dtype: 'float16', shape: [2], data: Uint16Array.of(0x3c00, 0x4000) }

async function folderOf(format: CheckpointFormat, weights: Readonly<Record<string, Readonly<Record<string, HostTensor>>>>): Promise<{ readonly folder: HuggingFaceFolder; readonly files: ReturnType<typeof filesInMemory> }> {
  const tensors: Record<string, HostTensor> = { 'model.norm.weight': one }
  for (const [layer, parts] of Object.entries(weights)) for (const [role, tensor] of Object.entries(parts)) tensors[`${layer}.${role}`] = tensor
  for (const layer of Object.keys(weights)) tensors[`${layer}.bias`] = one
  const stated = quantizationConfig(format)
  const files = filesInMemory({ 'config.json': json({ model_type: 'llama', ...(format.method === 'mlx' ? { quantization: stated } : { quantization_config: stated }) }), 'model.safetensors': writeSafetensors(tensors), 'tokenizer.json': json({ version: '1.0' }), 'training_args.bin': json({}) }, 'model')
  return { folder: await openHuggingFace(files), files }
}

interface Repacked {
  readonly folder: HuggingFaceFolder
  readonly names: readonly string[]
  readonly weights: readonly RepackedWeight[]
}

async function repack(from: keyof typeof SOURCES, to: Packing, shardBytes?: number): Promise<Repacked> {
  const source = SOURCES[from]
  if (source === undefined) throw new Error(from)
  const { folder, files } = await folderOf(source.format, { 'model.layers.0.q_proj': source.tensors, 'model.layers.1.q_proj': source.tensors })
  const written: Record<string, Uint8Array<ArrayBuffer>> = {}
  const weights: RepackedWeight[] = []
  for await (const { name, bytes } of repackFolder(folder, files, to, { onWeight: (w) => weights.push(w), ...(shardBytes === undefined ? {} : { shardBytes }) })) written[name] = bytes
  return { folder: await openHuggingFace(filesInMemory(written, 'repacked')), names: Object.keys(written), weights }
}

describe('repackFolder', () => {
  const EXACT: readonly Packing[] = ['gptq', 'gptq_v2', 'awq', 'compressed-tensors']

  it.each(['gptq', 'gptq_v2', 'awq', 'compressed-tensors'].flatMap((from) => EXACT.map((to) => [from, to] as const)))('%s to %s is exact, and what readers read is what was there', async (from, to) => {
    const { folder, weights } = await repack(from, to)
    expect(weights.map((w) => [w.layer, w.exact, w.changed])).toEqual([['model.layers.0.q_proj', true, undefined], ['model.layers.1.q_proj', true, undefined]])
    const format = checkpointFormat(folder.config)
    const source = SOURCES[from]
    if (format === undefined || source === undefined) throw new Error('no format')
    const before = await folderOf(source.format, { l: source.tensors })
    expect(compareWeights(await readPackedWeight(before.folder, 'l', source.format), await readPackedWeight(folder, 'model.layers.1.q_proj', format))).toMatchObject({ exact: true })
    expect((await folder.host('model.layers.0.q_proj.bias')).data).toEqual(one.data)
  })

  it.each(PACKINGS.filter((p) => p !== 'bitnet').map((to) => [to] as const))('NF4 to %s says what changed and by how much', async (to) => {
    const { weights } = await repack('nf4', to)
    const [first] = weights
    if (to.startsWith('nf4')) expect(first?.largest).toBeLessThan(0.01)
    else {
      expect(first?.exact).toBe(false)
      expect(first?.changed).toContain('no tables')
      // Sixteen even steps for sixteen uneven ones: at most half a step off.
      expect(first?.largest).toBeGreaterThan(0)
      expect(first?.largest).toBeLessThan(0.1 / 15)
    }
  })

  it('takes MLX to GPTQ without a change where every minimum is a whole number of steps', async () => {
    const { weights } = await repack('mlx', 'gptq_v2')
    expect(weights.every((w) => w.exact && w.changed === undefined)).toBe(true)
  })

  it('takes ternary weights to integers and back, and nothing else to ternary', async () => {
    for (const to of ['gptq_v2', 'awq', 'mlx', 'bitnet'] as const) expect((await repack('bitnet', to)).weights.every((w) => w.exact)).toBe(true)
    await expect(repack('gptq', 'bitnet')).rejects.toThrow('ternary codes')
  })

  it('writes parts with an index, the tokenizer, and the configuration last; leaves out what no model needs', async () => {
    const { names, folder } = await repack('gptq', 'awq', 3000)
    expect(names.filter((n) => n.endsWith('.safetensors')).length).toBeGreaterThan(1)
    expect(names).toContain('tokenizer.json')
    expect(names).not.toContain('training_args.bin')
    expect(names.at(-1)).toBe('config.json')
    expect(folder.config['quantization_config']).toMatchObject({ quant_method: 'awq', bits: 4, group_size: 32, version: 'gemm' })
  })

  it('refuses float folders and mixed bits by name', async () => {
    const files = filesInMemory({ 'config.json': json({}), 'model.safetensors': writeSafetensors({ a: one }) })
    await expect(repackFolder(await openHuggingFace(files), files, 'awq').next()).rejects.toThrow('float weights')
    const mixed = await folderOf({ method: 'mlx', bits: 4, groupSize: 32, overrides: new Map([['b', { bits: 8, groupSize: 32 }]]) }, { a: writeMlx(weight()), b: writeMlx(weight(8)) })
    const read = async (to: Packing): Promise<string> => {
      let config: Uint8Array | undefined
      for await (const { name, bytes } of repackFolder(mixed.folder, mixed.files, to)) if (name === 'config.json') config = bytes
      return text(config)
    }
    await expect(read('gptq_v2')).rejects.toThrow('one scheme for all weights')
    expect(JSON.parse(await read('compressed-tensors'))).toMatchObject({ quantization_config: { config_groups: { group_1: { targets: ['b'], weights: { num_bits: 8 } } } } })
  })
})

describe('fitPacking', () => {
  it('rounds scales that float16 does not hold, and says so', () => {
    const { weight: fitted, changed } = fitPacking(weight(4, false, { scales: new Float32Array(128).fill(0.1) }), 'awq', 'w')
    expect(changed).toBe('scales rounded to float16')
    expect(fitted.scales[0]).toBe(0.0999755859375)
    // A scale that would vanish becomes the smallest there is, and its codes are those of the new steps: at most one step off, not sixty times as large.
    const tiny = weight(4, false, { scales: new Float32Array(128).fill(2e-8), zeroPoints: new Int32Array(128).fill(8) })
    const held = fitPacking(tiny, 'awq', 'w').weight
    expect(held.scales[0]).toBe(2 ** -24)
    expect(compareWeights(tiny, held).largest).toBeLessThanOrEqual(2 ** -25 * 1.0001)
    expect(fitPacking(weight(4, false, { scales: new Float32Array(128).fill(1e6) }), 'awq', 'w').weight.scales[0]).toBe(65504)
  })

  it('gives columns in the order of activations up only where it must', () => {
    const columns = Int32Array.from({ length: COLUMNS }, (_, i) => COLUMNS - 1 - i)
    expect(fitPacking(weight(4, false, { columns }), 'gptq_v2', 'w').changed).toBeUndefined()
    expect(fitPacking(weight(4, false, { columns }), 'awq', 'w').changed).toContain('act-order')
  })

  it('cuts groups without a change, for any size', () => {
    fc.assert(
      fc.property(fc.constantFrom(32, 64, 128), fc.integer({ min: 2, max: 8 }).filter((b) => b !== 7), (group, bits) => {
        const groups = (ROWS * COLUMNS) / group
        const w = weight(bits, false, { group, scales: Float32Array.from({ length: groups }, (_, g) => 2 ** -(g % 7)), zeroPoints: Int32Array.from({ length: groups }, (_, g) => g % 2 ** bits) })
        const { weight: fitted, changed } = fitPacking(w, 'compressed-tensors', 'w')
        return changed === undefined && compareWeights(w, fitted).exact
      }),
    )
  })
})
