import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { openRangeFile, readWholeFile, watchFiles } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let folder: string
const at = (name: string): string => join(folder, name)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
})
afterEach(() => rm(folder, { recursive: true }))

const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'fine', (error: unknown) => (isLowbitError(error) ? error.code : String(error)))

describe('files to read', () => {
  it('are regular ones; nothing else is waited for', async () => {
    await mkdir(at('folder'))
    await symlink('nowhere', at('dangling'))
    await symlink('loop', at('loop'))
    expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0)
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
    for (const name of ['folder', 'dangling', 'loop', 'pipe', 'socket', 'none']) {
      expect(await code(openRangeFile(at(name))), name).toBe('LOWBIT_FILE')
      expect(await code(readWholeFile(at(name), 100)), name).toBe('LOWBIT_FILE')
    }
    expect(await code(openRangeFile('/dev/zero'))).toBe('LOWBIT_FILE')
    await new Promise((resolve) => server.close(resolve))
  })

  it('may be many more than a process can have open', async () => {
    const names = Array.from({ length: 300 }, (_, i) => at(`f${i}`))
    await Promise.all(names.map((name, i) => writeFile(name, Uint8Array.of(i & 255, i >> 8))))
    const files = await Promise.all(names.map((name) => openRangeFile(name)))
    const handles = async (): Promise<number> => (process.platform === 'linux' ? (await readdir('/proc/self/fd')).length : 0)
    expect(await handles()).toBeLessThan(150)
    for (const [i, file] of files.entries()) expect([...(await file.read(0, 2))]).toEqual([i & 255, i >> 8])
    // all at once, more than are kept open
    expect((await Promise.all(files.map((file) => file.read(0, 1)))).map(([byte]) => byte)).toEqual(names.map((_, i) => i & 255))
    const before = await handles()
    await Promise.all(files.map((file) => file.close()))
    expect(await handles()).toBeLessThanOrEqual(before)
    expect(await code(files[0].read(0, 1))).toBe('LOWBIT_DISPOSED')
  })

  it('that change while they are in use are noticed', async () => {
    const change: Record<string, () => Promise<void>> = {
      'shorter': () => truncate(at('f'), 4),
      'written to': () => writeFile(at('f'), '87654321'),
      'replaced': async () => { await writeFile(at('g'), '12345678'); await rename(at('g'), at('f')) },
      'removed': () => rm(at('f')),
    }
    for (const [how, act] of Object.entries(change)) {
      await writeFile(at('f'), '12345678')
      const file = await openRangeFile(at('f'))
      const watch = await watchFiles([at('f')])
      await file.checkUnchanged()
      await watch.checkUnchanged()
      await new Promise((resolve) => setTimeout(resolve, 15))
      await act()
      expect(await code(file.checkUnchanged()), how).toBe('LOWBIT_FILE')
      expect(await code(watch.checkUnchanged()), how).toBe('LOWBIT_FILE')
      await file.close()
    }
  })
})
