import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { JOB_WORDS } from '../src/job.js'
import { VERSION } from '../src/version.js'

const root = fileURLToPath(new URL('..', import.meta.url))

describe('the compiled modules', () => {
  it('are what assembly/ compiles to', async () => {
    await promisify(execFile)(process.execPath, ['scripts/build-wasm.mjs', '--check'], { cwd: root })
  }, 120_000)

  it('read the words of a job where the host writes them', () => {
    const source = readFileSync(`${root}assembly/job.ts`, 'utf8')
    const offsets = [...source.matchAll(/export const (\w+): usize = (\d+)/g)].map(([, name = '', at]) => [name.toLowerCase(), Number(at)])
    expect(offsets).toEqual(JOB_WORDS.map((word, i) => [word.replace(/[A-Z]/g, (c) => `_${c}`).toLowerCase(), i * 4]))
  })

  it('belong to the version in package.json', () => {
    expect(VERSION).toBe((JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }).version)
  })
})
