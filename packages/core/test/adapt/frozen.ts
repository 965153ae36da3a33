import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Batch, ModelHost, RoundingAlgorithm } from '@lowbit/core'
import { filesOf } from '../../../../tools/tarball.js'

const FROZEN = join(import.meta.dirname, '../../../../testdata/frozen')

/** A model of the frozen third-party backend. */
interface FrozenBackend {
  openMlp(bytes: Uint8Array): ModelHost
  writeMlp(layers: readonly object[], metadata: object): Uint8Array
}

async function load<M>(tarball: string): Promise<M> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-frozen-'))
  for (const [path, bytes] of filesOf(readFileSync(join(FROZEN, tarball)))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  // What stands in a tarball of ours that never changes.
  return (await import(/* @vite-ignore */ pathToFileURL(join(folder, 'dist/index.js')).href)) as M
}

export const frozenGptq = async (): Promise<{ gptq(): RoundingAlgorithm }> => load('lowbit-algos-gptq-0.1.0.tgz')
export const frozenHqq = async (): Promise<{ hqq(): RoundingAlgorithm }> => load('lowbit-algos-hqq-0.1.0.tgz')
export const frozenBackend = async (): Promise<FrozenBackend> => load('lowbit-example-third-party-backend-1.0.0.tgz')

/** SHA-256 of the codes that each gave on core 0.1.0. */
export const expected: Readonly<Record<'gptq' | 'hqq', string>> = JSON.parse(readFileSync(join(FROZEN, 'expected.json'), 'utf8'))

const wave = (length: number, step: number): Float32Array<ArrayBuffer> => Float32Array.from({ length }, (_, i) => Math.sin(i * step + step) / 2)

/** The model of `expected`: three layers, 8 → 16 → 12 → 4. */
export const FROZEN_LAYERS = [[16, 8, 0.7], [12, 16, 1.3], [4, 12, 2.1]].map(([rows, columns, step]) => ({ rows, columns, weight: wave(rows * columns, step), bias: wave(rows, step / 3) }))
export const FROZEN_BATCHES = [0.9, 1.9].map((step): Batch => ({ x: { dtype: 'float32', shape: [5, 8], data: wave(40, step) } }))
