import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeNpz, writeOnnx } from '@lowbit/formats'
import { randomTensor } from './support/sandbox.js'

const bin = fileURLToPath(new URL('../dist/bin.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lowbit-process-'))
const path = (name: string): string => join(folder, name)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WIDTH = 224
const LAYERS = 12

beforeAll(() => {
  const names = Array.from({ length: LAYERS }, (_, i) => `w${i}`)
  const main = graph({
    nodes: names.map((w, i) => node('MatMul', [i === 0 ? 'x' : `h${i - 1}`, w], [i === LAYERS - 1 ? 'y' : `h${i}`], {}, '', `layer${i}`)),
    inputs: [valueInfo('x', 'float32', ['n', WIDTH])],
    outputs: [valueInfo('y', 'float32', ['n', WIDTH])],
    initializers: names.map((w, i) => hostToTensor(w, randomTensor([WIDTH, WIDTH], i + 1, 0.07))),
  })
  writeFileSync(path('model.onnx'), writeOnnx(model(main, { '': 17 }, 8)))
  writeFileSync(path('data.npz'), writeNpz({ x: randomTensor([512, WIDTH], 99) }))
})

const slow = (output: string): readonly string[] => [bin, 'quantize', path('model.onnx'), '-w', 'int4', '-f', 'dequantize', '-c', path('data.npz'), '--threads', '1', '-o', path(output)]
const quick = (output: string): readonly string[] => [bin, 'quantize', path('model.onnx'), '-f', 'dequantize', '-o', path(output)]

const kept = (output: string): readonly string[] => {
  const work = path(`.${output}.lowbit-work`)
  return existsSync(work) ? readdirSync(work, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.safetensors')) : []
}

async function keptSites(process: ChildProcess, output: string, count: number): Promise<void> {
  while (kept(output).length < count) {
    if (process.exitCode !== null) throw new Error(`ended before ${count} sites were done`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const temporaries = (): readonly string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.tmp$|lowbit-lock$/.test(name))

describe('a signal', () => {
  it.each([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const)('%s ends the work with %i, keeps what is done and leaves no temporary file', async (signal, code) => {
    const output = `${signal}.onnx`
    const child = spawn(process.execPath, slow(output), { stdio: ['ignore', 'pipe', 'pipe'] })
    let err = ''
    child.stderr.on('data', (text: Buffer) => (err += text.toString()))
    const ended = new Promise((resolve) => child.once('close', (status) => resolve(status)))
    await keptSites(child, output, 2)
    child.kill(signal)
    expect(await ended).toBe(code)
    expect(err).toMatch(/Stopped\. .* goes on from there/)
    expect(err).not.toMatch(/LOWBIT_INTERNAL|\n\s+at /)
    expect(existsSync(path(output))).toBe(false)
    expect(temporaries()).toEqual([])
    const done = kept(output).length
    expect(done).toBeGreaterThanOrEqual(2)
    // Once is enough: what is kept does not know which signal came.
    if (signal !== 'SIGTERM') return
    const again = spawnSync(process.execPath, slow(output), { encoding: 'utf8' })
    expect(again).toMatchObject({ status: 0 })
    expect(again.stderr).toMatch(new RegExp(`${done} sites were already done`))
    expect(kept(output)).toEqual([])
  })

  it('that comes twice ends it at once', async () => {
    const child = spawn(process.execPath, slow('twice.onnx'), { stdio: 'ignore' })
    const ended = new Promise((resolve) => child.once('close', (status) => resolve(status)))
    await keptSites(child, 'twice.onnx', 1)
    child.kill('SIGTERM')
    child.kill('SIGINT')
    expect([130, 143]).toContain(await ended)
    expect(temporaries()).toEqual([])
  })
})

describe('standard output', () => {
  it('that nobody reads is no failure of the work', () => {
    for (const args of [quick('closed.onnx'), [bin, 'inspect', path('model.onnx'), '--all']]) {
      const { status, stderr } = spawnSync('bash', ['-c', 'set -o pipefail; exec 3>&1; { "$@"; echo "code $?" >&2; } | true', 'bash', process.execPath, ...args], { encoding: 'utf8' })
      expect(stderr).toBe('code 0\n')
      expect(status).toBe(0)
    }
    expect(readOnnx(readFileSync(path('closed.onnx'))).graph).toBeDefined()
  })

  it.skipIf(!existsSync('/dev/full'))('that is full is one line', () => {
    const { status, stderr } = spawnSync(process.execPath, quick('full.onnx'), { encoding: 'utf8', stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'] })
    expect(stderr).toMatch(/^LOWBIT_FILE: standard output: could not be written \(ENOSPC\); .*\n$/)
    expect(status).toBe(1)
    expect(readOnnx(readFileSync(path('full.onnx'))).graph).toBeDefined()
  })

  it.skipIf(!existsSync('/dev/full'))('and standard error that are full end with the code alone', () => {
    const full = openSync('/dev/full', 'w')
    expect(spawnSync(process.execPath, quick('fuller.onnx'), { stdio: ['ignore', full, full] })).toMatchObject({ status: 1, signal: null })
  })
})

describe('two runs on one output', () => {
  it('do not disturb each other: the second is refused', async () => {
    const first = spawn(process.execPath, slow('two.onnx'), { stdio: 'ignore' })
    const ended = new Promise((resolve) => first.once('close', (status) => resolve(status)))
    await keptSites(first, 'two.onnx', 1)
    const second = spawnSync(process.execPath, [...slow('two.onnx'), '-g', '16'], { encoding: 'utf8' })
    expect(second.stderr).toMatch(new RegExp(`^LOWBIT_BUSY: .*two\\.onnx: process ${first.pid ?? 0} `))
    expect(second.status).toBe(1)
    expect(await ended).toBe(0)
    expect(spawnSync(process.execPath, slow('one.onnx')).status).toBe(0)
    expect(readFileSync(path('two.onnx')).equals(readFileSync(path('one.onnx')))).toBe(true)
    expect(temporaries()).toEqual([])
  })

  it('a lock of a killed run is broken', async () => {
    const killed = spawn(process.execPath, slow('dead.onnx'), { stdio: 'ignore' })
    const ended = new Promise((resolve) => killed.once('close', (_, signal) => resolve(signal)))
    await keptSites(killed, 'dead.onnx', 1)
    killed.kill('SIGKILL')
    expect(await ended).toBe('SIGKILL')
    expect(spawnSync(process.execPath, quick('dead.onnx')).status).toBe(0)
    expect(temporaries()).toEqual([])
  })
})
