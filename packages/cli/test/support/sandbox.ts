import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tensor, type HostTensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeNpz, writeOnnx } from '@lowbit/formats'
import { vi } from 'vitest'
import { main } from '../../src/main.js'

/** What a command line did. */
export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** A temporary folder with a small model and data for it; commands run inside the process. */
export interface Sandbox {
  readonly folder: string
  path(name: string): string
  lowbit(...args: string[]): Promise<Outcome>
  remove(): void
}

/** Numbers that are the same every time. */
export function randomTensor(shape: readonly number[], seed: number, scale = 1): HostTensor<'float32'> {
  let state = seed
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  const count = shape.reduce((a, b) => a * b, 1)
  return tensor('float32', shape, Float32Array.from({ length: count }, () => scale * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random())))
}

/** Two layers: `first` 64 → 48, relu, `second` 48 → 10; input `x [n, 64]`. */
export function smallModel(): Uint8Array {
  const main = graph({
    nodes: [
      node('MatMul', ['x', 'w1'], ['a'], {}, '', 'first'),
      node('Add', ['a', 'b1'], ['b']),
      node('Relu', ['b'], ['c']),
      node('MatMul', ['c', 'w2'], ['y'], {}, '', 'second'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 64])],
    outputs: [valueInfo('y', 'float32', ['n', 10])],
    initializers: [
      hostToTensor('w1', randomTensor([64, 48], 1, 0.2)),
      hostToTensor('b1', randomTensor([48], 2, 0.1)),
      hostToTensor('w2', randomTensor([48, 10], 3, 0.2)),
    ],
  })
  return writeOnnx(model(main, { '': 17 }, 8))
}

export function sandbox(): Sandbox {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-cli-'))
  const path = (name: string): string => join(folder, name)
  writeFileSync(path('model.onnx'), smallModel())
  writeFileSync(path('data.npz'), writeNpz({ x: randomTensor([24, 64], 9) }))
  return { folder, path, lowbit: (...args) => capture(() => main(args)), remove: () => rmSync(folder, { recursive: true, force: true }) }
}

async function capture(work: () => Promise<number>): Promise<Outcome> {
  let out = ''
  let err = ''
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => ((out += String(chunk)), true))
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => ((err += String(chunk)), true))
  try {
    const code = await work()
    return { code, out, err }
  } finally {
    stdout.mockRestore()
    stderr.mockRestore()
  }
}
