import { chmod, link, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { atomicWriteText, checkTargets, resolveTarget } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let folder: string
const at = (name: string): string => join(folder, name)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
  await writeFile(at('model.onnx'), 'model')
})
afterEach(() => rm(folder, { recursive: true }))

const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'fine', (error: unknown) => (isLowbitError(error) ? error.code : String(error)))
const check = (target: string, options = {}): Promise<string> => code(checkTargets([{ what: '--output', path: target }], [{ what: 'the model', path: at('model.onnx') }], options))

describe('targets', () => {
  it('are no inputs: by name, links of both kinds, and links to folders', async () => {
    await symlink('model.onnx', at('soft.onnx'))
    await link(at('model.onnx'), at('hard.onnx'))
    await symlink('.', at('here'))
    for (const name of ['model.onnx', 'soft.onnx', 'hard.onnx', 'here/model.onnx', './x/../model.onnx']) expect(await check(at(name)), name).toBe('LOWBIT_ARGUMENT')
    expect(await code(checkTargets([{ what: '--output', path: at('model.onnx') }], [{ what: 'the model', path: at('soft.onnx') }]))).toBe('LOWBIT_ARGUMENT')
    expect(await check(at('other.onnx'))).toBe('fine')
    expect(await readFile(at('model.onnx'), 'utf8')).toBe('model')
  })

  it('are different files, also before any of them is there', async () => {
    await symlink('.', at('here'))
    await symlink('r.json', at('dangling'))
    for (const other of ['r.json', 'here/r.json', 'dangling']) {
      await expect(checkTargets([{ what: '--report', path: at('r.json') }, { what: '--save-recipe', path: at(other) }], [])).rejects.toThrow(/--save-recipe.*--report itself/)
    }
  })

  it('can be written, and there is room', async () => {
    expect(await check(at('no/file'))).toBe('LOWBIT_FILE')
    expect(await check('/dev/null')).toBe('LOWBIT_FILE')
    expect(await check('/proc/lowbit')).toBe('LOWBIT_FILE')
    expect(await check(at('big.onnx'), { room: new Map([[at('big.onnx'), 2 ** 60]]) })).toBe('LOWBIT_FILE')
    expect(await check(at('small.onnx'), { room: new Map([[at('small.onnx'), 10]]) })).toBe('fine')
    await symlink('round', at('round'))
    expect(await check(at('round'))).toBe('LOWBIT_FILE')
    expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'round'])
  })

  it('that exist are refused where that was asked for', async () => {
    await writeFile(at('old'), 'old')
    expect(await check(at('old'), { noClobber: true })).toBe('LOWBIT_FILE')
    expect(await code(atomicWriteText(at('old'), 'new', { noClobber: true }))).toBe('LOWBIT_FILE')
    expect(await code(atomicWriteText(at('new'), 'new', { noClobber: true }))).toBe('fine')
    expect(await code(Promise.all(['a', 'b'].map((text) => atomicWriteText(at('race'), text, { noClobber: true }))))).toBe('LOWBIT_FILE')
    expect(await readFile(at('old'), 'utf8')).toBe('old')
    expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'new', 'old', 'race'])
  })

  it('that are links stay links, also to what is not there yet, in folders of their own', async () => {
    await mkdir(at('elsewhere'))
    await symlink('elsewhere/real', at('link'))
    await atomicWriteText(at('link'), 'one')
    await atomicWriteText(at('link'), 'two')
    expect((await lstat(at('link'))).isSymbolicLink()).toBe(true)
    expect(await readlink(at('link'))).toBe('elsewhere/real')
    expect(await readFile(at('elsewhere/real'), 'utf8')).toBe('two')
    expect((await resolveTarget(at('link'))).path).toMatch(/elsewhere\/real$/)
  })

  it('keep their permissions', async () => {
    await writeFile(at('secret'), 'old')
    await chmod(at('secret'), 0o600)
    await atomicWriteText(at('secret'), 'new')
    expect((await stat(at('secret'))).mode & 0o777).toBe(0o600)
  })
})
