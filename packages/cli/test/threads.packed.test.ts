import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { graph, hostToTensor, model, node, valueInfo, writeNpz, writeOnnx } from '@lowbit/formats'
import { randomTensor } from './support/sandbox.js'

const bin = fileURLToPath(new URL('../dist/bin.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lowbit-threads-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WIDTH = 160

/** Three layers large enough to be sent to threads. */
function writeModel(): void {
  const names = ['w0', 'w1', 'w2']
  const main = graph({
    nodes: names.map((w, i) => node('MatMul', [i === 0 ? 'x' : `h${i - 1}`, w], [i === 2 ? 'y' : `h${i}`], {}, '', `layer${i}`)),
    inputs: [valueInfo('x', 'float32', ['n', WIDTH])],
    outputs: [valueInfo('y', 'float32', ['n', WIDTH])],
    initializers: names.map((w, i) => hostToTensor(w, randomTensor([WIDTH, WIDTH], i + 1, 0.08))),
  })
  writeFileSync(join(folder, 'model.onnx'), writeOnnx(model(main, { '': 17 }, 8)))
  writeFileSync(join(folder, 'data.npz'), writeNpz({ x: randomTensor([256, WIDTH], 9) }))
}

function quantize(output: string, ...args: string[]): { readonly status: number | null; readonly stderr: string } {
  return spawnSync(process.execPath, [bin, 'quantize', join(folder, 'model.onnx'), '-w', 'int4', '-a', 'gptq', '-c', join(folder, 'data.npz'), '-o', join(folder, output), '-q', ...args], { encoding: 'utf8' })
}

describe('worker threads of the built command', () => {
  it('give the same bytes as one thread', () => {
    writeModel()
    expect(quantize('one.onnx', '--threads', '1')).toMatchObject({ status: 0, stderr: '' })
    expect(quantize('two.onnx', '--threads', '2')).toMatchObject({ status: 0, stderr: '' })
    expect(readFileSync(join(folder, 'two.onnx')).equals(readFileSync(join(folder, 'one.onnx')))).toBe(true)
  })

  it('pass on what went wrong', () => {
    const data = randomTensor([4, WIDTH], 1)
    data.data[7] = NaN
    writeFileSync(join(folder, 'data.npz'), writeNpz({ x: data }))
    const { status, stderr } = quantize('nan.onnx', '--threads', '2')
    expect(stderr).toMatch(/LOWBIT_NONFINITE/)
    expect(status).toBe(1)
  })
})
