import { spawn } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { atomicWrite } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
  path = join(folder, 'file')
})
afterEach(() => rm(folder, { recursive: true }))

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const code = (work: Promise<void>): Promise<string> => work.then(() => 'fine', (error: unknown) => (isLowbitError(error) ? error.code : String(error)))

describe('atomicWrite', () => {
  it('writes pieces, replaces, leaves nothing else', async () => {
    await atomicWrite(path, [bytes('one')])
    await atomicWrite(path, (async function* () { yield bytes('t'); yield bytes('wo') })())
    expect(await readFile(path, 'utf8')).toBe('two')
    expect(await readdir(folder)).toEqual(['file'])
  })

  it('keeps the old file when the source fails or is aborted', async () => {
    await writeFile(path, 'old')
    const abort = new AbortController()
    expect(await code(atomicWrite(path, (function* () { yield bytes('new'); throw new Error('broken') })()))).toBe('LOWBIT_FILE')
    expect(await code(atomicWrite(path, (function* () { yield bytes('new'); abort.abort(); yield bytes('er') })(), { signal: abort.signal }))).toBe('LOWBIT_ABORTED')
    expect(await readFile(path, 'utf8')).toBe('old')
    expect(await readdir(folder)).toEqual(['file'])
  })

  it('keeps the old file when the process is killed', async () => {
    await writeFile(path, 'old')
    const script = `
      import { open, rename } from 'node:fs/promises'
      import { atomicWrite } from ${JSON.stringify(new URL('../src/node/atomic-write.ts', import.meta.url).pathname)}
      await atomicWrite(${JSON.stringify(path)}, (async function* () { yield new Uint8Array(1 << 16); console.log('half'); await new Promise((r) => setTimeout(r, 60_000)) })())
    `
    const root = new URL('../../../', import.meta.url).pathname
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { cwd: root, env: { ...process.env, TSX_TSCONFIG_PATH: join(root, 'tsconfig.base.json') }, stdio: ['ignore', 'pipe', 'pipe'] })
    let errors = ''
    child.stderr.on('data', (text: Buffer) => (errors += text.toString()))
    const started = await new Promise<string>((resolve) => {
      child.stdout.once('data', (text: Buffer) => resolve(text.toString()))
      child.once('exit', () => resolve(`exited: ${errors}`))
    })
    expect(started).toBe('half\n')
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    expect(await readFile(path, 'utf8')).toBe('old')
  })

  it('follows a symbolic link instead of replacing it', async () => {
    await writeFile(join(folder, 'real'), 'old')
    await symlink('real', path)
    await atomicWrite(path, [bytes('new')])
    expect((await lstat(path)).isSymbolicLink()).toBe(true)
    expect(await readFile(join(folder, 'real'), 'utf8')).toBe('new')
  })

  it('refuses folders, devices and missing folders', async () => {
    await mkdir(path)
    expect(await code(atomicWrite(path, [bytes('x')]))).toBe('LOWBIT_FILE')
    expect(await code(atomicWrite('/dev/null', [bytes('x')]))).toBe('LOWBIT_FILE')
    expect(await code(atomicWrite(join(folder, 'no', 'file'), [bytes('x')]))).toBe('LOWBIT_FILE')
  })
})
